import copy
import re
import warnings
from itertools import count

import jaxtyping
import numpy as np
import pytest
import torch
from accelerate.optimizer import AcceleratedOptimizer
from torch import nn

from disentangle import (
    HSIC,
    AlternatingStep,
    CLUBEstimator,
    KeepUp,
    Masked,
    OrthogonalLoss,
    Pairwise,
    PenaltyLoss,
    Rows,
    encode,
)
from disentangle.conditionals import GaussianConditional, MaskedConditional
from disentangle.errors import EstimatorWarning
from disentangle.nn import NoisyLatent
from disentangle.training import NonFiniteError, accelerator_for, frozen
from disentangle.training.encoded import Encoded
from disentangle.training.processes import SingleProcess

F64 = torch.float64
CALLS = count()


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


def test_under_autocast_each_inner_step_starts_from_the_weights_of_the_one_before():
    model, penalty = Halves(), Pairwise({("a", "b"): CLUBEstimator(2, 3)})
    seen = []
    step = AlternatingStep(
        model,
        penalty,
        objective=objective,
        optimizer=torch.optim.SGD(model.parameters(), 0.1),
        penalty_optimizer=torch.optim.SGD(penalty.parameters(), 0.1),
        backward=lambda loss: (seen.append(loss.item()), loss.backward()),
    )
    with torch.autocast("cpu", torch.bfloat16):
        step(torch.randn(12, 6))
    likelihoods = [-loss for loss in seen[:-1]]  # the last one is the objective
    assert len(likelihoods) == 5
    assert likelihoods == sorted(set(likelihoods))


def test_under_autocast_estimators_and_penalties_are_those_of_float32():
    model, penalty = Halves(), Pairwise({("a", "b"): CLUBEstimator(2, 3)})
    club, batch = copy.deepcopy(penalty.dependences["a;b"]), torch.randn(12, 6)
    step = AlternatingStep(
        model,
        penalty,
        objective=objective,
        optimizer=torch.optim.SGD(model.parameters(), 0.1),
        penalty_optimizer=torch.optim.SGD(penalty.parameters(), 0.1),
    )
    with torch.autocast("cpu", torch.bfloat16):
        encoded = {name: variable.detach() for name, variable in model(batch).items()}
        record = step(batch)
    assert encoded["a"].dtype == torch.bfloat16
    rows = model.present(batch)["b"]
    a, b = encoded["a"][rows].float(), encoded["b"][rows].float()
    optimizer = torch.optim.SGD(club.parameters(), 0.1)
    for _ in range(5):
        optimizer.zero_grad()
        club.learning_loss(a, b).backward()
        optimizer.step()
    assert record.penalties["CLUB(a;b)"].dtype == torch.float32
    torch.testing.assert_close(record.penalties["CLUB(a;b)"], club(a, b).detach())
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
    step._fit(Encoded(model(batch), model.present(batch), {}).detach())
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
    with pytest.warns(EstimatorWarning, match="iteration 1: expected at least 2 rows of a, b, got fewer: .*drop_last"):
        record = step(torch.randn(1, 6, dtype=F64))
    assert record.penalties == {}
    assert sorted(record.rms) == ["a"]
    with warnings.catch_warnings(action="error"):  # it is said once
        assert step(torch.randn(1, 6, dtype=F64)).penalties == {}
    assert all(torch.equal(before[k], v) for k, v in penalty.state_dict().items())


def test_pairs_of_more_rows_learn_where_others_have_one():
    model, penalty = Halves(), Pairwise({("a", "b"): HSIC(), ("c", "c2"): HSIC()})
    model.present, encode = lambda batch: None, model.forward
    model.forward = lambda batch: encode(batch) | {"c": model.a(torch.ones(9, 6)), "c2": torch.ones(9)}
    step = AlternatingStep(model, penalty, objective=objective, optimizer=torch.optim.SGD(model.parameters(), 0.1))
    with pytest.warns(EstimatorWarning):
        assert list(step(torch.randn(1, 6)).penalties) == ["HSIC(c;c2)"]
    assert len(step(torch.randn(8, 6)).penalties) == 2


def test_pieces_of_one_row_are_compared_as_the_batch_that_they_are():
    model, _, step = setting()
    model.present = lambda batch: None
    with warnings.catch_warnings(action="error"):
        assert list(step(*torch.randn(4, 1, 6, dtype=F64)).penalties) == ["CLUB(a;b)"]


