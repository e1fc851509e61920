import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import digamma
from scipy.stats import special_ortho_group
from sklearn.cross_decomposition import CCA

from disentangle import estimate_mutual_information
from disentangle.information import gaussian_mutual_information
from disentangle.information.gaussian import correlation_noise, independent_columns


def correlated(rng, rows, dim, rho):
    x, noise = rng.standard_normal((2, rows, dim))
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def true_information(covariance, p):
    return 0.5 * (
        np.linalg.slogdet(covariance[:p, :p])[1]
        + np.linalg.slogdet(covariance[p:, p:])[1]
        - np.linalg.slogdet(covariance)[1]
    )


def by_determinants(x, y):
    """The same estimate from three entropies, each with the bias of a Wishart matrix's log-determinant taken off."""

    def entropy(z):
        m, d = len(z) - 1, z.shape[1]
        centered = z - z.mean(0)
        scatter = centered.T @ centered
        expected = d * math.log(2) + sum(digamma((m - i) / 2) for i in range(d))  # E log|scatter| for unit covariance
        return 0.5 * (np.linalg.slogdet(scatter)[1] - expected)

    return entropy(x) + entropy(y) - entropy(np.hstack([x, y]))


@pytest.mark.parametrize(("p", "q", "rows"), [(1, 1, 10), (3, 5, 40), (5, 3, 40), (10, 10, 25), (64, 64, 300)])
def test_equals_the_difference_of_unbiased_entropies(p, q, rows):
    rng = np.random.default_rng(p)
    z = rng.standard_normal((rows, p + q)) @ rng.standard_normal((p + q, p + q))
    assert gaussian_mutual_information(z[:, :p], z[:, p:]) == pytest.approx(
        by_determinants(z[:, :p], z[:, p:]), abs=1e-8
    )


def test_uses_canonical_correlations():
    rng = np.random.default_rng(0)
    x, y = correlated(rng, 400, 3, 0.6)
    y = y @ rng.standard_normal((3, 3))
    u, v = CCA(3, max_iter=5000, tol=1e-12).fit_transform(x, y)
    plug_in = -0.5 * sum(math.log(1 - np.corrcoef(u[:, k], v[:, k])[0, 1] ** 2) for k in range(3))
    bias = 0.5 * sum(digamma((399 - i) / 2) - digamma((396 - i) / 2) for i in range(3))
    assert gaussian_mutual_information(x, y) == pytest.approx(plug_in - bias, abs=1e-5)


@pytest.mark.parametrize(
    ("p", "q", "rows", "repeats"),
    [(1, 1, 4, 400), (3, 2, 7, 400), (5, 5, 11, 400), (10, 4, 30, 200), (20, 20, 60, 100)],
)
@pytest.mark.parametrize("dependent", [False, True])
def test_has_no_bias_on_gaussians_however_few_the_rows(p, q, rows, repeats, dependent):
    rng = np.random.default_rng(p + q)
    factor = np.eye(p + q) + (0.3 * rng.standard_normal((p + q, p + q)) if dependent else 0)
    draws = [rng.standard_normal((rows, p + q)) @ factor.T for _ in range(repeats)]
    values = np.array([gaussian_mutual_information(z[:, :p], z[:, p:]) for z in draws])
    error = values.mean() - true_information(factor @ factor.T, p)
    # finds degrees of freedom that are off by one
    assert abs(error) < 4 * values.std() / math.sqrt(repeats)


@pytest.mark.parametrize(("p", "q", "rows", "repeats"), [(1, 1, 200, 400), (10, 3, 500, 200), (64, 64, 500, 60)])
def test_noise_between_independent_gaussians_is_as_documented(p, q, rows, repeats):
    rng = np.random.default_rng(0)
    draws = [(rng.standard_normal((rows, p)), rng.standard_normal((rows, q))) for _ in range(repeats)]
    values = [gaussian_mutual_information(x, y) for x, y in draws]
    wanted = math.sqrt(p * q / 2) / math.sqrt((rows - 1 - p) * (rows - 1 - q))
    assert 0.75 * wanted < np.std(values) < 1.33 * wanted


@pytest.mark.parametrize(("p", "q", "rows"), [(1, 1, 10), (3, 4, 1000), (25, 20, 50), (40, 40, 100)])
def test_the_standard_error_at_independence_is_right_however_few_the_rows(p, q, rows):
    rng = np.random.default_rng(1)
    values = [
        gaussian_mutual_information(rng.standard_normal((rows, p)), rng.standard_normal((rows, q))) for _ in range(300)
    ]
    assert math.sqrt(correlation_noise(rows, p, q)) == pytest.approx(np.std(values), rel=0.15)
    assert correlation_noise(rows, p, q) == pytest.approx(correlation_noise(rows, q, p), rel=1e-9)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("dim", [1, 3, 10])
