import itertools
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import moment
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from disentangle import functional
from disentangle.errors import TooFewRowsError

F64 = torch.float64


def unbiased_hsic(x, y):
    return functional.hsic(x, y, unbiased=True)


def unbiased_distance_correlation(x, y):
    return functional.distance_correlation(x, y, unbiased=True)


SCALE_FREE = [
    functional.feature_correlation,
    functional.hsic,
    unbiased_hsic,
    functional.distance_correlation,
    unbiased_distance_correlation,
    functional.cka,
    functional.central_moment_discrepancy,
]
FUNCTIONS = [functional.orthogonality, functional.cross_covariance, *SCALE_FREE]
UNBIASED = [unbiased_hsic, unbiased_distance_correlation]


def value_and_gradients(function, x, y):
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    value = function(x, y)
    return value.detach(), *torch.autograd.grad(value, (x, y))


def draw(*sizes, n=9):
    return [torch.randn(n, d, dtype=F64) for d in sizes]


def naive_orthogonality(x, y):
    """Eq. 9 by its definition, over N²."""
    return sum((x[i] * y[j]).sum() ** 2 for i in range(len(x)) for j in range(len(y))) / len(x) ** 2


@pytest.mark.parametrize(("n", "d"), [(3, 5), (8, 2)])  # both orders of summation
def test_orthogonality_equals_its_definition_in_values_and_gradients(n, d):
    inputs = [torch.randn(n, d, dtype=F64, requires_grad=True) for _ in range(2)]
    fast, slow = functional.orthogonality(*inputs), naive_orthogonality(*inputs)
    torch.testing.assert_close(fast, slow)
    for a, b in zip(torch.autograd.grad(fast, inputs), torch.autograd.grad(slow, inputs), strict=True):
        torch.testing.assert_close(a, b)


def test_orthogonality_does_not_depend_on_the_batch_size():
    x, y = torch.randn(5, 4, dtype=F64), torch.randn(5, 4, dtype=F64)
    torch.testing.assert_close(functional.orthogonality(x.repeat(7, 1), y.repeat(7, 1)), functional.orthogonality(x, y))


def naive_feature_correlation(x, y):
    """Feature by feature, with loops."""
    n = len(x)
    unit_x, unit_y = ([(row - t.mean(0)) / (row - t.mean(0)).norm() for row in t] for t in (x, y))
    total = 0.0
    for i, j in itertools.product(range(x.shape[1]), range(y.shape[1])):
        total = total + (sum(a[i] * b[j] for a, b in zip(unit_x, unit_y, strict=True)) / n) ** 2
    return total / (x.shape[1] * y.shape[1])


def test_feature_correlation_equals_its_definition_in_values_and_gradients():
    x, y = (t.requires_grad_() for t in draw(3, 2))
    fast, slow = functional.feature_correlation(x, y), naive_feature_correlation(x, y)
    torch.testing.assert_close(fast, slow)
    for a, b in zip(torch.autograd.grad(fast, (x, y)), torch.autograd.grad(slow, (x, y)), strict=True):
        torch.testing.assert_close(a, b)


def test_feature_correlation_does_not_depend_on_the_batch_size():
    x, y = draw(4, 3)
    repeated = functional.feature_correlation(x.repeat(7, 1), y.repeat(7, 1))
    torch.testing.assert_close(repeated, functional.feature_correlation(x, y))


def test_cross_covariance_is_half_the_squares_of_numpys_covariances():
    x, y = draw(3, 2)
    covariances = np.cov(x.numpy().T, y.numpy().T, bias=True)[:3, 3:]
    assert functional.cross_covariance(x, y).item() == pytest.approx((covariances**2).sum() / 2)


@pytest.mark.parametrize("n", [9, 4, 3])  # covariances, then inner products of rows
def test_cka_is_the_alignment_of_centered_linear_kernels(n):
    x, y = draw(4, 2, n=n)
    h = np.eye(n) - 1 / n
    k, l = (h @ t.numpy() @ t.numpy().T @ h for t in (x, y))  # noqa: E741
    expected = np.trace(k @ l) / np.sqrt(np.trace(k @ k) * np.trace(l @ l))
    assert functional.cka(x, y).item() == pytest.approx(expected)


@pytest.mark.parametrize("width", [None, 3.0])
def test_central_moment_discrepancy_equals_its_definition_and_takes_batches_of_unequal_size(width):
    x, y = torch.randn(7, 3, dtype=F64), torch.randn(5, 3, dtype=F64) + 1
    both = np.concatenate([x.numpy(), y.numpy()])
    b_minus_a = width or both.max() - both.min()
    expected = np.linalg.norm(x.numpy().mean(0) - y.numpy().mean(0)) / b_minus_a
    for k in range(2, 5):
        expected += np.linalg.norm(moment(x.numpy(), k) - moment(y.numpy(), k)) / b_minus_a**k
    assert functional.central_moment_discrepancy(x, y, 4, width=width).item() == pytest.approx(expected)


