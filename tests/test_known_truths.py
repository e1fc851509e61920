"""The benchmark's truths, against densities and integrals written here."""

import re
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, special, stats

from .known_truth_ratios import RATIOS, two_pairs, unspiralled

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from known_truths import truths
from known_truths.sources import gaussian, multinormal, sparse
from known_truths.tasks import FAMILIES, Task, halves, tasks
from known_truths.transforms import copies, rotation, spiral


@cache
def collection():
    """All tasks; made when first asked for, as their truths are integrals."""
    return tasks()


@cache
def named():
    return {task.name: task for task in collection()}


def continuous():
    repeated = ("atoms", "whole numbers", "rounded", "classes")
    return [task for task in collection() if not task.family.startswith(repeated) and "rectified" not in task.name]


def draw(name, n=200, seed=0):
    return named()[name].sample(n, np.random.default_rng(seed))


@pytest.mark.parametrize("name", RATIOS)
def test_the_mean_log_density_ratio_is_the_truth(name):
    x, y = draw(name, 500_000)
    ratio = RATIOS[name](x, y)
    error = ratio.std() / np.sqrt(len(ratio))
    assert error < 0.0032
    assert abs(ratio.mean() - named()[name].mi) < 4 * error


# The truths against other integrals, limits and one another


@pytest.mark.parametrize("width", [0.1, 0.25, 0.5, 0.75, 3.0])
def test_additive_noise_is_the_entropy_of_a_trapezoid(width):
    def density(y):
        return max(min(y + width, 1) - max(y - width, 0), 0) / (2 * width)

    corners = sorted({-width, width, 1 - width, 1 + width})
    parts = [integrate.quad(lambda y: special.entr(density(y)), a, b)[0] for a, b in pairwise(corners)]
    assert truths.additive_uniform_mi(width) == pytest.approx(sum(parts) - np.log(2 * width), abs=1e-9)


@pytest.mark.parametrize(("x_dim", "y_dim", "dof"), [(1, 1, 1), (2, 3, 2), (5, 5, 3), (1, 4, 5)])
def test_student_is_the_entropies_of_scipy(x_dim, y_dim, dof):
    root = np.random.default_rng(0).normal(size=(x_dim + y_dim, x_dim + y_dim))
    matrix = root @ root.T + np.eye(x_dim + y_dim)
    blocks = matrix[:x_dim, :x_dim], matrix[x_dim:, x_dim:], matrix
    xx, yy, joint = (stats.multivariate_t(shape=block, df=dof).entropy() for block in blocks)
    assert truths.student_mi(matrix, x_dim, dof) == pytest.approx(xx + yy - joint, abs=1e-9)


def test_student_tends_to_the_gaussian():
    matrix = two_pairs(3)
    assert truths.student_mi(matrix, 3, 1e7) == pytest.approx(truths.gaussian_mi(matrix, 3), abs=1e-5)
    falling = [truths.student_mi(matrix, 3, dof) for dof in (1, 2, 3, 5, 10)]
    assert falling == sorted(falling, reverse=True)


def test_gaussian_mi_of_one_pair_and_of_blocks():
    assert truths.gaussian_mi(np.array([[1, 0.6], [0.6, 1]]), 1) == pytest.approx(-np.log(1 - 0.36) / 2)
    assert truths.gaussian_mi(two_pairs(5), 5) == pytest.approx(-np.log(1 - 0.64))
    scale = np.diag([1e-2, 10.0, 1, 1])
    assert truths.gaussian_mi(scale @ two_pairs(2) @ scale, 2) == pytest.approx(truths.gaussian_mi(two_pairs(2), 2))


@pytest.mark.parametrize("rho", [0.3, 0.9, 0.99])
def test_a_random_sign_is_a_mixture_of_two_gaussians(rho):
    crossed = np.array([[[1, rho], [rho, 1]], [[1, -rho], [-rho, 1]]])
    mixture = truths.mixture_mi(np.array([0.5, 0.5]), np.zeros((2, 2)), crossed)
    assert truths.random_sign_mi(rho, 1) == pytest.approx(mixture, abs=1e-8)


