"""Sequences to vectors and back, for padded batches: the encoders of eq. 1, the decoders of eq. 8, their losses of eq. 19."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from disentangle.variables import Masked, Rows

__all__ = ["SequenceDecoder", "SequenceEncoder", "masked_cross_entropy", "masked_mse"]

CHUNK = 512  # words whose logits over the vocabulary are in memory at a time


class SequenceEncoder(nn.Module):
    r"""A padded sequence as one vector: an LSTM, read at each row's last real step, and a linear map.

    .. math:: z^m = W h_{T_m} + b

    What stands in padding has no influence, and no gradient. A row without steps is zero. The recurrence runs in the
    precision of its weights also under autocast, where rounding would add up over the steps.

    References:
        Qian et al., MIRD, eq. 1

    Arguments:
        in_features: The number of features of a step.
        out_features: The number of features of the vector.
        hidden_size: The width of the LSTM; `out_features` if not given.

    Example:
        >>> encoder = SequenceEncoder(5, 8)
        >>> encoder(torch.randn(2, 7, 5), torch.arange(7) < torch.tensor([[4], [0]])).count_nonzero(dim=1)
        tensor([8, 0])
    """

    def __init__(self, in_features: int, out_features: int, hidden_size: int | None = None):
        super().__init__()
        hidden_size = out_features if hidden_size is None else hidden_size
        self.lstm = nn.LSTM(in_features, hidden_size, batch_first=True)
        self.output = nn.Linear(hidden_size, out_features)

    def forward(
        self, values: Float[Tensor, "batch time in_features"], mask: Bool[Tensor, "batch time"]
    ) -> Float[Tensor, "batch out_features"]:
        """The vectors of left-aligned sequences, `(B, T, in_features)` with their mask `(B, T)`: `(B, out_features)`."""
        values = torch.where(mask.unsqueeze(-1), values, 0)
        with torch.autocast(values.device.type, enabled=False):
            states, _ = self.lstm(values.to(self.output.weight.dtype))
        # Packed sequences would do the same, but want the lengths on the host.
        lengths = mask.sum(1)
        last = (lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, states.shape[-1])
        out = self.output(states.gather(1, last).squeeze(1))
        return torch.where(lengths.unsqueeze(1) > 0, out, 0)


class SequenceDecoder(nn.Module):
    r"""A vector as a sequence: an LSTM that starts from the vector and is fed its own hidden state, and a linear map.

    .. math:: h_0 = [z^m; z^S], \quad c_0 = 0, \qquad (h_t, c_t) = \operatorname{LSTM}(h_{t-1}, (h_{t-1}, c_{t-1})),
              \qquad \hat x_t = W h_t + b

    Input and hidden state are the same, so the gates are :math:`(W_{ih} + W_{hh}) h + b_{ih} + b_{hh}`: the fused LSTM
    computes the whole sequence in one call, on those weights and an input that is always zero.

    References:
        Qian et al., MIRD, eq. 8

    Arguments:
        in_features: The number of features of the vector, which is also the width of the LSTM.
        out_features: The number of features of a step.

    Example:
        >>> SequenceDecoder(8, 5)(torch.randn(2, 8), length=7).shape
        torch.Size([2, 7, 5])
    """

    def __init__(self, in_features: int, out_features: int):
        super().__init__()
        self.lstm = nn.LSTM(in_features, in_features, batch_first=True)
        self.output = nn.Linear(in_features, out_features)

    def forward(self, z: Float[Tensor, "batch in_features"], length: int) -> Float[Tensor, "batch time out_features"]:
        """The first `length` steps that follow from `z: (B, in_features)`: `(B, length, out_features)`."""
        return self.output(self.hidden(z, length))

    def hidden(self, z: Float[Tensor, "batch in_features"], length: int) -> Float[Tensor, "batch time in_features"]:
        """The hidden states before the linear map, `(B, length, in_features)`: what `masked_cross_entropy` takes."""
        w_ih, w_hh, b_ih, b_hh = self.lstm.all_weights[0]
        with torch.autocast(z.device.type, enabled=False):
            w, b = w_ih + w_hh, b_ih + b_hh
            # cuDNN warns, and copies, unless its weights are parts of one block in this order.
            parts = [w.new_zeros(len(w), 1), w, b, torch.zeros_like(b)]
            block = torch.cat([part.flatten() for part in parts])
            weights = [
                new.view_as(part) for new, part in zip(block.split([p.numel() for p in parts]), parts, strict=True)
            ]
            h = z.to(w.dtype).unsqueeze(0)
            zero = h.new_zeros(len(z), length, 1)
            return torch.lstm(zero, (h, torch.zeros_like(h)), weights, True, 1, 0.0, self.training, False, True)[0]


def masked_mse(prediction: Float[Tensor, "batch time features"], target: Masked) -> Rows:
    r"""The squared error of each row, over its real frames.

    .. math:: \ell_i = \frac{1}{T_i D} \sum_{t \le T_i} \lVert \hat x_{it} - x_{it} \rVert^2, \qquad w_i = T_i

    References:
        Qian et al., MIRD, eq. 19

    Arguments:
        prediction: The reconstructed frames, `(B, T, D)`.
        target: The frames, `(B, T, D)`, and which are real.

    Returns:
        One term per row, weighted by its number of real frames: their mean is the error per real frame. In at least float32.

    Example:
        >>> target = Masked(torch.zeros(2, 3, 4), torch.tensor([[True, False, False], [True, True, True]]))
        >>> masked_mse(torch.tensor([[[1.0]], [[2.0]]]).expand(2, 3, 4), target)
        Rows(values=tensor([1., 4.]), weights=tensor([1., 3.]))
    """
    dtype = torch.promote_types(torch.promote_types(prediction.dtype, target.values.dtype), torch.float32)
    difference = prediction.to(dtype) - target.values.to(dtype)
    error = torch.where(target.mask.unsqueeze(-1), difference, 0).square().mean(2).sum(1)
    lengths = target.lengths
    return Rows(error / lengths.clamp(min=1), lengths.to(dtype))


def masked_cross_entropy(hidden: Float[Tensor, "batch time hidden"], output: nn.Linear, target: Masked) -> Rows:
    r"""The negative log-likelihood of each row's words, over its real ones, from the states before the vocabulary.

    .. math:: \ell_i = -\frac{1}{T_i} \sum_{t \le T_i} \log \operatorname{softmax}(W h_{it} + b)_{x_{it}}, \qquad w_i = T_i

    Logits of all words at once would be by far the largest tensor of a training step. Here they exist for a chunk of words
    at a time, and are computed again for the gradient, which is exact.

    References:
        Qian et al., MIRD, eq. 19

    Arguments:
        hidden: The states, `(B, T, H)`.
        output: The linear map from a state to the logits over the vocabulary.
        target: The ids of the words, `(B, T)`, and which are real.

    Returns:
        One term per row, weighted by its number of real words: their mean is the loss per real word, in nats. In at least
        float32.

    Example:
        >>> words = Masked(torch.tensor([[7, 2, 0]]), torch.tensor([[True, True, False]]))
        >>> output = nn.Linear(4, 10, bias=False).requires_grad_(False)
        >>> masked_cross_entropy(torch.zeros(1, 3, 4), output, words)  # all words equally likely: log(10)
        Rows(values=tensor([2.3026]), weights=tensor([2.]))
    """
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else output.weight.dtype
    bias = output.weight.new_zeros(output.out_features) if output.bias is None else output.bias
    states = torch.where(target.mask.unsqueeze(-1), hidden, 0).flatten(0, 1)
    words = torch.where(target.mask, target.values, 0).flatten()
    with torch.autocast(device, enabled=False):
        loss = _WordLoss.apply(states.to(dtype), output.weight.to(dtype), bias.to(dtype), words)
    loss = torch.where(target.mask, loss.unflatten(0, target.mask.shape), 0).sum(1)
    lengths = target.lengths
    return Rows(loss / lengths.clamp(min=1), lengths.to(loss.dtype))


class _WordLoss(torch.autograd.Function):
    """The cross entropy of each word, `(N,)`, from states `(N, H)`, weight `(V, H)`, bias `(V,)` and ids `(N,)`."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, words: Tensor) -> Tensor:
        partitions, losses = [], []
        for h, word in zip(hidden.split(CHUNK), words.split(CHUNK), strict=True):
            logits = _logits(h, weight, bias)
            chosen = logits.gather(1, word.unsqueeze(1))
            top = logits.amax(1, keepdim=True)
            log_partition = logits.sub_(top).exp_().sum(1, keepdim=True).log_().add_(top)
            partitions.append(log_partition)
            losses.append((log_partition - chosen).squeeze(1))
        ctx.save_for_backward(hidden, weight, bias, words, torch.cat(partitions))
        return torch.cat(losses)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, grad: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None]:
        hidden, weight, bias, words, log_partition = ctx.saved_tensors
        d_hidden = torch.empty_like(hidden)
        d_weight = torch.zeros_like(weight, dtype=grad.dtype)
        d_bias = torch.zeros_like(bias, dtype=grad.dtype)
        # Autocast may be on where backward is called, and would round what accumulates.
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(hidden), CHUNK):
                rows = slice(start, start + CHUNK)
                h, word, g = hidden[rows], words[rows].unsqueeze(1), grad[rows].unsqueeze(1)
                # d loss / d logits = softmax - one-hot
                slope = _logits(h, weight, bias).sub_(log_partition[rows]).exp_().mul_(g).scatter_add_(1, word, -g)
                d_bias += slope.sum(0)
                slope = slope.to(weight.dtype)
                d_hidden[rows] = slope @ weight
                if d_weight.dtype == slope.dtype:
                    d_weight.addmm_(slope.mT, h)
                else:
                    d_weight += slope.mT @ h
        return d_hidden, d_weight.to(weight.dtype), d_bias.to(bias.dtype), None


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A new tensor, in at least float32: it is changed in place."""
    logits = F.linear(hidden, weight, bias)
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
