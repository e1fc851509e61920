import re

import pytest

from disentangle.experiments.studies.pictures import places, plot_option, plot_systems


def texts(path):
    """What is written in an SVG picture: its letters are outlines, each text named in a comment before them."""
    return re.findall(r"<!-- (.*?) -->", path.read_text())


@pytest.mark.parametrize(
    ("names", "scale"),
    [
        (["0.03", "0.1", "0.3"], "log"),
        (["1e-5", "1e-3", "1e-4"], "log"),
        (["8", "16", "32", "64"], "log"),
        (["0", "0.1", "1", "10"], "symlog"),
        (["0.1", "0.2", "0.3", "0.4"], "linear"),
        (["0", "1", "2", "3"], "linear"),
        (["-1", "10", "100", "1000"], "even"),  # too close to be told apart
        (["1", "100"], "linear"),
        (["16", "17", "18", "200", "1000"], "even"),
        (["club", "none"], "names"),
        (["1", "2", "all"], "names"),
    ],
)
def test_the_axis_follows_from_the_values(names, scale):
    assert places(names)[0] == scale


def test_systems_have_a_panel_for_each_metric_and_a_line_for_each_name(tmp_path):
    plot_systems(
        {"mae": {"ours": [0.5, 0.7], "theirs": []}, "acc": {"ours": [0.5], "theirs": [0.25]}}, tmp_path / "a.svg"
    )
    found = texts(tmp_path / "a.svg")
    assert {"mae", "acc", "ours", "theirs", "theirs has none"} <= set(found)


@pytest.mark.parametrize("names", [("0", "0.01", "0.1", "1"), ("a", "b", "c", "d"), ("4", "3", "2", "1")])
def test_every_value_of_an_option_is_on_the_axis_though_one_has_no_metric(tmp_path, names):
    values = {"mae": dict(zip(names, [[1.0, 1.1], [0.9], [0.8, 0.7], []], strict=True))}
    plot_option(values, tmp_path / "a.svg", "alpha")
    assert {"mae", "alpha", *names} <= set(texts(tmp_path / "a.svg"))
