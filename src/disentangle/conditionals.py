"""Conditional distributions `q(y|x)`: the network behind an estimator.

An estimator is a formula; how well it works is decided by how well `q(y|x)` fits. Every conditional maps x to a
`torch.distributions.Distribution` over y with one batch dimension (the rows of x) and one event dimension, and knows
nothing of bounds. Write your own by deriving from `Conditional`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from disentangle.functional.classes import Classes
from disentangle.functional.precision import at_least_float32, in_precision_of
from disentangle.networks import TwoLayers
from disentangle.variables import Masked

__all__ = [
    "CategoricalConditional",
    "Conditional",
    "FullGaussianConditional",
    "GaussianConditional",
    "MaskedConditional",
    "MixtureConditional",
]

# The distributions are made without validation, which would read their values back to the host.


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
            values small on latents of unit scale and distorts them on any other. `"zero"` learns the mean alone and
            keeps the variance at one, as the published CLUBMean does: the fit is least squares, and the unit of y is
            the unit of its noise.

    Raises:
        ValueError: If `log_variance` is none of them.

    Example:
        >>> import torch
        >>> q = GaussianConditional(3, 2)
        >>> q(torch.randn(5, 3)).log_prob(torch.randn(5, 2)).shape
        torch.Size([5])
    """

    def __init__(
        self, x_dim: int, y_dim: int, hidden_dim: int = 32, *, log_variance: Literal["free", "tanh", "zero"] = "free"
    ):
        super().__init__()
        if log_variance not in ("free", "tanh", "zero"):
            raise ValueError(f"expected log_variance 'free', 'tanh' or 'zero', got {log_variance!r}")
        self.log_variance: Literal["free", "tanh", "zero"] = log_variance
        self.network = TwoLayers(x_dim, hidden_dim, y_dim if log_variance == "zero" else 2 * y_dim)

    def forward(self, x: Shaped[Tensor, "batch x_dim"]) -> Independent:
        """The Gaussian of y for each row of x, `(N, x_dim)`."""
        mean, log_variance = mean_and_log_variance(self.network(x), self.log_variance)
        return _diagonal(mean, (0.5 * log_variance).exp())


def mean_and_log_variance(out: Tensor, log_variance: Literal["free", "tanh", "zero"]) -> tuple[Tensor, Tensor]:
    """What the output of a `GaussianConditional`'s network stands for, each `(..., y_dim)`.

    Example:
        >>> mean_and_log_variance(torch.tensor([1.0, 9.0]), "tanh")
        (tensor([1.]), tensor([1.0000]))
    """
    out = at_least_float32(out)
    if log_variance == "zero":
        return out, torch.zeros_like(out)
    mean, free = out.chunk(2, dim=-1)
    return mean, free.tanh() if log_variance == "tanh" else free


