"""Sequences to vectors and back, for padded batches: the encoders of eq. 1 and the decoders of eq. 8."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from disentangle.variables import zero_in_padding

__all__ = ["SequenceDecoder", "SequenceEncoder"]

WIDE = 8  # times as wide as the states


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
        values = zero_in_padding(values, mask)
        with torch.autocast(values.device.type, enabled=False):
            states = self._states(values.to(self.output.weight.dtype))
        # Packed sequences would do the same, but want the lengths on the host.
        lengths = mask.sum(1)
        last = (lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, states.shape[-1])
        out = self.output(states.gather(1, last).squeeze(1))
        return torch.where(lengths.unsqueeze(1) > 0, out, 0)

    def _states(self, values: Tensor) -> Tensor:
        """The LSTM's states of all steps, `(B, T, H)`.

        On a CPU oneDNN's LSTM keeps all that it knows of a step in rooms of the largest of its sizes, and computes a gradient
        of the input that nobody asks for. So input that is much wider than the states is mapped to the gates before.
        """
        lstm = self.lstm
        wide = lstm.input_size > WIDE * lstm.hidden_size and not values.requires_grad
        if not wide or values.device.type != "cpu" or torch.compiler.is_compiling():
            return lstm(values)[0]
        w_ih, w_hh, b_ih, b_hh = lstm.all_weights[0]
        gates = F.linear(values, w_ih, b_ih).transpose(0, 1)
        start = gates.new_zeros(1, gates.shape[1], lstm.hidden_size)
        same = torch.eye(gates.shape[2], dtype=gates.dtype)
        weights = [same, w_hh, torch.zeros_like(b_hh), b_hh]
        return torch.lstm(gates, (start, start), weights, True, 1, 0.0, self.training, False, False)[0].transpose(0, 1)


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
        """The hidden states before the linear map, `(B, length, in_features)`: what `masked_cross_entropy` and
        `masked_linear_mse` take."""
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
