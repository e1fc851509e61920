"""Rows as the meters take them: numbers or classes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn.functional import one_hot

from disentangle.arrays import as_array, is_missing

__all__ = [
    "SALT",
    "NamedSamples",
    "Samples",
    "Values",
    "Variable",
    "as_matrix",
    "as_variable",
    "by_name",
    "checked_array",
    "is_one_hot",
    "is_whole",
    "standardized",
    "unit_variance",
    "values_of",
    "variable_of",
]

# (rows, dim), or (rows,) of numbers or classes; checked by the meters, whatever reads them
Samples = Tensor | np.ndarray | ArrayLike  # arrays are ArrayLike, which is slow to check at run time
Values = tuple[Tensor, np.ndarray]  # the number of each row's value, and how often each value is there
ROWS_PER_CLASS = 5  # on average, for whole numbers to be taken for classes
ROWS_PER_INTEGER = 2  # the same for a column of an integer type
SALT = 0x6A09E667  # what is added to a variable as noise must not be what it was drawn from, by the same seed


@runtime_checkable
class NamedSamples(Protocol):
    """Variables by their names: a mapping, or a pandas frame, whose columns they are."""

    def keys(self) -> Iterable[Any]:
        """The names."""
        ...

    def __getitem__(self, name: Any, /) -> Any: ...


class Variable(NamedTuple):
    """One side of a pair.

    Attributes:
        numbers: `(rows, dim)` float64 on the CPU; one-hot of names, and of a column that is said to be classes or holds
            whole numbers with five rows per value.
        classes: `(rows,)` int64, 0 to C-1, each of them in at least one row, where the variable is classes; else `None`.
        order: Numbers that the classes can be taken for as well, `(rows, dim)`: where they were those of one column, their
            places in order; where they were many rows of several columns, these columns.
        eps: The rounding of the floats that the numbers were, relative to them; 0 where they were whole.
    """

    numbers: Tensor
    classes: Tensor | None = None
    order: Tensor | None = None
    eps: float = 0.0


def as_variable(name: str, values: Samples, classes: bool | None = None) -> Variable:
    """The numbers of a variable, and its classes where it has some.

    What counts as classes unless it is said: names, a column of booleans and one-hot rows; a column of an integer type with
    two rows per value on average; columns of whole numbers that could make no more different rows than there are, with five
    rows per value; and anything that takes at most √rows different values.

    Arguments:
        name: For errors.
        values: A tensor on any device, an array, a list, or a pandas series or frame, `(rows,)` or `(rows, dim)`.
        classes: Whether each different row is a class; told from the values if not given.

    Raises:
        TypeError: For values that are neither numbers nor names, or several columns of names.
        ValueError: For another shape, fewer than 2 rows, or values that are missing or not finite.
    """
    return variable_of(checked_array(name, values), classes)


def as_matrix(name: str, values: Samples) -> Tensor:
    """The numbers of a variable, `(rows, dim)` in float64 on the CPU; see `as_variable`."""
    array = checked_array(name, values)
    return variable_of(array, False if array.dtype.kind == "f" else None).numbers  # only integers become one-hot


def standardized(matrix: np.ndarray) -> np.ndarray:
    """The columns with mean 0 and variance 1; constant ones are 0."""
    scaled = matrix / np.maximum(np.abs(matrix).max(0), np.finfo(float).tiny)  # so that no square overflows
    varying = np.ptp(scaled, axis=0) > 0
    centered = np.where(varying, scaled - scaled.mean(0), 0.0)
    return centered / np.where(varying, centered.std(0), 1.0)


def unit_variance(matrix: np.ndarray) -> np.ndarray:
    """The same without the columns that are constant."""
    columns = standardized(matrix)
    return columns[:, columns.any(0)]


def by_name(what: str, values: NamedSamples) -> dict[str, Samples]:
    """Variables by their names, as a mapping or a pandas frame has them; `TypeError` for anything else."""
    if not isinstance(values, NamedSamples):
        raise TypeError(f"expected {what} by name, {{name: values}}, got {type(values).__name__}")
    return {name: values[name] for name in values.keys()}  # noqa: SIM118 - of any mapping or frame


def checked_array(name: str, values: Samples) -> np.ndarray:
    """`(rows,)` or `(rows, dim)` of numbers, booleans or, as one column, names."""
    array = as_array(values)
    if array.ndim not in (1, 2) or len(array) < 2 or array.size == 0:
        way = f": of draws of a latent's noise give one, {name}[0]" if array.ndim == 3 else ""
        raise ValueError(
            f"expected {name} as (rows, dim) or (rows,) with at least 2 rows, got shape {array.shape}{way}"
        )
    if array.dtype.kind == "O":
        array = _of_objects(name, array)
    if array.dtype.kind in "SU" and array.ndim == 2 and array.shape[1] > 1:
        raise TypeError(f"expected names in one column, got {array.shape[1]} columns of {name}: give them one by one")
    if array.dtype.kind not in "biufSU":
        cure = _seconds(name) if array.dtype.kind in "mM" else ""
        raise TypeError(f"expected {name} as numbers, or one column of names, got {array.dtype}{cure}")
    if array.dtype.kind == "f" and (bad := int((~np.isfinite(array)).sum())):
        raise ValueError(f"expected {name} finite, got {bad} of {array.size} values that are not")
    return array


def values_of(matrix: np.ndarray) -> Values:
    """The number of each row's value (in rising order for a single column), and how often each value occurs."""
    if matrix.shape[1] == 1:
        _, codes, counts = np.unique(matrix[:, 0], return_inverse=True, return_counts=True)
    else:
        rows = np.ascontiguousarray(matrix.astype(np.float64) + 0.0)  # there is one zero only
        rows = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).reshape(-1)
        _, codes, counts = np.unique(rows, return_inverse=True, return_counts=True)
    return torch.from_numpy(codes.reshape(-1)), counts


