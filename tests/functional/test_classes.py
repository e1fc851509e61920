"""Whole numbers are classes; everything else is refused where values can be read, and makes NaN where they cannot."""

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Categorical, Independent

from disentangle import CategoricalConditional, CLUBEstimator, LeaveOneOutEstimator, SampledCLUBEstimator, functional
from disentangle.conditionals import Conditional
from disentangle.dependence import BarberAgakovEstimator, DifferenceOfEntropiesEstimator
from disentangle.functional.classes import as_classes, one_hot

WRONG = {
    "0.5": torch.tensor([0.0, 0.5, 1.0, 2.0]),
    "-1": torch.tensor([-1, 1, -1, 1]),
    "3": torch.tensor([0, 1, 2, 3]),
    "nan": torch.tensor([0.0, 1.0, math.nan, 2.0]),
    "inf": torch.tensor([0.0, 1.0, math.inf, 2.0]),
    "1000000000": torch.tensor([1e9, 1.0, 0.0, 2.0]),
    "255": torch.tensor([255, 1, 0, 2], dtype=torch.uint8),
}
wrong = pytest.mark.parametrize(("got", "y"), WRONG.items(), ids=list(WRONG))


class Plain(Conditional):
    """A conditional of someone's own, with the categories that torch has."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 3)

    def forward(self, x):
        return Independent(Categorical(logits=self.layer(x)[:, None], validate_args=False), 1, validate_args=False)


CONDITIONALS = {"ours": lambda: CategoricalConditional(2, 3), "plain": Plain}
ESTIMATORS = {
    "CLUB": lambda q: CLUBEstimator(2, 1, conditional=q),
    "sampled": lambda q: SampledCLUBEstimator(2, 1, conditional=q),
    "L1Out": lambda q: LeaveOneOutEstimator(2, 1, conditional=q),
    "BA": lambda q: BarberAgakovEstimator(2, 1, entropy=math.log(3), conditional=q),
    "DoE": lambda q: DifferenceOfEntropiesEstimator(2, 1, conditional=q, marginal=CategoricalConditional(1, 3)),
}
every = pytest.mark.parametrize("make", ESTIMATORS.values(), ids=list(ESTIMATORS))
either = pytest.mark.parametrize("conditional", CONDITIONALS.values(), ids=list(CONDITIONALS))


def message(got):
    return re.escape(f"expected classes 0 to 2 as whole numbers, got {got}") + "$"


@given(st.lists(st.one_of(st.integers(-3, 5), st.floats(width=32)), min_size=1, max_size=6))
@settings(deadline=None)
def test_classes_are_the_whole_numbers_below_their_count(values):
    y = torch.tensor(values, dtype=torch.float32)
    if all(value in (0, 1, 2) for value in values):
        chosen, spoiler = as_classes(y, 3)
        assert chosen.tolist() == values
        assert not spoiler.any()
    else:
        with pytest.raises(ValueError, match="expected classes 0 to 2 as whole numbers, got "):
            as_classes(y, 3)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.int64, torch.bfloat16, torch.float64])
def test_every_type_of_number_can_count_classes(dtype):
    x, y = torch.randn(6, 2), torch.tensor([0, 1, 1, 0, 1, 0])
    club = CLUBEstimator(2, 1, conditional=CategoricalConditional(2, 300))
    expected = club(x, y[:, None]), club.learning_loss(x, y[:, None])
    assert torch.equal(club(x, y.to(dtype)), expected[0])
    assert torch.equal(club.learning_loss(x, y.to(dtype)), expected[1])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_columns_are_those_of_all_classes_or_of_those_that_are_there(dtype):
    y = torch.tensor([4, 1, 4], dtype=dtype)
    assert torch.equal(one_hot(y, 6), nn.functional.one_hot(y.long(), 6).float())
    assert one_hot(y, None, torch.float64).tolist() == [[0, 1], [1, 0], [0, 1]]
    truth = torch.tensor([True, False])
    assert one_hot(truth, 2).tolist() == one_hot(truth, None).tolist() == [[0, 1], [1, 0]]


def test_a_class_beyond_the_columns_is_refused_or_nan_where_values_are_not_looked_at(monkeypatch):
    y = torch.tensor([0, 3, 2])
    with pytest.raises(ValueError, match=message("3")):
        one_hot(y, 3)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)  # then the CPU does what other devices do
    columns = one_hot(y, 3, torch.bfloat16)
    assert columns.isnan().all(1).tolist() == [False, True, False]
    assert columns[::2].tolist() == [[1, 0, 0], [0, 0, 1]]


@wrong
@every
@either
def test_what_is_no_class_is_named(conditional, make, got, y):
    estimator = make(conditional())
    for call in (estimator, estimator.learning_loss):
        for shaped in (y, y[:, None]):
            with pytest.raises(ValueError, match=message(got)):
                call(torch.randn(4, 2), shaped)


@wrong
@either
def test_the_functions_name_it_too(conditional, got, y):
    q, y = conditional()(torch.randn(4, 2)), y[:, None]
    calls = [
        lambda: functional.club(q, y),
        lambda: functional.club_categorical(q.base_dist.logits, y),
        lambda: functional.club_pairwise(q, y),
        lambda: functional.club_sampled(q, y, 1),
        lambda: functional.log_likelihoods(q, y),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=message(got)):
            call()


@wrong
def test_the_likelihood_of_the_conditional_names_it_too(got, y):
    with pytest.raises(ValueError, match=message(got)):
        CategoricalConditional(2, 3)(torch.randn(4, 2)).log_prob(y[:, None])


def test_columns_that_are_not_those_of_q_are_named():
    q = CategoricalConditional(2, 3)(torch.randn(4, 2))
    one_hot = nn.functional.one_hot(torch.tensor([0, 1, 2, 0]))
    with pytest.raises(ValueError, match=re.escape("event shape (3,) for y of shape (4, 3), got (4,) and (1,)")):
        functional.club(q, one_hot)
    with pytest.raises(ValueError, match=re.escape("expected y of shape (4, 1), as the logits, got (4, 3)")):
        functional.club_categorical(q.base_dist.logits, one_hot)
    assert torch.equal(functional.club(q, one_hot.argmax(1)), functional.club(q, torch.tensor([[0], [1], [2], [0]])))


@every
@either
def test_nothing_reads_a_value_back_to_the_host(conditional, make):
    with torch.device("meta"):  # tensors without values: reading one raises
        estimator = make(conditional())
        x, y = torch.randn(4, 2), torch.zeros(4)
        assert y.device.type == "meta"
        estimator.learning_loss(x, y).backward()
        if not isinstance(estimator, SampledCLUBEstimator):  # it draws a number on the host
            estimator(x, y).backward()
        with pytest.raises(RuntimeError, match="meta"):
            y.sum().item()


@wrong
@every
@either
def test_where_values_are_not_looked_at_the_result_is_nan(monkeypatch, conditional, make, got, y):
    estimator, x = make(conditional()), torch.randn(4, 2)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)  # then the CPU does what other devices do
    for call in (estimator, estimator.learning_loss):
        assert call(x, torch.zeros(4)).isfinite()
        assert call(x, y).isnan()
    gradients = torch.autograd.grad(estimator.learning_loss(x, y), list(estimator.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)  # the estimator outlives a step that is left out


@pytest.mark.cuda
@wrong
@every
def test_on_cuda_nothing_waits_and_the_result_is_nan(make, got, y, cuda, no_waiting):
    estimator = make(CategoricalConditional(2, 3)).to(cuda)
    x, y, right = torch.randn(4, 2, device=cuda), y.to(cuda), torch.zeros(4, device=cuda)
    with no_waiting():
        values = [call(x, labels) for call in (estimator, estimator.learning_loss) for labels in (y, right)]
    assert [value.isnan().item() for value in values] == [True, False, True, False]
