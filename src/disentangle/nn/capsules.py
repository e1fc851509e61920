"""Sequences of any length as a few vectors, and these as one: capsules, and the routing that decides who counts where."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from disentangle.nn.transformer import sinusoidal_positions
from disentangle.variables import Masked, zero_in_padding

__all__ = ["CapsuleReadout", "SequenceCapsules", "dynamic_routing"]


def dynamic_routing(
    votes: Float[Tensor, "batch steps capsules d"],
    mask: Bool[Tensor, "batch steps"],
    rounds: int = 2,
    *,
    over: Literal["capsules", "steps"] = "capsules",
) -> Float[Tensor, "batch capsules d"]:
    r"""Capsules, each the weighted sum of what all steps vote for it; a vote that agrees with the sum counts for more.

    .. math:: v_j = \tanh\Big(\sum_t r_{tj} u_{tj}\Big), \qquad b_{tj} \leftarrow b_{tj} + \langle v_j, u_{tj} \rangle

    The weights r are a softmax of b, which is 0 at first. Over the capsules, each step divides itself among them, and r is
    :math:`\frac{n}{T} \operatorname{softmax}_j b_{tj}`, with n capsules and T real steps: a published softmax alone gives sums
    that grow with the sequence, until tanh is flat. Over the steps, each capsule divides itself, and r is
    :math:`\operatorname{softmax}_t b_{tj}`.

    The weights are constants for the gradient, which goes through the votes of the last sum alone. Steps of padding have no
    influence, and no gradient; a row without steps gets zeros. Everything is computed in at least float32, also under autocast.

    References:
        | Sabour et al., Dynamic Routing Between Capsules (NIPS 2017)
        | Wu et al., Graph Capsule Aggregation for Unaligned Multimodal Sequences (ICMI 2021)

    Arguments:
        votes: What each step votes for each capsule, u, `(B, T, n, d)`.
        mask: Which steps are real, `(B, T)`.
        rounds: How often weights are computed; with 1 they are all alike.
        over: What the weights are divided over, `"capsules"` or `"steps"`.

    Returns:
        The capsules, `(B, n, d)`, each number between -1 and 1.

    Raises:
        ValueError: If there are no rounds.

    Example:
        >>> votes = torch.tensor([[[[0.5]], [[0.5]], [[-0.8]]]])  # of three steps for one capsule
        >>> real = torch.ones(1, 3, dtype=torch.bool)
        >>> dynamic_routing(votes, real, rounds=1, over="steps")  # tanh of the mean
        tensor([[[0.0666]]])
        >>> dynamic_routing(votes, real, rounds=9, over="steps")  # the third vote is outvoted
        tensor([[[0.4002]]])
    """
    _refuse_rounds(rounds)
    if over not in ("capsules", "steps"):
        raise ValueError(f"expected over as 'capsules' or 'steps', got {over!r}")
    real = mask.unsqueeze(2)
    precise = torch.promote_types(votes.dtype, torch.float32)
    scale = votes.shape[2] / mask.sum(1).clamp(min=1)[:, None, None].to(precise)
    with torch.autocast(votes.device.type, enabled=False):
        cast = votes.to(precise)
        cast = torch.where(real.unsqueeze(3), cast, 0)
        known, b = cast.detach(), cast.new_zeros(cast.shape[:3])
        for _ in range(rounds - 1):
            capsules = torch.einsum("btn,btnd->bnd", _weights(b, real, scale, over), known).tanh()
            b = b + torch.einsum("bnd,btnd->btn", capsules, known)
        return torch.einsum("btn,btnd->bnd", _weights(b, real, scale, over), cast).tanh().to(votes.dtype)


def _refuse_rounds(rounds: int) -> None:
    if rounds < 1:
        raise ValueError(f"expected a round or more, got {rounds}")


def _weights(b: Tensor, real: Tensor, scale: Tensor, over: Literal["capsules", "steps"]) -> Tensor:
    if over == "capsules":
        return b.softmax(2) * real * scale
    return b.masked_fill(~real, torch.finfo(b.dtype).min).softmax(1) * real


class SequenceCapsules(nn.Module):
    r"""A padded sequence of any length as n vectors, by `dynamic_routing` over the capsules.

    .. math:: u_{tj} = W_j (x_t + p_t)

    p are sinusoidal positions. The published votes have a map for each step, :math:`W_{tj}`: tens of millions of numbers, and
    one length that all sequences are cut or padded to. Here all steps share a map, which reads the place of a step from p.

    References:
        Wu et al., Graph Capsule Aggregation for Unaligned Multimodal Sequences (ICMI 2021)

    Arguments:
        in_features: The number of features of a step, D.
        capsules: How many vectors there are, n.
        out_features: The number of features of each, d.
        rounds: How often the weights are computed.

    Example:
        >>> real = torch.arange(30) < torch.tensor([[30], [4]])
        >>> SequenceCapsules(5, capsules=3, out_features=8)(Masked(torch.randn(2, 30, 5), real)).shape
        torch.Size([2, 3, 8])
    """

    def __init__(self, in_features: int, capsules: int, out_features: int, rounds: int = 2):
        super().__init__()
        _refuse_rounds(rounds)
        self.capsules, self.rounds = capsules, rounds
        self.votes = nn.Linear(in_features, capsules * out_features, bias=False)

    def forward(self, x: Masked) -> Float[Tensor, "batch capsules out_features"]:
        """The capsules `(B, n, d)` of sequences `(B, T, D)`; zeros in a row without steps."""
        positions = sinusoidal_positions(Masked(torch.zeros_like(x.values), x.mask)).values
        values = zero_in_padding(x.values, x.mask) + positions
        votes = self.votes(values).unflatten(2, (self.capsules, -1))
        return dynamic_routing(votes, x.mask, self.rounds)


class CapsuleReadout(nn.Module):
    r"""A fixed number of vectors as one, by `dynamic_routing` over the vectors, each of which votes through its own map.

    .. math:: u_j = W_j x_j

    References:
        Wu et al., Graph Capsule Aggregation for Unaligned Multimodal Sequences (ICMI 2021)

    Arguments:
        vectors: How many vectors there are, n.
        in_features: The number of features of each, D.
        out_features: The number of features of the result, d.
        rounds: How often the weights are computed.

    Example:
        >>> CapsuleReadout(3, 8, 4)(torch.randn(2, 3, 8)).shape
        torch.Size([2, 4])
    """

    def __init__(self, vectors: int, in_features: int, out_features: int, rounds: int = 2):
        super().__init__()
        _refuse_rounds(rounds)
        self.rounds = rounds
        self.maps = nn.Parameter(torch.empty(vectors, in_features, out_features))
        for each in self.maps:
            nn.init.xavier_uniform_(each)

    def forward(self, x: Float[Tensor, "batch vectors in_features"]) -> Float[Tensor, "batch out_features"]:
        """One vector `(B, d)` of the vectors `(B, n, D)` of each row; zeros where these are zeros."""
        votes = torch.einsum("bni,nio->bno", x, self.maps).unsqueeze(2)
        every = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        return dynamic_routing(votes, every, self.rounds, over="steps").squeeze(1)
