"""The benchmark's truths about classes and atoms, against log density ratios and limits written here."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import special, stats

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from known_truths import classes, truths
from known_truths.tasks import tasks

normal = stats.norm.logpdf
UNBALANCED = np.array([0.6, 0.3, 0.1])


def of_clusters(centers, spread, weights):
    def ratio(x, y):
        each = normal(x, centers, spread)
        return each[np.arange(len(x)), y] - special.logsumexp(each, axis=1, b=weights)

    return ratio


def of_intervals(m):
    def ratio(x, y):
        covering = (np.arange(m) <= x) & (x <= np.arange(m) + 2)
        return math.log(m) - np.log(covering.sum(1))

    return ratio


def of_bins(edges, noise):
    bounds = np.array([-np.inf, *edges, np.inf])

    def ratio(x, y):
        given = stats.norm.cdf((bounds[y + 1] - x[:, 0]) / noise) - stats.norm.cdf((bounds[y] - x[:, 0]) / noise)
        wide = stats.norm(scale=math.hypot(1, noise))
        return np.log(given) - np.log(wide.cdf(bounds[y + 1]) - wide.cdf(bounds[y]))

    return ratio


def of_counts(zeros):
    def ratio(x, y):
        given = (1 - zeros) * stats.poisson.pmf(y, x[:, 0]) + zeros * (y == 0)
        return np.log(given) - np.log((1 - zeros) * 0.5 ** (y + 1) + zeros * (y == 0))

    return ratio


def of_rectified(rho, threshold):
    noise = math.sqrt(1 - rho**2)
    below = stats.norm.cdf(threshold)
    corner = stats.multivariate_normal(cov=[[1, rho], [rho, 1]]).cdf([threshold, threshold])

    def ratio(x, y):
        a, b = x[:, 0], y[:, 0]
        edge = lambda z: np.log(stats.norm.cdf((threshold - rho * z) / noise) / below)  # noqa: E731
        both = normal(b, rho * a, noise) - normal(b)
        low_a, low_b = a == threshold, b == threshold
        return np.select([low_a & low_b, low_a, low_b], [np.log(corner / below**2), edge(b), edge(a)], both)

    return ratio


def of_gate(rho):
    noise = math.sqrt(1 - rho**2)
    return lambda x, y: np.where(x[:, 0] == 0, 0, normal(y[:, 0], rho * x[:, 0], noise) - normal(y[:, 0]))


def of_channel(shares, error):
    def ratio(x, y):
        return np.log(((1 - error) * (x == y) + error * shares[y]) / shares[y])

    return ratio


@pytest.mark.parametrize(
    ("source", "ratio"),
    [
        (classes.clusters([0, 1, 2], 0.5), of_clusters([0, 1, 2], 0.5, np.full(3, 1 / 3))),
        (classes.clusters([-1, 0, 3], 0.4, UNBALANCED), of_clusters([-1, 0, 3], 0.4, UNBALANCED)),
        (classes.overlapping_intervals(6), of_intervals(6)),
        (classes.bins([-1, 0.5], 0.5), of_bins([-1, 0.5], 0.5)),
        (classes.counts(0.0), of_counts(0.0)),
        (classes.counts(0.4), of_counts(0.4)),
        (classes.rectified(0.8), of_rectified(0.8, 0.0)),
        (classes.rectified(0.6, 0.7), of_rectified(0.6, 0.7)),
        (classes.gated(0.9, 0.3), of_gate(0.9)),
        (classes.channel(UNBALANCED, 0.3), of_channel(UNBALANCED, 0.3)),
    ],
)
def test_the_mean_log_density_ratio_is_the_truth(source, ratio):
    terms = ratio(*source.sample(300_000, np.random.default_rng(0)))
    error = terms.std() / math.sqrt(len(terms))
    assert error < 0.004
    assert abs(terms.mean() - source.mi) < 4 * error


def test_copies_of_coordinates_add_up():
    assert classes.clusters([0, 1], 0.4, dim=3).mi == pytest.approx(3 * classes.clusters([0, 1], 0.4).mi)
    x, y = classes.clusters([0, 10, 20], 0.1, dim=2).sample(500, np.random.default_rng(0))
    digits = np.round(x / 10).astype(int)
    np.testing.assert_array_equal(y, digits[:, 0] + 3 * digits[:, 1])


def test_rings_are_clusters_at_an_angle():
    source = classes.rings([1, 2, 3], 0.05)
    x, y = source.sample(2000, np.random.default_rng(0))
    np.testing.assert_array_equal(np.round(np.linalg.norm(x, axis=1)) - 1, y)
    assert source.mi == pytest.approx(math.log(3), abs=1e-3)
    assert np.abs(x.mean(0)).max() < 0.2


def test_parity_tells_nothing_coordinate_by_coordinate():
    x, y = classes.parity(3, 0.05).sample(100_000, np.random.default_rng(0))
    assert np.mean(y == (x > 0).sum(1) % 2) == pytest.approx(0.95, abs=0.005)
    for k in range(3):
        assert abs(np.corrcoef(x[:, k] > 0, y)[0, 1]) < 0.015


def test_limits():
    assert classes.clusters(range(10), 0.01).mi == pytest.approx(math.log(10), abs=1e-6)
    assert classes.clusters([0.0] * 4, 1.0).mi == pytest.approx(0, abs=1e-9)
    assert classes.channel(UNBALANCED, 0.0).mi == pytest.approx(special.entr(UNBALANCED).sum())
    assert classes.channel(UNBALANCED, 1.0).mi == pytest.approx(0, abs=1e-12)
    assert truths.rectified_mi(0.8, -8.0) == pytest.approx(-math.log(0.6), abs=1e-6)
    assert classes.bins([0.0], 1e-3).mi == pytest.approx(math.log(2), abs=2e-3)
    # Gao et al. (2017) give it in closed form
    k = np.arange(1, 60)
    assert classes.counts(0.0).mi == pytest.approx(
        2 * math.log(2) - np.euler_gamma - (np.log(k) * 0.5**k).sum(), abs=1e-5
    )


def test_classes_are_whole_numbers_in_one_row_each():
    new = [task for task in tasks() if task.family.startswith("classes")]
    assert len(new) >= 40
    for task in new:
        x, y = task.sample(task.rows or 500, np.random.default_rng(1))
        assert y.dtype.kind == "i"
        assert y.shape == (len(x),)
        assert (x.ndim == 1 and x.dtype.kind == "i") or x.shape[1] == task.x_dim
        counts = np.unique(y, return_counts=True)[1]
        assert task.mi <= special.entr(counts / counts.sum()).sum() + 0.2
