import itertools
import math
import re

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist, pdist
from sklearn.metrics.pairwise import rbf_kernel

from disentangle import DHSIC, functional

F64 = torch.float64


def value_and_gradients(function, x, y):
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    value = function(x, y)
    return value.detach(), *torch.autograd.grad(value, (x, y))


def draw(*sizes, n=9):
    return [torch.randn(n, d, dtype=F64) for d in sizes]


@pytest.mark.parametrize("bandwidth", [0.7, (0.7, 2.0)])
def test_hsic_is_the_trace_of_sklearns_kernels(bandwidth):
    x, y = draw(3, 2)
    n = len(x)
    sx, sy = bandwidth if isinstance(bandwidth, tuple) else (bandwidth, bandwidth)
    h = np.eye(n) - 1 / n
    expected = np.trace(rbf_kernel(x, gamma=0.5 / sx**2) @ h @ rbf_kernel(y, gamma=0.5 / sy**2) @ h) / n**2
    assert functional.hsic(x, y, bandwidth=bandwidth).item() == pytest.approx(expected)


def test_unbiased_hsic_is_the_average_over_all_sets_of_four_rows():
    x, y = draw(3, 2, n=6)
    k, l = rbf_kernel(x, gamma=0.5 / 0.7**2), rbf_kernel(y, gamma=0.5 / 2.0**2)  # noqa: E741
    terms = [k[a, b] * (l[a, b] + l[c, d] - 2 * l[a, c]) for a, b, c, d in itertools.permutations(range(6), 4)]
    assert functional.hsic(x, y, bandwidth=(0.7, 2.0), unbiased=True).item() == pytest.approx(np.mean(terms))


def test_the_default_bandwidth_is_the_median_distance_without_gradient():
    x, y = draw(3, 2, n=6)  # 15 pairs: the median is one of them
    medians = float(np.median(pdist(x))), float(np.median(pdist(y)))
    for unbiased in (False, True):
        default = value_and_gradients(lambda x, y, u=unbiased: functional.hsic(x, y, unbiased=u), x, y)
        chosen = value_and_gradients(
            lambda x, y, u=unbiased: functional.hsic(x, y, bandwidth=medians, unbiased=u), x, y
        )
        for a, b in zip(default, chosen, strict=True):
            torch.testing.assert_close(a, b)


