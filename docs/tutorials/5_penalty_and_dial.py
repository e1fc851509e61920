"""
Choosing a penalty, and its dial
================================

A latent that must not tell a label, on data whose truth is known. What do the penalties leave, and what do they cost?
And where does the weight come from, if it does not come from trying?
"""

import math

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from disentangle import (
    HSIC,
    CategoricalConditional,
    CLUBEstimator,
    Dependence,
    Dial,
    FeatureCorrelation,
    Pairwise,
    PenaltyLoss,
    probe_classes,
    probe_numbers,
)
from disentangle.erasure import LEACE
from disentangle.nn import NoisyLatent
from disentangle.text_tables import aligned

torch.manual_seed(0)

# %%
# The truth
# ---------
#
# The label has four classes, two bits. One bit moves the data along a line. The other one is the radius of a ring,
# which no line can read. So whoever reads along lines is right about half of the labels at best, and about a quarter by
# chance. The style is the rest: the angle on the ring, and two more numbers. It is independent of the label, so nothing
# of it has to be lost.

mixing = torch.linalg.qr(torch.randn(5, 5))[0]


def draw(rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Data, (rows, 5), labels, (rows,), and styles, (rows, 4)."""
    label, angle = torch.randint(4, (rows,)), 2 * math.pi * torch.rand(rows)
    moved = 2.0 * (label % 2) - 1 + 0.3 * torch.randn(rows)
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    style = torch.cat([circle, torch.randn(rows, 2)], 1)
    radius = 0.5 + label // 2
    x = torch.cat([moved[:, None], radius[:, None] * circle, style[:, 2:]], 1)
    return x @ mixing + 0.05 * torch.randn(rows, 5), label, style


known, held_out = draw(400), draw(1000)

# %%
# Training
# --------
#
# The latent has a fixed scale and carries noise, so it can forget; the decoder receives the label, so the latent need
# not tell it. A weight grows from nothing over the first half of the steps. A dial is left to itself.

D = 8


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = nn.Sequential(
            nn.Linear(5, 64),
            nn.ReLU(),
            nn.Linear(64, 64),
            nn.ReLU(),
            nn.Linear(64, D),
            NoisyLatent(D, noise=0.3),
        )
        self.decode = nn.Sequential(
            nn.Linear(D + 4, 64),
            nn.ReLU(),
            nn.Linear(64, 64),
            nn.ReLU(),
            nn.Linear(64, 5),
        )

    def error(self, z: Tensor, x: Tensor, label: Tensor) -> Tensor:
        told = torch.cat([z, one_hot(label, 4)], 1)
        return (self.decode(told) - x).square().mean()


def fit(
    dependence: Dependence | None = None,
    weight: float = 0,
    allowed: float | None = None,
    steps: int = 140,
) -> tuple[Model, list[tuple[float, float]]]:
    """The model, and the value and the weight of its penalty at each step."""
    torch.manual_seed(0)
    model, history = Model(), []
    if dependence is not None:
        pairs = Pairwise({("z", "label"): dependence})
        # three steps of the estimator, not five: this page is to be quick
        penalty = PenaltyLoss(pairs, inner_steps=3)
        if allowed is not None:
            penalty.weight = Dial(pairs, allowed=allowed, weight=weight, rate=0.05)
    optimizer = torch.optim.Adam(model.parameters(), 8e-3, fused=True)
    for step in range(steps):
        x, label, _ = draw(192)
        z = model.encode(x)
        loss = model.error(z, x, label).log()
        if dependence is not None:
            if allowed is None:
                penalty.weight = weight * min(1, 2 * step / steps)
            loss = loss + penalty({"z": z, "label": label})
            (value,), now = penalty.values.values(), penalty.weight
            if isinstance(now, Dial):
                (now,) = now.weights.values()
            history.append((float(value), float(now)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval(), history


# %%
# Which penalty?
# --------------
#
# On new rows: how often a linear and a neural probe read the label from the latent; how much of the style a linear map
# finds there, as R²; and the error of what is rebuilt. :class:`disentangle.erasure.LEACE` is no penalty. It takes from
# finished latents, here of the model without a penalty, all that a line can read; no decoder was trained for what it
# leaves. The weights were found by trying.


def club() -> CLUBEstimator:
    return CLUBEstimator(D, 1, conditional=CategoricalConditional(D, classes=4))


def read(z: Tensor, new_z: Tensor) -> list[float]:
    (_, label, style), (_, new_label, new_style) = known, held_out
    test = new_z, new_label
    return [
        probe_classes(z, label, test=test, kind="linear").accuracy,
        probe_classes(z, label, test=test, kind="neural").accuracy,
        probe_numbers(z, style, test=(new_z, new_style), kind="linear").r2,
    ]


@torch.no_grad()
def measure(model: Model) -> list[float]:
    z, new_z = model.encode(known[0]), model.encode(held_out[0])
    return [*read(z, new_z), model.error(new_z, *held_out[:2]).item()]


plain, _ = fit()
with torch.no_grad():
    z, new_z = plain.encode(known[0]), plain.encode(held_out[0])
leace = LEACE(z, known[1])
found = {
    "no penalty": measure(plain),
    "LEACE, afterwards": [*read(leace(z), leace(new_z)), math.nan],
    "correlation": measure(fit(FeatureCorrelation(), 1000)[0]),
    "HSIC": measure(fit(HSIC(kernel="laplace", scales=(0.5,)), 1000)[0]),
    "CLUB": measure(fit(club(), 2)[0]),
}


def show(names: list[str]) -> None:
    rows = [[name, *(f"{each:.2f}" for each in found[name])] for name in names]
    table = aligned([["", "linear", "neural", "style", "error"], *rows], [""])
    print(table.replace("nan", "  –"))


show(list(found))

# %%

names, columns = list(found), list(zip(*found.values(), strict=True))
figure, axes = plt.subplots(1, 3, figsize=(10, 2.8), sharey=True, layout="constrained")
place = torch.arange(len(names))
axes[0].barh(place - 0.2, columns[0], 0.4, label="linear probe", color="lightsteelblue")
axes[0].barh(place + 0.2, columns[1], 0.4, label="neural probe")
axes[0].axvline(0.25, color="black", ls="--", label="chance")
axes[0].set(title="label, read", xlim=(0, 1))
axes[0].legend(loc="lower right", fontsize=8)
axes[1].barh(place, columns[2])
axes[1].set(title="style, kept (R²)", xlim=(0, 1))
axes[2].barh(place, columns[3])
axes[2].set(title="error of what is rebuilt")
axes[0].set_yticks(place, names)
axes[0].invert_yaxis()

# %%
# LEACE leaves a line nothing, and takes style along: for four classes it removes three of the eight directions,
# whatever else they tell. Correlation as a penalty spares the style and costs no error. But of both, a network still
# reads the label far above chance, since it sees the radius. HSIC and CLUB see it as well, and leave the network hardly
# more than chance. They take no style. What they cost is error.
#
# A dial instead of a weight
# --------------------------
#
# A weight has no unit, and the next model wants another one. You tell a :class:`disentangle.Dial` what may remain: here
# 0.25 nats, as CLUB sees them. Its weight grows while the value is above that and shrinks while it is below. It starts
# once at 0.3, which is too little, and once at 20, which is far too much.

dials = {}
for start in (0.3, 20):
    model, dials[start] = fit(club(), start, allowed=0.25, steps=200)
    found[f"dial, from {start}"] = measure(model)
show(["CLUB", *(f"dial, from {start}" for start in dials)])
for start, history in dials.items():
    value, weight = torch.tensor(history)[-20:].mean(0)
    print(f"from {start}, last 20 steps: value {value:.2f}, weight {weight:.2f}")

# %%

figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
for start, history in dials.items():
    value, weight = torch.tensor(history).T
    axes[0].semilogy(range(10, 201), value.unfold(0, 10, 1).mean(1))
    axes[1].semilogy(range(1, 201), weight, label=f"from {start}")
axes[0].axhline(0.25, color="black", ls="--", label="allowed")
axes[0].set_title("value in nats, each point the mean of ten")
axes[1].set_title("weight")
for ax in axes:
    ax.set_xlabel("step")
    ax.legend()

# %%
# From 0.3, the weight grows until the value is low enough, and shrinks again once less would do. It overshoots, since
# the model follows it late, and in 200 steps it does not come to rest. The latent is as good as with the weight that
# was found by trying. A bit more of the label is read: that was allowed.
#
# From 20, the latent falls silent before it has learnt anything. The value is soon far below what is allowed, and the
# weight shrinks, in the end below the other one. What was lost has not come back by then. Value and weight do not show
# it; style and error do.
#
# What can go wrong
# -----------------
#
# - **The dial starts far too heavy**: as above. Start it low; that costs some steps and no latent. A start that is 100
#   times too low takes several hundred steps at the default rate of 0.02.
# - **The weight goes to its ceiling.** Less is allowed than can be had, or less than the penalty reads of independent
#   rows. Look at its value on shuffled ones.
# - **The penalty is at 0 because its estimator lags.** A dial believes it, and lowers the weight. Look at
#   ``penalty.lag``, and report what a probe or :func:`disentangle.estimate_mutual_information` says:
#   :doc:`4_club_in_your_loop`.
# - **HSIC on small batches.** Over few rows it reads chance, and pushing chance down costs error. Take some hundred
#   rows, or CLUB. HSIC has no unit either: its dial takes a p-value, ``Dial(pairs, p_value=0.05)``.
# - **A linear method where the dependence is not linear**: LEACE, correlation, orthogonality. A linear probe cannot
#   tell: it is at chance in all rows of the table but the first. Always ask one that sees more than the penalty does.
# - **The comparison is of one seed.** So is this one. Which penalty when, on real data and over seeds:
#   :doc:`../independent`.
