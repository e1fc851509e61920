"""The estimators' phase of an iteration: a few steps on detached variables, before the model learns against them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from disentangle.pairwise import Pairwise
from disentangle.training.encoded import Encoded
from disentangle.training.guards import refuse_frozen
from disentangle.training.keep_up import KeepUp
from disentangle.training.lag import Lag
from disentangle.training.watch import gradients_of

__all__ = ["Learning", "take_inner_steps"]


class Learning(NamedTuple):
    """What the estimators' steps on a batch say of them, each `()`: log-likelihoods in nats per row, summed over pairs.

    `held_out` is that of the batch before the first step, when it is new to the estimators; `likelihood` that of the last
    step. `lag` is that of `Lag`.
    """

    held_out: Tensor | None = None
    likelihood: Tensor | None = None
    lag: Tensor | None = None


def take_inner_steps(
    kinds: Mapping[str, Pairwise],
    optimizer: Optimizer,
    batch: Encoded,
    steps: int,
    lag: Lag,
    backward: Callable[[Tensor], None] = Tensor.backward,
    keep_up: KeepUp | None = None,
) -> Learning:
    """Fits the estimators of all kinds to a detached batch, and leaves them without gradients.

    They are computed in their own precision, whatever autocast is on outside: give them variables of at least float32. A step
    whose gradients are not all finite, as an outlier makes them, counts as one without gradients: it would make estimators and
    optimiser NaN for good. The log-likelihoods say what was not finite.

    Arguments:
        kinds: The penalty of each kind.
        optimizer: Of their parameters.
        batch: The batch, detached.
        steps: How many steps, at least 1.
        lag: What the steps on the batch before were; those on this one are noted there.
        backward: What is called with the loss.
        keep_up: Adapts the optimiser's rate before the first step.

    Returns:
        What the steps say; nothing where no pair has anything to learn from.
    """
    device = optimizer.param_groups[0]["params"][0].device.type
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    before = [p.detach().clone() for p in parameters]
    learning, loss = Learning(), None
    for kind in kinds.values():
        refuse_frozen(kind)
        kind.train()
    with torch.autocast(device, enabled=False):
        for step in range(steps):
            losses = [kind.learning_loss(batch.variables, batch.present) for kind in kinds.values()]
            losses = [each for each in losses if each is not None]
            if not losses:
                return learning
            loss = reduce(torch.add, losses)
            optimizer.zero_grad(set_to_none=True)
            backward(loss)
            if not step:
                learning = Learning(held_out=-loss.detach(), lag=lag.read(parameters))
                if keep_up is not None and learning.lag is not None:
                    keep_up.adapt(optimizer, learning.lag)
            if getattr(optimizer, "scaler", None) is None:  # a scaler looks for infinite gradients itself
                _zero_unless_finite(parameters)
            optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    lag.note(before, parameters)
    return learning if loss is None else learning._replace(likelihood=-loss.detach())


@torch.no_grad()
def _zero_unless_finite(parameters: Sequence[nn.Parameter]) -> None:
    """Makes all gradients 0 where any is not finite; the host does not wait to learn whether."""
    gradients = gradients_of(parameters)
    spoilt = ~get_total_norm(gradients).isfinite()
    if spoilt.device.type == "cpu" and not spoilt:  # the host knows already
        return
    for gradient in gradients:
        gradient.masked_fill_(spoilt, 0.0)
