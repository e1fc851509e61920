"""Pictures of metrics: of systems side by side, and against an option. A panel for each metric, two to a line."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from textwrap import shorten, wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from disentangle.plots import COLORS, blank_figure

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

OVER_SEEDS = "mean ± standard deviation over seeds; a dot for each seed"
Values = Mapping[str, Mapping[str, Sequence[float]]]  # over seeds, by metric, then by system or value


def plot_systems(values: Values, path: str | os.PathLike[str]) -> None:
    """Draws mean and standard deviation of each metric for each system, and a dot for each seed."""
    names = list(next(iter(values.values())))
    figure, axes = _panels(values, 1.1 + 0.4 * len(names))
    for ax, of in zip(axes, values.values(), strict=True):
        for place, (name, each) in enumerate(of.items()):
            _point(ax, float(place), each, COLORS[place % len(COLORS)], sideways=True)
            if not each:
                ax.text(0.5, place, f"{name} has none", transform=ax.get_yaxis_transform(), ha="center", va="center")
        ax.set_yticks(range(len(names)), labels=names)
        ax.set_ylim(len(names) - 0.4, -0.6)
        ax.grid(axis="x", color="0.9", linewidth=0.8)
    figure.savefig(path, dpi=150)


def plot_option(values: Values, path: str | os.PathLike[str], option: str) -> None:
    """Draws mean and standard deviation of each metric against the values of an option, and a dot for each seed.

    The axis is logarithmic where the values are powers; where they are no numbers, they are placed side by side.
    """
    names = list(next(iter(values.values())))
    scale, at = places(names)
    figure, axes = _panels(values, 3.0)
    for ax, of in zip(axes, values.values(), strict=True):
        known = sorted((x, statistics.fmean(each)) for x, each in zip(at, of.values(), strict=True) if each)
        ax.plot(at, [known[0][1] if known else 0.0] * len(at), alpha=0)  # a place for values that have none
        if known and scale != "names":
            ax.plot(*zip(*known, strict=True), color=COLORS[0], linewidth=1.5)
        for x, each in zip(at, of.values(), strict=True):
            _point(ax, x, each, COLORS[0], sideways=False)
        _option_axis(ax, scale, at, names)
        ax.set_xlabel(option)
        ax.grid(axis="y", color="0.9", linewidth=0.8)
    figure.savefig(path, dpi=150)


def plot_sizes(
    own: Mapping[str, tuple[float, float]], published: Mapping[str, tuple[float, float]], path: str | os.PathLike[str]
) -> None:
    """Draws millions of parameters and billions of multiply-accumulates of each name, and what was published, as dots."""
    names = list(own)
    figure = blank_figure(10.4, 1.4 + 0.3 * len(names))
    axes = figure.subplots(1, 2)
    for side, title in enumerate(("parameters (M)", "multiply-accumulates (G)")):
        ax = axes[side]
        ax.plot([own[name][side] for name in names], range(len(names)), "o", color=COLORS[0], label="counted here")
        there = [(published[name][side], place) for place, name in enumerate(names) if name in published]
        ax.plot(*(zip(*there, strict=True) if there else ((), ())), "D", color=COLORS[1], mfc="none", label="published")
        ax.set_yticks(range(len(names)), labels=names if side == 0 else [""] * len(names))
        ax.set_ylim(len(names) - 0.4, -0.6)
        ax.set_title(title, loc="left", fontweight="bold")
        ax.grid(color="0.9", linewidth=0.8)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
    axes[1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    figure.savefig(path, dpi=150)


def plot_points(points: Mapping[str, Mapping[str, np.ndarray]], path: str | os.PathLike[str]) -> None:
    """Draws a panel for each model, two to a line, with the points of its latents."""
    figure, axes = _panels({name: {} for name in points}, 4.6, "")
    for ax, latents in zip(axes, points.values(), strict=True):
        for i, (name, at) in enumerate(latents.items()):
            ax.scatter(at[:, 0], at[:, 1], s=9, alpha=0.6, linewidths=0, color=COLORS[i % len(COLORS)], label=name)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[["top", "right"]].set_visible(True)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False, markerscale=2)
    figure.savefig(path, dpi=150)


def plot_cases(
    words: Sequence[str],
    truth: Sequence[float],
    predictions: Mapping[str, Sequence[float]],
    path: str | os.PathLike[str],
) -> None:
    """Draws a line for each recording: its truth, and what each model says of it."""
    figure = blank_figure(9.6, 1.2 + 0.62 * len(words))
    ax = figure.subplots()
    at = np.arange(len(words))
    ax.hlines(at, *_range([truth, *predictions.values()]), color="0.9", linewidth=0.8, zorder=0)
    ax.plot(truth, at, "|", color="black", markersize=20, markeredgewidth=2.5, label="truth")
    for i, (name, said) in enumerate(predictions.items()):
        offset = 0.16 * (i - (len(predictions) - 1) / 2)
        ax.plot(said, at + offset, "osD^v"[i % 5], color=COLORS[i % len(COLORS)], markersize=6, label=name)
    ax.set_yticks(at, labels=["\n".join(wrap(shorten(each, 90), 45)) or "–" for each in words])
    ax.set_ylim(len(words) - 0.4, -0.6)
    ax.set_xlabel("label")
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    figure.savefig(path, dpi=150)


def plot_two_curves(
    panels: Mapping[str, Mapping[str, Mapping[int, float]]], unit: str, path: str | os.PathLike[str]
) -> None:
    """Draws a panel for each measure, with a line over the epochs for each run."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = _panels(panels, 3.8, "")
    for ax, curves in zip(axes, panels.values(), strict=True):
        for i, (name, curve) in enumerate(curves.items()):
            marker = "o" if len(curve) <= 12 else ""
            ax.plot(list(curve), list(curve.values()), color=COLORS[i], marker=marker, markersize=4, label=name)
        ax.axhline(0, color="0.4", linewidth=1, zorder=1)
        ax.set_xlabel("epoch")
        ax.grid(color="0.9", linewidth=0.8)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_ylabel(unit)
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=150)


