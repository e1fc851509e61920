"""Critics `T(x, y)`: networks that score pairs of rows, high where they seem to have been drawn together.

A critic is to bounds such as InfoNCE and MINE what `q(y|x)` is to CLUB. It scores all pairs of a batch at once: N rows of x
and M rows of y give `(N, M)`. Write your own by deriving from `Critic`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from disentangle.functional.precision import at_least_float32, in_precision_of
from disentangle.networks import TwoLayers

__all__ = ["Critic", "JointCritic", "SeparableCritic"]


class Critic(nn.Module, ABC):
    """`T(x, y)`: a module that maps N rows of x and M rows of y to the scores of all pairs, `(N, M)`."""

    @abstractmethod
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The scores of all pairs of a row of x, `(N, x_dim)`, with a row of y, `(M, y_dim)`."""


class SeparableCritic(Critic):
    r"""The inner product of two embeddings: one network for x, another for y.

    .. math:: T(x, y) = \langle f(x), g(y) \rangle

    The networks see N + M rows, and one matrix product makes the pairs: the cheap critic for large batches. Its scores have
    at most rank `embedding_dim`.

    References:
        van den Oord et al., Representation Learning with Contrastive Predictive Coding (2018)

    Arguments:
        x_dim: The number of features of x.
        y_dim: The number of features of y.
        hidden_dim: The width of the hidden layer of both networks.
        embedding_dim: The number of features of the embeddings.

    Example:
        >>> import torch
        >>> SeparableCritic(3, 2)(torch.randn(5, 3), torch.randn(7, 2)).shape
        torch.Size([5, 7])
    """

    def __init__(self, x_dim: int, y_dim: int, hidden_dim: int = 64, *, embedding_dim: int = 32):
        super().__init__()
        self.x_network, self.y_network = (
            TwoLayers(features, hidden_dim, embedding_dim, name) for name, features in (("x", x_dim), ("y", y_dim))
        )

    def forward(self, x: Shaped[Tensor, "n x_dim"], y: Shaped[Tensor, "m y_dim"]) -> Float[Tensor, "n m"]:
        """The scores of all pairs, `(N, M)`."""
        x, y = at_least_float32(self.x_network(x)), at_least_float32(self.y_network(y))
        with torch.autocast(x.device.type, enabled=False):
            return x @ y.T


class JointCritic(Critic):
    r"""A network on x and y together, for each pair.

    .. math:: T(x, y) = w^\top \operatorname{ReLU}\left(W_2 \operatorname{ReLU}(W_x x + W_y y + b_1) + b_2\right) + b_3

    The first layer of a network on :math:`[x, y]` is a sum of two maps, so its products see N + M rows and the pairs cost an
    addition; the second layer sees all N·M pairs, in O(N·M·hidden_dim) memory. It can score what no inner product can.

    References:
        Belghazi et al., Mutual Information Neural Estimation (ICML 2018)

    Arguments:
        x_dim: The number of features of x.
        y_dim: The number of features of y.
        hidden_dim: The width of both hidden layers.

    Example:
        >>> import torch
        >>> JointCritic(3, 2)(torch.randn(5, 3), torch.randn(7, 2)).shape
        torch.Size([5, 7])
    """

    def __init__(self, x_dim: int, y_dim: int, hidden_dim: int = 64):
        super().__init__()
        self.x_dim = x_dim
        self.first = nn.Linear(x_dim + y_dim, hidden_dim)
        self.rest = nn.Sequential(nn.ReLU(), nn.Linear(hidden_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, 1))

    def forward(self, x: Shaped[Tensor, "n x_dim"], y: Shaped[Tensor, "m y_dim"]) -> Float[Tensor, "n m"]:
        """The scores of all pairs, `(N, M)`."""
        x, y = (in_precision_of(self.first.weight, t, name) for name, t in (("x", x), ("y", y)))
        w_x, w_y = self.first.weight.split([self.x_dim, self.first.in_features - self.x_dim], dim=1)
        hidden = (x @ w_x.T + self.first.bias)[:, None] + (y @ w_y.T)[None]
        return at_least_float32(self.rest(hidden).squeeze(-1))
