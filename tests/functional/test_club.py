import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Categorical, Independent, MultivariateNormal, Normal

from disentangle import functional
from disentangle.errors import TooFewRowsError

F64 = torch.float64


def naive_club(mean, scale, y):
    """Eq. 12 by its definition: a loop over pairs of rows."""
    n = len(y)
    log_q = [[Normal(mean[i], scale[i]).log_prob(y[j]).sum() for j in range(n)] for i in range(n)]
    return sum(log_q[i][i] for i in range(n)) / n - sum(map(sum, log_q)) / n**2


def draw(n, d, *, requires_grad=True):
    mean, y = torch.randn(n, d, dtype=F64), torch.randn(n, d, dtype=F64)
    scale = torch.rand(n, d, dtype=F64) + 0.3
    return [t.requires_grad_(requires_grad) for t in (mean, scale, y)]


def example(kind, n, *, constant=False):
    """A q(y|x) of a kind for n rows, and y; a constant q is the same for every x."""
    rows = 1 if constant else n
    location = torch.randn(rows, 3, dtype=F64).expand(n, 3)
    if kind == "gaussian":
        scale = (torch.rand(rows, 3, dtype=F64) + 0.3).expand(n, 3)
        return Independent(Normal(location, scale), 1), torch.randn(n, 3, dtype=F64)
    if kind == "full":
        factor = torch.tensor([[1.0, 0, 0], [0.5, 1, 0], [0.2, -0.3, 2]], dtype=F64)
        return MultivariateNormal(location, scale_tril=factor), torch.randn(n, 3, dtype=F64)
    logits = torch.randn(rows, 2, 4, dtype=F64).expand(n, 2, 4)
    return Independent(Categorical(logits=logits), 1), torch.randint(0, 4, (n, 2)).to(F64)


def by_pairs(q, y):
    """log q(y_j | x_i), one y at a time."""
    return torch.stack([q.log_prob(row.expand_as(y)) for row in y], dim=1)


