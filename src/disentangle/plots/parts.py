"""What pictures are made of: panels, lines, names that fit, and a word where there is nothing to see.

Sizes are in inches, estimated from the number of letters: a figure is made as large as what is to be written in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLORS",
    "DASHES",
    "LETTER",
    "LINE",
    "beside",
    "blank_figure",
    "draw_line",
    "folded",
    "heading",
    "legend_beside",
    "letters_side_by_side",
    "lines_of",
    "longest",
    "name_columns",
    "name_rows",
    "panels",
    "plain",
    "say",
    "style",
    "time_axis",
]

# Okabe and Ito's palette, told apart by readers with any colour vision; yellow left out, too light for lines on white
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES, MARKERS = ("-", "--", ":"), ("o", "s", "^")  # where there are more names than colours
LETTER, SMALL, BOLD = 0.088, 0.073, 0.112  # the width of a letter in labels, legends, titles
LINE = 0.17  # the height of a line of text
FEW = 12  # points of a line that are marked, each
NAME = 28  # letters of a name in a line


def blank_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches; raises `ImportError` where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install matplotlib") from error
    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))


def panels(count: int, width: float, heights: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """A figure of `count` axes, two to a line, each `width` wide; a line is as high as the highest of its `heights`."""
    columns = min(2, count)
    lines = [max(heights[i : i + columns]) for i in range(0, count, columns)]
    figure = blank_figure(width * columns, sum(lines))
    axes = list(figure.subplots(len(lines), columns, squeeze=False, height_ratios=lines).flatten())
    for ax in axes:
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes[count:]:
        ax.set_axis_off()
    return figure, axes[:count]


def plain(text: str) -> str:
    """A text in which a dollar sign does not begin a formula."""
    return text.replace("$", r"\$")


def folded(name: str, letters: int = NAME) -> str:
    """A name in lines of so many letters at most, as few and as even as can be."""
    return plain("\n".join(_lines(name, letters)))


def longest(names: Iterable[str], letters: int = NAME) -> int:
    """The letters of the longest line of names that are folded."""
    return max((len(line) for name in names for line in _lines(name, letters)), default=0)


def lines_of(names: Iterable[str], letters: int = NAME) -> int:
    """The lines of the name that has most of them, folded."""
    return max((len(_lines(name, letters)) for name in names), default=1)


def _lines(name: str, letters: int) -> list[str]:
    count = len(wrap(name, letters))
    narrower = (wrap(name, each) for each in range(-(-len(name) // max(count, 1)), letters))
    return next((lines for lines in narrower if len(lines) == count), wrap(name, letters)) if count > 1 else [name]


def heading(ax: Axes, text: str, width: float) -> None:
    """A title at the left, in as many lines as it takes in a width."""
    ax.set_title(folded(text, max(12, int(width / BOLD))), loc="left", fontweight="bold")


def name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Names of the lines 0, 1, ... from above."""
    ax.set_yticks(range(len(names)), labels=[folded(name) for name in names])
    ax.set_ylim(len(names) - 0.4, -0.6)


def name_columns(ax: Axes, at: Sequence[float] | range, names: Sequence[str], room: float) -> None:
    """Names below the places `at`, side by side where `room`, the inches from one to the next, allows it, or else upright."""
    letters = letters_side_by_side(names, room)
    ax.set_xticks(at, labels=[folded(name, letters or NAME) for name in names], rotation=0 if letters else 90)


def letters_side_by_side(names: Iterable[str], room: float) -> int:
    """How many letters a line of names has that stand side by side, three lines at most; 0 where that does not do."""
    letters = max(1, int(room / LETTER) - 1)
    whole = all(len(word) <= letters for name in names for word in name.split())
    return letters if whole and lines_of(names, letters) <= 3 else 0


def beside(names: Iterable[str]) -> float:
    """How wide the legend beside a panel is."""
    return 0.65 + SMALL * longest(names)


def legend_beside(ax: Axes, **options: Any) -> None:
    """A legend at the right of a panel."""
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), fontsize="small", frameon=False, **options)


def style(place: int) -> dict[str, Any]:
    """Colour, dashes and marker of the name at a place: 21 that differ."""
    turn = place // len(COLORS) % len(DASHES)
    return {"color": COLORS[place % len(COLORS)], "linestyle": DASHES[turn], "marker": MARKERS[turn]}


def draw_line(ax: Axes, x: np.ndarray, y: np.ndarray, place: int, label: str = "", **look: Any) -> None:
    """A line with a mark where there are few points, or where one has no neighbour that a line could lead to."""
    there = np.isfinite(y)
    alone = there & ~np.append(False, there[:-1]) & ~np.append(there[1:], False)
    marked = np.flatnonzero(there if len(x) <= FEW else alone).tolist()
    shown = folded(label)
    shown = f" {shown}" if shown.startswith("_") else shown  # which matplotlib would leave out of the legend
    options: dict[str, Any] = style(place) | {"linewidth": 1.5, "label": shown} | look
    options |= {"markevery": marked, "markersize": 4} if marked else {"marker": ""}
    ax.plot(x, y, **options)


def time_axis(ax: Axes, x: np.ndarray, unit: str) -> None:
    """Epochs or steps as whole numbers, also where there is one."""
    from matplotlib.ticker import MaxNLocator

    ax.set_xlabel(unit)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    span = max(float(np.ptp(x)), 1.0)
    ax.set_xlim(x.min() - 0.03 * span, x.max() + 0.03 * span)
    ax.grid(color="0.9", linewidth=0.8)


def say(ax: Axes, text: str) -> None:
    """Writes a word into a panel in which there is nothing to see."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color="0.35")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
