"""What a penalty says of its pairs in training, beside what a meter says on rows that were held out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from disentangle.errors import RunError
from disentangle.experiments.studies.pictures import plot_two_curves
from disentangle.experiments.studies.tables import Table
from disentangle.information import estimate_mutual_information
from disentangle.text_tables import TextTable, comma_separated
from disentangle.training import Run

__all__ = ["InformationCurves", "information_curves"]

Curve = dict[int, float]  # by epoch
OWN, METER = "by the penalty, training rows", "by a meter, validation rows"
NOTE = "the sum over pairs of latents after the last epoch, nats"
COMPONENTS = 8
NOT_IN_NATS = {"orthogonal", "correlation", "XCov", "HSIC", "dHSIC", "dCor", "CKA", "CMD"}  # what has no parameters


@dataclass(frozen=True)
class InformationCurves(Table):
    """The sum over pairs of latents by epoch, in nats, for several runs. It prints as text: the last epoch.

    Attributes:
        own: What the penalty's estimators said, on average over the epoch, by run and epoch.
        meter: What `estimate_mutual_information` says of the validation split after the epoch, likewise. It sees the 8 leading
            principal components of each latent: a few hundred rows are too few for more, and a part tells at most what the
            whole does.
    """

    file_name: ClassVar[str] = "information"
    own: dict[str, Curve]
    meter: dict[str, Curve]

    def to_csv(self) -> str:
        """A line for each run and epoch."""
        lines: list[list[object]] = [["run", "epoch", "penalty", "meter"]]
        for name, curve in self.own.items():
            lines += ([name, epoch, value, self.meter[name].get(epoch)] for epoch, value in curve.items())
        return comma_separated(lines)

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draws a panel for the penalty and one for the meter; raises `ImportError` where matplotlib is missing."""
        plot_two_curves({OWN: self.own, METER: self.meter}, "sum over pairs of latents (nats)", path)

    def tables(self) -> list[TextTable]:
        """The sums after the last epoch."""
        lines = [
            [name, f"{list(self.own[name].values())[-1]:z.3f}", f"{list(self.meter[name].values())[-1]:z.3f}"]
            for name in self.own
        ]
        return [TextTable([["run", OWN, METER], *lines], ["run"], [NOTE])]


def information_curves(
    runs: Mapping[str, str | os.PathLike[str]],
    pairs: Sequence[tuple[str, str]],
    rows: np.ndarray,
    *,
    epochs: int = 20,
    method: str = "copula",
) -> InformationCurves:
    """Reads what penalties said in runs with `--keep-variables`, and measures the variables that these kept.

    Arguments:
        runs: The folders of single runs, by name.
        pairs: The pairs of latents that are summed over.
        rows: Which rows of the validation split have all of them, `(N,)` bool.
        epochs: How many epochs are measured at most, evenly over the run.
        method: Of `estimate_mutual_information`.

    Raises:
        RunError: If a run has not kept its variables, has no penalty on these pairs, or has one that is not in nats. A pair of
            which a run has no penalty, as without a modality, is left out of both of its curves.
    """
    own: dict[str, Curve] = {}
    meter: dict[str, Curve] = {}
    for name, folder in runs.items():
        history = Run.open(folder).history
        keys = dict.fromkeys(key for record in history for key in record["penalties"])
        labels = {pair: key for pair in pairs for key in keys if key.endswith(f"({pair[0]};{pair[1]})")}
        if others := sorted({key.partition("(")[0] for key in labels.values()} & NOT_IN_NATS):
            raise RunError(
                f"{folder}: expected a penalty in nats, beside which a meter can be drawn, got {', '.join(others)}"
            )
        own[name] = {
            record["epoch"]: sum(values)
            for record in history
            if (values := [v for key in labels.values() if (v := record["penalties"].get(key)) is not None])
        }
        kept = sorted(Path(folder).glob("variables/epoch-*.npz"))
        if not kept or not own[name]:
            raise RunError(f"{folder}: expected a run with --keep-variables and a penalty on its latents, got none")
        which = np.unique(np.linspace(0, len(kept) - 1, min(epochs, len(kept))).round().astype(int))
        meter[name] = {
            int(kept[i].stem.partition("-")[2]): _measured(kept[i], list(labels), rows, method) for i in which
        }
    return InformationCurves(own, meter)


def _measured(path: Path, pairs: Sequence[tuple[str, str]], rows: np.ndarray, method: str) -> float:
    with np.load(path) as variables:
        values = {name: _leading(variables[name][rows]) for pair in pairs for name in pair}
    return float(sum(estimate_mutual_information(values[x], values[y], method=method).value for x, y in pairs))


def _leading(values: np.ndarray) -> np.ndarray:
    """The leading principal components, `(rows, at most 8)`; fewer where there are no more."""
    left, sizes, _ = np.linalg.svd(values - values.mean(0), full_matrices=False)
    kept = min(COMPONENTS, max(1, int((sizes > 1e-6 * sizes[0]).sum())))
    return left[:, :kept] * sizes[:kept]
