import numpy as np
import pytest
from scipy import stats

from disentangle.experiments.studies.paired import interval_of, less, over_seeds, resampled


def mae(outcomes, labels):
    return {"mae": float(np.abs(outcomes[:, 0] - labels).mean())}


def test_differences_that_are_all_the_same_tell_nothing_of_their_spread():
    assert over_seeds([0.5, 0.6, 0.7], [0.5, 0.6, 0.7]) == (0.0, None, None, None)


def test_a_constant_shift_is_the_shift_whatever_the_rounding():
    values = np.array([0.71, 0.83, 0.64, 0.77])
    mean, *others = over_seeds(list(values + 0.1), list(values))
    assert mean == pytest.approx(0.1)
    assert others == [None] * 3


def test_differences_of_shares_that_are_equal_but_for_rounding_are_ties():
    before = np.array([555, 553, 544, 544, 541, 545, 548, 554])
    more = np.array([3, 6, 3, 3, -3, 6, 6, -3])
    found = over_seeds(list((before + more) / 686), list(before / 686))
    assert found.p_wilcoxon == pytest.approx(stats.wilcoxon(more).pvalue)  # 0.125; 0.031 by the rounding


def test_what_rounding_makes_of_equal_means_is_no_difference():
    assert 0.1 + 0.2 + 0.3 != 0.3 + 0.3 + 0.0
    assert over_seeds([0.1, 0.2, 0.3], [0.3, 0.3, 0.0]).mean == 0.0
    assert less([0.1 + 0.2, 1.0, 0.0], [0.3, 1.0 - 1e-9, 0.0]) == pytest.approx([0.0, 1e-9, 0.0], rel=1e-6, abs=0)


@pytest.mark.parametrize("unit", [1e-13, 1e-100, 1e9])
def test_the_unit_of_a_metric_does_not_matter(unit):
    values, others = np.array([3.0, 5.0, 8.0, 4.0]), np.array([2.0, 3.0, 5.0, 5.0])
    found, wanted = over_seeds(list(unit * values), list(unit * others)), over_seeds(list(values), list(others))
    assert wanted.interval
    assert (found.p_t, found.p_wilcoxon) == pytest.approx((wanted.p_t, wanted.p_wilcoxon))  # was None at 1e-13
    assert found.interval == pytest.approx([unit * end for end in wanted.interval])


def test_one_seed_tells_the_difference_alone():
    assert over_seeds([0.5], [0.25]) == (0.25, None, None, None)


def test_the_p_value_of_three_differences_in_closed_form():
    """Of 2 degrees of freedom, Student's distribution is elementary: P(|T| > t) = 1 - t / sqrt(t² + 2)."""
    values = np.array([0.1, 0.2, 0.4])
    t = values.mean() / (values.std(ddof=1) / np.sqrt(3))
    test = over_seeds(list(values), [0.0] * len(values))
    assert test.p_t == pytest.approx(1 - t / np.sqrt(t**2 + 2))
    assert test.p_wilcoxon == pytest.approx(2 / 2**3)  # one of the 8 ways to put signs on three ranks, on either side


def test_the_interval_of_seeds_covers_the_truth_as_often_as_it_says():
    draw = np.random.default_rng(0)
    tests = [over_seeds(list(draw.normal(0.3, 0.1, 5)), [0.0] * 5) for _ in range(400)]
    covered = sum(test.interval[0] <= 0.3 <= test.interval[1] for test in tests)
    assert stats.binomtest(covered, 400, 0.95).pvalue > 0.01


def test_the_interval_of_rows_covers_the_truth_nearly_as_often_as_it_says():
    """Two predictors whose errors have means 0.8 and 0.5 over all rows there could be."""
    draw = np.random.default_rng(1)
    covered = 0
    for i in range(150):
        labels = np.zeros(60)
        one, other = draw.gamma(4, 0.2, (60, 1)), draw.gamma(4, 0.125, (60, 1))
        found = resampled(mae, {"one": one, "other": other}, labels, resamples=100, seed=i)
        low, high = interval_of(found["one"]["mae"] - found["other"]["mae"])
        covered += low <= 0.3 <= high
    assert 0.90 <= covered / 150 <= 0.99


def test_the_interval_covers_the_truth_where_rows_of_one_video_are_alike():
    """Two predictors whose errors differ by a normal number of mean 0, a fifth of its variance common to a video."""
    draw, videos = np.random.default_rng(2), np.repeat(np.arange(30), 8)
    covered = {"rows": 0, "videos": 0}
    for i in range(100):
        difference = np.sqrt(0.2) * draw.normal(size=30)[videos] + np.sqrt(0.8) * draw.normal(size=len(videos))
        said = {"one": 10 + difference[:, None], "other": np.full((len(videos), 1), 10.0)}
        for name, groups in (("rows", None), ("videos", videos)):
            found = resampled(mae, said, np.zeros(len(videos)), groups=groups, resamples=100, seed=i)
            low, high = interval_of(found["one"]["mae"] - found["other"]["mae"])
            covered[name] += low <= 0 <= high
    assert covered["rows"] < 86  # the variance of the mean is 1 + 7 / 5 of what single rows tell: 79 are expected
    assert covered["videos"] >= 88


def test_resamples_are_the_same_for_all_and_by_the_seed():
    draw = np.random.default_rng(0)
    labels, said = draw.normal(size=30), draw.normal(size=(30, 1))
    found = resampled(mae, {"a": said, "b": said}, labels, resamples=20, seed=3)
    assert (found["a"]["mae"] == found["b"]["mae"]).all()
    assert found["a"]["mae"].std() > 0
    assert (resampled(mae, {"a": said}, labels, resamples=20, seed=3)["a"]["mae"] == found["a"]["mae"]).all()
    assert (resampled(mae, {"a": said}, labels, resamples=20, seed=4)["a"]["mae"] != found["a"]["mae"]).any()


def test_a_metric_that_some_resamples_lack_is_told_by_the_others_and_one_that_many_lack_is_not():
    values = np.arange(100.0)
    values[:5] = np.nan
    assert interval_of(values) == pytest.approx(tuple(np.quantile(np.arange(5.0, 100.0), [0.025, 0.975])))
    values[:20] = np.nan
    assert interval_of(values) is None


def test_a_resample_that_cannot_be_measured_is_undefined():
    def fussy(outcomes, labels):
        if len(np.unique(labels)) < 2:
            raise ValueError("one class")
        return {"acc": 1.0 if labels[0] else None}

    found = resampled(fussy, {"a": np.zeros((2, 1))}, np.array([0.0, 1.0]), resamples=60)["a"]["acc"]
    assert np.isnan(found).any()
    assert set(found[~np.isnan(found)]) == {1.0}
