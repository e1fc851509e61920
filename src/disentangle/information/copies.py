"""Rows that are there again: copies of one draw, which count once, or values that come again."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from disentangle.information.samples import Values, Variable, is_one_hot, is_whole, standardized, values_of

__all__ = ["may_be_codes", "may_be_copies", "may_be_in_time", "may_be_labels", "repeats", "without_copies"]

FEW_VALUES = 10  # of classes that are one to one, and may be rows
LABELS = 0.75  # different values per row, at most, for an integer column to be asked about
OFTEN = 15  # rows that half of the values of a vocabulary have at least, a number unlike that of copies
AGAIN = 5  # the same, for copies to be asked about
ATOMS = 2  # pairs of values, nowhere else alone, that may be there more than √rows times without being copies
# more pairs may, where these are most of what is repeated, beside a share of rows that are there once
SINGLE, MOSTLY = 0.05, 0.9
GRID = 20  # steps between the values of a column for each of its values, at most, for it to be rounded
SELDOM = 0.1  # of the values that groups take, those that are there once, at most
BY_CHANCE = 100  # times as many equal rows as independent columns would have, at most: columns depend on one another
ALIKE = 0.3  # correlation of rows with the next ones, on both sides, below which draws are hardly fewer than rows
BEYOND_CHANCE = 5.0  # standard errors of that
INDEPENDENT = "rows of one group are not independent draws; with groups=, one row of each is used at a time"


def without_copies(sides: tuple[Variable, Variable], coded: Sequence[Values]) -> tuple[np.ndarray, list[str]]:
    """The indices of the rows to keep, of rows that are copies of one another the first; and a warning of what may be some."""
    (of_x, n_x), (of_y, n_y) = ((codes.numpy(), counts) for codes, counts in coded)
    rows = len(of_x)
    _, first, of_both, n_both = np.unique(
        of_x * len(n_y) + of_y, return_index=True, return_inverse=True, return_counts=True
    )
    if len(first) == rows:
        return np.arange(rows), []
    alone = np.zeros(len(first), bool)
    for side, codes, counts in zip(sides, (of_x, of_y), (n_x, n_y), strict=True):
        if side.classes is None and not _come_again(side.numbers, counts) and not _are_drawn(counts):
            alone |= counts[codes[first]] == n_both  # its numbers are nowhere else
    # of each group of equal rows: what is there far more often is a value, such as the zeros of both, not a row
    often = n_both * n_both > rows
    few = (often & alone).sum() <= ATOMS
    atoms = not few and _are_atoms(n_both, often)
    values = often & (few or atoms)
    repeated = (n_both > 1) & ~values
    copied = repeated & alone
    if 2 * copied.sum() <= repeated.sum():  # by chance, of rounded numbers
        pairs = f"{(often & alone).sum()} pairs of values are in {n_both[often & alone].sum()} of {rows} rows"
        return np.arange(rows), [f"{pairs}: if these are copies of rows, leave the copies out"] if atoms else []
    kept = ~copied[of_both]
    kept[first] = True
    return np.flatnonzero(kept), []


def may_be_copies(names: tuple[str, ...], sides: tuple[Variable, Variable], coded: Sequence[Values]) -> list[str]:
    """A warning where few values of both are one to one, and neither looks like names or numbers of classes."""
    (of_x, n_x), (of_y, n_y) = coded
    count, rows = len(n_x), len(of_x)
    if count < FEW_VALUES or count * OFTEN > rows or not count == len((of_x * len(n_y) + of_y).unique()) == len(n_y):
        return []
    if any(is_whole(side.numbers) or is_one_hot(side.numbers) for side in sides):
        return []
    a, b = names
    return [
        f"{a} and {b} take {count} values each, one to one, in {rows} rows: as classes they tell all of one another; "
        f"if these are copies of {count} rows, leave the copies out"
    ]


def may_be_codes(name: str, side: Variable, counts: np.ndarray) -> list[str]:
    """A warning where the values of a side whose copies were left out may be those of a codebook."""
    if side.classes is not None or np.median(counts) < AGAIN:
        return []
    return [
        f"{name} takes only {len(counts)} different values: if these are codes by design and no copies, classes=['{name}'] "
        "measures them"
    ]


def may_be_labels(name: str, side: Variable, counts: np.ndarray, array: np.ndarray) -> list[str]:
    """A warning where an integer column was taken as numbers whose values are there again, as those of labels are."""
    if side.classes is not None or array.dtype.kind not in "iu" or array.size > len(array):
        return []
    if len(counts) > LABELS * len(array):
        return []
    return [
        f"{name} has {len(counts)} values in {len(array)} rows and was taken as numbers: classes=['{name}'] if they are labels"
    ]


def repeats(name: str, side: Variable, counts: np.ndarray) -> list[str]:
    """A warning where numbers are repeated from row to row beside another y, as those of a group in each of its rows are."""
    if side.classes is not None:
        return []
    rows, different = len(side.numbers), len(counts)
    repeated = int(counts[(counts > 1) & (counts * counts <= rows)].sum())  # what is there more often is a value
    # by chance some values are there once
    if repeated <= 0.1 * rows or (counts == 1).sum() > SELDOM * different:
        return []
    if 2 * different >= _different_by_chance(side.numbers):
        return []
    return [f"{name} takes only {different} different values in {rows} rows: {INDEPENDENT}"]


def may_be_in_time(names: tuple[str, ...], sides: tuple[Variable, Variable]) -> list[str]:
    """A warning where rows are like the next ones on both sides, as steps of time are, and are not just sorted by one."""
    if not all(map(_are_like_the_next, sides)):
        return []
    return [
        f"rows next to each other are alike in {' and in '.join(names)}: if they are steps of time, or parts of one recording, "
        "they are not independent draws; groups= takes blocks of time, or recordings"
    ]


def _are_like_the_next(side: Variable) -> bool:
    columns = standardized(side.numbers.numpy())
    if side.classes is not None or (np.diff(columns, axis=0) >= 0).all(0).any():
        return False
    alike = (columns[1:] * columns[:-1]).mean(0).max()
    return bool(alike > max(ALIKE, BEYOND_CHANCE / math.sqrt(len(columns))))


def _different_by_chance(matrix: Tensor) -> int:
    """How many different rows its columns would make if they were independent; of one column, all where it is on no grid."""
    columns = [column.numpy() for column in matrix.unbind(1) if column.min() < column.max()]
    if len(columns) == 1 and not _on_grid(columns[0]):
        return len(matrix)
    draw = np.random.default_rng(0)
    return len(values_of(np.stack([draw.permutation(column) for column in columns], 1))[1])


def _come_again(matrix: Tensor, counts: np.ndarray) -> bool:
    """Whether rows may be there again by chance: columns on a grid, and hardly more equal rows than these would make."""
    columns = [column.numpy() for column in matrix.unbind(1) if column.min() < column.max()]
    if not all(map(_on_grid, columns)):
        return False
    shares = [np.unique(column, return_counts=True)[1] / len(column) for column in columns]
    by_chance = math.prod(float(np.square(share).sum()) for share in shares)
    return float((counts * (counts - 1)).sum()) <= BY_CHANCE * len(matrix) ** 2 * by_chance


def _on_grid(column: np.ndarray) -> bool:
    """Whether its numbers are whole, or lie on steps of one size, and on many of them, as rounded ones do."""
    values = np.unique(column)
    if (values == np.round(values)).all():
        return True
    gaps = np.diff(values)
    steps = gaps / gaps.min()
    return bool(steps.sum() <= GRID * len(values) and (np.abs(steps - np.round(steps)) < 0.01 * steps).all())


def _are_atoms(counts: np.ndarray, often: np.ndarray) -> bool:
    """Whether pairs that are often there are values of a mixture: beside rows that are there once, and by draws."""
    of_atoms = counts[often]
    repeated, single = counts[counts > 1].sum(), (counts == 1).sum()
    return bool(single >= SINGLE * counts.sum() and of_atoms.sum() >= MOSTLY * repeated and np.ptp(of_atoms) > 0)


def _are_drawn(counts: np.ndarray) -> bool:
    """Whether values are there as often as those of a vocabulary, such as the codes of a quantised latent.

    Half of them are in many rows, and some in more than others, as by draws. Copies of a set are equally many; rows that were
    oversampled are rarely there so often, and where only some of them were made more, half of all are there once.
    """
    return bool(np.median(counts) >= OFTEN and counts.var() >= 0.5 * counts.mean())
