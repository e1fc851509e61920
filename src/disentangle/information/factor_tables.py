"""The result of `factor_scores`, and how it is written as text, Markdown, LaTeX and JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from disentangle.information.probes import ClassProbe, NumberProbe, Probes, record_of
from disentangle.text_tables import Shown, TextTable

__all__ = ["FactorRow", "FactorScores"]

HEADER = ["factor", "classes", "MIG", "SAP", "disentangled", "complete", "informative", "explicit"]
MEAN = "mean"
LEFT = ("factor",)


@dataclass(frozen=True)
class FactorRow:
    """The scores of one factor. Those that need two units are `None` where there is one.

    Attributes:
        factor: Its name.
        rows: How many rows were used.
        classes: How many classes it has; `None` for numbers.
        mig: The gap of information; `None` for blocks.
        sap: The gap of what one unit predicts.
        completeness: 1 where one unit tells it, 0 where all tell as much.
        informativeness: How well random forests predict it from all columns.
        explicitness: How well a linear probe ranks rows by it from all columns; 0.5 by chance.
        probes: What a linear and a neural probe read of it, for each latent.
    """

    factor: str
    rows: int
    classes: int | None
    mig: float | None
    sap: float | None
    completeness: float | None
    informativeness: NumberProbe | ClassProbe
    explicitness: float
    probes: dict[str, Probes]


@dataclass(frozen=True)
class FactorScores(Shown):
    """The scores of `factor_scores`, and the ways to write them down.

    `str(scores)` is two tables for the terminal: the scores, and what probes read of each factor from each latent.

    Attributes:
        rows: One per factor.
        latents: The names of the latents; of one array, "latent".
        units: What the scores are about: the columns of one array, by number, or the latents.
        disentanglement: 1 where each unit tells one factor; `None` for a single factor.
        disentanglement_of: The same for each unit.
        importances: For each factor the importance of each unit.
        seed: What everything was drawn by.
    """

    rows: tuple[FactorRow, ...]
    latents: tuple[str, ...]
    units: tuple[str, ...]
    disentanglement: float | None
    disentanglement_of: dict[str, float] | None
    importances: dict[str, tuple[float, ...]]
    seed: int

    @property
    def mig(self) -> float | None:
        """The mean over the factors."""
        return _mean(row.mig for row in self.rows)

    @property
    def sap(self) -> float | None:
        """The mean over the factors."""
        return _mean(row.sap for row in self.rows)

    @property
    def completeness(self) -> float | None:
        """The mean over the factors."""
        return _mean(row.completeness for row in self.rows)

    @property
    def explicitness(self) -> float:
        """The mean over the factors."""
        return sum(row.explicitness for row in self.rows) / len(self.rows)

    def tables(self) -> list[TextTable]:
        """The scores, and what probes read of each factor from each latent."""
        return [TextTable(self._scores(), LEFT), TextTable(self._probes(), LEFT, self._legend())]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, for `json.dump`; `to_dict()["factors"]` makes a data frame."""
        return {
            "factors": [_record(row) for row in self.rows],
            "latents": list(self.latents),
            "units": list(self.units),
            "mig": self.mig,
            "sap": self.sap,
            "disentanglement": self.disentanglement,
            "disentanglement_of": self.disentanglement_of,
            "completeness": self.completeness,
            "explicitness": self.explicitness,
            "importances": {name: list(values) for name, values in self.importances.items()},
            "seed": self.seed,
        }

    def _scores(self) -> list[list[str]]:
        lines = [
            [
                row.factor,
                "–" if row.classes is None else str(row.classes),
                *map(_number, (row.mig, row.sap)),
                "",
                _number(row.completeness),
                _cell(row.informativeness),
                _number(row.explicitness),
            ]
            for row in self.rows
        ]
        means = map(_number, (self.mig, self.sap, self.disentanglement, self.completeness))
        return [HEADER, *lines, [MEAN, "", *means, "", _number(self.explicitness)]]

    def _probes(self) -> list[list[str]]:
        return [
            ["factor", *(f"from {name}" for name in self.latents)],
            *([row.factor, *(str(row.probes[name]) for name in self.latents)] for row in self.rows),
        ]

    def _legend(self) -> list[str]:
        units = "columns of the latent" if len(self.latents) == 1 else f"blocks {', '.join(self.latents)}"
        return [
            f"units: the {len(self.units)} {units}",
            "MIG, SAP: the gap between the best and the second best unit, in information over entropy and in prediction",
            "disentangled: 1 where each unit tells one factor; complete: 1 where one unit tells the factor",
            "informative: R² of random forests, or of classes accuracy (chance)",
            "explicit: how well a linear probe ranks the rows, 0.5 by chance",
            "from: R² by a linear / neural probe, or of classes accuracy (chance); all on held-out rows",
        ]


def _cell(probe: NumberProbe | ClassProbe) -> str:
    return f"{probe.r2:z.2f}" if isinstance(probe, NumberProbe) else f"{probe.accuracy:.2f} ({probe.chance:.2f})"


def _record(row: FactorRow) -> dict[str, Any]:
    return {
        **{name: getattr(row, name) for name in ("factor", "rows", "classes", "mig", "sap", "completeness")},
        "informativeness": record_of(row.informativeness),
        "explicitness": row.explicitness,
        "probes": {name: {probe.kind: record_of(probe) for probe in probes} for name, probes in row.probes.items()},
    }


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _number(value: float | None) -> str:
    return "–" if value is None else format(value, "z.2f")
