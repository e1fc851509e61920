"""A picture of a data set: lengths, labels, what is missing, and padding.

Needs matplotlib: the extra `plots`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from disentangle.data.report import DataReport
from disentangle.data.report.parts import Histogram, Lengths, Split
from disentangle.plots.parts import COLORS, LETTER, folded, heading, longest, panels, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Patch

__all__ = ["plot_data"]

WIDTH, HEIGHT, BAR = 4.6, 3.5, 0.17  # of a panel, and the height of a bar with its number, in inches
GRAY = "0.85"


def plot_data(report: DataReport, path: str | os.PathLike[str]) -> None:
    """Draws what is in a data set: how long recordings are and what their labels are in each split, what is missing, padding.

    Histograms are shares of the recordings of a split, so that splits of different sizes can be compared.

    Arguments:
        report: What `describe` returns.
        path: The file to write; its ending says the format.

    Raises:
        ImportError: Where matplotlib is missing.

    Example:
        >>> import tempfile, pathlib
        >>> from disentangle.data import synthetic_recordings
        >>> from disentangle.data.report import describe
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "data.png"
        >>> plot_data(describe(synthetic_recordings((20, 5, 5))), path)
        >>> path.exists()
        True
    """
    splits = report.splits
    modalities = list(dict.fromkeys(m for split in splits.values() for m in split.modalities))
    # In one order everywhere, so that a split keeps its colour where another has nothing.
    colors = {name: COLORS[i % len(COLORS)] for i, name in enumerate(splits)}
    lengths = {"text": {name: split.words for name, split in splits.items()}}
    for m in modalities:
        lengths[m] = {name: split.modalities[m].lengths for name, split in splits.items() if m in split.modalities}
    draws: list[Callable[[Axes], None]] = [
        partial(_draw_lengths, modality=m, lengths=of, colors=colors) for m, of in lengths.items() if any(of.values())
    ]
    if any(split.labels for split in splits.values()):
        draws.append(partial(_draw_labels, splits=splits, colors=colors))
    named = [partial(_draw_missing, splits=splits, modalities=modalities, colors=colors)]
    named += [partial(_draw_padding, bars=bars)] if (bars := _padding(splits, modalities)) else []
    most = max((len(modalities) + 1) * (len(splits) + 1), 1.5 * len(bars))  # bars in a panel
    width = WIDTH + LETTER * max(0, longest(modalities) - 10) / 2
    heights = [HEIGHT] * len(draws) + [max(HEIGHT, BAR * most + 0.9)] * len(named)
    figure, axes = panels(len(heights), width, heights)
    for ax, draw in zip(axes, [*draws, *named], strict=True):
        draw(ax)
    labels = [f"{name} ({split.recordings:,})" for name, split in splits.items()]
    handles = [_patch(color, label) for color, label in zip(colors.values(), labels, strict=True)]
    fit = int(width * min(2, len(axes)) / (LETTER * max(map(len, labels)) + 0.7))
    figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), max(1, fit)), frameon=False)
    figure.savefig(path, dpi=150)


def _draw_lengths(ax: Axes, modality: str, lengths: Mapping[str, Lengths | None], colors: Mapping[str, str]) -> None:
    from matplotlib.ticker import MaxNLocator

    heading(ax, f"Lengths: {modality}", WIDTH - 0.8)
    _histograms(ax, {name: each.histogram for name, each in lengths.items() if each}, colors)
    ax.set_xlabel("words" if modality == "text" else "frames")
    ax.xaxis.set_major_locator(MaxNLocator(7, integer=True, min_n_ticks=1))


def _draw_labels(ax: Axes, splits: Mapping[str, Split], colors: Mapping[str, str]) -> None:
    ax.set_title("Labels", loc="left", fontweight="bold")
    _histograms(ax, {name: split.labels.histogram for name, split in splits.items() if split.labels}, colors)
    ax.set_xlabel("label")


def _histograms(ax: Axes, histograms: Mapping[str, Histogram], colors: Mapping[str, str]) -> None:
    """An outline per split, over the same bins, as shares of the recordings that have a value."""
    from matplotlib.ticker import FuncFormatter

    for name, each in histograms.items():
        shares = np.array(each.counts) / sum(each.counts)
        ax.stairs(shares, each.edges, color=colors[name], fill=True, alpha=0.12)
        ax.stairs(shares, each.edges, color=colors[name], linewidth=1.6)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))
    ax.set_ylabel("share of recordings")
    ax.set_ylim(bottom=0)
    _tidy(ax, "y")


def _draw_missing(ax: Axes, splits: Mapping[str, Split], modalities: Sequence[str], colors: Mapping[str, str]) -> None:
    """For each modality, a bar per split."""
    ax.set_title("Missing", loc="left", fontweight="bold")
    height = 0.8 / len(splits)
    names = ["text", *modalities]
    for i, (name, split) in enumerate(splits.items()):
        counts = [
            split.missing_text,
            *(split.modalities[m].missing if m in split.modalities else 0 for m in modalities),
        ]
        at = np.arange(len(names)) + (i - (len(splits) - 1) / 2) * height
        bars = ax.barh(
            at, [100 * count / max(split.recordings, 1) for count in counts], 0.9 * height, color=colors[name]
        )
        ax.bar_label(bars, [f"{count:,}" for count in counts], padding=3, fontsize="small")
    ax.set_yticks(range(len(names)), labels=[folded(name) for name in names])
    ax.set_xlim(0, 112)
    ax.set_xticks(range(0, 101, 25))
    ax.set_xlabel("% of recordings (and how many)")
    ax.invert_yaxis()
    _tidy(ax, "x")


def _padding(splits: Mapping[str, Split], modalities: Sequence[str]) -> dict[tuple[str, str], np.ndarray]:
    """For each modality and split, the percentages of frames in the file that were cut in front, kept, and cut behind."""
    bars = {}
    for modality in modalities:
        for name, split in splits.items():
            found = split.modalities.get(modality)
            if found and found.lengths and found.padding:
                parts = np.array([found.padding.front, found.lengths.total, found.padding.back], float)
                bars[modality, name] = 100 * parts / parts.sum()
    return bars


def _draw_padding(ax: Axes, bars: Mapping[tuple[str, str], np.ndarray]) -> None:
    """A bar for each split of a modality."""
    ax.set_title("Padding", loc="left", fontweight="bold")
    gaps = {modality: i for i, modality in enumerate(dict.fromkeys(modality for modality, _ in bars))}
    at = [i + 0.5 * gaps[modality] for i, (modality, _) in enumerate(bars)]
    start = np.zeros(len(bars))
    for part, label, color in zip(
        range(3), ("in front", "frames", "behind"), (COLORS[5], GRAY, COLORS[4]), strict=True
    ):
        widths = np.array([bar[part] for bar in bars.values()])
        ax.barh(at, widths, 0.8, left=start, color=color, label=label)
        start += widths
    ax.set_yticks(at, labels=[folded(f"{modality}, {name}") for modality, name in bars])
    ax.set_xlim(0, 100)
    ax.set_xlabel("% of the frames in the file")
    ax.invert_yaxis()
    tight = {"handlelength": 0.8, "handletextpad": 0.4, "columnspacing": 0.9, "borderaxespad": 0.0}
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, fontsize="small", frameon=False, **tight)
    _tidy(ax, "x")


def _tidy(ax: Axes, grid: str) -> None:
    ax.grid(axis=grid, color="0.9", linewidth=0.8)  # type: ignore[arg-type]
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _patch(color: str, label: str) -> Patch:
    from matplotlib.patches import Patch

    return Patch(color=color, label=plain(label))
