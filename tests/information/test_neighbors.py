import math
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import digamma
from sklearn.feature_selection import mutual_info_regression

from disentangle.information import nearest_neighbor_mutual_information
from disentangle.information.neighbors import rows_nearer


def correlated(rng, rows, dim, rho):
    x, noise = rng.standard_normal((2, rows, dim))
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def sum_of_uniforms_entropy(wide, narrow):
    """The entropy of the sum of uniform variables: a trapezoid, flat in the middle and two ramps."""
    return math.log(wide) + narrow / (2 * wide)


def by_counting(x, y, k):
    """The same estimate by loops over the definition."""
    x, y = ((side - side.mean(0)) / side.std(0) for side in (x, y))
    rows, terms = len(x), []
    for i in range(rows):
        dx = np.array([np.abs(x[i] - x[j]).max() for j in range(rows) if j != i])
        dy = np.array([np.abs(y[i] - y[j]).max() for j in range(rows) if j != i])
        epsilon = np.sort(np.maximum(dx, dy))[k - 1]
        terms.append(digamma((dx < epsilon).sum() + 1) + digamma((dy < epsilon).sum() + 1))
    return digamma(k) + digamma(rows) - np.mean(terms)


@pytest.mark.parametrize(("p", "q", "rows", "k"), [(1, 1, 60, 3), (2, 3, 80, 5), (4, 1, 40, 1)])
def test_is_what_the_paper_defines(p, q, rows, k):
    rng = np.random.default_rng(p)
    z = rng.standard_normal((rows, p + q)) @ rng.standard_normal((p + q, p + q))
    x, y = z[:, :p], z[:, p:]
    value = nearest_neighbor_mutual_information(x, y, neighbors=k).value
    assert value == pytest.approx(by_counting(x, y, k), abs=1e-12)


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), columns=st.integers(1, 2), far=st.sampled_from([0.0, 1e3, 1e9]))
def test_rows_at_the_radius_itself_are_not_nearer(seed, columns, far):
    """The radius is the distance to some row, however far others are off."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((60, columns))
    x[0] += far
    x = (x - x.mean(0)) / x.std(0)
    distances = np.abs(x[:, None] - x[None]).max(-1)
    radius = np.sort(distances, 1)[np.arange(60), rng.integers(1, 60, 60)]
    np.testing.assert_array_equal(rows_nearer(x, radius), (distances < radius[:, None]).sum(1))


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.95])
def test_agrees_with_scikit_learn_on_single_columns(rho):
    x, y = correlated(np.random.default_rng(3), 2000, 1, rho)
    theirs = mutual_info_regression(x / x.std(), y[:, 0] / y.std(), n_neighbors=3, random_state=0)[0]
    ours = nearest_neighbor_mutual_information(x, y).value
    assert max(ours, 0) == pytest.approx(theirs, abs=1e-3)  # theirs is clipped, and has noise of 1e-10 everywhere


@pytest.mark.parametrize(("dim", "rho", "bias"), [(1, 0.0, 0.0), (1, 0.9, 0.01), (2, 0.0, 0.0), (2, 0.6, 0.02)])
def test_known_information(dim, rho, bias):
    x, y = correlated(np.random.default_rng(dim), 4000, dim, rho)
    estimate = nearest_neighbor_mutual_information(x, y)
    assert abs(estimate.value + dim / 2 * math.log(1 - rho**2)) < 4 * estimate.standard_error + bias


def test_sees_dependence_without_correlation():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (4000, 1))
    y = np.sign(rng.standard_normal((4000, 1))) * x + rng.uniform(-0.1, 0.1, (4000, 1))
    # y is on one of two arms, 0.2 wide each: h(y) - h(y|x), the arms disjoint but where |x| < 0.1
    entropy = sum_of_uniforms_entropy(2, 0.2)
    arms = np.linspace(0, 1, 100001)
    overlap = np.maximum(0.2 - 2 * arms, 0)  # of the two intervals around x and -x
    conditional = ((0.4 - 2 * overlap) * 2.5 * -math.log(2.5) + overlap * 5 * -math.log(5)).mean()
    estimate = nearest_neighbor_mutual_information(x, y)
    assert abs(estimate.value - (entropy - conditional)) < 4 * estimate.standard_error + 0.03


def test_heavy_tails_that_are_independent():
    x, y = np.random.default_rng(0).standard_cauchy((2, 4000, 2))
    estimate = nearest_neighbor_mutual_information(x, y)
    assert abs(estimate.value) < 4 * estimate.standard_error


def test_discrete_variables():
    rng = np.random.default_rng(0)
    coins = rng.integers(0, 2, (1500, 1))
    flipped = np.where(rng.random((1500, 1)) < 0.1, 1 - coins, coins)
    truth = math.log(2) + 0.1 * math.log(0.1) + 0.9 * math.log(0.9)
    assert nearest_neighbor_mutual_information(coins, flipped).value == pytest.approx(truth, abs=0.06)
    assert nearest_neighbor_mutual_information(coins, coins).value == pytest.approx(math.log(2), abs=0.06)
    other = rng.integers(0, 5, (1500, 2))
    assert nearest_neighbor_mutual_information(coins, other).value == pytest.approx(0, abs=0.06)


def test_a_class_and_a_continuous_variable():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, (4000, 1))
    apart = 10.0 * label + rng.random((4000, 1))
    assert nearest_neighbor_mutual_information(apart, label).value == pytest.approx(math.log(3), abs=0.02)
    assert nearest_neighbor_mutual_information(label, apart).value == pytest.approx(math.log(3), abs=0.02)


def test_half_of_the_rows_at_one_point():
    # the output of a ReLU: which half a row is in, log 2, and within the upper half what x tells about x + noise
    rng = np.random.default_rng(0)
    x = np.maximum(rng.uniform(-1, 1, (4000, 1)), 0)
    y = np.where(x > 0, x + rng.uniform(-0.2, 0.2, (4000, 1)), rng.uniform(2, 3, (4000, 1)))
    within = sum_of_uniforms_entropy(1, 0.4) - math.log(0.4)
    assert nearest_neighbor_mutual_information(x, y).value == pytest.approx(math.log(2) + within / 2, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("dim", "rho"), [(1, 0.0), (1, 0.8), (2, 0.5)])
def test_the_interval_covers_about_as_often_as_it_says(dim, rho):
    rng = np.random.default_rng(0)
    truth = -dim / 2 * math.log(1 - rho**2)
    estimates = [nearest_neighbor_mutual_information(*correlated(rng, 600, dim, rho)) for _ in range(100)]
    error = np.array([estimate.standard_error for estimate in estimates])
    values = np.array([estimate.value for estimate in estimates])
    assert 0.7 < math.sqrt(np.mean(error**2)) / values.std() < 1.3
    covered = [low < truth < high for low, high in (estimate.interval for estimate in estimates)]
    assert 0.82 < np.mean(covered) < 0.99


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 3), st.floats(-150, 150), st.floats(-3, 3))
@settings(max_examples=25, deadline=None)
def test_units_offsets_and_the_order_of_arguments_do_not_matter(seed, p, q, exponent, offset):
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((60, p + q)) @ rng.standard_normal((p + q, p + q))
    x, y = z[:, :p], z[:, p:]
    value = nearest_neighbor_mutual_information(x, y).value
    mapped = 10.0**exponent * (-x + offset)
    assert nearest_neighbor_mutual_information(mapped, y).value == pytest.approx(value, abs=1e-9)
    assert nearest_neighbor_mutual_information(y, x).value == pytest.approx(value, abs=1e-9)


def test_constants_tell_nothing():
    x, y = correlated(np.random.default_rng(0), 200, 2, 0.7)
    constant = np.full((200, 3), 0.1)
    assert nearest_neighbor_mutual_information(x, constant).value == 0
    with_constant = nearest_neighbor_mutual_information(np.hstack([constant, x]), y)
    assert with_constant == nearest_neighbor_mutual_information(x, y)


def test_never_exceeds_its_ceiling_and_says_when_it_is_near():
    x = np.random.default_rng(0).standard_normal((500, 1))
    estimate = nearest_neighbor_mutual_information(x, x)
    assert digamma(500) - digamma(4) - 0.1 < estimate.value < digamma(500) - digamma(3) + 1e-9
    assert estimate.warnings == (
        f"500 rows show hardly more than {estimate.value:.2f} nats; the estimate is probably too low",
    )


def test_warns_of_many_dimensions():
    rng = np.random.default_rng(0)
    estimate = nearest_neighbor_mutual_information(rng.standard_normal((100, 6)), rng.standard_normal((100, 2)))
    assert estimate.warnings == ("8 dimensions are many for nearest neighbours; the estimate is probably too low",)


def test_is_fast():
    x, y = correlated(np.random.default_rng(0), 4000, 2, 0.6)
    nearest_neighbor_mutual_information(x[:100], y[:100])  # scipy is imported
    start = time.process_time()
    nearest_neighbor_mutual_information(x, y)
    assert time.process_time() - start < 1


def test_takes_tensors_and_arrays_alike():
    x, y = correlated(np.random.default_rng(0), 60, 2, 0.5)
    estimate = nearest_neighbor_mutual_information(torch.tensor(x, requires_grad=True), torch.tensor(y))
    assert estimate == nearest_neighbor_mutual_information(x, y)
    assert str(estimate).startswith(
        f"{estimate.value:.3f} ± {estimate.standard_error:.3f} nats (nearest neighbors, 60 rows"
    )


@pytest.mark.parametrize(
    ("x", "y", "neighbors", "message"),
    [
        ((60, 2), (59, 2), 3, "expected x and y with the same number of rows, got 60 and 59"),
        ((49, 2), (49, 2), 3, "expected at least 50 rows for 3 neighbours, got 49"),
        ((60, 2), (60, 2), 0, "expected at least 1 neighbour, got 0"),
        ((60, 1, 1), (60, 2), 3, r"expected x as \(rows, dim\) or \(rows,\) .* got shape \(60, 1, 1\)"),
    ],
)
def test_refuses(x, y, neighbors, message):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=message):
        nearest_neighbor_mutual_information(rng.standard_normal(x), rng.standard_normal(y), neighbors=neighbors)