def test_misuse_is_refused_at_construction():
    model, penalty = Halves(), Pairwise({("a", "b"): CLUBEstimator(2, 3)})
    ours = torch.optim.SGD(model.parameters(), 0.1)
    theirs = torch.optim.SGD(penalty.parameters(), 0.1)
    both = torch.optim.SGD([*model.parameters(), *penalty.parameters()], 0.1)
    message = "expected a penalty_optimizer for a penalty with parameters, got None"
    with pytest.raises(ValueError, match=re.escape(message)):
        AlternatingStep(model, penalty, objective=objective, optimizer=ours)
    with pytest.raises(ValueError, match="expected inner_steps as a whole number of at least 1, got 0"):
        AlternatingStep(model, penalty, objective=objective, optimizer=ours, penalty_optimizer=theirs, inner_steps=0)
    with pytest.raises(
        ValueError, match="expected the model's optimiser to hold no parameters of the penalty, got 4 of them"
    ):
        AlternatingStep(model, penalty, objective=objective, optimizer=both, penalty_optimizer=theirs)
    with pytest.raises(
        ValueError, match="expected the penalty's optimiser to hold no parameters of the model, got 6 of them"
    ):
        AlternatingStep(model, penalty, objective=objective, optimizer=ours, penalty_optimizer=both)


def test_an_optimiser_made_from_the_single_estimators_is_refused():
    model, clubs = Halves(), [CLUBEstimator(2, 3), CLUBEstimator(3, 2)]
    penalty = Pairwise({("a", "b"): clubs[0], ("c", "b"): CLUBEstimator(3, 3), ("a", "c"): clubs[1]})
    theirs = torch.optim.SGD([p for club in clubs for p in club.parameters()], 0.1)
    message = (
        "expected the penalty's optimiser to hold all 10 parameters that learn, got one without 6 of them: "
        "make it from penalty.parameters()"
    )
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


