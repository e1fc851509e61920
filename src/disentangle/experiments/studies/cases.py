"""Single recordings: what is said, the truth, and what several models predict."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from disentangle.experiments.studies.pictures import plot_cases
from disentangle.experiments.studies.tables import Table
from disentangle.text_tables import TextTable, comma_separated

__all__ = ["Cases", "spread"]


@dataclass(frozen=True)
class Cases(Table):
    """Recordings with a number each, and what models say of them. It prints as text.

    Attributes:
        rows: Which recordings of their split they are.
        words: What is said in each.
        truth: Its label.
        predictions: What each model says, by its name: the mean over its seeds.
    """

    file_name: ClassVar[str] = "cases"
    rows: list[int]
    words: list[str]
    truth: list[float]
    predictions: dict[str, list[float]]

    def to_csv(self) -> str:
        """A line for each recording, in full precision."""
        said = zip(self.rows, self.words, self.truth, *self.predictions.values(), strict=True)
        return comma_separated([["row", "words", "truth", *self.predictions], *said])

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draws truth and predictions of each recording on a line; raises `ImportError` where matplotlib is missing."""
        plot_cases(self.words, self.truth, self.predictions, path)

    def tables(self) -> list[TextTable]:
        """A line for each recording."""
        lines = [
            [self.words[i], f"{self.truth[i]:z.1f}", *(f"{said[i]:z.1f}" for said in self.predictions.values())]
            for i in range(len(self.rows))
        ]
        return [TextTable([["words", "truth", *self.predictions], *lines], ["words"])]


def spread(labels: Sequence[float] | np.ndarray, n: int) -> list[int]:
    """The places of `n` labels from the least to the largest, evenly over their ranks: whatever a model says of them.

    Example:
        >>> spread([3.0, -1.0, 0.5, 2.0, 1.0], 3)
        [1, 4, 0]
    """
    order = np.argsort(np.asarray(labels), kind="stable")
    return [int(order[place]) for place in np.unique(np.linspace(0, len(order) - 1, n).round().astype(int))]
