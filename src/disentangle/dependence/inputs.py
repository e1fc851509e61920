"""What a dependence is given: rows of numbers, or one line that says what was wanted, what was given and what to do.

One number per row may come as `(N,)`, and is taken as `(N, 1)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from disentangle.variables import Masked, as_rows

__all__ = ["fitting_rows", "joint_rows", "paired_rows", "rows_of_sizes", "same_sized_rows"]


def fitting_rows(label: str, x: Any, y: Any, x_dim: int, y_dim: int) -> tuple[Tensor | Masked, Tensor]:
    """x and y of the sizes of an estimator, at least two rows: over one row nothing can be told apart. x may be masked.

    Example:
        >>> fitting_rows("CLUB", torch.zeros(4, 3), torch.zeros(5, 2), 3, 2)
        Traceback (most recent call last):
        ValueError: expected x of shape (N, 3) and y of shape (N, 2) with the same N, got (4, 3) and (5, 2)
    """
    given_x, given_y = x, y
    x, y = as_rows(x, "x"), as_rows(y, "y")
    masked = isinstance(x, Masked)
    values = x.values if masked else x
    n = values.shape[0]
    wanted = f"x of shape ({'N, T' if masked else 'N'}, {x_dim}) and y of shape (N, {y_dim}) with the same N"
    if isinstance(y, Masked):
        raise _mismatch(wanted, (given_x, given_y))
    if values.dim() != (3 if masked else 2) or values.shape[-1] != x_dim or y.shape != (n, y_dim):
        raise _mismatch(wanted, (given_x.values if masked else given_x, given_y))
    if n < 2:
        raise ValueError(f"{label}: expected at least 2 rows to compare, got {n}")
    return x, y


def paired_rows(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    """x and y with the same number of rows, in the precision that both can have.

    Example:
        >>> [t.shape for t in paired_rows(torch.zeros(4), torch.zeros(4, 3))]
        [torch.Size([4, 1]), torch.Size([4, 3])]
    """
    x, y = joint_rows(x, y)
    return x, y


def joint_rows(*variables: Any) -> list[Tensor]:
    """Two variables or more with the same number of rows, in the precision that all can have.

    Example:
        >>> joint_rows(torch.zeros(4), torch.zeros(4, 3), torch.zeros(5, 2))
        Traceback (most recent call last):
        ValueError: expected 3 variables of shapes (N, dim) with the same N >= 1, got (4,), (4, 3), (5, 2)
    """
    given = [as_rows(z, name) for z, name in zip(variables, _names(variables), strict=True)]
    rows = [z for z in given if not isinstance(z, Masked)]
    if len(rows) != len(given) or any(z.dim() != 2 or not len(z) or len(z) != len(rows[0]) for z in rows):
        if len(given) == 2:
            raise _mismatch("x of shape (N, x_dim) and y of shape (N, y_dim) with the same N >= 1", variables)
        raise _mismatch(f"{len(given)} variables of shapes (N, dim) with the same N >= 1", variables, ", ")
    dtype = reduce(torch.promote_types, [z.dtype for z in rows], torch.float32)
    return [z.to(dtype) for z in rows]


def same_sized_rows(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    """x and y of the same shape, in the precision that both can have.

    Example:
        >>> same_sized_rows(torch.zeros(4, 3), torch.zeros(4, 2))
        Traceback (most recent call last):
        ValueError: expected x and y of the same shape (N, d), got (4, 3) and (4, 2)
    """
    given = x, y
    x, y = as_rows(x, "x"), as_rows(y, "y")
    if isinstance(x, Masked) or isinstance(y, Masked) or x.dim() != 2 or x.shape != y.shape:
        raise _mismatch("x and y of the same shape (N, d)", given)
    return paired_rows(x, y)


def rows_of_sizes(variables: Sequence[Any], sizes: Sequence[int]) -> list[Tensor]:
    """Variables of `sizes` features with the same number of rows, at least one.

    Example:
        >>> rows_of_sizes([torch.zeros(4, 3)], [3, 2])
        Traceback (most recent call last):
        ValueError: expected 2 variables of shapes (N, 3), (N, 2) with the same N >= 1, got (4, 3)
    """
    named = [as_rows(z, name) for z, name in zip(variables, _names(variables), strict=True)]
    rows = [z for z in named if not isinstance(z, Masked)]
    n = len(rows[0]) if rows else 0
    if len(rows) != len(named) or n < 1 or [tuple(z.shape) for z in rows] != [(n, size) for size in sizes]:
        wanted = ", ".join(f"(N, {size})" for size in sizes)
        raise _mismatch(f"{len(sizes)} variables of shapes {wanted} with the same N >= 1", variables, ", ")
    return rows


def _names(variables: Sequence[Any]) -> list[str]:
    return ["x", "y", *(f"others[{i}]" for i in range(len(variables) - 2))][: len(variables)]


def _mismatch(wanted: str, given: Sequence[Any], joint: str = " and ") -> ValueError:
    got = joint.join("a masked sequence" if isinstance(z, Masked) else str(tuple(z.shape)) for z in given)
    way = ": frames(...) makes a row of each real frame, .mean() one of each sequence" if "masked" in got else ""
    return ValueError(f"expected {wanted}, got {got}{way}")