@pytest.mark.parametrize(("n", "d"), [(2, 1), (5, 3), (9, 4)])
def test_the_closed_form_equals_the_double_sum_in_values_and_gradients(n, d):
    inputs = draw(n, d)
    fast, slow = functional.club_gaussian(*inputs), naive_club(*inputs)
    torch.testing.assert_close(fast, slow, rtol=1e-12, atol=1e-12)
    for a, b in zip(torch.autograd.grad(fast, inputs), torch.autograd.grad(slow, inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_the_closed_form_has_correct_second_derivatives_too():
    assert torch.autograd.gradgradcheck(functional.club_gaussian, draw(4, 2))


def test_pairwise_equals_the_double_sum_for_a_distribution_without_closed_form():
    x, y = torch.randn(6, 3, dtype=F64), torch.randn(6, 3, dtype=F64)
    factor = torch.tensor([[1.0, 0, 0], [0.5, 1, 0], [0.2, -0.3, 2]], dtype=F64)
    q = MultivariateNormal(x, scale_tril=factor)
    log_q = torch.stack([torch.stack([MultivariateNormal(a, scale_tril=factor).log_prob(b) for b in y]) for a in x])
    torch.testing.assert_close(functional.club(q, y), log_q.diag().mean() - log_q.mean())


def test_club_takes_the_closed_form_where_q_is_a_diagonal_gaussian():
    mean, scale, y = draw(7, 2, requires_grad=False)
    q = Independent(Normal(mean, scale), 1)
    torch.testing.assert_close(functional.club(q, y), functional.club_pairwise(q, y))


@given(offset=st.floats(-1e6, 1e6), factor=st.floats(1e-4, 1e4))
@settings(max_examples=50, deadline=None)
def test_club_does_not_depend_on_the_offset_or_the_unit_of_y(offset, factor):
    generator = torch.Generator().manual_seed(1)
    mean, y = (torch.randn(16, 3, dtype=F64, generator=generator) for _ in range(2))
    scale = torch.full((16, 3), 0.7, dtype=F64)
    expected = functional.club_gaussian(mean, scale, y)
    moved = functional.club_gaussian(factor * mean + offset, factor * scale, factor * y + offset)
    torch.testing.assert_close(moved, expected, rtol=1e-6, atol=1e-6 * max(1, abs(offset) / factor * 1e-6))


def test_a_large_common_offset_costs_no_more_than_the_rounding_of_the_inputs():
    mean, y = torch.randn(64, 8), torch.randn(64, 8)
    scale = torch.ones(64, 8)
    moved = mean + 1e4, scale, y + 1e4
    exact = functional.club_gaussian(*(t.to(F64) for t in moved))
    torch.testing.assert_close(functional.club_gaussian(*moved).to(F64), exact, rtol=1e-4, atol=1e-4)


def test_a_q_that_ignores_x_gives_exactly_nothing():
    y = torch.randn(10, 4, dtype=F64)
    value = functional.club_gaussian(y.new_full((10, 4), 0.3), y.new_full((10, 4), 2.0), y)
    assert abs(value) < 1e-14


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_with_the_true_conditional_of_correlated_gaussians_it_is_their_closed_form(rho):
    d, n = 4, 200_000
    x = torch.randn(n, d, dtype=F64)
    y = rho * x + math.sqrt(1 - rho**2) * torch.randn(n, d, dtype=F64)
    value = functional.club_gaussian(rho * x, x.new_full((n, d), math.sqrt(1 - rho**2)), y)
    expected = d * rho**2 / (1 - rho**2)
    mutual_information = -d / 2 * math.log(1 - rho**2)
    assert value == pytest.approx(expected, rel=0.02, abs=0.01)
    assert expected >= mutual_information  # an upper bound, and not a tight one


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs_are_reduced_in_float32(dtype):
    x, y = torch.randn(300, 8).to(dtype), torch.randn(300, 8).to(dtype)
    scale = torch.ones(300, 8, dtype=dtype)
    value = functional.club_gaussian(x, scale, y)
    assert value.dtype == torch.float32
    exact = functional.club_gaussian(x.to(F64), scale.to(F64), y.to(F64))
    torch.testing.assert_close(value.to(F64), exact, rtol=1e-4, atol=1e-5)


def test_a_stack_of_estimators_gives_what_each_of_them_gives():
    inputs = [
        torch.stack(several).detach().requires_grad_() for several in zip(*(draw(5, 3) for _ in range(4)), strict=True)
    ]
    one_by_one = torch.stack([functional.club_gaussian(*single) for single in zip(*inputs, strict=True)])
    together = functional.club_gaussian(*inputs)
    torch.testing.assert_close(together, one_by_one)
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=F64)
    for a, b in zip(
        torch.autograd.grad(together @ weights, inputs), torch.autograd.grad(one_by_one @ weights, inputs), strict=True
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("batched", [(0, 0, 0), (0, None, None), (None, 0, None), (None, None, 0), (0, None, 0)])
def test_the_closed_form_works_under_function_transforms(batched):
    single = draw(4, 2, requires_grad=False)
    inputs = [t if dim is None else torch.stack([t, 2 * t, t + 1]) for t, dim in zip(single, batched, strict=True)]
    gradient = torch.func.grad(functional.club_gaussian, argnums=(0, 1, 2))
    together = torch.vmap(gradient, in_dims=batched)(*inputs)
    for i in range(3):
        one = gradient(*(t if dim is None else t[i] for t, dim in zip(inputs, batched, strict=True)))
        for a, b in zip(together, one, strict=True):
            torch.testing.assert_close(a[i], b)


@pytest.mark.parametrize("kind", ["gaussian", "categorical", "full"])
def test_the_unbiased_form_leaves_the_matched_pairs_out_of_the_second_mean(kind):
    q, y = example(kind, 7)
    log_q = by_pairs(q, y)
    off_diagonal = log_q[~torch.eye(7, dtype=torch.bool)]
    torch.testing.assert_close(functional.club(q, y, unbiased=True), log_q.diag().mean() - off_diagonal.mean())


@pytest.mark.parametrize("kind", ["gaussian", "categorical", "full"])
def test_the_sampled_form_over_all_shifts_is_the_unbiased_form(kind):
    n = 6
    q, y = example(kind, n)
    shifts = torch.stack([functional.club_sampled(q, y, shift) for shift in range(1, n)])
    torch.testing.assert_close(shifts.mean(), functional.club(q, y, unbiased=True))
    assert shifts.std() > 0


def test_one_shift_pairs_each_x_with_the_y_so_many_rows_on():
    q, y = example("gaussian", 5)
    log_q = by_pairs(q, y)
    expected = sum(log_q[i, i] - log_q[i, (i + 2) % 5] for i in range(5)) / 5
    torch.testing.assert_close(functional.club_sampled(q, y, 2), expected)


@pytest.mark.parametrize("shift", [-1, 0, 4, 9])
def test_a_shift_that_matches_rows_again_is_refused(shift):
    q, y = example("gaussian", 4)
    with pytest.raises(ValueError, match=re.escape(f"expected a shift from 1 to 3 for 4 rows, got {shift}")):
        functional.club_sampled(q, y, shift)


def test_categories_are_counted_to_the_double_sum_in_values_and_gradients():
    logits = torch.randn(8, 3, 5, dtype=F64, requires_grad=True)
    y = torch.randint(0, 5, (8, 3)).to(F64)
    fast = functional.club_categorical(logits, y)
    log_p = logits.log_softmax(-1)
    pairs = torch.stack(
        [torch.stack([sum(log_p[i, k, int(c)] for k, c in enumerate(row)) for row in y]) for i in range(8)]
    )
    slow = pairs.diag().mean() - pairs.mean()
    torch.testing.assert_close(fast, slow)
    torch.testing.assert_close(*(torch.autograd.grad(value, logits)[0] for value in (fast, slow)))
    assert torch.autograd.gradgradcheck(lambda t: functional.club_categorical(t.sin(), y), logits)


def test_a_class_that_is_impossible_and_does_not_occur_changes_nothing():
    logits = torch.randn(6, 1, 3, dtype=F64)
    y = torch.tensor([[0.0], [1.0], [1.0], [0.0], [1.0], [0.0]], dtype=F64)
    with_a_fourth = torch.cat([logits, torch.full((6, 1, 1), -math.inf, dtype=F64)], 2).requires_grad_()
    value = functional.club_categorical(with_a_fourth, y)
    torch.testing.assert_close(value, functional.club_categorical(logits, y))
    assert torch.autograd.grad(value, with_a_fourth)[0].isfinite().all()


@pytest.mark.parametrize("kind", ["gaussian", "categorical", "full"])
def test_a_q_that_ignores_x_gives_nothing_whatever_its_form(kind):
    q, y = example(kind, 7, constant=True)
    for value in (functional.club(q, y), functional.club(q, y, unbiased=True)):
        assert abs(value) < 1e-14
    assert abs(sum(functional.club_sampled(q, y, shift) for shift in range(1, 7))) < 1e-12


def test_the_unbiased_form_of_one_row_is_refused():
    q, y = example("gaussian", 1)
    with pytest.raises(
        TooFewRowsError, match=re.escape("expected at least 2 rows, of which there are unmatched pairs, got 1")
    ):
        functional.club(q, y, unbiased=True)
