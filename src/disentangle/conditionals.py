"""Conditional distributions `q(y|x)`: the network behind an estimator.

An estimator is a formula; how well it works is decided by how well `q(y|x)` fits. Every conditional maps x to a
`torch.distributions.Distribution` over y with one batch dimension (the rows of x) and one event dimension, and knows
nothing of bounds. Write your own by deriving from `Conditional`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

__all__ = ["Conditional", "GaussianConditional"]


class Conditional(nn.Module, ABC):
    """`q(y|x)`: a module that maps x to a distribution over y, with batch shape `(N,)` and event shape `(y_dim,)`."""

    @abstractmethod
    def forward(self, x: Tensor) -> Distribution:
        """The distribution of y for each row of x, `(N, x_dim)`."""


class GaussianConditional(Conditional):
    r"""A diagonal Gaussian whose mean and log-variance come from a network of two layers.

    .. math:: q(y|x) = \mathcal N\left(\mu(x), \operatorname{diag}\,\sigma^2(x)\right), \qquad
              [\mu, \log\sigma^2] = W_2 \operatorname{ReLU}(W_1 x + b_1) + b_2

    References:
        Qian et al., MIRD, sections 3.5 and 4.3

    Arguments:
        x_dim: The number of features of x.
        y_dim: The number of features of y.
        hidden_dim: The width of the hidden layer.
        log_variance: `"free"` leaves the log-variance as it is, so that the fit does not depend on the scale of y.
            `"tanh"` bounds it to (-1, 1) as in the published CLUB code: the variance stays in (1/e, e), which keeps
            values small on latents of unit scale and distorts them on any other.

    Raises:
        ValueError: If `log_variance` is neither.

    Example:
        >>> q = GaussianConditional(3, 2)
        >>> q(torch.randn(5, 3)).log_prob(torch.randn(5, 2)).shape
        torch.Size([5])
    """

    def __init__(self, x_dim: int, y_dim: int, hidden_dim: int = 32, *, log_variance: Literal["free", "tanh"] = "free"):
        super().__init__()
        if log_variance not in ("free", "tanh"):
            raise ValueError(f"log_variance is 'free' or 'tanh', got {log_variance!r}")
        self.log_variance = log_variance
        self.network = nn.Sequential(nn.Linear(x_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, 2 * y_dim))

    def forward(self, x: Float[Tensor, "batch x_dim"]) -> Independent:
        """The Gaussian of y for each row of x, `(N, x_dim)`."""
        out = self.network(x)
        mean, log_variance = out.to(torch.promote_types(out.dtype, torch.float32)).chunk(2, dim=-1)
        if self.log_variance == "tanh":
            log_variance = log_variance.tanh()
        # Validation would read the values back to the host.
        return Independent(Normal(mean, (0.5 * log_variance).exp(), validate_args=False), 1, validate_args=False)
