"""The benchmark's truths about what encoders and questionnaires give, against log density ratios and limits written here."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import special, stats

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from known_truths import features, truths
from known_truths.tasks import tasks

SHARES = np.array([0.5, 1, 2])


def of_bits(flipped, share):
    def ratio(x, y):
        on = share * (1 - flipped) + (1 - share) * flipped
        return np.log(np.where(x == y, 1 - flipped, flipped) / np.where(y == 1, on, 1 - on)).sum(1)

    return ratio


def of_intervals(rho, x_edges, y_edges, x_interval, y_interval):
    """By the bivariate normal distribution function at the corners of each rectangle."""
    both = stats.multivariate_normal(cov=[[1, rho], [rho, 1]])
    a, b = (np.array([-9.0, *edges, 9.0]) for edges in (x_edges, y_edges))
    below = np.array([[both.cdf([u, v]) for v in b] for u in a])
    joint = np.diff(np.diff(below, axis=0), axis=1)
    alone = np.outer(np.diff(stats.norm.cdf(a)), np.diff(stats.norm.cdf(b)))

    def ratio(x, y):
        i, j = x_interval(x).astype(int), y_interval(y).astype(int)
        return np.log(joint[i, j] / alone[i, j]).sum(1)

    return ratio


def of_counts(shared, own):
    rates = stats.poisson(shared + own)

    def ratio(x, y):
        a = np.arange(80)
        joint = (stats.poisson.pmf(a, shared) * stats.poisson.pmf(x - a, own) * stats.poisson.pmf(y - a, own)).sum(1)
        return np.log(joint / (rates.pmf(x[:, 0]) * rates.pmf(y[:, 0])))

    return ratio


def of_circle(concentration):
    law = stats.vonmises(concentration)

    def ratio(x, y):
        between = np.arctan2(y[:, 1], y[:, 0]) - np.arctan2(x[:, 1], x[:, 0])
        return law.logpdf(between) + math.log(2 * math.pi)

    return ratio


def of_sphere(concentration):
    log_density = stats.vonmises_fisher([0, 0, 1], concentration).logpdf

    def ratio(x, y):
        cosine = (x * y).sum(1).clip(-1, 1)
        sine = np.sqrt(1 - cosine**2)
        return log_density(np.stack([sine, 0 * sine, cosine], 1)) + math.log(4 * math.pi)

    return ratio


@pytest.mark.parametrize(
    ("source", "ratio"),
    [
        (features.bits(3, 0.1), of_bits(0.1, 0.5)),
        (features.bits(2, 0.05, 0.2), of_bits(0.05, 0.2)),
        (
            features.ratings(0.7, (-1, 0, 0.5), dim=2),
            of_intervals(0.7, (-1, 0, 0.5), (-1, 0, 0.5), lambda x: x - 1, lambda y: y - 1),
        ),
        (
            features.rounded(0.8, 1, 0.5),
            of_intervals(
                0.8,
                np.arange(-7.5, 8),
                np.arange(-7.75, 8, 0.5),
                lambda x: np.round(x) + 8,
                lambda y: np.round(2 * y) + 16,
            ),
        ),
        (features.shared_counts(5, 2), of_counts(5, 2)),
        (features.circle(5), of_circle(5)),
        (features.sphere(20), of_sphere(20)),
        (features.class_of_shares(SHARES), lambda x, y: np.log(x[np.arange(len(x)), y] / (SHARES / SHARES.sum())[y])),
        (features.pixels(16, 2), lambda x, y: np.full(len(x), math.log(16 / 5))),
    ],
)
def test_the_mean_log_density_ratio_is_the_truth(source, ratio):
    terms = ratio(*source.sample(200_000, np.random.default_rng(0)))
    error = terms.std() / math.sqrt(len(terms))
    assert error < 0.004
    assert abs(terms.mean() - source.mi) < 4 * error + 1e-7


def test_pixels_differ_by_the_noise():
    x, y = features.pixels(16, 2).sample(5000, np.random.default_rng(0))
    assert set(((y - x + 2) % 16).ravel()) == {0, 1, 2, 3, 4}
    assert set(x.ravel()) == set(y.ravel()) == set(range(16))


def test_limits():
    assert features.rounded(0.9, 0.05, 0.05).mi == pytest.approx(-math.log(1 - 0.81) / 2, abs=2e-3)
    assert features.rounded(0.0, 1, 1).mi == pytest.approx(0, abs=1e-9)
    assert features.ratings(0.5, dim=6).mi == pytest.approx(6 * features.ratings(0.5).mi)
    assert features.circle(1e-6).mi == pytest.approx(0, abs=1e-9)
    # in little noise an angle is a normal one, and a direction in space two
    assert features.circle(1e4).mi == pytest.approx(
        math.log(2 * math.pi) - truths.GAUSSIAN_ENTROPY + math.log(1e2), abs=1e-3
    )
    plane = math.log(4 * math.pi) - 2 * truths.GAUSSIAN_ENTROPY + 2 * math.log(1e2)
    assert features.sphere(1e4).mi == pytest.approx(plane, abs=1e-3)
    assert features.class_of_shares(np.full(4, 1e-4)).mi == pytest.approx(math.log(4), abs=1e-3)


@pytest.mark.parametrize(("dim", "units"), [(3, 16), (4, 64)])
def test_encoders_keep_what_they_encode(dim, units):
    """A linear one has the rank of what it encodes; the others are that one's, value by value, and can be undone."""
    plain, tanh, relu = (
        features.encoded(dim, 2, units, 8, activation).sample(2000, np.random.default_rng(1))
        for activation in (features.linear, np.tanh, features.relu)
    )
    for z, squashed, rectified in zip(plain, tanh, relu, strict=True):
        assert np.linalg.matrix_rank(z) == dim
        np.testing.assert_allclose(np.arctanh(squashed), z, rtol=1e-6, atol=1e-9)
        np.testing.assert_array_equal(rectified, np.maximum(z, 0))
    assert (relu[0] > 0).sum(1).min() >= dim  # as many equations as unknowns
    bases = [np.linalg.svd(z - z.mean(0), full_matrices=False)[0][:, :dim] for z in plain]
    correlations = np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)
    assert -np.log1p(-(correlations**2)).sum() / 2 == pytest.approx(2, abs=0.15)