def test_pieces_have_the_gradients_of_the_whole_batch():
    batch = torch.randn(13, 6, dtype=F64)
    model, penalty, step = setting()
    again, penalty_again = copy.deepcopy(model), copy.deepcopy(penalty)
    model.present = lambda batch: None
    again.present = lambda batch: None
    step(batch)
    in_pieces = AlternatingStep(
        again,
        penalty_again,
        objective=objective,
        optimizer=torch.optim.SGD(again.parameters(), 0.1),
        penalty_optimizer=torch.optim.SGD(penalty_again.parameters(), 0.1),
    )
    in_pieces(batch[:6], batch[6:7], batch[7:])
    assert again.encoded == 6  # each piece without a graph, and with one
    for p, q in zip(model.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-12)
    for p, q in zip(penalty.parameters(), penalty_again.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("seed", [None, 3])
def test_a_piece_is_encoded_twice_with_the_same_noise(seed):
    model, _, step = setting(seed=seed)
    outputs = []

    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(6, 2).double()

        def forward(self, x):
            outputs.append((len(x), self.linear(torch.nn.functional.dropout(x, 0.5)).detach()))
            return self.linear(x)

    model.a = Noisy()
    step.optimizer.add_param_group({"params": list(model.a.parameters())})
    step(torch.randn(5, 6, dtype=F64), torch.randn(7, 6, dtype=F64))
    (_, a), (_, b), (_, a_again), (_, b_again) = outputs
    assert torch.equal(a, a_again)
    assert torch.equal(b, b_again)
    assert a.any()
    assert not torch.equal(a[:5], b[:5])


def test_with_a_seed_noise_is_a_function_of_it_and_of_the_iteration():
    drawn = []
    model, _, step = setting(seed=1)
    forward = model.forward
    model.forward = lambda batch: (drawn.append(torch.rand(2)), forward(batch))[1]
    batch = torch.randn(8, 6, dtype=F64)
    step(batch)
    step(batch)
    step.iteration = 0
    torch.rand(5)
    step(batch)
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


def test_a_pair_without_a_gradient_is_refused():
    model, _, step = setting()
    forward = model.forward
    model.forward = lambda batch: {name: z.detach() for name, z in forward(batch).items()}
    with pytest.raises(ValueError, match=r"CLUB\(a;b\): expected a variable with a gradient, got none of a, b"):
        step(torch.randn(8, 6, dtype=F64))


def test_an_estimator_that_cannot_learn_is_refused():
    club = CLUBEstimator(2, 3).double().requires_grad_(False)
    with pytest.raises(ValueError, match=r"CLUB\(a;b\): expected parameters that take gradients, got 4 that do not"):
        setting(Pairwise({("a", "b"): club}))


def test_kinds_of_penalties_weigh_on_their_own():
    """One step of two kinds is the step of a single penalty where the objective weights each by hand."""
    x = torch.randn(12, 6, dtype=F64)
    model = Halves().double()
    apart, alike = CLUBEstimator(2, 3).double(), OrthogonalLoss()
    single, several = copy.deepcopy(model), copy.deepcopy(model)
    one = Pairwise({("a", "b"): copy.deepcopy(apart)})
    two = nn.ModuleDict({"apart": Pairwise({("a", "b"): apart}), "alike": Pairwise({("a", "a2"): alike})})

    def by_hand(losses, penalties):
        (club,) = penalties.values()
        a = torch.stack([losses["a0"].values, losses["a1"].values], 1)
        return losses["recon"].mean() + 0.3 * club - 0.1 * alike(a, a)

    def by_kind(losses, penalties):
        return losses["recon"].mean() + 0.3 * penalties["apart"]["CLUB(a;b)"] - 0.1 * sum(penalties["alike"].values())

    encode = several.forward
    several.forward = lambda batch: (lambda z: {**z, "a2": z["a"]})(encode(batch))
    single.losses = lambda variables, batch: {
        **Halves.losses(single, variables, batch),
        **{f"a{i}": Rows.unweighted(column) for i, column in enumerate(variables["a"].unbind(1))},
    }
    for net, penalty, objective in ((single, one, by_hand), (several, two, by_kind)):
        record = AlternatingStep(
            net,
            penalty,
            objective=objective,
            optimizer=torch.optim.SGD(net.parameters(), 0.1),
            penalty_optimizer=torch.optim.SGD(penalty.parameters(), 0.1),
        )(x)
    assert {kind: list(values) for kind, values in record.penalties.items()} == {
        "apart": ["CLUB(a;b)"],
        "alike": ["orthogonal(a;a2)"],
    }
    for p, q in zip(several.parameters(), single.parameters(), strict=True):
        torch.testing.assert_close(p, q)
    for p, q in zip(two.parameters(), one.parameters(), strict=True):
        torch.testing.assert_close(p, q)


def test_what_forward_computed_is_handed_to_losses_and_is_no_variable():
    class Once(Halves):
        def forward(self, batch):
            hidden = self.a(batch)
            return {**super().forward(batch), "_hidden": {"any": [hidden]}}

        def losses(self, variables, batch):
            self.given = variables["_hidden"]["any"][0]
            return {"Y": Rows.unweighted(self.given.square().mean(1)), **super().losses(variables, batch)}

    model = Once().double()
    x = torch.randn(12, 6, dtype=F64)
    step = AlternatingStep(
        model, None, objective=lambda losses, _: losses["Y"].mean(), optimizer=torch.optim.SGD(model.parameters(), 0.1)
    )
    before = model.a.weight.detach().clone()
    record = step(x[:5], x[5:])
    assert model.given.requires_grad
    assert set(record.rms) == {"a", "b"}
    assert set(encode(model, [x])) == {"a", "b"}
    assert not torch.equal(model.a.weight, before)


def test_kinds_that_are_no_pairwise_are_refused():
    model, kinds = Halves(), nn.ModuleDict({"apart": OrthogonalLoss()})
    wanted = "expected a Pairwise, or an nn.ModuleDict of some, got OrthogonalLoss as 'apart'$"
    with pytest.raises(TypeError, match=wanted):
        AlternatingStep(model, kinds, objective=objective, optimizer=torch.optim.SGD(model.parameters(), 0.1))


def test_gradients_are_clipped_once_they_are_whole():
    model, _, step = setting(clip=lambda parameters: nn.utils.clip_grad_norm_(parameters, 1e-3))
    before = [p.detach().clone() for p in model.parameters()]
    step(torch.randn(12, 6, dtype=F64))
    moved = torch.cat([(p - q).flatten() for p, q in zip(model.parameters(), before, strict=True)])
    assert moved.norm().item() == pytest.approx(0.1 * 1e-3, rel=1e-3)  # the learning rate times the norm


def test_schedulers_take_a_step_an_iteration_and_groups_keep_their_rates():
    model, penalty = Halves().double(), Pairwise({("a", "b"): CLUBEstimator(2, 3).double()})
    groups = [
        {"params": model.a.parameters(), "lr": 1.0},
        {"params": [*model.b.parameters(), *model.decode.parameters()]},
    ]
    optimizer = torch.optim.SGD(groups, 0.5)
    inner = torch.optim.SGD(penalty.parameters(), 0.1)
    schedulers = [torch.optim.lr_scheduler.ExponentialLR(each, 0.5) for each in (optimizer, inner)]
    step = AlternatingStep(
        model, penalty, objective=objective, optimizer=optimizer, penalty_optimizer=inner, schedulers=schedulers
    )
    for _ in range(2):
        step(torch.randn(12, 6, dtype=F64))
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.125]
    assert inner.param_groups[0]["lr"] == 0.025


