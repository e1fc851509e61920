"""Every picture holds with thirteen long names, with one of everything, and with nothing: all that is written can be read."""

import warnings
from functools import cache
from itertools import combinations

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from disentangle import dependence_report
from disentangle.data import Recordings
from disentangle.data.report import describe
from disentangle.data.report.figures import plot_data
from disentangle.experiments.studies.pictures import (
    plot_cases,
    plot_option,
    plot_points,
    plot_sizes,
    plot_systems,
    plot_two_curves,
)
from disentangle.plots import plot_curves, plot_matrix

NAMES = [
    *(
        "speaker identity in the first recording",
        "emotion",
        "background_noise_of_the_whole_recording",
        "room",
        "gender",
    ),
    *("accent of the speaker", "speaking rate", "pitch contour, smoothed", "lip movement (vision)", "head pose"),
    *("the transcript, as far as it is known", "sentiment strength", "what all of the modalities share"),
]
DRAW = np.random.default_rng(0)
SEEDS = DRAW.normal(0.7, 0.05, (13, 3)).tolist()


def some(names):
    return dict(zip(names, SEEDS, strict=False))


def history(names, epochs):
    return [
        {
            "epoch": epoch,
            "losses": dict.fromkeys(names, 2.0 / epoch),
            "penalties": {f"CLUB({name};S)": 0.1 / epoch - 0.05 for name in names},
            "rms": dict.fromkeys(names, 1.0),
            "valid": {"mae": 1 / epoch, "corr": 1 - 1 / (epoch + 1)},
            "best": True,
        }
        for epoch in range(1, epochs + 1)
    ]


def history_of_classes():
    """Of 120 steps, whose two metrics have the longest names."""
    valid = {"f1_weighted": 0.123, "auc": 0.123}
    return [
        {"epoch": 1 + i // 4, "step": 1000 * i, "losses": {"Y": 1.0}, "valid": valid, "best": True} for i in range(120)
    ]


def recordings(names, n):
    frames = {name: [np.ones((1 + (i * k) % 9, 2), np.float32) for i in range(n)] for k, name in enumerate(names)}
    return Recordings(["so good"] * n, frames, labels=np.linspace(-3, 3, n, dtype=np.float32))


def curves(names, epochs):
    return {measure: {name: dict.fromkeys(range(1, epochs + 1), 0.3) for name in names} for measure in ("own", "meter")}


def matrix(names):
    return lambda path: plot_matrix(DRAW.normal(0, 2, (len(names),) * 2), names, names, path, "What each tells of each")


def points(names, n):
    return lambda path: plot_points({model: dict.fromkeys(names, np.eye(n, 2)) for model in ("ours", "theirs")}, path)


def report(path):
    variables = {name: DRAW.normal(size=60) for name in NAMES}
    dependence_report(variables, pairs=[(NAMES[0], NAMES[1])], method="gaussian", permutations=1, progress=False).plot(
        path
    )


POWERS = [f"{10.0**k:g}" for k in range(-6, 7)]
PICTURES = {
    "matrix, many": matrix(NAMES),
    "matrix, a line": lambda path: plot_matrix([[0.5] * 13], ["S"], NAMES, path, "R²", unit="held-out R²"),
    "matrix, a column": lambda path: plot_matrix([[-1e-3]] * 13, NAMES, NAMES[:1], path, "A long title over it", unit="R²"),
    "matrix, one": matrix(["S"]),
    "matrix, large": lambda path: plot_matrix([[123456.7, -1e9]], ["S"], ["L", "A"], path, "Large", unit="nats"),
    "matrix, nothing": lambda path: plot_matrix([[None] * 3], ["S"], ["L", "A", "V"], path, "Nothing", unit="nats"),
    "report, many": report,
    "curves, many": lambda path: plot_curves(history(NAMES, 4), path),
    "curves, one": lambda path: plot_curves(history(["Y"], 1), path),
    "curves, long": lambda path: plot_curves(history(["Y", "recon"], 100), path),
    "curves, classes": lambda path: plot_curves(history_of_classes(), path),
    "curves, nothing": lambda path: plot_curves([{"epoch": 1}], path),
    "systems, many": lambda path: plot_systems({m: some(NAMES) for m in ("mae", "corr", "acc2_has0")}, path),
    "systems, one": lambda path: plot_systems({"mae": {"ours": [0.5]}}, path),
    "systems, none has any": lambda path: plot_systems({"mae": dict.fromkeys(NAMES, ())}, path),
    "systems, nothing": lambda path: plot_systems({}, path),
    "systems, no systems": lambda path: plot_systems({"mae": {}}, path),
    "option, many": lambda path: plot_option({m: some(POWERS) for m in ("mae", "corr", "acc7")}, path, "alpha"),
    "option, names": lambda path: plot_option({"mae": some(NAMES), "corr": some(NAMES)}, path, "penalty"),
    "option, close": lambda path: plot_option({"mae": some(["16", "17", "18", "1000"])}, path, "latent-size"),
    "option, one": lambda path: plot_option({"mae": {"0.1": [0.5]}}, path, "alpha"),
    "option, nothing": lambda path: plot_option({"mae": {"0.1": [], "0.3": []}}, path, "alpha"),
    "sizes, many": lambda path: plot_sizes(dict.fromkeys(NAMES, (110.0, 22.0)), {NAMES[0]: (1.0, 2.0)}, path),
    "sizes, one": lambda path: plot_sizes({"ours": (110.0, 22.0)}, {}, path),
    "sizes, nothing": lambda path: plot_sizes({}, {}, path),
    "points, many": points(NAMES, 40),
    "points, one": points(["S"], 1),
    "points, nothing": lambda path: plot_points({}, path),
    "cases, many": lambda path: plot_cases(["so good " * 30, "", "bad"], [1.0, -2.0, 0.0], some(NAMES), path),
    "cases, one": lambda path: plot_cases(["so good"], [1.0], {"ours": [0.5]}, path),
    "cases, nothing": lambda path: plot_cases([], [], {}, path),
    "two curves, many": lambda path: plot_two_curves(curves(NAMES, 30), "nats", path),
    "two curves, one": lambda path: plot_two_curves(curves(["ours"], 1), "nats", path),
    "two curves, nothing": lambda path: plot_two_curves(curves(["ours"], 0), "nats", path),
    "data, many": lambda path: plot_data(describe({split: recordings(NAMES[:5], 20) for split in NAMES[:4]}), path),
    "data, one": lambda path: plot_data(describe({"train": recordings(["audio"], 1)}), path),
    "data, nothing": lambda path: plot_data(describe({"train": Recordings([""], {})}), path),
}  # fmt: skip


def drawn(draw):
    """The figure that a function draws, in place of a file."""
    made = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda figure, path, **options: made.append(figure))
        draw("nowhere.png")
    return made[-1]


