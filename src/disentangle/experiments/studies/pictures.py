"""Pictures of metrics: of systems side by side, and against an option. A panel for each metric, two to a line."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from textwrap import shorten, wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from disentangle.plots.parts import (
    COLORS,
    LETTER,
    LINE,
    beside,
    blank_figure,
    draw_line,
    folded,
    heading,
    legend_beside,
    letters_side_by_side,
    lines_of,
    longest,
    name_columns,
    name_rows,
    panels,
    plain,
    say,
    style,
    time_axis,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "places",
    "plot_cases",
    "plot_option",
    "plot_points",
    "plot_sizes",
    "plot_systems",
    "plot_two_curves",
]

Values = Mapping[str, Mapping[str, Sequence[float]]]  # over seeds, by metric, then by system or value
NOTHING = "no values"
CLOSE = 0.5  # of the distance that values would have side by side: closer ones are placed side by side


def plot_systems(values: Values, path: str | os.PathLike[str]) -> None:
    """Draws mean and standard deviation of each metric for each system, and a dot for each seed."""
    names = list(next(iter(values.values()), {}))
    height = 1.1 + max(0.4, 0.2 * (1 + lines_of(names))) * len(names)
    figure, axes = _panels(values, 3.4 + LETTER * longest(names) / 2, height, _over_seeds(values))
    for i, (ax, of) in enumerate(zip(axes, values.values(), strict=True)):
        for place, (name, each) in enumerate(of.items()):
            _point(ax, float(place), each, COLORS[place % len(COLORS)], sideways=True)
            if not each:
                said = f"{folded(name)} has none"
                ax.text(0.5, place, said, transform=ax.get_yaxis_transform(), ha="center", va="center")
        name_rows(ax, names if i % 2 == 0 else [""] * len(names))
        ax.grid(axis="x", color="0.9", linewidth=0.8)
        _few_numbers(ax)
        if not of:
            say(ax, NOTHING)
    figure.savefig(path, dpi=150)


def plot_option(values: Values, path: str | os.PathLike[str], option: str) -> None:
    """Draws mean and standard deviation of each metric against the values of an option, and a dot for each seed.

    The axis is logarithmic where the values are powers; where they are no numbers, or too close to be told apart, they are
    placed side by side.
    """
    names = list(next(iter(values.values()), {}))
    scale, at = places(names)
    upright = not letters_side_by_side(names, 4.0 * closest(scale, at))
    length = max(4.0, upright * 1.2 * LINE * lines_of(names) / closest(scale, at))  # of the axis, in inches
    figure, axes = _panels(values, length + 1.2, 3.0 + LETTER * longest(names) * upright, _over_seeds(values))
    for ax, of in zip(axes, values.values(), strict=True):
        known = sorted((x, statistics.fmean(each)) for x, each in zip(at, of.values(), strict=True) if each)
        if not known:
            say(ax, NOTHING)
            continue
        ax.plot(at, [known[0][1]] * len(at), alpha=0)  # a place for values that have none
        if scale not in ("names", "even"):
            ax.plot(*zip(*known, strict=True), color=COLORS[0], linewidth=1.5)
        for x, each in zip(at, of.values(), strict=True):
            _point(ax, x, each, COLORS[0], sideways=False)
        _scale_axis(ax, scale, at)
        name_columns(ax, at, names, 4.0 * closest(scale, at))
        ax.set_xlabel(f"{option} (not to scale)" if scale == "even" else option)
        ax.grid(axis="y", color="0.9", linewidth=0.8)
    figure.savefig(path, dpi=150)


def plot_sizes(
    own: Mapping[str, tuple[float, float]], published: Mapping[str, tuple[float, float]], path: str | os.PathLike[str]
) -> None:
    """Draws millions of parameters and billions of multiply-accumulates of each name, and what was published, as dots."""
    names = list(own)
    titles = ("parameters (M)", "multiply-accumulates (G)")
    figure, axes = _panels(titles, 4.2 + LETTER * longest(names) / 2, 1.4 + (0.1 + 0.2 * lines_of(names)) * len(names))
    for side, ax in enumerate(axes):
        ax.plot([own[name][side] for name in names], range(len(names)), "o", color=COLORS[0], label="counted here")
        there = [(published[name][side], place) for place, name in enumerate(names) if name in published]
        if there:
            ax.plot(*zip(*there, strict=True), "D", color=COLORS[1], mfc="none", label="published")
        name_rows(ax, names if side == 0 else [""] * len(names))
        ax.grid(color="0.9", linewidth=0.8)
        if not names:
            say(ax, NOTHING)
    if names:
        legend_beside(axes[1])
    figure.savefig(path, dpi=150)


def plot_points(points: Mapping[str, Mapping[str, np.ndarray]], path: str | os.PathLike[str]) -> None:
    """Draws a panel for each model, two to a line, with the points of its latents."""
    names = list(dict.fromkeys(name for latents in points.values() for name in latents))
    width = 5.2 + beside(names) / min(2, len(points) or 1)
    figure, axes = _panels(points, width, max(4.6, LINE * lines_of(names) * len(names) / max(1, -(-len(points) // 2))))
    for ax, latents in zip(axes, points.values(), strict=True):
        for name, at in latents.items():
            look = style(names.index(name))
            size = 9 if len(at) > 30 else 25
            ax.scatter(at[:, 0], at[:, 1], s=size, alpha=0.6, linewidths=0, color=look["color"], marker=look["marker"])
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[["top", "right"]].set_visible(True)
        if not latents:
            say(ax, NOTHING)
    marks = [_mark(names.index(name), name) for name in names]
    figure.legend(handles=marks, loc="outside right upper", frameon=False, fontsize="small")
    figure.savefig(path, dpi=150)


def plot_cases(
    words: Sequence[str],
    truth: Sequence[float],
    predictions: Mapping[str, Sequence[float]],
    path: str | os.PathLike[str],
) -> None:
    """Draws a line for each recording: its truth, and what each model says of it."""
    row = max(0.62, 0.16 * (len(predictions) + 1))
    legend = 0.24 * lines_of(list(predictions)) * (len(predictions) + 1)
    figure = blank_figure(7.8 + beside([*predictions, "truth"]), max(1.2 + row * len(words), legend + 0.5))
    ax = figure.subplots()
    at = np.arange(len(words))
    if len(words):
        ax.hlines(at, *_range([truth, *predictions.values()]), color="0.9", linewidth=0.8, zorder=0)
        ax.plot(truth, at, "|", color="black", markersize=20, markeredgewidth=2.5, label="truth")
    for i, (name, said) in enumerate(predictions.items()):
        offset = 0.16 / row * (i - (len(predictions) - 1) / 2)
        color, marker = COLORS[i % len(COLORS)], "osD^v"[i % 5]
        ax.plot(said, at + offset, marker, color=color, markersize=6, label=folded(name))
    ax.set_yticks(at, labels=[plain("\n".join(wrap(shorten(each, 86, placeholder=" …"), 45))) or "–" for each in words])
    ax.set_ylim(len(words) - 0.4, -0.6)
    ax.set_xlabel("label")
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    if len(words):
        legend_beside(ax, labelspacing=0.9)
    else:
        say(ax, "no recordings")
    figure.savefig(path, dpi=150)


def plot_two_curves(
    measures: Mapping[str, Mapping[str, Mapping[int, float]]], unit: str, path: str | os.PathLike[str]
) -> None:
    """Draws a panel for each measure, with a line over the epochs for each run."""
    names = list(dict.fromkeys(name for curves in measures.values() for name in curves))
    height = max(3.8, LINE * lines_of(names) * len(names) + 0.8)
    figure, axes = _panels(measures, 5.2 + beside(names) / 2, height)
    for ax, curves in zip(axes, measures.values(), strict=True):
        there = {name: curve for name, curve in curves.items() if curve}
        if not there:
            say(ax, NOTHING)
            continue
        time_axis(ax, np.array([epoch for curve in there.values() for epoch in curve], dtype=float), "epoch")
        for name, curve in there.items():
            x, y = (np.array([*each], dtype=float) for each in (curve, curve.values()))
            draw_line(ax, x, y, names.index(name), name)
        ax.axhline(0, color="0.4", linewidth=1, zorder=1)
        ax.set_ylabel(unit if ax is axes[0] else "")
        if ax is axes[-1]:
            legend_beside(ax)
    figure.savefig(path, dpi=150)


def _range(values: Sequence[Sequence[float]]) -> tuple[float, float]:
    joint = np.concatenate([np.asarray(each, dtype=float) for each in values])
    return float(joint.min()), float(joint.max())


def places(names: Sequence[str]) -> tuple[str, list[float]]:
    """Which axis values of an option have, and where on it they are: "linear", "log", "symlog" (powers and 0), "names".

    Numbers that are so close on it that they could not be told apart are "even": one beside the other.

    Example:
        >>> places(["0.03", "0.1", "0.3"])
        ('log', [0.03, 0.1, 0.3])
        >>> places(["16", "32", "48"])[0], places(["0", "1e-3", "1e-2", "1e-1"])[0], places(["club", "none"])
        ('linear', 'symlog', ('names', [0.0, 1.0]))
    """
    even = [float(i) for i in range(len(names))]
    try:
        at = [float(name) for name in names]
    except ValueError:
        return "names", even
    if not np.isfinite(at).all():
        return "names", even
    positive = np.array(sorted({x for x in at if x > 0}))
    scale = "linear"
    if min(at, default=0.0) >= 0 and len(positive) > 2:
        ratios, steps = np.diff(np.log(positive)), np.diff(positive)
        if ratios.std() / ratios.mean() < steps.std() / steps.mean():
            scale = "symlog" if 0 in at else "log"
    return (scale, at) if closest(scale, at) * len(at) > CLOSE else ("even", even)


def closest(scale: str, at: Sequence[float]) -> float:
    """The least distance between two places, as a share of the axis; 1 where there is one place."""
    x = np.sort(np.asarray(at, dtype=float))
    if scale in ("log", "symlog"):
        least = x[x > 0].min()
        x = np.where(x > 0, np.log10(np.maximum(x, least)), np.log10(least) - 0.5)
    return float(np.diff(x).min() / np.ptp(x)) if len(x) > 1 and np.ptp(x) > 0 else 1.0


def _over_seeds(values: Values) -> str:
    """What points and bars are."""
    most = max((len(each) for of in values.values() for each in of.values()), default=0)
    several = "mean ± standard deviation over seeds; a dot for each seed"
    return several if most > 1 else "one seed each" if most else ""


def _panels(titles: Iterable[str], width: float, height: float, note: str = "") -> tuple[Figure, list[Axes]]:
    """A panel for each title, two to a line; without any, one that says so."""
    names = list(titles)
    figure, axes = panels(max(1, len(names)), width, [height] * max(1, len(names)))
    for ax, name in zip(axes, names, strict=False):
        heading(ax, name, width - 1)
    if not names:
        say(axes[0], NOTHING)
    if note and names:
        figure.supxlabel(note, fontsize="small", color="0.35")
    return figure, axes[: len(names)]


def _point(ax: Axes, place: float, values: Sequence[float], color: str, *, sideways: bool) -> None:
    if not values:
        return
    mean, sd = statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0
    if len(values) > 1:
        line, dots = [place] * len(values), list(values)
        ax.scatter(*((dots, line) if sideways else (line, dots)), s=14, color=color, alpha=0.4, linewidths=0)
    look = {"fmt": "o", "color": color, "markersize": 6, "capsize": 3, "linewidth": 1.5}
    if sideways:
        ax.errorbar(mean, place, xerr=sd or None, **look)
    else:
        ax.errorbar(place, mean, yerr=sd or None, **look)


def _scale_axis(ax: Axes, scale: str, at: Sequence[float]) -> None:
    from matplotlib.ticker import NullLocator

    if scale == "log":
        ax.set_xscale("log")
    elif scale == "symlog":
        ax.set_xscale("symlog", linthresh=min(x for x in at if x > 0), linscale=0.5)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.margins(x=0.08)


def _few_numbers(ax: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(4))


def _mark(place: int, name: str) -> Any:
    """The mark of a name in a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], markersize=6, label=folded(name), **{**style(place), "linestyle": ""})
