import torch
from hypothesis import given
from hypothesis import strategies as st

from disentangle import Masked, Rows

F64 = torch.float64


@given(st.lists(st.integers(0, 5), min_size=1, max_size=5))
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


def test_selecting_and_detaching_keep_values_and_mask_together():
    masked = Masked(
        torch.randn(3, 2, 1, requires_grad=True), torch.tensor([[True, False], [True, True], [False, False]])
    )
    rows = masked.select(torch.tensor([2, 0]))
    assert torch.equal(rows.values, masked.values[[2, 0]])
    assert torch.equal(rows.mask, masked.mask[[2, 0]])
    assert not masked.detach().values.requires_grad


@given(st.data())
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
