"""Matrices of samples, as the meters take them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["Matrix", "as_matrix"]

Matrix = Tensor | np.ndarray  # (rows, dim); checked by the meters themselves, whatever reads them


def as_matrix(name: str, values: Matrix) -> Tensor:
    """`(rows, dim)` in float64 on the CPU."""
    matrix = torch.as_tensor(values).detach().to("cpu", torch.float64)
    if matrix.ndim != 2 or matrix.shape[0] < 2:
        raise ValueError(f"wanted {name} as (rows, dim) with at least 2 rows, given shape {tuple(matrix.shape)}")
    bad = int((~matrix.isfinite()).sum())
    if bad:
        raise ValueError(f"wanted {name} finite, given {bad} of {matrix.numel()} values that are not")
    return matrix
