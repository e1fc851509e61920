"""Whether estimators keep up with the latents: a penalty near zero says little under an estimator that lags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from disentangle.errors import EstimatorWarning
from disentangle.training.watch import Arriving

__all__ = ["FIRST_STEPS", "LAGS", "Lag", "LagMeans", "lag_warning"]

FIRST_STEPS = 25  # before that all estimators are behind
LAGS = 0.4  # above it in two means in a row, estimators lag


class Lag:
    """How much further along the last step's way the next batch would have the estimators go, in [-1, 1].

    It is the cosine between what the inner steps on the batch before changed in the parameters and the direction in which the
    likelihood of a new batch rises, before any step on that one. Near 1 every batch asks for more of the same: the steps are
    too short, and the estimators are behind. Estimators that keep up have only the noise of batches left to follow: near 0,
    and below it where the steps are too long. With few rows in a batch, noise hides a lag.

    Example:
        >>> lag, parameter = Lag(), nn.Parameter(torch.zeros(1))
        >>> lag.note([torch.zeros(1)], [torch.ones(1)])  # the steps on one batch went up
        >>> parameter.grad = torch.tensor([-3.0])  # the loss of the next falls further up
        >>> lag.read([parameter])
        tensor(1.)
    """

    def __init__(self) -> None:
        self.moved: list[Tensor] = []

    def read(self, parameters: Sequence[nn.Parameter]) -> Tensor | None:
        """The cosine, `()`, once `parameters` have the gradients of a new batch; `None` where no batch was before."""
        if not self.moved:
            return None
        gradients = [None if p.grad is None else p.grad.to_dense() for p in parameters]
        rows = [(m.to(g), g) for m, g in zip(self.moved, gradients, strict=True) if g is not None]
        moved, gradient = (torch.cat([each.flatten() for each in side]) for side in zip(*rows, strict=True))
        return -torch.cosine_similarity(moved, gradient, 0).nan_to_num(0.0)  # a scaler's gradients may be infinite

    def note(self, before: Sequence[Tensor], after: Sequence[Tensor]) -> None:
        """Notes the parameters before and after the steps on a batch."""
        self.moved = [new.detach() - old for old, new in zip(before, after, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes."""
        return {"moved": self.moved}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` returned."""
        self.moved = list(state["moved"])


class LagMeans:
    """The mean lag of every `FIRST_STEPS` calls, read on a later call without stalling a device."""

    def __init__(self) -> None:
        self.lags: list[Tensor] = []
        self.arriving: Arriving | None = None
        self.means: list[float] = []

    def add(self, lag: Tensor | None) -> None:
        """Adds the lag of a call."""
        if lag is not None:
            self.lags.append(lag)
        if len(self.lags) == FIRST_STEPS:
            self.arriving, self.lags = Arriving(torch.stack(self.lags).mean()), []

    def read(self) -> list[float]:
        """The means that were added up before this call, in order."""
        if self.arriving is not None:
            self.means.append(self.arriving.read().item())
            self.arriving = None
        return self.means


def lag_warning(where: str, lags: Sequence[float], cure: str) -> EstimatorWarning | None:
    """What to warn of where the last two mean lags are above `LAGS`; `None` where they are not."""
    if len(lags) < 2 or min(lags[-2:]) <= LAGS:
        return None
    return EstimatorWarning(
        f"{where}: the estimators lag, by {lags[-1]:.2f} of 1: they see less dependence than there is: {cure}"
    )