@cache
def picture(name):
    """A picture, laid out once for all that look at it, and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure = drawn(PICTURES[name])
        figure.draw_without_rendering()
    return figure, caught


def written(figure):
    """The texts that are seen, with their boxes; matplotlib keeps ticks outside of an axis as well."""
    texts = dict.fromkeys(figure.findobj(Text), True)
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
            seen = axis.axes.axison and low <= tick.get_loc() <= high
            texts |= {tick.label1: seen and tick.label1.get_visible(), tick.label2: seen and tick.label2.get_visible()}
    return [
        (text.get_text(), text.get_window_extent()) for text, seen in texts.items() if seen and text.get_text().strip()
    ]


@pytest.mark.parametrize("name", PICTURES)
def test_all_that_is_written_can_be_read(name):
    figure, caught = picture(name)
    texts = written(figure)
    assert not any("−0.00" in text or "-0.00" in text for text, _ in texts)
    for text, box in texts:
        assert figure.bbox.x0 - 1 <= box.x0, f"{text!r} is cut"
        assert figure.bbox.y0 - 1 <= box.y0, f"{text!r} is cut"
        assert box.x1 <= figure.bbox.x1 + 1, f"{text!r} is cut"
        assert box.y1 <= figure.bbox.y1 + 1, f"{text!r} is cut"
    for (one, first), (other, second) in combinations(texts, 2):
        assert not first.padded(-1).overlaps(second.padded(-1)), f"{one!r} lies over {other!r}"
    grids = [ax.get_subplotspec().get_gridspec() for ax in figure.axes if ax.get_subplotspec() is not None]
    assert all(grid.ncols <= 2 for grid in grids)
    assert not caught


@pytest.mark.parametrize("name", [name for name in PICTURES if name.endswith(", nothing")])
def test_where_there_is_nothing_that_is_said(name):
    texts = [text for text, _ in written(picture(name)[0])]
    wanted = {"curves": "nothing was recorded", "cases": "no recordings", "data": "Missing"}
    assert wanted.get(name.partition(",")[0], "no values") in texts


@pytest.mark.parametrize("name", ["curves, one", "two curves, one", "option, one", "systems, one", "sizes, one"])
def test_one_point_is_marked(name):
    for ax in picture(name)[0].axes:
        lines = [line for line in ax.lines if len(line.get_xdata()) == 1]
        assert any(line.get_marker() not in ("", "None") for line in lines)


@pytest.mark.parametrize(
    ("kind", "less"), [(kind, "one") for kind in ("matrix", "curves", "systems", "sizes", "cases", "data")]
)
def test_a_picture_grows_with_its_names(kind, less):
    many, few = (picture(f"{kind}, {count}")[0].get_size_inches() for count in ("many", less))
    assert (many >= few).all()
    assert many[0] > few[0]
    assert many[1] > few[1]


def test_a_point_without_neighbours_is_marked_among_many():
    values = [None if epoch in (2, 4) or epoch > 40 else 1.0 for epoch in range(1, 60)]
    history = [{"epoch": epoch, "losses": {"Y": value}} for epoch, value in enumerate(values, 1)]
    (line,) = drawn(lambda path: plot_curves(history, path)).axes[0].lines
    assert line.get_marker() == "o"
    assert line.get_markevery() == [0, 2]
