"""A table as a heat map, with its numbers in it."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from disentangle.plots.parts import (
    LETTER,
    LINE,
    blank_figure,
    heading,
    letters_side_by_side,
    longest,
    name_columns,
    name_rows,
)

__all__ = ["plot_matrix"]

CELL, WIDEST = (0.9, 0.55), 1.6  # how wide and high a cell is, and how wide it can become, in inches
TABLE = (2.6, 1.1)  # of all cells, at least
BAR = 1.1  # the width of the colour bar, with its numbers and its unit


def plot_matrix(
    values: Sequence[Sequence[float | None]] | np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    path: str | os.PathLike[str],
    title: str,
    *,
    unit: str = "",
    maximum: float | None = None,
) -> None:
    """Draws a table as a heat map with its numbers in it: which latent holds which factor, what each pair shares.

    Colours run from 0, white, to `maximum`. What is below 0 is white too: an R² or an estimate of information
    that is negative says that there is nothing. The picture grows with the number and the length of the names.

    Arguments:
        values: `(len(rows), len(columns))`; `None` and NaN are drawn as empty cells.
        rows: The names of the rows.
        columns: The names of the columns.
        path: The file to write; its ending says the format.
        title: What the picture shows.
        unit: What the numbers are, beside the colour bar: "nats", "held-out R²".
        maximum: The number that has the darkest color, such as 1 for R²; the largest one in the table by default.

    Raises:
        ImportError: Where matplotlib is missing.
        ValueError: Where the shape of `values` does not fit the names.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "factors.png"
        >>> plot_matrix([[0.9, 0.0], [None, 0.8]], ["S", "V"], ["shared", "visual"], path, "Decodability", maximum=1.0)
        >>> path.exists()
        True
    """
    table = np.array([[np.nan if value is None else value for value in row] for row in values], dtype=float)
    if table.shape != (len(rows), len(columns)) or table.size == 0:
        raise ValueError(
            f"expected values of shape ({len(rows)}, {len(columns)}), a value for each row and column and at least one, "
            f"got {table.shape}"
        )
    finite = table[np.isfinite(table)]
    top = maximum or float(finite.max(initial=0.0)) or 1.0
    word = max(len(word) for name in columns for word in name.split() or [name])
    width = max(TABLE[0], len(columns) * min(max(CELL[0], LETTER * (word + 2)), WIDEST))
    height = max(TABLE[1], len(rows) * CELL[1])
    cell = width / len(columns)
    names = LINE * 3 if letters_side_by_side(columns, cell) else LETTER * longest(columns)
    figure = blank_figure(LETTER * longest(rows) + width + BAR + 0.4, height + names + 0.7)
    ax = figure.subplots()
    image = ax.imshow(np.clip(table, 0, top), cmap="Blues", vmin=0, vmax=top, aspect="auto")
    heading(ax, title, width + BAR)
    name_columns(ax, range(len(columns)), columns, cell)
    name_rows(ax, rows)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    # white lines between the cells
    ax.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=2)
    ax.tick_params(which="minor", length=0)
    for (i, j), value in np.ndenumerate(table):
        ax.text(j, i, written(value), ha="center", va="center", color="white" if value > 0.6 * top else "0.15")
    if not np.isfinite(table).any():
        ax.set_xlabel("no values")
    bar = figure.colorbar(
        image, ax=ax, label=unit, fraction=min(0.2, 0.3 / width), pad=0.1 / width, aspect=height / 0.2
    )
    bar.outline.set_visible(False)  # type: ignore[union-attr]
    figure.savefig(path, dpi=150)


def written(value: float) -> str:
    """A number as it fits a cell."""
    if np.isnan(value):
        return "–"
    return (f"{value:z.2f}" if abs(value) < 1000 else f"{value:.3g}").replace("-", "−")
