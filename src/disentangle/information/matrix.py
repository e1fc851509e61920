"""Matrices of samples, as the meters take them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["Matrix", "as_matrices", "as_matrix", "standardised"]

Matrix = Tensor | np.ndarray  # (rows, dim); checked by the meters themselves, whatever reads them


def as_matrix(name: str, values: Matrix) -> Tensor:
    """`(rows, dim)` in float64 on the CPU."""
    matrix = torch.as_tensor(values).detach().to("cpu", torch.float64)
    if matrix.ndim != 2 or matrix.shape[0] < 2:
        raise ValueError(f"expected {name} as (rows, dim) with at least 2 rows, got shape {tuple(matrix.shape)}")
    bad = int((~matrix.isfinite()).sum())
    if bad:
        raise ValueError(f"expected {name} finite, got {bad} of {matrix.numel()} values that are not")
    return matrix


def as_matrices(**sides: Matrix) -> tuple[Tensor, Tensor]:
    """Two matrices with the same number of rows, by name, as `as_matrix` gives them."""
    (first, a), (second, b) = ((name, as_matrix(name, values)) for name, values in sides.items())
    if len(a) != len(b):
        raise ValueError(f"expected {first} and {second} with the same number of rows, got {len(a)} and {len(b)}")
    return a, b


def standardised(matrix: np.ndarray) -> np.ndarray:
    """The columns that vary, with mean 0 and variance 1; constant ones are left out."""
    centred = matrix / np.maximum(np.abs(matrix).max(0), np.finfo(float).tiny)  # so that no square overflows
    centred = centred[:, np.ptp(centred, axis=0) > 0]
    centred = centred - centred.mean(0)
    return centred / centred.std(0)
