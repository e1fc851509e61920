"""Estimators that run as one network are the single estimators: values, gradients, training, state dicts."""

import copy
import io
import pickle
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from disentangle import CLUBEstimator, Masked, Pairwise
from disentangle.conditionals import FullGaussianConditional, GaussianConditional
from disentangle.dependence import CKA, InfoNCEEstimator, LeaveOneOutEstimator
from disentangle.pairwise.stacked import StackedLinear
from disentangle.training import RunError, frozen
from disentangle.training.checkpoints import Checkpoints

F64 = torch.float64
SIZES = {"L": 4, "A": 4, "S": 4, "X": 7, "Z": 2}
NAMES = [("L", "S"), ("A", "S"), ("X", "S"), ("S", "A"), ("Z", "L")]
KINDS = [{}, {"log_variance": "tanh"}, {"log_variance": "zero"}, {"unbiased": True}]


def variables(n=8, dtype=torch.float32):
    return {name: torch.randn(n, size, dtype=dtype, requires_grad=True) for name, size in SIZES.items()}


def singles(dtype=torch.float32, **kind):
    return {(x, y): CLUBEstimator(SIZES[x], SIZES[y], 5, **kind).to(dtype) for x, y in NAMES}


def stacked(clubs):
    """All of them in one stack, and copies that stay single."""
    apart = copy.deepcopy(clubs)
    pairs = Pairwise(clubs)
    assert [len(stack.members) for stack in pairs.dependences.stacks] == [len(clubs)]
    return pairs, apart


def layout(clubs):
    """The single estimators where a Pairwise of separate ones has them."""
    return nn.ModuleDict({"dependences": nn.ModuleDict({";".join(names): club for names, club in clubs.items()})})


def gradients(pairs):
    """The gradients of the stacks, taken apart as parameters are."""
    held = copy.deepcopy(pairs)
    with torch.no_grad():
        for p, q in zip(held.parameters(), pairs.parameters(), strict=True):
            p.copy_(torch.zeros_like(q) if q.grad is None else q.grad)
    return held.state_dict()


def tolerance(dtype):
    return {"rtol": 1e-10, "atol": 1e-12} if dtype == F64 else {"rtol": 1e-5, "atol": 1e-6}


