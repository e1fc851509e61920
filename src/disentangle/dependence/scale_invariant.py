"""A wrapper that takes away the units of x and y, and their correlations if wanted, before an estimator sees them."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from disentangle.conditionals import predicts_classes
from disentangle.dependence.adversarial import ModalityDiscriminator
from disentangle.dependence.base import Dependence
from disentangle.dependence.estimators import precision_of
from disentangle.dependence.inputs import fitting_rows, refuse_other_than_pairs
from disentangle.dependence.lower import BarberAgakovEstimator
from disentangle.functional.inputs import refuse_classes
from disentangle.functional.precision import at_least_float32
from disentangle.variables import Masked

__all__ = ["ScaleInvariant"]

RIDGE = 1e-3  # added to the correlation matrix: whitening keeps directions without variance finite


class ScaleInvariant(Dependence):
    r"""An estimator that sees x and y with zero mean and unit variance, by running statistics: their units do not matter.

    .. math:: \hat I(x; y) = \hat I\left(S_x^{-1}(x - m_x);\; S_y^{-1}(y - m_y)\right)

    **What it is.** Mutual information does not change under an invertible affine map of x or of y, so the value is what the
    wrapped estimator says it is, and the same bound; `label` and `bound` are the wrapped one's. What changes is how well the
    estimator learns: latents that grow, shrink or drift stay where its network can fit them, and a bounded log-variance or a
    learning rate means the same on any scale. With `whiten` the features of x, and those of y, are also uncorrelated.

    The statistics are buffers. They start at the first batch of `learning_loss`, follow the later ones in training mode, as
    their mean until 1/`momentum` batches were seen and as a moving average from then on, and stay in eval mode. No gradient
    goes through them. A constant column is centred and not divided. A masked x is standardised over its real steps.
    Classes become one-hot first; the y of a q(y|x) must be numbers.

    Arguments:
        dependence: The estimator to wrap, for x and y of the same sizes.
        x_dim: The number of features of x.
        y_dim: The number of features of y.
        whiten: Whether to remove the correlations inside x and inside y too. Give it batches with more rows than features.
        momentum: The weight of a new batch in the moving average, in (0, 1].

    Raises:
        ValueError: If the dependence has nothing to learn, is for other sizes, takes more than two variables, is of classes, or
            depends on units (`BarberAgakovEstimator`, whose entropy is that of y as it is; `ModalityDiscriminator`, which
            compares x with y), or `momentum` is not in (0, 1]; on calling it with x and y of the wrong sizes, or with fewer
            than two rows.

    Example:
        >>> import torch
        >>> from disentangle import CLUBEstimator
        >>> club = ScaleInvariant(CLUBEstimator(8, 5), 8, 5)
        >>> x, y = torch.randn(32, 8), torch.randn(32, 5)
        >>> club.learning_loss(x, 1000 * y + 7).isfinite()
        tensor(True)
        >>> club.label
        'CLUB'
    """

    def __init__(self, dependence: Dependence, x_dim: int, y_dim: int, *, whiten: bool = False, momentum: float = 0.01):
        super().__init__()
        if not isinstance(dependence, Dependence):
            raise TypeError(f"expected a Dependence, got {dependence!r}")
        refuse_other_than_pairs(dependence)
        if next(dependence.parameters(), None) is None:
            raise ValueError(
                f"expected a dependence that learns, got {type(dependence).__name__}, which has no parameters"
            )
        if isinstance(dependence, BarberAgakovEstimator | ModalityDiscriminator):
            raise ValueError(
                f"expected a dependence whose value does not depend on units, got {type(dependence).__name__}: give it x and y "
                "as they are"
            )
        if predicts_classes(getattr(dependence, "conditional", None)):
            raise ValueError(f"expected a dependence of numbers, got a {type(dependence).__name__} of classes")
        sizes = getattr(dependence, "dims", (getattr(dependence, "x_dim", x_dim), getattr(dependence, "y_dim", y_dim)))
        if tuple(sizes) != (x_dim, y_dim):
            raise ValueError(
                f"expected a {type(dependence).__name__} for {x_dim} features of x and {y_dim} of y, got one for {sizes}"
            )
        if not 0 < momentum <= 1:
            raise ValueError(f"expected a momentum in (0, 1], got {momentum}")
        self.label, self.bound = dependence.label, dependence.bound
        self.x_dim, self.y_dim = x_dim, y_dim
        self.dependence = dependence
        moments = _Whitening if whiten else _Scaling
        self.x_moments, self.y_moments = moments(x_dim, momentum), moments(y_dim, momentum)

    def forward(self, x: Tensor | Masked, y: Tensor) -> Float[Tensor, ""]:
        """The wrapped dependence of standardised x, `(N, x_dim)`, and y, `(N, y_dim)`: `()`."""
        x, y = self._fitting(x, y)
        return self.dependence(self._map_x(x), self.y_moments(y))

    def learning_loss(self, x: Tensor | Masked, y: Tensor) -> Float[Tensor, ""]:
        """The wrapped learning loss, `()`; in training mode the statistics follow the batch first."""
        x, y = self._fitting(x, y)
        if self.training:
            with torch.no_grad():
                self.x_moments.follow(*x) if isinstance(x, Masked) else self.x_moments.follow(x)
                self.y_moments.follow(y)
        return self.dependence.learning_loss(self._map_x(x), self.y_moments(y))

    def _fitting(self, x: Tensor | Masked, y: Tensor) -> tuple[Tensor | Masked, Tensor]:
        """x and y of the sizes of the estimator; classes are one-hot, but for a y that is predicted as numbers."""
        predicted = hasattr(self.dependence, "conditional")
        dtype = precision_of(self.dependence)
        x, y = fitting_rows(self.label, x, y, self.x_dim, self.y_dim, dtype, one_hot_y=not predicted)
        refuse_classes(y)
        return x, y

    def _map_x(self, x: Tensor | Masked) -> Any:
        return Masked(self.x_moments(x.values), x.mask) if isinstance(x, Masked) else self.x_moments(x)


class _Scaling(nn.Module):
    """Running means and variances, and the affine map that takes them away."""

    mean: Tensor
    spread: Tensor
    batches: Tensor

    def __init__(self, features: int, momentum: float):
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("spread", self.neutral(features))
        self.register_buffer("batches", torch.zeros(()))

    @staticmethod
    def neutral(features: int) -> Tensor:
        """The spread before the first batch: it changes nothing."""
        return torch.ones(features)

    def follow(self, values: Tensor, mask: Tensor | None = None) -> None:
        """Moves the statistics towards the ones of a batch, `(..., features)`, of the steps in `mask: (...)` alone."""
        rows = at_least_float32(values).flatten(0, -2)
        real = torch.ones_like(rows[:, :1]) if mask is None else mask.flatten()[:, None].to(rows.dtype)
        rows = torch.where(real > 0, rows, 0)
        count = real.sum()
        mean = rows.sum(0) / count.clamp(min=1)
        centered = (rows - mean) * real
        rest = centered.sum(0) / count.clamp(min=1)  # a mean is itself rounded
        spread = self.second_moment((centered - rest) * real) / (count - 1).clamp(min=1)
        self.batches += (count > 1).to(self.batches.dtype)
        rate = torch.where(count > 1, (1 / self.batches).clamp(min=self.momentum), 0)
        for running, new in ((self.mean, mean + rest), (self.spread, spread)):
            running.lerp_(new.to(running.dtype), rate.to(running.dtype))

    @staticmethod
    def second_moment(centered: Tensor) -> Tensor:
        """The sum over rows of the squares."""
        return centered.square().sum(0)

    def unit(self, variance: Tensor) -> Tensor:
        """Standard deviations; 1 for a column that is constant up to the rounding of its mean."""
        varies = variance > (torch.finfo(variance.dtype).eps * self.mean).square()
        return torch.where(varies, variance.sqrt(), 1)

    def forward(self, values: Tensor) -> Tensor:
        """The values with zero mean and unit variance, in their own precision."""
        return _rounded((at_least_float32(values) - self.mean) / self.unit(self.spread), values)


class _Whitening(_Scaling):
    """Running means and covariances, and the affine map that takes them away."""

    @staticmethod
    def neutral(features: int) -> Tensor:
        """The covariance before the first batch: it changes next to nothing."""
        return torch.eye(features)

    @staticmethod
    def second_moment(centered: Tensor) -> Tensor:
        """The sum over rows of the outer products."""
        with torch.autocast(centered.device.type, enabled=False):
            return centered.T @ centered

    def forward(self, values: Tensor) -> Tensor:
        """The values with zero mean and the identity as covariance, in their own precision."""
        with torch.autocast(values.device.type, enabled=False):
            spread = at_least_float32(self.spread)  # half precision has no factorisation
            unit = self.unit(spread.diagonal())
            correlation = spread / (unit * unit[:, None])
            correlation = correlation.diagonal_scatter(torch.full_like(unit, 1 + RIDGE))
            factor, failed = torch.linalg.cholesky_ex(correlation)  # its plain form would wait for the device
            factor = torch.where(failed == 0, factor, torch.eye(len(unit), dtype=factor.dtype, device=factor.device))
            scaled = (at_least_float32(values) - self.mean) / unit
            rows = scaled.flatten(0, -2)
            white = torch.linalg.solve_triangular(factor.to(rows.dtype), rows.T, upper=False).T
            return _rounded(white.reshape(values.shape), values)


def _rounded(result: Tensor, values: Tensor) -> Tensor:
    """In the precision of what was given; whole numbers do not stay whole."""
    return result.to(values.dtype) if values.is_floating_point() else result
