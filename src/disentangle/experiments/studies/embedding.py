"""Latents of several models as points in a plane, by t-SNE."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from disentangle.experiments.studies.pictures import plot_points
from disentangle.experiments.studies.tables import Table
from disentangle.text_tables import TextTable, comma_separated

__all__ = ["Embedding", "embed"]

NOTE = (
    "silhouette: how far apart the latents of one model lie, from -1 to 1; it says nothing of how independent they are"
)


@dataclass(frozen=True)
class Embedding(Table):
    """Points of latents, by model and latent, each `(rows, 2)`. It prints as text.

    Attributes:
        points: The points.
        silhouettes: How far apart the latents of each model lie in their own space, from -1 to 1.
    """

    file_name: ClassVar[str] = "embedding"
    points: dict[str, dict[str, np.ndarray]]
    silhouettes: dict[str, float]

    def to_csv(self) -> str:
        """A line for each point."""
        lines: list[list[object]] = [["model", "latent", "row", "x", "y"]]
        for model, latents in self.points.items():
            for latent, points in latents.items():
                lines += ([model, latent, row, f"{x:z.4f}", f"{y:z.4f}"] for row, (x, y) in enumerate(points))
        return comma_separated(lines)

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draws a panel for each model; raises `ImportError` where matplotlib is missing."""
        plot_points(self.points, path)

    def tables(self) -> list[TextTable]:
        """How far apart the latents of each model lie."""
        lines = [[name, f"{value:z.3f}"] for name, value in self.silhouettes.items()]
        return [TextTable([["model", "silhouette"], *lines], ["model"], [NOTE])]


def embed(latents: Mapping[str, Mapping[str, Tensor]], *, rows: int = 300, seed: int = 0) -> Embedding:
    """Embeds all latents of each model together, by t-SNE.

    Arguments:
        latents: By model and latent, `(N, d)` each, of one size within a model.
        rows: How many rows are embedded at most, the same of all latents; drawn by `seed`.
        seed: Decides on the rows and on t-SNE.

    Raises:
        ImportError: Where scikit-learn is missing.
    """
    from sklearn.manifold import TSNE
    from sklearn.metrics import silhouette_score

    points, silhouettes = {}, {}
    for model, own in latents.items():
        n = len(next(iter(own.values())))
        which = np.sort(np.random.default_rng(seed).permutation(n)[:rows])
        joint = np.concatenate([value.numpy()[which] for value in own.values()]).astype(np.float64)
        labels = np.repeat(np.arange(len(own)), len(which))
        perplexity = min(30.0, (len(joint) - 1) / 3)
        flat = TSNE(perplexity=perplexity, random_state=seed, init="pca").fit_transform(joint)
        points[model] = dict(zip(own, np.split(flat, len(own)), strict=True))
        silhouettes[model] = float(silhouette_score(joint, labels))
    return Embedding(points, silhouettes)
