import copy
import inspect
import re

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from disentangle import CLUBEstimator, Masked, OrthogonalLoss, Pairwise, frames
from disentangle.conditionals import GaussianConditional, MaskedConditional
from disentangle.dependence import (
    CKA,
    HSIC,
    Dependence,
    DistanceCorrelation,
    GivenClasses,
    ModalityDiscriminator,
    TotalCorrelationEstimator,
)
from disentangle.errors import TooFewRowsError


def variables(n=8, sizes=(("L", 4), ("S", 3), ("X", 5), ("T", 3))):
    return {name: torch.randn(n, d) for name, d in sizes}


def test_each_pair_is_evaluated_in_its_order_and_named_for_the_log():
    club, orthogonal = CLUBEstimator(5, 3), OrthogonalLoss()
    pairs = Pairwise({("X", "S"): club, ("S", "T"): orthogonal})
    batch = variables()
    values = pairs(batch)
    assert list(values) == ["CLUB(X;S)", "orthogonal(S;T)"]
    assert torch.equal(values["CLUB(X;S)"], club(batch["X"], batch["S"]))
    assert torch.equal(values["orthogonal(S;T)"], orthogonal(batch["S"], batch["T"]))


def test_the_learning_loss_sums_over_the_pairs_that_learn():
    first, second = CLUBEstimator(5, 3), CLUBEstimator(4, 3)
    pairs = Pairwise({("X", "S"): first, ("S", "T"): OrthogonalLoss(), ("L", "S"): second})
    batch = variables()
    expected = first.learning_loss(batch["X"], batch["S"]) + second.learning_loss(batch["L"], batch["S"])
    torch.testing.assert_close(pairs.learning_loss(batch), expected)
    nothing = Pairwise({("S", "T"): OrthogonalLoss()})
    assert not nothing.learns
    assert nothing.learning_loss(batch) is None


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_absent_rows_leave_their_pairs_whatever_they_hold(data):
    rows = st.lists(st.booleans(), min_size=8, max_size=8)
    present = {name: torch.tensor(data.draw(rows)) for name in ("L", "S")}
    pairs = Pairwise({("L", "S"): CLUBEstimator(4, 3), ("X", "S"): CLUBEstimator(5, 3)})
    batch = variables()
    spoilt = {name: v.clone() for name, v in batch.items()}
    for name, has in present.items():
        spoilt[name][~has] = float("nan")
    values = pairs(spoilt, present)
    for (x, y), club in zip(pairs.pairs, pairs.dependences.values(), strict=True):
        both = present.get(x, torch.ones(8, dtype=torch.bool)) & present[y]
        name = f"CLUB({x};{y})"
        if both.sum() < 2:
            assert name not in values
        else:
            torch.testing.assert_close(values[name], club(batch[x][both], batch[y][both]))


def test_a_masked_variable_is_selected_with_its_mask():
    club = CLUBEstimator(3, 2, conditional=MaskedConditional(GaussianConditional(3, 2)))
    sequence = Masked(torch.randn(6, 4, 3), torch.rand(6, 4) > 0.3)
    s = torch.randn(6, 2)
    has = torch.tensor([True, False, True, True, False, True])
    value = Pairwise({("X", "S"): club})({"X": sequence, "S": s}, {"X": has})["CLUB(X;S)"]
    torch.testing.assert_close(value, club(Masked(sequence.values[has], sequence.mask[has]), s[has]))


@pytest.mark.parametrize("make", [lambda: ModalityDiscriminator(4, 3), lambda: TotalCorrelationEstimator(4, 4, 4)])
def test_a_group_may_have_more_than_two_names(make):
    dependence = make()
    pairs = Pairwise({("L", "A", "V"): dependence, ("L", "A"): CLUBEstimator(4, 4)})
    batch = {name: torch.randn(8, 4) for name in "LAV"}
    present = {"A": torch.arange(8) > 0, "V": torch.arange(8) < 6}
    rows = present["A"] & present["V"]
    spoilt = {**batch, "V": batch["V"].where(present["V"][:, None], torch.nan)}
    label = f"{dependence.label}(L;A;V)"
    chosen = [batch[name][rows] for name in "LAV"]
    state = torch.get_rng_state()
    value = pairs(spoilt, present)[label]
    torch.set_rng_state(state)
    torch.testing.assert_close(value, dependence(*chosen))
    assert list(pairs(batch)) == [label, "CLUB(L;A)"]
    assert pairs.learning_loss(spoilt, present).isfinite()
    pairs.load_state_dict(pairs.state_dict())
    assert any(key.startswith("dependences.L;A;V.") for key in pairs.state_dict())


