import math

import pytest
import torch

from disentangle.dependence import CLUBEstimator, InfoNCEEstimator
from disentangle.information.trained import _estimator, _Split, _train, trained_mutual_information


def gaussian(rows, dims, rho, seed=0):
    x, noise = torch.randn(2, rows, dims, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def splits(x, y, train, valid):
    return tuple(_Split(*(side[i].float() for i in torch.arange(len(x)).split([train, valid, len(x) - train - valid])))
                 for side in (x, y))  # fmt: skip


class Recorded(CLUBEstimator):
    """CLUB that keeps the losses it had while it was not training."""

    def __init__(self, *dims):
        super().__init__(*dims)
        self.losses = []

    def learning_loss(self, x, y):
        loss = super().learning_loss(x, y)
        if not self.training:
            self.losses.append(loss.item())
        return loss


def test_training_ends_with_the_parameters_that_were_best_on_the_validation_rows():
    x, y = splits(*gaussian(140, 5, 0.3), 40, 60)
    estimator = Recorded(5, 5, 64)
    _train(estimator, x, y)
    losses = estimator.losses
    assert losses[-1] > min(losses) + 0.001  # it did overfit
    assert len(losses) - losses.index(min(losses)) == 16  # and stopped after 15 epochs without a better one
    with torch.no_grad():
        assert estimator.learning_loss(x.valid, y.valid).item() == min(losses)


@pytest.mark.parametrize("method", ["club", "infonce"])
def test_the_rows_to_evaluate_on_do_not_influence_training(method):
    x, y = splits(*gaussian(200, 2, 0.6), 120, 40)
    states = []
    for scale in (1.0, 7.0):
        torch.manual_seed(0)
        estimator = _estimator(method, 2, y.train, None)
        _train(estimator, _Split(x.train, x.valid, scale * x.test), _Split(y.train, y.valid, -scale * y.test))
        states.append(estimator.state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_loss_that_is_not_finite_ends_training_with_parameters_that_are():
    x, y = splits(*gaussian(200, 2, 0.6), 120, 40)
    estimator = InfoNCEEstimator(2, 2)
    _train(estimator, _Split(x.train, x.valid * math.nan, x.test), y)
    assert all(p.isfinite().all() for p in estimator.parameters())


def test_infonce_near_its_ceiling_warns():
    x, y = gaussian(200, 2, 0.9999)  # 8.5 nats, and 40 rows to evaluate on
    estimate = trained_mutual_information(x, y, "infonce", 0)
    assert 0.8 * math.log(40) < estimate.value <= math.log(40)
    assert any(w.startswith("close to the ceiling of InfoNCE, log 40 = 3.69 nats") for w in estimate.warnings)


def test_a_poor_q_warns():
    x, y = gaussian(300, 5, 0.0)
    estimate = trained_mutual_information(x, y, "leave-one-out", 1)
    assert estimate.log_likelihood is not None
    assert estimate.marginal_log_likelihood is not None
    assert estimate.log_likelihood <= estimate.marginal_log_likelihood
    assert any(
        w.startswith("on held-out rows q(y|x) is no better than a q(y) that ignores x") for w in estimate.warnings
    )


@pytest.mark.parametrize("rows", [50, 57, 101])
@pytest.mark.parametrize("method", ["club", "leave-one-out", "infonce", "difference of entropies"])
def test_few_rows_give_a_finite_value_and_a_warning(method, rows):
    estimate = trained_mutual_information(*gaussian(rows, 2, 0.6), method, 0)
    assert math.isfinite(estimate.value)
    assert math.isfinite(estimate.standard_error)
    assert f"{estimate.held_out} rows to evaluate on are too few to trust the standard error" in estimate.warnings


def test_rows_are_split_three_ways_and_the_last_part_evaluated():
    estimate = trained_mutual_information(*gaussian(1000, 1, 0.6), "variational", 0)
    assert (estimate.rows, estimate.held_out, estimate.warnings) == (1000, 200, ())


def test_marginal_log_likelihood_is_that_of_a_normal():
    x, y = gaussian(1500, 2, 0.8)
    estimate = trained_mutual_information(x, y, "club", 0)
    assert estimate.log_likelihood is not None
    assert estimate.marginal_log_likelihood is not None
    assert estimate.marginal_log_likelihood == pytest.approx(-math.log(2 * math.pi * math.e), abs=0.2)
    gain = estimate.log_likelihood - estimate.marginal_log_likelihood
    assert gain == pytest.approx(-math.log(0.6) * 2, abs=0.25)


def test_difference_of_entropies_is_the_difference_of_its_likelihoods():
    estimate = trained_mutual_information(*gaussian(600, 2, 0.8), "difference of entropies", 0)
    assert estimate.log_likelihood is not None
    assert estimate.marginal_log_likelihood is not None
    assert estimate.log_likelihood - estimate.marginal_log_likelihood == pytest.approx(estimate.value, abs=1e-5)


def test_the_generators_of_devices_are_left_as_they_are(monkeypatch):
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    state = torch.get_rng_state()
    trained_mutual_information(*gaussian(60, 1, 0.3), method="infonce", seed=3)
    assert seeded == []
    assert torch.equal(torch.get_rng_state(), state)
