import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from disentangle.metrics import binary_metrics, class_metrics

scores = st.floats(-2, 2).map(lambda value: round(value, 1))  # many equal ones
binary = st.lists(st.tuples(scores, st.booleans()), min_size=1, max_size=25)


def f1_of(prediction, label, positive):
    """By counting; 0 for a class that is never hit."""
    hits = sum(p == y == positive for p, y in zip(prediction, label, strict=True))
    of = sum(p == positive for p in prediction) + sum(y == positive for y in label)
    return 2 * hits / of if of else 0.0


@given(binary, scores)
@settings(max_examples=80, deadline=None)
def test_two_classes_agree_with_counting(pairs, threshold):
    score, label = zip(*pairs, strict=True)
    result = binary_metrics(score, label, threshold=threshold)
    said = [s >= threshold for s in score]
    assert list(result) == ["acc", "f1_weighted", "f1_macro", "auc"]
    assert result["acc"] == pytest.approx(sum(p == y for p, y in zip(said, label, strict=True)) / len(label))
    there = set(said) | set(label)
    assert result["f1_macro"] == pytest.approx(sum(f1_of(said, label, c) for c in there) / len(there))
    weighted = sum(label.count(c) * f1_of(said, label, c) for c in there) / len(label)
    assert result["f1_weighted"] == pytest.approx(weighted)
    high, low = ([s for s, y in pairs if y is c] for c in (True, False))
    if high and low:
        wins = sum((a > b) + 0.5 * (a == b) for a in high for b in low)
        assert result["auc"] == pytest.approx(wins / (len(high) * len(low)))
    else:
        assert result["auc"] is None


@given(binary, st.floats(0.1, 10), st.floats(-5, 5))
@settings(max_examples=40, deadline=None)
def test_the_area_follows_the_order_of_scores_alone(pairs, scale, offset):
    score, label = zip(*pairs, strict=True)
    area = binary_metrics(score, label)["auc"]
    assert binary_metrics([scale * s + offset for s in score], label)["auc"] == area
    turned = binary_metrics([-s for s in score], label)["auc"]
    assert turned is area is None or turned == pytest.approx(1 - area)


@pytest.mark.parametrize("names", [[0.0, 1.0, 2.0], [-1.0, 0.0, 1.0], [0.5, 7.25, 1e6]])
def test_classes_may_have_any_numbers_for_names(names):
    draw = np.random.default_rng(0)
    p, y = draw.integers(0, 3, (2, 60))
    wanted = {
        "acc": accuracy_score(y, p),
        "f1_weighted": f1_score(y, p, average="weighted"),
        "f1_macro": f1_score(y, p, average="macro"),
    }
    assert class_metrics(np.array(names)[p], np.array(names)[y]) == pytest.approx(wanted)


def test_a_class_that_is_only_predicted_counts_in_the_macro_mean():
    assert class_metrics([0, 0, 1, 5], [0, 0, 1, 1])["f1_macro"] == pytest.approx((1 + 2 / 3 + 0) / 3)


@pytest.mark.parametrize(
    ("score", "label", "message"),
    [
        ([0.1, 0.2], [0, 2], "expected labels 0 and 1, got 2 among 2"),
        ([0.1, 0.2], [-1, 1], "expected labels 0 and 1, got -1 among 2"),
        ([0.1], [0, 1], r"expected prediction and label of the same shape \(N,\), got \(1,\) and \(2,\)"),
        ([float("nan")], [1], "expected prediction finite, got 1 of 1 values that are not"),
    ],
)
def test_refuses(score, label, message):
    with pytest.raises(ValueError, match=message):
        binary_metrics(score, label)
