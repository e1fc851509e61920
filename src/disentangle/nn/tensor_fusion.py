"""Vectors of several modalities as one: all products of their features, or a linear map of these at low rank."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

__all__ = ["LowRankFusion", "TensorFusion"]


class TensorFusion(nn.Module):
    r"""All products of one feature, or 1, of each modality: the outer product of the vectors :math:`[1; z^m]`, flattened.

    .. math:: t = [1; z^1] \otimes [1; z^2] \otimes \dots \otimes [1; z^M]

    So it holds each feature by itself, each product of two modalities, and so on. There is nothing to learn in it. Its size
    is a product too: 33 · 33 · 65 = 70785 for two modalities of 32 features and one of 64. A modality that a row lacks
    contributes its 1 alone.

    References:
        Zadeh et al., Tensor Fusion Network for Multimodal Sentiment Analysis (EMNLP 2017)

    Arguments:
        sizes: The number of features of each modality, by name.

    Attributes:
        out_features: How many products there are.

    Raises:
        ValueError: If there is no modality.

    Example:
        >>> fusion = TensorFusion({"text": 2, "audio": 1})
        >>> fusion({"text": torch.tensor([[2.0, 3.0]]), "audio": torch.tensor([[5.0]])})
        tensor([[ 1.,  5.,  2., 10.,  3., 15.]])
        >>> fusion.out_features
        6
    """

    def __init__(self, sizes: Mapping[str, int]):
        super().__init__()
        _check_sizes(sizes)
        self.sizes = dict(sizes)
        self.out_features = prod(size + 1 for size in sizes.values())

    def forward(
        self,
        vectors: Mapping[str, Float[Tensor, "batch _"]],
        present: Mapping[str, Bool[Tensor, " batch"]] | None = None,
    ) -> Float[Tensor, "batch out_features"]:
        """The products of the vectors `{name: (B, D_m)}`, `(B, out_features)`; the last modality's features vary fastest.

        Where a modality is not `present`, `{name: (B,)}`, it counts as zeros; one that is not named is present everywhere.
        """
        first, *others = _with_ones(self.sizes, vectors, present).values()
        for other in others:
            first = (first.unsqueeze(2) * other.unsqueeze(1)).flatten(1)
        return first


class LowRankFusion(nn.Module):
    r"""A linear map of all products of the modalities' features, of low rank, which computes none of them.

    .. math:: h = b + \sum_{r=1}^R w_r \prod_m W_r^m [1; z^m]

    It is a linear map of what `TensorFusion` gives, whose weights for each output are a sum of R outer products of one vector
    per modality. Its size is a sum over modalities, not a product. A modality that a row lacks contributes its 1 alone: a
    constant factor, which is learnt.

    References:
        Liu et al., Efficient Low-rank Multimodal Fusion with Modality-Specific Factors (ACL 2018)

    Arguments:
        sizes: The number of features of each modality, by name.
        out_features: The number of features of the result.
        rank: Of how many outer products the weights are the sum, R.

    Raises:
        ValueError: If there is no modality, or if the rank is below 1.

    Example:
        >>> fusion = LowRankFusion({"text": 64, "audio": 32, "vision": 32}, out_features=1, rank=4)
        >>> fusion({"text": torch.randn(5, 64), "audio": torch.randn(5, 32), "vision": torch.randn(5, 32)}).shape
        torch.Size([5, 1])
        >>> sum(p.numel() for p in fusion.parameters())  # of TensorFusion's 70785 products it would be 70786
        529
    """

    def __init__(self, sizes: Mapping[str, int], out_features: int, rank: int = 4):
        super().__init__()
        _check_sizes(sizes)
        if rank < 1:
            raise ValueError(f"expected a rank of 1 or more, got {rank}")
        self.sizes = dict(sizes)
        self.factors = nn.ParameterDict({m: torch.empty(rank, size + 1, out_features) for m, size in sizes.items()})
        self.weight = nn.Parameter(torch.empty(1, rank))
        self.bias = nn.Parameter(torch.zeros(out_features))
        for matrix in (*(one for factor in self.factors.values() for one in factor), self.weight):
            nn.init.xavier_normal_(matrix)

    def forward(
        self,
        vectors: Mapping[str, Float[Tensor, "batch _"]],
        present: Mapping[str, Bool[Tensor, " batch"]] | None = None,
    ) -> Float[Tensor, "batch out_features"]:
        """The fused vectors, `(B, out_features)`, of those of each modality, `{name: (B, D_m)}`.

        Where a modality is not `present`, `{name: (B,)}`, it counts as zeros; one that is not named is present everywhere.
        """
        extended = _with_ones(self.sizes, vectors, present)
        mapped = [torch.einsum("bi,rio->bro", x, self.factors[m]) for m, x in extended.items()]
        product = mapped[0]
        for other in mapped[1:]:
            product = product * other
        return torch.einsum("bro,r->bo", product, self.weight[0]) + self.bias


def _check_sizes(sizes: Mapping[str, int]) -> None:
    if not sizes:
        raise ValueError("expected the sizes of one modality or more, got none")


def _with_ones(
    sizes: Mapping[str, int], vectors: Mapping[str, Tensor], present: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    """[1; z] of each modality, `(B, D_m + 1)`, zeros behind the 1 where it is not present."""
    given = {name: vector.shape[1] for name, vector in vectors.items()}
    if given != dict(sizes):
        raise ValueError(f"expected modalities of the sizes {dict(sizes)}, got {given}")
    extended = {}
    for name in sizes:
        x = vectors[name]
        if present is not None and name in present:
            x = torch.where(present[name].unsqueeze(1), x, 0)
        extended[name] = torch.cat([x.new_ones(x.shape[0], 1), x], 1)
    return extended