def test_central_moment_discrepancy_does_not_see_which_rows_belong_together():
    x = torch.randn(20, 3, dtype=F64)
    shuffled = functional.central_moment_discrepancy(x, x[torch.randperm(20)])
    assert shuffled < 1e-12  # though x and its rows in another order are one independent, one equal


def orthogonal(d, generator):
    return torch.linalg.qr(torch.randn(d, d, dtype=F64, generator=generator))[0]


@given(seed=st.integers(0, 2**31), n=st.integers(2, 12), scale=st.floats(1e-6, 1e6), offset=st.floats(-100, 100))
@settings(max_examples=30, deadline=None)
def test_distance_correlation_and_cka_do_not_see_rotation_scale_and_offset(seed, n, scale, offset):
    g = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(n, 3, dtype=F64, generator=g) for _ in range(2))
    moved = scale * (y @ orthogonal(3, g) + offset)
    for function in (functional.distance_correlation, functional.cka):
        value = function(x, y)
        assert -1e-9 <= value <= 1 + 1e-9
        torch.testing.assert_close(function(x, moved), value, rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(function(y, moved), torch.ones((), dtype=F64), rtol=1e-6, atol=0)


@given(seed=st.integers(0, 2**31), n=st.integers(4, 12))
@settings(max_examples=30, deadline=None)
def test_all_are_symmetric_and_do_not_depend_on_the_order_of_the_rows(seed, n):
    g = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(n, 3, dtype=F64, generator=g) for _ in range(2))
    order = torch.randperm(n, generator=g)
    for function in FUNCTIONS:
        torch.testing.assert_close(function(y, x), function(x, y))
        torch.testing.assert_close(function(x[order], y[order]), function(x, y))


def test_kernels_and_distances_see_dependence_without_correlation_and_the_linear_functions_do_not():
    x = torch.linspace(-1, 1, 201, dtype=F64)[:, None]
    for linear in (functional.cross_covariance, functional.cka, functional.feature_correlation):
        assert linear(x, x**2) < 1e-12
    for function in (unbiased_hsic, functional.distance_correlation, unbiased_distance_correlation):
        shuffled = (x**2)[torch.randperm(201)]
        assert function(x, x**2) > 2 * function(x, shuffled).abs()


@pytest.mark.parametrize(
    "function",
    [
        functional.orthogonality,
        functional.feature_correlation,
        functional.cross_covariance,
        functional.cka,
        functional.distance_correlation,
        unbiased_distance_correlation,
        lambda x, y: functional.hsic(x, y, bandwidth=(0.7, 2.0)),
        lambda x, y: functional.hsic(x, y, bandwidth=0.7, unbiased=True),
        lambda x, y: functional.central_moment_discrepancy(x, y, width=3.0),
    ],
)
@pytest.mark.parametrize("n", [2, 5])
def test_gradients_are_those_of_the_values(function, n):
    x, y = (t.requires_grad_() for t in draw(3, 3, n=n + 3))
    assert torch.autograd.gradcheck(function, (x, y))


def hard_batches():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(12, 3, generator=generator)
    constant_column, outlier = x.clone(), x.clone()
    constant_column[:, 1] = 0.1
    outlier[5] *= 1e6
    return {
        "duplicate rows": x[:4].repeat(3, 1),
        "mostly one row": torch.cat([x[:1].repeat(10, 1), x[1:3]]),
        "a constant column": constant_column,
        "all rows equal": x[:1].repeat(12, 1),
        "all zero": torch.zeros(12, 3),
        "equal distances": torch.eye(12),
        "an outlier": outlier,
        "two groups": torch.sign(x[:, :1]),
        "far away": x + 1e4,
    }


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("name", hard_batches())
def test_values_and_gradients_are_finite_on_hard_batches(function, name):
    x = hard_batches()[name]
    for y in (torch.randn_like(x), x.clone(), torch.full_like(x, 0.3)):
        for result in (*value_and_gradients(function, x, y), *value_and_gradients(function, y, x)):
            assert result.isfinite().all()


@pytest.mark.parametrize("function", [p for p in FUNCTIONS if p not in (functional.orthogonality, SCALE_FREE[-1])])
def test_a_constant_variable_gives_exactly_nothing(function):
    x = torch.tensor([[0.1, 1e4, -1 / 3]]).repeat(12, 1)
    for result in value_and_gradients(function, x, torch.randn(12, 4)):
        assert (result == 0).all()


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_rows_give_finite_gradients_or_a_clear_error(function, n):
    for x, y in ((torch.randn(n, 3), torch.randn(n, 3)), (torch.ones(n, 3), torch.ones(n, 3))):
        if function in UNBIASED:
            with pytest.raises(TooFewRowsError, match=f"expected at least 4 rows for .*, got {n}: .*, drop_last=True"):
                function(x, y)
        else:
            assert all(result.isfinite().all() for result in value_and_gradients(function, x, y))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs_are_reduced_in_float32(function, dtype):
    x, y = torch.randn(100, 8).to(dtype), torch.randn(100, 8).to(dtype)
    y = y + x  # in half precision too
    exact, *_ = value_and_gradients(function, x.to(F64), y.to(F64))
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast, *_ = value_and_gradients(function, x, y)
    value, *gradients = value_and_gradients(function, x, y)
    assert value.dtype == under_autocast.dtype == torch.float32
    for result in (value, under_autocast):
        torch.testing.assert_close(result.to(F64), exact, rtol=1e-4, atol=1e-6)
    assert all(gradient.isfinite().all() and gradient.dtype == dtype for gradient in gradients)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_autocast_changes_nothing(function):
    x, y = torch.randn(40, 8, requires_grad=True), torch.randn(40, 8)
    outside = function(x, y)
    with torch.autocast("cpu", torch.bfloat16):
        inside = function(x, y)
    assert torch.equal(inside, outside)
    assert torch.equal(*(torch.autograd.grad(value, x)[0] for value in (inside, outside)))


