import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from disentangle import functional

F64 = torch.float64


def naive_cosine_margin(x, labels, margin):
    """Triple by triple, with loops."""

    def cosine(a, b):
        return a @ b / (a.norm() * b.norm()) if a.any() and b.any() else torch.zeros((), dtype=F64)

    means, n = [], len(x)
    for i in range(n):
        apart = [max(abs(a - b) for a, b in zip(labels[i], labels[k], strict=True)) for k in range(n)]
        positives, negatives = ([k for k in range(n) if k != i and (apart[k] == 0) == same] for same in (True, False))
        hinges = [
            torch.relu(margin * apart[k] - cosine(x[i], x[j]) + cosine(x[i], x[k]))
            for j in positives
            for k in negatives
        ]
        if hinges:
            means.append(torch.stack(hinges).mean())
    return torch.stack(means).mean() if means else torch.zeros((), dtype=F64)


LABELS = {
    "numbers": [[0.0], [1.0], [1.0], [-2.5], [0.0], [0.0], [3.0], [1.0]],
    "columns": [[0.0, 1.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0]],
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("margin", [0.0, 0.15, 2.0])
@pytest.mark.parametrize("a_row_of_zeros", [False, True])
def test_it_equals_its_definition_in_values_and_gradients(labels, margin, a_row_of_zeros):
    x = torch.randn(8, 3, dtype=F64)
    if a_row_of_zeros:
        x[2] = 0
    x.requires_grad_()
    fast = functional.cosine_margin(x, torch.tensor(labels, dtype=F64), margin)
    slow = naive_cosine_margin(x, labels, margin)
    torch.testing.assert_close(fast, slow)
    gradient, expected = (torch.autograd.grad(value, x)[0] for value in (fast, slow))
    torch.testing.assert_close(gradient[x.detach().any(1)], expected[x.detach().any(1)])
    assert gradient.isfinite().all()


def test_the_gradient_is_that_of_the_value():
    labels = torch.tensor(LABELS["numbers"], dtype=F64)
    x = torch.randn(8, 3, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: functional.cosine_margin(x, labels, 0.3), x)


def test_rows_of_one_label_in_one_direction_and_others_opposite_lose_nothing_within_the_margin():
    x, labels = torch.tensor([[1.0, 0.0], [5.0, 0.0], [-1.0, 0.0]]), torch.tensor([[0.0], [0.0], [4.0]])
    for margin, loss in ((0.5, 0.0), (0.75, 1.0)):  # the distance of cosines is 2, that of labels 4
        assert functional.cosine_margin(x, labels, margin).item() == pytest.approx(loss)


@pytest.mark.parametrize("labels", [[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]])
def test_without_a_row_that_has_both_it_is_0_with_a_gradient_of_0(labels):
    x = torch.randn(3, 2, requires_grad=True)
    value = functional.cosine_margin(x, torch.tensor(labels)[:, None])
    assert value == 0
    assert not torch.autograd.grad(value, x)[0].any()


@pytest.mark.parametrize("scale", [2.0**-66, 2.0**66])
def test_the_scale_of_rows_does_not_matter(scale):
    x, labels = torch.randn(8, 3), torch.tensor(LABELS["numbers"])
    torch.testing.assert_close(functional.cosine_margin(x * scale, labels), functional.cosine_margin(x, labels))
    one = torch.where(torch.arange(8)[:, None] == 3, scale, 1.0)
    torch.testing.assert_close(functional.cosine_margin(x * one, labels), functional.cosine_margin(x, labels))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_and_autocast_are_reduced_in_float32(dtype):
    x, labels = torch.randn(8, 3).to(dtype), torch.tensor(LABELS["numbers"])
    exact = functional.cosine_margin(x.double(), labels.double())
    with torch.autocast("cpu", torch.bfloat16):
        value = functional.cosine_margin(x, labels)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=1e-6)


def test_a_negative_margin_is_refused():
    with pytest.raises(ValueError, match=r"expected a margin of 0 or more, got -0\.1"):
        functional.cosine_margin(torch.randn(3, 2), torch.zeros(3, 1), -0.1)


def test_no_value_is_read_back_from_the_device():
    with FakeTensorMode():  # tensors without values: to read one raises
        x = torch.randn(8, 3, requires_grad=True)
        functional.cosine_margin(x, torch.randn(8, 1)).backward()
        assert x.grad is not None


def test_what_is_not_finite_makes_the_loss_so():
    x, labels = torch.randn(6, 3), torch.tensor([0.0, 0.0, 1.0, 1.0, 2.0, 2.0])[:, None]
    for place, bad in ((0, torch.nan), (3, torch.inf)):
        rows = x.clone()
        rows[place, 1] = bad
        assert functional.cosine_margin(rows, labels).isnan()
    labels[5] = torch.nan
    assert functional.cosine_margin(x, labels).isnan()
