"""Small networks that are fitted to the folds of some rows at once, each stopped where it is best on other rows."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["StackedNetwork", "fit_stacks"]

BATCH, PATIENCE, EVERY = 256, 3, 15
LEARNING_RATE, WEIGHT_DECAY, AVERAGING = 1e-2, 0.1, 0.95
LEAST_GAIN = 1e-4  # nats on the rows that decide when to stop


class StackedNetwork(nn.Module):
    """A network of two hidden layers per fold, side by side: `(folds, rows, dim)` to `(folds, rows, outputs)`.

    It sees each number as it is, without its sign, and squared, and the length of the row, so that what depends on these
    needs few rows.

    Arguments:
        folds: How many networks; all start alike.
        dim: The number of columns.
        outputs: The number of outputs.
        hidden: The width of the hidden layers.
        gain: The size of the outputs at first.
        generator: Draws the weights.
    """

    def __init__(self, folds: int, dim: int, outputs: int, hidden: int, gain: float, generator: torch.Generator):
        super().__init__()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for i, o, size in ((3 * dim + 2, hidden, 1.0), (hidden, hidden, 1.0), (hidden, outputs, gain)):
            weight = torch.randn(1, i, o, generator=generator, dtype=torch.float32) * size / math.sqrt(i)
            self.weights.append(nn.Parameter(weight.repeat(folds, 1, 1)))
            self.biases.append(nn.Parameter(weight.new_zeros(folds, 1, o)))

    def forward(self, z: Tensor) -> Tensor:
        """The outputs of each fold's network for its rows."""
        square = z.square()
        size = square.mean(-1, keepdim=True)
        z = torch.cat([z, z.abs() - 0.8, 0.5 * (square - 1).clamp(max=8), size - 1, size.log1p()], -1)
        for i in (0, 1):
            z = F.silu(torch.baddbmm(self.biases[i], z, self.weights[i]))
        return torch.baddbmm(self.biases[2], z, self.weights[2])


def fit_stacks(
    parameters: list[nn.Parameter],
    loss: Callable[[Tensor], Tensor],
    validate: Callable[[], Tensor],
    start: Tensor,
    rows: int,
    steps: int,
    generator: torch.Generator,
) -> Tensor:
    """Fits stacks of networks and leaves in `parameters`, fold by fold, the average weights that were best.

    Arguments:
        parameters: Of shape `(folds, ...)`.
        loss: From the indices of a batch, `(folds, batch)`, to the losses of the folds, `(folds,)`.
        validate: The losses on the rows that decide when to stop, `(folds,)`, under the present parameters.
        start: What these are without any network.
        rows: How many rows a fold is fitted to.
        steps: At most.
        generator: Draws the batches.

    Returns:
        Which folds' networks are better than none, `(folds,)` bool. The parameters of the others mean nothing.
    """
    average, best = ([p.detach().clone() for p in parameters] for _ in range(2))
    optimizer = torch.optim.AdamW(parameters, LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
    lowest, improved = start.clone(), torch.zeros(len(start), dtype=torch.bool)
    waited = 0
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * _rate(step, steps)
        index = torch.stack([torch.randperm(rows, generator=generator)[:BATCH] for _ in start])
        optimizer.zero_grad()
        loss(index).sum().backward()
        optimizer.step()
        with torch.no_grad():
            for kept, now in zip(average, parameters, strict=True):
                kept.lerp_(now, 1 - min(AVERAGING, (step + 1) / (step + 10)))
            if (step + 1) % EVERY:
                continue
            losses = _under(average, parameters, validate)
            better = losses < lowest - LEAST_GAIN
            lowest, improved = torch.where(better, losses, lowest), improved | better
            for kept, now in zip(best, average, strict=True):
                kept[better] = now[better]
        waited = 0 if better.any() else waited + 1
        if waited == PATIENCE:
            break
    with torch.no_grad():
        for p, kept in zip(parameters, best, strict=True):
            p.copy_(kept)
    return improved


def _under(values: list[Tensor], parameters: list[nn.Parameter], validate: Callable[[], Tensor]) -> Tensor:
    """What `validate` says with other values in the parameters."""
    kept = [p.detach().clone() for p in parameters]
    for p, value in zip(parameters, values, strict=True):
        p.copy_(value)
    losses = validate()
    for p, value in zip(parameters, kept, strict=True):
        p.copy_(value)
    return losses


def _rate(step: int, steps: int) -> float:
    return min(1, (step + 1) / 20) * 0.5 * (1 + math.cos(math.pi * step / steps))