def test_a_random_sign_costs_at_most_its_entropy():
    for dim in (1, 2, 3, 10):
        whole = -dim / 2 * np.log(1 - 0.9**2)
        assert whole - np.log(2) < truths.random_sign_mi(0.9, dim) < whole
    assert truths.random_sign_mi(0.9, 100) == pytest.approx(-50 * np.log(1 - 0.9**2) - np.log(2), abs=1e-9)
    assert truths.random_sign_mi(1e-4, 3) == pytest.approx(0, abs=1e-6)


def test_mixtures_of_one_and_of_far_apart():
    one = truths.mixture_mi(np.ones(1), np.array([[3.0, -2.0]]), np.array([[[4, 1.8], [1.8, 1]]]))
    assert one == pytest.approx(-np.log(1 - 0.81) / 2, abs=1e-9)
    weights, centers = np.array([0.5, 0.3, 0.2]), np.array([[0.0, 10], [10, 20], [20, 0]])
    far = truths.mixture_mi(weights, centers, np.broadcast_to(np.eye(2) / 4, (3, 2, 2)))
    assert far == pytest.approx(special.entr(weights).sum(), abs=1e-9)


def test_absolute_value_is_the_entropy_of_a_skew_normal():
    law = stats.skewnorm(1 / 0.3, scale=np.sqrt(1.09))
    h = integrate.quad(lambda y: special.entr(law.pdf(y)), -4, 12, limit=200, epsabs=1e-10)[0]
    assert named()["|x| and noise 0.3"].mi == pytest.approx(h - np.log(2 * np.pi * np.e * 0.09) / 2, abs=1e-4)


def test_a_product_is_the_entropy_of_a_bessel_function():
    h = 2 * integrate.quad(lambda u: special.entr(special.k0(np.exp(u)) / np.pi) * np.exp(u), -40, 4, limit=400)[0]
    mean_log = -(np.euler_gamma + np.log(2)) / 2
    assert named()["product of x and noise 1x1"].mi == pytest.approx(
        h - np.log(2 * np.pi * np.e) / 2 - mean_log, abs=1e-8
    )


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_log_radius_density(dim):
    density = truths.log_radius_density(truths.LOG_SCALES, dim)
    radius = np.exp(truths.LOG_SCALES)
    np.testing.assert_allclose(density, stats.chi.pdf(radius, dim) * radius, atol=1e-300)
    assert np.trapezoid(density, truths.LOG_SCALES) == pytest.approx(1, abs=1e-12)


def test_a_scale_that_does_not_vary_tells_nothing_and_one_that_varies_greatly_is_read():
    narrow, wide = (truths.normal_density(truths.LOG_SCALES, scale=s) for s in (0.05, 1.5))
    assert truths.scale_mi(narrow, 1) == pytest.approx(0.05**2, rel=0.02)
    # many coordinates of y measure the log-scale with the variance 1 / (2 dim) and Gaussian errors
    assert truths.scale_mi(wide, 400) == pytest.approx(np.log(1 + 1.5**2 * 800) / 2, abs=2e-3)


def test_regression_on_a_line_is_gaussian_and_of_a_ring_of_no_radius_nothing():
    nodes = np.linspace(-9, 9, 2001)
    weights = stats.norm.pdf(nodes) * (nodes[1] - nodes[0])
    line = truths.regression_mi(weights, 0.8 * nodes, np.full_like(nodes, 0.6))
    assert line == pytest.approx(-np.log(0.6), abs=1e-9)
    assert truths.ring_mi(3.0) == pytest.approx(0, abs=2e-5)


# Invariance


def coordinates(z, base):
    """The matrix that gives z from base."""
    matrix, *_ = np.linalg.lstsq(base, z, rcond=None)
    np.testing.assert_allclose(base @ matrix, z, rtol=1e-9, atol=1e-9)
    return matrix