def test_parameters_of_the_objective_learn_too():
    class Weighted(Halves):
        def __init__(self):
            super().__init__()
            self.log_weight = nn.Parameter(torch.zeros(()))

    model = Weighted().double()
    step = AlternatingStep(
        model,
        None,
        objective=lambda losses, penalties: losses["recon"].mean() * model.log_weight.exp() - model.log_weight,
        optimizer=torch.optim.SGD(model.parameters(), 0.1),
    )
    record = step(torch.randn(12, 6, dtype=F64))
    torch.testing.assert_close(model.log_weight.detach(), -0.1 * (record.objective - 1))


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("variable", ["variable a", "recon"]),
        ("loss", ["recon"]),
        ("objective", ["objective"]),
        ("gradient", ["gradients"]),
    ],
)
def test_what_is_not_finite_stops_before_the_model_moves_and_is_named(where, names):
    model, _, step = setting()
    batch = torch.randn(12, 6, dtype=F64)
    step(batch)
    weights = copy.deepcopy(model.state_dict())
    spoil(where, model, step)
    with pytest.raises(NonFiniteError, match=f"iteration 2: not finite: {', '.join(names)}$") as caught:
        step(batch)
    assert caught.value.names == names
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name])


def spoil(where, model, step):
    forward, losses = model.forward, model.losses
    bad = float("nan")
    if where == "variable":
        model.forward = lambda batch: {**(z := forward(batch)), "a": z["a"] * bad}
    elif where == "loss":
        model.losses = lambda z, batch: {name: Rows(r.values * bad, r.weights) for name, r in losses(z, batch).items()}
    elif where == "objective":
        step.objective = lambda losses, penalties: objective(losses, penalties) * bad
    else:  # the square root of 0 is finite, its gradient is not
        step.objective = lambda losses, penalties: objective(losses, penalties) + (losses["recon"].mean() * 0).sqrt()


def test_what_an_absent_row_or_a_row_without_weight_holds_is_no_reason_to_stop():
    model, _, step = setting()
    forward, losses = model.forward, model.losses

    def absent(batch):
        z = forward(batch)
        return {"a": z["a"], "b": torch.where(model.present(batch)["b"][:, None], z["b"], float("nan"))}

    def some(z, batch):
        rows = losses({"a": z["a"], "b": z["b"].nan_to_num()}, batch)["recon"]
        spoilt = torch.where(torch.arange(len(batch)) == 0, float("nan"), rows.values)
        return {"recon": Rows(spoilt, (torch.arange(len(batch)) != 0).double())}

    model.forward, model.losses = absent, some
    assert step(torch.randn(12, 6, dtype=F64)).nonfinite == ()


@pytest.mark.parametrize("where", ["variable", "objective", "gradient"])
def test_a_step_that_is_not_finite_is_left_out_when_asked(where):
    model, penalty, step = setting(nonfinite="skip")
    batch = torch.randn(12, 6, dtype=F64)
    weights = copy.deepcopy(model.state_dict())
    estimators = copy.deepcopy(penalty.state_dict())
    kept = model.forward, model.losses, step.objective
    spoil(where, model, step)
    record = step(batch)
    assert record.nonfinite
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name])
    if where == "variable":  # nothing to learn from
        assert all(torch.equal(value, estimators[name]) for name, value in penalty.state_dict().items())
    for _ in range(8):
        step(batch)
    with pytest.raises(NonFiniteError, match="10 times in a row"):
        step(batch)
    model.forward, model.losses, step.objective = kept
    assert step(batch).nonfinite == ()


def test_what_a_layer_notes_of_a_batch_is_as_before_when_the_step_is_left_out():
    model, _, step = setting(nonfinite="skip")
    model.b = nn.Sequential(model.b, NoisyLatent(3).double())
    batch = torch.randn(12, 6, dtype=F64)
    step(batch)
    before = copy.deepcopy(model.state_dict())
    assert step(torch.where(torch.arange(6) == 2, torch.inf, batch)).nonfinite
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert step(batch).nonfinite == ()


