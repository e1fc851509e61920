"""What estimators of mutual information share: their network, and which batches they take."""

from __future__ import annotations

from jaxtyping import Float, Real
from torch import Tensor
from torch.distributions import Distribution

from disentangle.conditionals import Conditional, GaussianConditional
from disentangle.critics import Critic, JointCritic
from disentangle.dependence.base import Dependence
from disentangle.functional.precision import at_least_float32
from disentangle.variables import Masked

__all__ = ["ConditionalEstimator", "CriticEstimator", "check_rows"]


def check_rows(label: str, x: Tensor | Masked, y: Tensor, x_dim: int, y_dim: int) -> None:
    """Refuses x and y of the wrong sizes, and fewer than two rows: over one row nothing can be told apart.

    Example:
        >>> import torch
        >>> check_rows("CLUB", torch.zeros(4, 3), torch.zeros(5, 2), 3, 2)
        Traceback (most recent call last):
        ValueError: expected x of shape (N, 3) and y of shape (N, 2) with the same N, got (4, 3) and (5, 2)
    """
    masked = isinstance(x, Masked)
    values = x.values if masked else x
    n = values.shape[0]
    if values.dim() != (3 if masked else 2) or values.shape[-1] != x_dim or y.shape != (n, y_dim):
        raise ValueError(
            f"expected x of shape ({'N, T' if masked else 'N'}, {x_dim}) and y of shape (N, {y_dim}) with the same N, "
            f"got {tuple(values.shape)} and {tuple(y.shape)}"
        )
    if n < 2:
        raise ValueError(f"{label} compares rows with one another and needs at least 2 of them, got {n}")


class ConditionalEstimator(Dependence):
    """An estimator by a learned `q(y|x)`, which learns by maximum likelihood. A subclass adds `forward`.

    Arguments:
        x_dim: The number of features of x.
        y_dim: The number of features of y.
        hidden_dim: The width of the hidden layer of the default `q(y|x)`, a `GaussianConditional`.
        conditional: Another network for `q(y|x)`, in place of the default.
    """

    def __init__(self, x_dim: int, y_dim: int, hidden_dim: int = 32, *, conditional: Conditional | None = None):
        super().__init__()
        self.x_dim, self.y_dim = x_dim, y_dim
        self.conditional = GaussianConditional(x_dim, y_dim, hidden_dim) if conditional is None else conditional

    def learning_loss(self, x: Tensor | Masked, y: Real[Tensor, "batch y_dim"]) -> Float[Tensor, ""]:
        """The negative log-likelihood of y under q(y|x) in nats, `()`, averaged over rows."""
        return -at_least_float32(self._q(x, y).log_prob(y)).mean()

    def _q(self, x: Tensor | Masked, y: Tensor) -> Distribution:
        """`q(y|x)` for the rows of a batch that was found right."""
        check_rows(self.label, x, y, self.x_dim, self.y_dim)
        return self.conditional(x)


class CriticEstimator(Dependence):
    """An estimator by a learned critic `T(x, y)`. A subclass adds `forward` and `learning_loss`.

    Arguments:
        x_dim: The number of features of x.
        y_dim: The number of features of y.
        hidden_dim: The width of the hidden layers of the default critic, a `JointCritic`.
        critic: Another network for `T(x, y)`, in place of the default.
    """

    def __init__(self, x_dim: int, y_dim: int, hidden_dim: int = 64, *, critic: Critic | None = None):
        super().__init__()
        self.x_dim, self.y_dim = x_dim, y_dim
        self.critic = JointCritic(x_dim, y_dim, hidden_dim) if critic is None else critic

    def _scores(self, x: Tensor | Masked, y: Tensor) -> Tensor:
        """The scores of all pairs, `(N, N)`, of a batch that was found right."""
        if isinstance(x, Masked):
            raise ValueError(f"expected x of shape (N, {self.x_dim}), got a masked sequence: a critic takes its mean")
        check_rows(self.label, x, y, self.x_dim, self.y_dim)
        return self.critic(x, y)