def assert_same_states(pairs, apart, **close):
    ours, theirs = pairs.state_dict(), layout(apart).state_dict()
    assert set(ours) == set(theirs)
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, **close)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_values_and_gradients_are_those_of_single_estimators(kind, dtype):
    pairs, apart = stacked(singles(dtype, **kind))
    batch = variables(dtype=dtype)
    inputs = list(batch.values())
    ours = pairs(batch)
    theirs = {f"CLUB({x};{y})": club(batch[x], batch[y]) for (x, y), club in apart.items()}
    assert list(ours) == list(theirs)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, **tolerance(dtype))
    weights = torch.randn(len(NAMES), dtype=dtype)
    sums = [(weights * torch.stack(list(values.values()))).sum() for values in (ours, theirs)]
    grads = [torch.autograd.grad(total, inputs) for total in sums]
    torch.testing.assert_close(*grads, **tolerance(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_learning_losses_and_all_their_gradients_are_those_of_single_estimators(kind, dtype):
    pairs, apart = stacked(singles(dtype, **kind))
    batch = variables(dtype=dtype)
    inputs = list(batch.values())
    ours = pairs.learning_loss(batch)
    theirs = sum(club.learning_loss(batch[x], batch[y]) for (x, y), club in apart.items())
    torch.testing.assert_close(ours, theirs, **tolerance(dtype))
    to_ours = torch.autograd.grad(ours, inputs, retain_graph=True)
    torch.testing.assert_close(to_ours, torch.autograd.grad(theirs, inputs, retain_graph=True), **tolerance(dtype))
    ours.backward()
    theirs.backward()
    found = gradients(pairs)
    for key, p in layout(apart).named_parameters():
        torch.testing.assert_close(found[key], p.grad, **tolerance(dtype))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_twenty_steps_of_adam_end_where_single_estimators_do(dtype, fused):
    pairs, apart = stacked(singles(dtype))
    optimizer = torch.optim.Adam(pairs.parameters(), 1e-2, fused=fused)
    optimizers = [torch.optim.Adam(club.parameters(), 1e-2) for club in apart.values()]
    for _ in range(20):
        batch = {name: v.detach() for name, v in variables(dtype=dtype).items()}
        optimizer.zero_grad()
        pairs.learning_loss(batch).backward()
        optimizer.step()
        for ((x, y), club), single in zip(apart.items(), optimizers, strict=True):
            single.zero_grad()
            club.learning_loss(batch[x], batch[y]).backward()
            single.step()
    assert_same_states(pairs, apart, rtol=0, atol=1e-6 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_learning_loss_passes_gradcheck(kind):
    pairs, _ = stacked(singles(F64, **kind))
    names, batch = zip(*variables(3, F64).items(), strict=True)
    parameters = list(pairs.parameters())

    def loss(*tensors):
        given, moved = tensors[: len(names)], tensors[len(names) :]
        state = dict(zip((name for name, _ in pairs.named_parameters()), moved, strict=True))
        return torch.func.functional_call(
            Learning(pairs), {f"pairs.{k}": v for k, v in state.items()}, (dict(zip(names, given, strict=True)),)
        )

    assert torch.autograd.gradcheck(loss, (*batch, *parameters), fast_mode=True)


class Learning(nn.Module):
    def __init__(self, pairs):
        super().__init__()
        self.pairs = pairs

    def forward(self, batch):
        return self.pairs.learning_loss(batch)


@given(st.data())
@settings(max_examples=20, deadline=None)
def test_rows_that_lack_a_side_leave_values_and_gradients_whatever_they_hold(data):
    n = 6
    rows = st.lists(st.booleans(), min_size=n, max_size=n)
    present = {name: torch.tensor(data.draw(rows, label=name)) for name in ("L", "S", "X")}
    pairs, apart = stacked(singles(F64))
    batch = {name: v.detach() for name, v in variables(n, F64).items()}
    spoilt = {name: v.clone() for name, v in batch.items()}
    for name, has in present.items():
        spoilt[name][~has] = data.draw(st.sampled_from([float("nan"), float("inf"), 1e300]), label="junk")
    for values in (batch, spoilt):
        for v in values.values():
            v.requires_grad_()
    everywhere = torch.ones(n, dtype=torch.bool)
    theirs, losses = {}, []
    for (x, y), club in apart.items():
        both = present.get(x, everywhere) & present.get(y, everywhere)
        if both.sum() >= 2:
            theirs[f"CLUB({x};{y})"] = club(batch[x][both], batch[y][both])
            losses.append(club.learning_loss(batch[x][both], batch[y][both]))
    ours, loss = pairs(spoilt, present), pairs.learning_loss(spoilt, present)
    assert list(ours) == list(theirs)
    torch.testing.assert_close(ours, theirs)
    assert (loss is None) == (not losses)
    if loss is None:
        return
    (sum(ours.values()) + loss).backward()
    (sum(theirs.values()) + sum(losses)).backward()
    for name, v in spoilt.items():
        expected = torch.zeros_like(v) if batch[name].grad is None else batch[name].grad
        torch.testing.assert_close(torch.zeros_like(v) if v.grad is None else v.grad, expected)
    found = gradients(pairs)
    for key, p in layout(apart).named_parameters():
        torch.testing.assert_close(found[key], torch.zeros_like(p) if p.grad is None else p.grad)


def test_only_what_differs_in_the_size_of_x_alone_is_stacked():
    clubs = {("L", "S"): CLUBEstimator(4, 4), ("A", "S"): CLUBEstimator(4, 4), ("X", "S"): CLUBEstimator(7, 4)}
    others = {
        ("S", "Z"): CLUBEstimator(4, 2),
        ("S", "L"): CLUBEstimator(4, 4, 16),
        ("S", "A"): CLUBEstimator(4, 4, log_variance="tanh"),
        ("A", "L"): CLUBEstimator(4, 4, unbiased=True),
        ("L", "A"): CLUBEstimator(4, 4, conditional=FullGaussianConditional(4, 4)),
        ("L", "Z"): InfoNCEEstimator(4, 2),
        ("A", "Z"): LeaveOneOutEstimator(4, 2),
        ("Z", "S"): CKA(),
    }
    apart = copy.deepcopy({**clubs, **others})
    pairs = Pairwise({**others, **clubs})
    assert [list(stack.members) for stack in pairs.dependences.stacks] == [["L;S", "A;S", "X;S"]]
    batch = variables()
    values = pairs(batch)
    assert list(values) == [f"{d.label}({x};{y})" for (x, y), d in {**others, **clubs}.items()]
    for (x, y), dependence in apart.items():
        torch.testing.assert_close(values[f"{dependence.label}({x};{y})"], dependence(batch[x], batch[y]))
    losses = [
        d.learning_loss(batch[x], batch[y]) for (x, y), d in apart.items() if next(d.parameters(), None) is not None
    ]
    torch.testing.assert_close(pairs.learning_loss(batch), sum(losses))
    assert set(pairs.state_dict()) == set(layout(apart).state_dict())


def test_what_is_shared_frozen_or_made_by_hand_stays_as_it_is():
    shared, still, by_hand = CLUBEstimator(4, 4), CLUBEstimator(4, 4).requires_grad_(False), CLUBEstimator(4, 4)
    assert isinstance(by_hand.conditional, GaussianConditional)
    by_hand.conditional.network[1] = nn.Tanh()
    pairs = Pairwise({("L", "S"): shared, ("A", "S"): shared, ("S", "A"): still, ("S", "L"): by_hand})
    assert len(pairs.dependences.stacks) == 0
    assert sum(p.numel() for p in pairs.parameters()) == 3 * sum(p.numel() for p in shared.parameters())
    batch = variables()
    torch.testing.assert_close(pairs(batch)["CLUB(S;L)"], by_hand(batch["S"], batch["L"]))
    q = GaussianConditional(4, 4)
    pairs = Pairwise({(x, "S"): CLUBEstimator(4, 4, conditional=q) for x in "LA"})
    assert len(pairs.dependences.stacks) == 0
    assert sum(p.numel() for p in pairs.parameters()) == sum(p.numel() for p in q.parameters())


def test_state_dicts_are_those_of_single_estimators_both_ways():
    pairs, apart = stacked(singles())
    state = pairs.state_dict()
    assert_same_states(pairs, apart, rtol=0, atol=0)
    assert all(value.is_contiguous() for value in state.values())
    other = layout(singles())
    other.load_state_dict(state)  # strict
    assert all(
        torch.equal(a, b) for a, b in zip(other.state_dict().values(), layout(apart).state_dict().values(), strict=True)
    )
    back, _ = stacked(singles())
    back.load_state_dict(other.state_dict())
    batch = variables()
    assert all(torch.equal(a, b) for a, b in zip(pairs(batch).values(), back(batch).values(), strict=True))
    nested = nn.ModuleDict({"model": nn.Linear(2, 2), "penalty": back})
    assert "penalty.dependences.L;S.conditional.network.0.weight" in nested.state_dict()
    nested.load_state_dict(nested.state_dict())


def test_a_state_dict_that_does_not_fit_is_named_by_the_single_estimators():
    pairs, _ = stacked(singles())
    before = pairs.state_dict()
    key = "dependences.A;S.conditional.network.0.bias"
    state = {k: v + 1 for k, v in before.items()}
    found = pairs.load_state_dict(
        {k: v for k, v in state.items() if k != key} | {"dependences.A;S.odd": before[key]}, strict=False
    )
    assert found.missing_keys == [key]
    assert found.unexpected_keys == ["dependences.A;S.odd"]
    after = pairs.state_dict()
    assert all(torch.equal(after[k], before[k] if k == key else state[k]) for k in before)
    with pytest.raises(RuntimeError, match=r"(?s)dependences\.A;S.*size mismatch for conditional\.network\.0\.bias"):
        pairs.load_state_dict(state | {key: torch.zeros(9)})
    with pytest.raises(RuntimeError, match=re.escape(f'Missing key(s) in state_dict: "{key}"')):
        pairs.load_state_dict({k: v for k, v in state.items() if k != key})


def test_a_checkpoint_survives_whether_its_estimators_were_stacked_or_not(tmp_path):
    pairs, apart = stacked(singles())
    for step, penalty in enumerate((pairs, layout(apart))):
        Checkpoints(tmp_path).save(step, {"penalty": penalty}, {})
    for step in (0, 1):
        again, fresh = stacked(singles())[0], layout(singles())
        for modules in (again, fresh):
            Checkpoints(tmp_path).load({"penalty": modules}, step)
            assert all(torch.equal(v, pairs.state_dict()[k]) for k, v in modules.state_dict().items())
    wider = Pairwise({names: CLUBEstimator(SIZES[names[0]], SIZES[names[1]], 6) for names in NAMES})
    with pytest.raises(RunError, match="expected"):
        Checkpoints(tmp_path).load({"penalty": wider}, 0)


def test_the_estimators_that_were_given_are_views_of_the_stack():
    clubs = singles()
    pairs = Pairwise(clubs)
    batch = {name: v.detach() for name, v in variables().items()}
    assert pairs.dependences["L;S"] is clubs["L", "S"]
    assert list(pairs.dependences) == pairs.dependences.keys() == [";".join(names) for names in NAMES]
    assert len(pairs.dependences) == len(NAMES)
    with pytest.raises(KeyError):
        pairs.dependences["S;L"]
    optimizer = torch.optim.Adam(pairs.parameters(), 1e-2)
    before = clubs["L", "S"](batch["L"], batch["S"])
    pairs.learning_loss(batch).backward()
    optimizer.step()
    after = clubs["L", "S"](batch["L"], batch["S"])
    assert after != before
    torch.testing.assert_close(after, pairs(batch)["CLUB(L;S)"])
    clubs["L", "S"].load_state_dict(CLUBEstimator(4, 4, 5).state_dict())
    torch.testing.assert_close(pairs(batch)["CLUB(L;S)"], clubs["L", "S"](batch["L"], batch["S"]))
    assert sum(p.numel() for p in pairs.parameters()) == sum(p.numel() for c in clubs.values() for p in c.parameters())


@pytest.mark.parametrize(
    "copied",
    [
        copy.deepcopy,
        lambda pairs: pickle.loads(pickle.dumps(pairs)),
        lambda pairs: torch.load(saved(pairs), weights_only=False),
        lambda pairs: copy.deepcopy(pairs).to("meta").to_empty(device="cpu"),
    ],
    ids=["deepcopy", "pickle", "torch.save", "to_empty"],
)
def test_a_copy_is_whole_and_its_own(copied):
    pairs, _ = stacked(singles())
    before = pairs.state_dict()
    other = copied(pairs)
    other.load_state_dict(before)
    batch = variables()
    torch.testing.assert_close(other(batch), pairs(batch), rtol=0, atol=0)
    with torch.no_grad():
        for p in other.parameters():
            p.zero_()
    assert all(torch.equal(before[k], v) for k, v in pairs.state_dict().items())
    assert not any(v.any() for v in other.state_dict().values())
    assert not any(p.any() for p in other.dependences["X;S"].parameters())


def saved(pairs):
    file = io.BytesIO()
    torch.save(pairs, file)
    file.seek(0)
    return file


def test_single_estimators_follow_to_another_dtype():
    pairs, apart = stacked(singles())
    pairs.double()
    batch = variables(dtype=F64)
    assert {v.dtype for v in pairs.state_dict().values()} == {F64}
    for (x, y), club in apart.items():
        expected = club.double()(batch[x], batch[y])
        torch.testing.assert_close(pairs.dependences[f"{x};{y}"](batch[x], batch[y]), expected)
        torch.testing.assert_close(pairs(batch)[f"CLUB({x};{y})"], expected)


def test_assigned_and_replaced_parameters_are_seen_by_the_single_estimators():
    pairs, _ = stacked(singles())
    state = {k: v + 1 for k, v in pairs.state_dict().items()}
    pairs.load_state_dict(state, assign=True)
    assert all(torch.equal(v, state[k]) for k, v in pairs.state_dict().items())


def test_frozen_estimators_take_no_gradient_and_pass_it_on():
    pairs, _ = stacked(singles())
    batch = variables()
    with frozen(pairs):
        sum(pairs(batch).values()).backward()
    assert all(p.grad is None and p.requires_grad for p in pairs.parameters())
    assert all(v.grad.any() for v in batch.values())


def test_under_autocast_values_are_reduced_in_float32():
    pairs, _ = stacked(singles())
    batch = variables(64)
    exact = pairs(batch)
    with torch.autocast("cpu", torch.bfloat16):
        values, loss = pairs(batch), pairs.learning_loss(batch)
    assert {v.dtype for v in values.values()} == {torch.float32} == {loss.dtype}
    for name, value in values.items():
        torch.testing.assert_close(value, exact[name], rtol=0.1, atol=0.1)


def test_nothing_is_read_back_to_the_host():
    """Tensors on the meta device have no values: reading one raises."""
    pairs = Pairwise(singles()).to("meta")
    batch = {name: torch.randn(8, size, device="meta", requires_grad=True) for name, size in SIZES.items()}
    gaps = {"L": torch.arange(8) % 2 == 0, "S": torch.arange(8) > 1}
    for present in (None, gaps):
        loss = pairs.learning_loss(batch, present) + sum(pairs(batch, present).values())
        loss.backward()
        assert loss.device.type == "meta"


def test_on_cuda_it_is_the_same_and_waits_for_nothing(cuda, no_waiting):
    pairs, _ = stacked(singles())
    batch = variables()
    gaps = {"L": torch.arange(8) % 2 == 0, "S": torch.arange(8) > 1}
    expected = [pairs(batch), pairs(batch, gaps)]
    pairs.to(cuda)
    moved = {name: v.to(cuda) for name, v in batch.items()}
    with no_waiting():
        values = [pairs(moved), pairs(moved, gaps)]
        pairs.learning_loss(moved, gaps).backward()
    for ours, theirs in zip(values, expected, strict=True):
        torch.testing.assert_close({k: v.cpu() for k, v in ours.items()}, theirs, rtol=1e-4, atol=1e-5)


def test_a_state_that_is_assigned_gives_values_to_estimators_without_any():
    trained = Pairwise(singles())
    with torch.device("meta"):
        empty = Pairwise(singles())
    empty.load_state_dict(trained.state_dict(), assign=True)
    assert not any(p.is_meta for p in empty.parameters())
    batch = variables()
    torch.testing.assert_close(empty(batch), trained(batch))


def test_stacked_layers_are_the_layers():
    layers = [nn.Linear(3, 2) for _ in range(4)]
    apart = copy.deepcopy(layers)
    x = torch.randn(4, 5, 3)
    expected = torch.stack([layer(x[k]) for k, layer in enumerate(apart)])
    torch.testing.assert_close(StackedLinear(layers)(x), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"X": torch.zeros(8, 5)},
            "expected x of shape (N, 7) and y of shape (N, 4) with the same N, got (8, 5) and (8, 4)",
        ),
        (
            {"X": Masked(torch.zeros(8, 3, 7), torch.ones(8, 3, dtype=torch.bool))},
            "X;S: expected tensors (N, d), got a masked sequence",
        ),
    ],
)
def test_misuse_is_named(change, message):
    pairs, _ = stacked(singles())
    with pytest.raises(ValueError, match=re.escape(message)):
        pairs(variables() | change)
    with pytest.raises(ValueError, match=re.escape(message)):
        pairs.learning_loss(variables() | change)