def is_whole(matrix: Tensor) -> bool:
    """Whether it is a single column of whole numbers, where equal values are expected."""
    return matrix.shape[1] == 1 and bool((matrix == matrix.round()).all())


def is_one_hot(matrix: Tensor) -> bool:
    """Whether each row has a single 1, and 0 elsewhere."""
    return bool(((matrix == 0) | (matrix == 1)).all() and (matrix.sum(1) == 1).all())


def variable_of(array: np.ndarray, classes: bool | None) -> Variable:
    """The variable of checked values; see `as_variable`."""
    if array.dtype.kind in "SU":
        codes = torch.from_numpy(np.unique(array, return_inverse=True)[1].reshape(-1))
        return Variable(one_hot(codes).double(), None if classes is False else codes)
    matrix = torch.from_numpy(array.astype(np.float64).reshape(len(array), -1))
    of_numbers = Variable(matrix, eps=float(np.finfo(array.dtype).eps) if array.dtype.kind == "f" else 0.0)
    if classes is False:
        return of_numbers
    column, integers = matrix.shape[1] == 1, array.dtype.kind in "bui"
    codes, counts = values_of(
        array.reshape(len(array), -1) if integers else matrix.numpy()
    )  # float64 merges large ones
    few = len(counts) ** 2 <= len(matrix) or is_one_hot(matrix)
    if integers and column:
        few |= len(counts) * (1 if array.dtype.kind == "b" else ROWS_PER_INTEGER) <= len(matrix)
    if not (classes or few or _are_whole_classes(matrix, len(counts))):
        return of_numbers
    if not column:
        return Variable(matrix, codes, None if classes or few else matrix)
    nominal = classes or (is_whole(matrix) and len(counts) * ROWS_PER_CLASS <= len(matrix))
    return Variable(one_hot(codes).double() if nominal else matrix, codes, codes.double()[:, None])


def _of_objects(name: str, array: np.ndarray) -> np.ndarray:
    """The same as numbers or as names, as a column of a frame may hold them."""
    missing = sum(map(is_missing, array.flat))
    if missing:
        raise ValueError(f"expected {name} without missing values, got {missing}: leave these rows out")
    kinds = {type(value) for value in array.flat}
    if all(issubclass(kind, str | bytes) for kind in kinds):
        return array.astype(str)
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError):
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        cure = _seconds(name) if all(issubclass(kind, date | timedelta) for kind in kinds) else ""
        raise TypeError(f"expected {name} as numbers, or one column of names, got {names}{cure}") from None


def _seconds(name: str) -> str:
    return f": give seconds, ({name} - {name}.min()) / numpy.timedelta64(1, 's')"


def _are_whole_classes(matrix: Tensor, values: int) -> bool:
    """Whether it is whole numbers with five rows per value, which could make no more different rows than there are."""
    if values * ROWS_PER_CLASS > len(matrix) or not bool((matrix == matrix.round()).all()):
        return False
    return math.prod(float(len(column.unique())) for column in matrix.unbind(1)) <= len(matrix)
