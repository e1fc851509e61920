"""Dependence: how much one variable tells about another, as a number to be made small.

Every dependence maps two batches x and y, row i of one drawn together with row i of the other, to a scalar. One that has
parameters (an *estimator*) also says how these learn, `learning_loss`; who steps which optimiser, and when, is the
business of `disentangle.training`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from disentangle import functional
from disentangle.conditionals import Conditional, GaussianConditional
from disentangle.variables import Masked

__all__ = ["CLUBEstimator", "Dependence", "OrthogonalLoss"]


class Dependence(nn.Module, ABC):
    """How much y depends on x over a batch; in nats where it is an information.

    A subclass implements `forward` and, where it has parameters, `learning_loss`. `label` names it in logs: a pair is
    logged as `label(x;y)`.
    """

    label: ClassVar[str]

    @abstractmethod
    def forward(self, x: Tensor | Masked, y: Tensor) -> Tensor:
        """The dependence between the rows of x, `(N, x_dim)`, and those of y, `(N, y_dim)`: a scalar."""

    def learning_loss(self, x: Tensor | Masked, y: Tensor) -> Tensor:
        """What the estimator's own parameters minimise, a scalar. Give it variables that are detached."""
        raise TypeError(f"{type(self).__name__} has nothing to learn")


class CLUBEstimator(Dependence):
    r"""CLUB, the contrastive log-ratio upper bound of mutual information, with a learned `q(y|x)`.

    .. math:: \hat I(x; y) = \frac{1}{N}\sum_i \log q(y_i|x_i) - \frac{1}{N^2}\sum_{i,j}\log q(y_j|x_i)

    **What it is.** With the true conditional p(y|x) in place of q its expectation is
    :math:`I(x;y) + \mathrm{KL}(p(x)p(y)\,\|\,p(x,y))` up to the factor (N-1)/N that the matched pairs inside the second sum
    cost: an upper bound, and not a tight one. With a learned q it is an upper bound only as long as q is close enough to
    p(y|x), and no bound at all while q is poor; it can be negative. So it is a *penalty*: its gradient says how to make y
    less predictable from x. It is not a *meter*: to learn whether two variables are independent, measure them with
    something that was not trained against (`disentangle.gaussian_mutual_information`).

    **How to use it.** Alternate: minimise `learning_loss` over the estimator's parameters on detached variables, a few
    steps, then minimise `forward` over the encoders with the estimator frozen. `disentangle.AlternatingStep` does that.

    For a diagonal Gaussian q (the default) the double sum is exact in O(N·d), see `disentangle.functional.club_gaussian`.

    References:
        | Qian et al., MIRD, eq. 11 to 15
        | Cheng et al., CLUB: A Contrastive Log-ratio Upper Bound of Mutual Information (ICML 2020)

    Arguments:
        x_dim: The number of features of x, the variable that q conditions on.
        y_dim: The number of features of y, the variable that q predicts.
        hidden_dim: The width of the hidden layer of q.
        log_variance: How q bounds its log-variance, see `disentangle.GaussianConditional`: `"free"`, or `"tanh"` as in the
            published code.
        conditional: Another network for q(y|x), in place of the Gaussian one.

    Raises:
        ValueError: On calling it with x and y of the wrong sizes, or with fewer than two rows (over one row the bound is 0
            whatever q is).

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

    def __init__(
        self,
        x_dim: int,
        y_dim: int,
        hidden_dim: int = 32,
        *,
        log_variance: Literal["free", "tanh"] = "free",
        conditional: Conditional | None = None,
    ):
        super().__init__()
        self.x_dim, self.y_dim = x_dim, y_dim
        if conditional is None:
            conditional = GaussianConditional(x_dim, y_dim, hidden_dim, log_variance=log_variance)
        self.conditional = conditional

    def forward(self, x: Tensor | Masked, y: Float[Tensor, "batch y_dim"]) -> Float[Tensor, ""]:
        """The estimate in nats, `()`, from N >= 2 rows of x, `(N, x_dim)`, and y, `(N, y_dim)`; eq. 12 and 14."""
        self._check(x, y)
        return functional.club(self.conditional(x), y)

    def learning_loss(self, x: Tensor | Masked, y: Float[Tensor, "batch y_dim"]) -> Float[Tensor, ""]:
        """The negative log-likelihood of y under q(y|x) in nats, `()`, averaged over rows; eq. 13 and 15."""
        self._check(x, y)
        return -self.conditional(x).log_prob(y).mean()

    def _check(self, x: Tensor | Masked, y: Tensor) -> None:
        values = x.values if isinstance(x, Masked) else x
        n = values.shape[0]
        if values.shape[-1] != self.x_dim or y.shape != (n, self.y_dim):
            raise ValueError(
                f"expected x of shape (N, {self.x_dim}) and y of shape (N, {self.y_dim}) with the same N, "
                f"got {tuple(values.shape)} and {tuple(y.shape)}"
            )
        if n < 2:
            raise ValueError(f"CLUB contrasts matched with unmatched rows and needs at least 2 of them, got {n}")


class OrthogonalLoss(Dependence):
    r"""The orthogonality constraint of shared/private models: the mean squared inner product between rows of x and of y.

    .. math:: \frac{1}{N^2}\left\| X Y^\top \right\|_F^2

    The paper's eq. 9 is this times :math:`N^2`. It sees linear dependence only: two variables can have an orthogonality of
    zero and determine one another. It depends on the scale of both, shrinks to zero with either, and needs both of the same
    size. It has no parameters.

    References:
        Qian et al., MIRD, eq. 9

    Raises:
        ValueError: On calling it with x and y that are not both `(N, d)`.

    Example:
        >>> import torch
        >>> OrthogonalLoss()(torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 1.0]]))
        tensor(9.)
    """

    label = "orthogonal"

    def forward(self, x: Tensor | Masked, y: Tensor) -> Float[Tensor, ""]:
        """The mean squared inner product, `()`, of x, `(N, d)`, and y, `(N, d)`."""
        if isinstance(x, Masked) or x.dim() != 2 or x.shape != y.shape:
            given = "a masked sequence" if isinstance(x, Masked) else tuple(x.shape)
            raise ValueError(f"expected x and y of the same shape (N, d), got {given} and {tuple(y.shape)}")
        return functional.orthogonality(x, y)
