import copy
import re

import pytest
import torch
from torch import nn

from disentangle import AlternatingStep, CLUBEstimator, OrthogonalLoss, Pairwise, Rows
from disentangle.training import frozen

F64 = torch.float64


class Halves(nn.Module):
    """Two latents of one input that rebuild it together."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.decode = nn.Linear(6, 2), nn.Linear(6, 3), nn.Linear(5, 6)
        self.encoded = 0

    def forward(self, batch):
        self.encoded += 1
        return {"a": self.a(batch).tanh(), "b": self.b(batch)}

    def present(self, batch):
        return {"b": torch.arange(len(batch)) % 4 != 0}

    def losses(self, variables, batch):
        error = self.decode(torch.cat([variables["a"], variables["b"]], 1)) - batch
        return {"recon": Rows(error.square().mean(1), torch.ones(len(batch), dtype=batch.dtype))}


def objective(losses, penalties):
    return torch.log(losses["recon"].mean() + 1e-6) + 0.3 * sum(penalties.values())


def setting(penalty=None, **options):
    model = Halves().double()
    penalty = Pairwise({("a", "b"): CLUBEstimator(2, 3).double()}) if penalty is None else penalty
    step = AlternatingStep(
        model,
        penalty,
        objective=objective,
        optimizer=torch.optim.SGD(model.parameters(), 0.1),
        penalty_optimizer=torch.optim.SGD(penalty.parameters(), 0.1) if penalty.learns else None,
        **options,
    )
    return model, penalty, step


def test_a_step_is_algorithm_1_written_out_by_hand():
    model, penalty, step = setting(inner_steps=3)
    by_hand, club = copy.deepcopy(model), copy.deepcopy(penalty.dependences["a;b"])
    batch = torch.randn(12, 6, dtype=F64)
    step(batch)

    rows = torch.arange(12) % 4 != 0
    z = by_hand(batch)
    a, b = z["a"].detach()[rows], z["b"].detach()[rows]
    for _ in range(3):
        grads = torch.autograd.grad(club.learning_loss(a, b), list(club.parameters()))
        with torch.no_grad():
            for p, g in zip(club.parameters(), grads, strict=True):
                p -= 0.1 * g
    mse = (by_hand.decode(torch.cat([z["a"], z["b"]], 1)) - batch).square().mean()
    loss = torch.log(mse + 1e-6) + 0.3 * club(z["a"][rows], z["b"][rows])
    grads = torch.autograd.grad(loss, list(by_hand.parameters()))
    for p, q, g in zip(model.parameters(), by_hand.parameters(), grads, strict=True):
        torch.testing.assert_close(p, q - 0.1 * g)
    for p, q in zip(penalty.parameters(), club.parameters(), strict=True):
        torch.testing.assert_close(p, q)


def test_the_model_encodes_once_a_step_whatever_the_number_of_inner_steps():
    model, _, step = setting(inner_steps=7)
    step(torch.randn(12, 6, dtype=F64))
    assert model.encoded == 1


def test_the_estimators_phase_leaves_the_models_gradients_untouched():
    model, _, step = setting()
    batch = torch.randn(12, 6, dtype=F64)
    for p in model.parameters():
        p.grad = torch.full_like(p, 7.0)
    step._fit(model(batch), model.present(batch))
    assert all((p.grad == 7).all() for p in model.parameters())


def test_after_a_step_the_estimators_have_no_gradients_and_their_flags_back():
    _, penalty, step = setting()
    step(torch.randn(12, 6, dtype=F64))
    assert all(p.grad is None and p.requires_grad for p in penalty.parameters())
    assert penalty.training


def test_flags_are_restored_when_the_objective_raises():
    def broken(losses, penalties):
        raise ZeroDivisionError

    _, penalty, step = setting()
    step.objective = broken
    with pytest.raises(ZeroDivisionError):
        step(torch.randn(12, 6, dtype=F64))
    assert all(p.requires_grad for p in penalty.parameters())
    assert all(m.training for m in penalty.modules())


def test_frozen_restores_a_mixture_of_flags():
    net = nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.Linear(2, 2))
    net[0].weight.requires_grad_(False)
    net[1].eval()
    with frozen(net):
        assert not any(p.requires_grad for p in net.parameters())
        assert not any(m.training for m in net.modules())
    assert [p.requires_grad for p in net.parameters()] == [False, True, True, True]
    assert [m.training for m in net] == [True, False, True]


def test_a_penalty_with_nothing_to_learn_needs_no_optimizer():
    class Equal(Halves):
        def forward(self, batch):
            return {"a": self.a(batch), "b": self.b(batch)[:, :2]}

        def losses(self, variables, batch):
            return {"recon": Rows(variables["a"].square().mean(1), torch.ones(len(batch)))}

    model = Equal()
    penalty = Pairwise({("a", "b"): OrthogonalLoss()})
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    record = AlternatingStep(model, penalty, objective=objective, optimizer=optimizer)(torch.randn(8, 6))
    assert list(record.penalties) == ["orthogonal(a;b)"]
    assert record.likelihood is None


def test_no_penalty_trains_the_model_alone():
    model = Halves()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    record = AlternatingStep(model, None, objective=objective, optimizer=optimizer)(torch.randn(8, 6))
    assert record.penalties == {}


def test_the_record_holds_the_root_mean_square_over_present_rows():
    model, _, step = setting()
    batch = torch.randn(12, 6, dtype=F64)
    with torch.no_grad():
        z = model(batch)
    record = step(batch)
    rows = torch.arange(12) % 4 != 0
    torch.testing.assert_close(record.rms["a"].double(), z["a"].square().mean().sqrt(), rtol=1e-5, atol=0)
    torch.testing.assert_close(record.rms["b"].double(), z["b"][rows].square().mean().sqrt(), rtol=1e-5, atol=0)


def test_a_batch_in_which_no_pair_has_two_rows_still_trains_the_model():
    _, penalty, step = setting()
    before = copy.deepcopy(penalty.state_dict())
    record = step(torch.randn(1, 6, dtype=F64))
    assert record.penalties == {}
    assert all(torch.equal(before[k], v) for k, v in penalty.state_dict().items())


def test_misuse_is_refused_at_construction():
    model, penalty = Halves(), Pairwise({("a", "b"): CLUBEstimator(2, 3)})
    ours = torch.optim.SGD(model.parameters(), 0.1)
    theirs = torch.optim.SGD(penalty.parameters(), 0.1)
    both = torch.optim.SGD([*model.parameters(), *penalty.parameters()], 0.1)
    message = "the penalty has parameters: expected a penalty_optimizer and inner_steps >= 1, got None and 5"
    with pytest.raises(ValueError, match=re.escape(message)):
        AlternatingStep(model, penalty, objective=objective, optimizer=ours)
    with pytest.raises(ValueError, match="inner_steps >= 1"):
        AlternatingStep(model, penalty, objective=objective, optimizer=ours, penalty_optimizer=theirs, inner_steps=0)
    with pytest.raises(ValueError, match="the model's optimiser holds 4 parameters of the penalty"):
        AlternatingStep(model, penalty, objective=objective, optimizer=both, penalty_optimizer=theirs)
    with pytest.raises(ValueError, match="the penalty's optimiser holds 6 parameters of the model"):
        AlternatingStep(model, penalty, objective=objective, optimizer=ours, penalty_optimizer=both)


def test_an_optimiser_made_from_the_single_estimators_is_refused():
    model, clubs = Halves(), [CLUBEstimator(2, 3), CLUBEstimator(3, 2)]
    penalty = Pairwise({("a", "b"): clubs[0], ("b", "b"): CLUBEstimator(3, 3), ("a", "c"): clubs[1]})
    theirs = torch.optim.SGD([p for club in clubs for p in club.parameters()], 0.1)
    message = "the penalty's optimiser lacks 6 of the 10 parameters that learn: make it from penalty.parameters()"
    with pytest.raises(ValueError, match=re.escape(message)):
        AlternatingStep(
            model,
            penalty,
            objective=objective,
            optimizer=torch.optim.SGD(model.parameters(), 0.1),
            penalty_optimizer=theirs,
        )


def test_an_objective_without_a_gradient_is_named():
    _, _, step = setting()
    step.objective = lambda losses, penalties: torch.tensor(1.0)
    with pytest.raises(ValueError, match="expected the objective to be a scalar with a gradient"):
        step(torch.randn(12, 6, dtype=F64))
