import math
import re

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch.distributions import (
    Categorical,
    Independent,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from disentangle import functional
from disentangle.errors import TooFewRowsError

F64 = torch.float64
ON_SCORES = {
    "infonce": functional.infonce,
    "nwj": functional.nwj,
    "donsker_varadhan": functional.donsker_varadhan,
    "smile": lambda scores: functional.smile(scores, 2.0),
}


@pytest.mark.parametrize("bound", [*ON_SCORES.values(), functional.jensen_shannon, functional.leave_one_out])
@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4,)])
def test_scores_of_other_rows_than_the_batch_are_refused(bound, shape, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the tests' own check of shapes would come first
    with pytest.raises(ValueError, match=r"expected scores \(N, N\), of each x with each y of the batch, got \("):
        bound(torch.zeros(shape))


def gaussians(n, d):
    q = Independent(Normal(torch.randn(n, d, dtype=F64), torch.rand(n, d, dtype=F64) + 0.3), 1)
    return q, torch.randn(n, d, dtype=F64)


def off_diagonal(scores):
    """What stands beside the diagonal, one by one."""
    return [scores[i, j] for i in range(len(scores)) for j in range(len(scores)) if i != j]


def naive_leave_one_out(q, y):
    """The definition: a loop over rows."""
    n, total = len(y), 0.0
    for i in range(n):
        likelihoods = q.log_prob(y[i].expand_as(y)).exp()  # of y_i under each x_j
        total += math.log(likelihoods[i]) - math.log(sum(likelihoods[j] for j in range(n) if j != i) / (n - 1))
    return total / n


@pytest.mark.parametrize(("n", "d"), [(2, 1), (7, 3)])
def test_leave_one_out_equals_a_loop_over_rows_and_differs_from_club(n, d):
    q, y = gaussians(n, d)
    value = functional.leave_one_out(functional.log_likelihoods(q, y))
    assert value.item() == pytest.approx(naive_leave_one_out(q, y))
    assert abs(value - functional.club(q, y, unbiased=True)) > 1e-3 or n == 2  # with one other row they are the same


def test_leave_one_out_is_below_the_unbiased_club_whatever_q_is():
    for _ in range(20):  # the logarithm of a mean is above the mean of logarithms
        q, y = gaussians(6, 2)
        leave_one_out = functional.leave_one_out(functional.log_likelihoods(q, y))
        assert leave_one_out <= functional.club(q, y, unbiased=True) + 1e-12


def test_leave_one_out_has_correct_gradients():
    log_q = torch.randn(5, 5, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(functional.leave_one_out, log_q)
    assert torch.autograd.gradgradcheck(functional.leave_one_out, log_q)


@pytest.mark.parametrize("n", [2, 3, 50])
def test_leave_one_out_of_a_q_that_ignores_x_is_nothing(n):
    log_q = torch.randn(n, dtype=F64).expand(n, n)  # every row, that is every x, gives the same
    assert abs(functional.leave_one_out(log_q)) < 1e-14


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_with_the_true_conditional_the_upper_bounds_are_above_the_truth_and_leave_one_out_is_close(rho):
    n, d, batches = 256, 2, 40
    truth, values = -d / 2 * math.log(1 - rho**2), []
    for _ in range(batches):
        x = torch.randn(n, d, dtype=F64)
        y = rho * x + math.sqrt(1 - rho**2) * torch.randn(n, d, dtype=F64)
        q = Independent(Normal(rho * x, torch.full_like(x, math.sqrt(1 - rho**2))), 1)
        values.append(functional.leave_one_out(functional.log_likelihoods(q, y)))
    mean, error = torch.stack(values).mean(), torch.stack(values).std() / math.sqrt(batches)
    assert mean > truth - 2 * error
    assert mean < truth + 0.15


@pytest.mark.parametrize("kind", ["diagonal", "full", "low rank"])
def test_the_variational_bound_is_the_divergence_of_whole_vectors(kind):
    n, d = 5, 3
    mean, scale = torch.randn(n, d, dtype=F64), torch.rand(n, d, dtype=F64) + 0.3
    factor = torch.diag_embed(scale) + torch.randn(n, d, d, dtype=F64).tril(-1)
    columns = torch.randn(n, d, 1, dtype=F64)
    q, full = {
        "diagonal": (Independent(Normal(mean, scale), 1), MultivariateNormal(mean, torch.diag_embed(scale**2))),
        "full": (MultivariateNormal(mean, scale_tril=factor), MultivariateNormal(mean, scale_tril=factor)),
        "low rank": (
            LowRankMultivariateNormal(mean, columns, scale),
            MultivariateNormal(mean, columns @ columns.mT + torch.diag_embed(scale)),
        ),
    }[kind]
    standard = MultivariateNormal(torch.zeros(d, dtype=F64), torch.eye(d, dtype=F64))
    torch.testing.assert_close(functional.variational_upper_bound(q), kl_divergence(full, standard).mean())


def test_the_variational_bound_is_the_mean_log_ratio_of_samples_and_above_the_information():
    n, d = 200_000, 3
    x = torch.randn(n, d, dtype=F64)
    q = Independent(Normal(0.8 * x, torch.full_like(x, 0.5)), 1)
    y = q.sample()
    log_ratio = q.log_prob(y) - Normal(0.0, 1.0).log_prob(y).sum(1)
    value = functional.variational_upper_bound(q)
    assert value.item() == pytest.approx(log_ratio.mean().item(), abs=4 * (log_ratio.std() / math.sqrt(n)).item())
    assert value > d / 2 * math.log(1 + 0.8**2 / 0.5**2)  # I(x;y) of y = 0.8 x + 0.5 noise


def test_the_variational_bound_refuses_what_has_no_closed_form():
    message = "expected a Gaussian, whose divergence has a closed form, got Independent"
    with pytest.raises(ValueError, match=re.escape(message)):
        functional.variational_upper_bound(Independent(Categorical(logits=torch.zeros(3, 2, 4)), 1))


@pytest.mark.parametrize("n", [2, 5])
def test_bounds_on_scores_equal_their_definitions(n):
    t = torch.randn(n, n, dtype=F64)
    others = off_diagonal(t)
    matched = sum(t[i, i] for i in range(n)) / n
    nce = sum(math.log(math.exp(t[i, i]) / sum(math.exp(t[i, j]) for j in range(n))) for i in range(n)) / n
    mean_exp = sum(math.exp(s) for s in others) / len(others)
    clipped = sum(math.exp(min(max(s, -0.5), 0.5)) for s in others) / len(others)
    for value, expected in [
        (functional.infonce(t), math.log(n) + nce),
        (functional.nwj(t), matched - mean_exp / math.e),
        (functional.donsker_varadhan(t), matched - math.log(mean_exp)),
        (functional.smile(t, 0.5), matched - math.log(clipped)),
    ]:
        assert value.item() == pytest.approx(float(expected))


@pytest.mark.parametrize("name", list(ON_SCORES))
def test_bounds_on_scores_have_correct_gradients(name):
    scores = torch.randn(4, 4, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(ON_SCORES[name], scores)
    assert torch.autograd.gradgradcheck(ON_SCORES[name], scores)


@given(hnp.arrays("float32", (6, 6), elements=st.floats(-1e4, 1e4, width=32)))
@settings(max_examples=100, deadline=None)
def test_infonce_never_exceeds_the_logarithm_of_the_batch(scores):
    assert functional.infonce(torch.from_numpy(scores)) <= math.log(6) + 1e-6


@given(hnp.arrays("float64", (5, 5), elements=st.floats(-20, 20)), st.floats(-20, 20))
@settings(max_examples=50, deadline=None)
def test_nwj_is_below_donsker_varadhan_which_no_constant_changes(scores, constant):
    scores = torch.from_numpy(scores)
    value = functional.donsker_varadhan(scores)
    assert functional.nwj(scores) <= value + 1e-9 * (1 + value.abs())  # exp(u - 1) >= u
    torch.testing.assert_close(functional.donsker_varadhan(scores + constant), value, rtol=1e-9, atol=1e-9)


def test_smile_with_a_wide_clip_is_donsker_varadhan():
    scores = torch.randn(6, 6, dtype=F64)
    torch.testing.assert_close(functional.smile(scores, 50.0), functional.donsker_varadhan(scores))


@pytest.mark.parametrize("size", [1e2, 1e4, 1e8])
@pytest.mark.parametrize("name", [*ON_SCORES, "leave_one_out"])
def test_large_scores_have_finite_values_and_gradients(name, size):
    function = {**ON_SCORES, "leave_one_out": functional.leave_one_out}[name]
    scores = (size * torch.randn(8, 8)).requires_grad_()
    value = function(scores)
    gradient = torch.autograd.grad(value, scores)[0]
    assert value.isfinite()
    assert gradient.isfinite().all()
    assert gradient.square().isfinite().all()


def test_nwj_falls_on_as_a_straight_line_where_its_exponential_would_overflow():
    def at(height):
        scores = torch.full((4, 4), height, requires_grad=True)
        value = functional.nwj(scores)
        return value.item(), torch.autograd.grad(value, scores)[0].sum().item()

    (first, slope), (second, same_slope) = at(100.0), at(200.0)
    assert slope == pytest.approx(same_slope)
    assert second - first == pytest.approx(100 * slope, rel=1e-3)


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.9])
def test_with_the_best_critic_lower_bounds_reach_the_truth_from_below(rho):
    n, d, batches = 256, 1, 60
    truth = -d / 2 * math.log(1 - rho**2)
    values = {name: [] for name in ("infonce", "nwj")}
    for _ in range(batches):
        x = torch.randn(n, d, dtype=F64)
        y = rho * x + math.sqrt(1 - rho**2) * torch.randn(n, d, dtype=F64)
        q = Independent(Normal(rho * x, torch.full_like(x, math.sqrt(1 - rho**2))), 1)
        ratio = functional.log_likelihoods(q, y) - Normal(0.0, 1.0).log_prob(y).sum(1)  # log p(y|x) / p(y)
        values["infonce"].append(functional.infonce(ratio))
        values["nwj"].append(functional.nwj(ratio + 1))
    for found in values.values():
        mean, error = torch.stack(found).mean(), torch.stack(found).std() / math.sqrt(batches)
        assert mean < truth + 2 * error + 1e-9
        assert mean > truth - 2 * error - 0.05


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", [*ON_SCORES, "leave_one_out"])
def test_half_precision_scores_are_reduced_in_float32(name, dtype):
    function = {**ON_SCORES, "leave_one_out": functional.leave_one_out}[name]
    scores = torch.randn(100, 100).to(dtype)
    value = function(scores)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.to(F64), function(scores.to(F64)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["nwj", "donsker_varadhan", "smile", "leave_one_out", "jensen_shannon"])
def test_one_row_has_no_unmatched_pairs(name):
    function = {**ON_SCORES, "leave_one_out": functional.leave_one_out, "jensen_shannon": functional.jensen_shannon}[
        name
    ]
    message = "expected at least 2 rows, of which there are unmatched pairs, got 1"
    with pytest.raises(TooFewRowsError, match=re.escape(message)):
        function(torch.zeros(1, 1))


def test_no_scores_are_refused_in_words():
    with pytest.raises(TooFewRowsError, match=r"^expected at least 1 row, got 0$"):
        functional.infonce(torch.zeros(0, 0))


def test_the_jensen_shannon_objective_is_greatest_at_the_log_ratio_of_densities():
    x = torch.randn(2000, 1, dtype=F64)
    y = 0.8 * x + 0.6 * torch.randn(2000, 1, dtype=F64)
    ratio = Normal(0.8 * x, 0.6).log_prob(y.T) - Normal(0.0, 1.0).log_prob(y.T)
    best = functional.jensen_shannon(ratio)
    for other in (0.5 * ratio, 1.5 * ratio, ratio + 0.5, ratio - 0.5):
        assert functional.jensen_shannon(other) < best
