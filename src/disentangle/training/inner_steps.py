"""The estimators' phase of an iteration: a few steps on detached variables, before the model learns against them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce

import torch
from torch import Tensor
from torch.optim import Optimizer

from disentangle.pairwise import Pairwise
from disentangle.training.encoded import Encoded

__all__ = ["take_inner_steps"]


def take_inner_steps(
    kinds: Mapping[str, Pairwise],
    optimizer: Optimizer,
    batch: Encoded,
    steps: int,
    backward: Callable[[Tensor], None] = Tensor.backward,
) -> Tensor | None:
    """Fits the estimators of all kinds to a detached batch, and leaves them without gradients.

    They are computed in their own precision, whatever autocast is on outside: give them variables of at least float32.

    Returns:
        The log-likelihood of the last step in nats per row, summed over pairs, `()`; `None` where no pair has anything to
        learn from.
    """
    device = optimizer.param_groups[0]["params"][0].device.type
    loss = None
    for kind in kinds.values():
        kind.train()
    with torch.autocast(device, enabled=False):
        for _ in range(steps):
            losses = [kind.learning_loss(batch.variables, batch.present) for kind in kinds.values()]
            losses = [each for each in losses if each is not None]
            if not losses:
                return None
            loss = reduce(torch.add, losses)
            optimizer.zero_grad(set_to_none=True)
            backward(loss)
            optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return None if loss is None else -loss.detach()