class Words(Halves):
    """Halves of the mean of embeddings."""

    def __init__(self, sparse):
        super().__init__()
        self.embed = nn.EmbeddingBag(20, 6, sparse=sparse)

    def forward(self, batch):
        return super().forward(self.embed(batch))

    def losses(self, variables, batch):
        return super().losses(variables, torch.ones(len(batch), 6, dtype=F64))


def test_sparse_gradients_are_looked_at_and_move_the_model_as_dense_ones_do():
    batch, weights = torch.randint(20, (12, 3)), []
    for sparse in (True, False):
        torch.manual_seed(0)
        model, penalty = Words(sparse).double(), Pairwise({("a", "b"): HSIC()})
        step = AlternatingStep(model, penalty, objective=objective, optimizer=torch.optim.SGD(model.parameters(), 0.1))
        step(batch)
        assert model.embed.weight.grad.is_sparse == sparse
        weights.append(copy.deepcopy(model.embed.weight))
        spoil("gradient", model, step)
        with pytest.raises(NonFiniteError, match="not finite: gradients"):
            step(batch)
    torch.testing.assert_close(*weights)


def test_with_a_scaler_that_clipping_has_used_the_step_after_one_that_is_left_out_is_taken():
    accelerator_for("cpu")  # Accelerate's optimisers want one to be there
    model = Halves()
    scaler = torch.amp.GradScaler("cpu", init_scale=16.0)
    inner = torch.optim.SGD(model.parameters(), 0.1)

    def clip(parameters):
        scaler.unscale_(inner)
        return nn.utils.clip_grad_norm_(parameters, 1.0)

    step = AlternatingStep(
        model,
        Pairwise({("a", "b"): HSIC()}),
        objective=objective,
        optimizer=AcceleratedOptimizer(inner, device_placement=False, scaler=scaler),
        clip=clip,
        nonfinite="skip",
        backward=lambda loss: scaler.scale(loss).backward(),
    )
    batch = torch.randn(12, 6)
    step(batch)
    step.objective = lambda losses, penalties: objective(losses, penalties) * float("nan")
    assert step(batch).nonfinite == ("objective",)
    step.objective = objective
    before = model.a.weight.detach().clone()
    assert step(batch).nonfinite == ()
    assert not torch.equal(model.a.weight, before)


def test_pieces_learn_under_autocast():
    batch = torch.randn(12, 6)
    model, again = Halves(), Halves()
    again.load_state_dict(model.state_dict())
    for each, pieces in ((model, [batch]), (again, [batch[:5], batch[5:]])):
        step = AlternatingStep(
            each,
            Pairwise({("a", "b"): HSIC()}),
            objective=objective,
            optimizer=torch.optim.SGD(each.parameters(), 0.1),
        )
        each.present = lambda batch: None
        with torch.autocast("cpu", torch.bfloat16):
            step(*pieces)
    for name, p in model.named_parameters():
        torch.testing.assert_close(p, again.get_parameter(name), rtol=0, atol=5e-3)


def test_batches_with_other_variables_are_refused():
    model, _, step = setting()
    forward = model.forward
    model.forward = lambda batch: {**forward(batch), **({"c": batch} if len(batch) == 3 else {})}
    with pytest.raises(ValueError, match="expected the same variables of every batch"):
        step(torch.randn(4, 6, dtype=F64), torch.randn(3, 6, dtype=F64))


def test_several_processes_need_a_seed():
    class OneOfTwo(SingleProcess):
        size = 2

    with pytest.raises(ValueError, match="expected a seed where 2 processes train, got None"):
        setting(processes=OneOfTwo())


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (
            lambda t: Rows(t[:, None], torch.ones_like(t)),
            ValueError,
            r"the loss Y of .* one shape.*got \(8, 1\) and \(8,\)",
        ),
        (
            lambda t: Rows.unweighted(t[:, None] - t),
            ValueError,
            r"the loss Y of .* one shape.*got \(8, 8\) and \(8, 8\)",
        ),
        (lambda t: Rows(t.mean(), torch.ones(())), ValueError, r"got \(\) and \(\)"),
        (
            lambda t: t.mean(),
            TypeError,
            r"the loss Y as Rows, one term per row, got a Tensor: Rows.unweighted\(terms\)",
        ),
    ],
)
@pytest.mark.parametrize("pieces", [1, 2])
def test_losses_that_are_no_rows_of_one_shape_are_refused(loss, error, message, pieces):
    model, _, step = setting()
    before = copy.deepcopy(model.state_dict())
    model.losses = lambda variables, batch: {"Y": loss(variables["a"].sum(1))}
    with pytest.raises(error, match=message):
        step(*torch.randn(8 * pieces, 6, dtype=F64).chunk(pieces))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_model_that_returns_no_names_is_refused():
    model, _, step = setting()
    model.forward = lambda batch: model.a(batch)
    with pytest.raises(
        TypeError, match=r"expected model\(batch\) to return variables by name, a dictionary, got a Tensor"
    ):
        step(torch.randn(8, 6, dtype=F64))


