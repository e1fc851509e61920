"""Rows as the meters take them: numbers or classes, every independent draw once."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn.functional import one_hot

__all__ = ["SALT", "Pair", "Samples", "Variable", "as_array", "as_matrix", "as_pair", "as_variable", "unit_variance"]

# (rows, dim), or (rows,) of numbers or classes; checked by the meters, whatever reads them
Samples = Tensor | np.ndarray | ArrayLike  # arrays are ArrayLike, which is slow to check at run time
ROWS_PER_CLASS = 5  # on average, for whole numbers to be taken for classes
ROWS_PER_INTEGER = 2  # the same for a column of an integer type
FEW_VALUES = 10  # of classes that are one to one, and may be rows
OFTEN = 15  # rows that half of the values of a vocabulary have at least, a number unlike that of copies
AGAIN = 5  # the same, for copies to be asked about
ATOMS = 2  # pairs of values, nowhere else alone, that may be there more than √rows times without being copies
SALT = 0x6A09E667  # what is added to a variable as noise must not be what it was drawn from, by the same seed
INDEPENDENT = "rows of one group are not independent draws; with groups=, one row of each is used at a time"


_Values = tuple[Tensor, np.ndarray]  # the number of each row's value, and how often each value is there


class Variable(NamedTuple):
    """One side of a pair.

    Attributes:
        numbers: `(rows, dim)` float64 on the CPU; one-hot of names, and of a column that is said to be classes or holds
            whole numbers with five rows per value.
        classes: `(rows,)` int64, 0 to C-1, each of them in at least one row, where the variable is classes; else `None`.
        order: Numbers that the classes can be taken for as well, `(rows, dim)`: where they were those of one column, their
            places in order; where they were many rows of several columns, these columns.
    """

    numbers: Tensor
    classes: Tensor | None = None
    order: Tensor | None = None


class Pair(NamedTuple):
    """Two variables, row by row, without copies of a row.

    Attributes:
        x: One side.
        y: The other one.
        given: How many rows were given.
        warnings: What was found of the rows, a sentence each.
    """

    x: Variable
    y: Variable
    given: int
    warnings: tuple[str, ...]


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
    return _variable(_array(name, values), classes)


def as_matrix(name: str, values: Samples) -> Tensor:
    """The numbers of a variable, `(rows, dim)` in float64 on the CPU; see `as_variable`."""
    array = _array(name, values)
    return _variable(array, False if array.dtype.kind == "f" else None).numbers  # only integers become one-hot


def as_pair(
    *, classes: Collection[str] | None = None, groups: Samples | None = None, seed: int = 0, **sides: Samples
) -> Pair:
    """Two variables by name, each independent draw once.

    Of rows that are there several times one is kept. Where x and y are classes, equal rows are what is expected of
    them, and all are kept; so are equal rows of which each number is there in other rows too, such as zeros, and those of a
    vocabulary: where half of the values are in fifteen rows or more, in some more than in others.

    Arguments:
        classes: The names of those that are classes; told from the values if not given.
        groups: `(rows,)`: rows that are no independent draws of one another, near-copies of one clip say, have the same
            value. One row of each group is kept, drawn by the seed.
        seed: Draws the rows of groups.
        sides: The two variables.

    Raises:
        TypeError: As `as_variable`.
        ValueError: As `as_variable`; where the two, or the groups, have other numbers of rows; where `classes` names
            something else.
    """
    if classes is not None and (unknown := set(classes) - sides.keys()):
        raise ValueError(f"expected classes among {', '.join(sides)}, got {', '.join(sorted(unknown))}")
    told = [None if classes is None else name in classes for name in sides]
    arrays = [_array(name, values) for name, values in sides.items()]
    given = len(arrays[0])
    if given != len(arrays[1]):
        names = " and ".join(sides)
        raise ValueError(f"expected {names} with the same number of rows, got {given} and {len(arrays[1])}")
    of_group = None if groups is None else _groups(groups, given)
    x, y = (_variable(array, as_told) for array, as_told in zip(arrays, told, strict=True))
    coded = [_codes(side.numbers.numpy()) for side in (x, y)]
    kept, warnings = _without_copies((x, y), coded), []
    each = list(zip(sides, (x, y), [counts for _, counts in coded], strict=True))
    if len(kept) < given:
        warnings.append(f"{given - len(kept)} of {given} rows are copies of others: each was counted once")
        warnings += [text for side in each for text in _may_be_codes(*side)]
    elif of_group is None:
        warnings += _may_be_copies(tuple(sides), (x, y), coded) if classes is None else []
        warnings += [text for side in each for text in _repeats(*side)]
    if of_group is not None:
        order = kept[np.random.default_rng(seed).permutation(len(kept))]
        kept = np.sort(order[np.unique(of_group[order], return_index=True)[1]])
    if len(kept) < given:  # what was taken for classes by the number of rows may be none
        x, y = (_variable(array[kept], as_told) for array, as_told in zip(arrays, told, strict=True))
    return Pair(x, y, given, tuple(warnings))


def unit_variance(matrix: np.ndarray) -> np.ndarray:
    """The columns that vary, with mean 0 and variance 1; constant ones are left out."""
    centered = matrix / np.maximum(np.abs(matrix).max(0), np.finfo(float).tiny)  # so that no square overflows
    centered = centered[:, np.ptp(centered, axis=0) > 0]
    centered = centered - centered.mean(0)
    return centered / centered.std(0)


def _variable(array: np.ndarray, classes: bool | None) -> Variable:
    if array.dtype.kind in "SU":
        codes = torch.from_numpy(np.unique(array, return_inverse=True)[1].reshape(-1))
        return Variable(one_hot(codes).double(), None if classes is False else codes)
    matrix = torch.from_numpy(array.astype(np.float64).reshape(len(array), -1))
    if classes is False:
        return Variable(matrix)
    column, integers = matrix.shape[1] == 1, array.dtype.kind in "bui"
    codes, counts = _codes(array.reshape(len(array), -1) if integers else matrix.numpy())  # float64 merges large ones
    few = len(counts) ** 2 <= len(matrix) or _one_hot(matrix)
    if integers and column:
        few |= len(counts) * (1 if array.dtype.kind == "b" else ROWS_PER_INTEGER) <= len(matrix)
    if not (classes or few or _are_whole_classes(matrix, len(counts))):
        return Variable(matrix)
    if not column:
        return Variable(matrix, codes, None if classes or few else matrix)
    nominal = classes or (_whole(matrix) and len(counts) * ROWS_PER_CLASS <= len(matrix))
    return Variable(one_hot(codes).double() if nominal else matrix, codes, codes.double()[:, None])


def as_array(values: Samples) -> np.ndarray:
    """The values of a tensor on any device, an array, a list, or a pandas series or frame, as they are."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = (values.float() if values.dtype in (torch.bfloat16, torch.half) else values).numpy()
    return np.asarray(values)


