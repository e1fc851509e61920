"""The report of `dependence_report`: its rows, and how they are written as text, Markdown, LaTeX, JSON and a heat map."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import Any

from disentangle.information.factor_tables import FactorScores
from disentangle.information.probes import Probes, record_of
from disentangle.information.result import MutualInformation
from disentangle.plots import plot_matrix
from disentangle.text_tables import Shown, TextTable

__all__ = ["DependenceReport", "DependenceRow"]

HEADER = ["x", "y", "rows", "nats", "95 %", "method", "p", "p (Holm)", "x→y", "y→x", "notes"]
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
        p_value: The p-value of the permutation test with HSIC.
        p_holm: The same, adjusted for the number of pairs.
        x_to_y: R² of y predicted from x by a linear map, on held-out rows; classes are one-hot columns.
        y_to_x: R² of x predicted from y.
        probes_x_to_y: What a linear and a neural probe read of y from x, on held-out rows: R² of numbers, accuracy of
            classes.
        probes_y_to_x: What they read of x from y.
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
    probes_x_to_y: Probes | None
    probes_y_to_x: Probes | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class DependenceReport(Shown):
    """The rows of a report, in the order of the pairs, and the ways to write them down.

    `str(report)` is a table for the terminal.

    Attributes:
        rows: One per pair.
        variables: The names of the variables.
        factors: The names of the known factors.
        dimensions: How many columns each of them has; of classes, as one-hot columns.
        classes: How many classes those have that are classes.
        root_mean_squares: The size of each over its rows. A penalty may be low because a latent shrank.
        permutations: How many permutations each p-value rests on.
        seed: What everything was drawn by.
        scores: Those of the factors, or why there are none; `None` where they were not asked for.
        draws: How many draws of its noise were given of a variable that carries some.
    """

    rows: tuple[DependenceRow, ...]
    variables: tuple[str, ...]
    factors: tuple[str, ...]
    dimensions: dict[str, int]
    classes: dict[str, int]
    root_mean_squares: dict[str, float]
    permutations: int
    seed: int
    scores: FactorScores | str | None = None
    draws: dict[str, int] = field(default_factory=dict)

    @property
    def footnotes(self) -> list[str]:
        """The notes of all rows, each text once. The table refers to them by their place, from 1."""
        return list(dict.fromkeys(note for row in self.rows for note in row.notes))

    def tables(self) -> list[TextTable]:
        """The pairs, with what their columns mean and the notes; and the scores of the factors."""
        scores = self.scores.tables() if isinstance(self.scores, FactorScores) else []
        return [TextTable(self._table(), LEFT, self._legend()), *scores]

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
            "scores": self.scores.to_dict() if isinstance(self.scores, FactorScores) else self.scores,
            "draws": dict(self.draws),
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
                    *("–" if probes is None else str(probes) for probes in (row.probes_x_to_y, row.probes_y_to_x)),
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
            "x→y: y predicted from x by a linear / neural probe, on held-out rows: R², or of classes accuracy (chance); "
            "y→x: the other way",
            *([f"root mean square (columns): {sizes}"] if numbers else []),
            *([f"classes: {', '.join(f'{name} {n}' for name, n in self.classes.items())}"] if self.classes else []),
        ]
        if self.draws:
            given = ", ".join(f"{name} {count}" for name, count in self.draws.items())
            lines.append(f"draws of the noise of each row, which probes read: {given}")
        least = pairs / (1 + self.permutations)
        if least > 0.05:
            lines.append(
                f"p (Holm) cannot be below {min(least, 1.0):.2g} with {self.permutations} permutations and {pairs} pairs; "
                "draw more"
            )
        if isinstance(self.scores, str):
            lines.append(f"no scores of the factors: {self.scores}")
        return lines + [f"[{i}] {note}" for i, note in enumerate(self.footnotes, 1)]


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
        "probes_x_to_y": _probes(row.probes_x_to_y),
        "probes_y_to_x": _probes(row.probes_y_to_x),
        "notes": list(row.notes),
    }


def _probes(probes: Probes | None) -> dict[str, Any] | None:
    return None if probes is None else {probe.kind: record_of(probe) for probe in probes}


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