def test_known_information(rho, dim):
    x, y = correlated(np.random.default_rng(dim), 4000, dim, rho)
    noise = rho * math.sqrt(dim / 4000)  # of the plug-in, by the delta method
    assert abs(gaussian_mutual_information(x, y) + dim / 2 * math.log(1 - rho**2)) < 5 * noise + 0.01


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 5), st.floats(-6, 6), st.floats(-3, 3))
@settings(max_examples=40, deadline=None)
def test_survives_invertible_affine_maps(seed, p, q, exponent, offset):
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((40, p + q)) @ rng.standard_normal((p + q, p + q))
    x, y = z[:, :p], z[:, p:]
    value = gaussian_mutual_information(x, y)

    def mixed(dim):  # condition number 100
        left, right = (special_ortho_group.rvs(dim, random_state=rng) if dim > 1 else np.eye(1) for _ in range(2))
        return left @ np.diag(np.geomspace(0.1, 10, dim)) @ right

    mapped = 10**exponent * (x @ mixed(p)) + 10**exponent * offset
    assert gaussian_mutual_information(mapped, y) == pytest.approx(value, abs=1e-6)
    assert gaussian_mutual_information(x, y @ mixed(q) - offset) == pytest.approx(value, abs=1e-6)
    assert gaussian_mutual_information(y, x) == pytest.approx(value, abs=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constant_and_repeated_dimensions_count_for_nothing(dtype):
    x, y = (torch.tensor(z, dtype=dtype) for z in correlated(np.random.default_rng(0), 300, 4, 0.7))
    value = gaussian_mutual_information(x, y)
    constant = torch.full((300, 3), 0.1, dtype=dtype)
    assert gaussian_mutual_information(torch.cat([x, constant, x[:, :2]], 1), y) == pytest.approx(value, abs=1e-9)
    assert gaussian_mutual_information(x, torch.cat([y, y.sum(1, keepdim=True)], 1)) == pytest.approx(value, abs=1e-4)
    assert gaussian_mutual_information(x, torch.cat([y, 1e6 * y, 1e-6 * constant], 1)) == pytest.approx(value, abs=1e-4)
    assert gaussian_mutual_information(x, constant) == 0.0


def test_scales_of_single_dimensions_do_not_matter():
    x, y = correlated(np.random.default_rng(0), 300, 4, 0.7)
    scales = np.array([1e-6, 1.0, 1e6, 1e12])
    assert gaussian_mutual_information(x * scales, y) == pytest.approx(gaussian_mutual_information(x, y), abs=1e-8)


def test_a_linear_function_shares_everything():
    x = np.random.default_rng(0).standard_normal((100, 3))
    assert gaussian_mutual_information(x, x) == math.inf
    assert gaussian_mutual_information(x, x @ [[1.0], [2.0], [3.0]]) == math.inf
    # and nearly everything is still told apart
    y = x[:, :1] + 1e-9 * np.random.default_rng(1).standard_normal((100, 1))
    assert gaussian_mutual_information(x, y) == pytest.approx(-math.log(1e-9), abs=0.5)


def test_does_not_see_dependence_without_correlation():
    x = np.random.default_rng(0).standard_normal((5000, 1))
    assert abs(gaussian_mutual_information(x, x**2)) < 0.01


def test_bounds_the_information_where_one_side_is_gaussian():
    # y = sign(x): I = log 2, and the correlation sqrt(2 / pi) gives less
    x = np.random.default_rng(0).standard_normal((20000, 1))
    value = gaussian_mutual_information(x, np.sign(x))
    assert value == pytest.approx(-0.5 * math.log(1 - 2 / math.pi), abs=0.02)
    assert value < math.log(2)


def test_takes_tensors_and_arrays_alike():
    x, y = correlated(np.random.default_rng(0), 50, 2, 0.5)
    value = gaussian_mutual_information(x, y)
    assert type(value) is float
    assert gaussian_mutual_information(torch.tensor(x, requires_grad=True), torch.tensor(y)) == value


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ((10, 2), (9, 2), "expected x and y with the same number of rows, got 10 and 9"),
        ((8, 4), (8, 4), "expected at least 9 rows for x of rank 4 and y of rank 4, got 8"),
        ((8, 1, 1), (8, 4), r"expected x as \(rows, dim\) or \(rows,\) with at least 2 rows, got shape \(8, 1, 1\)"),
        ((1, 4), (1, 4), r"expected x as \(rows, dim\) or \(rows,\) with at least 2 rows, got shape \(1, 4\)"),
    ],
)
def test_refuses_shapes(x, y, message):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=message):
        gaussian_mutual_information(rng.standard_normal(x), rng.standard_normal(y))


def test_refuses_values_that_are_not_finite():
    x = np.random.default_rng(0).standard_normal((10, 2))
    bad = x.copy()
    bad[0, 0], bad[3, 1] = math.nan, math.inf
    with pytest.raises(ValueError, match=r"expected y finite, got 2 of 20 values that are not"):
        gaussian_mutual_information(x, bad)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", ["gaussian", "copula"])
def test_columns_that_are_linear_in_others_tell_nothing_more(dtype, method):
    rng = np.random.default_rng(0)
    x, y = correlated(rng, 200, 5, 0.8)
    a, b = (side @ rng.standard_normal((5, 64)) for side in (x, y))
    found = estimate_mutual_information(a.astype(dtype), b.astype(dtype), method=method)
    assert found.value == pytest.approx(gaussian_mutual_information(x, y), abs=1e-4 if method == "gaussian" else 0.2)


def test_independent_columns_are_those_of_the_same_span():
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.standard_normal((100, 3)))
    constant = torch.full((100, 1), 0.1, dtype=x.dtype)
    assert torch.equal(independent_columns(torch.cat([x, constant], 1), 0.0), x)
    found = independent_columns(torch.cat([x, x.sum(1, keepdim=True), 7 - x[:, :1]], 1), 0.0)
    assert found.shape == x.shape
    assert torch.linalg.matrix_rank(found - found.mean(0)) == 3
    assert independent_columns(constant, 0.0).shape == (100, 0)
