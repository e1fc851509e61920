from math import exp, tanh

import pytest
import torch
from jaxtyping import config

from disentangle.nn import CapsuleReadout, SequenceCapsules, dynamic_routing
from disentangle.variables import Masked

F64 = torch.float64
MASK = torch.tensor([[True] * 4, [True, False, True, False], [False] * 4])
over_either = pytest.mark.parametrize("over", ["capsules", "steps"])


def routed(votes, rounds, over):
    """The weights `[step][capsule]` and the capsules of votes `[step][capsule][feature]`, number by number."""
    steps, n, d = range(len(votes)), range(len(votes[0])), range(len(votes[0][0]))
    b, r, v = [[0.0 for _ in n] for _ in steps], [], []
    for _ in range(rounds):
        if over == "capsules":
            r = [[exp(b[t][j]) / sum(exp(b[t][k]) for k in n) * len(n) / len(steps) for j in n] for t in steps]
        else:
            r = [[exp(b[t][j]) / sum(exp(b[s][j]) for s in steps) for j in n] for t in steps]
        v = [[tanh(sum(r[t][j] * votes[t][j][i] for t in steps)) for i in d] for j in n]
        b = [[b[t][j] + sum(v[j][i] * votes[t][j][i] for i in d) for j in n] for t in steps]
    return r, v


@over_either
@pytest.mark.parametrize("rounds", [1, 2, 4])
def test_routing_and_its_gradient_are_those_of_the_formula_with_constant_weights(rounds, over):
    votes = torch.randn(3, 4, 3, 2, dtype=F64, requires_grad=True)
    direction = torch.randn(3, 3, 2, dtype=F64)
    capsules = dynamic_routing(votes, MASK, rounds, over=over)
    (gradient,) = torch.autograd.grad((capsules * direction).sum(), votes)
    for row in range(2):
        r, v = routed(votes[row, MASK[row]].tolist(), rounds, over)
        torch.testing.assert_close(capsules[row], torch.tensor(v, dtype=F64))
        slope = direction[row] * (1 - torch.tensor(v, dtype=F64).square())
        expected = torch.tensor(r, dtype=F64).unsqueeze(2) * slope
        torch.testing.assert_close(gradient[row, MASK[row]], expected)
    assert not capsules[2].any()
    assert not gradient[~MASK].any()


@over_either
def test_a_sequence_twice_as_long_with_every_step_twice_has_the_same_capsules(over):
    votes = torch.randn(2, 5, 3, 4, dtype=F64)
    once = dynamic_routing(votes, torch.ones(2, 5).bool(), 3, over=over)
    twice = dynamic_routing(votes.repeat_interleave(2, 1), torch.ones(2, 10).bool(), 3, over=over)
    torch.testing.assert_close(twice, once)


def test_a_vote_that_agrees_counts_for_more():
    votes = torch.tensor([[[[0.9, 0.0]], [[0.8, 0.1]], [[-0.5, 0.9]]]])
    first, later = (dynamic_routing(votes, torch.ones(1, 3).bool(), n, over="steps") for n in (1, 5))
    assert later[0, 0, 0] > first[0, 0, 0]
    assert later[0, 0, 1] < first[0, 0, 1]


def test_other_weights_are_refused(monkeypatch):
    monkeypatch.setattr(config, "jaxtyping_disable", True)  # as for everyone but these tests
    with pytest.raises(ValueError, match="expected over as 'capsules' or 'steps', got 'rows'"):
        dynamic_routing(torch.zeros(1, 1, 1, 1), torch.ones(1, 1).bool(), 1, over="rows")  # pyright: ignore[reportArgumentType]


def test_no_rounds_are_refused():
    with pytest.raises(ValueError, match="expected a round or more, got 0"):
        dynamic_routing(torch.zeros(1, 1, 1, 1), torch.ones(1, 1).bool(), 0)
    for make in (lambda: SequenceCapsules(2, 3, 4, rounds=0), lambda: CapsuleReadout(2, 3, 4, rounds=0)):
        with pytest.raises(ValueError, match="expected a round or more, got 0"):
            make()


@pytest.mark.parametrize("content", [0.0, 7.0, torch.nan])
def test_the_capsules_of_a_sequence_are_those_of_its_real_steps_wherever_padding_is(content):
    capsules = SequenceCapsules(6, capsules=3, out_features=2).double()
    values = torch.randn(3, 4, 6, dtype=F64)
    x = torch.where(MASK.unsqueeze(2), values, content).requires_grad_()
    found = capsules(Masked(x, MASK))
    alone = torch.cat([capsules(Masked(values[i : i + 1, MASK[i]], MASK[i : i + 1, MASK[i]])) for i in range(3)])
    torch.testing.assert_close(found, alone)
    assert not found[2].any()
    found.sum().backward()
    assert x.grad is not None
    assert x.grad[MASK].all()
    assert not x.grad[~MASK].any()


def test_capsules_of_a_sequence_depend_on_the_order_of_steps():
    capsules, values, every = SequenceCapsules(6, 3, 2), torch.randn(1, 4, 6), torch.ones(1, 4).bool()
    assert not torch.allclose(capsules(Masked(values, every)), capsules(Masked(values.flip(1), every)))


def test_a_readout_routes_the_votes_of_each_vector_by_its_own_map():
    readout, x = CapsuleReadout(3, 4, 2, rounds=3).double(), torch.randn(2, 3, 4, dtype=F64)
    found = readout(x)
    for row in range(2):
        votes = [[(x[row, j] @ readout.maps[j]).tolist()] for j in range(3)]
        torch.testing.assert_close(found[row], torch.tensor(routed(votes, 3, "steps")[1][0], dtype=F64))
    assert not readout(torch.zeros_like(x)).any()
    found.sum().backward()
    assert readout.maps.grad is not None
    assert readout.maps.grad.all()


def test_half_precision_is_routed_in_float32():
    votes, every = torch.randn(2, 300, 3, 4).bfloat16(), torch.ones(2, 300).bool()
    with torch.autocast("cpu", torch.bfloat16):
        found = dynamic_routing(votes, every, 4)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, dynamic_routing(votes.float(), every, 4).bfloat16(), atol=0, rtol=0)
