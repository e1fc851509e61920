"""
Is it independent?
==================

Three latents. The second depends on the first in a way that no correlation shows; the third does not depend on
anything. Which measure says so?
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from disentangle import (
    CKA,
    HSIC,
    dependence_report,
    estimate_mutual_information,
    permutation_test,
)

draw = np.random.default_rng(0)
angle = draw.uniform(-np.pi, np.pi, 400)
latents = {
    "speaker": np.stack([angle, draw.normal(size=400)], 1),
    "content": np.stack([np.cos(2 * angle), draw.normal(size=400)], 1)
    + 0.2 * draw.normal(size=(400, 2)),
    "noise": draw.normal(size=(400, 2)),
}

# %%
# Correlation sees nothing
# ------------------------
#
# Linear CKA, as any measure made of correlations, takes both pairs for independent.

tensors = {name: torch.tensor(value) for name, value in latents.items()}
print(
    "speaker, content:", round(CKA()(tensors["speaker"], tensors["content"]).item(), 3)
)
print("speaker, noise:  ", round(CKA()(tensors["speaker"], tensors["noise"]).item(), 3))

# %%
# Mutual information does
# -----------------------
#
# In nats, with a standard error, on rows that were held out from what had to be fitted.

for name in ("content", "noise"):
    print(
        f"speaker, {name}:",
        estimate_mutual_information(latents["speaker"], latents[name]),
    )

# %%
# A test says whether it could be chance, if it looks finely enough
# -----------------------------------------------------------------
#
# The rows of one latent are shuffled, which makes them independent, and what is seen is compared with what is seen
# then. By default that is HSIC with a Laplace kernel, which sees fine dependence and coarse. The Gaussian kernel of
# most papers is as wide as the data: what goes round twice is too fine for it in 400 rows. A large p never says that
# there is nothing, only that this statistic saw nothing in these rows.

for kernel, statistic in (("Laplace ", None), ("Gaussian", HSIC())):
    found = permutation_test(
        tensors["speaker"], tensors["content"], statistic=statistic, permutations=199
    )
    print(f"speaker, content, {kernel} kernel: p = {found.p_value:.3f}")

# %%
# All pairs at once
# -----------------
#
# Information, p-values corrected for the number of pairs, and what a linear and a neural probe read of one latent
# from another.

report = dependence_report(latents, permutations=199, progress=False)
print(report)

# %%
# As a picture, or for a paper: ``report.plot("pairs.png")``, ``report.to_latex()``.

path = Path(tempfile.mkdtemp()) / "pairs.png"
report.plot(path)
picture = plt.imread(path)
plt.figure(figsize=(8, 8 * len(picture) / len(picture[0])), layout="constrained")
plt.imshow(picture)
plt.axis("off")

# %%
# What can go wrong
# -----------------
#
# - **Rows are no independent draws**: frames of one recording, say. Name what they belong to, ``groups=speakers``;
#   else everything looks surer than it is.
# - **Too few rows.** With 100 rows, what is weak or fine is not seen; a warning says where half of the rows would
#   have given clearly less.
# - **The latents were penalised by this very estimator.** A penalty near zero may mean that its estimator is bad.
#   These meters were not trained against; the more different they are from the penalty, the better.