@pytest.mark.parametrize("exponents", [(-66, -66), (66, 66), (-66, 66)])  # 2**66 is 7e19
@pytest.mark.parametrize("function", SCALE_FREE)
def test_values_and_gradients_follow_the_scale_exactly(function, exponents):
    if function is functional.central_moment_discrepancy:
        exponents = exponents[:1] * 2  # it compares the values of x with those of y
    x, y = torch.randn(10, 4), torch.randn(10, 4)
    scales = [2.0**exponent for exponent in exponents]
    value, x_gradient, y_gradient = value_and_gradients(function, x, y)
    large, *gradients = value_and_gradients(function, x * scales[0], y * scales[1])
    torch.testing.assert_close(large, value, rtol=1e-6, atol=0)
    for gradient, expected, scale in zip(gradients, (x_gradient, y_gradient), scales, strict=True):
        torch.testing.assert_close(gradient * scale, expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("function", [functional.orthogonality, functional.cross_covariance])
@pytest.mark.parametrize("scale", [1e-9, 1e8])
def test_functions_with_a_scale_follow_its_fourth_power(function, scale):
    x, y = torch.randn(10, 4, dtype=F64), torch.randn(10, 4, dtype=F64)
    expected = [t * scale**k for t, k in zip(value_and_gradients(function, x, y), (4, 3, 3), strict=True)]
    results = value_and_gradients(function, (x * scale).float(), (y * scale).float())
    for result, exact in zip(results, expected, strict=True):
        torch.testing.assert_close(result, exact.float(), rtol=1e-3, atol=1e-4 * exact.abs().max().item())


@pytest.mark.parametrize("function", [p for p in FUNCTIONS if p is not functional.orthogonality])
def test_an_offset_and_an_outlier_cost_no_more_than_the_rounding_of_the_inputs(function):
    x, y = torch.randn(64, 8), torch.randn(64, 8)
    heavy_x = x.clone()
    heavy_x[7] *= 1e4
    for a, b in ((x + 1e4, y + 1e4), (heavy_x, y)):
        value, *gradients = value_and_gradients(function, a, b)
        exact, *exact_gradients = value_and_gradients(function, a.to(F64), b.to(F64))
        torch.testing.assert_close(value.to(F64), exact, rtol=1e-4, atol=1e-5)
        for gradient, wanted in zip(gradients, exact_gradients, strict=True):
            atol = 1e-3 * wanted.abs().max().item()
            torch.testing.assert_close(gradient.to(F64), wanted, rtol=1e-3, atol=atol)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_value_is_read_back_from_the_device(function):
    with FakeTensorMode():  # tensors without values: to read one raises
        x, y = torch.randn(8, 3, requires_grad=True), torch.randn(8, 3)
        function(x, y).backward()
        assert x.grad is not None
        with pytest.raises(DataDependentOutputException):
            y.sum().item()


@pytest.mark.parametrize("function", [*FUNCTIONS, functional.dhsic])
def test_no_rows_are_refused_in_words(function):
    none = torch.zeros(0, 3)
    with pytest.raises(TooFewRowsError, match=r"^expected at least (1 row|4 rows for .*), got 0$"):
        function(none, none)


def test_numbers_out_of_range_are_refused():
    x = torch.randn(5, 2)
    with pytest.raises(ValueError, match="expected at least 1 moment, got 0"):
        functional.central_moment_discrepancy(x, x, 0)
    with pytest.raises(ValueError, match=re.escape("expected a positive width, got -1.0")):
        functional.central_moment_discrepancy(x, x, width=-1.0)


P_VALUE = [functional.hsic_p_value, lambda x, y: functional.hsic_p_value(x, y, kernel="laplace")]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("function", [*FUNCTIONS, *P_VALUE, functional.dhsic])
def test_what_is_not_finite_is_never_taken_for_independent(function, bad):
    x, y = torch.randn(12, 3), torch.randn(12, 3)
    x[4, 1] = bad
    assert not function(x, y).isfinite()
    assert not function(torch.full_like(x, bad), y).isfinite()
