"""A penalty as a term of any loop's loss: right by hand, hidden from the model's optimiser, saved with the model."""

import copy
import pickle
import warnings
from io import BytesIO

import jaxtyping
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from disentangle import (
    HSIC,
    CLUBEstimator,
    Dial,
    Masked,
    OrthogonalLoss,
    Pairwise,
    PenaltyLoss,
    load,
    save,
)
from disentangle.conditionals import Conditional, GaussianConditional, MaskedConditional
from disentangle.errors import EstimatorWarning
from disentangle.training import NonFiniteError

from .penalty_worker import pairs_of_all_kinds

F64 = torch.float64


def sgd(parameters):
    return torch.optim.SGD(parameters, 0.1)


class Encoders(nn.Module):
    """Three latents of one input, and a penalty that is part of the model: stacked, single and noisy estimators."""

    def __init__(self, **options):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 2), nn.Linear(6, 2), nn.Linear(6, 3)
        self.penalty = PenaltyLoss(pairs_of_all_kinds(), weight=0.3, **options)

    def latents(self, x):
        return {"a": self.a(x), "b": self.b(x).tanh(), "c": self.c(x)}

    def forward(self, x, present=None):
        return self.a(x).square().mean() + self.penalty(self.latents(x), present)


def estimators_of(model):
    return {name: t.clone() for name, t in model.penalty.pairwise.state_dict().items()}


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, t in ours.items():
        assert torch.equal(t, theirs[name]), name


def train(model, batches, optimizer=None):
    optimizer = optimizer or torch.optim.SGD(model.parameters(), 0.05)
    for batch in batches:
        optimizer.zero_grad()
        model(batch).backward()
        optimizer.step()


