"""Two variables row by row, every independent draw once."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from disentangle.information.copies import (
    may_be_codes,
    may_be_copies,
    may_be_in_time,
    may_be_labels,
    repeats,
    without_copies,
)
from disentangle.information.samples import Samples, Variable, checked_array, values_of, variable_of

__all__ = ["Pair", "as_pair", "refuse_other_order"]


class Pair(NamedTuple):
    """Two variables, row by row, without copies of a row.

    Attributes:
        x: One side.
        y: The other one.
        given: How many rows were given.
        kept: Which of them are there, in rising order.
        warnings: What was found of the rows, a sentence each.
    """

    x: Variable
    y: Variable
    given: int
    kept: np.ndarray
    warnings: tuple[str, ...]


def as_pair(
    *, classes: Collection[str] | None = None, groups: Samples | None = None, seed: int = 0, **sides: Samples
) -> Pair:
    """Two variables by name, each independent draw once.

    Of rows that are there several times one is kept. Where x and y are classes, equal rows are what is expected of
    them, and all are kept; so are equal rows of which each side is there in other rows too, such as zeros; whole numbers and
    rounded ones, in one column or in few, which are there again by chance; and those of a vocabulary: where half of the
    values are in fifteen rows or more, in some more than in others.

    Arguments:
        classes: The names of those that are classes; told from the values if not given.
        groups: `(rows,)`: rows that are no independent draws of one another, near-copies of one clip say, have the same
            value. One row of each group is kept, drawn by the seed. Where all differ, equal rows are no copies either.
        seed: Draws the rows of groups.
        sides: The two variables.

    Raises:
        TypeError: As `as_variable`.
        ValueError: As `as_variable`; where the two, or the groups, have other numbers of rows, or are pandas tables with one
            index in two orders; where `classes` names something else.
    """
    if classes is not None and (unknown := set(classes) - sides.keys()):
        raise ValueError(f"expected classes among {', '.join(sides)}, got {', '.join(sorted(unknown))}")
    refuse_other_order({**sides, "groups": groups})
    told = [None if classes is None else name in classes for name in sides]
    arrays = [checked_array(name, values) for name, values in sides.items()]
    given = len(arrays[0])
    if given != len(arrays[1]):
        names = " and ".join(sides)
        raise ValueError(f"expected {names} with the same number of rows, got {given} and {len(arrays[1])}")
    of_group = None if groups is None else _groups(groups, given)
    x, y = (variable_of(array, as_told) for array, as_told in zip(arrays, told, strict=True))
    coded = [values_of(side.numbers.numpy()) for side in (x, y)]
    independent = of_group is not None and of_group.max() + 1 == given
    kept, warnings = (np.arange(given), []) if independent else without_copies((x, y), coded)
    each = list(zip(sides, (x, y), [counts for _, counts in coded], strict=True))
    if len(kept) < given:
        warnings.append(f"{given - len(kept)} of {given} rows are copies of others: each was counted once")
        warnings += [text for side in each for text in may_be_codes(*side)]
    elif of_group is None:
        warnings += may_be_copies(tuple(sides), (x, y), coded) if classes is None else []
        warnings += [text for side in each for text in repeats(*side)]
        warnings += [] if warnings else may_be_in_time(tuple(sides), (x, y))
    if classes is None:
        warnings += [text for side, array in zip(each, arrays, strict=True) for text in may_be_labels(*side, array)]
    if of_group is not None:
        order = kept[np.random.default_rng(seed).permutation(len(kept))]
        kept = np.sort(order[np.unique(of_group[order], return_index=True)[1]])
    if len(kept) < given:  # what was taken for classes by the number of rows may be none
        x, y = (variable_of(array[kept], as_told) for array, as_told in zip(arrays, told, strict=True))
    return Pair(x, y, given, kept, tuple(warnings))


def refuse_other_order(values: Mapping[str, Any]) -> None:
    """Refuses pandas tables with the same labels of rows in another order: rows are paired by their places."""
    indices: list[tuple[str, Any]] = [(name, getattr(each, "index", None)) for name, each in values.items()]
    for (a, first), (b, other) in itertools.pairwise(each for each in indices if hasattr(each[1], "equals")):
        if not first.equals(other) and first.sort_values().equals(other.sort_values()):
            raise ValueError(
                f"expected {a} and {b} with rows in one order, got the labels of one index in two: "
                f"align them, {b}.loc[{a}.index], or give .to_numpy() where the places are right"
            )


def _groups(groups: Samples, rows: int) -> np.ndarray:
    array = checked_array("groups", groups)
    if array.size != rows:
        raise ValueError(f"expected groups as ({rows},), one for each row, got {array.shape}")
    return np.unique(array, return_inverse=True)[1].reshape(-1)