class FullGaussianConditional(Conditional):
    r"""A Gaussian with a full covariance: y's features may depend on one another given x.

    .. math:: q(y|x) = \mathcal N\left(\mu(x), L(x) L(x)^\top\right)

    The network gives the mean and the lower triangle of L, whose diagonal goes through a softplus. It has
    y_dim (y_dim + 3) / 2 outputs, and the N x N pairs of CLUB cost O(N² y_dim²): for a few dozen features, not hundreds.

    Arguments:
        x_dim: The number of features of x.
        y_dim: The number of features of y.
        hidden_dim: The width of the hidden layer.

    Example:
        >>> import torch
        >>> q = FullGaussianConditional(3, 2)
        >>> q(torch.randn(5, 3)).covariance_matrix.shape
        torch.Size([5, 2, 2])
    """

    def __init__(self, x_dim: int, y_dim: int, hidden_dim: int = 32):
        super().__init__()
        self.y_dim = y_dim
        self.network = TwoLayers(x_dim, hidden_dim, y_dim * (y_dim + 3) // 2)

    def forward(self, x: Shaped[Tensor, "batch x_dim"]) -> MultivariateNormal:
        """The Gaussian of y for each row of x, `(N, x_dim)`."""
        d = self.y_dim
        out = at_least_float32(self.network(x))
        mean, diagonal, lower = out.split([d, d, d * (d - 1) // 2], dim=-1)
        rows, columns = torch.tril_indices(d, d, -1, device=out.device)
        factor = torch.diag_embed(F.softplus(diagonal) + torch.finfo(out.dtype).eps)  # never singular
        factor = factor.index_put((torch.arange(len(out), device=out.device)[:, None], rows, columns), lower)
        return MultivariateNormal(mean, scale_tril=factor, validate_args=False)


class MixtureConditional(Conditional):
    r"""A mixture of diagonal Gaussians: y may have several modes given x.

    .. math:: q(y|x) = \sum_k \pi_k(x)\,\mathcal N\left(\mu_k(x), \operatorname{diag}\,\sigma_k^2(x)\right)

    References:
        Bishop, Mixture Density Networks (1994)

    Arguments:
        x_dim: The number of features of x.
        y_dim: The number of features of y.
        hidden_dim: The width of the hidden layer.
        components: The number of Gaussians.

    Example:
        >>> import torch
        >>> q = MixtureConditional(3, 2, components=5)
        >>> q(torch.randn(7, 3)).log_prob(torch.randn(7, 2)).shape
        torch.Size([7])
    """

    def __init__(self, x_dim: int, y_dim: int, hidden_dim: int = 32, *, components: int = 4):
        super().__init__()
        self.y_dim, self.components = y_dim, components
        self.network = TwoLayers(x_dim, hidden_dim, components * (2 * y_dim + 1))

    def forward(self, x: Shaped[Tensor, "batch x_dim"]) -> MixtureSameFamily:
        """The mixture of y for each row of x, `(N, x_dim)`."""
        out = at_least_float32(self.network(x)).unflatten(-1, (self.components, 2 * self.y_dim + 1))
        mean, log_variance, logit = out.split([self.y_dim, self.y_dim, 1], dim=-1)
        return MixtureSameFamily(
            Categorical(logits=logit.squeeze(-1), validate_args=False),
            _diagonal(mean, (0.5 * log_variance).exp()),
            validate_args=False,
        )


class CategoricalConditional(Conditional):
    r"""Classes: each column of y is one of `classes` numbers, and the columns are independent given x.

    .. math:: q(y|x) = \prod_k \operatorname{softmax}\left(\ell_k(x)\right)_{y_k}

    y is `(N, y_dim)` of whole numbers from 0 to `classes` - 1, as integers, booleans or floats. Anything else is an error on
    the CPU. On another device, which nothing here waits for, the value is NaN in its place: `disentangle.AlternatingStep`
    stops there and names it. `disentangle.class_numbers(labels)[0]` numbers any labels, `rows.argmax(1)` one-hot rows.

    Arguments:
        x_dim: The number of features of x.
        classes: The number of classes.
        hidden_dim: The width of the hidden layer.
        y_dim: The number of columns of y.

    Raises:
        ValueError: From its likelihoods, on the CPU, for a y that is not one of the classes.

    Example:
        >>> import torch
        >>> q = CategoricalConditional(3, classes=10)
        >>> q(torch.randn(5, 3)).log_prob(torch.randint(10, (5, 1))).shape
        torch.Size([5])
    """

    def __init__(self, x_dim: int, classes: int, hidden_dim: int = 32, *, y_dim: int = 1):
        super().__init__()
        self.y_dim, self.classes = y_dim, classes
        self.network = TwoLayers(x_dim, hidden_dim, y_dim * classes)

    def forward(self, x: Shaped[Tensor, "batch x_dim"]) -> Independent:
        """The classes of y for each row of x, `(N, x_dim)`."""
        logits = at_least_float32(self.network(x)).unflatten(-1, (self.y_dim, self.classes))
        return Independent(Classes(logits=logits, validate_args=False), 1, validate_args=False)


class MaskedConditional(Conditional):
    """A conditional on a padded batch of sequences: another conditional, on one vector for each sequence.

    Arguments:
        conditional: q(y|vector).
        encode: What makes the vectors, `encode(values, mask)`, for example `disentangle.nn.SequenceEncoder`; a module
            learns together with the conditional. The mean over the real steps if not given.

    Raises:
        ValueError: On a call with x that is not `Masked`.

    Example:
        >>> import torch
        >>> q = MaskedConditional(GaussianConditional(3, 2))
        >>> x = Masked(torch.randn(5, 7, 3), torch.rand(5, 7) > 0.4)
        >>> q(x).log_prob(torch.randn(5, 2)).shape
        torch.Size([5])
    """

    def __init__(self, conditional: Conditional, encode: Callable[[Tensor, Tensor], Tensor] | None = None):
        super().__init__()
        self.conditional = conditional
        self.encode = encode

    def forward(self, x: Tensor | Masked) -> Distribution:
        """The distribution of y for each sequence, values `(N, T, x_dim)` with their mask `(N, T)`."""
        if not isinstance(x, Masked):
            raise ValueError(f"expected a masked sequence, got a tensor of shape {tuple(x.shape)}")
        if self.encode is None:
            return self.conditional(x.mean())
        weight = next(self.encode.parameters(), None) if isinstance(self.encode, nn.Module) else None
        values = x.values
        if weight is not None and values.is_floating_point():  # whole numbers may be ids
            values = in_precision_of(weight, values, "x")
        return self.conditional(self.encode(values, x.mask))


def predicts_classes(conditional: object) -> bool:
    """Whether a conditional predicts classes and not numbers, as far as it is one of these here."""
    if isinstance(conditional, MaskedConditional):
        return predicts_classes(conditional.conditional)
    return isinstance(conditional, CategoricalConditional)


def _diagonal(mean: Tensor, scale: Tensor) -> Independent:
    return Independent(Normal(mean, scale, validate_args=False), 1, validate_args=False)