def test_statistics_that_follow_batches_see_each_piece_once():
    model, _, step = setting()
    model.a = nn.Sequential(model.a, nn.BatchNorm1d(2)).double()
    step.optimizer = torch.optim.SGD(model.parameters(), 0.1)
    norm = copy.deepcopy(model.a)
    pieces = (3 + torch.randn(12, 6, dtype=F64)).chunk(2)
    step(*pieces)
    for piece in pieces:
        norm(piece)
    for name, buffer in norm.named_buffers():
        torch.testing.assert_close(dict(model.a.named_buffers())[name], buffer)


def test_a_scheduler_of_another_optimiser_and_one_alone_are_refused(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    schedules = torch.optim.lr_scheduler
    other = schedules.ExponentialLR(torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1), 0.9)
    with pytest.raises(
        ValueError, match="expected schedulers of the optimisers that are given, got a ExponentialLR of"
    ):
        setting(schedulers=[other])
    with pytest.raises(TypeError, match="expected schedulers as a list, got ExponentialLR: put it into one"):
        setting(schedulers=other)


def test_a_scheduler_that_wants_a_metric_is_refused():
    model, _, step = setting()
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(step.optimizer)
    with pytest.raises(
        ValueError, match="expected schedulers that take a step without a metric, got a ReduceLROnPlateau: call"
    ):
        AlternatingStep(model, None, objective=step.objective, optimizer=step.optimizer, schedulers=[plateau])


@pytest.mark.parametrize("pieces", [1, 2])
def test_layers_that_the_model_does_not_know_are_refused_and_weights_of_the_objective_are_not(pieces):
    model, penalty, step = setting()
    weight, unused = nn.Parameter(torch.zeros(1, dtype=F64)), nn.Parameter(torch.zeros(1, dtype=F64))

    def step_with(layers):
        held = [*model.parameters(), weight, unused, *(p for layer in layers for p in layer.parameters())]
        return AlternatingStep(
            model,
            penalty,
            objective=lambda losses, penalties: step.objective(losses, penalties) * weight.exp().sum(),
            optimizer=torch.optim.SGD(held, 0.01),
            penalty_optimizer=step.penalty_optimizer,
        )

    batch = torch.randn(12, 6, dtype=F64).chunk(pieces)
    step_with([])(*batch)
    assert weight != 0
    hidden, encode = [nn.Linear(2, 2).double()], model.forward
    model.forward = lambda batch: {**(made := encode(batch)), "a": hidden[0](made["a"])}
    kept = [p.clone() for p in model.parameters()]
    with pytest.raises(
        ValueError,
        match=r"got 2 that the model computes with and has not among its own, \(2, 2\) the first: is a layer in a list",
    ):
        step_with(hidden)(*batch)
    assert all(map(torch.equal, kept, model.parameters()))


def test_the_presence_of_what_is_no_variable_is_refused():
    model, _, step = setting()
    model.present = lambda batch: {"B": torch.ones(len(batch), dtype=torch.bool)}
    with pytest.raises(ValueError, match=r"expected the presence of variables, \['a', 'b'\], got that of B"):
        step(torch.randn(8, 6, dtype=F64))


def test_a_seed_below_0_is_refused_at_once():
    with pytest.raises(ValueError, match="expected a seed of 0 or more, got -1"):
        setting(seed=-1)
    with pytest.raises(ValueError, match="expected a seed of 0 or more, got -1"):
        PenaltyLoss(Pairwise({("a", "b"): HSIC()}), seed=-1)


class Plain(nn.Module):
    """Two latents of one input, of which the first learns a number; `noise(x)` changes what they see."""

    def __init__(self, noise=lambda x: x):
        super().__init__()
        self.a, self.b, self.log_weight = nn.Linear(4, 2), nn.Linear(4, 2), nn.Parameter(torch.zeros(()))
        self.noise = noise

    def forward(self, batch):
        x = self.noise(batch)
        return {"a": self.a(x), "b": self.b(x)}

    def present(self, batch):
        return None

    def losses(self, variables, batch):
        return {"Y": Rows.unweighted((variables["a"].float() - 3).square().sum(1))}


