"""
Remove an attribute from a latent
=================================

An encoder makes eight numbers of the image of a digit. They are to tell how the digit was written, and not
which one it is.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import one_hot, pad

from disentangle import HSIC, Pairwise, PenaltyLoss, probe_classes
from disentangle.nn import NoisyLatent

image, digit = map(torch.tensor, load_digits(return_X_y=True))
image = image.float() / 16
train, test = slice(0, 1200), slice(1200, None)

# %%
# The model
# ---------
#
# The latent has a fixed scale and carries noise, so that it can forget: without noise, a digit could hide in the
# tenth decimal. The decoder receives the digit; otherwise the latent would have to say it.


def model() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    latent = NoisyLatent(8, noise=1.0, fixed="rows")
    encode = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 8), latent)
    return encode, nn.Sequential(
        nn.Linear(8 + 10, 128), nn.ReLU(), nn.Linear(128, 64), nn.Sigmoid()
    )


# %%
# Training
# --------
#
# The penalty is one term of the loss. It grows from nothing, so that the latent has learnt something before it is
# asked to forget. The logarithm of the error keeps the weight meaning the same throughout.


def fit(weight: float, steps: int = 400) -> tuple[nn.Module, nn.Module]:
    encode, decode = model()
    penalty = PenaltyLoss(
        Pairwise({("style", "digit"): HSIC(kernel="laplace", scales=(0.5,))})
    )
    optimizer = torch.optim.Adam([*encode.parameters(), *decode.parameters()], 2e-3)
    for step in range(steps):
        penalty.weight = weight * min(1, 2 * step / steps)
        rows = torch.randint(1200, (512,))
        style = encode(image[rows])
        error = (
            (decode(torch.cat([style, one_hot(digit[rows], 10)], 1)) - image[rows])
            .square()
            .mean()
        )
        loss = error.log()
        if weight:
            loss = loss + penalty({"style": style, "digit": digit[rows]})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return encode.eval(), decode


models = {"without a penalty": fit(0), "with HSIC": fit(1000)}

# %%
# Did it work?
# ------------
#
# The penalty's own value does not say. A probe that is trained to the end does: a small network that reads the digit
# from the styles of images that it has not seen. The styles carry noise, so it is shown ten draws of each: from one
# draw a probe learns less than there is.

with torch.no_grad():
    for name, (encode, _) in models.items():
        draws = torch.stack([encode(image) for _ in range(10)])
        found = probe_classes(
            draws[:, train], digit[train], test=(draws[:, test], digit[test])
        )
        print(
            f"{name}: {found.accuracy:.0%} of the digits are read, {found.chance:.0%} by chance"
        )

# %%
# What the style is can be seen by moving it: the first column are images, the others their style in every digit.

figure, axes = plt.subplots(1, 2, figsize=(11, 3.4), layout="constrained")
with torch.no_grad():
    for ax, (name, (encode, decode)) in zip(axes, models.items(), strict=True):
        rows = []
        for one in image[1200:1206]:
            moved = decode(
                torch.cat([encode(one[None]).expand(10, -1), torch.eye(10)], 1)
            )
            images = [one.view(8, 8), torch.zeros(8, 4), *moved.view(10, 8, 8)]
            rows.append(torch.cat([pad(each, (1, 1, 1, 1)) for each in images], 1))
        ax.imshow(torch.cat(rows), cmap="gray_r")
        ax.set_title(name)
        ax.axis("off")

# %%
# What can go wrong
# -----------------
#
# - **The digit is still read.** Let the penalty grow further, take larger batches (over few rows a kernel reads more
#   chance than dependence), or more noise.
# - **Nothing is rebuilt any more.** The penalty came too early or weighs too much: the latent has fallen silent.
# - **The label is a quantity, or there are several.** Pass floats, ``age.float()``: whole numbers, ``(N,)``, are taken
#   for classes. One pair per label.
# - **You want to say how much may remain.** A :class:`disentangle.Dial` takes an amount instead of a weight:
#   :doc:`../independent`.