def _array(name: str, values: Samples) -> np.ndarray:
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
        raise TypeError(f"expected {name} as numbers, or one column of names, got {array.dtype}")
    if array.dtype.kind == "f" and (bad := int((~np.isfinite(array)).sum())):
        raise ValueError(f"expected {name} finite, got {bad} of {array.size} values that are not")
    return array


def _of_objects(name: str, array: np.ndarray) -> np.ndarray:
    """The same as numbers or as names, as a column of a frame may hold them."""
    missing = sum(map(_missing, array.flat))
    if missing:
        raise ValueError(f"expected {name} without missing values, got {missing}: leave these rows out")
    kinds = {type(value) for value in array.flat}
    if all(issubclass(kind, str | bytes) for kind in kinds):
        return array.astype(str)
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError):
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise TypeError(f"expected {name} as numbers, or one column of names, got {names}") from None


def _missing(value: object) -> bool:
    try:
        return value is None or bool(value != value)
    except TypeError:  # of pandas' NA, which is neither equal to itself nor not
        return True


def _codes(matrix: np.ndarray) -> _Values:
    """The number of each row's value (in rising order for a single column), and how often each value occurs."""
    if matrix.shape[1] == 1:
        _, codes, counts = np.unique(matrix[:, 0], return_inverse=True, return_counts=True)
    else:
        rows = np.ascontiguousarray(matrix.astype(np.float64) + 0.0)  # there is one zero only
        rows = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).reshape(-1)
        _, codes, counts = np.unique(rows, return_inverse=True, return_counts=True)
    return torch.from_numpy(codes.reshape(-1)), counts


def _are_whole_classes(matrix: Tensor, values: int) -> bool:
    """Whether it is whole numbers with five rows per value, which could make no more different rows than there are."""
    if values * ROWS_PER_CLASS > len(matrix) or not bool((matrix == matrix.round()).all()):
        return False
    return _possible_rows(matrix) <= len(matrix)


