import math
import re

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from disentangle import (
    CKA,
    HSIC,
    CategoricalConditional,
    CLUBEstimator,
    DistanceCorrelation,
    GivenClasses,
    InfoNCEEstimator,
    Masked,
    OrthogonalLoss,
    Pairwise,
    Rows,
    class_numbers,
    frames,
    functional,
)
from disentangle.variables import as_rows, zero_in_padding

F64 = torch.float64


@given(st.lists(st.integers(0, 5), min_size=1, max_size=5))
@settings(deadline=None)
def test_the_mean_of_a_masked_sequence_is_that_of_its_real_steps(lengths):
    values = torch.full((len(lengths), 6, 2), float("nan"), dtype=F64)
    mask = torch.zeros(len(lengths), 6, dtype=torch.bool)
    expected = torch.zeros(len(lengths), 2, dtype=F64)
    for i, n in enumerate(lengths):
        values[i, :n] = torch.randn(n, 2, dtype=F64)
        mask[i, :n] = True
        if n:
            expected[i] = values[i, :n].sum(0) / n
    masked = Masked(values, mask)
    torch.testing.assert_close(masked.mean(), expected)
    assert masked.lengths.tolist() == lengths


@pytest.mark.parametrize("padding", [0.0, 3.0, math.nan, math.inf])
@pytest.mark.parametrize("differentiable", [False, True])
@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 2), (3, 4, 2, 2)])
def test_padding_becomes_zero_whatever_stands_there_and_gets_no_gradient(shape, differentiable, padding):
    mask = torch.arange(4) < torch.tensor([[4], [2], [0]])
    values = torch.ones(shape, dtype=F64)
    values[~mask] = padding
    values.requires_grad_(differentiable)
    before = values.detach().clone()
    zeroed = zero_in_padding(values, mask)
    assert torch.equal(zeroed[mask], values[mask])
    assert not zeroed[~mask].any()
    assert (zeroed is values) == (padding == 0 and not differentiable)  # no copy where none is needed
    torch.testing.assert_close(values.detach(), before, equal_nan=True)
    if differentiable:
        zeroed.sum().backward()
        assert torch.equal(values.grad != 0, mask.view(3, 4, *(1,) * (len(shape) - 2)).expand(shape))


def test_selecting_and_detaching_keep_values_and_mask_together():
    masked = Masked(
        torch.randn(3, 2, 1, requires_grad=True), torch.tensor([[True, False], [True, True], [False, False]])
    )
    rows = masked.select(torch.tensor([2, 0]))
    assert torch.equal(rows.values, masked.values[[2, 0]])
    assert torch.equal(rows.mask, masked.mask[[2, 0]])
    assert not masked.detach().values.requires_grad


@given(st.data())
@settings(deadline=None)
def test_the_mean_over_rows_can_be_rebuilt_from_any_split_of_them(data):
    n = data.draw(st.integers(2, 8))
    cut = data.draw(st.integers(1, n - 1))
    weights = torch.tensor(data.draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)), dtype=F64)
    values = torch.randn(n, dtype=F64)
    parts = [Rows(values[:cut], weights[:cut]), Rows(values[cut:], weights[cut:])]
    total, weight = sum(p.total() for p in parts), weights.sum()
    torch.testing.assert_close(Rows(values, weights).mean(), total / weight if weight > 0 else total)


def test_a_row_of_weight_zero_has_no_influence_even_if_it_is_not_finite():
    values = torch.tensor([1.0, float("inf"), float("nan")], requires_grad=True)
    mean = Rows(values, torch.tensor([2.0, 0.0, 0.0])).mean()
    mean.backward()
    assert mean == 1
    assert values.grad.tolist() == [1, 0, 0]


def test_a_row_of_a_weight_below_zero_does_not_count():
    assert Rows(torch.tensor([1.0, 5.0]), torch.tensor([1.0, -0.5])).mean() == 1


def test_no_rows_at_all_give_zero_with_a_gradient_of_zero():
    values = torch.randn(3, requires_grad=True)
    mean = Rows(values, torch.zeros(3)).mean()
    mean.backward()
    assert mean == 0
    assert values.grad.tolist() == [0, 0, 0]


