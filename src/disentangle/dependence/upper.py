"""Upper bounds of mutual information that learn a conditional q(y|x)."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from disentangle import functional
from disentangle.conditionals import Conditional, GaussianConditional
from disentangle.dependence.base import Bound, Dependence
from disentangle.variables import Masked

__all__ = ["CLUBEstimator"]


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
    bound = Bound("upper", "q(y|x) is the true conditional, or close enough to it")

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
