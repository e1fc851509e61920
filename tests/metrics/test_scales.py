"""Metrics follow from what the labels are; what knows nothing does not look good by them."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from disentangle.metrics import LabelScale, disagreements, label_scale, sentiment_metrics, sims_metrics

DRAW = np.random.default_rng(0)
TOLD = [
    ([0, 1], "binary"),  # MUStARD, UR-FUNNY
    ([-1, 1], "binary"),
    ([1, 2], "binary"),
    ([0, 1, 2], "classes"),
    (range(7), "classes"),  # MELD
    (range(10), "classes"),
    ([-1, 0, 1], "ratings"),
    (range(-2, 3), "ratings"),
    (range(1, 6), "ratings"),  # stars
    ([0, 2, 3], "ratings"),
    (range(-4, 4), "ratings"),
    (range(-3, 4), "sentiment"),  # MOSI, rounded
    ([-3, 0, 3], "sentiment"),
    (np.arange(-15, 16) / 5, "sentiment"),  # MOSI: means of five
    (np.arange(-9, 10) / np.float32(3), "sentiment"),  # MOSEI: means of three
    ([-1.2, 0.3, 0.5], "sentiment"),
    (np.arange(-5, 6) / 5, "sims"),
    (np.arange(-5, 6, dtype=np.float32) / 5, "sims"),
    ([0.0, 0.25, 1.0], "numbers"),
    ([0.2, 1.4, 2.9], "numbers"),  # no label is negative: Acc2 by sign would be 1
    ([-0.5, -1.5, -0.25], "numbers"),
    ([-4.5, 0.5, 3.0], "numbers"),
    (range(11), "numbers"),
    (range(101), "numbers"),
    ([-3e-6, 1e-6, 2e-6], "numbers"),  # within [-1, 1] by their unit alone
    ([-0.3, 0.1, 0.25], "sims"),
    ([1.0, 2.5, 4.0], "numbers"),
]


@pytest.mark.parametrize(("found", "kind"), TOLD)
def test_labels_tell_what_they_are_in_any_order_and_however_often(found, kind):
    labels = DRAW.permutation(np.repeat(list(found), 3))
    scale = label_scale(labels)
    assert scale.kind == kind
    assert label_scale(torch.tensor(labels, dtype=torch.float32)).kind == kind
    assert (scale.values[0], scale.values[-1]) == (min(found), max(found))
    kept = json.loads(json.dumps(asdict(scale)))
    assert LabelScale(kept["kind"], tuple(kept["values"])) == scale


@pytest.mark.parametrize(("found", "kind"), TOLD)
def test_it_names_what_it_measures_and_nothing_else(found, kind):
    labels = np.repeat(np.array(found, np.float64), 3)
    scale = label_scale(labels)
    metrics = scale.metrics(labels + 0.1, labels)
    assert tuple(metrics) == scale.names
    assert str(scale).endswith(f"; metrics ({', '.join(metrics)})")
    assert "\n" not in str(scale)
    name, mode = scale.monitor
    assert metrics[name] is not None
    best = min if mode == "min" else max
    assert best(metrics[name], scale.metrics(labels, labels)[name]) == scale.metrics(labels, labels)[name]
    signs = {"acc2_has0", "acc7", "f1_has0"} & set(metrics)
    assert bool(signs) == (kind == "sentiment")
    assert ("corr" in metrics) == (kind not in ("binary", "classes"))


def test_sentiments_are_measured_as_ever():
    y = np.round(DRAW.uniform(-3, 3, 200) * 3) / 3
    p = y + DRAW.normal(size=200)
    assert label_scale(y).metrics(p, y) == sentiment_metrics(p, y)
    assert label_scale(y / 3).metrics(p / 3, y / 3) == sims_metrics(p / 3, y / 3)


def test_a_regressor_of_two_classes_counts_from_their_middle_on():
    assert label_scale([0, 1]).metrics([0.49, 0.5, 3.0], [0, 1, 1])["acc"] == 1.0
    assert "from 0.5 on counts as 1" in str(label_scale([0, 1]))
    assert label_scale([-1, 1]).metrics([-0.01, 0.0, 2.0], [-1, 1, 1])["acc"] == 1.0
    assert "from 0 on counts as 1" in str(label_scale([-1, 1]))


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=20), st.sets(st.integers(-5, 9), min_size=3, max_size=8))
@settings(max_examples=60, deadline=None)
def test_the_nearest_value_is_the_nearest(prediction, values):
    found = LabelScale("ratings", tuple(map(float, sorted(values)))).nearest(prediction)
    for p, nearest in zip(prediction, found, strict=True):
        assert abs(p - nearest) == min(abs(p - value) for value in values)


# -- what knows nothing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.5, 0.2, 0.7])
@pytest.mark.parametrize("names", [(0, 1), (-1, 1), (1, 2)])
def test_of_two_classes_a_constant_scores_what_the_majority_does(share, names):
    n = 1000
    y = np.where(np.arange(n) < share * n, *names[::-1])
    scale = label_scale(y)
    low, high = names
    for constant in (-5.0, low, (low + high) / 2, high, 0.3, 1e6):
        metrics = scale.metrics(np.full(n, constant), y)
        said = share if constant >= (low + high) / 2 else 1 - share  # the share of the class that it says
        assert metrics["acc"] == pytest.approx(said)
        assert metrics["f1_weighted"] == pytest.approx(said * 2 * said / (1 + said))
        assert metrics["f1_macro"] == pytest.approx(said / (1 + said))
        assert metrics["f1_macro"] <= 0.5
        assert metrics["auc"] == 0.5
    ((name, value),) = scale.baselines(y).items()
    assert name == "training majority"
    assert scale.metrics([value] * n, y)["acc"] == pytest.approx(max(share, 1 - share))


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_of_two_classes_chance_scores_what_chance_does(share):
    n = 20_000
    draw = np.random.default_rng(1)
    y = (draw.random(n) < share).astype(float)
    metrics = label_scale(y).metrics(draw.random(n), y)  # says either class, half of the time
    four = 4 / np.sqrt(n)  # standard errors are at most half of one by sqrt(n), and of the area a little more
    assert metrics["acc"] == pytest.approx(0.5, abs=four)
    assert metrics["auc"] == pytest.approx(0.5, abs=four)
    one, zero = (2 * share * 0.5 / (share + 0.5), 2 * (1 - share) * 0.5 / (1 - share + 0.5))
    assert metrics["f1_macro"] == pytest.approx((one + zero) / 2, abs=four)
    assert metrics["f1_weighted"] == pytest.approx(share * one + (1 - share) * zero, abs=four)


def test_of_more_classes_neither_a_constant_nor_chance_looks_good():
    n = 9000
    draw = np.random.default_rng(2)
    y = draw.integers(0, 3, n).astype(float)
    scale = label_scale(y)
    ((_, majority),) = scale.baselines(y).items()
    assert scale.metrics([majority] * n, y)["acc"] == max(np.bincount(y.astype(int))) / n
    assert scale.metrics(draw.uniform(-0.5, 2.5, n), y)["acc"] == pytest.approx(1 / 3, abs=4 / np.sqrt(n))


def test_baselines_fit_the_labels():
    assert label_scale([1, 1, 1, 5, 3]).baselines([1, 1, 1, 5, 3]) == {"training mean": 2.2, "training majority": 1.0}
    assert label_scale([-3.0, 0.5, 1.0]).baselines([-3.0, 0.5, 1.0]) == {"training mean": -0.5}
    assert label_scale([0, 1, 2, 2]).baselines([0, 1, 2, 2]) == {"training majority": 2.0}


# -- splits that differ from training ----------------------------------------------------------------------------------

SENTIMENT = label_scale(np.arange(-9, 10) / 3)
STAY = "the metrics stay those of training"


@pytest.mark.parametrize(
    ("scale", "test", "wanted"),
    [
        (SENTIMENT, [-3, 0.5, 2.0], None),
        (SENTIMENT, [0, 1, 0, 1], None),  # few, by chance
        (SENTIMENT, [0, 1] * 5, f"test: its labels are 0, 1 only, where training has -3 to 3; {STAY}"),
        (SENTIMENT, [0.5] * 10, f"test: every label is 0.5, where training has -3 to 3; {STAY}"),
        (SENTIMENT, [-3.4, 1, 4.5], "test: 2 of 3 labels (-3.4, 4.5) are beyond -3 to 3, those of training"),
        (label_scale([0, 1]), [1], None),
        (label_scale([0, 1]), [1] * 10, f"test: every label is 1, where training has 0, 1; {STAY}"),
        (label_scale([0, 1]), [0.5, 1], "test: 1 of 2 labels (0.5) is none of 0, 1, those of training"),
        (label_scale([0, 1, 2]), [0, 3], "test: 1 of 2 labels (3) is none of 0, 1, 2, those of training"),
        (label_scale([0, 1, 2]), [0, 2] * 4, None),  # few, by chance
        (label_scale([1, 2, 3, 4, 5]), [1, 2, 3, 4, 5] * 2, None),
        (label_scale([1, 2, 3, 4, 5]), [2, 3, 4] * 5, f"test: no label is 1, 5, where training has 1, 2, 3, 4, 5; {STAY}"),
        (label_scale([0.0, 0.5, 7.0]), [-90.0, 3.5, 2.0], None),  # numbers have no bounds
    ],
)  # fmt: skip
def test_splits_that_differ_are_named(scale, test, wanted):
    assert disagreements(scale, {"test": test}) == ([] if wanted is None else [wanted])


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("classes", range(12)),
        ("classes", range(1, 6)),
        ("classes", [0, 1, 3]),
        ("ratings", range(-4, 4)),
        ("binary", [0.1, 7]),
    ],
)
def test_a_split_that_has_all_values_of_training_does_not_differ(kind, values):
    scale = LabelScale(kind, tuple(map(float, values)))
    for dtype in (np.float32, np.float64):
        assert disagreements(scale, {"test": np.repeat(np.array(values, dtype), 10)}) == []
    few = disagreements(scale, {"test": np.repeat(values[1:], 10)})
    assert len(few) == 1
    assert "every label is 7" in few[0] if kind == "binary" else f"test: no label is {values[0]}, where" in few[0]


def test_classes_are_named_whatever_their_numbers():
    names = {-1.0: "against", 2.5: "for"}
    assert disagreements(label_scale([-1, 2.5]), {"test": [-1, 2.5, 4]}, names) == [
        "test: 1 of 3 labels (4) is none of against, for, those of training"
    ]


def test_the_metrics_are_those_of_training_whatever_a_split_happens_to_hold():
    prediction, test = np.linspace(-1, 1, 20), np.array([0.0, 1.0] * 10)
    metrics = SENTIMENT.metrics(prediction, test)
    assert tuple(metrics) == SENTIMENT.names
    assert metrics["acc2_has0"] == 0.5  # half of the predictions are negative, and no label is
    assert label_scale([0, 1]).metrics([0.3, 0.1], [1, 1])["auc"] is None


def test_a_label_that_training_has_not_is_never_hit():
    scale = label_scale([0, 1, 2])
    assert scale.metrics([0.0, 3.0, 9.0], [0, 3, 2])["acc"] == pytest.approx(2 / 3)


def test_a_third_label_of_two_is_refused():
    for check in (label_scale([0, 1]).check, lambda y: label_scale([0, 1]).metrics(y, y)):
        check([1, 0])
        with pytest.raises(ValueError, match=r"expected labels 0, 1 as in training, got 0\.5, 2"):
            check([1, 2, 2, 0.5])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([2.0] * 5, "expected labels of at least 2 different values, got 2 of all 5"),
        ([], "expected at least 1 sample, got 0"),
        ([1.0, float("nan")], "expected label finite, got 1 of 2 values that are not"),
        (np.ones((1, 2)), r"expected label of shape \(N,\), got \(1, 2\)"),
    ],
)
def test_labels_that_tell_nothing_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        label_scale(labels)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("binary", (0.0, 1.0, 2.0), r"expected 2 values of binary in rising order, got \(0.0, 1.0, 2.0\)"),
        ("ratings", (2.0, 1.0), r"expected 2 or more values of ratings in rising order, got \(2.0, 1.0\)"),
        ("numbers", (1.0,), r"expected 2 values of numbers in rising order, got \(1.0,\)"),
    ],
)
def test_a_scale_that_is_none_is_refused(kind, values, message):
    with pytest.raises(ValueError, match=message):
        LabelScale(kind, values)


def test_values_that_differ_late_are_written_apart():
    scale = label_scale([1600000000.0, 1600000128.0, 1600000256.0])
    assert len(set(scale.shown.split(", "))) == 3
    numbers = label_scale(1600000000 + 128.5 * np.arange(20))
    low, high = numbers.shown.split(" to ")
    assert low != high
    (line,) = disagreements(label_scale([16777216.0, 16777218.0]), {"test": [2e7] * 3})
    assert line == "test: 3 of 3 labels (2e+07) are none of 16777216, 16777218, those of training"