def plain(model=None, penalty=None, objective=lambda losses, penalties: losses["Y"].mean(), **options):
    model = Plain() if model is None else model
    options = {"optimizer": torch.optim.SGD(model.parameters(), 0.05), **options}
    return model, AlternatingStep(model, penalty, objective=objective, **options)


def test_steps_within_one_block_of_autocast_learn_as_steps_with_a_block_each():
    x, (one, inside), (other, outside) = torch.randn(64, 4), plain(), plain()
    other.load_state_dict(one.state_dict())
    with torch.autocast("cpu", torch.bfloat16):
        for _ in range(10):
            inside(x)
    for _ in range(10):
        with torch.autocast("cpu", torch.bfloat16):
            outside(x)
    for p, q in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize(
    "noise",
    [lambda x: x * torch.as_tensor(np.random.rand(*x.shape) > 0.5), lambda x, calls=CALLS: x * next(calls)],  # noqa: NPY002
    ids=["NumPy", "a count of calls"],
)
def test_pieces_that_are_encoded_otherwise_the_second_time_are_refused(noise):
    _, step = plain(Plain(noise), seed=0)
    x = torch.randn(8, 4)
    step(x)  # once
    with pytest.raises(
        ValueError, match=r"expected the model to encode a piece twice alike, got values that differ by \d+%"
    ):
        step(x[:4], x[4:])


