"""Finding out, without stalling a device, which of some numbers are not finite."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["Watch"]


class Watch:
    """Scalars by name, some of which may not be finite. On the CPU they are read at once. On another device their flags
    start on their way to the host, and reading them waits for what was computed up to here, not for what came after.

    Example:
        >>> Watch({"Y": torch.tensor(1.0), "CLUB(a;b)": torch.tensor(float("nan"))}).nonfinite()
        ['CLUB(a;b)']
    """

    def __init__(self, values: Mapping[str, Tensor]):
        self.names = list(values)
        self.arrived = None
        if not values:
            return
        flags = torch.stack([value.detach().float() for value in values.values()]).isfinite()
        if flags.is_cuda:
            self.flags = torch.empty(flags.shape, dtype=flags.dtype, pin_memory=True)
            self.flags.copy_(flags, non_blocking=True)
            self.arrived = torch.cuda.Event()
            self.arrived.record()
        else:
            self.flags = flags

    def nonfinite(self) -> list[str]:
        """The names of those that are not finite."""
        if not self.names:
            return []
        if self.arrived is not None:
            self.arrived.synchronize()
        return [name for name, finite in zip(self.names, self.flags.tolist(), strict=True) if not finite]
