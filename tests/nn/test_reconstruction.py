"""The losses of eq. 19 beside whole outputs: values, gradients at one slope and at many, and what stands in padding."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from disentangle.nn import masked_cross_entropy, masked_linear_mse, masked_mse, reconstruction
from disentangle.nn.reconstruction import CHUNK
from disentangle.variables import Masked

F64 = torch.float64
LENGTHS = st.lists(st.integers(0, 6), min_size=1, max_size=5)


@pytest.fixture(autouse=True)
def several_chunks(monkeypatch):
    monkeypatch.setattr(reconstruction, "OUTPUTS", 0)


def mask_of(lengths, time):
    return torch.arange(time) < torch.tensor(lengths)[:, None]


@settings(deadline=None)
@given(LENGTHS)
def test_squared_errors_are_those_of_real_frames(lengths):
    time = max(1, *lengths, 1)
    mask = mask_of(lengths, time)
    target = torch.where(mask[..., None], torch.randn(len(lengths), time, 3, dtype=F64), torch.nan)
    prediction = torch.randn(len(lengths), time, 3, dtype=F64, requires_grad=True)
    loss = masked_mse(prediction, Masked(target, mask))
    real = [
        F.mse_loss(prediction[i, :n], target[i, :n]) if n else torch.zeros((), dtype=F64) for i, n in enumerate(lengths)
    ]
    torch.testing.assert_close(loss.values, torch.stack(real))
    assert loss.weights.tolist() == lengths
    if any(lengths):
        expected = F.mse_loss(prediction[mask], target[mask])
        torch.testing.assert_close(loss.mean(), expected)
        torch.testing.assert_close(
            torch.autograd.grad(loss.mean(), prediction), torch.autograd.grad(expected, prediction)
        )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [3, 2 * CHUNK // 7])  # within one chunk, and over several with a rest
def test_cross_entropies_and_their_gradients_are_those_of_whole_logits(rows, bias):
    output = nn.Linear(5, 11, bias=bias, dtype=F64)
    lengths = torch.randint(0, 8, (rows,)).tolist()
    mask = mask_of(lengths, 7)
    ids = torch.where(mask, torch.randint(11, (rows, 7)), -100)
    hidden = torch.where(mask[..., None], 3 * torch.randn(rows, 7, 5, dtype=F64), torch.nan).requires_grad_()
    loss = masked_cross_entropy(hidden, output, Masked(ids, mask))
    words = F.cross_entropy(output(hidden[mask]), ids[mask], reduction="none")
    naive = torch.stack([w.mean() if len(w) else w.sum() for w in words.split(lengths)])
    torch.testing.assert_close(loss.values, naive)
    assert loss.weights.tolist() == lengths
    torch.testing.assert_close(loss.mean(), words.mean())
    same_gradients(loss, naive, words.mean(), [hidden, *output.parameters()], mask)


def same_gradients(loss, rows, mean, inputs, mask):
    """At one slope, of the mean, which is known beforehand, at a slope per row, which is not, and at none."""
    for ours, naive in (
        (loss.mean(), mean),
        (3 * loss.mean().log(), 3 * mean.log()),
        ((loss.values * (upstream := torch.randn(len(rows), dtype=F64))).sum(), (rows * upstream).sum()),
        (0 * loss.values.sum(), 0 * rows.sum()),
    ):
        ours, naive = (torch.autograd.grad(value, inputs, retain_graph=True) for value in (ours, naive))
        torch.testing.assert_close(ours, naive)
        assert not ours[0][~mask].any()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [3, 2 * CHUNK // 7])
def test_squared_errors_and_their_gradients_are_those_of_whole_outputs(rows, bias):
    output = nn.Linear(5, 4, bias=bias, dtype=F64)
    lengths = [3, *torch.randint(0, 8, (rows - 1,)).tolist()]
    mask = mask_of(lengths, 7)[:, torch.randperm(7)]  # real frames need not come first
    target = Masked(torch.where(mask[..., None], torch.randn(rows, 7, 4, dtype=F64), torch.nan), mask)
    hidden = torch.where(mask[..., None], torch.randn(rows, 7, 5, dtype=F64), torch.nan).requires_grad_()
    loss = masked_linear_mse(hidden, output, target)
    frames = F.mse_loss(output(hidden[mask]), target.values[mask], reduction="none").mean(1)
    naive = torch.stack([f.mean() if len(f) else f.sum() for f in frames.split(lengths)])
    torch.testing.assert_close(loss.values, naive)
    assert loss.weights.tolist() == lengths
    same_gradients(loss, naive, frames.mean(), [hidden, *output.parameters()], mask)


@pytest.mark.parametrize("loss", [masked_cross_entropy, masked_linear_mse])
def test_outputs_that_are_frozen_or_evaluated_or_have_no_steps(loss):
    output, hidden = nn.Linear(5, 4), torch.randn(2, 3, 5, requires_grad=True)
    values = torch.zeros(2, 3, dtype=torch.long) if loss is masked_cross_entropy else torch.zeros(2, 3, 4)
    target, none = Masked(values, mask_of([3, 1], 3)), Masked(values, mask_of([0, 0], 3))
    free = torch.autograd.grad(loss(hidden, output, target).mean(), hidden)
    with torch.no_grad():
        assert not loss(hidden, output, target).values.requires_grad
    output.requires_grad_(False)
    torch.testing.assert_close(torch.autograd.grad(loss(hidden, output, target).mean(), hidden), free)
    nothing = loss(hidden, output, none)
    assert not nothing.values.any()
    assert not torch.autograd.grad(nothing.values.sum(), hidden)[0].any()


def test_cross_entropies_of_extreme_logits_are_finite():
    output = nn.Linear(2, 3)
    hidden = torch.tensor([[[1e5, -1e5], [3e4, 3e4]]], requires_grad=True)
    loss = masked_cross_entropy(hidden, output, Masked(torch.tensor([[0, 2]]), torch.ones(1, 2, dtype=torch.bool)))
    loss.mean().backward()
    torch.testing.assert_close(loss.mean(), F.cross_entropy(output(hidden)[0], torch.tensor([0, 2])))
    assert hidden.grad.isfinite().all()


def test_cross_entropies_under_autocast_are_summed_in_float32():
    output = nn.Linear(16, 300)
    hidden = torch.randn(4, 9, 16, requires_grad=True)
    target = Masked(torch.randint(300, (4, 9)), mask_of([9, 4, 1, 0], 9))
    inputs = [hidden, *output.parameters()]
    exact = masked_cross_entropy(hidden, output, target)
    with torch.autocast("cpu", torch.bfloat16):
        loss = masked_cross_entropy(hidden, output, target)
    assert loss.values.dtype == torch.float32
    torch.testing.assert_close(loss.values, exact.values, atol=0.02, rtol=0.02)
    rounded, exact = torch.autograd.grad(loss.mean(), inputs), torch.autograd.grad(exact.mean(), inputs)
    for a, b in zip(rounded, exact, strict=True):
        assert (a - b).norm() < 0.02 * b.norm()
        assert a.dtype == torch.float32


def test_gradients_pass_numerical_differentiation():
    output, target = nn.Linear(3, 4, dtype=F64), Masked(torch.randn(2, 3, 4, dtype=F64), mask_of([3, 1], 3))
    hidden = torch.randn(2, 3, 3, dtype=F64, requires_grad=True)
    words = Masked(torch.randint(4, (2, 3)), target.mask)
    for loss, wanted in ((masked_cross_entropy, words), (masked_linear_mse, target)):
        for of in (lambda rows: rows.values, lambda rows: rows.mean()):
            torch.autograd.gradcheck(
                lambda h, *_, loss=loss, wanted=wanted, of=of: of(loss(h, output, wanted)),
                (hidden, *output.parameters()),
            )


def test_a_second_derivative_is_refused():
    hidden = torch.randn(2, 3, 4, requires_grad=True)
    target = Masked(torch.randn(2, 3, 5), torch.ones(2, 3, dtype=torch.bool))
    loss = masked_linear_mse(hidden, nn.Linear(4, 5), target).mean()
    with pytest.raises(
        RuntimeError, match=r"expected one derivative of a loss of reconstruction .*, such as masked_mse"
    ):
        torch.autograd.grad(loss, hidden, create_graph=True)


def test_a_mean_is_differentiated_with_the_outputs_of_the_forward_pass(monkeypatch):
    calls, linear = [], F.linear
    monkeypatch.setattr(F, "linear", lambda *given: calls.append(given) or linear(*given))
    output, target = nn.Linear(5, 11), Masked(torch.randint(11, (CHUNK, 3)), torch.ones(CHUNK, 3, dtype=torch.bool))
    loss = masked_cross_entropy(torch.randn(CHUNK, 3, 5, requires_grad=True), output, target)
    loss.mean().log().backward(retain_graph=True)
    assert len(calls) == 3
    loss.values[: CHUNK // 2].mean().backward()
    assert len(calls) == 6


@pytest.mark.cuda
def test_cuda_agrees_with_the_cpu(cuda):
    output, hidden, mask = nn.Linear(5, 11), torch.randn(3, 30, 5), mask_of([30, 4, 0], 30)
    targets = torch.randint(11, (3, 30)), torch.where(mask[..., None], torch.randn(3, 30, 11), torch.nan)
    results = []
    for device in (torch.device("cpu"), cuda):
        leaf = hidden.detach().to(device).requires_grad_()
        losses = [
            loss(leaf, output.to(device), Masked(target, mask).to(device)).mean()
            for loss, target in zip((masked_cross_entropy, masked_linear_mse), targets, strict=True)
        ]
        gradients = torch.autograd.grad(sum(losses), [leaf, *output.parameters()])
        results.append([t.detach().cpu() for t in (*losses, *gradients)])
    torch.testing.assert_close(*results, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize(
    ("mask", "shape"),
    [
        ((3, 5), (3, 5, 7)),
        ((4, 4), (4, 4, 7)),
        ((3, 4), (3, 4, 1)),
        ((3, 4), (3, 4)),
        ((3, 5), (3, 4, 7)),
        ((3, 1), (3, 1, 7)),
    ],
)
def test_targets_of_other_rows_steps_or_features_are_refused(mask, shape):
    hidden, output = torch.randn(3, 4, 6), nn.Linear(6, 7)
    target = Masked(torch.zeros(shape), torch.ones(mask, dtype=torch.bool))
    words = Masked(torch.zeros(mask, dtype=torch.long), target.mask)
    with pytest.raises(ValueError, match=r"expected a target of shape \(3, 4, 7\) with a mask \(3, 4\), got "):
        masked_linear_mse(hidden, output, target)
    with pytest.raises(ValueError, match=r"expected a target of shape \(3, 4, 7\) with a mask \(3, 4\), got "):
        masked_mse(output(hidden), target)
    if mask != (3, 4):
        with pytest.raises(ValueError, match=r"expected a target of shape \(3, 4\) with a mask \(3, 4\), got "):
            masked_cross_entropy(hidden, output, words)
