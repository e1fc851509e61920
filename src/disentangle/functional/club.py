"""CLUB, the contrastive log-ratio of a batch: in closed form where the distribution has one."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, Normal

from disentangle.functional.classes import as_classes
from disentangle.functional.inputs import aligned, refuse_broadcasting, refuse_few_rows
from disentangle.functional.likelihoods import log_likelihoods, matched_log_likelihoods
from disentangle.functional.precision import at_least_float32

__all__ = ["club", "club_categorical", "club_gaussian", "club_pairwise", "club_sampled"]


def club(q: Distribution, y: Shaped[Tensor, "batch ..."], *, unbiased: bool = False) -> Float[Tensor, ""]:
    r"""The contrastive log-ratio of a batch under `q(y|x)`: matched pairs against all pairs.

    .. math:: \frac{1}{N}\sum_i \log q(y_i|x_i) - \frac{1}{N^2}\sum_{i,j}\log q(y_j|x_i)

    A diagonal Gaussian goes through `club_gaussian`, which is exact in O(N·d), independent categories through
    `club_categorical`, exact in O(N·C); any other distribution through `club_pairwise`, O(N²).

    The second mean holds the N matched pairs, which makes the estimate too small on average. Leaving them out, with
    :math:`P` the first mean and :math:`A` the second, gives
    :math:`P - \frac{N^2 A - N P}{N(N-1)} = \frac{N}{N-1}(P - A)`: the same value times N/(N-1).

    References:
        | Qian et al., MIRD, eq. 11, 12 and 14
        | Cheng et al., CLUB: A Contrastive Log-ratio Upper Bound of Mutual Information (ICML 2020), eq. 11

    Arguments:
        q: `q(y|x)` for each of the N rows of x: batch shape `(N,)`, event shape `(y_dim,)`.
        y: The N samples of y, `(N, y_dim)`, row i drawn together with row i of x; also `(N,)` where it is one number per row.
        unbiased: Whether to leave the matched pairs out of the second mean.

    Returns:
        The estimate in nats, `()`. It can be negative.

    Raises:
        TooFewRowsError: If `unbiased` and there is one row, which has no unmatched pairs.
        ValueError: If q and y do not fit together; on the CPU, if y is to be classes and is not.

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> x = torch.randn(8, 3)
        >>> q = Independent(Normal(x, torch.ones(8, 3)), 1)
        >>> torch.allclose(club(q, x), club_pairwise(q, x), atol=1e-5)
        True
    """
    if unbiased:
        refuse_few_rows(len(y), 2, ", of which there are unmatched pairs")
    q, y = aligned(q, y)
    if isinstance(q, Independent) and isinstance(q.base_dist, Normal):
        value = club_gaussian(q.base_dist.loc, q.base_dist.scale, y)
    elif isinstance(q, Independent) and isinstance(q.base_dist, Categorical):
        value = club_categorical(q.base_dist.logits, y)
    else:
        value = club_pairwise(q, y)
    return value * (len(y) / (len(y) - 1)) if unbiased else value


def club_gaussian(
    mean: Float[Tensor, "*batch rows y_dim"],
    scale: Float[Tensor, "*batch rows y_dim"],
    y: Float[Tensor, "*batch rows y_dim"],
) -> Float[Tensor, "*batch"]:
    r"""`club` for `q(y|x) = N(mean, diag(scale²))`, exactly, in O(N·d) operations and memory.

    In the difference of the two averages of squares all that is left of the N x N pairs is the batch's mean and variance.
    With :math:`c = y - \bar y` and :math:`m = \mu - \bar y`, each dimension contributes

    .. math:: \frac{1}{2\sigma^2}\left(\operatorname{var}(y) + m^2 - (m - c)^2\right)
              = \frac{1}{2\sigma^2}\left(\operatorname{var}(y) + c\,(2m - c)\right)

    Everything is centred first, and once more, since a mean is itself rounded: a common offset costs no precision. Only
    the inputs are kept for the gradient, which is in closed form too.

    Arguments:
        mean: The means of q, `(..., N, y_dim)`. Leading dimensions are estimators that are computed together.
        scale: The standard deviations of q, `(..., N, y_dim)`.
        y: The samples of y, `(..., N, y_dim)`.

    Returns:
        The estimate of each estimator in nats, `(...)`.

    Example:
        >>> import torch
        >>> x = torch.randn(8, 3)
        >>> club_gaussian(torch.zeros(8, 3), torch.ones(8, 3), x).abs() < 1e-5  # q ignores x: nothing to tell apart
        tensor(True)
    """
    refuse_broadcasting(mean, y)
    mean, scale, y = (at_least_float32(t) for t in (mean, scale, y))
    return _GaussianCLUB.apply(mean, scale, y)


class _GaussianCLUB(torch.autograd.Function):
    """The closed form with its gradient. In-place only on tensors made here, and so that double backward stays right."""

    generate_vmap_rule = True

    @staticmethod
    def forward(mean: Tensor, scale: Tensor, y: Tensor) -> Tensor:
        c, m, variance = _centered(mean, y)
        contrast = m.sub_(c, alpha=0.5).mul_(c).add_(variance, alpha=0.5)
        return contrast.div(scale.square()).sum((-2, -1)).div_(y.shape[-2])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, scale, y = ctx.saved_tensors
        c, m, variance = _centered(mean, y)
        precision = (grad_outputs[0][..., None, None] / y.shape[-2]) / scale.square()
        to_mean = precision * c
        pull = precision * m
        to_scale = torch.add(to_mean, pull, alpha=-2).mul_(c).sub_(precision * variance).div_(scale)
        to_y = pull.sub_(pull.mean(-2, keepdim=True)).sub_(to_mean).add_(precision.mean(-2, keepdim=True) * c)
        return to_mean, to_scale, to_y


def _centered(mean: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """y and q's mean as distances from the mean of y, and the variance of y."""
    center = y.mean(-2, keepdim=True)
    c, m = y - center, mean - center
    rest = c.mean(-2, keepdim=True)
    c.sub_(rest)
    return c, m.sub_(rest), c.square().mean(-2, keepdim=True)