def test_a_call_is_the_estimators_steps_and_then_the_frozen_penalty():
    pairs = Pairwise({("a", "b"): CLUBEstimator(2, 2).double()})
    club = copy.deepcopy(pairs.dependences["a;b"])
    penalty = PenaltyLoss(pairs, weight=0.3, inner_steps=3, optimizer=sgd)
    a, b = torch.randn(2, 12, 2, dtype=F64, requires_grad=True).unbind()
    rows = torch.arange(12) % 4 != 0
    value = penalty({"a": a, "b": b}, {"b": rows})
    got = torch.autograd.grad(value, [a, b])

    for _ in range(3):
        likelihood = -club.learning_loss(a.detach()[rows], b.detach()[rows])
        grads = torch.autograd.grad(-likelihood, list(club.parameters()))
        with torch.no_grad():
            for p, g in zip(club.parameters(), grads, strict=True):
                p -= 0.1 * g
    expected = club(a[rows], b[rows])
    torch.testing.assert_close(value, 0.3 * expected)
    torch.testing.assert_close(penalty.values["CLUB(a;b)"], expected.detach())
    torch.testing.assert_close(penalty.likelihood, likelihood.detach())
    for ours, theirs in zip(got, torch.autograd.grad(0.3 * expected, [a, b]), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert all(p.grad is None for p in pairs.parameters())


def test_the_model_has_none_of_the_estimators_parameters_and_its_optimizer_moves_none():
    model = Encoders(optimizer=lambda parameters: torch.optim.SGD(parameters, 0.0))
    assert {name.split(".")[0] for name, _ in model.named_parameters()} == {"a", "b", "c"}
    assert not list(model.buffers())
    for parameter in model.penalty.pairwise.parameters():
        assert parameter.requires_grad
    before = {name: p.clone() for name, p in model.penalty.pairwise.named_parameters()}
    train(model, torch.randn(3, 16, 6))
    assert_same(before, dict(model.penalty.pairwise.named_parameters()))


@pytest.mark.parametrize("mode", ["eval", "no_grad", "inference_mode"])
def test_outside_of_training_nothing_learns_and_the_value_is_the_same_each_time(mode):
    model, x = Encoders(), torch.randn(16, 6)
    train(model, x[None])
    before = estimators_of(model)
    model.train(mode != "eval")
    context = {"eval": torch.enable_grad, "no_grad": torch.no_grad, "inference_mode": torch.inference_mode}[mode]
    with context():
        values = [model.penalty(model.latents(x)) for _ in range(2)]
    assert_same(before, estimators_of(model))
    assert values[0] == values[1]
    assert values[0].requires_grad == (mode == "eval")
    assert model.penalty.likelihood is None
    torch.testing.assert_close(values[0].detach(), 0.3 * sum(model.penalty.values.values()))


def test_a_model_that_loads_the_state_goes_on_bit_for_bit():
    batches = torch.randn(6, 16, 6)
    model = Encoders()
    train(model, batches[:3])
    again = Encoders()
    again.load_state_dict(copy.deepcopy(model.state_dict()))
    copied, unpickled = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    torch.rand(5)  # noise of others changes nothing
    train(model, batches[3:])
    for other in (again, copied, unpickled):
        train(other, batches[3:])
        assert_same(estimators_of(model), estimators_of(other))
        assert_same(model.state_dict(), other.state_dict())


def test_torchs_generator_stays_as_it_is():
    model, x = Encoders(), torch.randn(16, 6)
    torch.manual_seed(3)
    model(x)
    after = torch.rand(3)
    torch.manual_seed(3)
    assert torch.equal(after, torch.rand(3))


def test_the_model_with_its_penalty_is_saved_and_loaded_as_a_finished_model(tmp_path):
    model = Encoders()
    train(model, torch.randn(3, 16, 6))
    save(tmp_path / "model", model, config={})
    again = load(tmp_path / "model", Encoders).model
    x = torch.randn(16, 6)
    with torch.no_grad():
        assert torch.equal(model.eval()(x), again.eval()(x))


def test_estimators_move_with_the_model_and_stay_in_float32_at_least():
    model, x = Encoders(), torch.randn(16, 6)
    train(model, x[None])
    kept = estimators_of(model)
    model.bfloat16()
    assert_same(kept, estimators_of(model))
    model(x.bfloat16()).backward()
    assert model.b.weight.grad.dtype == torch.bfloat16
    assert model.b.weight.grad.isfinite().all()
    model.double()
    assert next(model.penalty.pairwise.parameters()).dtype == F64
    train(model, x.double()[None])
    assert model.penalty.values["CLUB(a;b)"].dtype == F64


class Bare(Conditional):
    """As a user writes one: it takes x as it is."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x):
        return torch.distributions.Independent(torch.distributions.Normal(self.layer(x), 1.0), 1)


@pytest.mark.parametrize("conditional", [None, Bare])
def test_autocast_changes_neither_estimators_nor_penalty(conditional):
    results = []
    for enabled in (True, False):
        torch.manual_seed(0)
        club = CLUBEstimator(2, 2, conditional=conditional and conditional())
        penalty = PenaltyLoss(Pairwise({("a", "b"): club}))
        a, b = torch.randn(2, 16, 2).bfloat16().requires_grad_().unbind()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            value = penalty({"a": a, "b": b})
        results.append([value, *penalty.pairwise.state_dict().values()])
    for with_autocast, without in zip(*results, strict=True):
        assert torch.equal(with_autocast, without)


def test_a_scaler_of_gradients_sees_the_model_alone():
    plain, scaled = Encoders(), Encoders()
    scaled.load_state_dict(copy.deepcopy(plain.state_dict()))
    x = torch.randn(16, 6)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = torch.optim.SGD(scaled.parameters(), 0.05)
    scaler.scale(scaled(x)).backward()
    scaler.step(optimizer)
    scaler.update()
    train(plain, x[None])
    assert_same(estimators_of(plain), estimators_of(scaled))
    torch.testing.assert_close(plain.b.weight, scaled.b.weight)


def test_two_calls_before_one_backward_have_each_its_own_gradient():
    model, x = Encoders(), torch.randn(2, 16, 6)
    twin = copy.deepcopy(model)
    (model(x[0]) + model(x[1])).backward()
    twin(x[0]).backward()
    twin(x[1]).backward()
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)


def test_rows_that_no_pair_has_leave_a_penalty_of_0_and_gradients_of_0():
    model, x = Encoders(), torch.randn(16, 6)
    value = model.penalty(model.latents(x), {"b": torch.zeros(16, dtype=torch.bool), "c": torch.arange(16) < 1})
    value.backward()
    assert value == 0
    assert not model.penalty.values
    assert not model.b.weight.grad.any()


def test_a_sequence_keeps_its_mask():
    values, mask = torch.randn(8, 5, 3, dtype=torch.bfloat16, requires_grad=True), torch.ones(8, 5, dtype=torch.bool)
    y = torch.randn(8, 2)
    club = CLUBEstimator(3, 2, conditional=MaskedConditional(GaussianConditional(3, 2)))
    PenaltyLoss(Pairwise({("x", "y"): club}))({"x": Masked(values, mask), "y": y}).backward()
    assert values.grad.any()


def test_what_is_not_finite_is_named_before_the_estimators_see_it():
    model, x = Encoders(), torch.randn(16, 6)
    train(model, x[None])
    before = estimators_of(model)
    latents = model.latents(x)
    with pytest.raises(NonFiniteError, match=r"^call 1: not finite: variable b$") as error:
        model.penalty({**latents, "b": latents["b"] * float("inf")})
    assert error.value.names == ["variable b"]
    assert_same(before, estimators_of(model))


def test_it_refuses_in_one_line_what_it_cannot_do():
    x = torch.randn(8, 2, requires_grad=True)
    with pytest.raises(ValueError, match="expected inner_steps as a whole number of at least 1, got 0"):
        PenaltyLoss(Pairwise({("a", "b"): CLUBEstimator(2, 2)}), inner_steps=0)
    penalty = PenaltyLoss(Pairwise({("a", "b"): CLUBEstimator(2, 2)}))
    with pytest.raises(ValueError, match="was the latent detached"):
        penalty({"a": x.detach(), "b": x.detach()})
    with pytest.raises(ValueError, match=r"expected variables named \['a', 'b'\], got \['a'\]: no \['b'\]"):
        penalty({"a": x})
    with pytest.raises(ValueError, match=r"expected one process per device, got a replica of nn\.DataParallel"):
        penalty._replicate_for_data_parallel()({"a": x, "b": x})
    with torch.device("meta"):
        empty = PenaltyLoss(Pairwise({("a", "b"): CLUBEstimator(2, 2)}))
    with pytest.raises(ValueError, match="expected estimators with values, got some on the meta device"):
        empty({"a": x, "b": x})


def test_a_state_of_another_version_or_of_something_else_is_refused_and_changes_nothing():
    model, other = Encoders(), Encoders()
    train(model, torch.randn(1, 16, 6))
    saved = torch.load(BytesIO(model.penalty.get_extra_state().numpy().tobytes()), weights_only=True)
    del saved["lag"]
    file = BytesIO()
    torch.save(saved, file)
    earlier = torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)
    before = estimators_of(other)
    with pytest.raises(
        ValueError, match=r"of this version, \[.*'lag'.*\], got \['iteration', 'optimizer', 'pairwise'\]: load"
    ):
        other.penalty.load_state_dict({"_extra_state": earlier})
    for bytes_ in (torch.zeros(64, dtype=torch.uint8), earlier[:-100], earlier[:0]):
        with pytest.raises(ValueError, match=r"^expected the state of a PenaltyLoss, got bytes that hold none$"):
            other.penalty.load_state_dict({"_extra_state": bytes_})
    assert_same(before, estimators_of(other))


def test_the_state_of_other_estimators_or_another_optimiser_is_refused_and_changes_nothing():
    model = Encoders()
    train(model, torch.randn(1, 16, 6))
    other = PenaltyLoss(Pairwise({("a", "b"): CLUBEstimator(2, 3)}))
    before = {name: t.clone() for name, t in other.pairwise.state_dict().items()}
    with pytest.raises(ValueError, match=r"^estimators: [\w.;]+: expected .*, got .*; and \d+ more$"):
        other.set_extra_state(model.penalty.get_extra_state())
    assert_same(before, other.pairwise.state_dict())
    plain = Encoders(optimizer=lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9))
    before = estimators_of(plain)
    with pytest.raises(ValueError, match=r"expected the state of SGD, got one without .*momentum"):
        plain.penalty.set_extra_state(model.penalty.get_extra_state())
    assert_same(before, estimators_of(plain))


def test_the_presence_of_what_is_no_variable_is_refused():
    model = Encoders()
    with pytest.raises(ValueError, match=r"expected the presence of variables, \['a', 'b', 'c'\], got that of aa"):
        model(torch.randn(8, 6), {"aa": torch.ones(8, dtype=torch.bool)})


def test_a_penalty_without_parameters_has_no_optimizer():
    penalty = PenaltyLoss(Pairwise({("a", "b"): OrthogonalLoss()}), inner_steps=0, weight=2.0)
    a, b = torch.randn(2, 8, 2, requires_grad=True).unbind()
    torch.testing.assert_close(penalty({"a": a, "b": b}), 2 * OrthogonalLoss()(a, b))
    assert penalty.likelihood is None


def test_a_second_derivative_is_refused():
    penalty = PenaltyLoss(Pairwise({("a", "b"): OrthogonalLoss()}))
    a = torch.randn(8, 2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"expected one derivative of a PenaltyLoss, .*: its pairwise gives"):
        torch.autograd.grad(penalty({"a": a, "b": torch.randn(8, 2)}), a, create_graph=True)


def test_a_weight_that_learns_is_refused():
    penalty = PenaltyLoss(Pairwise({("a", "b"): OrthogonalLoss()}))
    with pytest.raises(ValueError, match=r"expected a weight without a gradient: .*, weight \* penalty"):
        penalty.weight = nn.Parameter(torch.ones(()))
    penalty.weight = torch.tensor(0.5)
    latents = {"a": torch.randn(8, 2, requires_grad=True), "b": torch.randn(8, 2)}
    torch.testing.assert_close(penalty(latents), 0.5 * penalty.pairwise(latents)["orthogonal(a;b)"])


def test_the_rate_may_be_set_between_calls():
    def moved(change):
        torch.manual_seed(0)
        penalty = PenaltyLoss(Pairwise({("a", "b"): CLUBEstimator(2, 2)}), lr=1e-3, inner_steps=1)
        latents = {name: torch.randn(8, 2, requires_grad=True) for name in "ab"}
        penalty(latents)
        penalty.lr *= change
        assert penalty.rate == pytest.approx(1e-3 * change)
        before = copy.deepcopy(penalty.pairwise.state_dict())
        penalty(latents)
        return sum((t - before[name]).square().sum() for name, t in penalty.pairwise.state_dict().items()).sqrt()

    torch.testing.assert_close(moved(3.0), 3 * moved(1.0), rtol=1e-3, atol=0)


def test_an_optimiser_that_wants_a_closure_is_refused():
    penalty = PenaltyLoss(Pairwise({("a", "b"): CLUBEstimator(2, 2)}), optimizer=torch.optim.LBFGS)
    with pytest.raises(ValueError, match="got LBFGS, which wants a closure"):
        penalty({name: torch.randn(8, 2, requires_grad=True) for name in "ab"})


def test_a_sequence_that_is_not_finite_is_refused_before_the_estimators_see_it():
    q = MaskedConditional(GaussianConditional(3, 2))
    penalty = PenaltyLoss(Pairwise({("s", "b"): CLUBEstimator(3, 2, conditional=q)}))
    frames, mask = torch.randn(16, 5, 3), torch.arange(5) < torch.arange(16)[:, None] % 5 + 1
    b = torch.randn(16, 2, requires_grad=True)
    penalty({"s": Masked(frames, mask), "b": b})
    before = [p.clone() for p in penalty.pairwise.parameters()]
    frames[0, 0, 0] = torch.nan
    with pytest.raises(NonFiniteError, match="variable s"):
        penalty({"s": Masked(frames, mask), "b": b})
    for p, kept in zip(penalty.pairwise.parameters(), before, strict=True):
        assert torch.equal(p, kept)


def test_a_rate_that_is_set_stays_and_one_that_is_left_adapts():
    penalty = PenaltyLoss(Pairwise({("a", "b"): CLUBEstimator(2, 2)}))

    def calls():
        for i in range(4):
            a = torch.randn(32, 2, requires_grad=True)
            penalty({"a": a, "b": a + i})
        return penalty.rate.item()

    penalty.lr = 1e-3
    assert calls() == pytest.approx(1e-3)
    penalty.lr = None
    assert calls() != pytest.approx(1e-3, rel=1e-3)
    penalty.lr = 2e-3
    assert calls() == pytest.approx(2e-3)


def test_estimators_that_were_frozen_in_their_stack_are_refused():
    pairs = Pairwise({("a", "b"): CLUBEstimator(2, 2), ("b", "a"): CLUBEstimator(2, 2)})
    pairs.requires_grad_(False)
    with pytest.raises(ValueError, match=r"CLUB\(a;b\): expected parameters that take gradients, got 4 that do not"):
        PenaltyLoss(pairs)


def test_an_encoder_of_the_model_inside_an_estimator_is_refused():
    encoder = nn.Linear(3, 3)
    q = MaskedConditional(GaussianConditional(3, 2), encode=Means(encoder))
    penalty = PenaltyLoss(Pairwise({("s", "b"): CLUBEstimator(3, 2, conditional=q)}))
    sequence = Masked(torch.randn(16, 5, 3), torch.ones(16, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="expected estimators with parameters of their own"):
        penalty({"s": sequence, "b": encoder(sequence.values.mean(1))[:, :2]})
    penalty({"s": sequence, "b": torch.randn(16, 2, requires_grad=True)})


class Means(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, values, mask):
        return Masked(self.layer(values), mask).mean()


@pytest.mark.parametrize("weight", [torch.ones(1), float("nan"), float("inf"), torch.tensor(torch.nan), "0.1", None])
def test_a_weight_that_is_no_number_is_refused(weight, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the types are checked first, here
    with pytest.raises((ValueError, TypeError), match=r"expected (one weight|a finite weight|the weight as a number)"):
        PenaltyLoss(Pairwise({("a", "b"): OrthogonalLoss()}), weight=weight)


@pytest.mark.parametrize(
    ("present", "error", "message"),
    [
        (torch.ones(5, dtype=torch.bool), ValueError, r"expected the presence of a as \(4,\), one per row, got \(5,\)"),
        (torch.ones(4), ValueError, r"expected the presence of a as torch.bool, got torch.float32"),
        ([True] * 4, TypeError, r"expected the presence of a as a tensor \(4,\), got list: torch.as_tensor makes one"),
    ],
)
def test_a_presence_that_is_none_is_named(present, error, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the types are checked first, here
    penalty = PenaltyLoss(Pairwise({("a", "b"): OrthogonalLoss()}))
    a = torch.randn(4, 2, requires_grad=True)
    with pytest.raises(error, match=message):
        penalty({"a": a, "b": a}, {"a": present})


@pytest.mark.parametrize("size", [1e3, 1e12])
def test_estimators_outlive_a_batch_with_an_outlier(size):
    model = Encoders()
    batches = torch.randn(30, 24, 6, generator=torch.Generator().manual_seed(1))
    train(model, batches[:20])
    spoilt = batches[0].clone()
    spoilt[0] = size
    model.requires_grad_(False)  # the loop leaves the model as it is on this batch
    before = estimators_of(model)
    with pytest.raises(NonFiniteError, match="likelihood"):
        model.penalty({name: z.requires_grad_() for name, z in model.latents(spoilt).items()})
    assert all(t.isfinite().all() for t in estimators_of(model).values())
    assert any(not torch.equal(t, before[name]) for name, t in estimators_of(model).items())  # by their momentum
    model.requires_grad_(True)
    train(model, batches[20:])
    assert model.penalty.likelihood.isfinite()


def test_estimators_with_sparse_gradients_outlive_an_outlier_too():
    class Looked(Conditional):
        def __init__(self):
            super().__init__()
            self.table, self.scale = nn.Embedding(4, 4, sparse=True), 1.0

        def forward(self, x):
            mean, log_variance = (self.table((x[:, 0] > 0).long()) * self.scale).chunk(2, 1)
            return torch.distributions.Independent(
                torch.distributions.Normal(mean, (0.5 * log_variance).exp(), validate_args=False), 1
            )

    looked = Looked()
    pairs = Pairwise({("a", "b"): CLUBEstimator(2, 2, conditional=looked)})
    penalty = PenaltyLoss(pairs, optimizer=torch.optim.SparseAdam)
    a, b = torch.randn(2, 16, 2, requires_grad=True)
    penalty({"a": a, "b": b})
    looked.scale = torch.inf
    with pytest.raises(NonFiniteError, match="likelihood"):
        penalty({"a": a, "b": b})
    looked.scale = 1.0
    assert penalty({"a": a, "b": b}).isfinite()


def test_a_single_row_has_no_penalty_and_in_training_that_is_said_once():
    model = Encoders()
    model(torch.randn(8, 6))
    estimators = copy.deepcopy(model.penalty.pairwise.state_dict())
    with pytest.warns(EstimatorWarning, match="call 2: expected at least 2 rows of a, b, c, got fewer: .*drop_last"):
        loss = model.penalty(model.latents(torch.randn(1, 6)))
    loss.backward()
    assert (loss, model.penalty.values) == (0, {})
    with warnings.catch_warnings(action="error"):
        assert model.penalty(model.latents(torch.randn(1, 6))) == 0
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())
    assert all(torch.equal(t, estimators[name]) for name, t in model.penalty.pairwise.state_dict().items())
    model.eval()
    assert model.penalty(model.latents(torch.randn(1, 6))) == 0
    model.train()
    with torch.no_grad():
        assert model.penalty(model.latents(torch.randn(1, 6))) == 0


def test_a_single_row_leaves_a_dial_as_it_is():
    pairs = Pairwise({("a", "b"): HSIC()})
    penalty = PenaltyLoss(pairs, weight=Dial(pairs, allowed=0.01))
    rows = torch.randn(2, 8, 2, requires_grad=True)
    penalty({"a": rows[0], "b": rows[1]})
    weights = {name: weight.clone() for name, weight in penalty.weight.weights.items()}
    with pytest.warns(EstimatorWarning, match="call 2"):
        assert penalty({"a": rows[0, :1], "b": rows[1, :1]}) == 0
    assert penalty.weight.weights == weights


@pytest.mark.parametrize("reentrant", [False, True])
def test_activation_checkpointing_around_it_is_refused_and_other_hooks_are_not(reentrant):
    def gradient(around):
        torch.manual_seed(0)
        model = Encoders()
        around(model, torch.randn(16, 6, requires_grad=True)).backward()
        return model.a.weight.grad

    def checkpointed(model, x):
        return checkpoint(model, x, use_reentrant=reentrant)

    def on_cpu(model, x):
        with torch.autograd.graph.save_on_cpu():
            return model(x)

    with pytest.raises(
        ValueError, match="expected a PenaltyLoss outside of code that activation checkpointing runs again"
    ):
        gradient(checkpointed)
    assert torch.equal(gradient(on_cpu), gradient(lambda model, x: model(x)))


def test_a_weight_on_a_device_is_looked_at_with_the_values():
    a, b = torch.randn(2, 8, 2, requires_grad=True)
    penalty = PenaltyLoss(Pairwise({("a", "b"): OrthogonalLoss()}), weight=torch.tensor(0.5))
    penalty({"a": a, "b": b})
    penalty.weight.fill_(torch.nan)  # which is read when the penalty is computed
    with pytest.raises(NonFiniteError, match="call 2: not finite: weight"):
        penalty({"a": a, "b": b})


def test_the_rate_is_that_of_lr_or_of_the_optimiser(monkeypatch):
    pairs = Pairwise({("a", "b"): CLUBEstimator(2, 2)})
    with pytest.raises(ValueError, match=r"expected the rate from lr or from optimizer, got both: lr 0\.1"):
        PenaltyLoss(pairs, lr=0.1, optimizer=sgd)
    penalty = PenaltyLoss(pairs, optimizer=sgd)
    with pytest.raises(ValueError, match=r"got both: lr 0\.1"):
        penalty.lr = 0.1
    assert penalty.lr is None
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    for other in (torch.optim.Adam(pairs.parameters()), 0.1):
        with pytest.raises(TypeError, match=r"such as torch.optim.Adam, got (Adam|float): they are"):
            PenaltyLoss(pairs, optimizer=other)


def test_estimators_that_were_frozen_later_are_refused():
    penalty = PenaltyLoss(Pairwise({("a", "b"): CLUBEstimator(2, 2)}))
    variables = dict(zip("ab", torch.randn(2, 8, 2, requires_grad=True), strict=True))
    penalty(variables)
    penalty.pairwise.requires_grad_(False)
    with pytest.raises(ValueError, match=r"CLUB\(a;b\): expected parameters that take gradients"):
        penalty(variables)


def test_variables_and_presences_that_are_given_otherwise_than_by_name_are_refused(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    a, b = torch.randn(2, 8, 2, requires_grad=True)
    pairs = Pairwise({("a", "b"): CLUBEstimator(2, 2)})
    for call in (pairs, PenaltyLoss(pairs)):
        with pytest.raises(TypeError, match="expected variables by name, a dictionary, got Tensor"):
            call(a, b)
        with pytest.raises(TypeError, match="expected presences by name, a dictionary, got Tensor"):
            call({"a": a, "b": b}, b)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (
            torch.zeros(8, 3),
            torch.zeros(8, 4),
            r"a;b: expected x of shape \(N, 4\) and y of shape \(N, 4\) .*, got \(8, 3\)",
        ),
        (torch.zeros(8, 4), torch.zeros(7, 4), "expected variables with the same number of rows"),
        (torch.zeros(8, 4), torch.zeros(8, 4), r"CLUB\(a;b\): expected a variable with a gradient, got none of a, b"),
    ],
)
def test_shapes_are_told_before_gradients(a, b, message):
    with pytest.raises(ValueError, match=message):
        PenaltyLoss(Pairwise({("a", "b"): CLUBEstimator(4, 4)}))({"a": a, "b": b})


def test_transforms_of_functions_are_refused():
    loss, x, y = PenaltyLoss(Pairwise({("a", "b"): HSIC()})), torch.randn(8, 2), torch.randn(8, 2)
    for transformed in (
        torch.func.grad(lambda a: loss({"a": a, "b": y})),
        torch.func.vmap(lambda a: loss({"a": a, "b": y})),
    ):
        with pytest.raises(ValueError, match=r"expected a call outside of torch\.func's transforms"):
            transformed(x)
    pairs = Pairwise({("a", "b"): HSIC(bandwidth=1.0)})
    gradient = torch.func.grad(lambda a: pairs({"a": a, "b": y})["HSIC(a;b)"])(x)  # as the error says
    x.requires_grad_()
    torch.testing.assert_close(gradient, torch.autograd.grad(pairs({"a": x, "b": y})["HSIC(a;b)"], x)[0])
