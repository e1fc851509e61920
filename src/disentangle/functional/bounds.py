"""Bounds of mutual information, from likelihoods and from the scores of a critic to nats.

Scores are a matrix: entry (i, j) is what a critic gives to the pair of x_i and y_j, so that the diagonal holds the pairs
that were drawn together. Log-likelihoods have the same layout. A lower bound is one for any critic that was not fitted to
the rows it is evaluated on; one that was can tell them apart by heart.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, Independent, LowRankMultivariateNormal, MultivariateNormal, Normal

from disentangle.functional.inputs import refuse_few_rows
from disentangle.functional.precision import at_least_float32

__all__ = [
    "donsker_varadhan",
    "infonce",
    "jensen_shannon",
    "leave_one_out",
    "nwj",
    "smile",
    "unmatched_log_mean_exp",
    "variational_upper_bound",
]


def leave_one_out(log_q: Float[Tensor, "rows rows"]) -> Float[Tensor, ""]:
    r"""The leave-one-out upper bound: each y under its own x against the mixture of all the others.

    .. math:: \frac{1}{N}\sum_i \left[\log q(y_i|x_i) - \log\frac{1}{N-1}\sum_{j \ne i} q(y_i|x_j)\right]

    With the true conditional p(y|x) in place of q its expectation is at least the mutual information, and for large N it
    comes down to it; that is where it differs from CLUB, whose mean of logarithms stays above it.

    References:
        Poole et al., On Variational Bounds of Mutual Information (ICML 2019)

    Arguments:
        log_q: The log-likelihoods, `(N, N)`: entry (i, j) is log q(y_j|x_i), see `log_likelihoods`.

    Returns:
        The estimate in nats, `()`. It can be negative.

    Example:
        >>> import torch
        >>> log_q = torch.tensor([[0.0, -3.0], [-1.0, 0.0]])
        >>> leave_one_out(log_q)  # (0 + 1 + 0 + 3) / 2
        tensor(2.)
    """
    log_q = at_least_float32(log_q)
    others = _without_diagonal(log_q).logsumexp(0) - math.log(len(log_q) - 1)
    return (log_q.diagonal() - others).mean()


def variational_upper_bound(q: Distribution) -> Float[Tensor, ""]:
    r"""The information bottleneck's bound: how far `q(y|x)` is from a standard normal, on average over x.

    .. math:: \frac{1}{N}\sum_i \mathrm{KL}\left(q(y|x_i)\,\|\,\mathcal N(0, I)\right)

    The divergence is that of the whole vector, summed over its dimensions. It bounds the mutual information of x and a y
    drawn from q(y|x): it is I(x;y) plus the divergence of y's own distribution from the standard normal.

    References:
        Alemi et al., Deep Variational Information Bottleneck (ICLR 2017)

    Arguments:
        q: `q(y|x)` for each of the N rows of x, Gaussian: batch shape `(N,)`, event shape `(y_dim,)`.

    Returns:
        The bound in nats, `()`.

    Raises:
        ValueError: If q is not Gaussian.

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> variational_upper_bound(Independent(Normal(torch.ones(4, 2), torch.ones(4, 2)), 1))  # half of |mean|²
        tensor(1.)
    """
    diagonal = isinstance(q, Independent) and isinstance(q.base_dist, Normal)
    if not diagonal and not isinstance(q, MultivariateNormal | LowRankMultivariateNormal):
        raise ValueError(f"expected a Gaussian, whose divergence has a closed form, got {type(q).__name__}")
    squares = at_least_float32(q.mean).square() + at_least_float32(q.variance)
    cross_entropy = 0.5 * (squares + math.log(2 * math.pi)).sum(-1)
    return (cross_entropy - at_least_float32(q.entropy())).mean()


def infonce(scores: Float[Tensor, "rows rows"]) -> Float[Tensor, ""]:
    r"""InfoNCE: how well the critic finds, for each x, its own y among the N of the batch. A lower bound.

    .. math:: \log N + \frac{1}{N}\sum_i \log\frac{e^{T_{ii}}}{\sum_j e^{T_{ij}}}

    **Its ceiling is log N**, whatever the critic: 3.5 nats at N = 32, 6.2 at N = 512. Where it is near, the information
    may be anything above. Of the bounds on scores it varies least.

    References:
        van den Oord et al., Representation Learning with Contrastive Predictive Coding (2018), eq. 4

    Arguments:
        scores: The critic's scores, `(N, N)`.

    Returns:
        The estimate in nats, `()`, at most log N.

    Example:
        >>> import torch
        >>> infonce(torch.zeros(8, 8)).abs() < 1e-6, infonce(100 * torch.eye(8))  # log 8
        (tensor(True), tensor(2.0794))
    """
    n = _rows_of(scores)
    refuse_few_rows(n)
    return math.log(n) - F.cross_entropy(at_least_float32(scores), torch.arange(n, device=scores.device))


def nwj(scores: Float[Tensor, "rows rows"]) -> Float[Tensor, ""]:
    r"""The bound of Nguyen, Wainwright and Jordan. A lower bound without ceiling, unbiased, and of high variance.

    .. math:: \frac{1}{N}\sum_i T_{ii} - \frac{1}{N(N-1)}\sum_{i \ne j} e^{T_{ij} - 1}

    It is tight where T is the log-ratio of the densities plus one. The exponential grows without bound: where the
    logarithm of its mean is so large (about 44 in float32) that the square of the gradient would overflow, it goes on as
    its tangent, so that value and gradient stay finite.

    References:
        | Nguyen et al., Estimating Divergence Functionals and the Likelihood Ratio by Convex Risk Minimization (2010)
        | Poole et al., On Variational Bounds of Mutual Information (ICML 2019)

    Arguments:
        scores: The critic's scores, `(N, N)`.

    Returns:
        The estimate in nats, `()`.

    Example:
        >>> import torch
        >>> nwj(torch.ones(4, 4)).abs() < 1e-6  # independent: the log-ratio is 0
        tensor(True)
    """
    scores = at_least_float32(scores)
    log_mean = unmatched_log_mean_exp(scores)
    last = 0.5 * math.log(torch.finfo(scores.dtype).max)
    known = log_mean.clamp(max=last)
    beyond = log_mean - known
    return scores.diagonal().mean() - (known - 1).exp() * (1 + beyond)


def donsker_varadhan(scores: Float[Tensor, "rows rows"]) -> Float[Tensor, ""]:
    r"""The bound of Donsker and Varadhan, which MINE uses.

    .. math:: \frac{1}{N}\sum_i T_{ii} - \log\frac{1}{N(N-1)}\sum_{i \ne j} e^{T_{ij}}

    A constant added to the scores does not change it. With the mean over a batch in place of an expectation it is not
    quite a lower bound: the logarithm of a mean is too low on average, the more so the more the exponentials vary.

    References:
        | Donsker and Varadhan, Asymptotic Evaluation of Certain Markov Process Expectations for Large Time, IV (1983)
        | Belghazi et al., Mutual Information Neural Estimation (ICML 2018)

    Arguments:
        scores: The critic's scores, `(N, N)`.

    Returns:
        The estimate in nats, `()`.

    Example:
        >>> import torch
        >>> donsker_varadhan(torch.tensor([[2.0, 0.0], [0.0, 2.0]]))
        tensor(2.)
    """
    scores = at_least_float32(scores)
    unmatched = unmatched_log_mean_exp(scores)
    return scores.diagonal().mean() - unmatched


def smile(scores: Float[Tensor, "rows rows"], clip: float) -> Float[Tensor, ""]:
    r"""The Donsker-Varadhan bound with the scores of unmatched pairs clipped: less variance, for a bias.

    .. math:: \frac{1}{N}\sum_i T_{ii} - \log\frac{1}{N(N-1)}\sum_{i \ne j} e^{\operatorname{clip}(T_{ij}, -\tau, \tau)}

    It is no bound where the clip acts, and nothing to train a critic on: adding a large constant to all scores raises it
    without end. Clipped pairs have no gradient.

    References:
        Song and Ermon, Understanding the Limitations of Variational Mutual Information Estimators (ICLR 2020)

    Arguments:
        scores: The critic's scores, `(N, N)`.
        clip: The largest score τ that an unmatched pair may have.

    Returns:
        The estimate in nats, `()`.

    Example:
        >>> import torch
        >>> smile(torch.tensor([[2.0, 9.0], [9.0, 2.0]]), clip=1.0)
        tensor(1.)
    """
    scores = at_least_float32(scores)
    unmatched = unmatched_log_mean_exp(scores.clamp(-clip, clip))
    return scores.diagonal().mean() - unmatched


def jensen_shannon(scores: Float[Tensor, "rows rows"]) -> Float[Tensor, ""]:
    r"""What a critic maximises that is to become the log-ratio of densities by telling matched from unmatched pairs.

    .. math:: -\frac{1}{N}\sum_i \log(1 + e^{-T_{ii}}) - \frac{1}{N(N-1)}\sum_{i \ne j} \log(1 + e^{T_{ij}})

    It is a lower bound of twice the Jensen-Shannon divergence of p(x, y) from p(x) p(y), less log 4, and none of mutual
    information. Its gradients are bounded, which is why critics are trained on it that other bounds then read.

    References:
        | Nowozin et al., f-GAN (NeurIPS 2016)
        | Song and Ermon, Understanding the Limitations of Variational Mutual Information Estimators (ICLR 2020)

    Arguments:
        scores: The critic's scores, `(N, N)`.

    Returns:
        The value in nats, `()`, below 0.

    Example:
        >>> import torch
        >>> jensen_shannon(torch.zeros(4, 4))  # - log 4
        tensor(-1.3863)
    """
    scores = at_least_float32(scores)
    n = len(scores)
    unmatched = F.softplus(_without_diagonal(scores)).sum() / (n * (n - 1))
    return -F.softplus(-scores.diagonal()).mean() - unmatched


def unmatched_log_mean_exp(scores: Float[Tensor, "rows rows"]) -> Float[Tensor, ""]:
    r"""The logarithm of the mean exponential over unmatched pairs, which bounds on scores are made of.

    .. math:: \log\frac{1}{N(N-1)}\sum_{i \ne j} e^{T_{ij}}

    Arguments:
        scores: The critic's scores, `(N, N)`.

    Returns:
        The value, `()`, finite for finite scores.

    Example:
        >>> import torch
        >>> unmatched_log_mean_exp(torch.tensor([[0.0, 500.0], [500.0, 0.0]]))
        tensor(500.)
    """
    scores = at_least_float32(scores)
    n = len(scores)
    return _without_diagonal(scores).flatten().logsumexp(0) - math.log(n * (n - 1))


def _without_diagonal(scores: Tensor) -> Tensor:
    n = _rows_of(scores)
    refuse_few_rows(n, 2, ", of which there are unmatched pairs")
    return scores.diagonal_scatter(scores.new_full((n,), -math.inf))


def _rows_of(scores: Tensor) -> int:
    """The number of rows of x, and of y, that all have a score together."""
    if scores.dim() != 2 or scores.shape[0] != scores.shape[1]:
        raise ValueError(f"expected scores (N, N), of each x with each y of the batch, got {tuple(scores.shape)}")
    return len(scores)