def test_the_nine_terms_of_the_paper_are_one_line():
    size = dict.fromkeys("LAVS", 4) | {"X_L": 6, "X_A": 2, "X_V": 3}
    names = [("V", "L"), ("V", "A"), ("L", "A"), ("V", "S"), ("L", "S"), ("A", "S"), *((f"X_{m}", "S") for m in "VLA")]
    pairs = Pairwise({(x, y): CLUBEstimator(size[x], size[y]) for x, y in names})
    assert len(pairs({name: torch.randn(5, d) for name, d in size.items()})) == 9


def utterances():
    """Embeddings of speakers, one per utterance, and contents, one per frame; several pairs of either kind."""
    mask = torch.arange(6) < torch.tensor([[6], [2], [4], [1], [3]])
    speaker, content = torch.randn(5, 3), Masked(torch.randn(5, 6, 4), mask)
    by_frame = dict(zip(("speaker of frame", "frame"), frames(speaker, content), strict=True))
    return {"speaker": speaker, "mean": content.mean(), "copy": content.mean(), **by_frame}


def test_groups_may_differ_in_their_rows_as_utterances_and_frames_do():
    clubs = {
        ("speaker", "mean"): CLUBEstimator(3, 4),
        ("speaker of frame", "frame"): CLUBEstimator(3, 4),
        ("copy", "mean"): CLUBEstimator(4, 4),
    }
    apart = copy.deepcopy(clubs)
    pairs, batch = Pairwise(clubs), utterances()
    assert [len(stack.members) for stack in pairs.dependences.stacks] == [3]  # one network, whatever their rows
    has = torch.tensor([True, True, False, True, True])
    kept = {**batch, "mean": batch["mean"][has], "copy": batch["mean"][has], "speaker": batch["speaker"][has]}
    for present, rows in ((None, batch), ({"mean": has}, kept)):
        values = pairs(batch, present)
        expected = {f"CLUB({x};{y})": club(rows[x], rows[y]) for (x, y), club in apart.items()}
        torch.testing.assert_close(values, expected)
        loss = sum(club.learning_loss(rows[x], rows[y]) for (x, y), club in apart.items())
        torch.testing.assert_close(pairs.learning_loss(batch, present), loss)


def test_the_variables_of_a_group_have_one_number_of_rows():
    pairs = Pairwise({("speaker", "frame"): CLUBEstimator(3, 4)})
    message = "expected variables with the same number of rows, got {'frame': 16, 'speaker': 5}"
    with pytest.raises(ValueError, match=re.escape(message)):
        pairs(utterances())


def test_a_presence_of_another_length_is_named():
    pairs = Pairwise({("speaker", "mean"): CLUBEstimator(3, 4)})
    with pytest.raises(ValueError, match=re.escape("expected the presence of mean as torch.bool, got torch.int64")):
        inspect.unwrap(Pairwise.forward)(pairs, utterances(), {"mean": torch.ones(5, dtype=torch.int64)})
    with pytest.raises(ValueError, match=re.escape("expected the presence of mean as (5,), one per row, got (4,)")):
        pairs(utterances(), {"mean": torch.tensor([True, False, True, True])})


def test_what_is_no_tensor_is_named():
    pairs = Pairwise({("L", "S"): OrthogonalLoss()})
    with pytest.raises(TypeError, match=re.escape("expected S as a tensor (N, d), got a list: torch.as_tensor(S, ")):
        inspect.unwrap(Pairwise.forward)(pairs, {"L": torch.zeros(2, 1), "S": [0.0, 1.0]})


