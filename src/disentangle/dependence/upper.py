"""Upper bounds of mutual information that learn a conditional q(y|x).

All hold for the true conditional. A learned q is one only as far as it fits, and a value that is small under a poor q shows
nothing: they are penalties rather than meters.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from disentangle import functional
from disentangle.conditionals import Conditional, GaussianConditional
from disentangle.dependence.base import Bound
from disentangle.dependence.estimators import ConditionalEstimator
from disentangle.variables import Masked

__all__ = ["CLUBEstimator", "LeaveOneOutEstimator", "SampledCLUBEstimator", "VariationalUpperBound"]


class CLUBEstimator(ConditionalEstimator):
    r"""CLUB, the contrastive log-ratio upper bound of mutual information, with a learned `q(y|x)`.

    .. math:: \hat I(x; y) = \frac{1}{N}\sum_i \log q(y_i|x_i) - \frac{1}{N^2}\sum_{i,j}\log q(y_j|x_i)

    **What it is.** With the true conditional p(y|x) in place of q its expectation is
    :math:`I(x;y) + \mathrm{KL}(p(x)p(y)\,\|\,p(x,y))` up to the factor (N-1)/N that the matched pairs inside the second sum
    cost: an upper bound, and not a tight one. With a learned q it is an upper bound only as long as q is close enough to
    p(y|x), and no bound at all while q is poor; it can be negative. So it is a *penalty*: its gradient says how to make y
    less predictable from x. It is not a *meter*: to learn whether two variables are independent, measure them with
    something that was not trained against (`disentangle.estimate_mutual_information`, `disentangle.permutation_test`).

    **How to use it.** Alternate: minimise `learning_loss` over the estimator's parameters on detached variables, a few
    steps, then minimise `forward` over the encoders with the estimator frozen. `disentangle.AlternatingStep` does that.

    **What y is.** To a Gaussian q, numbers that vary given x. The vectors of a codebook do not, nor do one-hot rows: its
    variance goes to zero, and the gradient moves rows from code to code, which tells more than before. Make them x, or y as
    classes with a `CategoricalConditional`.

    For a diagonal Gaussian q (the default) the double sum is exact in O(N·d), for classes in O(N·C); see
    `disentangle.functional.club`.

    References:
        | Qian et al., MIRD, eq. 11 to 15
        | Cheng et al., CLUB: A Contrastive Log-ratio Upper Bound of Mutual Information (ICML 2020)

    Arguments:
        x_dim: The number of features of x, the variable that q conditions on, or of its classes.
        y_dim: The number of features of y, the variable that q predicts.
        hidden_dim: The width of the hidden layer of q.
        log_variance: How q bounds its log-variance, see `disentangle.GaussianConditional`: `"free"`, `"tanh"` as in the
            published code, or `"zero"` as in the published CLUBMean.
        unbiased: Whether to leave the matched pairs out of the second sum, which multiplies the value by N/(N-1).
        conditional: Another network for q(y|x), in place of the Gaussian one.

    Raises:
        ValueError: If a conditional is of other sizes, or is given beside `log_variance`; on calling it with x and y of the
            wrong sizes, or with fewer than two rows (over one row the bound is 0 whatever q is).

    Example:
        >>> import torch
        >>> x, y = torch.randn(32, 8), torch.randn(32, 5)
        >>> club = CLUBEstimator(8, 5)
        >>> optimizer = torch.optim.Adam(club.parameters(), 1e-3)
        >>> for _ in range(5):  # the estimator learns ...
        ...     optimizer.zero_grad()
        ...     club.learning_loss(x, y).backward()
        ...     optimizer.step()
        >>> club(x, y).shape  # ... and then bounds, in nats
        torch.Size([])
    """

    label = "CLUB"
    bound = Bound("upper", "q(y|x) is the true conditional, or close enough to it")

    def __init__(
        self,
        x_dim: int,
        y_dim: int,
        hidden_dim: int = 32,
        *,
        log_variance: Literal["free", "tanh", "zero"] = "free",
        unbiased: bool = False,
        conditional: Conditional | None = None,
    ):
        if conditional is None:
            conditional = GaussianConditional(x_dim, y_dim, hidden_dim, log_variance=log_variance)
        elif log_variance != "free":
            raise ValueError(
                f"expected the log-variance of the conditional that is given, got log_variance={log_variance!r} too"
            )
        super().__init__(x_dim, y_dim, conditional=conditional)
        self.unbiased = unbiased

    def forward(self, x: Tensor | Masked, y: Tensor) -> Float[Tensor, ""]:
        """The estimate in nats, `()`, from N >= 2 rows of x, `(N, x_dim)`, and y, `(N, y_dim)`; eq. 12 and 14."""
        return functional.club(*self._given(x, y), unbiased=self.unbiased)


class SampledCLUBEstimator(ConditionalEstimator):
    r"""CLUB with one unmatched y for each x, from another row of the batch: O(N) whatever q is.

    .. math:: \hat I(x; y) = \frac{1}{N}\sum_i \left[\log q(y_i|x_i) - \log q(y_{i+s}|x_i)\right], \qquad
              s \sim \{1, \dots, N-1\}

    **What it is.** On average over the shift s, which is drawn anew on every call from torch's generator on the CPU, it is
    `CLUBEstimator(unbiased=True)` exactly, with more variance. It is for conditionals without a closed form and batches
    where N x N pairs are too many; for a diagonal Gaussian or classes CLUB costs as little.

    References:
        Cheng et al., CLUB: A Contrastive Log-ratio Upper Bound of Mutual Information (ICML 2020)

    Arguments:
        x_dim: The number of features of x, the variable that q conditions on.
        y_dim: The number of features of y, the variable that q predicts.
        hidden_dim: The width of the hidden layer of q.
        conditional: Another network for q(y|x), in place of a `GaussianConditional`.

    Raises:
        ValueError: On calling it with x and y of the wrong sizes, or with fewer than two rows.

    Example:
        >>> import torch
        >>> from disentangle.conditionals import MixtureConditional
        >>> club = SampledCLUBEstimator(8, 5, conditional=MixtureConditional(8, 5))
        >>> club(torch.randn(32, 8), torch.randn(32, 5)).shape
        torch.Size([])
    """

    label = "sampledCLUB"
    bound = Bound("upper", "q(y|x) is the true conditional, or close enough to it")

    def forward(self, x: Tensor | Masked, y: Tensor) -> Float[Tensor, ""]:
        """The estimate in nats, `()`, from N >= 2 rows of x, `(N, x_dim)`, and y, `(N, y_dim)`."""
        q, y = self._given(x, y)
        return functional.club_sampled(q, y, shift=int(torch.randint(1, len(y), ())))


class LeaveOneOutEstimator(ConditionalEstimator):
    r"""The leave-one-out upper bound, with a learned `q(y|x)`: each y under its own x against the mixture of all the others.

    .. math:: \hat I(x; y) = \frac{1}{N}\sum_i \left[\log q(y_i|x_i) - \log\frac{1}{N-1}\sum_{j\ne i} q(y_i|x_j)\right]

    **What it is.** With the true conditional its expectation is at least the mutual information, for every N, and comes down
    to it as N grows: never above the unbiased CLUB, and far below it where the information is large. With a learned q it is
    an upper bound only as far as q fits. Where the N-1 others hardly cover y (much information, few rows) it is loose. Its
    gradient pushes hardest on the few x that could be confused.

    For a diagonal Gaussian q the N x N likelihoods are one matrix product, see `disentangle.functional.log_likelihoods`.

    References:
        Poole et al., On Variational Bounds of Mutual Information (ICML 2019)

    Arguments:
        x_dim: The number of features of x, the variable that q conditions on.
        y_dim: The number of features of y, the variable that q predicts.
        hidden_dim: The width of the hidden layer of q.
        conditional: Another network for q(y|x), in place of a `GaussianConditional`.

    Raises:
        ValueError: On calling it with x and y of the wrong sizes, or with fewer than two rows.

    Example:
        >>> import torch
        >>> x, y = torch.randn(32, 8), torch.randn(32, 5)
        >>> bool(LeaveOneOutEstimator(8, 5)(x, y).isfinite())
        True
    """

    label = "L1Out"
    bound = Bound("upper", "q(y|x) is the true conditional, or close enough to it")

    def forward(self, x: Tensor | Masked, y: Tensor) -> Float[Tensor, ""]:
        """The estimate in nats, `()`, from N >= 2 rows of x, `(N, x_dim)`, and y, `(N, y_dim)`."""
        return functional.leave_one_out(functional.log_likelihoods(*self._given(x, y)))


class VariationalUpperBound(ConditionalEstimator):
    r"""The information bottleneck's bound: how far `q(y|x)` is from a standard normal, on average over x.

    .. math:: \hat I(x; y) = \frac{1}{N}\sum_i \mathrm{KL}\left(q(y|x_i)\,\|\,\mathcal N(0, I)\right)

    **What it is.** An upper bound where y is drawn from q(y|x) itself, as in the information bottleneck, where the encoder
    is q: it is then I(x;y) plus the divergence of y's own distribution from the standard normal. It is as loose as y is far
    from that: give y zero mean and unit variance. With a q that was fitted to y it holds as far as q fits. Its value does not
    depend on the y of the batch, so its gradient reaches y through nothing: make x and q the ones that learn.

    References:
        Alemi et al., Deep Variational Information Bottleneck (ICLR 2017)

    Arguments:
        x_dim: The number of features of x.
        y_dim: The number of features of y.
        hidden_dim: The width of the hidden layer of q.
        conditional: Another Gaussian network for q(y|x), in place of a `GaussianConditional`.

    Raises:
        ValueError: On calling it with x and y of the wrong sizes, with fewer than two rows, or where q is not Gaussian.

    Example:
        >>> import torch
        >>> x, y = torch.randn(32, 8), torch.randn(32, 5)
        >>> bool(VariationalUpperBound(8, 5)(x, y) >= 0)
        True
    """

    label = "VUB"
    bound = Bound("upper", "y is drawn from q(y|x) itself, or q(y|x) is close enough to its true conditional")

    def forward(self, x: Tensor | Masked, y: Tensor) -> Float[Tensor, ""]:
        """The bound in nats, `()`, from N >= 2 rows of x, `(N, x_dim)`; of y, `(N, y_dim)`, only the shape counts."""
        return functional.variational_upper_bound(self._given(x, y)[0])
