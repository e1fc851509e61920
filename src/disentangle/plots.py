"""Pictures of a run, written to a file without touching matplotlib's global state.

Needs matplotlib: `pip install disentangle[plots]`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["blank_figure", "plot_curves", "plot_matrix"]

PENALTIES = "Penalties"  # the title of their panels
# Okabe and Ito's palette, told apart by readers with any colour vision; yellow left out, too light for lines on white
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", ":")
# What is drawn of a validation: of numbers the first two, of classes the others.
VALIDATION = {
    "mae": "mean absolute error",
    "corr": "correlation",
    "f1_weighted": "weighted F1",
    "auc": "area under the ROC",
}


def plot_curves(history: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    """Draws a run over its epochs: losses, the dependence of pairs, the sizes of latents, and validation.

    Only what is there is drawn: a section that no epoch has gets no panel, a missing or `null` value leaves a gap.

    Arguments:
        history: A record per epoch, or several with the `step` of each, such as the lines of `metrics.jsonl`: `epoch`, and
            under `losses`, `penalties`, `rms` and `valid` values by name; `best` is true where it was the best so far.
        path: The file to write; its ending says the format.

    Raises:
        ImportError: Where matplotlib is missing.
        ValueError: Where `history` is empty.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "curves.png"
        >>> plot_curves([{"epoch": 1, "losses": {"Y": 1.2}}, {"epoch": 2, "losses": {"Y": 0.9}}], path)
        >>> path.exists()
        True
    """
    if not history:
        raise ValueError("expected a history of at least 1 epoch, got 0")
    numbers = [record["epoch"] for record in history]
    unit_of_time = "epoch" if len(set(numbers)) == len(numbers) else "step"  # several reports per epoch
    epochs = np.array([record[unit_of_time] for record in history], dtype=float)
    sections = {name: _series(history, name) for name in ("losses", "penalties", "rms", "valid")}
    valid = {name: sections["valid"][name] for name in [each for each in VALIDATION if each in sections["valid"]][:2]}
    panels = [
        (title, unit, series)
        for title, unit, series in (
            ("Losses", "loss", sections["losses"]),
            *((title, "raw value", series) for title, series in _by_kind(sections["penalties"]).items()),
            ("Size of latents", "root mean square", sections["rms"]),
            ("Validation", "", valid),
        )
        if series
    ]
    columns = min(2, max(1, len(panels)))
    rows = max(1, -(-len(panels) // columns))
    figure = blank_figure(6.4 * columns, 3.5 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for ax, (title, unit, series) in zip(axes, panels, strict=False):
        ax.set_title(title, loc="left", fontweight="bold")
        _time_axis(ax, epochs, unit_of_time)
        if title == "Validation":
            _draw_validation(ax, epochs, series, _best(history))
            continue
        _draw(ax, epochs, series)
        ax.set_ylabel(unit)
        values = np.concatenate([line[np.isfinite(line)] for line in series.values()])
        if title == "Losses" and (values > 0).all():
            _log_axis(ax)
        elif title.startswith(PENALTIES):
            ax.axhline(0, color="0.4", linewidth=1, zorder=1)
        elif title == "Size of latents":
            top = 1.08 * values.max() or 1.0
            ax.set_ylim(-0.02 * top, top)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    if not panels:
        axes[0].text(0.5, 0.5, "nothing was recorded", ha="center", va="center")
    figure.savefig(path, dpi=150)


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
    that is negative says that there is nothing.

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
    names = max(map(len, rows))
    figure = blank_figure(3.0 + 0.9 * len(columns) + 0.09 * names, 1.6 + 0.55 * len(rows))
    ax = figure.subplots()
    image = ax.imshow(np.clip(table, 0, top), cmap="Blues", vmin=0, vmax=top, aspect="auto")
    ax.set_title(title, loc="left", fontweight="bold")
    ax.set_xticks(range(len(columns)), labels=list(columns))
    ax.set_yticks(range(len(rows)), labels=list(rows))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    # white lines between the cells
    ax.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=2)
    ax.tick_params(which="minor", length=0)
    for (i, j), value in np.ndenumerate(table):
        text = f"{value:z.2f}".replace("-", "−") if not np.isnan(value) else "–"
        ax.text(j, i, text, ha="center", va="center", color="white" if value > 0.6 * top else "0.15")
    figure.colorbar(image, ax=ax, label=unit, fraction=0.08, pad=0.03).outline.set_visible(False)  # type: ignore[union-attr]
    figure.savefig(path, dpi=150)


def blank_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches; raises `ImportError` where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install disentangle[plots]") from error
    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))


def _series(history: Sequence[Mapping[str, Any]], section: str) -> dict[str, np.ndarray]:
    """One value per epoch by name, NaN where an epoch has none; names without any value are left out."""
    records = [record.get(section) or {} for record in history]
    names = dict.fromkeys(name for record in records for name in record)
    series = {}
    for name in names:
        values = [record.get(name) for record in records]
        line = np.array([np.nan if value is None else value for value in values], dtype=float)
        if np.isfinite(line).any():
            series[name] = line
    return series


def _by_kind(penalties: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """The penalties of each panel: those of a kind, which stands before the slash of their names, have one of their own."""
    panels: dict[str, dict[str, np.ndarray]] = {}
    for name, line in penalties.items():
        kind, slash, label = name.rpartition("/")
        panels.setdefault(f"{PENALTIES}: {kind}" if slash else PENALTIES, {})[label] = line
    return panels


def _best(history: Sequence[Mapping[str, Any]]) -> float | None:
    """The last epoch that says it is the best so far; without any, the one with the least validation error."""
    marked = [record["epoch"] for record in history if record.get("best")]
    if marked:
        return float(marked[-1])
    errors = _series(history, "valid").get("mae")
    return None if errors is None else float(history[int(np.nanargmin(errors))]["epoch"])


def _time_axis(ax: Axes, epochs: np.ndarray, unit: str) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.set_xlabel(unit)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    span = max(np.ptp(epochs), 1.0)
    ax.set_xlim(epochs.min() - 0.03 * span, epochs.max() + 0.03 * span)
    ax.grid(color="0.9", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _log_axis(ax: Axes) -> None:
    """Powers of ten are far apart for a loss: its ticks are 1, 2 and 5, written out."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    ax.set_yscale("log")
    ax.set_ylabel("loss (log scale)")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_locator(NullLocator())


