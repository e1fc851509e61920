"""How likely y is under `q(y|x)`: for matched rows, and for all pairs of rows."""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor

from disentangle.functional.precision import at_least_float32

__all__ = ["gaussian_log_likelihood"]


def gaussian_log_likelihood(
    mean: Float[Tensor, "*batch rows y_dim"],
    scale: Float[Tensor, "*batch rows y_dim"],
    y: Float[Tensor, "*batch rows y_dim"],
) -> Float[Tensor, "*batch"]:
    r"""The mean log-likelihood of y under `q(y|x) = N(mean, diag(scale²))`, over the rows.

    .. math:: \frac{1}{N}\sum_i \log q(y_i|x_i)

    Arguments:
        mean: The means of q, `(..., N, y_dim)`. Leading dimensions are estimators that are computed together.
        scale: The standard deviations of q, `(..., N, y_dim)`.
        y: The samples of y, `(..., N, y_dim)`.

    Returns:
        The mean of each estimator in nats, `(...)`.

    Example:
        >>> import torch
        >>> gaussian_log_likelihood(torch.zeros(4, 2), torch.ones(4, 2), torch.zeros(4, 2))  # - log 2π
        tensor(-1.8379)
    """
    mean, scale, y = (at_least_float32(t) for t in (mean, scale, y))
    by_row = (0.5 * ((y - mean) / scale).square() + scale.log()).sum(-1)
    return -by_row.mean(-1) - 0.5 * math.log(2 * math.pi) * y.shape[-1]
