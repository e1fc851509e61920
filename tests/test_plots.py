import re
import struct
import sys

import numpy as np
import pytest

from disentangle.plots import plot_curves, plot_matrix


def texts(path):
    """What is written in an SVG picture: its letters are outlines, each text named in a comment before them."""
    return re.findall(r"<!-- (.*?) -->", path.read_text())


def record(epoch, **sections):
    return {
        "epoch": epoch,
        "losses": {"Y": 1 / epoch, "recon_L": 3.0},
        "penalties": {"CLUB(V;L)": 0.1 - epoch / 50},
        **sections,
    }


def full(epochs):
    return [
        record(e, rms={"S": 1.0, "L": 0.5}, valid={"mae": 1 + abs(e - 3), "corr": None if e == 1 else e / 10})
        for e in range(1, epochs + 1)
    ]


def test_draws_every_section_with_names_and_units(tmp_path):
    plot_curves(full(5), tmp_path / "curves.svg")
    written = texts(tmp_path / "curves.svg")
    for text in ("Losses", "Penalties", "Size of latents", "Validation"):
        assert written.count(text) == 1
    for text in (
        "Y",
        "recon_L",
        "CLUB(V;L)",
        "S",
        "L",
        "epoch",
        "raw value",
        "loss (log scale)",
        "mean absolute error",
        "correlation",
    ):
        assert text in written


def test_writes_png(tmp_path):
    plot_curves(full(5), str(tmp_path / "curves.png"))
    content = (tmp_path / "curves.png").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", content[16:24])
    assert width > 1000
    assert height > 800


def test_marks_the_best_epoch(tmp_path):
    path = tmp_path / "curves.svg"
    plot_curves(full(5), path)  # nobody says which is the best
    assert not any("best" in text for text in texts(path))
    history = full(5)
    history[0]["best"] = history[3]["best"] = True
    plot_curves(history, path)
    assert "best: epoch 4 (mae 2.000, corr 0.400)" in texts(path)


def test_the_best_of_several_reports_in_an_epoch_is_marked_by_its_step(tmp_path):
    history = [{"epoch": 1, "step": s, "valid": {"mae": 1 / s}, "best": s == 20} for s in (10, 20, 30)]
    plot_curves(history, tmp_path / "curves.svg")
    assert "best: step 20 (mae 0.050)" in texts(tmp_path / "curves.svg")


def test_names_are_no_formulas(tmp_path):
    plot_matrix([[0.5]], [r"$\frac$"], ["a$b$"], tmp_path / "matrix.svg", "$x")
    assert {r"$\frac$", "a$b$", "$x"} <= set(texts(tmp_path / "matrix.svg"))


def test_a_name_that_begins_with_an_underscore_is_in_the_legend(tmp_path, recwarn):
    history = [
        {"epoch": e, "losses": {"_aux": 1 / e}, "penalties": {"CLUB/_z;y": 0.1, "CLUB/a;y": 0.2}} for e in (1, 2)
    ]
    plot_curves(history, tmp_path / "curves.svg")
    assert {"_aux", "_z;y", "a;y"} <= {text.strip() for text in texts(tmp_path / "curves.svg")}
    assert not recwarn.list


def test_draws_losses_on_a_linear_scale_where_one_is_not_positive(tmp_path):
    path = tmp_path / "curves.svg"
    plot_curves([{"epoch": 1, "losses": {"Y": 1.0}}, {"epoch": 2, "losses": {"Y": -0.5}}], path)
    assert "loss" in texts(path)
    assert "loss (log scale)" not in texts(path)


