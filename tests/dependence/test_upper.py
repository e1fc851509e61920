import math

import pytest
import torch
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from disentangle import Masked, functional
from disentangle.conditionals import (
    CategoricalConditional,
    Conditional,
    GaussianConditional,
    MaskedConditional,
    MixtureConditional,
)
from disentangle.dependence import (
    CLUBEstimator,
    LeaveOneOutEstimator,
    SampledCLUBEstimator,
    VariationalUpperBound,
)

F64 = torch.float64


class Channel(Conditional):
    """The true conditional of y = rho x + noise."""

    def __init__(self, rho):
        super().__init__()
        self.rho = nn.Parameter(torch.tensor(rho, dtype=F64))

    def forward(self, x):
        return Independent(Normal(self.rho * x, (1 - self.rho**2).sqrt().expand_as(x)), 1)


class Blind(Conditional):
    """A conditional that does not see x."""

    def __init__(self, d):
        super().__init__()
        self.mean = nn.Parameter(torch.randn(d, dtype=F64))

    def forward(self, x):
        return Independent(
            Normal(self.mean.expand(len(x), -1), torch.full((len(x), len(self.mean)), 0.7, dtype=F64)), 1
        )


def correlated(n, d, rho):
    x = torch.randn(n, d, dtype=F64)
    return x, rho * x + math.sqrt(1 - rho**2) * torch.randn(n, d, dtype=F64)


def by_pairs(q, y):
    """log q(y_j | x_i), one y at a time."""
    return torch.stack([q.log_prob(row.expand_as(y)) for row in y], dim=1)


@pytest.mark.parametrize("unbiased", [False, True])
def test_club_is_the_double_sum_over_its_own_conditional(unbiased):
    club = CLUBEstimator(3, 2, unbiased=unbiased).double()
    x, y = torch.randn(6, 3, dtype=F64), torch.randn(6, 2, dtype=F64)
    pairs = by_pairs(club.conditional(x), y)
    negatives = pairs[~torch.eye(6, dtype=torch.bool)] if unbiased else pairs
    torch.testing.assert_close(club(x, y), pairs.diag().mean() - negatives.mean())


def test_club_with_classes_is_the_double_sum_over_their_probabilities():
    club = CLUBEstimator(3, 1, conditional=CategoricalConditional(3, 4))
    x, y = torch.randn(6, 3), torch.randint(0, 4, (6, 1))
    log_p = club.conditional.network(x).log_softmax(1)  # (i, class)
    pairs = log_p[:, y[:, 0]]
    torch.testing.assert_close(club(x, y), pairs.diag().mean() - pairs.mean())
    torch.testing.assert_close(club(x, y.float()), club(x, y))


def test_club_takes_a_masked_sequence_where_its_conditional_does():
    club = CLUBEstimator(3, 2, conditional=MaskedConditional(GaussianConditional(3, 2)))
    sequence = Masked(torch.randn(5, 7, 3), torch.rand(5, 7) > 0.4)
    y = torch.randn(5, 2)
    torch.testing.assert_close(club(sequence, y), functional.club(club.conditional.conditional(sequence.mean()), y))


def test_club_with_the_published_mean_only_form_is_a_difference_of_squares():
    club = CLUBEstimator(3, 2, log_variance="zero").double()
    x, y = torch.randn(6, 3, dtype=F64), torch.randn(6, 2, dtype=F64)
    mean = club.conditional.network(x)
    squares = 0.5 * (y[None] - mean[:, None]).square().sum(2)
    torch.testing.assert_close(club(x, y), squares.mean() - squares.diag().mean())


def test_sampled_club_takes_one_of_the_rolls_and_draws_anew():
    sampled = SampledCLUBEstimator(3, 2).double()
    x, y = torch.randn(6, 3, dtype=F64), torch.randn(6, 2, dtype=F64)
    q = sampled.conditional(x)
    rolls = torch.stack([q.log_prob(y).mean() - q.log_prob(y.roll(-shift, 0)).mean() for shift in range(1, 6)])
    values = torch.stack([sampled(x, y) for _ in range(100)])
    nearest = (values[:, None] - rolls).abs().min(1)
    assert nearest.values.max() < 1e-12
    assert set(nearest.indices.tolist()) == set(range(5))  # every shift, in a hundred draws


def test_sampled_club_is_reproducible_by_the_seed():
    sampled = SampledCLUBEstimator(3, 2)
    x, y = torch.randn(50, 3), torch.randn(50, 2)
    values = []
    for _ in range(2):
        torch.manual_seed(3)
        values.append(sampled(x, y))
    assert torch.equal(*values)


