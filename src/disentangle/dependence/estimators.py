"""What estimators of mutual information share: their network, and which batches they take."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution

from disentangle.conditionals import (
    CategoricalConditional,
    Conditional,
    FullGaussianConditional,
    GaussianConditional,
    MaskedConditional,
    MixtureConditional,
)
from disentangle.critics import Critic, JointCritic
from disentangle.dependence.base import Dependence
from disentangle.dependence.inputs import fitting_rows
from disentangle.functional.inputs import aligned
from disentangle.functional.likelihoods import matched_log_likelihoods
from disentangle.networks import TwoLayers
from disentangle.variables import Masked

__all__ = ["ConditionalEstimator", "CriticEstimator", "precision_of", "refuse_other_sizes"]

OWN = (GaussianConditional, FullGaussianConditional, MixtureConditional, CategoricalConditional)


def refuse_other_sizes(conditional: object, x_dim: int | None, y_dim: int) -> None:
    """Refuses a q(y|x) for x or y of other sizes, as far as these can be told: of the library's own.

    Example:
        >>> refuse_other_sizes(GaussianConditional(4, 2), 3, 2)
        Traceback (most recent call last):
        ValueError: expected a conditional for 3 features of x and 2 of y, got a GaussianConditional for 4 and 2
    """
    if isinstance(conditional, MaskedConditional):
        refuse_other_sizes(conditional.conditional, x_dim if conditional.encode is None else None, y_dim)
        return
    network = getattr(conditional, "network", None)
    if not isinstance(conditional, OWN) or not isinstance(network, TwoLayers):
        return
    layers: Any = network
    first, _, last = layers
    per_column = 1 if getattr(conditional, "log_variance", "zero") == "zero" else 2
    sizes = first.in_features, getattr(conditional, "y_dim", last.out_features // per_column)
    if sizes != (first.in_features if x_dim is None else x_dim, y_dim):
        raise ValueError(
            f"expected a conditional for {'any' if x_dim is None else x_dim} features of x and {y_dim} of y, got a "
            f"{type(conditional).__name__} for {sizes[0]} and {sizes[1]}"
        )


def precision_of(estimator: nn.Module) -> torch.dtype:
    """The precision of an estimator's parameters, which one-hot classes are made in."""
    return next((p.dtype for p in estimator.parameters() if p.is_floating_point()), torch.get_default_dtype())


class ConditionalEstimator(Dependence):
    """An estimator by a learned `q(y|x)`, which learns by maximum likelihood. A subclass adds `forward`.

    Arguments:
        x_dim: The number of features of x, or of its classes.
        y_dim: The number of features of y.
        hidden_dim: The width of the hidden layer of the default `q(y|x)`, a `GaussianConditional`.
        conditional: Another network for `q(y|x)`, in place of the default.
    """

    def __init__(self, x_dim: int, y_dim: int, hidden_dim: int = 32, *, conditional: Conditional | None = None):
        super().__init__()
        self.x_dim, self.y_dim = x_dim, y_dim
        self.conditional = GaussianConditional(x_dim, y_dim, hidden_dim) if conditional is None else conditional
        refuse_other_sizes(self.conditional, x_dim, y_dim)

    def learning_loss(self, x: Tensor | Masked, y: Tensor) -> Float[Tensor, ""]:
        """The negative log-likelihood of y under q(y|x) in nats, `()`, averaged over rows."""
        return -matched_log_likelihoods(*self._given(x, y)).mean()

    def _given(self, x: Tensor | Masked, y: Tensor) -> tuple[Distribution, Tensor]:
        """`q(y|x)` for the rows of a batch that was found right, and y."""
        x, y = fitting_rows(self.label, x, y, self.x_dim, self.y_dim, precision_of(self))
        return aligned(self.conditional(x), y)


class CriticEstimator(Dependence):
    """An estimator by a learned critic `T(x, y)`. A subclass adds `forward` and `learning_loss`.

    Arguments:
        x_dim: The number of features of x, or of its classes.
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
            raise ValueError(
                f"expected x of shape (N, {self.x_dim}), got a masked sequence: a critic takes its mean, or frames(x, y)"
            )
        return self.critic(*fitting_rows(self.label, x, y, self.x_dim, self.y_dim, precision_of(self), one_hot_y=True))
