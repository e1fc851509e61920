"""The metrics of multimodal sentiment analysis, each under a name that says which of its variants it is.

Labels are sentiments in [-3, 3]. Papers report "Acc-2", and mean one of two things: with neutral utterances, counted as
positive (`has0`), or without them (`non0`); the two differ by several points. Mean absolute error and correlation are
over all samples, those with label 0 too. A metric that is undefined on the given samples is `None`, `null` in JSON.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "acc2_has0",
    "acc2_non0",
    "acc5",
    "acc7",
    "corr",
    "f1_has0",
    "f1_non0",
    "mae",
    "metrics_table",
    "seeds_summary",
    "seeds_table",
    "sentiment_metrics",
]

Array = Tensor | np.ndarray | Sequence[float]
Metrics = Mapping[str, float | None]


class Spread(TypedDict):
    """A metric over seeds: of the `n` that have a value."""

    mean: float | None
    sd: float | None
    n: int


def sentiment_metrics(prediction: Array, label: Array) -> dict[str, float | None]:
    """All metrics of this module on one set of samples.

    References:
        Qian et al., MIRD, section 4.3

    Arguments:
        prediction: Predicted sentiments, `(N,)`: a tensor on any device, an array or a list.
        label: True sentiments, `(N,)`.

    Returns:
        `mae`, `corr`, `acc2_has0`, `acc2_non0`, `f1_has0`, `f1_non0`, `acc5`, `acc7`, in this order, as Python floats.
        `None` where undefined: `corr` of a constant, the two `non0` where every label is 0.

    Raises:
        ValueError: Where the two are not vectors of the same length, are empty, or hold a value that is not finite.

    Example:
        >>> metrics = sentiment_metrics([1.2, -0.4, 0.1, -2.5], [1.0, 0.0, 0.0, -3.0])
        >>> {name: round(value, 3) for name, value in metrics.items()}
        {'mae': 0.3, 'corr': 0.98, 'acc2_has0': 0.75, 'acc2_non0': 1.0,
         'f1_has0': 0.767, 'f1_non0': 1.0, 'acc5': 1.0, 'acc7': 0.75}
    """
    p, y = _vectors(prediction, label)
    functions = (mae, corr, acc2_has0, acc2_non0, f1_has0, f1_non0, acc5, acc7)
    return {function.__name__: function(p, y) for function in functions}


def mae(prediction: Array, label: Array) -> float:
    """The mean absolute error over all samples; arguments and errors as in `sentiment_metrics`.

    Example:
        >>> mae([1.0, -1.0], [2.0, -1.0])
        0.5
    """
    p, y = _vectors(prediction, label)
    return float(np.abs(p - y).mean())


def corr(prediction: Array, label: Array) -> float | None:
    """Pearson's correlation over all samples; `None` for fewer than two, or where one side is constant up to rounding.

    Example:
        >>> round(corr([1.0, 2.0, 3.0], [1.0, 2.0, 4.0]), 4)
        0.982
        >>> corr([0.3, 0.3, 0.3], [1.0, 2.0, 4.0]) is None
        True
    """
    p, y = (_direction(vector) for vector in _vectors(prediction, label))
    return None if p is None or y is None else float(np.clip(p @ y, -1.0, 1.0))


def acc2_has0(prediction: Array, label: Array) -> float:
    """Binary accuracy over all samples, negative against not negative: `prediction >= 0` where `label >= 0`.

    Example:
        >>> acc2_has0([0.5, -0.5, 0.0, -1.0], [1.0, 0.0, 0.0, -2.0])
        0.75
    """
    p, y = _vectors(prediction, label)
    return float(((p >= 0) == (y >= 0)).mean())


def acc2_non0(prediction: Array, label: Array) -> float | None:
    """Binary accuracy over the samples whose label is not 0: `prediction > 0` where `label > 0`; `None` without any.

    Example:
        >>> acc2_non0([0.5, -0.5, 0.0, -1.0], [1.0, 0.0, 2.0, -2.0])
        0.6666666666666666
    """
    p, y = _without_neutral(*_vectors(prediction, label))
    return float(((p > 0) == (y > 0)).mean()) if y.size else None


def f1_has0(prediction: Array, label: Array) -> float:
    """The F1 score of the two classes of `acc2_has0`, averaged with the weights of the true classes.

    Example:
        >>> f1_has0([0.5, -0.5, -1.0], [1.0, -1.0, -2.0])
        1.0
    """
    p, y = _vectors(prediction, label)
    return _weighted_f1(p >= 0, y >= 0)


def f1_non0(prediction: Array, label: Array) -> float | None:
    """The F1 score of the two classes of `acc2_non0`, averaged with the weights of the true classes, or `None`.

    Example:
        >>> f1_non0([0.5, -0.5, 1.0], [1.0, -1.0, 0.0])
        1.0
    """
    p, y = _without_neutral(*_vectors(prediction, label))
    return _weighted_f1(p > 0, y > 0) if y.size else None


def acc5(prediction: Array, label: Array) -> float:
    """Accuracy over five classes: both sides clipped to [-2, 2] and rounded, halves to the even number.

    Example:
        >>> acc5([0.5, 2.9, -1.4], [0.0, 2.0, -2.0])
        0.6666666666666666
    """
    return _rounded_accuracy(prediction, label, 2)


def acc7(prediction: Array, label: Array) -> float:
    """Accuracy over seven classes: both sides clipped to [-3, 3] and rounded, halves to the even number.

    Example:
        >>> acc7([0.5, 2.9, -1.4], [0.0, 2.0, -1.0])
        0.6666666666666666
    """
    return _rounded_accuracy(prediction, label, 3)


def metrics_table(rows: Mapping[str, Metrics]) -> str:
    """Results as aligned plain text: a line a row, a column a metric, three decimals, `-` where there is no value.

    Arguments:
        rows: The metrics of each row by its name. Columns come in the order in which they are first met.

    Returns:
        The text, without a newline at its end.

    Example:
        >>> print(metrics_table({"valid": {"mae": 0.75, "corr": None}, "test": {"mae": 0.8125, "corr": 0.7}}))
                 mae   corr
        valid  0.750      -
        test   0.812  0.700
    """
    return _table({name: {column: _cell(value) for column, value in row.items()} for name, row in rows.items()})


def seeds_summary(results: Mapping[int, Mapping[str, Metrics]]) -> dict[str, dict[str, Spread]]:
    """Mean and standard deviation over seeds of each metric on each split.

    Arguments:
        results: The metrics of each split by seed, as `seed_results` reads them.

    Returns:
        A `Spread` by split and metric. `n` counts the seeds with a value, and the others are left out. `sd` is the
        sample standard deviation, with n - 1 below the sum; `None` for fewer than two values, as `mean` is for none.

    Example:
        >>> seeds_summary({0: {"test": {"mae": 0.75}}, 1: {"test": {"mae": 0.25}}})["test"]["mae"]["mean"]
        0.5
    """
    summary = {}
    for split in _columns(results.values()):
        rows = [result.get(split, {}) for result in results.values()]
        summary[split] = {name: _mean_and_sd([row.get(name) for row in rows]) for name in _columns(rows)}
    return summary


def seeds_table(results: Mapping[int, Mapping[str, Metrics]]) -> str:
    """`seeds_summary` as aligned plain text: a line a split, a column a metric, and how many seeds; arguments as there.

    Returns:
        The text, without a newline at its end. What lacks a value for some of the seeds is named below the table.

    Example:
        >>> results = {0: {"test": {"mae": 0.75, "corr": 0.7}}, 1: {"test": {"mae": 0.25, "corr": None}}}
        >>> print(seeds_table(results))
        2 seeds, mean ± sample standard deviation
                        mae   corr
        test  0.500 ± 0.354  0.700
        test corr: over the 1 of 2 seeds that have a value
    """
    summary, seeds = seeds_summary(results), len(results)
    heading = f"{seeds} seeds, mean ± sample standard deviation" if seeds != 1 else "1 seed"
    table = _table({split: {name: _spread(of) for name, of in row.items()} for split, row in summary.items()})
    notes = [
        f"{split} {name}: over the {of['n']} of {seeds} seeds that have a value"
        for split, row in summary.items()
        for name, of in row.items()
        if of["n"] != seeds
    ]
    return "\n".join([heading, *filter(None, [table]), *notes])


def _mean_and_sd(values: Sequence[float | None]) -> Spread:
    known = [value for value in values if value is not None]
    mean = statistics.fmean(known) if known else None
    return {"mean": mean, "sd": statistics.stdev(known) if len(known) > 1 else None, "n": len(known)}


def _spread(of: Spread) -> str:
    return _cell(of["mean"]) if of["sd"] is None else f"{_cell(of['mean'])} ± {_cell(of['sd'])}"


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _columns(rows: Iterable[Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _table(rows: Mapping[str, Mapping[str, str]]) -> str:
    columns = _columns(rows.values())
    lines = [("", columns)] + [(name, [row.get(column, "-") for column in columns]) for name, row in rows.items()]
    names = max(map(len, rows), default=0)
    widths = [max(len(cells[i]) for _, cells in lines) for i in range(len(columns))]
    return "\n".join(
        "  ".join([name.ljust(names), *(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))]).rstrip()
        for name, cells in lines
    )


def _vectors(prediction: Array, label: Array) -> tuple[np.ndarray, np.ndarray]:
    p, y = (_float64(values) for values in (prediction, label))
    if p.ndim != 1 or p.shape != y.shape:
        raise ValueError(f"expected prediction and label of the same shape (N,), got {p.shape} and {y.shape}")
    if p.size == 0:
        raise ValueError("expected at least 1 sample, got 0")
    for name, values in (("prediction", p), ("label", y)):
        bad = int((~np.isfinite(values)).sum())
        if bad:
            raise ValueError(f"expected {name} finite, got {bad} of {values.size} values that are not")
    return p, y


def _float64(values: Array) -> np.ndarray:
    if isinstance(values, Tensor):  # by way of torch, since numpy has no bfloat16
        values = values.detach().to("cpu", torch.float64).numpy()
    return np.asarray(values, dtype=np.float64)


def _without_neutral(p: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return p[y != 0], y[y != 0]


def _direction(values: np.ndarray) -> np.ndarray | None:
    """The centred vector with length 1; `None` where nothing but rounding is left of it."""
    centred = values - values[0]  # exact for a constant, whose mean would be off by a rounding
    centred = centred - centred.mean()
    size = np.abs(centred).max()
    if size <= 4 * np.finfo(np.float64).eps * np.abs(values).max():
        return None
    centred = centred / size  # squares neither overflow nor vanish
    return centred / np.linalg.norm(centred)


def _weighted_f1(p: np.ndarray, y: np.ndarray) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(y, p, average="weighted", zero_division=0))  # type: ignore[arg-type]  # its stub wants str


def _rounded_accuracy(prediction: Array, label: Array, bound: int) -> float:
    p, y = _vectors(prediction, label)
    return float((np.rint(p.clip(-bound, bound)) == np.rint(y.clip(-bound, bound))).mean())