def test_half_precision_rows_are_summed_in_float32():
    mean = Rows(torch.full((4000,), 1.0, dtype=torch.bfloat16), torch.ones(4000)).mean()
    assert mean.dtype == torch.float32
    assert mean == 1


@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.integers(0, 3))
@settings(deadline=None)
def test_frames_are_the_real_ones_in_order_with_what_belongs_to_their_sequence(lengths, shift):
    n, steps = len(lengths), 4
    mask = torch.stack([torch.arange(steps).roll(shift) < length for length in lengths])  # not only left-aligned
    values = torch.full((n, steps, 2), math.nan, dtype=F64)
    values[mask] = torch.randn(int(mask.sum()), 2, dtype=F64)
    pitch = torch.where(mask, torch.randn(n, steps, dtype=F64), math.nan)
    speaker, label = torch.randn(n, 3, dtype=F64), torch.arange(n)
    places = [(i, t) for i in range(n) for t in range(steps) if mask[i, t]]
    flat = frames(speaker, Masked(values, mask), label, Masked(pitch, mask.clone()))
    expected = [[speaker[i] for i, _ in places], [values[i, t] for i, t in places]]
    expected += [[label[i] for i, _ in places], [pitch[i, t] for i, t in places]]
    for found, rows, shape in zip(flat, expected, [(3,), (2,), (), ()], strict=True):
        assert found.shape == (len(places), *shape)
        assert not rows or torch.equal(found, torch.stack(rows))


def test_frames_pass_gradients_to_real_frames_and_to_what_was_repeated():
    mask = torch.tensor([[True, True, False], [True, False, False]])
    values = torch.randn(2, 3, 1, requires_grad=True)
    speaker = torch.randn(2, 1, requires_grad=True)
    sum(rows.sum() for rows in frames(speaker, Masked(values, mask))).backward()
    assert speaker.grad.flatten().tolist() == [2, 1]
    assert torch.equal(values.grad[..., 0], mask.float())


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ([torch.zeros(2, 1)], "expected at least one masked sequence, got none"),
        (
            [Masked(torch.zeros(2, 3, 1), torch.ones(2, 3) > 0), Masked(torch.zeros(2, 4, 1), torch.ones(2, 4) > 0)],
            "expected sequences with the same mask, got masks of shapes (2, 3) and (2, 4) that differ",
        ),
        (
            [Masked(torch.zeros(2, 3, 1), torch.ones(2, 3) > 0), Masked(torch.zeros(2, 3, 1), torch.zeros(2, 3) > 0)],
            "expected sequences with the same mask, got masks of shapes (2, 3) and (2, 3) that differ",
        ),
        (
            [torch.zeros(3, 1), Masked(torch.zeros(2, 3, 1), torch.ones(2, 3) > 0)],
            "expected a row for each of the 2 sequences, got [3]",
        ),
        (
            [Masked(torch.zeros(2, 6, 1), torch.ones(2, 4) > 0)],
            "expected the mask of a sequence as torch.bool (2, 6), got torch.bool (2, 4)",
        ),
    ],
)
def test_frames_that_do_not_belong_together_are_refused(variables, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        frames(*variables)


def test_a_mean_in_half_precision_does_not_overflow_and_numbers_per_frame_have_one():
    mask = torch.arange(400) < torch.tensor([[400], [3]])
    values = torch.full((2, 400), 1000.0, dtype=torch.float16)
    assert Masked(values, mask).mean().tolist() == [1000, 1000]
    assert Masked(values[..., None], mask).mean().tolist() == [[1000], [1000]]


def test_one_number_per_frame_is_a_column():
    pitch = Masked(torch.randn(2, 3), torch.ones(2, 3, dtype=torch.bool))
    assert torch.equal(as_rows(pitch, "pitch").values, pitch.values[..., None])
    with pytest.raises(ValueError, match=re.escape("expected pitch as values (N, T, d), got (2,)")):
        as_rows(Masked(torch.zeros(2), torch.zeros(2, 1)), "pitch")


@pytest.mark.parametrize(
    ("mask", "got"),
    [(torch.ones(2, 3), "torch.float32 (2, 3)"), (torch.ones(2, 4) > 0, "torch.bool (2, 4)")],
)
def test_a_mask_that_is_none_is_named(mask, got):
    message = f"expected the mask of x as torch.bool (2, 3), got {got}"
    with pytest.raises(ValueError, match=re.escape(message)):
        as_rows(Masked(torch.zeros(2, 3, 1), mask), "x")


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool])
def test_one_column_of_whole_numbers_is_classes_to_every_dependence(dtype):
    z, c = torch.randn(60, 3), torch.arange(60).remainder(3).to(dtype)
    for dependence in (HSIC(), CKA(), DistanceCorrelation(), InfoNCEEstimator(3, len(c.unique()))):
        assert dependence(z, c[:, None]) == dependence(z, c)
    assert GivenClasses(HSIC())(z, z[:, :1], c[:, None]) == GivenClasses(HSIC())(z, z[:, :1], c)
    q = CategoricalConditional(3, 3)
    clubs = {("z", "c"): CLUBEstimator(3, 1, conditional=q), ("c", "z"): CLUBEstimator(len(c.unique()), 3)}
    pairs = Pairwise(clubs)
    assert pairs({"z": z, "c": c[:, None]}) == pairs({"z": z, "c": c})
    for refuses in (OrthogonalLoss(), CLUBEstimator(3, 1), Pairwise({("x", "y"): CLUBEstimator(3, 1)})):
        with pytest.raises(ValueError, match="which are classes"):
            refuses({"x": z, "y": c[:, None]}) if isinstance(refuses, Pairwise) else refuses(z, c[:, None])
    with pytest.raises(ValueError, match="which are classes"):
        functional.club(CLUBEstimator(3, 1).conditional(z), c[:, None])