def test_softmax_leaves_the_differences_of_logits():
    x, y = features.shares(4, 1, 5).sample(20_000, np.random.default_rng(0))
    np.testing.assert_allclose(x.sum(1), 1)
    a, b = (np.log(z[:, 1:]) - np.log(z[:, :1]) for z in (x, y))
    covariance = np.cov(np.hstack([a, b]).T)
    assert truths.gaussian_mi(covariance, 3) == pytest.approx(1, abs=0.03)


def test_hours_are_the_angles_of_the_circle():
    (x, _), (of_x, _) = (
        source.sample(500, np.random.default_rng(0)) for source in (features.circle(5), features.hours(5))
    )
    angle = (of_x - 12) * math.pi / 12
    np.testing.assert_allclose(np.hstack([np.cos(angle), np.sin(angle)]), x, atol=1e-12)


@pytest.mark.parametrize(
    ("source", "cluster"),
    [
        (features.largest_of(8, 4, 0.2), lambda x: x[:, :4].argmax(1)),
        (features.far_clusters([0.7, 0.2, 0.1], 16, 0.2), None),
    ],
)
def test_classes_are_told_but_for_those_that_are_wrong(source, cluster):
    x, y = source.sample(20_000, np.random.default_rng(0))
    if cluster is None:
        nearest = np.array([x[y == k].mean(0) for k in range(3)])
        found = special.softmax(-np.square(x[:, None] - nearest).sum(2), 1).argmax(1)
    else:
        found = cluster(x)
    table = np.histogram2d(found, y, [np.arange(found.max() + 2)] * 2)[0] / len(y)
    assert truths.table_mi(table) == pytest.approx(source.mi, abs=0.02)


def test_whole_and_rounded_numbers_are_so():
    chosen = [task for task in tasks() if task.family in ("whole numbers", "rounded")]
    assert len(chosen) == 16
    for task in chosen:
        for side, dim in zip(task.sample(500, np.random.default_rng(0)), (task.x_dim, task.y_dim), strict=True):
            assert side.shape == (500, dim)
            assert side.dtype == np.float64
            if task.family == "whole numbers":
                assert (side == np.round(side)).all()
