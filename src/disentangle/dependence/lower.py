"""Lower bounds of mutual information, and estimates beside them, that learn a critic T(x, y) or a conditional q(y|x).

A lower bound holds for whatever was learnt, good or bad, as long as it was not learnt from the rows it is evaluated on: a
critic that knows them by heart finds information where there is none. Made small as a penalty, a lower bound says little:
it is also small where the critic is bad. Made large, it keeps information.

The default critic is a `JointCritic`, which sees each of the N x N pairs: exact and robust up to some hundred rows. For more,
give a `SeparableCritic`; bounds with an exponential (NWJ, MINE) suffer from its rare large scores.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from disentangle import functional
from disentangle.conditionals import Conditional, GaussianConditional
from disentangle.critics import Critic
from disentangle.dependence.base import Bound
from disentangle.dependence.estimators import ConditionalEstimator, CriticEstimator, refuse_other_sizes
from disentangle.functional.classes import is_of_classes
from disentangle.functional.likelihoods import matched_log_likelihoods
from disentangle.functional.precision import at_least_float32
from disentangle.variables import Masked

__all__ = [
    "BarberAgakovEstimator",
    "DifferenceOfEntropiesEstimator",
    "InfoNCEEstimator",
    "MINEEstimator",
    "NWJEstimator",
    "SMILEEstimator",
]

NOT_FITTED = "the critic was not fitted to the rows it is evaluated on"


class InfoNCEEstimator(CriticEstimator):
    r"""InfoNCE, with a learned critic: how well each y is found by its x among the N of the batch.

    .. math:: \hat I(x; y) = \log N + \frac{1}{N}\sum_i \log\frac{e^{T(x_i, y_i)}}{\sum_j e^{T(x_i, y_j)}}

    **What it is.** A lower bound **that never exceeds log N**: with 32 rows it cannot say more than 3.5 nats. Near its
    ceiling it says that there is much information, not how much. It varies least of the bounds with a critic, and its
    learning is stable.

    References:
        van den Oord et al., Representation Learning with Contrastive Predictive Coding (2018)

    Arguments:
        x_dim: The number of features of x.
        y_dim: The number of features of y.
        hidden_dim: The width of the hidden layers of the critic.
        critic: Another network for T(x, y), in place of a `JointCritic`.

    Raises:
        ValueError: On calling it with x and y of the wrong sizes, or with fewer than two rows.

    Example:
        >>> import torch
        >>> x, y = torch.randn(32, 8), torch.randn(32, 5)
        >>> infonce = InfoNCEEstimator(8, 5)
        >>> torch.equal(infonce.learning_loss(x, y), -infonce(x, y))  # it learns by its own bound
        True
    """

    label = "InfoNCE"
    bound = Bound("lower", NOT_FITTED)

    def forward(self, x: Tensor | Masked, y: Tensor) -> Float[Tensor, ""]:
        """The estimate in nats, `()`, from N >= 2 rows of x, `(N, x_dim)`, and y, `(N, y_dim)`."""
        return functional.infonce(self._scores(x, y))

    def learning_loss(self, x: Tensor | Masked, y: Tensor) -> Float[Tensor, ""]:
        """The negative bound, `()`."""
        return -self(x, y)


class NWJEstimator(CriticEstimator):
    r"""The bound of Nguyen, Wainwright and Jordan, with a learned critic.

    .. math:: \hat I(x; y) = \frac{1}{N}\sum_i T(x_i, y_i) - \frac{1}{N(N-1)}\sum_{i \ne j} e^{T(x_i, y_j) - 1}

    **What it is.** A lower bound without ceiling, whose mean over batches is that of one large batch. The price is variance,
    which grows like the exponential of the information: above a few nats single batches say little.

    References:
        | Nguyen et al., Estimating Divergence Functionals and the Likelihood Ratio by Convex Risk Minimization (2010)
        | Poole et al., On Variational Bounds of Mutual Information (ICML 2019)

    Arguments:
        x_dim: The number of features of x.
        y_dim: The number of features of y.
        hidden_dim: The width of the hidden layers of the critic.
        critic: Another network for T(x, y), in place of a `JointCritic`.

    Raises:
        ValueError: On calling it with x and y of the wrong sizes, or with fewer than two rows.

    Example:
        >>> import torch
        >>> bool(NWJEstimator(8, 5)(torch.randn(32, 8), torch.randn(32, 5)).isfinite())
        True
    """

    label = "NWJ"
    bound = Bound("lower", NOT_FITTED)

    def forward(self, x: Tensor | Masked, y: Tensor) -> Float[Tensor, ""]:
        """The estimate in nats, `()`, from N >= 2 rows of x, `(N, x_dim)`, and y, `(N, y_dim)`."""
        return functional.nwj(self._scores(x, y))

    def learning_loss(self, x: Tensor | Masked, y: Tensor) -> Float[Tensor, ""]:
        """The negative bound, `()`."""
        return -self(x, y)


class MINEEstimator(CriticEstimator):
    r"""MINE: the bound of Donsker and Varadhan, with a learned critic.

    .. math:: \hat I(x; y) = \frac{1}{N}\sum_i T(x_i, y_i) - \log\frac{1}{N(N-1)}\sum_{i \ne j} e^{T(x_i, y_j)}

    **What it is.** A lower bound as N grows. Over a finite batch the logarithm of the mean is too low on average, so the
    value is too high, the more so the more information there is.

    **How it learns.** The gradient of that logarithm divides by the batch's own mean and is biased with it. The gradient
    of `learning_loss` divides by a moving average over batches instead, as in the paper. The average is kept as its
    logarithm in the buffer `log_average`, which is saved with the weights; it starts at the first batch it sees, changes
    only in training mode, and passes over a batch whose mean is not finite.

    References:
        Belghazi et al., Mutual Information Neural Estimation (ICML 2018), section 3.2

    Arguments:
        x_dim: The number of features of x.
        y_dim: The number of features of y.
        hidden_dim: The width of the hidden layers of the critic.
        critic: Another network for T(x, y), in place of a `JointCritic`.
        rate: The weight of a new batch in the moving average, in (0, 1).

    Raises:
        ValueError: If `rate` is not in (0, 1); on calling it with x and y of the wrong sizes, or with fewer than two rows.

    Example:
        >>> import torch
        >>> x, y = torch.randn(32, 8), torch.randn(32, 5)
        >>> mine = MINEEstimator(8, 5)
        >>> torch.allclose(mine.learning_loss(x, y), -mine(x, y))  # the value of the bound, with another gradient
        True
    """

    label = "MINE"
    bound = Bound("lower", f"{NOT_FITTED}, and the batch is large: a mean's logarithm is too low on average")
    log_average: Tensor

    def __init__(
        self, x_dim: int, y_dim: int, hidden_dim: int = 64, *, critic: Critic | None = None, rate: float = 0.01
    ):
        super().__init__(x_dim, y_dim, hidden_dim, critic=critic)
        if not 0 < rate < 1:
            raise ValueError(f"expected a rate in (0, 1), got {rate}")
        self.rate = rate
        self.register_buffer("log_average", torch.tensor(-math.inf))

    def forward(self, x: Tensor | Masked, y: Tensor) -> Float[Tensor, ""]:
        """The estimate in nats, `()`, from N >= 2 rows of x, `(N, x_dim)`, and y, `(N, y_dim)`."""
        return functional.donsker_varadhan(self._scores(x, y))

    def learning_loss(self, x: Tensor | Masked, y: Tensor) -> Float[Tensor, ""]:
        """The negative bound, `()`, whose gradient divides by the moving average."""
        scores = at_least_float32(self._scores(x, y))
        log_mean = functional.unmatched_log_mean_exp(scores)
        ratio = (log_mean - self._baseline(log_mean.detach())).exp()  # its gradient is mean(e^T dT) / average
        return ratio - ratio.detach() + log_mean.detach() - scores.diagonal().mean()

    def _baseline(self, log_mean: Tensor) -> Tensor:
        """The logarithm of the moving average, with this batch in it while it learns."""
        average = self.log_average.to(log_mean.dtype)
        if self.training:
            mixed = torch.logaddexp(average + math.log1p(-self.rate), log_mean + math.log(self.rate))
            new = torch.where(average.isfinite(), mixed, log_mean)
            average = torch.where(new.isfinite(), new, average)
            self.log_average.copy_(average)
        return torch.where(average.isfinite(), average, log_mean)


class SMILEEstimator(CriticEstimator):
    r"""SMILE: the bound of Donsker and Varadhan with clipped scores, on a critic that learns to tell pairs apart.

    .. math:: \hat I(x; y) = \frac{1}{N}\sum_i T(x_i, y_i)
              - \log\frac{1}{N(N-1)}\sum_{i \ne j} e^{\operatorname{clip}(T(x_i, y_j), -\tau, \tau)}

    **What it is.** An estimate with less variance than MINE and NWJ, and no bound: the clip makes the second term too small
    where unmatched scores pass it. Where none does it is MINE. Clipped pairs have no gradient.

    **How it learns.** By the Jensen-Shannon objective, `disentangle.functional.jensen_shannon`, whose best critic is the
    log-ratio of the densities; its own value has no maximum.

    References:
        Song and Ermon, Understanding the Limitations of Variational Mutual Information Estimators (ICLR 2020)

    Arguments:
        x_dim: The number of features of x.
        y_dim: The number of features of y.
        hidden_dim: The width of the hidden layers of the critic.
        critic: Another network for T(x, y), in place of a `JointCritic`.
        clip: The largest score τ that an unmatched pair may have.

    Raises:
        ValueError: If `clip` is not positive; on calling it with x and y of the wrong sizes, or with fewer than two rows.

    Example:
        >>> import torch
        >>> bool(SMILEEstimator(8, 5)(torch.randn(32, 8), torch.randn(32, 5)).isfinite())
        True
    """

    label = "SMILE"
    bound = Bound("neither", "scores of unmatched pairs pass the clip; where none does it is that of MINE")

    def __init__(
        self, x_dim: int, y_dim: int, hidden_dim: int = 64, *, critic: Critic | None = None, clip: float = 5.0
    ):
        super().__init__(x_dim, y_dim, hidden_dim, critic=critic)
        if clip <= 0:
            raise ValueError(f"expected a positive clip, got {clip}")
        self.clip = clip

    def forward(self, x: Tensor | Masked, y: Tensor) -> Float[Tensor, ""]:
        """The estimate in nats, `()`, from N >= 2 rows of x, `(N, x_dim)`, and y, `(N, y_dim)`."""
        return functional.smile(self._scores(x, y), self.clip)

    def learning_loss(self, x: Tensor | Masked, y: Tensor) -> Float[Tensor, ""]:
        """The negative Jensen-Shannon objective, `()`."""
        return -functional.jensen_shannon(self._scores(x, y))


class BarberAgakovEstimator(ConditionalEstimator):
    r"""The bound of Barber and Agakov: what `q(y|x)` knows about y beyond y's entropy, which is given.

    .. math:: \hat I(x; y) = \frac{1}{N}\sum_i \log q(y_i|x_i) + h(y)

    **What it is.** A lower bound for every q that was not fitted to the rows it is evaluated on; it is below the truth by
    the divergence of p(y|x) from q. It needs the entropy of y, which is known for few y: a standard normal, classes of known
    frequencies. The entropy is a constant here; where y itself learns, the gradient knows nothing of how it changes.

    References:
        Barber and Agakov, The IM Algorithm (NeurIPS 2003)

    Arguments:
        x_dim: The number of features of x.
        y_dim: The number of features of y.
        hidden_dim: The width of the hidden layer of q.
        entropy: The (differential) entropy of y, in nats.
        conditional: Another network for q(y|x), in place of a `GaussianConditional`.

    Raises:
        ValueError: On calling it with x and y of the wrong sizes, or with fewer than two rows.

    Example:
        >>> import math
        >>> import torch
        >>> bound = BarberAgakovEstimator(8, 5, entropy=5 * 0.5 * math.log(2 * math.pi * math.e))  # standard normal
        >>> bound(torch.randn(32, 8), torch.randn(32, 5)).shape
        torch.Size([])
    """

    label = "BA"
    bound = Bound("lower", "the entropy given is that of y, and q(y|x) was not fitted to the rows it is evaluated on")

    def __init__(
        self, x_dim: int, y_dim: int, hidden_dim: int = 32, *, entropy: float, conditional: Conditional | None = None
    ):
        super().__init__(x_dim, y_dim, hidden_dim, conditional=conditional)
        self.entropy = entropy

    def forward(self, x: Tensor | Masked, y: Tensor) -> Float[Tensor, ""]:
        """The estimate in nats, `()`, from N >= 2 rows of x, `(N, x_dim)`, and y, `(N, y_dim)`."""
        return matched_log_likelihoods(*self._given(x, y)).mean() + self.entropy


class DifferenceOfEntropiesEstimator(ConditionalEstimator):
    r"""How much better a learned `q(y|x)` predicts y than a learned `r(y)` that does not see x.

    .. math:: \hat I(x; y) = \frac{1}{N}\sum_i \left[\log q(y_i|x_i) - \log r(y_i)\right]

    **What it is.** A difference of two cross-entropies, each an upper bound of its entropy, and so no bound of the
    difference: it is too high by the divergence of p(y) from r, and too low by that of p(y|x) from q. It has no ceiling and
    little variance, and is as good as the two fits. Compare q and r of the same kind: it then says what x tells about y as
    far as this kind can see.

    References:
        McAllester and Stratos, Formal Limitations on the Measurement of Mutual Information (AISTATS 2020)

    Arguments:
        x_dim: The number of features of x.
        y_dim: The number of features of y.
        hidden_dim: The width of the hidden layers of q and r.
        conditional: Another network for q(y|x), in place of a `GaussianConditional`.
        marginal: Another network for r(y), in place of a `GaussianConditional`: a conditional whose input is one column of
            ones.

    Raises:
        ValueError: On calling it with x and y of the wrong sizes, with fewer than two rows, or if one of q and r is of
            classes and the other is not.

    Example:
        >>> import torch
        >>> from disentangle.conditionals import MixtureConditional
        >>> doe = DifferenceOfEntropiesEstimator(
        ...     8, 5, conditional=MixtureConditional(8, 5), marginal=MixtureConditional(1, 5)
        ... )
        >>> doe(torch.randn(32, 8), torch.randn(32, 5)).shape
        torch.Size([])
    """

    label = "DoE"
    bound = Bound("neither", "r(y) or q(y|x) is only close: the one makes it too high, the other too low")

    def __init__(
        self,
        x_dim: int,
        y_dim: int,
        hidden_dim: int = 32,
        *,
        conditional: Conditional | None = None,
        marginal: Conditional | None = None,
    ):
        super().__init__(x_dim, y_dim, hidden_dim, conditional=conditional)
        self.marginal = GaussianConditional(1, y_dim, hidden_dim) if marginal is None else marginal
        refuse_other_sizes(self.marginal, 1, y_dim)

    def forward(self, x: Tensor | Masked, y: Tensor) -> Float[Tensor, ""]:
        """The estimate in nats, `()`, from N >= 2 rows of x, `(N, x_dim)`, and y, `(N, y_dim)`."""
        q, y = self._given(x, y)
        return matched_log_likelihoods(q, y).mean() + self._marginal_loss(q, y)

    def learning_loss(self, x: Tensor | Masked, y: Tensor) -> Float[Tensor, ""]:
        """The negative log-likelihoods of y under q(y|x) and under r(y), summed: `()`."""
        q, y = self._given(x, y)
        return -matched_log_likelihoods(q, y).mean() + self._marginal_loss(q, y)

    def _marginal_loss(self, q: Distribution, y: Tensor) -> Tensor:
        """The negative log-likelihood of y under r(y), averaged over rows."""
        dtype = next((p.dtype for p in self.marginal.parameters()), torch.get_default_dtype())
        r = self.marginal(torch.ones(len(y), 1, dtype=dtype, device=y.device))
        if is_of_classes(q) != is_of_classes(r):
            raise ValueError(
                "expected a conditional and a marginal that both predict classes, or both numbers, got "
                f"{type(self.conditional).__name__} and {type(self.marginal).__name__}"
            )
        return -matched_log_likelihoods(r, y).mean()
