import json
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error

from disentangle.metrics import (
    acc2_has0,
    acc2_non0,
    acc5,
    acc7,
    corr,
    f1_has0,
    f1_non0,
    sentiment_metrics,
)

NAMES = ["mae", "corr", "acc2_has0", "acc2_non0", "f1_has0", "f1_non0", "acc5", "acc7"]

sentiments = st.floats(-3, 3).map(lambda value: round(value, 2))
samples = st.lists(st.tuples(st.floats(-4, 4).map(lambda value: round(value, 2)), sentiments), min_size=1, max_size=30)


def drawn(n, seed=0):
    rng = np.random.default_rng(seed)
    label = np.round(rng.uniform(-3, 3, n) * 2) / 2  # many exact zeros and halves
    prediction = label + rng.normal(0, 1.5, n)
    prediction[::7] = np.round(prediction[::7] * 2) / 2
    return prediction, label


def half_to_even(value):
    low = math.floor(value)
    if value - low == 0.5:
        return low if low % 2 == 0 else low + 1
    return math.floor(value + 0.5)


def naive_accuracy(prediction, label, bound):
    hits = 0
    for p, y in zip(prediction, label, strict=True):
        hits += half_to_even(min(max(p, -bound), bound)) == half_to_even(min(max(y, -bound), bound))
    return hits / len(label)


def naive_f1(prediction, label):
    """Over booleans, by counting."""
    total = 0.0
    for positive in (False, True):
        tp = sum(p == positive and y == positive for p, y in zip(prediction, label, strict=True))
        predicted = sum(p == positive for p in prediction)
        true = sum(y == positive for y in label)
        if tp:
            precision, recall = tp / predicted, tp / true
            total += true / len(label) * 2 * precision * recall / (precision + recall)
    return total


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_scikit_learn_and_scipy(seed):
    p, y = drawn(200, seed)
    result = sentiment_metrics(p, y)
    some = y != 0
    assert 0 < some.sum() < len(y)
    wanted = {
        "mae": mean_absolute_error(y, p),
        "corr": pearsonr(p, y)[0],
        "acc2_has0": accuracy_score(y >= 0, p >= 0),
        "acc2_non0": accuracy_score(y[some] > 0, p[some] > 0),
        "f1_has0": f1_score(y >= 0, p >= 0, average="weighted"),
        "f1_non0": f1_score(y[some] > 0, p[some] > 0, average="weighted"),
        "acc5": naive_accuracy(p, y, 2),
        "acc7": naive_accuracy(p, y, 3),
    }
    assert list(result) == NAMES
    assert result == pytest.approx(wanted, abs=1e-12)


@given(samples)
@settings(max_examples=60, deadline=None)
def test_agrees_with_counting(pairs):
    p, y = zip(*pairs, strict=True)
    some = [(a, b) for a, b in pairs if b != 0]
    assert acc2_has0(p, y) == pytest.approx(sum((a >= 0) == (b >= 0) for a, b in pairs) / len(pairs))
    assert f1_has0(p, y) == pytest.approx(naive_f1([a >= 0 for a in p], [b >= 0 for b in y]))
    assert acc5(p, y) == pytest.approx(naive_accuracy(p, y, 2))
    assert acc7(p, y) == pytest.approx(naive_accuracy(p, y, 3))
    if some:
        assert acc2_non0(p, y) == pytest.approx(sum((a > 0) == (b > 0) for a, b in some) / len(some))
        assert f1_non0(p, y) == pytest.approx(naive_f1([a > 0 for a, _ in some], [b > 0 for _, b in some]))
    else:
        assert acc2_non0(p, y) is None
        assert f1_non0(p, y) is None