@pytest.mark.parametrize("number", [torch.float64, torch.float16, torch.int64])
def test_pairs_in_one_network_take_the_numbers_that_single_ones_take(number):
    clubs = {("L", "S"): CLUBEstimator(4, 2), ("X", "S"): CLUBEstimator(5, 2)}
    apart, pairs = copy.deepcopy(clubs), Pairwise(clubs)
    batch = {**variables(), "S": torch.randint(0, 5, (8, 2)).to(number)}  # a single column of integers is classes
    expected = {f"CLUB({x};S)": club(batch[x], batch["S"]) for (x, _), club in apart.items()}
    torch.testing.assert_close(pairs(batch), expected)
    loss = sum(club.learning_loss(batch[x], batch["S"]) for (x, _), club in apart.items())
    torch.testing.assert_close(pairs.learning_loss(batch), loss)
    with pytest.raises(ValueError, match=re.escape("expected x of X;S in torch.float32, the precision of the par")):
        pairs({**batch, "X": batch["X"].double()})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Pairwise({}), "expected at least one pair of variables, got none"),
        (
            lambda: Pairwise({("a.b", "c"): OrthogonalLoss()}),
            "expected a variable's name without any of '. ; ( )', got 'a.b'",
        ),
        (lambda: Pairwise({("a",): OrthogonalLoss()}), "expected a tuple of two names or more, got ('a',)"),
        (
            lambda: Pairwise({("a", "b"): OrthogonalLoss()})({"a": torch.zeros(2, 2)}),
            "expected variables named ['a', 'b'], got ['a']: no ['b']",
        ),
        (
            lambda: Pairwise({("a", "b"): OrthogonalLoss()})({"a": torch.zeros(2, 2), "b": torch.zeros(3, 2)}),
            "expected variables with the same number of rows, got {'a': 2, 'b': 3}",
        ),
    ],
)
def test_misuse_is_named(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


class Few(Dependence):
    """A dependence of its own that needs five rows."""

    label = "few"

    def forward(self, x, y):
        if len(x) < 5:
            raise TooFewRowsError(f"expected at least 5 rows, got {len(x)}")
        return (x.mean() - y.mean()).square()


@pytest.mark.parametrize(
    ("dependence", "needed"),
    [
        (HSIC(unbiased=True), 4),
        (DistanceCorrelation(unbiased=True), 4),
        (GivenClasses(HSIC()), 4),
        (Few(), 5),
        (CKA(), 2),
    ],
)
def test_a_pair_with_fewer_rows_than_its_dependence_needs_is_left_out_where_a_variable_is_missing(dependence, needed):
    names = ("L", "S", "c") if isinstance(dependence, GivenClasses) else ("L", "S")
    batch = variables() | {"c": torch.zeros(8, dtype=torch.long)}
    pairs = Pairwise({names: dependence, ("S", "T"): OrthogonalLoss()})
    for n in range(9):
        values = pairs(batch, present={"L": torch.arange(8) < n})
        assert list(values) == [pairs.labels[";".join(names)]] * (n >= needed) + ["orthogonal(S;T)"]
        if n >= needed:
            kept = [batch[name][:n] for name in names]
            torch.testing.assert_close(values[pairs.labels[";".join(names)]], dependence(*kept))
    if needed > 2:
        few = {name: value[: needed - 1] for name, value in batch.items()}
        with pytest.raises(ValueError, match=f"L;S.*: expected .*at least {needed} rows"):  # no variable is missing
            pairs(few)


def test_total_correlation_learns_from_as_many_rows_as_it_has_variables():
    pairs = Pairwise({("L", "S", "X"): TotalCorrelationEstimator(4, 3, 5)})
    assert pairs.learning_loss(variables(), present={"L": torch.arange(8) < 2}) is None
    assert pairs.learning_loss(variables(), present={"L": torch.arange(8) < 3}) is not None


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("make", [lambda: CLUBEstimator(4, 3), lambda: OrthogonalLoss()])
def test_too_few_rows_are_refused_unless_a_variable_is_missing(rows, make):
    pairs = Pairwise({("L", "S"): make(), ("A", "S"): make()})
    few = {name: torch.randn(rows, 3 if name == "S" and pairs.learns else 4) for name in "LAS"}
    calls = [pairs, pairs.learning_loss] if pairs.learns else [pairs]
    for call in calls:
        with pytest.raises(TooFewRowsError, match=f"^L;S: expected at least 2 rows, got {rows}: drop_last=True"):
            call(few)
        everywhere = {name: torch.ones(rows, dtype=torch.bool) for name in "LAS"}
        with pytest.raises(TooFewRowsError):
            call(few, everywhere)
        if rows:
            assert not call(few, {"S": torch.zeros(rows, dtype=torch.bool)})


def test_a_dependence_that_has_too_few_rows_says_so_by_the_same_error():
    with pytest.raises(TooFewRowsError, match=r"^L;S: expected .*at least 4 rows"):
        Pairwise({("L", "S"): HSIC(unbiased=True)})({"L": torch.randn(3, 2), "S": torch.randn(3, 2)})


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([("a", "b")], TypeError, "expected a dependence for each pair of names, .*, got a list"),
        ({("a", "b"): HSIC}, TypeError, r"a;b: expected a Dependence, got the class HSIC: HSIC\(...\) makes one"),
        ({("a", "b"): torch.nn.Linear(3, 3)}, TypeError, "a;b: expected a Dependence, got a Linear"),
        ({("a", "a"): HSIC()}, ValueError, r"expected names that differ, got \('a', 'a'\)"),
        ({(1, 2): HSIC()}, ValueError, r"expected a tuple of two names or more, got \(1, 2\)"),
        ({tuple("abc"): HSIC()}, ValueError, "a;b;c: expected 2 names, as many as a HSIC takes variables, got 3"),
        ({tuple("abc"): CLUBEstimator(3, 3)}, ValueError, "a;b;c: expected 2 names, .* CLUBEstimator .*, got 3"),
        ({tuple("ab"): TotalCorrelationEstimator(3, 3, 3)}, ValueError, "a;b: expected 3 names, .*, got 2"),
        ({tuple("ab"): ModalityDiscriminator(3, 3)}, ValueError, "a;b: expected 3 names, .*, got 2"),
        ({tuple("ab"): GivenClasses(HSIC())}, ValueError, "a;b: expected 3 names, .*, got 2"),
    ],
)
def test_what_is_no_dependence_for_each_pair_of_names_is_refused(given, error, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(error, match=message):
        Pairwise(given)
