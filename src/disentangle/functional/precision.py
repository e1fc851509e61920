"""The precision in which everything here is reduced."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["at_least_float32"]


def at_least_float32(t: Tensor) -> Tensor:
    """`t` itself, or its copy in float32 where it is less precise.

    Example:
        >>> at_least_float32(torch.zeros(2, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return t.to(torch.promote_types(t.dtype, torch.float32))
