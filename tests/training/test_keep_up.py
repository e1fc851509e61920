"""A rate that adapts keeps estimators up with latents that move, from a rate far too small and far too large."""

import copy
import math

import pytest
import torch
from torch import nn

from disentangle import AlternatingStep, CLUBEstimator, KeepUp, Pairwise, PenaltyLoss
from disentangle.training import Run

from .test_trainer import Regression, objective, setting


def error_over_time(loss, steps=120):
    """The root mean square error of CLUB over the second half.

    Two Gaussian latents turn against each other, by a correlation that comes and goes: their CLUB is 2 rho² / (1 - rho²).
    Of a turn of 300 steps these are the ones of the largest correlation, which are the hardest to follow.
    """
    torch.manual_seed(0)
    errors = []
    for step in range(steps):
        angle = 2 * math.pi * step / 300
        turned = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        rho = 0.45 + 0.35 * math.sin(angle)
        a = torch.randn(128, 2, requires_grad=True)
        b = rho * a @ turned + math.sqrt(1 - rho**2) * torch.randn(128, 2)
        loss({"a": a, "b": b})
        errors.append(loss.values["CLUB(a;b)"] - 2 * rho**2 / (1 - rho**2))
    return torch.stack(errors[steps // 2 :]).square().mean().sqrt().item()


def penalty():
    torch.manual_seed(0)
    return Pairwise({("a", "b"): CLUBEstimator(2, 2)})


class StartingAt(PenaltyLoss):
    """One that adapts, from another rate than its own first one."""

    def __init__(self, rate):
        super().__init__(penalty())
        self._optimizer = torch.optim.Adam(self.pairwise.parameters(), rate, fused=True)


@pytest.mark.filterwarnings("ignore:call 75. the estimators lag")
def test_it_is_as_good_as_the_best_fixed_rate_from_100_times_too_slow_and_too_fast():
    slow, best, fast = (error_over_time(PenaltyLoss(penalty(), lr=rate)) for rate in (1e-4, 1e-3, 1e-1))
    assert slow > 2 * best
    assert fast > 1.4 * best
    assert error_over_time(StartingAt(1e-4)) < 1.1 * best
    assert error_over_time(StartingAt(1e-1)) < 1.35 * best


def test_a_lag_of_1_moves_the_logarithm_of_each_rate_by_the_gain_and_no_further_than_the_limits():
    p, q = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([{"params": [p], "lr": 0.01}, {"params": [q], "lr": 0.02}])
    keep_up = KeepUp(gain=0.5, slowest=0.005, fastest=0.03)
    rates = lambda: [float(group["lr"]) for group in optimizer.param_groups]  # noqa: E731
    keep_up.adapt(optimizer, torch.tensor(0.4))
    assert rates() == pytest.approx([0.01 * math.exp(0.2), 0.02 * math.exp(0.2)])
    keep_up.adapt(optimizer, torch.tensor(1.0))
    assert rates() == pytest.approx([0.01 * math.exp(0.7), 0.03])
    for _ in range(5):
        keep_up.adapt(optimizer, torch.tensor(-1.0))
    assert rates() == pytest.approx([0.005, 0.005])
    p.grad = torch.ones(2)
    optimizer.step()
    torch.testing.assert_close(p.detach(), torch.full((2,), -0.005))


def batches(n):
    return [{name: torch.randn(16, 2, requires_grad=True) for name in "ab"} for _ in range(n)]


def test_a_loss_adapts_unless_it_is_given_a_rate_or_an_optimizer():
    own = PenaltyLoss(penalty())
    assert own.rate is None
    made = PenaltyLoss(penalty(), optimizer=lambda parameters: torch.optim.SGD(parameters, 0.1))
    given = batches(3)
    rates = []
    for batch in given:
        for loss in (own, made):
            loss(batch)
        rates.append(own.rate.item())
    assert rates[0] == pytest.approx(1e-2)  # no lag is known yet
    lag = own.lag.item()
    assert rates[2] == pytest.approx(rates[1] * math.exp(0.2 * lag))
    assert made.rate.item() == pytest.approx(0.1)
    fixed = PenaltyLoss(penalty(), lr=3e-3)
    for batch in given:
        fixed(batch)
    assert fixed.rate.item() == pytest.approx(3e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_its_rate_is_saved_and_goes_on_bit_for_bit(dtype):
    first, again = (PenaltyLoss(penalty()).to(dtype) for _ in range(2))
    given = [{name: each.detach().to(dtype).requires_grad_() for name, each in batch.items()} for batch in batches(4)]
    for batch in given[:2]:
        first(batch)
    again.load_state_dict(first.state_dict())
    copied = copy.deepcopy(first)
    assert again.rate == first.rate
    for batch in given[2:]:
        values = [loss(batch) for loss in (first, again, copied)]
        assert values[0] == values[1] == values[2]
    assert again.rate == first.rate == copied.rate
    assert first.rate != pytest.approx(1e-2)


def test_a_trainer_reports_the_rate_and_resumes_with_it(tmp_path):
    whole, loader, _ = setting(keep_up=KeepUp())
    history = whole.fit(loader, 2)
    assert history[0]["penalty_lr"] != history[1]["penalty_lr"]
    first, loader, _ = setting(keep_up=KeepUp(), run=Run.create(tmp_path / "run", {}))
    first.fit(loader, 1)
    again, loader, _ = setting(keep_up=KeepUp(), run=Run.open(tmp_path / "run"))
    resumed = again.fit(loader, 2, resume=True)
    assert [report["penalty_lr"] for report in resumed] == [report["penalty_lr"] for report in history]
    for ours, theirs in zip(again.penalty.parameters(), whole.penalty.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    plain, loader, _ = setting()
    assert "penalty_lr" not in plain.fit(loader, 1)[0]
    assert plain.step.penalty_optimizer.param_groups[0]["lr"] == 1e-3


def test_a_scheduler_beside_it_and_limits_in_the_wrong_order_are_refused():
    model, pairs = Regression(), Pairwise({("a", "b"): CLUBEstimator(2, 3)})
    optimizer, inner = torch.optim.Adam(model.parameters()), torch.optim.Adam(pairs.parameters())
    schedulers = [torch.optim.lr_scheduler.ExponentialLR(each, 0.5) for each in (optimizer, inner)]
    options = {"objective": objective, "optimizer": optimizer, "penalty_optimizer": inner}
    with pytest.raises(ValueError, match=r"expected keep_up or a scheduler .*, got both: keep_up and ExponentialLR"):
        AlternatingStep(model, pairs, schedulers=schedulers, keep_up=KeepUp(), **options)
    AlternatingStep(model, pairs, schedulers=schedulers[:1], keep_up=KeepUp(), **options)
    with pytest.raises(ValueError, match=r"expected rates 0 < slowest < fastest, got 0\.1 and 0\.01"):
        KeepUp(slowest=0.1, fastest=0.01)
    with pytest.raises(ValueError, match="expected a gain above 0, got 0"):
        KeepUp(gain=0.0)
