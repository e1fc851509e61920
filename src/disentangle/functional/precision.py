"""The precision in which everything here is computed and reduced."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["at_least_float32", "in_precision_of"]


def at_least_float32(t: Tensor) -> Tensor:
    """`t` itself, or its copy in float32 where it is less precise.

    Example:
        >>> at_least_float32(torch.zeros(2, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return t.to(torch.promote_types(t.dtype, torch.float32))


def in_precision_of(weight: Tensor, x: Tensor, name: str) -> Tensor:
    """`x` as the layer of `weight` takes it: whole numbers, booleans and lower precision lose nothing by it.

    Under autocast, which chooses the precision itself, that is at least float32.

    Raises:
        ValueError: If x is more precise than the layer, which would round it unasked.

    Example:
        >>> in_precision_of(torch.zeros(2, 2), torch.zeros(4, 2, dtype=torch.bfloat16), "x").dtype
        torch.float32
        >>> in_precision_of(torch.zeros(2, 2), torch.zeros(4, 2, dtype=torch.float64), "x")
        Traceback (most recent call last):
        ValueError: expected x in torch.float32, the precision of the parameters, or lower, got torch.float64:
        convert x by .to(torch.float32), or the estimator by .to(torch.float64)
    """
    if x.dtype == weight.dtype:
        return x
    device = x.device.type
    autocast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    wanted = torch.promote_types(weight.dtype, torch.float32) if autocast else weight.dtype
    if torch.promote_types(x.dtype, wanted) != wanted:
        raise ValueError(
            f"expected {name} in {wanted}, the precision of the parameters, or lower, got {x.dtype}: "
            f"convert {name} by .to({wanted}), or the estimator by .to({x.dtype})"
        )
    return x.to(wanted)