@pytest.mark.parametrize(
    ("name", "base", "x_scale", "y_scale"),
    [
        ("gaussian d=5 mi=2 rotated, x 0.01, y 10", "gaussian d=5 mi=2", 1e-2, 1e1),
        ("student identity 3x3 dof=3 rotated, x 0.01, y 10", "student identity 3x3 dof=3", 1e-2, 1e1),
        ("sparse normal 25x25 rotated, x 0.01, y 0.01", "sparse normal 25x25", 1e-2, 1e-2),
        ("additive uniform noise 0.25 d=3 rotated, x 10", "additive uniform noise 0.25 d=3", 1e1, 1.0),
    ],
)
def test_rotated_tasks_are_rotations_of_their_base(name, base, x_scale, y_scale):
    assert named()[name].mi == named()[base].mi
    for z, origin, scale in zip(draw(name), draw(base), (x_scale, y_scale), strict=True):
        matrix = coordinates(z, origin)
        np.testing.assert_allclose(matrix @ matrix.T, scale**2 * np.eye(len(matrix)), atol=1e-8 * scale**2)
        assert np.abs(matrix / scale).max() < 0.99  # no axis is left where it was


def test_rotations_are_proper_draws():
    first, again, other = (rotation(3, seed)(np.eye(3)) for seed in (0, 0, 1))
    assert (first == again).all()
    assert not np.allclose(first, other)


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("gaussian d=1 mi=2 padded by 5", "gaussian d=1 mi=2"),
        ("uniform margins d=3 mi=2 padded by 5 uniform", "uniform margins d=3 mi=2"),
        ("student identity 3x3 dof=3 padded by 5", "student identity 3x3 dof=3"),
        ("swiss roll mi=2 padded by 5", "swiss roll mi=2"),
    ],
)
def test_padding_leaves_the_base_and_tells_nothing(name, base):
    (x, y), (x_base, y_base) = draw(name, 4000), draw(base, 4000)
    dim = x_base.shape[1]
    assert named()[name].mi == named()[base].mi
    np.testing.assert_array_equal(x[:, :dim], x_base)
    np.testing.assert_array_equal(y, y_base)
    ranks = stats.rankdata(np.hstack([y, x]), axis=0)
    known = y.shape[1] + dim
    assert np.abs(np.corrcoef(ranks.T)[known:, :known]).max() < 4.5 / np.sqrt(4000)


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("cubic of sparse normal 25x25", "sparse normal 25x25"),
        ("half-cube of gaussian d=10 mi=4", "gaussian d=10 mi=4"),
        ("asinh of student identity 3x3 dof=2", "student identity 3x3 dof=2"),
        ("uniform margins d=1 mi=2", "gaussian d=1 mi=2"),
        ("normal cdf of dense normal 5x5", "dense normal 5x5"),
    ],
)
def test_transformed_margins_keep_the_order_of_the_rows(name, base):
    assert named()[name].mi == named()[base].mi
    for z, origin in zip(draw(name, 4000), draw(base, 4000), strict=True):
        np.testing.assert_array_equal(z.argsort(0), origin.argsort(0))


def test_uniform_margins_are_uniform():
    for name in ("uniform margins d=3 mi=2", "swiss roll mi=2"):
        assert stats.kstest(draw(name, 20_000)[1][:, 0], "uniform").pvalue > 1e-3


def test_a_spiral_keeps_the_norm():
    z = np.random.default_rng(0).normal(size=(100, 4))
    turned = spiral(0.7, (1, 3))(z)
    np.testing.assert_allclose(np.linalg.norm(turned, axis=1), np.linalg.norm(z, axis=1))
    np.testing.assert_array_equal(turned[:, [0, 2]], z[:, [0, 2]])
    np.testing.assert_allclose(unspiralled(0.7, 1, 3)(turned), z, atol=1e-12)