def test_where_most_rows_coincide_the_bandwidth_is_the_mean_distance_of_those_that_do_not():
    x, y = torch.cat([torch.zeros(16, 3, dtype=F64), torch.randn(4, 3, dtype=F64)]), torch.randn(20, 2, dtype=F64)
    distances = pdist(x)
    assert np.median(distances) == 0
    bandwidths = float(distances[distances > 0].mean()), float(np.sort(pdist(y))[(190 - 1) // 2])
    torch.testing.assert_close(functional.hsic(x, y), functional.hsic(x, y, bandwidth=bandwidths))


def test_rows_closer_than_rounding_can_tell_count_as_coinciding():
    x, y = torch.randn(300, 8), torch.randn(300, 2)
    x[64:] = x[64]
    jittered = x + 1e-6 * torch.randn(300, 8)
    for function in (functional.hsic, functional.distance_correlation):
        exact = function(x.to(F64), y.to(F64)).float()
        torch.testing.assert_close(function(x, y), exact, rtol=1e-3, atol=0)
        torch.testing.assert_close(function(jittered, y), exact, rtol=1e-3, atol=0)


def test_unbiased_hsic_has_mean_zero_under_independence_and_the_biased_one_has_not():
    pairs = [(torch.randn(12, 2, dtype=F64), torch.randn(12, 3, dtype=F64)) for _ in range(400)]
    values = []
    for x, y in pairs:
        values.append([functional.hsic(x, y, bandwidth=1.5, unbiased=unbiased) for unbiased in (True, False)])
    unbiased, biased = torch.tensor(values).T
    standard_error = unbiased.std() / 20
    assert unbiased.mean().abs() < 3 * standard_error
    assert biased.mean() > 10 * standard_error


def centered_distances(t):
    """By the definition, one pair of rows at a time."""
    a = cdist(t, t)
    n = len(a)
    return np.array([[a[i, j] - a[i].mean() - a[:, j].mean() + a.mean() for j in range(n)] for i in range(n)])


def test_distance_correlation_equals_its_definition():
    x, y = draw(3, 2)
    a, b = centered_distances(x), centered_distances(y)
    expected = np.sqrt((a * b).mean() / np.sqrt((a * a).mean() * (b * b).mean()))
    assert functional.distance_correlation(x, y).item() == pytest.approx(expected)


def bias_corrected(t):
    """Székely and Rizzo 2013, definition 2: the doubly centred distances, corrected entry by entry."""
    a, centered = cdist(t, t), centered_distances(t)
    n = len(a)
    corrected = np.empty((n, n))
    for i, j in itertools.product(range(n), range(n)):
        corrected[i, j] = n / (n - 1) * (a[i].mean() - a.mean() if i == j else centered[i, j] - a[i, j] / n)
    return corrected


def test_bias_corrected_distance_correlation_equals_its_first_definition():
    x, y = draw(3, 2)
    n = len(x)

    def product(a, b):
        return (a * b).sum() - n / (n - 2) * (np.diag(a) * np.diag(b)).sum()

    a, b = bias_corrected(x), bias_corrected(y)
    expected = product(a, b) / np.sqrt(product(a, a) * product(b, b))
    assert functional.distance_correlation(x, y, unbiased=True).item() == pytest.approx(expected)


def test_with_many_features_only_the_bias_corrected_distance_correlation_tells_independence():
    x, y = torch.randn(32, 200), torch.randn(32, 200)
    assert functional.distance_correlation(x, y) > 0.9
    assert functional.distance_correlation(x, y, unbiased=True).abs() < 0.1


@pytest.mark.parametrize("unbiased", [False, True])
def test_a_given_bandwidth_far_from_the_scale_stays_finite(unbiased):
    x, y = torch.randn(10, 4), torch.randn(10, 4)
    n = len(x)
    for scale, expected in ((1e20, (n - 1) / n**2), (1e-20, 0.0)):  # kernels of the identity, and of ones
        value, *gradients = value_and_gradients(
            lambda x, y: functional.hsic(x, y, bandwidth=1.0, unbiased=unbiased), x * scale, y * scale
        )
        assert value.item() == pytest.approx(0.0 if unbiased else expected, abs=1e-8)
        assert all(gradient.isfinite().all() for gradient in gradients)


def test_a_bandwidth_that_is_not_positive_is_refused():
    x = torch.randn(5, 2)
    for bandwidth in (0.0, (1.0, -1.0)):
        with pytest.raises(ValueError, match=re.escape(f"expected a positive bandwidth, got {bandwidth}")):
            functional.hsic(x, x, bandwidth=bandwidth)


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("bandwidth", [None, (0.7, 2.0)])
def test_hsic_of_several_scales_is_the_mean_over_all_pairs_of_bandwidths(bandwidth, unbiased):
    x, y = draw(3, 2, n=10)  # 45 pairs: the median is one of them
    sx, sy = bandwidth or (np.median(pdist(x)), np.median(pdist(y)))
    scales = (0.3, 1.0, 4.0)
    pairs = [(s * sx, t * sy) for s in scales for t in scales]
    expected = [functional.hsic(x, y, bandwidth=(float(s), float(t)), unbiased=unbiased).item() for s, t in pairs]
    value = functional.hsic(x, y, bandwidth=bandwidth, scales=scales, unbiased=unbiased)
    assert value.item() == pytest.approx(np.mean(expected))


def test_one_scale_is_a_multiple_of_the_bandwidth_and_one_the_bandwidth_itself_bit_for_bit():
    x, y = torch.randn(2, 30, 3)
    assert torch.equal(functional.hsic(x, y, scales=(1.0,)), functional.hsic(x, y))
    torch.testing.assert_close(
        functional.hsic(x, y, bandwidth=1.5, scales=(2.0,)), functional.hsic(x, y, bandwidth=3.0)
    )


def test_small_scales_see_what_the_median_distance_does_not():
    """Eight tight groups of rows: y says whether the number of the group is even."""
    group = torch.arange(160) % 8
    x, y = 10 * group[:, None] + 0.1 * torch.randn(160, 1), (group % 2)[:, None] + 0.1 * torch.randn(160, 1)
    shuffled = [y[torch.randperm(160)] for _ in range(10)]
    ratios = []
    for scales in ((1.0,), (0.1, 1.0)):
        value, *null = [functional.hsic(x, each, scales=scales).item() for each in (y, *shuffled)]
        ratios.append(value / np.mean(null))
    assert ratios[1] > 2 * ratios[0]


def test_scales_that_are_none_are_refused():
    x = torch.randn(5, 2)
    for function in (functional.hsic, functional.dhsic):
        for scales in ((), (1.0, 0.0)):
            message = f"expected positive scales, one at least, got {scales}"
            with pytest.raises(ValueError, match=re.escape(message)):
                function(x, x, scales=scales)


def gaussian(distance, width):
    return math.exp(-(distance**2) / (2 * width**2))


def laplace(distance, width):
    return math.exp(-distance / width)


def naive_dhsic(*variables, bandwidths, scales=(1.0,), kernel_of=gaussian):
    """By the definition, one pair of rows at a time."""
    n = len(variables[0])

    def kernel(v, i, j):
        distance = math.dist(variables[v][i].tolist(), variables[v][j].tolist())
        return np.mean([kernel_of(distance, scale * bandwidths[v]) for scale in scales])

    every, rows = range(len(variables)), range(n)
    together = sum(math.prod(kernel(v, i, j) for v in every) for i in rows for j in rows) / n**2
    apart = math.prod(sum(kernel(v, i, j) for i in rows for j in rows) / n**2 for v in every)
    mixed = sum(math.prod(sum(kernel(v, i, j) for j in rows) / n for v in every) for i in rows) / n
    return together + apart - 2 * mixed


@pytest.mark.parametrize("sizes", [(2, 1), (2, 1, 3), (1, 2, 1, 3)])
def test_dhsic_equals_its_definition(sizes):
    variables = draw(*sizes)
    bandwidths = [0.5 + i for i in range(len(sizes))]
    expected = naive_dhsic(*variables, bandwidths=bandwidths)
    assert functional.dhsic(*variables, bandwidth=bandwidths).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("scales", [(1.0,), (0.5, 3.0)])
def test_dhsic_with_laplace_kernels_equals_its_definition(scales):
    variables = draw(2, 1, 3)
    expected = naive_dhsic(*variables, bandwidths=(0.5, 1.5, 2.5), scales=scales, kernel_of=laplace)
    options = {"bandwidth": (0.5, 1.5, 2.5), "scales": scales}
    value = functional.dhsic(*variables, kernel="laplace", **options)
    assert value.item() == pytest.approx(expected, rel=1e-9)
    assert DHSIC(kernel="laplace", **options)(*variables) == value
    assert value != pytest.approx(functional.dhsic(*variables, **options).item(), rel=0.05)


def test_dhsic_of_two_is_the_biased_hsic():
    x, y = draw(3, 2, n=20)
    for options in ({}, {"bandwidth": 0.7}, {"bandwidth": (0.7, 2.0)}, {"scales": (0.3, 2.0)}, {"kernel": "laplace"}):
        torch.testing.assert_close(functional.dhsic(x, y, **options), functional.hsic(x, y, **options))


def test_dhsic_keeps_its_digits_where_kernels_are_nearly_one():
    variables = torch.randn(3, 50, 2)
    exact = functional.dhsic(*variables.to(F64), bandwidth=30.0)
    assert exact < 1e-5
    torch.testing.assert_close(functional.dhsic(*variables, bandwidth=30.0).to(F64), exact, rtol=1e-3, atol=0)


def test_dhsic_has_the_gradients_of_its_value():
    variables = [v.requires_grad_() for v in draw(2, 1, 3, n=6)]
    assert torch.autograd.gradcheck(lambda *v: functional.dhsic(*v, bandwidth=(0.7, 1.0, 2.0)), variables)


def test_dhsic_knows_no_order_of_variables_or_of_rows():
    x, y, z = draw(2, 1, 3)
    value = functional.dhsic(x, y, z)
    torch.testing.assert_close(functional.dhsic(z, x, y), value)
    rows = torch.randperm(9)
    torch.testing.assert_close(functional.dhsic(x[rows], y[rows], z[rows]), value)


def test_dhsic_sees_what_no_pair_shows():
    """Three normal variables, of which each two are independent: the product of their signs is always 1."""
    x, y, z = torch.randn(3, 300, 1)
    z = z.abs() * (x * y).sign()
    assert functional.dhsic(x, y, z) > 4 * functional.dhsic(x, y, z[torch.randperm(300)])
    for a, b in itertools.combinations((x, y, z), 2):
        shuffled = [functional.hsic(a, b[torch.randperm(300)]) for _ in range(20)]
        assert functional.hsic(a, b) < 1.5 * max(shuffled)


def test_dhsic_refuses_what_it_cannot_compare():
    x = torch.randn(5, 2)
    with pytest.raises(ValueError, match="expected at least 2 variables, got 1"):
        functional.dhsic(x)
    message = "expected one bandwidth, or one for each of 3 variables, got 2"
    with pytest.raises(ValueError, match=message):
        functional.dhsic(x, x, x, bandwidth=(1.0, 1.0))
    with pytest.raises(ValueError, match=re.escape("expected a positive bandwidth, got (1.0, 1.0, 0.0)")):
        functional.dhsic(x, x, x, bandwidth=(1.0, 1.0, 0.0))


def test_the_laplace_kernel_is_sklearns_of_euclidean_distances_with_gradients_at_equal_rows():
    x, y = draw(3, 2)
    x[1] = x[0]
    n = len(x)
    h = np.eye(n) - 1 / n
    k, m = np.exp(-cdist(x, x) / 0.7), np.exp(-cdist(y, y) / 2.0)
    expected = np.trace(k @ h @ m @ h) / n**2
    assert functional.hsic(x, y, bandwidth=(0.7, 2.0), kernel="laplace").item() == pytest.approx(expected)
    _, *gradients = value_and_gradients(lambda x, y: functional.hsic(x, y, kernel="laplace"), x, y)
    assert all(gradient.isfinite().all() for gradient in gradients)
    x, y = draw(3, 2)
    inputs = x.requires_grad_(), y.requires_grad_()
    laplace = {"bandwidth": 1.0, "kernel": "laplace", "unbiased": True}
    assert torch.autograd.gradcheck(lambda x, y: functional.hsic(x, y, **laplace), inputs)