@pytest.mark.parametrize(
    ("history", "present", "absent"),
    [
        ([record(1)], {"Losses", "Penalties"}, {"Size of latents", "Validation"}),
        (full(1), {"Losses", "Validation", "mean absolute error"}, {"correlation"}),
        ([{"epoch": 1}], {"nothing was recorded"}, {"Losses", "Validation"}),
        ([{"epoch": 3, "losses": {}, "penalties": None, "valid": {"mae": None}}], {"nothing was recorded"}, {"Losses"}),
        ([record(1, valid={"acc7": 0.3})], {"Losses"}, {"Validation"}),
        ([{"epoch": 1, "losses": {"Y": 1.0}}, {"epoch": 2}, record(3)], {"Losses", "recon_L"}, {"Validation"}),
        (
            [{"epoch": e, "valid": {"corr": 0.1 * e}} for e in (1, 2)],
            {"Validation", "correlation"},
            {"mean absolute error"},
        ),
        (
            [{"epoch": e, "valid": {"acc": 0.5, "f1_weighted": 0.3, "f1_macro": 0.3, "auc": 0.6}} for e in (1, 2)],
            {"Validation", "weighted F1", "area under the ROC"},
            {"mean absolute error"},
        ),
        ([{"epoch": 1, "rms": {"S": 0.0}, "losses": {"Y": 0.0}}], {"Size of latents", "loss"}, {"loss (log scale)"}),
    ],
)
def test_draws_what_there_is(tmp_path, history, present, absent, recwarn):
    plot_curves(history, tmp_path / "curves.svg")
    written = set(texts(tmp_path / "curves.svg"))
    assert present <= written
    assert not absent & written
    assert not recwarn.list


def test_many_names_stay_distinct(tmp_path):
    names = [f"CLUB(X_{i};S)" for i in range(21)]
    plot_curves([{"epoch": e, "penalties": dict.fromkeys(names, e)} for e in (1, 2)], tmp_path / "curves.svg")
    assert set(names) <= set(texts(tmp_path / "curves.svg"))


def test_refuses_an_empty_history(tmp_path):
    with pytest.raises(ValueError, match="expected a history of at least 1 epoch, got 0"):
        plot_curves([], tmp_path / "curves.png")


def test_matrix_writes_its_numbers(tmp_path):
    path = tmp_path / "matrix.svg"
    values = [[0.934, -0.126, None], [0.0, float("nan"), 0.5]]
    plot_matrix(values, ["S", "V"], ["shared", "audio", "visual"], path, "Who knows what", unit="held-out R²")
    written = texts(path)
    for text in (
        "0.93",
        "−0.13",
        "0.00",
        "0.50",
        "S",
        "V",
        "shared",
        "audio",
        "visual",
        "Who knows what",
        "held-out R²",
    ):
        assert text in written
    assert written.count("–") == 2


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((2, 2)),
        -np.ones((2, 2)),
        np.full((2, 2), np.nan),
        np.full((2, 2), np.inf),
        np.array([[1e6, 0], [0, 1]]),
    ],
)
def test_matrix_of_nothing_much_can_be_drawn(tmp_path, values, recwarn):
    plot_matrix(values, ["a", "b"], ["c", "d"], tmp_path / "matrix.png", "")
    assert (tmp_path / "matrix.png").stat().st_size > 0
    assert not recwarn.list


def test_matrix_refuses_names_that_do_not_fit(tmp_path):
    with pytest.raises(ValueError, match=r"expected values of shape \(1, 2\), .* got \(2, 2\)"):
        plot_matrix(np.eye(2), ["a"], ["c", "d"], tmp_path / "matrix.png", "")


def test_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install matplotlib"):
        plot_curves([record(1)], tmp_path / "curves.png")
    with pytest.raises(ImportError, match=r"pip install matplotlib"):
        plot_matrix(np.eye(2), ["a", "b"], ["c", "d"], tmp_path / "matrix.png", "")


def test_penalties_of_a_kind_have_a_panel(tmp_path):
    history = [{"epoch": e, "penalties": {"apart/CLUB(a;b)": 0.5, "alike/CMD(a;b)": 0.1 * e}} for e in (1, 2)]
    path = tmp_path / "curves.svg"
    plot_curves(history, path)
    drawn = texts(path)
    assert {"Penalties: apart", "Penalties: alike", "CLUB(a;b)", "CMD(a;b)"} <= set(drawn)