def test_copies_are_rows_side_by_side():
    one, three = gaussian(1, 0.5), copies(gaussian(1, 0.5), 3)
    (a, b), (x, y) = (s.sample(n, np.random.default_rng(0)) for s, n in ((one, 30), (three, 10)))
    np.testing.assert_array_equal(x.ravel(), a.ravel())
    np.testing.assert_array_equal(y.ravel(), b.ravel())
    assert (three.x_dim, three.y_dim, three.mi) == (3, 3, 1.5)


@pytest.mark.parametrize("family", ["sign-symmetric", "independent"])
def test_no_correlation(family):
    for task in (task for task in collection() if task.family == family):
        x, y = (stats.rankdata(z, axis=0) for z in task.sample(20_000, np.random.default_rng(1)))
        between = np.corrcoef(x.T, y.T)[: task.x_dim, task.x_dim :]
        assert np.abs(between).max() < 5 / np.sqrt(20_000), task.name


def test_independent_tasks_have_independent_magnitudes():
    for task in collection():
        if task.family == "independent":
            assert task.mi == 0
            x, y = (stats.rankdata(np.abs(z).sum(1)) for z in task.sample(20_000, np.random.default_rng(1)))
            assert abs(np.corrcoef(x, y)[0, 1]) < 4.5 / np.sqrt(20_000), task.name


# The collection


def test_names_families_and_numbers():
    assert len({task.name for task in collection()}) == len(collection()) >= 60
    assert {task.family for task in collection()} == set(FAMILIES)
    for task in collection():
        assert np.isfinite(task.mi)
        assert task.mi >= 0
        if stated := re.search(r"\bd=(\d+) mi=([\d.]+)", task.name):
            assert task.mi == float(stated[2])
            assert task.y_dim == int(stated[1])


def test_samples_have_their_shapes_and_follow_their_generator():
    for task in continuous():
        first, again, other = (task.sample(50, np.random.default_rng(seed)) for seed in (3, 3, 4))
        for (i, dim), z in zip(enumerate((task.x_dim, task.y_dim)), first, strict=True):
            assert z.shape == (50, dim)
            assert z.dtype == np.float64
            assert np.isfinite(z).all()
            np.testing.assert_array_equal(z, again[i])
            assert (z != other[i]).any()


def test_values_are_not_repeated():
    """Two rows that rounding has made equal would take from the information."""
    for task in continuous():
        for z in task.sample(4000, np.random.default_rng(0)):
            for column in z.T:
                assert len(np.unique(column)) >= 3996, task.name


def split_names(collection, seed=0):
    return tuple({task.name for task in half} for half in halves(collection, seed))


def test_halves_part_the_collection_and_cover_every_family():
    tuning, held_out = split_names(collection())
    assert tuning | held_out == set(named())
    assert not tuning & held_out
    assert split_names(collection()) == (tuning, held_out)
    for family in FAMILIES:
        members = {task.name for task in collection() if task.family == family}
        assert abs(len(members & tuning) - len(members & held_out)) <= 1


def test_halves_follow_their_seed():
    drawn = {frozenset(split_names(collection(), seed)[0]) for seed in range(20)}
    assert len(drawn) == 20


def test_tasks_that_are_added_move_no_others():
    whole, _ = split_names(collection())
    for length in (1, 2, 3, 4):
        part = [task for family in FAMILIES for task in [t for t in collection() if t.family == family][:length]]
        assert split_names(part)[0] == whole & {task.name for task in part}
    new = Task("new", "a new family", 1, 1, 0.0, gaussian(1, 0.0).sample)
    assert split_names([new, *collection()])[0] - {"new"} == whole


def test_a_task_is_as_often_held_out_as_not():
    name = "student sparse 3x3 dof=3"
    held_out = sum(name in split_names(collection(), seed)[1] for seed in range(400))
    assert 150 < held_out < 250


def test_multinormal_of_any_split():
    source = multinormal(sparse(4, 2), 4)
    x, y = source.sample(200_000, np.random.default_rng(0))
    np.testing.assert_allclose(np.cov(np.hstack([x, y]).T), sparse(4, 2), atol=0.015)