def test_several_columns_of_whole_numbers_are_numbers():
    z, counts = torch.randn(20, 3), torch.randint(5, (20, 2))
    assert HSIC()(z, counts) == HSIC()(z, counts.float())


def test_classes_are_numbered_in_their_order_or_in_that_given():
    for labels in (["b", "a", "b"], np.array(["b", "a", "b"]), pd.Series(["b", "a", "b"])):
        numbers, names = class_numbers(labels)
        assert (numbers.tolist(), numbers.dtype, names) == ([1, 0, 1], torch.int64, ["a", "b"])
    assert class_numbers(torch.tensor([10, 2, 10]))[1] == ["2", "10"]
    assert class_numbers(["b", "b"], ["c", "b", "a"])[0].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([["a", "b"]], None, "expected labels of shape (N,), got (1, 2)"),
        (["a", None], None, "expected a label in each of 2 rows, got none in 1"),
        (pd.Series(["a", None, "b"], dtype="string"), None, "expected a label in each of 3 rows, got none in 1"),
        ([1.0, float("nan")], None, "expected a label in each of 2 rows, got none in 1"),
        ([float("nan"), "a"], None, "expected a label in each of 2 rows, got none in 1"),
        (np.ma.array([1, 2, 3], mask=[False, True, False]), None, "expected a label in each of 3 rows, got none in 1"),
        (np.ma.array(["a", "b"], mask=[False, True]), None, "expected a label in each of 2 rows, got none in 1"),
        (["a", "z"], ["a", "b"], "expected one of a, b, got 'z'"),
    ],
)
def test_labels_without_a_class_are_refused(labels, names, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        class_numbers(labels, names)


@pytest.mark.parametrize("labels", [[1, "a"], [True, "a"], np.array([1, "a"], dtype=object)])
def test_labels_of_two_kinds_are_refused(labels):
    with pytest.raises(TypeError, match=r"^expected labels as strings or as numbers, got (int|bool), str$"):
        class_numbers(labels)


def test_labels_may_be_numbers_of_numpy_and_masked_arrays_that_lack_none():
    assert class_numbers([np.int64(2), np.int64(1)])[0].tolist() == [1, 0]
    assert class_numbers(np.array([np.float64(2), np.float64(1)], dtype=object))[0].tolist() == [1, 0]  # were missing
    assert class_numbers(np.ma.array([2, 1], mask=False))[0].tolist() == [1, 0]


def test_a_mask_of_numbers_is_refused_in_words():
    sequence = Masked(torch.ones(2, 3, 4), torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))
    message = re.escape(
        "expected a mask as torch.bool, True for each real step, got torch.float32: mask > 0.5 makes one"
    )
    for call in (sequence.mean, lambda: sequence.lengths, lambda: zero_in_padding(*sequence)):
        with pytest.raises(ValueError, match=message):
            call()