def test_what_stands_in_padding_and_absent_rows_of_pieces_may_differ():
    class Lacking(Plain):
        def forward(self, batch):
            latents = super().forward(batch)
            mask = torch.arange(3) < torch.arange(len(batch))[:, None] % 3 + 1
            steps = torch.where(mask[..., None], latents["a"][:, None], torch.randn(len(batch), 3, 2) * next(CALLS))
            absent = torch.where(self.present(batch)["c"][:, None], latents["b"], next(CALLS))
            return {**latents, "steps": Masked(steps, mask), "c": absent}

        def present(self, batch):
            return {"c": torch.arange(len(batch)) % 2 == 0}

    _, step = plain(Lacking())
    step(*torch.randn(8, 4).split(4))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (torch.ones(7, dtype=torch.bool), ValueError, r"expected the presence of a as \(8,\), one per row, got \(7,\)"),
        ([True] * 8, TypeError, r"expected the presence of a as a tensor \(8,\), got list"),
    ],
)
def test_a_presence_that_is_none_is_named_in_a_step(given, error, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the types are checked first, here

    class Lacking(Plain):
        def present(self, batch):
            return {"a": given}

    with pytest.raises(error, match=message):
        plain(Lacking(), Pairwise({("a", "b"): HSIC()}))[1](torch.randn(8, 4))


def test_pieces_may_have_noise_of_torch():
    model, step = plain(Plain(nn.Dropout(0.5)))
    step(*torch.randn(8, 4).split(4))
    step(*torch.randn(8, 4).split(4))
    assert model.a.weight.isfinite().all()


def test_a_weight_of_a_loss_that_learns_is_refused():
    class Weighs(Plain):
        def losses(self, variables, batch):
            return {"Y": Rows(variables["a"].square().sum(1), (self.log_weight * batch[:, 0]).exp())}

    _, step = plain(Weighs())
    with pytest.raises(ValueError, match="expected the weights of the loss Y without a gradient"):
        step(torch.randn(4, 4))


def test_the_optimiser_of_another_model_is_refused():
    model = Plain()
    with pytest.raises(ValueError, match="hold some of its 5 parameters that learn, got one that holds none"):
        plain(model, optimizer=torch.optim.SGD(copy.deepcopy(model).parameters(), 0.1))


def test_a_rate_that_adapts_wants_an_optimiser_that_takes_a_tensor():
    penalty = Pairwise({("a", "b"): CLUBEstimator(2, 2)})
    plain(penalty=penalty, penalty_optimizer=torch.optim.SGD(penalty.parameters(), 0.1, foreach=True), keep_up=KeepUp())
    optimizer = torch.optim.Adam(penalty.parameters(), foreach=True)
    with pytest.raises(ValueError, match="rate may be a tensor for keep_up, got one with foreach=True"):
        plain(penalty=penalty, penalty_optimizer=optimizer, keep_up=KeepUp())


def test_a_clip_may_return_a_number():
    _, step = plain(clip=lambda parameters: float(nn.utils.clip_grad_norm_(parameters, 1.0)))
    assert step(torch.randn(4, 4)).nonfinite == ()


class Lacks(Plain):
    """It encodes `a` in the rows that have it, and says nothing of a gradient where none has."""

    def forward(self, batch):
        x, has = batch
        a = torch.zeros(len(x), 2)
        if has.any():
            a = a.index_put((has.nonzero().squeeze(1),), self.a(x[has]))
        return {"a": a, "x": x, "b": self.b(x)}

    def present(self, batch):
        return {"a": batch[1], "x": batch[1]}

    def losses(self, variables, batch):
        return {"Y": Rows.unweighted(variables["b"].square().sum(1))}


def test_a_variable_that_no_row_of_a_piece_has_needs_no_gradient_there():
    def total(losses, penalties):
        return losses["Y"].mean() + sum(penalties.values())

    x, has = torch.randn(8, 4), torch.arange(8) < 4
    models = [Lacks(), Lacks()]
    models[1].load_state_dict(models[0].state_dict())
    for model, batches in zip(models, ([(x, has)], [(x[:4], has[:4]), (x[4:], has[4:])]), strict=True):
        plain(model, Pairwise({("a", "x"): HSIC()}), total)[1](*batches)
    for p, q in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(p, q)
    model, step = plain(Lacks(), Pairwise({("a", "x"): HSIC()}), total)
    assert step((x, has & False)).penalties == {}
    model.a.requires_grad_(False)
    with pytest.raises(ValueError, match="was the latent detached"):
        step((x, has))


def test_a_buffer_that_grows_in_a_piece_is_put_back():
    class Positions(Plain):
        def __init__(self):
            super().__init__()
            self.register_buffer("table", torch.zeros(0, 4))

        def forward(self, batch):
            if len(self.table) < len(batch):
                self.table = torch.arange(len(batch)).float()[:, None].expand(-1, 4)
            return super().forward(batch + self.table[: len(batch)])

    model, step = plain(Positions())
    step(*torch.randn(8, 4).split(4))
    assert model.table.shape == (4, 4)


def test_a_sequence_that_is_not_finite_leaves_the_estimators_as_they_are():
    class Frames(Plain):
        def forward(self, batch):
            return {
                **super().forward(batch[:, 0]),
                "frames": Masked(batch, torch.ones(batch.shape[:2], dtype=torch.bool)),
            }

        def losses(self, variables, batch):
            return {"Y": Rows.unweighted(variables["a"].square().sum(1))}

    penalty = Pairwise({("frames", "a"): CLUBEstimator(4, 2, conditional=MaskedConditional(GaussianConditional(4, 2)))})
    optimizer = torch.optim.Adam(penalty.parameters())
    _, step = plain(Frames(), penalty, penalty_optimizer=optimizer, nonfinite="skip")
    x = torch.randn(8, 5, 4)
    broken = x.clone()
    broken[0, 2, 1] = torch.nan
    before = [p.clone() for p in penalty.parameters()]
    assert step(broken).nonfinite == ("variable frames",)
    assert all(torch.equal(p, q) for p, q in zip(penalty.parameters(), before, strict=True))
    assert step(x).nonfinite == ()


def test_the_size_of_a_sequence_is_that_of_its_real_steps():
    mask = torch.tensor([[True, True], [True, False], [True, True]])
    values = torch.tensor([[[1.0], [2.0]], [[3.0], [torch.nan]], [[torch.nan], [torch.nan]]])
    encoded = Encoded({"x": Masked(values, mask)}, {"x": torch.tensor([True, True, False])}, {})
    torch.testing.assert_close(encoded.root_mean_squares()["x"], torch.tensor(14 / 3).sqrt())


def test_an_estimator_that_one_kind_has_stacked_is_refused_in_another():
    club, other = CLUBEstimator(2, 2), CLUBEstimator(2, 2)
    kinds = nn.ModuleDict({"p": Pairwise({("a", "b"): club, ("b", "a"): other}), "q": Pairwise({("a", "b"): club})})
    with pytest.raises(ValueError, match="expected estimators of 'q' that 'p' does not have"):
        plain(penalty=kinds, penalty_optimizer=torch.optim.Adam(kinds.parameters()))
    alone = nn.ModuleDict({"p": Pairwise({("a", "b"): club}), "q": Pairwise({("a", "b"): club})})
    plain(penalty=alone, penalty_optimizer=torch.optim.Adam(alone.parameters()))