CHANGES = {
    "unbiased": lambda club: setattr(club, "unbiased", True),
    "log_variance": lambda club: setattr(club.conditional, "log_variance", "tanh"),
    "conditional": lambda club: setattr(club, "conditional", GaussianConditional(4, 4)),
    "layer": lambda club: club.conditional.network.__setitem__(2, torch.nn.Linear(32, 8)),
    "requires_grad": lambda club: club.requires_grad_(False),
}


@pytest.mark.parametrize("what", CHANGES)
def test_an_estimator_that_was_changed_after_the_stack_was_made_is_refused(what):
    pairs = Pairwise({("L", "S"): CLUBEstimator(4, 4), ("A", "S"): CLUBEstimator(4, 4)})
    pairs(variables())
    CHANGES[what](pairs.dependences["A;S"])
    for call in (pairs, pairs.learning_loss):
        with pytest.raises(
            ValueError, match=f"A;S: expected the estimator as it was .*, got another .*{what}.*: change it before"
        ):
            call(variables())


def test_an_estimator_in_two_pairwise_is_one_estimator():
    shared, batch = CLUBEstimator(4, 4), variables()
    first = Pairwise({("L", "S"): shared, ("A", "S"): CLUBEstimator(4, 4)})
    second = Pairwise({("L", "S"): shared, ("A", "S"): CLUBEstimator(4, 4)})
    for pairs in (first, second):
        optimizer = torch.optim.Adam(pairs.parameters(), 0.1)
        pairs.learning_loss({name: value.detach() for name, value in batch.items()}).backward()
        optimizer.step()
        values = [each(batch)["CLUB(L;S)"] for each in (first, second)] + [shared(batch["L"], batch["S"])]
        torch.testing.assert_close(values[0], values[1])
        torch.testing.assert_close(values[0], values[2])


def test_a_second_derivative_goes_through_what_the_estimators_learn():
    sizes, one = {"L": 4, "S": 4}, torch.ones((), dtype=F64, requires_grad=True)
    batch = {name: torch.randn(6, size, dtype=F64) for name, size in sizes.items()}
    stacked = Pairwise({names: CLUBEstimator(4, 4).double() for names in (("L", "S"), ("S", "L"))})

    def curvature(loss_of, parameters):
        loss = loss_of({"L": batch["L"] * one, "S": batch["S"]})
        first = torch.autograd.grad(loss, parameters, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), one)[0]

    expected = sum(
        curvature(lambda z, x=x, y=y, club=club: club.learning_loss(z[x], z[y]), list(club.parameters()))
        for x, y, club in (("L", "S", fresh(stacked, "L;S")), ("S", "L", fresh(stacked, "S;L")))
    )
    torch.testing.assert_close(curvature(stacked.learning_loss, list(stacked.parameters())), expected)


def fresh(pairs, name):
    """An estimator of its own with the weights of one in a stack."""
    club = CLUBEstimator(4, 4).double()
    club.load_state_dict(pairs.dependences[name].state_dict())
    return club
