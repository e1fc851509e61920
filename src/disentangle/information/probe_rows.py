"""Which rows a probe is fitted to, and which it is asked about: halves or given rows, each in all draws of its noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from disentangle.arrays import as_array
from disentangle.information.pair import as_pair
from disentangle.information.samples import Samples, Variable, as_variable

__all__ = ["Folds", "halves", "in_turn", "rows_for", "side_by_side"]

Folds = Sequence[tuple[np.ndarray, np.ndarray]]  # the rows to fit to, and the rows to predict


def halves(target: Variable, seed: int) -> Folds:
    """Two halves of the rows, each to be predicted from the other; of classes, with as many of each class.

    Raises:
        ValueError: For fewer than 4 rows.
    """
    rows = len(target.numbers)
    if rows < 4:
        raise ValueError(f"expected at least 4 rows, two per half, got {rows}")
    order = np.random.default_rng(seed).permutation(rows)
    if target.classes is None:
        first, second = order[: rows // 2], order[rows // 2 :]
    else:
        order = order[np.argsort(target.classes.numpy()[order], kind="stable")]
        first, second = order[::2], order[1::2]
    return [(first, second), (second, first)]


def rows_for(
    source: Samples,
    target: Samples,
    *,
    test: tuple[Samples, Samples] | None = None,
    source_is_classes: bool | None = None,
    target_is_classes: bool | None = None,
    groups: Samples | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, Variable, Folds, int]:
    """The numbers of the source, the target, the folds of their rows, and how often all rows stand there: once per draw.

    Whether either is classes is told from its values where nothing is said of it.
    """
    source, draws = side_by_side("source", source)
    if test is None:
        said = {"source": (source, source_is_classes), "target": (target, target_is_classes)}
        told = None
        if source_is_classes is not None or target_is_classes is not None:
            told = [
                name
                for name, (values, is_classes) in said.items()
                if (as_variable(name, values).classes is not None if is_classes is None else is_classes)
            ]
        pair = as_pair(source=source, target=target, classes=told, groups=groups, seed=seed)
        x, variable = pair.x.numbers.numpy(), pair.y
        folds = halves(variable, seed)
    else:
        if groups is not None:
            raise ValueError("expected groups or test, got both: rows of test are held out as they are")
        test_source, test_draws = side_by_side("source", test[0])
        if test_draws != draws:
            raise ValueError(f"expected as many draws to test as to fit to, {draws}, got {test_draws}")
        x = as_variable("source", _joined("source", source, test_source)).numbers.numpy()
        variable = as_variable("target", _joined("target", target, test[1]), target_is_classes)
        if len(x) != len(variable.numbers) or len(as_array(source)) != len(as_array(target)):
            counts = [len(as_array(values)) for values in (source, target, test_source, test[1])]
            raise ValueError(f"expected source and target with the same number of rows, got {counts}")
        rows, train = np.arange(len(x)), len(as_array(source))
        folds = [(rows[:train], rows[train:])]
    if target_is_classes and variable.classes is not None and 2 * (1 + int(variable.classes.max())) > len(x):
        count = 1 + int(variable.classes.max())
        raise ValueError(f"expected target as classes, two rows each on average, got {count} values in {len(x)} rows")
    return *in_turn(x, variable, folds, draws), draws


def side_by_side(name: str, source: Samples) -> tuple[Samples, int]:
    """Draws of all rows, `(draws, rows, dim)`, as columns of each row, `(rows, draws * dim)`, and how many."""
    array = as_array(source)
    if array.ndim != 3:
        return source, 1
    if array.size == 0 or array.dtype.kind not in "biuf":
        raise ValueError(f"expected draws of {name} as (draws, rows, dim) of numbers, got {array.dtype} {array.shape}")
    return array.swapaxes(0, 1).reshape(array.shape[1], -1), len(array)


def in_turn(x: np.ndarray, target: Variable, folds: Folds, draws: int) -> tuple[np.ndarray, Variable, Folds]:
    """The same with all rows as often as there are draws, one draw after the other, and each row on its side in all of them."""
    if draws == 1:
        return x, target, folds
    rows = len(x)
    x = x.reshape(rows, draws, -1).swapaxes(0, 1).reshape(draws * rows, -1)
    classes = None if target.classes is None else target.classes.repeat(draws)
    order = None if target.order is None else target.order.repeat(draws, 1)
    turns = rows * np.arange(draws)[:, None]
    folds = [((train + turns).ravel(), (test + turns).ravel()) for train, test in folds]
    return x, Variable(target.numbers.repeat(draws, 1), classes, order), folds


def _joined(name: str, train: Samples, test: Samples) -> np.ndarray:
    arrays = [as_array(values) for values in (train, test)]
    shapes = [array.shape for array in arrays]
    if any(array.ndim not in (1, 2) or array.size == 0 for array in arrays):
        raise ValueError(f"expected {name} as (rows, dim) or (rows,), to fit to and to test, got shapes {shapes}")
    columns = [array.reshape(len(array), -1) for array in arrays]
    if columns[0].shape[1] != columns[1].shape[1]:
        raise ValueError(f"expected {name} with the same columns to fit to and to test, got shapes {shapes}")
    names = [array.dtype.kind in "OSU" for array in arrays]
    if names[0] != names[1]:
        kinds = " and ".join(str(array.dtype) for array in arrays)
        raise TypeError(f"expected {name} of one kind to fit to and to test, got {kinds}")
    return np.concatenate(columns)
