"""What all pairs of variables tell about one another, as a table to put into a paper."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from disentangle.information.decodability import linear_decodability
from disentangle.information.estimate import estimate_mutual_information
from disentangle.information.permutation import permutation_test
from disentangle.information.result import MutualInformation
from disentangle.information.samples import Samples, as_array, as_variable
from disentangle.plots import plot_matrix
from disentangle.text_tables import aligned, latex, markdown

__all__ = ["DependenceReport", "DependenceRow", "dependence_report"]

HEADER = ["x", "y", "rows", "nats", "95 %", "method", "p", "p (Holm)", "R²(x→y)", "R²(y→x)", "notes"]
LEFT = ("x", "y", "method")
DARKEST = 0.5  # nats, at least, in the heat map: where nothing is shared, noise must not be dark


@dataclass(frozen=True)
class DependenceRow:
    """What one pair of variables shares. What could not be measured is `None`, and `notes` say why.

    Attributes:
        x: The name of one variable.
        y: The name of the other one.
        rows: How many rows have both.
        information: The estimate of their mutual information.
        p_value: That of the permutation test with HSIC.
        p_holm: The same, adjusted for the number of pairs.
        x_to_y: R² of y predicted from x by a linear map, on held-out rows.
        y_to_x: R² of x predicted from y.
        notes: The warnings of the estimate, and what failed.
    """

    x: str
    y: str
    rows: int
    information: MutualInformation | None
    p_value: float | None
    p_holm: float | None
    x_to_y: float | None
    y_to_x: float | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class DependenceReport:
    """The rows of a report, in the order of the pairs, and the ways to write them down.

    `str(report)` is a table for the terminal.

    Attributes:
        rows: A row a pair.
        variables: The names of the variables.
        factors: The names of the known factors.
        dimensions: How many columns each of them has; of classes, as one-hot columns.
        classes: How many classes those have that are classes.
        root_mean_squares: The size of each over its rows. A penalty may be low because a latent shrank.
        permutations: How many permutations each p-value rests on.
        seed: What everything was drawn by.
    """

    rows: tuple[DependenceRow, ...]
    variables: tuple[str, ...]
    factors: tuple[str, ...]
    dimensions: dict[str, int]
    classes: dict[str, int]
    root_mean_squares: dict[str, float]
    permutations: int
    seed: int

    @property
    def footnotes(self) -> list[str]:
        """The notes of all rows, each text once. The table refers to them by their place, from 1."""
        return list(dict.fromkeys(note for row in self.rows for note in row.notes))

    def __str__(self) -> str:
        return "\n".join([aligned(self._table(), LEFT), "", *self._legend()])

    def to_markdown(self) -> str:
        """The table in Markdown, what its columns mean and its notes below."""
        return markdown(self._table(), LEFT, self._legend())

    def to_latex(self) -> str:
        r"""The table in LaTeX, what its columns mean and its notes below. Needs `\usepackage{booktabs}`."""
        return latex(self._table(), LEFT, self._legend())

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, for `json.dump`; `to_dict()["pairs"]` makes a data frame."""
        return {
            "pairs": [_record(row) for row in self.rows],
            "variables": list(self.variables),
            "factors": list(self.factors),
            "dimensions": dict(self.dimensions),
            "classes": dict(self.classes),
            "root_mean_squares": dict(self.root_mean_squares),
            "permutations": self.permutations,
            "seed": self.seed,
        }

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draws the information of all pairs as a heat map: variables down, variables and factors across.

        A pair that is not in the report is an empty cell, and so is a variable with itself. Pairs of two factors are not
        drawn. The darkest colour is the largest value, but at least 0.5 nats.

        Arguments:
            path: The file to write; its ending says the format.

        Raises:
            ImportError: Where matplotlib is missing.
        """
        nats = {(row.x, row.y): row.information and row.information.value for row in self.rows}
        nats |= {(y, x): value for (x, y), value in nats.items()}
        columns = self.variables + self.factors
        values = [[nats.get((x, y)) for y in columns] for x in self.variables]
        darkest = max([DARKEST, *(value for value in nats.values() if value is not None and math.isfinite(value))])
        plot_matrix(values, self.variables, columns, path, "Mutual information", unit="nats", maximum=darkest)

    def _table(self) -> list[list[str]]:
        """The cells, the header first; without the column of notes where there are none."""
        numbers = {note: str(i) for i, note in enumerate(self.footnotes, 1)}
        table = [HEADER]
        for row in self.rows:
            estimate = row.information
            low, high = estimate.interval if estimate else (None, None)
            table.append(
                [
                    row.x,
                    row.y,
                    str(row.rows),
                    _number(estimate and estimate.value, "z.3f"),
                    f"[{_number(low, 'z.3f')}, {_number(high, 'z.3f')}]" if estimate else "–",
                    estimate.method if estimate else "–",
                    _number(row.p_value, ".2g"),
                    _number(row.p_holm, ".2g"),
                    _number(row.x_to_y, "z.2f"),
                    _number(row.y_to_x, "z.2f"),
                    ", ".join(numbers[note] for note in row.notes),
                ]
            )
        return table if numbers else [line[:-1] for line in table]

    def _legend(self) -> list[str]:
        pairs = sum(row.p_value is not None for row in self.rows)
        numbers = {name: d for name, d in self.dimensions.items() if name not in self.classes}
        sizes = ", ".join(f"{name} {self.root_mean_squares[name]:.3g} ({d})" for name, d in numbers.items())
        lines = [
            "nats: mutual information, with the 95 % confidence interval of the estimate",
            f"p: permutation test of independence with HSIC, {self.permutations} permutations; "
            f"p (Holm): adjusted for {pairs} pairs",
            "R²(x→y): R² of y predicted from x by a linear map, on held-out rows; R²(y→x): the other way",
            *([f"root mean square (columns): {sizes}"] if numbers else []),
            *([f"classes: {', '.join(f'{name} {n}' for name, n in self.classes.items())}"] if self.classes else []),
        ]
        least = pairs / (1 + self.permutations)
        if least > 0.05:
            lines.append(
                f"p (Holm) cannot be below {min(least, 1.0):.2g} with {self.permutations} permutations and {pairs} pairs; "
                "draw more"
            )
        return lines + [f"[{i}] {note}" for i, note in enumerate(self.footnotes, 1)]


def dependence_report(
    variables: Mapping[str, Samples],
    *,
    factors: Mapping[str, Samples] | None = None,
    pairs: Sequence[tuple[str, str]] | None = None,
    present: Mapping[str, Samples] | None = None,
    method: str = "auto",
    permutations: int = 1000,
    classes: Collection[str] | None = None,
    groups: Samples | None = None,
    seed: int = 0,
    progress: bool = True,
) -> DependenceReport:
    r"""What all pairs of variables tell about one another, by meters that no penalty trains.

    For each pair:

    - the mutual information in nats, by `estimate_mutual_information`, with its 95 % interval;
    - the p-value of a permutation test of independence, by `permutation_test` with HSIC, alone and adjusted by Holm's
      method for all pairs of the report. With the adjusted ones below :math:`\alpha` called dependent, the probability
      that any independent pair is called so is at most :math:`\alpha`;
    - how well each can be decoded from the other by a linear map, by `linear_decodability`, both ways.

    And for each variable its root mean square: a latent that has shrunk to nothing looks disentangled to many a penalty.

    Give rows that nothing was trained on, and that are independent draws: one per recording, not its frames, or say by
    `groups` which rows belong to one recording. An information
    near zero with a large p-value is the evidence for independence; a small p-value alone may be a dependence of no
    consequence, in many rows.

    A pair does not depend on which other pairs are asked for, except for Holm's adjustment. What cannot be measured for a
    pair, such as the R² of a constant, is left empty and noted below the table.

    References:
        Holm, A Simple Sequentially Rejective Multiple Test Procedure (1979)

    Arguments:
        variables: By name, `(rows, dim)` or `(rows,)` each, with the same number of rows.
        factors: Known factors to compare them with, likewise: numbers, or classes as names, whole numbers or one-hot.
        pairs: Which pairs to report; by default all pairs of variables, and each variable with each factor.
        present: For some names `(rows,)` bool, which rows have it. A pair is measured on the rows that have both; what the
            others hold, be it NaN, does not matter.
        method: Of `estimate_mutual_information`.
        permutations: Of `permutation_test`.
        classes: The names of those that are classes; told from the values if not given.
        groups: `(rows,)`, the same number or name for rows that are no independent draws of one another, such as clips of
            one recording.
        seed: Draws everything.
        progress: Whether to show a progress bar.

    Returns:
        The report: print it, `to_markdown()`, `to_latex()`, `to_dict()` or `plot(path)` it.

    Raises:
        ValueError: Where variables are not finite matrices with the same number of rows, a mask is not `(rows,)` bool, a
            name is both a variable and a factor, a pair is there twice or is not one of two different names, or the
            information of no pair can be measured. What is wrong with some of the pairs only is a note.

    Example:
        >>> import torch
        >>> s, noise = torch.randn(2, 400, 3, generator=torch.Generator().manual_seed(0))
        >>> report = dependence_report(
        ...     {"S": s, "L": s + noise, "A": noise}, method="gaussian", permutations=99, progress=False
        ... )
        >>> [(row.x, row.y, round(row.p_holm, 2)) for row in report.rows if row.p_holm < 0.05]
        [('S', 'L', 0.03), ('L', 'A', 0.03)]
    """
    from tqdm.auto import tqdm

    arrays = _joined(variables, factors or {})
    if permutations < 1:
        raise ValueError(f"expected at least 1 permutation, got {permutations}")
    if pairs is None:
        pairs = [*itertools.combinations(variables, 2), *itertools.product(variables, factors or {})]
    _check_pairs(pairs, arrays)
    masks = _masks(arrays, present or {})
    settings = _Settings(method, permutations, seed, classes, None if groups is None else as_array(groups))
    _check_settings(settings, arrays)
    own = {n: as_variable(n, array[masks[n]], settings.told(n)) for n, array in arrays.items()}
    rows = []
    for x, y in tqdm(pairs, desc="pairs", unit="pair", disable=not progress, dynamic_ncols=True):
        rows.append(_row(x, y, arrays, masks[x] & masks[y], settings))
    if all(row.information is None for row in rows):
        notes = sorted({note for row in rows for note in row.notes})
        raise ValueError(f"expected a pair whose information can be measured, got {'; '.join(notes)}")
    rows = [replace(row, p_holm=p) for row, p in zip(rows, _holm(rows), strict=True)]
    return DependenceReport(
        rows=tuple(rows),
        variables=tuple(variables),
        factors=tuple(factors or {}),
        dimensions={name: side.numbers.shape[1] for name, side in own.items()},
        classes={name: int(side.classes.max()) + 1 for name, side in own.items() if side.classes is not None},
        root_mean_squares={name: float(side.numbers.square().mean().sqrt()) for name, side in own.items()},
        permutations=permutations,
        seed=seed,
    )


class _Settings(NamedTuple):
    method: str
    permutations: int
    seed: int
    classes: Collection[str] | None
    groups: np.ndarray | None

    def told(self, name: str) -> bool | None:
        """Whether the variable was said to be classes; `None` where nothing was said of any."""
        return None if self.classes is None else name in self.classes


def _row(x: str, y: str, arrays: Mapping[str, np.ndarray], both: np.ndarray, settings: _Settings) -> DependenceRow:
    """What a pair shares in the rows that have both, `(rows,)` bool."""
    notes: list[str] = []
    rows, groups = int(both.sum()), None if settings.groups is None else settings.groups[both]
    if rows < 2:
        return DependenceRow(x, y, rows, None, None, None, None, None, ("fewer than 2 rows have both",))
    a, b = arrays[x][both], arrays[y][both]
    numbers = [as_variable(name, side, settings.told(name)).numbers for name, side in ((x, a), (y, b))]
    told = None if settings.classes is None else [side for side, n in (("x", x), ("y", y)) if settings.told(n)]

    def measured(what: str, meter: Callable[..., Any], *args: Any, **options: Any) -> Any:
        try:
            return meter(*args, groups=groups, seed=settings.seed, **options)
        except ValueError as error:  # too few rows, or a constant: no reason to lose the other pairs
            notes.append(f"no {what}: {error}")

    estimate = measured("information", estimate_mutual_information, a, b, method=settings.method, classes=told)
    test = measured("p", permutation_test, *numbers, permutations=settings.permutations)
    forth = measured("R²(x→y)", linear_decodability, *numbers)
    back = measured("R²(y→x)", linear_decodability, *numbers[::-1])
    warnings = estimate.warnings if estimate else ()
    return DependenceRow(x, y, rows, estimate, test and test.p_value, None, forth, back, (*warnings, *notes))


def _holm(rows: Sequence[DependenceRow]) -> list[float | None]:
    """The p-values adjusted for the number of those that there are."""
    order = sorted((row.p_value, i) for i, row in enumerate(rows) if row.p_value is not None)
    adjusted: list[float | None] = [None] * len(rows)
    largest = 0.0
    for rank, (p, i) in enumerate(order):
        largest = max(largest, min(1.0, p * (len(order) - rank)))
        adjusted[i] = largest
    return adjusted


def _joined(variables: Mapping[str, Samples], factors: Mapping[str, Samples]) -> dict[str, np.ndarray]:
    if shared := variables.keys() & factors.keys():
        raise ValueError(f"expected different names for variables and factors, got {sorted(shared)} for both")
    arrays = {name: as_array(value) for name, value in {**variables, **factors}.items()}
    counts = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"expected variables with the same number of rows, got {counts}")
    return arrays


def _check_pairs(pairs: Sequence[tuple[str, str]], names: Mapping[str, Any]) -> None:
    if not pairs:
        raise ValueError(f"expected at least one pair of variables, got none of {sorted(names)}")
    if len({frozenset(pair) for pair in pairs}) < len(pairs):
        raise ValueError(f"expected each pair once, in one order, got {list(pairs)}")
    for x, y in pairs:
        if x == y or x not in names or y not in names:
            raise ValueError(f"expected a pair of two of {sorted(names)}, got {(x, y)}")


def _check_settings(settings: _Settings, arrays: Mapping[str, np.ndarray]) -> None:
    rows = len(next(iter(arrays.values())))
    if settings.groups is not None and settings.groups.shape != (rows,):
        raise ValueError(f"expected groups as ({rows},), one for each row, got {settings.groups.shape}")
    if unknown := sorted(set(settings.classes or ()) - arrays.keys()):
        raise ValueError(f"expected classes among {sorted(arrays)}, got {unknown}")


def _masks(arrays: Mapping[str, np.ndarray], present: Mapping[str, Samples]) -> dict[str, np.ndarray]:
    masks = {}
    for name, array in arrays.items():
        mask = as_array(present[name]) if name in present else np.ones(len(array), bool)
        if mask.dtype != bool or mask.shape != (len(array),):
            raise ValueError(f"expected the presence of {name} as bool ({len(array)},), got {mask.dtype} {mask.shape}")
        masks[name] = mask
    return masks


def _record(row: DependenceRow) -> dict[str, Any]:
    estimate = row.information
    return {
        "x": row.x,
        "y": row.y,
        "rows": row.rows,
        "nats": estimate and estimate.value,
        "standard_error": estimate and estimate.standard_error,
        "interval": estimate and list(estimate.interval),
        "method": estimate and estimate.method,
        "bound": estimate and estimate.bound._asdict(),
        "p_value": row.p_value,
        "p_holm": row.p_holm,
        "x_to_y": row.x_to_y,
        "y_to_x": row.y_to_x,
        "notes": list(row.notes),
    }


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
