"""How well padded sequences are rebuilt, row by row: the losses of eq. 19, without a tensor of all outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from disentangle.functional.first_derivative import first_derivative
from disentangle.variables import Masked, Rows

__all__ = ["masked_cross_entropy", "masked_linear_mse", "masked_mse"]

# Steps whose outputs are in memory at a time, at least, and numbers in these; on a device four times as many.
CHUNK, OUTPUTS = 256, 2**18


def masked_mse(prediction: Float[Tensor, "batch time features"], target: Masked) -> Rows:
    r"""The squared error of each row, over its real frames.

    .. math:: \ell_i = \frac{1}{T_i D} \sum_{t \le T_i} \lVert \hat x_{it} - x_{it} \rVert^2, \qquad w_i = T_i

    References:
        Qian et al., MIRD, eq. 19

    Arguments:
        prediction: The reconstructed frames, `(B, T, D)`.
        target: The frames, `(B, T, D)`, and which are real.

    Returns:
        One term per row, weighted by its number of real frames, so that their mean is the error per real
        frame. In at least float32.

    Example:
        >>> target = Masked(torch.zeros(2, 3, 4), torch.tensor([[True, False, False], [True, True, True]]))
        >>> masked_mse(torch.tensor([[[1.0]], [[2.0]]]).expand(2, 3, 4), target)
        Rows(values=tensor([1., 4.]), weights=tensor([1., 3.]))
    """
    _refuse_other(target, prediction.shape)
    dtype = torch.promote_types(torch.promote_types(prediction.dtype, target.values.dtype), torch.float32)
    difference = prediction.to(dtype) - target.values.to(dtype)
    error = torch.where(target.mask.unsqueeze(-1), difference, 0).square().mean(2).sum(1)
    lengths = target.lengths
    return Rows(error / lengths.clamp(min=1), lengths.to(dtype))


def masked_linear_mse(hidden: Float[Tensor, "batch time hidden"], output: nn.Linear, target: Masked) -> Rows:
    r"""`masked_mse` of `output(hidden)`, without the output: the squared error of each row, over its real frames.

    .. math:: \ell_i = \frac{1}{T_i D} \sum_{t \le T_i} \lVert W h_{it} + b - x_{it} \rVert^2, \qquad w_i = T_i

    The output of all frames, with what autograd keeps of it, would be as large as a batch of video features several times
    over. Here it exists for some frames at a time. No gradient reaches the target.

    References:
        Qian et al., MIRD, eq. 19

    Arguments:
        hidden: The states, `(B, T, H)`, such as `SequenceDecoder.hidden` returns.
        output: The linear map from a state to a frame.
        target: The frames, `(B, T, D)`, and which are real.

    Returns:
        One term per row, weighted by its number of real frames, so that their mean is the error per real
        frame. In at least float32.

    Example:
        >>> hidden, output = torch.randn(2, 3, 8), nn.Linear(8, 4)
        >>> target = Masked(torch.randn(2, 3, 4), torch.tensor([[True, False, False], [True, True, True]]))
        >>> loss, whole = masked_linear_mse(hidden, output, target), masked_mse(output(hidden), target)
        >>> torch.allclose(loss.values, whole.values, atol=1e-6)
        True
    """
    _refuse_other(target, (*hidden.shape[:2], output.out_features))
    return _of_steps(_squared_error, hidden, output, target)


def masked_cross_entropy(hidden: Float[Tensor, "batch time hidden"], output: nn.Linear, target: Masked) -> Rows:
    r"""The negative log-likelihood of each row's words, over its real ones, from the states before the vocabulary.

    .. math:: \ell_i = -\frac{1}{T_i} \sum_{t \le T_i} \log \operatorname{softmax}(W h_{it} + b)_{x_{it}}, \qquad w_i = T_i

    Logits of all words at once would be by far the largest tensor of a training step. Here they exist for some words at a
    time. The gradient is exact.

    References:
        Qian et al., MIRD, eq. 19

    Arguments:
        hidden: The states, `(B, T, H)`, such as `SequenceDecoder.hidden` returns.
        output: The linear map from a state to the logits over the vocabulary.
        target: The ids of the words, `(B, T)`, and which are real.

    Returns:
        One term per row, weighted by its number of real words, so that their mean is the loss per real
        word, in nats. In at least float32.

    Example:
        >>> words = Masked(torch.tensor([[7, 2, 0]]), torch.tensor([[True, True, False]]))
        >>> output = nn.Linear(4, 10, bias=False).requires_grad_(False)
        >>> masked_cross_entropy(torch.zeros(1, 3, 4), output, words)  # all words equally likely: log(10)
        Rows(values=tensor([2.3026]), weights=tensor([2.]))
    """
    _refuse_other(target, hidden.shape[:2])
    return _of_steps(_surprise, hidden, output, target)


def _refuse_other(target: Masked, wanted: tuple[int, ...]) -> None:
    """Refuses a target of other rows, steps or features than what it is compared with: some would be broadcast or mixed up."""
    shapes = [tuple(wanted), tuple(wanted[:2])]
    given = [tuple(t.shape) for t in target]
    if given != shapes:
        raise ValueError(
            f"expected a target of shape {shapes[0]} with a mask {shapes[1]}, got {given[0]} and {given[1]}"
        )


def _of_steps(
    kind: Callable[[Tensor, Tensor, bool], Tensor], hidden: Tensor, output: nn.Linear, target: Masked
) -> Rows:
    """The mean of a loss over each row's real steps.

    On the CPU the other steps are not computed at all; on a device, where the host would have to wait to know how many there
    are, and in a compiled graph, they are computed and left out.
    """
    device, mask = hidden.device.type, target.mask
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else output.weight.dtype
    bias = output.weight.new_zeros(output.out_features) if output.bias is None else output.bias
    states, values, real = hidden.flatten(0, 1), target.values.flatten(0, 1), mask.flatten()
    steps = real.nonzero().squeeze(1) if device == "cpu" and not torch.compiler.is_compiling() else None
    if steps is None:
        states = torch.where(real.unsqueeze(1), states, 0)
        values = torch.where(real.view(-1, *(1,) * (values.dim() - 1)), values, 0)
    elif len(steps) < len(real):
        states = states.index_select(0, steps)
    with torch.autocast(device, enabled=False):
        parts = (t.to(dtype) for t in (states, output.weight, bias))
        loss = _LossOfLinear.apply(kind, *parts, values, steps, torch.is_grad_enabled())
    if steps is not None and len(steps) < len(real):
        total = loss.new_zeros(len(mask)).index_add(0, steps // mask.shape[1], loss)
    else:
        total = torch.where(mask, loss.unflatten(0, mask.shape), 0).sum(1)
    lengths = target.lengths
    return Rows(total / lengths.clamp(min=1), lengths.to(loss.dtype))


def _surprise(logits: Tensor, words: Tensor, with_slopes: bool) -> Tensor:
    """The cross entropy of each word, `(N,)`, from its logits `(N, V)`, which become its derivatives by them."""
    words = words.unsqueeze(1)
    top = logits.amax(1, keepdim=True)
    chosen = logits.gather(1, words).sub_(top)
    total = logits.sub_(top).exp_().sum(1, keepdim=True)
    if with_slopes:  # softmax less one-hot
        logits.div_(total).scatter_add_(1, words, torch.full_like(chosen, -1))
    return total.log_().sub_(chosen).squeeze(1)


def _squared_error(prediction: Tensor, frames: Tensor, with_slopes: bool) -> Tensor:
    """The squared error of each frame, `(N,)`, from its prediction `(N, D)`, which becomes the error's derivatives by it."""
    error = prediction.sub_(frames)
    square = error.square().mean(1)
    if with_slopes:
        error.mul_(2 / error.shape[1])
    return square


