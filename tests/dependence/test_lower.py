import math
import re

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from disentangle import Masked, functional
from disentangle.conditionals import (
    CategoricalConditional,
    Conditional,
    GaussianConditional,
    MaskedConditional,
    MixtureConditional,
)
from disentangle.critics import Critic, SeparableCritic
from disentangle.dependence import (
    BarberAgakovEstimator,
    DifferenceOfEntropiesEstimator,
    InfoNCEEstimator,
    MINEEstimator,
    NWJEstimator,
    SMILEEstimator,
)

F64 = torch.float64
STANDARD_NORMAL = 0.5 * math.log(2 * math.pi * math.e)  # its entropy, a dimension


class Ratio(Critic):
    """The log-ratio of the densities of correlated Gaussians, plus a constant: the best critic there is."""

    def __init__(self, rho, constant=0.0):
        super().__init__()
        self.rho, self.constant = rho, constant

    def forward(self, x, y):
        conditional = Normal(self.rho * x[:, None], math.sqrt(1 - self.rho**2))
        return (conditional.log_prob(y) - Normal(0.0, 1.0).log_prob(y)).sum(2) + self.constant


class Table(Critic):
    """Scores that are parameters, whatever x and y are."""

    def __init__(self, n):
        super().__init__()
        self.scores = nn.Parameter(torch.randn(n, n, dtype=F64))

    def forward(self, x, y):
        return 1 * self.scores


class Channel(Conditional):
    """The true conditional of correlated Gaussians."""

    def __init__(self, rho):
        super().__init__()
        self.rho = rho

    def forward(self, x):
        return Independent(Normal(self.rho * x, math.sqrt(1 - self.rho**2) * torch.ones_like(x)), 1)


def correlated(n, d, rho):
    x = torch.randn(n, d, dtype=F64)
    return x, rho * x + math.sqrt(1 - rho**2) * torch.randn(n, d, dtype=F64)


def information(d, rho):
    return -d / 2 * math.log(1 - rho**2)


@pytest.mark.parametrize(
    ("make", "formula"),
    [
        (InfoNCEEstimator, functional.infonce),
        (NWJEstimator, functional.nwj),
        (MINEEstimator, functional.donsker_varadhan),
        (lambda *sizes: SMILEEstimator(*sizes, clip=0.1), lambda scores: functional.smile(scores, 0.1)),
    ],
)
def test_the_estimate_is_that_of_the_scores_of_its_own_critic(make, formula):
    estimator = make(3, 2)
    x, y = torch.randn(6, 3), torch.randn(6, 2)
    torch.testing.assert_close(estimator(x, y), formula(estimator.critic(x, y)))


@pytest.mark.parametrize("make", [InfoNCEEstimator, NWJEstimator, MINEEstimator, SMILEEstimator])
def test_another_critic_takes_the_place_of_the_joint_one(make):
    estimator = make(3, 2, critic=SeparableCritic(3, 2))
    x, y = torch.randn(6, 3), torch.randn(6, 2)
    torch.testing.assert_close(estimator(x, y), make(3, 2, critic=estimator.critic)(x, y))
    assert isinstance(estimator.critic, SeparableCritic)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("make", [InfoNCEEstimator, NWJEstimator])
@pytest.mark.parametrize("error_of_critic", [0.0, 0.3])
def test_lower_bounds_are_below_the_truth_for_good_and_for_poor_critics(make, rho, error_of_critic):
    d, batches = 2, 50
    critic = Ratio(max(rho - error_of_critic, 0.0), 1.0 if make is NWJEstimator else 0.0)
    estimator = make(d, d, critic=critic)
    values = torch.stack([estimator(*correlated(128, d, rho)) for _ in range(batches)])
    mean, error = values.mean(), values.std() / math.sqrt(batches)
    assert estimator.bound.side == "lower"
    assert mean <= information(d, rho) + 2 * error + 1e-9
    if not error_of_critic:
        assert mean > information(d, rho) - 2 * error - 0.1


def test_infonce_stays_below_its_ceiling_where_there_is_more_information():
    x = torch.randn(16, 4, dtype=F64)
    estimator = InfoNCEEstimator(4, 4, critic=Ratio(0.9999))
    assert information(4, 0.9999) > 10
    assert estimator(*correlated(16, 4, 0.9999)) <= math.log(16)
    assert estimator(x, x) == pytest.approx(math.log(16), rel=1e-3)