def _range(values: Sequence[Sequence[float]]) -> tuple[float, float]:
    joint = np.concatenate([np.asarray(each, dtype=float) for each in values])
    return float(joint.min()), float(joint.max())


def places(names: Sequence[str]) -> tuple[str, list[float]]:
    """Which axis values of an option have, and where on it they are: "linear", "log", "symlog" (powers and 0), "names".

    Example:
        >>> places(["0.03", "0.1", "0.3"])
        ('log', [0.03, 0.1, 0.3])
        >>> places(["16", "32", "48"])[0], places(["0", "1e-3", "1e-2", "1e-1"])[0], places(["club", "none"])
        ('linear', 'symlog', ('names', [0.0, 1.0]))
    """
    try:
        at = [float(name) for name in names]
    except ValueError:
        return "names", [float(i) for i in range(len(names))]
    positive = np.array(sorted({x for x in at if x > 0}))
    if not np.isfinite(at).all() or min(at) < 0 or len(positive) < 3:
        return "linear", at
    ratios, steps = np.diff(np.log(positive)), np.diff(positive)
    powers = ratios.std() / ratios.mean() < steps.std() / steps.mean()
    return "linear" if not powers else "symlog" if 0 in at else "log", at


def _panels(values: Mapping[str, Any], height: float, note: str = OVER_SEEDS) -> tuple[Figure, list[Axes]]:
    """A panel for each metric, titled; two to a line."""
    columns = min(2, len(values))
    rows = -(-len(values) // columns)
    figure = blank_figure(5.2 * columns, height * rows)
    axes = list(figure.subplots(rows, columns, squeeze=False).flatten())
    for ax, name in zip(axes, values, strict=False):
        ax.set_title(name, loc="left", fontweight="bold")
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes[len(values) :]:
        ax.set_axis_off()
    if note:
        figure.supxlabel(note, fontsize="small", color="0.35")
    return figure, axes[: len(values)]


def _point(ax: Axes, place: float, values: Sequence[float], color: str, *, sideways: bool) -> None:
    if not values:
        return
    mean, sd = statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0
    if len(values) > 1:
        line, dots = [place] * len(values), list(values)
        ax.scatter(*((dots, line) if sideways else (line, dots)), s=14, color=color, alpha=0.4, linewidths=0)
    style = {"fmt": "o", "color": color, "markersize": 6, "capsize": 3, "linewidth": 1.5}
    if sideways:
        ax.errorbar(mean, place, xerr=sd or None, **style)
    else:
        ax.errorbar(place, mean, yerr=sd or None, **style)


def _option_axis(ax: Axes, scale: str, at: Sequence[float], names: Sequence[str]) -> None:
    from matplotlib.ticker import NullLocator

    if scale == "log":
        ax.set_xscale("log")
    elif scale == "symlog":
        ax.set_xscale("symlog", linthresh=min(x for x in at if x > 0), linscale=0.5)
    ax.set_xticks(at, labels=list(names))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.margins(x=0.08)