def _draw(ax: Axes, epochs: np.ndarray, series: Mapping[str, np.ndarray]) -> None:
    """Draws a line per name, with marks where there are few epochs, and the legend beside the panel."""
    marker = "o" if len(epochs) <= 12 else ""
    for i, (name, line) in enumerate(series.items()):
        style = DASHES[i // len(COLORS) % len(DASHES)]
        color = COLORS[i % len(COLORS)]
        ax.plot(epochs, line, style, color=color, marker=marker, markersize=3, linewidth=1.5, label=name)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), fontsize="small", frameon=False)


def _draw_validation(ax: Axes, epochs: np.ndarray, series: Mapping[str, np.ndarray], best: float | None) -> None:
    """The error or F1 on the left axis, the correlation or the area on the right one, each in the colour of its axis."""
    marker = "o" if len(epochs) <= 12 else ""
    for i, (name, line) in enumerate(series.items()):
        side = ax if i == 0 else ax.twinx()
        color, style = COLORS[i], DASHES[i]
        side.plot(epochs, line, style, color=color, marker=marker, markersize=3, linewidth=1.5)
        side.set_ylabel(VALIDATION[name], color=color)
        side.tick_params(axis="y", labelcolor=color)
        side.spines["top"].set_visible(False)
        at = np.flatnonzero(epochs == best)
        if at.size and np.isfinite(line[at[0]]):
            value = line[at[0]]
            side.plot(epochs[at[0]], value, "*", color=color, markersize=12, markeredgecolor="white")
    if best is not None:
        ax.axvline(best, color="0.6", linestyle=":", linewidth=1, zorder=0)
        there = {name: line[epochs == best][0] for name, line in series.items()}
        values = ", ".join(f"{name} {value:.3f}" for name, value in there.items() if np.isfinite(value))
        ax.set_title(f"best: epoch {best:.0f} ({values})", loc="right", fontsize="small")
