import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from disentangle.metrics import acc2_sims, acc3_sims, acc5_sims, corr, mae, sentiment_metrics, sims_metrics

# The classes as the data set's paper and code give them: intervals open below and closed above.
TWO = [(-1.01, 0.0), (0.0, 1.01)]
THREE = [(-1.01, -0.1), (-0.1, 0.1), (0.1, 1.01)]
FIVE = [(-1.01, -0.7), (-0.7, -0.1), (-0.1, 0.1), (0.1, 0.7), (0.7, 1.01)]
LABELS = [round(0.2 * k, 1) for k in range(-5, 6)]  # means of five annotators who say -1, 0 or 1

values = st.floats(-2, 2).map(lambda value: round(value, 2)) | st.sampled_from([-0.7, -0.1, 0.0, 0.1, 0.7])
samples = st.lists(st.tuples(values, st.sampled_from(LABELS)), min_size=1, max_size=30)


def interval(value, intervals):
    (found,) = (i for i, (low, high) in enumerate(intervals) if low < min(max(value, -1), 1) <= high)
    return found


@given(samples)
@settings(max_examples=80, deadline=None)
def test_classes_are_the_intervals(pairs):
    p, y = zip(*pairs, strict=True)
    result = sims_metrics(p, y)
    assert list(result) == ["mae", "corr", "acc2_sims", "f1_sims", "acc3_sims", "acc5_sims"]
    for name, intervals in (("acc2_sims", TWO), ("acc3_sims", THREE), ("acc5_sims", FIVE)):
        hits = [interval(a, intervals) == interval(b, intervals) for a, b in pairs]
        assert result[name] == pytest.approx(sum(hits) / len(hits))
    said, true = ([interval(value, TWO) for value in each] for each in (p, y))
    assert result["f1_sims"] == pytest.approx(f1_score(true, said, average="weighted", zero_division=0))
    assert (result["mae"], result["corr"]) == (mae(p, y), corr(p, y))


@given(samples)
@settings(max_examples=40, deadline=None)
def test_it_does_not_matter_whether_a_file_holds_single_or_double_precision(pairs):
    p, y = (np.array(each) for each in zip(*pairs, strict=True))
    one, two = sims_metrics(p, y), sims_metrics(p.astype(np.float32), y.astype(np.float32))
    assert two == pytest.approx(one, abs=1e-6)


def test_more_classes_are_more_than_two():
    """The rounding of [-3, 3] leaves three classes of [-1, 1], whether it is to five or to seven."""
    draw = np.random.default_rng(0)
    y = draw.choice(LABELS, 400)
    p = np.clip(y + draw.normal(0, 0.4, 400), -1, 1)
    theirs = sentiment_metrics(p, y)
    assert theirs["acc5"] == theirs["acc7"]
    assert acc5_sims(p, y) < acc3_sims(p, y) < acc2_sims(p, y)
    assert acc5_sims(p, y) != theirs["acc5"]


def test_neutral_is_not_positive_of_two_classes():
    assert acc2_sims([0.01], [0.0]) == 0.0
    assert acc2_sims([-0.9], [0.0]) == 1.0
    assert acc3_sims([0.01], [0.0]) == 1.0
