"""The curves of a run: losses, penalties, sizes of latents, and validation."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from disentangle.plots.parts import (
    DASHES,
    LINE,
    beside,
    draw_line,
    heading,
    legend_beside,
    lines_of,
    panels,
    say,
    style,
    time_axis,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_curves"]

LOSSES, PENALTIES, SIZES, VALID = "Losses", "Penalties", "Size of latents", "Validation"  # titles of panels
WIDTH, HEIGHT = 4.9, 3.5  # of a panel without its legend, in inches
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
    times = np.array([record[unit_of_time] for record in history], dtype=float)
    drawn = _panels(history)
    heights = [max(HEIGHT, LINE * lines_of(series) * len(series) + 0.8) for series in drawn.values()]
    legends = [beside(series) for title, series in drawn.items() if title != VALID]
    figure, axes = panels(max(1, len(drawn)), WIDTH + max(legends, default=0.0), heights or [HEIGHT])
    for ax, (title, series) in zip(axes, drawn.items(), strict=False):
        heading(ax, title, WIDTH)
        time_axis(ax, times, unit_of_time)
        if title == VALID:
            _draw_validation(ax, times, unit_of_time, series, _best(history))
        else:
            _draw_lines(ax, times, title, series)
    if not drawn:
        say(axes[0], "nothing was recorded")
    figure.savefig(path, dpi=150)


def _panels(history: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, np.ndarray]]:
    """The lines of each panel, by its title; panels without any are left out."""
    valid = _series(history, "valid")
    drawn = {
        LOSSES: _series(history, "losses"),
        **_by_kind(_series(history, "penalties")),
        SIZES: _series(history, "rms"),
        VALID: {name: valid[name] for name in [each for each in VALIDATION if each in valid][:2]},
    }
    return {title: series for title, series in drawn.items() if series}


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
    kinds: dict[str, dict[str, np.ndarray]] = {}
    for name, line in penalties.items():
        kind, slash, label = name.rpartition("/")
        kinds.setdefault(f"{PENALTIES}: {kind}" if slash else PENALTIES, {})[label] = line
    return kinds


def _best(history: Sequence[Mapping[str, Any]]) -> int | None:
    """The place of the last record that says it is the best so far."""
    return max((place for place, record in enumerate(history) if record.get("best")), default=None)


def _draw_lines(ax: Axes, times: np.ndarray, title: str, series: Mapping[str, np.ndarray]) -> None:
    """A line per name, with the legend beside the panel."""
    for place, (name, line) in enumerate(series.items()):
        draw_line(ax, times, line, place, name)
    legend_beside(ax)
    values = np.concatenate([line[np.isfinite(line)] for line in series.values()])
    if title == SIZES:
        top = 1.08 * values.max() or 1.0
        ax.set_ylim(-0.02 * top, top)
        ax.set_ylabel("root mean square")
    elif title == LOSSES:
        ax.set_ylabel("loss")
        if (values > 0).all():
            _log_axis(ax)
    else:
        ax.axhline(0, color="0.4", linewidth=1, zorder=1)
        ax.set_ylabel("raw value")


def _log_axis(ax: Axes) -> None:
    """Powers of ten are far apart for a loss: its ticks are 1, 2 and 5, written out."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    ax.set_yscale("log")
    ax.set_ylabel("loss (log scale)")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_locator(NullLocator())


def _draw_validation(
    ax: Axes, times: np.ndarray, unit: str, series: Mapping[str, np.ndarray], best: int | None
) -> None:
    """The error or F1 on the left axis, the correlation or the area on the right one, each in the colour of its axis."""
    for place, (name, line) in enumerate(series.items()):
        side, color = ax if place == 0 else ax.twinx(), style(place)["color"]
        draw_line(side, times, line, place, linestyle=DASHES[place])
        side.set_ylabel(VALIDATION[name], color=color)
        side.tick_params(axis="y", labelcolor=color)
        side.spines["top"].set_visible(False)
        if best is not None and np.isfinite(line[best]):
            side.plot(times[best], line[best], "*", color=color, markersize=12, markeredgecolor="white")
    if best is not None:
        ax.axvline(times[best], color="0.6", linestyle=":", linewidth=1, zorder=0)
        there = {name: line[best] for name, line in series.items() if np.isfinite(line[best])}
        values = ", ".join(f"{name} {value:z.3f}" for name, value in there.items())
        # below: beside the panel's title there is no room for two names of metrics
        ax.set_xlabel(f"{unit}\nbest: {unit} {times[best]:z.0f} ({values})")