def _possible_rows(matrix: Tensor) -> float:
    """How many different rows the values of the columns could make."""
    return math.prod(float(len(column.unique())) for column in matrix.unbind(1))


def _whole(matrix: Tensor) -> bool:
    """Whether it is a single column of whole numbers, where equal values are expected."""
    return matrix.shape[1] == 1 and bool((matrix == matrix.round()).all())


def _one_hot(matrix: Tensor) -> bool:
    return bool(((matrix == 0) | (matrix == 1)).all() and (matrix.sum(1) == 1).all())


def _without_copies(sides: tuple[Variable, Variable], coded: Sequence[_Values]) -> np.ndarray:
    """The indices of the rows to keep: of rows that are copies of one another, the first."""
    (of_x, n_x), (of_y, n_y) = ((codes.numpy(), counts) for codes, counts in coded)
    rows = len(of_x)
    _, first, of_both, n_both = np.unique(
        of_x * len(n_y) + of_y, return_index=True, return_inverse=True, return_counts=True
    )
    alone = np.zeros(len(first), bool)
    for side, codes, counts in zip(sides, (of_x, of_y), (n_x, n_y), strict=True):
        if side.classes is None and not _whole(side.numbers) and not _are_drawn(counts):
            alone |= counts[codes[first]] == n_both  # its numbers are nowhere else
    # of each group of equal rows: what is there far more often is a value, such as the zeros of both, not a row
    often = n_both * n_both > rows
    values = often & ((often & alone).sum() <= ATOMS)
    repeated = (n_both > 1) & ~values
    copied = repeated & alone
    if 2 * copied.sum() <= repeated.sum():  # by chance, of rounded numbers
        return np.arange(rows)
    kept = ~copied[of_both]
    kept[first] = True
    return np.flatnonzero(kept)


def _are_drawn(counts: np.ndarray) -> bool:
    """Whether values are there as often as those of a vocabulary, such as the codes of a quantised latent.

    Half of them are in many rows, and some in more than others, as by draws. Copies of a set are equally many; rows that were
    oversampled are rarely there so often, and where only some of them were made more, half of all are there once.
    """
    return bool(np.median(counts) >= OFTEN and counts.var() >= 0.5 * counts.mean())


def _may_be_copies(names: tuple[str, ...], sides: tuple[Variable, Variable], coded: Sequence[_Values]) -> list[str]:
    """A warning where few values of both are one to one, and neither looks like names or numbers of classes."""
    (of_x, n_x), (of_y, n_y) = coded
    count, rows = len(n_x), len(of_x)
    if count < FEW_VALUES or count * OFTEN > rows or not count == len((of_x * len(n_y) + of_y).unique()) == len(n_y):
        return []
    if any(_whole(side.numbers) or _one_hot(side.numbers) for side in sides):
        return []
    a, b = names
    return [
        f"{a} and {b} take {count} values each, one to one, in {rows} rows: as classes they tell all of one another; "
        f"if these are copies of {count} rows, leave the copies out"
    ]


def _may_be_codes(name: str, side: Variable, counts: np.ndarray) -> list[str]:
    """A warning where the values of a side whose copies were left out may be those of a codebook."""
    if side.classes is not None or np.median(counts) < AGAIN:
        return []
    return [
        f"{name} takes only {len(counts)} different values: if these are codes by design and no copies, classes=['{name}'] "
        "measures them"
    ]


def _repeats(name: str, side: Variable, counts: np.ndarray) -> list[str]:
    """A warning where several columns of numbers are repeated from row to row beside another y, more than by chance."""
    if side.classes is not None or side.numbers.shape[1] < 2:
        return []
    rows = len(side.numbers)
    repeated = int(counts[(counts > 1) & (counts * counts <= rows)].sum())  # what is there more often is a value
    possible = _possible_rows(side.numbers)
    by_chance = -possible * math.expm1(-rows / possible)  # the different ones of so many, were all equally frequent
    if repeated <= 0.1 * rows or 2 * len(counts) >= by_chance:
        return []
    return [f"{name} takes only {len(counts)} different values in {rows} rows: {INDEPENDENT}"]


def _groups(groups: Samples, rows: int) -> np.ndarray:
    array = _array("groups", groups)
    if array.size != rows:
        raise ValueError(f"expected groups as ({rows},), one for each row, got {array.shape}")
    return np.unique(array, return_inverse=True)[1].reshape(-1)
