"""What a device computes, on its way to the host, which does not wait; and which of some scalars are not finite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

__all__ = ["Arriving", "Watch", "gradients_of"]


class Arriving:
    """A tensor on its way to the host: reading it waits for its copy alone, and not for what was queued after that."""

    def __init__(self, tensor: Tensor):
        self.tensor, self.arrived = tensor.detach(), None
        if tensor.is_cuda:
            self.tensor = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self.tensor.copy_(tensor.detach(), non_blocking=True)
            self.arrived = torch.cuda.Event()
            self.arrived.record()

    def read(self) -> Tensor:
        """The tensor, on the host."""
        if self.arrived is not None:
            self.arrived.synchronize()
        return self.tensor


class Watch:
    """Finds out which of some scalars, given by name, are not finite, without stalling a device.

    On the CPU they are read at once. On a CUDA device, the copy of the answers to the host is queued; reading them waits for
    that copy alone, and not for what was queued after it.

    Example:
        >>> Watch({"Y": torch.tensor(1.0), "CLUB(a;b)": torch.tensor(float("nan"))}).nonfinite()
        ['CLUB(a;b)']
    """

    def __init__(self, values: Mapping[str, Tensor]):
        self.names = list(values)
        self.arrived = None
        if not values:
            return
        self.flags = Arriving(torch.stack([value.detach().float() for value in values.values()]).isfinite())
        self.arrived = self.flags.arrived

    def nonfinite(self) -> list[str]:
        """The names of those that are not finite."""
        if not self.names:
            return []
        return [name for name, finite in zip(self.names, self.flags.read().tolist(), strict=True) if not finite]


def gradients_of(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """The gradients that parameters have; of a sparse one its values. What is written into them is written into these."""
    found = []
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
        if (gradient := parameter.grad) is not None:
            found.append(gradient.values() if gradient.is_sparse else gradient)
    return found
