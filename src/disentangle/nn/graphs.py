"""Graphs whose nodes are the steps of padded sequences: which are neighbors, and what a node learns from them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from disentangle.variables import Masked, zero_in_padding

__all__ = ["GraphConvolution", "SimilarityAdjacency", "band_adjacency", "mean_adjacency"]


class GraphConvolution(nn.Module):
    r"""Nodes as weighted sums of their neighbors, after a linear map without bias.

    .. math:: X' = A X W

    The adjacency is dense, and given with each call. Padding is nobody's neighbor, whatever the adjacency says of it.

    References:
        Kipf and Welling, Semi-Supervised Classification with Graph Convolutional Networks (ICLR 2017)

    Arguments:
        in_features: The number of features of a node, D.
        out_features: The number of features of a node afterwards, d.

    Example:
        >>> nodes = Masked(torch.randn(2, 7, 5), torch.arange(7) < torch.tensor([[7], [4]]))
        >>> convolved = GraphConvolution(5, 8)(nodes, mean_adjacency(band_adjacency(nodes, width=1)))
        >>> convolved.values.shape, convolved.lengths
        (torch.Size([2, 7, 8]), tensor([7, 4]))
    """

    def __init__(self, in_features: int, out_features: int):
        super().__init__()
        self.linear = nn.Linear(in_features, out_features, bias=False)

    def forward(self, nodes: Masked, adjacency: Float[Tensor, "batch nodes nodes"]) -> Masked:
        """The nodes `(B, N, d)`, 0 in padding, of nodes `(B, N, D)` and how much column j counts for row i, `(B, N, N)`."""
        mapped = self.linear(zero_in_padding(*nodes))
        return Masked(torch.where(_both_real(nodes.mask), adjacency, 0) @ mapped, nodes.mask)


class SimilarityAdjacency(nn.Module):
    r"""Each node is its own neighbor, and that of the nodes that are like it, after a linear map of either.

    .. math:: A = I + \operatorname{ReLU}\left(\frac{(X W_q)(X W_k)^\top}{d}\right)

    References:
        Wu et al., Graph Capsule Aggregation for Unaligned Multimodal Sequences (ICMI 2021)

    Arguments:
        features: The number of features of a node, d.

    Example:
        >>> adjacency = SimilarityAdjacency(5)(Masked(torch.randn(2, 7, 5), torch.ones(2, 7, dtype=torch.bool)))
        >>> adjacency.shape, bool((adjacency.diagonal(dim1=1, dim2=2) >= 1).all())
        (torch.Size([2, 7, 7]), True)
    """

    def __init__(self, features: int):
        super().__init__()
        self.queries = nn.Linear(features, features, bias=False)
        self.keys = nn.Linear(features, features, bias=False)

    def forward(self, nodes: Masked) -> Float[Tensor, "batch nodes nodes"]:
        """The adjacency `(B, N, N)` of nodes `(B, N, d)`; 0 where one of the two is padding."""
        values = zero_in_padding(*nodes)
        similar = (self.queries(values) @ self.keys(values).mT / values.shape[2]).relu()
        itself = torch.eye(values.shape[1], dtype=similar.dtype, device=similar.device)
        return torch.where(_both_real(nodes.mask), itself + similar, 0)


def band_adjacency(nodes: Masked, width: int = 1) -> Float[Tensor, "batch nodes nodes"]:
    """The adjacency of sequences whose steps are neighbors of themselves and of those at most `width` real steps away.

    Arguments:
        nodes: The sequences, `(B, T, ...)`.
        width: How far the farthest neighbor is.

    Returns:
        1 for neighbors and 0 for others and for padding, `(B, T, T)`.

    Raises:
        ValueError: If the width is negative.

    Example:
        >>> band_adjacency(Masked(torch.zeros(1, 4, 2), torch.tensor([[True, True, True, False]])))
        tensor([[[1., 1., 0., 0.],
                 [1., 1., 1., 0.],
                 [0., 1., 1., 0.],
                 [0., 0., 0., 0.]]])
    """
    if width < 0:
        raise ValueError(f"expected a width of 0 or more, got {width}")
    place = nodes.mask.cumsum(1)
    near = (place.unsqueeze(2) - place.unsqueeze(1)).abs() <= width
    return (near & _both_real(nodes.mask)).to(nodes.values.dtype)


def mean_adjacency(adjacency: Float[Tensor, "batch nodes nodes"]) -> Float[Tensor, "batch nodes nodes"]:
    r"""An adjacency by which nodes become means of their neighbors, not sums: each row divided by its sum.

    .. math:: D^{-1} A, \qquad D_{ii} = \sum_j A_{ij}

    Arguments:
        adjacency: Weights of 0 or more, `(B, N, N)`. A row of zeros stays one.

    Example:
        >>> mean_adjacency(torch.tensor([[[1.0, 3.0], [0.0, 0.0]]]))
        tensor([[[0.2500, 0.7500],
                 [0.0000, 0.0000]]])
    """
    degree = adjacency.sum(2, keepdim=True)
    return adjacency / torch.where(degree > 0, degree, 1)


def _both_real(mask: Tensor) -> Tensor:
    return mask.unsqueeze(2) & mask.unsqueeze(1)