def test_the_gradient_of_mine_divides_by_the_moving_average():
    n, rate = 5, 0.25
    estimator = MINEEstimator(1, 1, critic=Table(n), rate=rate).double()
    scores = estimator.critic.scores
    x = torch.randn(n, 1, dtype=F64)
    average = None
    for _ in range(4):
        exp = scores.detach().exp().fill_diagonal_(0)
        batch = exp.sum() / (n * (n - 1))
        average = batch if average is None else (1 - rate) * average + rate * batch
        expected = exp / (n * (n - 1)) / average - torch.eye(n, dtype=F64) / n
        loss = estimator.learning_loss(x, x)
        torch.testing.assert_close(torch.autograd.grad(loss, scores)[0], expected)
        torch.testing.assert_close(loss, -estimator(x, x))
        torch.testing.assert_close(estimator.log_average.exp(), average)
        with torch.no_grad():
            scores.normal_()


def test_the_moving_average_stays_in_eval_mode_and_passes_over_what_is_not_finite():
    estimator = MINEEstimator(1, 1, critic=Table(3))
    x = torch.randn(3, 1, dtype=F64)
    estimator.eval()
    estimator.learning_loss(x, x)
    assert estimator.log_average == -math.inf
    estimator.train()
    estimator.learning_loss(x, x)
    before = estimator.log_average.clone()
    with torch.no_grad():
        estimator.critic.scores.fill_(math.nan)
    estimator.learning_loss(x, x)
    assert torch.equal(estimator.log_average, before)


def test_the_moving_average_is_saved_and_restored():
    estimator, other = MINEEstimator(2, 2), MINEEstimator(2, 2)
    x, y = torch.randn(8, 2), torch.randn(8, 2)
    estimator.learning_loss(x, y)
    other.load_state_dict(estimator.state_dict())
    assert torch.equal(other.log_average, estimator.log_average)


def test_scores_far_from_the_average_leave_the_gradient_of_mine_bounded():
    estimator = MINEEstimator(1, 1, critic=Table(4), rate=0.01)
    x = torch.randn(4, 1, dtype=F64)
    estimator.learning_loss(x, x)
    with torch.no_grad():
        estimator.critic.scores.add_(500.0)
    gradient = torch.autograd.grad(estimator.learning_loss(x, x), estimator.critic.scores)[0]
    assert gradient.abs().sum() <= 1 / 0.01 + 2  # the batch is a hundredth of the average, at least


def test_smile_learns_the_log_ratio_of_densities_and_not_its_own_value():
    n = 6
    estimator = SMILEEstimator(1, 1, critic=Table(n))
    x = torch.randn(n, 1, dtype=F64)
    t = estimator.critic.scores.detach()
    matched = sum(math.log(1 / (1 + math.exp(-t[i, i]))) for i in range(n)) / n
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    unmatched = sum(math.log(1 - 1 / (1 + math.exp(-t[i, j]))) for i, j in pairs) / len(pairs)
    assert estimator.learning_loss(x, x).item() == pytest.approx(-(matched + unmatched))


def test_smile_without_scores_beyond_the_clip_is_mine():
    critic = Ratio(0.5)
    x, y = correlated(50, 1, 0.5)
    torch.testing.assert_close(
        SMILEEstimator(1, 1, critic=critic, clip=100.0)(x, y), MINEEstimator(1, 1, critic=critic)(x, y)
    )


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_barber_agakov_is_the_truth_for_the_true_conditional_and_below_it_for_any_other(rho):
    d, n = 2, 100_000
    x, y = correlated(n, d, rho)
    entropy = d * STANDARD_NORMAL
    exact = BarberAgakovEstimator(d, d, entropy=entropy, conditional=Channel(rho))(x, y)
    assert exact.item() == pytest.approx(information(d, rho), abs=0.02)
    for wrong in (0.2, 0.7, 0.95):
        value = BarberAgakovEstimator(d, d, entropy=entropy, conditional=Channel(wrong))(x, y)
        assert value < information(d, rho) + 0.02