def club_categorical(logits: Float[Tensor, "batch y_dim classes"], y: Shaped[Tensor, "batch ..."]) -> Float[Tensor, ""]:
    r"""`club` for independent categories, exactly, in O(N·C): all pairs are counted by class.

    With :math:`f_{kc}` the frequency of class c in column k of y,

    .. math:: \frac{1}{N}\sum_{i,k,c} \left([y_{ik} = c] - f_{kc}\right) \ell_{ikc}

    What normalises the logits of a row cancels. A class that q holds for impossible changes nothing as long as it does not
    occur.

    Arguments:
        logits: The log-probabilities of the classes under q, `(N, y_dim, C)`, up to a constant for each row and column.
        y: The classes that occurred, `(N, y_dim)`, whole numbers from 0 to C-1; also `(N,)` where it is one column.

    Returns:
        The estimate in nats, `()`; NaN, on another device than the CPU, where y holds what is no class.

    Raises:
        ValueError: If logits and y differ in their rows or columns; on the CPU, if y holds what is no class.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[[2.0, 0.0]], [[0.0, 2.0]]])  # two rows, one column, two classes
        >>> club_categorical(logits, torch.tensor([[0.0], [1.0]]))  # matched 2, all pairs 1
        tensor(1.)
    """
    y = y[:, None] if y.dim() == 1 else y
    if logits.shape[:2] != y.shape:
        raise ValueError(f"expected y of shape {tuple(logits.shape[:2])}, as the logits, got {tuple(y.shape)}")
    (chosen, spoiler), logits, n = as_classes(y, logits.shape[2]), at_least_float32(logits), len(y)
    one = logits.new_ones(())
    counts = torch.zeros_like(logits[0]).scatter_add_(1, chosen.T, one.expand_as(chosen.T))
    weights = (counts / -n).expand_as(logits).scatter_add(2, chosen[..., None], one.expand(*chosen.shape, 1))
    value = (logits.masked_fill(counts == 0, 0) * weights).sum() / n  # masked: not 0 times minus infinity
    return value + spoiler.sum()


def club_pairwise(q: Distribution, y: Shaped[Tensor, "batch ..."]) -> Float[Tensor, ""]:
    """`club` for any `q(y|x)`, from the N x N matrix of `log q(y_j|x_i)`.

    Example:
        >>> import torch
        >>> q = torch.distributions.MultivariateNormal(torch.zeros(8, 3), torch.eye(3))
        >>> club_pairwise(q, torch.randn(8, 3)).shape
        torch.Size([])
    """
    log_q = log_likelihoods(q, y)
    return log_q.diagonal().mean() - log_q.mean()


def club_sampled(q: Distribution, y: Shaped[Tensor, "batch ..."], shift: int) -> Float[Tensor, ""]:
    r"""The contrastive log-ratio with one unmatched y for each x, in O(N): y rolled by `shift` rows.

    .. math:: \frac{1}{N}\sum_i \left[\log q(y_i|x_i) - \log q(y_{i + \mathrm{shift}}|x_i)\right]

    Each row is used once as a negative, and never as its own. Over all shifts from 1 to N-1 its mean is
    `club(q, y, unbiased=True)`, exactly; so a shift drawn at random gives an unbiased estimate of that.

    References:
        Cheng et al., CLUB: A Contrastive Log-ratio Upper Bound of Mutual Information (ICML 2020)

    Arguments:
        q: `q(y|x)` for each of the N rows of x: batch shape `(N,)`, event shape `(y_dim,)`.
        y: The N samples of y, `(N, y_dim)`; also `(N,)` where it is one number per row.
        shift: How far to roll, from 1 to N-1.

    Returns:
        The estimate in nats, `()`. It can be negative.

    Raises:
        ValueError: If `shift` is not from 1 to N-1, or as `club`.

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> y = torch.tensor([[0.0], [2.0]])
        >>> club_sampled(Independent(Normal(y, torch.ones(2, 1)), 1), y, shift=1)
        tensor(2.)
    """
    if not 1 <= shift <= len(y) - 1:
        raise ValueError(f"expected a shift from 1 to {len(y) - 1} for {len(y)} rows, got {shift}")
    return (matched_log_likelihoods(q, y) - matched_log_likelihoods(q, y.roll(-shift, 0))).mean()