class _LossOfLinear(torch.autograd.Function):
    """The loss of each step, `(N,)`, from states `(N, H)`, weight `(K, H)`, bias `(K,)` and what should come out.

    A gradient needs the outputs again. But where all steps have one slope, as in a mean over all steps, it is known but for
    that number while the outputs are there: on the CPU, which can look, it is computed then.
    """

    @staticmethod
    def forward(
        ctx: Any, kind: Any, states: Tensor, weight: Tensor, bias: Tensor, values: Tensor, steps: Any, grad: bool
    ) -> Tensor:
        ctx.kind, ctx.steps = kind, steps
        at_once = grad and any(ctx.needs_input_grad) and steps is not None
        losses, gradients = _run(kind, states, weight, bias, values, steps, None, at_once)
        ctx.save_for_backward(states, weight, bias, values, *gradients)
        return losses

    @staticmethod
    @first_derivative(
        "a loss of reconstruction without its outputs", "compute these, and their loss, such as masked_mse"
    )
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (slope,) = grad_outputs
        states, weight, bias, values, *gradients = ctx.saved_tensors
        if gradients and _alike(slope):
            to_states, to_weight, to_bias = gradients
            one = slope.mean() if len(slope) else slope.new_zeros(())
            result = to_states * slope.unsqueeze(1), to_weight * one, to_bias * one
        else:
            # Autocast may be on where backward is called, and would round what accumulates.
            with torch.autocast(states.device.type, enabled=False):
                _, result = _run(ctx.kind, states, weight, bias, values, ctx.steps, slope, True)
        to_states, to_weight, to_bias = (g.to(t.dtype) for g, t in zip(result, (states, weight, bias), strict=True))
        return None, to_states, to_weight, to_bias, None, None, None


def _run(
    kind: Any, states: Tensor, weight: Tensor, bias: Tensor, values: Tensor, steps: Any, slope: Any, differentiate: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The losses of all steps, some at a time, and the gradients of states, weight and bias: at the slopes given, or at 1."""
    precise = torch.promote_types(states.dtype, torch.float32)
    losses = states.new_empty(len(states), dtype=precise)
    sums = (torch.zeros_like(t, dtype=precise) for t in (weight, bias))
    gradients = (torch.empty_like(states), *sums) if differentiate else ()
    size = max(CHUNK, OUTPUTS // len(weight)) * (1 if states.device.type == "cpu" else 4)
    chosen = None if steps is None or len(steps) == len(values) else steps
    for start in range(0, len(states), size):
        chunk = slice(start, start + size)
        h, wanted = states[chunk], values[chunk] if chosen is None else values.index_select(0, chosen[chunk])
        out = F.linear(h, weight, bias).to(precise)  # new, and changed in place
        losses[chunk] = kind(out, wanted, differentiate)
        if gradients:
            to_states, to_weight, to_bias = gradients
            if slope is not None:
                out.mul_(slope[chunk].unsqueeze(1))
            to_bias += out.sum(0)
            out = out.to(weight.dtype)
            torch.mm(out, weight, out=to_states[chunk])
            if to_weight.dtype == out.dtype:
                to_weight.addmm_(out.mT, h)
            else:
                to_weight += out.mT @ h
    return losses, gradients


def _alike(slope: Tensor) -> bool:
    """Whether all slopes are one number, but for rounding."""
    if not len(slope):
        return True
    least, most = slope.aminmax()
    return bool(most - least <= 8 * torch.finfo(slope.dtype).eps * torch.maximum(least.abs(), most.abs()))