def test_sampled_club_is_unbiased_for_a_conditional_without_closed_form():
    conditional = MixtureConditional(2, 2).double()
    sampled = SampledCLUBEstimator(2, 2, conditional=conditional)
    exact = CLUBEstimator(2, 2, conditional=conditional, unbiased=True)
    x, y = torch.randn(5, 2, dtype=F64), torch.randn(5, 2, dtype=F64)
    values = torch.stack([sampled(x, y).detach() for _ in range(400)])
    assert abs(values.mean() - exact(x, y)) < 4 * values.std() / 20


def test_leave_one_out_is_the_mixture_of_the_others_over_its_own_conditional():
    estimator = LeaveOneOutEstimator(3, 2).double()
    x, y = torch.randn(6, 3, dtype=F64), torch.randn(6, 2, dtype=F64)
    pairs = by_pairs(estimator.conditional(x), y).exp()
    total = sum((pairs[i, i] / (sum(pairs[j, i] for j in range(6) if j != i) / 5)).log() for i in range(6))
    torch.testing.assert_close(estimator(x, y), total / 6)
    club = CLUBEstimator(3, 2, conditional=estimator.conditional, unbiased=True)
    assert estimator(x, y) < club(x, y)


@pytest.mark.parametrize("make", [CLUBEstimator, SampledCLUBEstimator, LeaveOneOutEstimator])
def test_a_conditional_that_does_not_see_x_gives_nothing(make):
    estimator = make(3, 2, conditional=Blind(2))
    x, y = torch.randn(9, 3, dtype=F64), torch.randn(9, 2, dtype=F64)
    assert abs(estimator(x, y)) < 1e-12
    gradients = torch.autograd.grad(estimator(x, y), list(estimator.parameters()))
    assert all(gradient.abs().max() < 1e-12 for gradient in gradients)


def test_the_variational_bound_is_the_divergence_from_a_standard_normal():
    estimator = VariationalUpperBound(3, 2).double()
    x, y = torch.randn(6, 3, dtype=F64), torch.randn(6, 2, dtype=F64)
    q = estimator.conditional(x).base_dist
    full = MultivariateNormal(q.loc, torch.diag_embed(q.scale**2))
    expected = kl_divergence(full, MultivariateNormal(torch.zeros(2, dtype=F64), torch.eye(2, dtype=F64))).mean()
    torch.testing.assert_close(estimator(x, y), expected)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("make", [CLUBEstimator, SampledCLUBEstimator, LeaveOneOutEstimator, VariationalUpperBound])
def test_with_the_true_conditional_upper_bounds_are_not_below_the_truth(make, rho):
    d, n, batches = 2, 128, 50
    truth = -d / 2 * math.log(1 - rho**2)
    estimator = make(d, d, conditional=Channel(rho))
    values = torch.stack([estimator(*correlated(n, d, rho)).detach() for _ in range(batches)])
    mean, error = values.mean(), values.std() / math.sqrt(batches)
    assert mean > truth - 2 * error - 1e-9
    assert estimator.bound.side == "upper"


def fitted(estimator, x, y, steps=300, rate=1e-2):
    optimizer = torch.optim.Adam(estimator.parameters(), rate)
    for _ in range(steps):
        optimizer.zero_grad()
        estimator.learning_loss(x, y).backward()
        optimizer.step()
    return estimator(x, y).item()


@pytest.mark.parametrize("make", [CLUBEstimator, SampledCLUBEstimator, LeaveOneOutEstimator])
def test_fitted_to_dependent_gaussians_they_rise_and_to_independent_ones_they_stay_near_zero(make):
    rho, n = 0.9, 500
    x = torch.randn(n, 1)
    dependent, independent = (
        fitted(make(1, 1), x, y) for y in (rho * x + (1 - rho**2) ** 0.5 * torch.randn(n, 1), torch.randn(n, 1))
    )
    truth = -0.5 * math.log(1 - rho**2)
    assert 0.9 * truth < dependent < 2 * rho**2 / (1 - rho**2)
    assert abs(independent) < 0.1


@pytest.mark.slow
def test_the_free_log_variance_does_not_depend_on_the_unit_of_y_and_the_published_one_does():
    x = torch.randn(1000, 1)
    y = 0.8 * x + 0.6 * torch.randn(1000, 1)

    def at(log_variance, unit):
        torch.manual_seed(0)
        return fitted(CLUBEstimator(1, 1, log_variance=log_variance), x, unit * y, 600, 2e-2)

    closed_form = 0.8**2 / 0.6**2
    for unit in (1.0, 20.0):
        assert closed_form / 2 < at("free", unit) < 2 * closed_form
    assert at("tanh", 20.0) > 20 * closed_form