def test_barber_agakov_takes_classes_and_masked_sequences():
    x, y = Masked(torch.randn(6, 4, 3), torch.ones(6, 4, dtype=torch.bool)), torch.randint(0, 5, (6, 1))
    conditional = MaskedConditional(CategoricalConditional(3, 5))
    estimator = BarberAgakovEstimator(3, 1, entropy=math.log(5), conditional=conditional)
    expected = math.log(5) + conditional(x).log_prob(y).mean()
    torch.testing.assert_close(estimator(x, y), expected)


@pytest.mark.parametrize("kind", ["gaussian", "mixture", "classes"])
def test_the_difference_of_entropies_is_that_of_two_likelihoods(kind):
    conditional, marginal, d = {
        "gaussian": (None, None, 2),
        "mixture": (MixtureConditional(3, 2), MixtureConditional(1, 2), 2),
        "classes": (CategoricalConditional(3, 4), CategoricalConditional(1, 4), 1),
    }[kind]
    estimator = DifferenceOfEntropiesEstimator(3, d, conditional=conditional, marginal=marginal)
    x = torch.randn(6, 3)
    y = torch.randint(0, 4, (6, 1)) if kind == "classes" else torch.randn(6, d)
    given_x = estimator.conditional(x).log_prob(y).mean()
    alone = estimator.marginal(torch.ones(6, 1)).log_prob(y).mean()
    torch.testing.assert_close(estimator(x, y), given_x - alone)
    torch.testing.assert_close(estimator.learning_loss(x, y), -given_x - alone)


def test_the_learned_marginal_is_the_distribution_of_y_whatever_x_is():
    estimator = DifferenceOfEntropiesEstimator(1, 2, marginal=GaussianConditional(1, 2))
    y = torch.tensor([[3.0, -1.0]]) + torch.tensor([[0.5, 2.0]]) * torch.randn(200, 2)
    fit(estimator, lambda: (torch.randn(200, 1), y), 300)
    r = estimator.marginal(torch.ones(1, 1)).base_dist
    torch.testing.assert_close(r.loc, y.mean(0, keepdim=True), rtol=0.03, atol=0.03)
    torch.testing.assert_close(r.scale, y.std(0, keepdim=True), rtol=0.03, atol=0.03)


def fit(estimator, draw, steps, rate=1e-2):
    optimizer = torch.optim.Adam(estimator.parameters(), rate)
    for _ in range(steps):
        optimizer.zero_grad()
        estimator.learning_loss(*draw()).backward()
        optimizer.step()


@pytest.mark.parametrize(
    "make",
    [
        InfoNCEEstimator,
        NWJEstimator,
        MINEEstimator,
        SMILEEstimator,
        lambda *sizes: BarberAgakovEstimator(*sizes, entropy=STANDARD_NORMAL),
        DifferenceOfEntropiesEstimator,
    ],
)
def test_fitted_on_fresh_rows_it_finds_what_there_is_and_nothing_where_there_is_nothing(make):
    for rho, low, high in ((0.9, 0.6, 0.95), (0.0, -0.1, 0.05)):  # the truth is 0.83
        estimator = make(1, 1)

        def draw(n=32, rho=rho):
            return tuple(t.float() for t in correlated(n, 1, rho))

        fit(estimator, draw, 200)
        with torch.no_grad():
            value = torch.stack([estimator(*draw(100)) for _ in range(10)]).mean()
        assert low < value < high


def test_probabilities_are_not_compared_with_a_density():
    classes = CategoricalConditional(3, 2)
    x, y = torch.randn(6, 3), torch.arange(6) % 2
    DifferenceOfEntropiesEstimator(3, 1, conditional=classes, marginal=CategoricalConditional(1, 2))(x, y)
    with pytest.raises(
        ValueError, match="both predict classes, or both numbers, got CategoricalConditional and Gaussian"
    ):
        DifferenceOfEntropiesEstimator(3, 1, conditional=classes)(x, y)


@pytest.mark.parametrize("rate", [-0.1, 0.0, 1.0])
def test_a_rate_out_of_range_is_refused(rate):
    with pytest.raises(ValueError, match=re.escape(f"expected a rate in (0, 1), got {rate}")):
        MINEEstimator(2, 2, rate=rate)


@pytest.mark.parametrize("clip", [0.0, -1.0])
def test_a_clip_that_is_not_positive_is_refused(clip):
    with pytest.raises(ValueError, match=re.escape(f"expected a positive clip, got {clip}")):
        SMILEEstimator(2, 2, clip=clip)
