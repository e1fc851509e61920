"""What a dependence is given: rows of numbers, or one line that says what was wanted, what was given and what to do.

One number per row may come as `(N,)` floats, and is taken as `(N, 1)`. Whole numbers and booleans, `(N,)` or `(N, 1)`, are
classes. Where numbers are needed they become one-hot: a column for each class of the batch, or as many as an estimator
was built for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from disentangle.errors import TooFewRowsError
from disentangle.functional.classes import one_hot
from disentangle.functional.inputs import refuse_classes
from disentangle.variables import Masked, as_rows

__all__ = [
    "columns_of",
    "fitting_rows",
    "joint_rows",
    "mismatch",
    "paired_rows",
    "refuse_other_than_pairs",
    "rows_of_sizes",
    "same_sized_rows",
]


def columns_of(variable: Any, name: str, columns: int | None, dtype: torch.dtype = torch.float32) -> Tensor | Masked:
    """A variable whose classes, `(N,)` whole numbers, are one-hot in so many columns; without a number, in those of the batch.

    Raises:
        ValueError: If one column is wanted, which classes do not fit into; on the CPU, if a class is not below `columns`.

    Example:
        >>> columns_of(torch.tensor([2, 0]), "x", 3)
        tensor([[0., 0., 1.],
                [1., 0., 0.]])
        >>> columns_of(torch.tensor([2, 0]), "x", 1)
        Traceback (most recent call last):
        ValueError: expected x as one number per row, got whole numbers (2,), which are classes: x.float() makes numbers of them
    """
    rows = as_rows(variable, name)
    if isinstance(rows, Masked) or rows.dim() != 1:
        return rows
    if columns == 1:
        raise ValueError(
            f"expected {name} as one number per row, got whole numbers {tuple(rows.shape)}, which are classes: "
            f"{name}.float() makes numbers of them"
        )
    return one_hot(rows, columns, dtype)


def fitting_rows(
    label: str,
    x: Any,
    y: Any,
    x_dim: int,
    y_dim: int,
    dtype: torch.dtype = torch.float32,
    *,
    one_hot_y: bool = False,
) -> tuple[Tensor | Masked, Tensor]:
    """x and y of the sizes of an estimator, at least two rows: over one row nothing can be told apart. x may be masked.

    Classes x become `x_dim` columns in `dtype`, and so do classes y where it is asked for; else they stay `(N,)`, for a q(y|x)
    of one column to take or to refuse.

    Example:
        >>> fitting_rows("CLUB", torch.zeros(4, 3), torch.zeros(5, 2), 3, 2)
        Traceback (most recent call last):
        ValueError: expected x of shape (N, 3) and y of shape (N, 2) with the same N, got (4, 3) and (5, 2)
    """
    given_x, given_y = x, y
    x = columns_of(x, "x", x_dim, dtype)
    y = columns_of(y, "y", y_dim, dtype) if one_hot_y else as_rows(y, "y")
    masked = isinstance(x, Masked)
    values = x.values if masked else x
    n = values.shape[0]
    wanted = f"x of shape ({'N, T' if masked else 'N'}, {x_dim}) and y of shape (N, {y_dim}) with the same N"
    if isinstance(y, Masked):
        raise mismatch(wanted, (given_x, given_y))
    if y.dim() == 1 and y_dim > 1:
        refuse_classes(y)
    if values.dim() != (3 if masked else 2) or values.shape[-1] != x_dim or y.shape not in ((n, y_dim), (n,)):
        raise mismatch(wanted, (given_x.values if masked else given_x, given_y))
    if n < 2:
        raise TooFewRowsError(f"{label}: expected at least 2 rows to compare, got {n}")
    return x, y


def paired_rows(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    """x and y with the same number of rows, in the precision that both can have; classes one-hot.

    Example:
        >>> [t.shape for t in paired_rows(torch.zeros(4), torch.zeros(4, 3))]
        [torch.Size([4, 1]), torch.Size([4, 3])]
    """
    x, y = joint_rows(x, y)
    return x, y


def joint_rows(*variables: Any) -> list[Tensor]:
    """Two variables or more with the same number of rows, in the precision that all can have; classes one-hot.

    Example:
        >>> joint_rows(torch.zeros(4), torch.zeros(4, 3), torch.zeros(5, 2))
        Traceback (most recent call last):
        ValueError: expected 3 variables of shapes (N, dim) with the same N >= 1, got (4,), (4, 3), (5, 2)
    """
    given = [columns_of(z, name, None) for z, name in zip(variables, _names(variables), strict=True)]
    rows = [z for z in given if not isinstance(z, Masked)]
    if len(rows) != len(given) or any(z.dim() != 2 or not len(z) or len(z) != len(rows[0]) for z in rows):
        if len(given) == 2:
            raise mismatch("x of shape (N, x_dim) and y of shape (N, y_dim) with the same N >= 1", variables)
        raise mismatch(f"{len(given)} variables of shapes (N, dim) with the same N >= 1", variables, ", ")
    return _of_one_precision(rows)


def same_sized_rows(x: Any, y: Any, *, matched: bool = True) -> tuple[Tensor, Tensor]:
    """x and y of one number of features, in the precision that both can have. Classes have no place there.

    Their rows belong together; where they are not `matched`, their numbers may differ.

    Example:
        >>> same_sized_rows(torch.zeros(4, 3), torch.zeros(4, 2))
        Traceback (most recent call last):
        ValueError: expected x and y of the same shape (N, d), got (4, 3) and (4, 2)
    """
    given = x, y
    x, y = as_rows(x, "x"), as_rows(y, "y")
    for z, name in ((x, "x"), (y, "y")):
        if not isinstance(z, Masked) and z.dim() == 1:
            raise ValueError(
                f"expected {name} as numbers, got whole numbers {tuple(z.shape)}, which are classes: HSIC and others of any "
                f"sizes take them; {name}.float() makes numbers of them"
            )
    first = 0 if matched else 1
    if (
        isinstance(x, Masked)
        or isinstance(y, Masked)
        or not x.dim() == y.dim() == 2
        or x.shape[first:] != y.shape[first:]
    ):
        raise mismatch(
            "x and y of the same shape (N, d)" if matched else "x of shape (N, d) and y of shape (M, d)", given
        )
    x, y = _of_one_precision([x, y])
    return x, y


def rows_of_sizes(
    variables: Sequence[Any], sizes: Sequence[int], dtype: torch.dtype = torch.float32, *, matched: bool = True
) -> list[Tensor]:
    """Variables of `sizes` features, at least one row each, as many rows of all if they are `matched`; classes one-hot.

    Example:
        >>> rows_of_sizes([torch.zeros(4, 3)], [3, 2])
        Traceback (most recent call last):
        ValueError: expected 2 variables of shapes (N, 3), (N, 2) with the same N >= 1, got (4, 3)
    """
    sized = zip(variables, _names(variables), [*sizes, *[None] * len(variables)], strict=False)
    named = [columns_of(z, name, size, dtype) for z, name, size in sized]
    rows = [z for z in named if not isinstance(z, Masked)]
    counts = {len(z) for z in rows}
    wrong = len(rows) != len(named) or [tuple(z.shape[1:]) for z in rows] != [(size,) for size in sizes]
    if wrong or 0 in counts or (matched and len(counts) > 1):
        wanted = ", ".join(f"(N, {size})" for size in sizes)
        which = " with the same N >= 1" if matched else " with N >= 1 of each"
        raise mismatch(f"{len(sizes)} variables of shapes {wanted}{which}", variables, ", ")
    return rows


def refuse_other_than_pairs(dependence: Any) -> None:
    """Refuses a dependence to wrap that takes more than x and y."""
    if dependence.variables not in (2, None):
        raise ValueError(
            f"expected a dependence of two variables, got a {type(dependence).__name__} of {dependence.variables}"
        )


def _of_one_precision(rows: Sequence[Tensor]) -> list[Tensor]:
    dtype = reduce(torch.promote_types, [z.dtype for z in rows], torch.float32)
    return [z.to(dtype) for z in rows]


def _names(variables: Sequence[Any]) -> list[str]:
    return ["x", "y", *(f"others[{i}]" for i in range(len(variables) - 2))][: len(variables)]


def mismatch(wanted: str, given: Sequence[Any], joint: str = " and ") -> ValueError:
    """The error of variables of other shapes than wanted."""
    got = joint.join("a masked sequence" if isinstance(z, Masked) else str(tuple(z.shape)) for z in given)
    way = ": frames(...) makes a row of each real frame, .mean() one of each sequence" if "masked" in got else ""
    return ValueError(f"expected {wanted}, got {got}{way}")