@given(samples, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_order_of_samples_does_not_matter(pairs, random):
    labels = [y for _, y in pairs]
    assume(len(pairs) < 10 or min(labels) < 0 or any(y % 1 for y in labels))  # else they are taken for classes
    shuffled = random.sample(pairs, len(pairs))
    one = sentiment_metrics(*map(list, zip(*pairs, strict=True)))
    two = sentiment_metrics(*map(list, zip(*shuffled, strict=True)))
    assert one == pytest.approx(two, abs=1e-9)
    for name, value in one.items():
        if value is not None and name != "mae":
            assert (-1 if name == "corr" else 0) <= value <= 1


@given(samples, st.floats(0.01, 100), st.floats(-100, 100))
@settings(max_examples=60, deadline=None)
def test_correlation_survives_positive_affine_maps_and_turns_with_the_sign(pairs, scale, offset):
    p, y = (np.array(values) for values in zip(*pairs, strict=True))
    assume(np.ptp(p) > 0 and np.ptp(y) > 0)
    r = corr(p, y)
    assert r is not None
    assert corr(scale * p + offset, y) == pytest.approx(r, abs=1e-8)
    assert corr(-scale * p + offset, y) == pytest.approx(-r, abs=1e-8)
    assert corr(y, p) == pytest.approx(r, abs=1e-12)


@pytest.mark.parametrize(
    ("value", "rounded"),
    [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (-2.5, -2), (0.51, 1), (7.0, 3), (-7.0, -3)],
)
def test_halves_go_to_the_even_number(value, rounded):
    assert acc7([value], [float(rounded)]) == 1.0
    for other in set(range(-3, 4)) - {rounded}:
        assert acc7([value], [float(other)]) == 0.0


def test_five_classes_clip_before_they_round():
    assert acc5([2.5, 3.0, -2.6], [2.0, 2.0, -3.0]) == 1.0
    assert acc7([2.6, 3.0, -2.6], [2.0, 2.0, -2.0]) == 0.0


def test_neutral_labels_count_as_positive_or_not_at_all():
    prediction, label = [-0.1, 0.0, 0.1, -1.0], [0.0, 0.0, 1.0, -1.0]
    assert acc2_has0(prediction, label) == 0.75
    assert acc2_non0(prediction, label) == 1.0
    # a prediction of exactly 0 is positive with neutral samples and not without
    assert acc2_has0([0.0], [1.0]) == 1.0
    assert acc2_non0([0.0], [1.0]) == 0.0


def test_mae_and_correlation_keep_neutral_samples():
    result = sentiment_metrics([1.0, -1.0, 3.0], [1.0, -1.0, 0.0])
    assert result["mae"] == 1.0
    assert result["corr"] == pytest.approx(0.5)  # (1 + 1 + 0) / sqrt(2 * 8)


def test_undefined_is_null():
    result = sentiment_metrics([0.3, 0.3], [0.0, 0.0])
    assert [name for name, value in result.items() if value is None] == ["corr", "acc2_non0", "f1_non0"]
    assert json.loads(json.dumps(result))["corr"] is None
    assert corr([1.0], [2.0]) is None
    assert corr([0.1] * 1000, np.arange(1000)) is None
    assert corr(np.arange(1000), [0.1] * 1000) is None


def test_correlation_is_sound_at_the_limits_of_precision():
    y = np.random.default_rng(0).normal(size=1000)
    for p in (1e6 + 1e-9 * y, 1e-200 * y, 1e200 * y, 1e8 + y, np.nextafter(1.0, 2.0) + 0 * y):
        r = corr(p, y)
        assert r is None or -1 <= r <= 1
    assert corr(1e-200 * y, y) == pytest.approx(1)
    assert corr(1e200 * y, y) == pytest.approx(1)
    assert corr(1e8 + y, y) == pytest.approx(1, abs=1e-10)
    assert corr([1.0, np.nextafter(1.0, 2.0)], [0.0, 1.0]) is None


def test_the_rounding_of_a_network_is_no_correlation():
    label = np.linspace(-3, 3, 104)
    for seed in range(20):
        torch.manual_seed(seed)
        layer, h = torch.nn.Linear(64, 1), torch.randn(64)  # one state for all rows, as of a network that died
        out = torch.cat([layer(h.expand(b, 64)) for b in (32, 32, 32, 7, 1)]).detach().squeeze(1)
        assert corr(out, label) is None
        assert corr(out.double().numpy(), label) is None
    assert corr(1 + 1e-5 * label.astype(np.float32), label) == pytest.approx(1, abs=1e-3)


def test_whole_numbers_are_exact_however_large():
    draw = np.random.default_rng(0)
    label = 2_000_000 + draw.integers(0, 11, 200)
    near = label + draw.integers(-2, 3, 200)
    wanted = pearsonr(near, label)[0]
    assert wanted > 0.9
    for p, y in ((near, label), (near.astype(np.float32), label), (label, near / 7)):
        assert corr(p, y) == pytest.approx(wanted, abs=1e-9)  # was None


def test_predictions_have_their_own_scale():
    label = np.random.default_rng(0).normal(size=50)
    assert corr((1e-6 * label).astype(np.float32), label) == pytest.approx(1)  # was None
    assert corr((1e-6 * label).astype(np.float32), 1e6 * label) == pytest.approx(1)


def test_only_one_class_is_no_error(recwarn):
    result = sentiment_metrics([1.0, 2.0], [1.0, 3.0])
    assert result["acc2_has0"] == result["f1_has0"] == result["f1_non0"] == 1.0
    assert sentiment_metrics([-1.0, -2.0], [1.0, 3.0])["f1_has0"] == 0.0
    assert not recwarn.list


@pytest.mark.parametrize("make", [list, tuple, np.array, torch.tensor, lambda v: torch.tensor(v, requires_grad=True)])
def test_takes_lists_arrays_and_tensors(make):
    p, y = [0.5, -1.0, 2.0], [1.0, -1.0, 0.0]
    result = sentiment_metrics(make(p), make(y))
    assert result == pytest.approx(sentiment_metrics(p, y))
    assert all(type(value) is float for value in result.values())


def test_takes_half_precision():
    p = torch.tensor([0.5, -1.0, 2.0], dtype=torch.bfloat16)
    assert sentiment_metrics(p, p)["mae"] == 0.0


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_takes_tensors_on_a_device():
    p, y = drawn(50)
    assert sentiment_metrics(torch.tensor(p, device="cuda"), torch.tensor(y)) == sentiment_metrics(p, y)


@pytest.mark.parametrize(
    ("prediction", "label", "message"),
    [
        ([1.0, 2.0], [1.0], r"expected prediction and label of the same shape \(N,\), got \(2,\) and \(1,\)"),
        (np.ones((1, 1)), np.ones((1, 1)), r"expected .* shape \(N,\), got \(1, 1\) and \(1, 1\)"),
        ([], [], "expected at least 1 sample, got 0"),
        ([1.0, math.nan, math.inf], [1.0, 1.0, 1.0], "expected prediction finite, got 2 of 3 values that are not"),
        ([1.0], [math.nan], "expected label finite, got 1 of 1 values that are not"),
        ([1.0, 2.0], np.ma.array([1, 2], mask=[False, True]), "expected label finite, got 1 of 2 values that are not"),
    ],
)
def test_refuses(prediction, label, message):
    with pytest.raises(ValueError, match=message):
        sentiment_metrics(prediction, label)
    with pytest.raises(ValueError, match=message):
        acc7(prediction, label)


@pytest.mark.parametrize(
    ("label", "what"),
    [
        ([0.0, 1.0] * 10, "20 whole numbers from 0 to 1"),
        ([0.0, 1.0, 2.0] * 4, "12 whole numbers from 0 to 2"),
        ([1.0, 3.0, 5.0], "3 labels from 1 to 5"),
        ([-0.5, 40.0], "2 labels from -0.5 to 40"),
    ],
)
def test_refuses_labels_that_are_no_sentiments(label, what):
    """Acc2 of 0 and 1 by their sign is 1.000 for whatever predicts a positive number."""
    label = np.array(label)
    wanted = rf"expected sentiments in \[-3, 3\], got {what}; label_scale\(training labels\)\.metrics"
    with pytest.raises(ValueError, match=wanted):
        sentiment_metrics(np.full(len(label), 0.3), label)


def test_takes_few_labels_and_neutral_ones_whatever_they_look_like():
    assert sentiment_metrics([0.2, 0.9], [0.0, 1.0])["acc2_has0"] == 1.0
    assert sentiment_metrics([0.1] * 20, [0.0] * 20)["acc2_non0"] is None
    third = np.float32(1 / 3)
    assert sentiment_metrics([0.0], [float(9 * third)])["mae"] == pytest.approx(
        3
    )  # a mean of thirds, a rounding above 3
