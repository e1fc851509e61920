"""A weight for each pair of a penalty that adapts until the pair's value is what is allowed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from disentangle.pairwise import Pairwise
from disentangle.pairwise.samples import samples_of

__all__ = ["Dial"]

ROWS = 6  # that a p-value needs


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
    than it says of rows that were shuffled, or say what may remain as a p-value. The value is what the estimator sees, so one
    that lags is content too early.

    **A p-value.** With `p_value` in place of `allowed`, for pairs of `HSIC`, the weight grows while the running mean of
    `HSIC.p_value` is below it, and shrinks while it is above. So the mean over batches ends there; for independent continuous
    variables it is 0.5. The more rows a batch has, the less dependence is left at the same p-value. The dial notes the
    p-values whenever the penalty is called with gradients, which computes the kernels once more. Where a batch has fewer than
    6 rows of a pair, the weight stays as it is.

    Arguments:
        penalty: The pairs. Of several kinds each takes a dial of its own.
        allowed: The value that each pair may have; or
        p_value: the mean p-value that each pair is to have over batches, in (0, 0.5). It is no level of significance: at 0.05
            most batches still show a dependence, and independent rows have a mean of 0.5 (0.3 to 0.6 where most values are
            zero). Start at 0.05, and raise it while the reconstruction allows.
        weight: What the weights start at. Start low: 100 times too small costs a few hundred steps; from far too large, the
            latent falls silent before it has learnt anything, which the weight, when it has come down, does not undo.
        rate: How far a step moves the logarithm of a weight at most. Much larger, weights swing, since the model takes a while
            to follow.
        average: What a step leaves of the running mean before it.
        floor: The smallest weight.
        ceiling: The largest weight.

    Attributes:
        labels: The names of the values, such as `CLUB(x;y)`.

    Raises:
        TypeError: If the penalty is no `Pairwise`, or something is no number.
        ValueError: If there is not one of `allowed` and `p_value`, if `allowed`, `rate` or `floor` is not above 0, or the
            `p_value` not in (0, 0.5), or of pairs that are no `HSIC`; if the `weight` is not between `floor` and `ceiling`, if
            the `average` is not from 0 to below 1, or if the penalty has a dial already; on a call, if a value is of no pair,
            or if p-values are lacking, since the penalty was not called before.

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
        allowed: float | None = None,
        *,
        p_value: float | None = None,
        weight: float = 1.0,
        rate: float = 0.02,
        average: float = 0.9,
        floor: float = 1e-4,
        ceiling: float = 1e4,
    ):
        super().__init__()
        if (allowed is None) == (p_value is None):
            raise ValueError(f"expected one of allowed and p_value, got {allowed} and {p_value}")
        given = {"allowed": allowed, "p_value": p_value, "weight": weight, "rate": rate, "average": average}
        _refuse_others(penalty, {**given, "floor": floor, "ceiling": ceiling})
        for name, value in {"allowed": allowed, "rate": rate, "floor": floor}.items():
            if value is not None and not value > 0:
                raise ValueError(f"expected {name} above 0, got {value}")
        if not floor <= weight <= ceiling:
            raise ValueError(f"expected a weight from {floor} to {ceiling}, got {weight}")
        if not 0 <= average < 1:
            raise ValueError(f"expected an average from 0 to below 1, got {average}")
        if hasattr(penalty, "dial"):
            raise ValueError("expected a penalty without a dial, got one that has one")
        self.labels = list(penalty.labels.values())
        self.allowed, self.p_value, self.rate, self.average = allowed, p_value, rate, average
        self._p_values: dict[str, Tensor] | None = None  # of the penalty's last call
        if p_value is not None:
            _refuse_p_value(p_value, penalty)
            penalty.register_forward_hook(_note_p_values, with_kwargs=True)
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
            self._adapt(values if self.p_value is None else self._noted())
        weights = self.weights
        return sum((weights[label] * value for label, value in values.items()), self.log_weights.new_zeros(()))

    def _noted(self) -> dict[str, Tensor]:
        """The p-values of the penalty's last call, which are used once."""
        noted, self._p_values = self._p_values, None
        if noted is None:
            raise ValueError("expected the penalty to be called with gradients before its dial, got no p-values")
        return noted

    @torch.no_grad()
    def _adapt(self, values: Mapping[str, Tensor]) -> None:
        absent = self.means.new_full((), math.nan)
        found = torch.stack([values.get(label, absent).detach().to(self.means) for label in self.labels])
        seen = found.isfinite()
        self.means.copy_(torch.where(seen, self.average * self.means + (1 - self.average) * found, self.means))
        self.counts.add_(seen)
        mean = self.means / (1 - self.average**self.counts).clamp(min=1e-12)
        if self.p_value is not None:
            excess = (1 - mean / self.p_value).clamp(-1, 1)
        else:
            assert self.allowed is not None
            excess = (mean / self.allowed - 1).clamp(-1, 1)
        moved = (self.log_weights + self.rate * excess).clamp(math.log(self.floor), math.log(self.ceiling))
        self.log_weights.copy_(torch.where(seen, moved, self.log_weights))


def _refuse_others(penalty: Any, numbers: Mapping[str, Any]) -> None:
    """Refuses what is no penalty, and what is no number where one is wanted."""
    if not isinstance(penalty, Pairwise):
        way = ": make a Dial of each kind" if isinstance(penalty, nn.ModuleDict) else ""
        raise TypeError(f"expected a Pairwise, got {type(penalty).__name__}{way}")
    for name, value in numbers.items():
        if value is not None and not isinstance(value, Real | Tensor):
            way = (
                ": pairs that differ in it are kinds, each a Pairwise with a Dial" if isinstance(value, Mapping) else ""
            )
            raise TypeError(f"expected {name} as a number, got {type(value).__name__}{way}")


def _refuse_p_value(p_value: float, penalty: Pairwise) -> None:
    if not 0 < p_value < 0.5:
        raise ValueError(f"expected a p_value in (0, 0.5), which is the mean of independent variables, got {p_value}")
    dependences = penalty.dependences.items()
    if others := [penalty.labels[name] for name, dependence in dependences if not hasattr(dependence, "p_value")]:
        raise ValueError(f"expected pairs of HSIC for a p_value, got {', '.join(others)}")


def _note_p_values(penalty: Pairwise, given: tuple[Any, ...], keywords: dict[str, Any], values: Any) -> None:
    """After a call of the penalty: the p-value of each pair, for its dial."""
    if torch.is_grad_enabled():
        arguments = {**dict(zip(("variables", "present"), given, strict=False)), **keywords}
        samples = samples_of(penalty.groups, arguments["variables"], arguments.get("present"))
        dial: Any = penalty.dial
        dial._p_values = {
            penalty.labels[name]: dependence.p_value(*samples[name].selected())
            for name, dependence in penalty.dependences.alone().items()
            if samples[name].n >= ROWS
        }
