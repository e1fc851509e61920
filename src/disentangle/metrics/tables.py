"""Metrics as aligned text: of splits, and over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict

from disentangle.numbers_as_text import for_readers, or_dash
from disentangle.text_tables import aligned

__all__ = ["Spread", "metrics_table", "seeds_summary", "seeds_table"]

Metrics = Mapping[str, float | None]


class Spread(TypedDict):
    """A metric over seeds: of the `n` that have a value."""

    mean: float | None
    sd: float | None
    n: int


def metrics_table(rows: Mapping[str, Metrics]) -> str:
    """Results as aligned plain text: a line per row, a column per metric, `-` where there is no value.

    Numbers have three decimals, or three significant digits where they are below 0.1.

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
    return _table({name: {column: or_dash(value) for column, value in row.items()} for name, row in rows.items()})


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
    """`seeds_summary` as aligned plain text: a line per split, a column per metric, and how many seeds; arguments as there.

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
    known = [value for value in values if value is not None and math.isfinite(value)]
    mean = statistics.fmean(known) if known else None
    return {"mean": mean, "sd": statistics.stdev(known) if len(known) > 1 else None, "n": len(known)}


def _spread(of: Spread) -> str:
    mean, sd = of["mean"], of["sd"]
    return (
        or_dash(mean)
        if mean is None or sd is None
        else f"{for_readers(mean, beside=sd)} ± {for_readers(sd, beside=mean)}"
    )


def _columns(rows: Iterable[Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _table(rows: Mapping[str, Mapping[str, str]]) -> str:
    columns = _columns(rows.values())
    lines = [[name, *(row.get(column, "-") for column in columns)] for name, row in rows.items()]
    return aligned([["", *columns], *lines], [""], rule=False)
