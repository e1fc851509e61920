"""A weight for each pair of a penalty that adapts until the pair's value is what is allowed."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from disentangle.pairwise import Pairwise

__all__ = ["Dial"]


class Dial(nn.Module):
    r"""Weighs the pairs of a penalty so that each ends at the dependence allowed: call it with their values.

    One can say how much dependence may remain, and hardly which weight leads there. Each pair has a weight :math:`w` of its
    own. On each call in training, with :math:`v` the running mean of its value,

    .. math:: \log w \leftarrow \log w + \text{rate} \cdot \operatorname{clip}\left(\frac{v - \text{allowed}}{\text{allowed}},
              -1, 1\right)

    so the weight grows where there is more dependence than allowed and shrinks where there is less: dual ascent on the
    constraint :math:`v \le \text{allowed}`, in the logarithm. It stays between `floor` and `ceiling`: at the ceiling the value
    allowed was not reached, at the floor the constraint holds without the penalty.

    The dial becomes a part of the penalty, `penalty.dial`: its state goes into the same checkpoints, to the same device and to
    all processes. Nothing waits for a device.

    **What to allow.** It is in the unit of the value, which for a bound is nats: 0.1 nats between two normal numbers is a
    correlation of 0.43, 0.01 nats one of 0.14. CLUB is above the information: at a correlation :math:`\rho` it is
    :math:`\rho^2 / (1 - \rho^2)`. HSIC has no unit, and over a batch it is above zero for independent variables too: allow more
    than it says of rows that were shuffled. The value is what the estimator sees, so one that lags is content too early.

    Arguments:
        penalty: The pairs. Of several kinds each takes a dial of its own.
        allowed: The value that each pair may have.
        weight: What the weights start at. From 100 times too small or large it takes a few hundred steps.
        rate: How far a step moves the logarithm of a weight at most. Much larger, weights swing, since the model takes a while
            to follow.
        average: What a step leaves of the running mean before it.
        floor: The smallest weight.
        ceiling: The largest weight.

    Attributes:
        labels: The names of the values, such as `CLUB(x;y)`.

    Raises:
        ValueError: If `allowed`, `rate` or `floor` is not above 0, if the `weight` is not between `floor` and `ceiling`, if the
            `average` is not from 0 to below 1, or if the penalty has a dial already; on a call, if a value is of no pair.

    Example:
        >>> from disentangle import HSIC
        >>> pairs = Pairwise({("a", "b"): HSIC()})
        >>> dial = Dial(pairs, allowed=0.01)
        >>> values = pairs({"a": torch.linspace(0, 1, 50), "b": torch.linspace(0, 1, 50)})  # far from independent
        >>> float(dial(values) / values["HSIC(a;b)"]) > 1  # what began at 1 has grown
        True

        `PenaltyLoss(pairs, weight=dial)` calls it, and for `AlternatingStep` the objective does:

        >>> objective = lambda losses, penalties: losses["recon"].mean().log() + dial(penalties)
    """

    log_weights: Tensor
    means: Tensor
    counts: Tensor

    def __init__(
        self,
        penalty: Pairwise,
        allowed: float,
        *,
        weight: float = 1.0,
        rate: float = 0.02,
        average: float = 0.9,
        floor: float = 1e-4,
        ceiling: float = 1e4,
    ):
        super().__init__()
        for name, value in {"allowed": allowed, "rate": rate, "floor": floor}.items():
            if not value > 0:
                raise ValueError(f"expected {name} above 0, got {value}")
        if not floor <= weight <= ceiling:
            raise ValueError(f"expected a weight from {floor} to {ceiling}, got {weight}")
        if not 0 <= average < 1:
            raise ValueError(f"expected an average from 0 to below 1, got {average}")
        if hasattr(penalty, "dial"):
            raise ValueError("expected a penalty without a dial, got one that has one")
        self.labels = list(penalty.labels.values())
        self.allowed, self.rate, self.average = allowed, rate, average
        self.floor, self.ceiling = floor, ceiling
        like = next((t for t in (*penalty.parameters(), *penalty.buffers())), torch.empty(0))
        for name in ("log_weights", "means", "counts"):
            self.register_buffer(name, torch.zeros(len(self.labels), device=like.device))
        self.log_weights += math.log(weight)
        penalty.add_module("dial", self)

    @property
    def weights(self) -> dict[str, Tensor]:
        """The weight of each pair, `()`, by its label."""
        return dict(zip(self.labels, self.log_weights.exp(), strict=True))

    def forward(self, values: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum of the values, `()`; in training, and not under `torch.no_grad()`, the weights adapt first.

        Arguments:
            values: What the penalty returned, `{"CLUB(x;y)": ()}`; the weight of a pair that was left out stays as it is.
        """
        if unknown := [label for label in values if label not in self.labels]:
            raise ValueError(f"expected values of {self.labels}, got {unknown}")
        if self.training and torch.is_grad_enabled():
            self._adapt(values)
        weights = self.weights
        return sum((weights[label] * value for label, value in values.items()), self.log_weights.new_zeros(()))

    @torch.no_grad()
    def _adapt(self, values: Mapping[str, Tensor]) -> None:
        absent = self.means.new_full((), math.nan)
        found = torch.stack([values.get(label, absent).detach().to(self.means) for label in self.labels])
        seen = found.isfinite()
        self.means.copy_(torch.where(seen, self.average * self.means + (1 - self.average) * found, self.means))
        self.counts.add_(seen)
        mean = self.means / (1 - self.average**self.counts).clamp(min=1e-12)
        excess = ((mean - self.allowed) / self.allowed).clamp(-1, 1)
        moved = (self.log_weights + self.rate * excess).clamp(math.log(self.floor), math.log(self.ceiling))
        self.log_weights.copy_(torch.where(seen, moved, self.log_weights))
