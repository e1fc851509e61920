import inspect
import math
import re

import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Independent

from disentangle import CLUBEstimator, Conditional, GaussianConditional, Masked, functional

F64 = torch.float64


def test_the_estimate_is_that_of_the_double_sum_over_its_own_conditional():
    club = CLUBEstimator(3, 2).double()
    x, y = torch.randn(6, 3, dtype=F64), torch.randn(6, 2, dtype=F64)
    torch.testing.assert_close(club(x, y), functional.club_pairwise(club.conditional(x), y))


@pytest.mark.parametrize("log_variance", ["free", "tanh"])
def test_the_conditional_is_a_two_layer_network_by_hand(log_variance):
    q = GaussianConditional(3, 2, hidden_dim=5, log_variance=log_variance).double()
    x, y = torch.randn(4, 3, dtype=F64), torch.randn(4, 2, dtype=F64)
    first, _, second = q.network
    hidden = (x @ first.weight.T + first.bias).clamp(min=0)
    out = hidden @ second.weight.T + second.bias
    mean, log_var = out[:, :2], out[:, 2:]
    if log_variance == "tanh":
        log_var = torch.tanh(log_var)
    expected = -0.5 * ((y - mean) ** 2 / log_var.exp() + log_var + torch.log(torch.tensor(2 * torch.pi))).sum(1)
    torch.testing.assert_close(q(x).log_prob(y), expected)


def test_the_learning_loss_is_the_negative_log_likelihood():
    club = CLUBEstimator(3, 2).double()
    x, y = torch.randn(6, 3, dtype=F64), torch.randn(6, 2, dtype=F64)
    torch.testing.assert_close(club.learning_loss(x, y), -club.conditional(x).log_prob(y).mean())


def test_estimator_parameters_and_inputs_have_correct_gradients():
    club = CLUBEstimator(2, 2, hidden_dim=3).double()
    x, y = (torch.randn(5, 2, dtype=F64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(club, (x, y))
    assert torch.autograd.gradcheck(club.learning_loss, (x, y))


def test_every_call_gives_the_fresh_value():
    club = CLUBEstimator(3, 3)
    x, y = torch.randn(8, 3), torch.randn(8, 3)
    with torch.no_grad():
        first = club(x, y)
    again = club(x, y)
    assert torch.equal(first, again)
    assert again.requires_grad
    with torch.no_grad():
        club.conditional.network[2].weight.mul_(2)
    assert not torch.equal(club(x, y), first)


def test_fitted_to_dependent_gaussians_it_rises_and_to_independent_ones_it_stays_near_zero():
    rho, n = 0.9, 2000
    x = torch.randn(n, 1)
    values = []
    for y in (rho * x + (1 - rho**2) ** 0.5 * torch.randn(n, 1), torch.randn(n, 1)):
        club = CLUBEstimator(1, 1)
        optimizer = torch.optim.Adam(club.parameters(), 1e-2)
        for _ in range(300):
            optimizer.zero_grad()
            club.learning_loss(x, y).backward()
            optimizer.step()
        values.append(club(x, y).item())
    truth = -0.5 * math.log(1 - rho**2)
    closed_form = rho**2 / (1 - rho**2)
    assert truth < values[0] < 2 * closed_form
    assert abs(values[1]) < 0.05


def test_the_free_log_variance_does_not_depend_on_the_unit_of_y_and_the_published_one_does():
    x = torch.randn(2000, 1)
    y = 0.8 * x + 0.6 * torch.randn(2000, 1)

    def fitted(log_variance, unit):
        torch.manual_seed(0)
        club = CLUBEstimator(1, 1, log_variance=log_variance)
        optimizer = torch.optim.Adam(club.parameters(), 1e-2)
        for _ in range(1500):
            optimizer.zero_grad()
            club.learning_loss(x, unit * y).backward()
            optimizer.step()
        return club(x, unit * y).item()

    closed_form = 0.8**2 / 0.6**2
    for unit in (1.0, 20.0):
        assert closed_form / 2 < fitted("free", unit) < 2 * closed_form
    assert fitted("tanh", 20.0) > 20 * closed_form


class Categories(Conditional):
    """A conditional of another kind: y is one category, as a column of numbers."""

    def __init__(self):
        super().__init__()
        self.logits = nn.Linear(3, 4)

    def forward(self, x):
        return Independent(Categorical(logits=self.logits(x)[:, None]), 1)


def test_another_conditional_takes_the_place_of_the_gaussian():
    club = CLUBEstimator(3, 1, conditional=Categories())
    x, y = torch.randn(6, 3), torch.randint(0, 4, (6, 1)).float()
    log_q = club.conditional.logits(x).log_softmax(1)  # (i, category)
    pairs = log_q[:, y[:, 0].long()]
    torch.testing.assert_close(club(x, y), pairs.diag().mean() - pairs.mean())


class MeanOf(Conditional):
    """A conditional on a masked sequence."""

    def __init__(self):
        super().__init__()
        self.q = GaussianConditional(3, 2)

    def forward(self, x):
        return self.q(x.mean())


def test_a_conditional_may_take_a_masked_sequence():
    club = CLUBEstimator(3, 2, conditional=MeanOf())
    sequence = Masked(torch.randn(5, 7, 3), torch.rand(5, 7) > 0.4)
    y = torch.randn(5, 2)
    torch.testing.assert_close(club(sequence, y), functional.club(club.conditional.q(sequence.mean()), y))


def test_autocast_computes_in_bfloat16_and_reduces_in_float32():
    club = CLUBEstimator(8, 6)
    x, y = torch.randn(32, 8), torch.randn(32, 6)
    with torch.autocast("cpu", torch.bfloat16):
        low, low_loss = club(x, y), club.learning_loss(x, y)
    assert low.dtype == low_loss.dtype == torch.float32
    torch.testing.assert_close(low, club(x, y), rtol=0.05, atol=0.05)
    torch.testing.assert_close(low_loss, club.learning_loss(x, y), rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ((4, 2), (4, 2), "expected x of shape (N, 3) and y of shape (N, 2) with the same N, got (4, 2) and (4, 2)"),
        ((4, 3), (4, 3), "expected x of shape (N, 3) and y of shape (N, 2) with the same N, got (4, 3) and (4, 3)"),
        ((4, 3), (5, 2), "expected x of shape (N, 3) and y of shape (N, 2) with the same N, got (4, 3) and (5, 2)"),
        ((1, 3), (1, 2), "CLUB contrasts matched with unmatched rows and needs at least 2 of them, got 1"),
    ],
)
def test_wrong_shapes_are_named_with_the_wanted_and_the_given(x, y, message):
    club = CLUBEstimator(3, 2)
    for call in (club, club.learning_loss):
        with pytest.raises(ValueError, match=re.escape(message)):
            call(torch.randn(x), torch.randn(y))


def test_an_unknown_form_of_the_log_variance_is_refused():
    unchecked = inspect.unwrap(GaussianConditional.__init__)  # the tests' own type check would come first
    with pytest.raises(ValueError, match="log_variance is 'free' or 'tanh', got 'sigmoid'"):
        unchecked(GaussianConditional.__new__(GaussianConditional), 3, 2, log_variance="sigmoid")


@pytest.mark.cuda
def test_club_agrees_with_the_cpu_on_cuda(cuda):
    x, y = torch.randn(64, 8), torch.randn(64, 8)
    club = CLUBEstimator(8, 8)
    here = club(x, y)
    torch.testing.assert_close(club.to(cuda)(x.to(cuda), y.to(cuda)).cpu(), here, rtol=1e-4, atol=1e-5)
