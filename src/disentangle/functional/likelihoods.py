"""How likely y is under `q(y|x)`: for matched rows, and for all pairs of rows."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, Normal

from disentangle.functional.classes import as_classes
from disentangle.functional.inputs import aligned
from disentangle.functional.precision import at_least_float32

__all__ = ["log_likelihoods", "matched_log_likelihoods"]


def matched_log_likelihoods(q: Distribution, y: Shaped[Tensor, "rows ..."]) -> Float[Tensor, " rows"]:
    r"""How likely each y is under its own x, :math:`\log q(y_i|x_i)`: the diagonal of `log_likelihoods`, in O(N).

    Arguments:
        q: `q(y|x)` for each of the N rows of x: batch shape `(N,)`, event shape `(y_dim,)`.
        y: The N samples of y, `(N, y_dim)`; also `(N,)` where it is one number per row.

    Returns:
        The log-likelihoods in nats, `(N,)`, in at least float32.

    Raises:
        ValueError: If q and y do not fit together; on the CPU, if y is to be classes and is not.

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> q = Independent(Normal(torch.zeros(2, 1), torch.ones(2, 1)), 1)
        >>> matched_log_likelihoods(q, torch.zeros(2))  # - log 2π / 2
        tensor([-0.9189, -0.9189])
    """
    q, y = aligned(q, y)
    return at_least_float32(q.log_prob(y))


def log_likelihoods(q: Distribution, y: Shaped[Tensor, "rows ..."]) -> Float[Tensor, "rows rows"]:
    r"""How likely each y is under each x: the matrix whose entry (i, j) is :math:`\log q(y_j|x_i)`.

    Rows belong to x and columns to y, as in the scores of a critic. A diagonal Gaussian takes one matrix product of
    :math:`[y^2, y]` with its precisions, on values that are centred and scaled; independent categories are looked up;
    anything else is asked for its `log_prob` on all pairs.

    In the product large squares cancel: an entry is rounded to about
    :math:`10^{-7}\sum_k (\operatorname{var}(y_k) + (\mu_k - \bar y_k)^2)/\sigma_k^2` in float32. The diagonal, where it
    would matter most, is computed without it.

    Arguments:
        q: `q(y|x)` for each of the N rows of x: batch shape `(N,)`, event shape `(y_dim,)`.
        y: The N samples of y, `(N, y_dim)`; also `(N,)` where it is one number per row.

    Returns:
        The log-likelihoods in nats, `(N, N)`.

    Raises:
        ValueError: If q and y do not fit together; on the CPU, if y is to be classes and is not.

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> q = Independent(Normal(torch.zeros(4, 2), torch.ones(4, 2)), 1)
        >>> y = torch.randn(4, 2)
        >>> torch.allclose(log_likelihoods(q, y)[0], q.log_prob(y), atol=1e-5)
        True
    """
    q, y = aligned(q, y)
    if isinstance(q, Independent) and isinstance(q.base_dist, Normal):
        mean, scale = at_least_float32(q.base_dist.loc), at_least_float32(q.base_dist.scale)
        return _of_gaussians(mean, scale, y.to(torch.promote_types(y.dtype, mean.dtype)))
    if isinstance(q, Independent) and isinstance(q.base_dist, Categorical):
        log_p = at_least_float32(q.base_dist.logits.log_softmax(-1))  # (i, y_dim, classes)
        chosen, spoiler = as_classes(y, log_p.shape[-1])
        chosen = chosen.T.expand(len(y), *y.T.shape)  # (i, y_dim, j)
        return log_p.gather(2, chosen).sum(1) + spoiler.sum(1)
    return at_least_float32(q.log_prob(y[:, None])).T


def _of_gaussians(mean: Tensor, scale: Tensor, y: Tensor) -> Tensor:
    # The result depends neither on the centre nor on the unit, so neither needs a gradient.
    center = y.detach().mean(0)
    unit = (y.detach() - center).square().mean(0).sqrt()
    unit = torch.where(unit > 0, unit, 1)
    c, m = (y - center) / unit, (mean - center) / unit
    precision = (unit / scale).square()
    pull = precision * m
    log_volume = scale.log().sum(1) + 0.5 * math.log(2 * math.pi) * y.shape[1]
    with torch.autocast(y.device.type, enabled=False):
        log_q = torch.addmm(
            (-0.5 * (pull * m).sum(1) - log_volume)[:, None],
            torch.cat([precision, pull], 1),
            torch.cat([-0.5 * c.square(), c], 1).T,
        )
    matched = -0.5 * ((y - mean) / scale).square().sum(1) - log_volume
    return log_q.diagonal_scatter(matched)
