"""What metrics take: predictions and labels as vectors of float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor, float64

__all__ = ["Array", "vector", "vectors"]

Array = Tensor | np.ndarray | Sequence[float | int]


def vectors(prediction: Array, label: Array) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and labels as `(N,)` each; raises `ValueError` where their shapes are wrong or values are not finite."""
    p, y = _float64(prediction), _float64(label)
    if p.ndim != 1 or p.shape != y.shape:
        raise ValueError(f"expected prediction and label of the same shape (N,), got {p.shape} and {y.shape}")
    return vector(p, "prediction"), vector(y, "label")


def vector(values: Array, name: str = "label") -> np.ndarray:
    """One of the two, `(N,)`, with at least one sample; `name` is what errors call it."""
    array = _float64(values)
    if array.ndim != 1:
        raise ValueError(f"expected {name} of shape (N,), got {array.shape}")
    if array.size == 0:
        raise ValueError("expected at least 1 sample, got 0")
    bad = int((~np.isfinite(array)).sum())
    if bad:
        raise ValueError(f"expected {name} finite, got {bad} of {array.size} values that are not")
    return array


def _float64(values: Array) -> np.ndarray:
    if isinstance(values, Tensor):  # by way of torch, since numpy has no bfloat16
        values = values.detach().to("cpu", float64).numpy()
    if isinstance(values, np.ma.MaskedArray):
        values = np.ma.filled(values.astype(np.float64), np.nan)
    return np.asarray(values, dtype=np.float64)
