"""Transformers over padded sequences, and what comes before and after: convolution, positions, the last step."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from disentangle.variables import Masked, zero_in_padding

__all__ = ["CrossModalTransformer", "TemporalConvolution", "last_step", "sinusoidal_positions"]


class CrossModalTransformer(nn.Module):
    r"""A sequence whose steps attend, layer by layer, to the steps of another one, or to its own.

    .. math:: x \leftarrow x + \operatorname{Attention}(\operatorname{LN} x, \operatorname{LN} s), \qquad
              x \leftarrow x + W_2 \operatorname{ReLU}(W_1 \operatorname{LN}' x)

    The source s is the same in each layer: the sequence as it was given. Without a source, x attends to itself, as the layer
    before left it. The same normalization is applied to x and to s, and one more to the result. A step may attend to any
    other, also to a later one. The two sequences need not be aligned; where order matters, add `sinusoidal_positions` first.

    What stands in padding has no influence, and no gradient. A row whose source has no steps gets nothing by
    attention, only by the network of each layer. Steps of padding come out as 0.

    References:
        Tsai et al., Multimodal Transformer for Unaligned Multimodal Language Sequences (ACL 2019)

    Arguments:
        d: The number of features of a step, in both sequences.
        layers: The number of layers.
        heads: The number of heads of the attention; it divides `d`.
        dropout: Of what is added to x, and within the network, whose width is 4d.
        attention_dropout: Of the weights of the attention.

    Raises:
        ValueError: If `heads` does not divide `d`.

    Example:
        >>> real = torch.arange(7) < torch.tensor([[7], [4]])
        >>> words, sound = Masked(torch.randn(2, 7, 8), real), Masked(torch.randn(2, 30, 8), torch.ones(2, 30).bool())
        >>> transformer = CrossModalTransformer(8, layers=2, heads=2)
        >>> reinforced = transformer(words, sound)  # words that have attended to the sound
        >>> reinforced.values.shape, reinforced.lengths
        (torch.Size([2, 7, 8]), tensor([7, 4]))
        >>> transformer(words).values.shape  # self-attention
        torch.Size([2, 7, 8])
    """

    def __init__(
        self, d: int, layers: int = 4, heads: int = 4, *, dropout: float = 0.1, attention_dropout: float = 0.1
    ):
        super().__init__()
        if d % heads:
            raise ValueError(f"expected heads that divide the {d} features, got {heads}")
        self.layers = nn.ModuleList(_Layer(d, heads, dropout, attention_dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(d)

    def forward(self, target: Masked, source: Masked | None = None) -> Masked:
        """The target, `(B, T, d)`, after attending to the source, `(B, S, d)`: `(B, T, d)` with the mask of the target."""
        x = _without_padding(target)
        low = None if source is None else _without_padding(source)
        for layer in self.layers:
            x = layer(x, x if low is None else low)
        return _without_padding(Masked(self.norm(x.values), x.mask))


class _Layer(nn.Module):
    def __init__(self, d: int, heads: int, dropout: float, attention_dropout: float):
        super().__init__()
        self.attention_norm, self.network_norm = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attention = nn.MultiheadAttention(d, heads, attention_dropout, batch_first=True)
        self.network = nn.Sequential(nn.Linear(d, 4 * d), nn.ReLU(), nn.Dropout(dropout), nn.Linear(4 * d, d))
        self.dropout = nn.Dropout(dropout)

    def forward(self, target: Masked, source: Masked) -> Masked:
        x, real = target.values, source.mask
        if real.shape[1]:  # some kernels give NaN for attention to nothing
            has = real.any(1, keepdim=True)
            queries, keys = self.attention_norm(x), self.attention_norm(source.values)
            # Where no step is real, all take part, since the softmax of none is NaN; what they give is dropped.
            found, _ = self.attention(queries, keys, keys, key_padding_mask=~(real | ~has), need_weights=False)
            x = x + torch.where(has.unsqueeze(2), self.dropout(found), 0)
        x = x + self.dropout(self.network(self.network_norm(x)))
        return Masked(x, target.mask)


class TemporalConvolution(nn.Module):
    """Frames of any size as steps of `d` features: a convolution over time, without bias.

    The sequence keeps its length; beyond its ends, and in padding, are zeros.

    Arguments:
        in_features: The number of features of a frame, D.
        d: The number of features of a step.
        kernel: How many frames a step sees; with 1 it is a linear map of each.

    Raises:
        ValueError: If `kernel` is below 1.

    Example:
        >>> sound = Masked(torch.randn(2, 30, 5), torch.arange(30) < torch.tensor([[30], [0]]))
        >>> steps = TemporalConvolution(5, 8, kernel=3)(sound)
        >>> steps.values.shape, steps.lengths
        (torch.Size([2, 30, 8]), tensor([30,  0]))
    """

    def __init__(self, in_features: int, d: int, kernel: int = 1):
        super().__init__()
        if kernel < 1:
            raise ValueError(f"expected a kernel of 1 frame or more, got {kernel}")
        self.kernel = kernel
        self.convolution = nn.Conv1d(in_features, d, kernel, bias=False)

    def forward(self, frames: Masked) -> Masked:
        """The steps, `(B, T, d)`, of frames `(B, T, D)`, with the same mask; 0 in padding."""
        before = (self.kernel - 1) // 2
        values = _without_padding(frames).values.mT
        values = nn.functional.pad(values, (before, self.kernel - 1 - before))
        return _without_padding(Masked(self.convolution(values).mT, frames.mask))


def sinusoidal_positions(x: Masked) -> Masked:
    r"""A sequence scaled by :math:`\sqrt d`, with the position of each step added, as sines and cosines.

    .. math:: x_t \sqrt d + p_t, \qquad p_{t, 2i} = \sin\left(t / 10000^{2i / d}\right), \quad
              p_{t, 2i + 1} = \cos\left(t / 10000^{2i / d}\right)

    t counts the real steps of a row, from 0, so it does not depend on padding, wherever that is. Padding comes out as 0.

    References:
        Vaswani et al., Attention Is All You Need (NIPS 2017), sections 3.4 and 3.5

    Arguments:
        x: The sequences, `(B, T, d)`.

    Example:
        >>> steps = sinusoidal_positions(Masked(torch.zeros(1, 3, 2), torch.tensor([[True, True, False]])))
        >>> steps.values
        tensor([[[0.0000, 1.0000],
                 [0.8415, 0.5403],
                 [0.0000, 0.0000]]])
    """
    values, mask = x
    d = values.shape[-1]
    dtype = torch.promote_types(values.dtype, torch.float32)
    place = torch.arange(d, device=values.device, dtype=dtype)
    even = place % 2 == 0
    times = mask.cumsum(1).to(dtype).unsqueeze(2) - 1
    angles = times * 10000 ** (-torch.where(even, place, place - 1) / d)
    waves = torch.where(even, angles.sin(), angles.cos())
    return _without_padding(Masked((values * d**0.5 + waves).to(values.dtype), mask))


def last_step(x: Masked) -> Float[Tensor, "batch d"]:
    """The last real step of each row, `(B, d)`; zeros in a row that has none.

    Arguments:
        x: The sequences, `(B, T, d)`.

    Example:
        >>> sequences = torch.arange(6.0).view(2, 3, 1)
        >>> last_step(Masked(sequences, torch.tensor([[True, True, False], [False, False, False]])))
        tensor([[1.],
                [0.]])
    """
    first = x.values.new_zeros(x.values.shape[0], 1, x.values.shape[-1])  # what rows without steps read
    steps = torch.cat([first, x.values], 1)
    places = torch.arange(steps.shape[1], device=x.mask.device)
    last = (nn.functional.pad(x.mask, (1, 0)) * places).amax(1)
    return steps.gather(1, last[:, None, None].expand(-1, 1, steps.shape[-1])).squeeze(1)


def _without_padding(x: Masked) -> Masked:
    return Masked(zero_in_padding(*x), x.mask)
