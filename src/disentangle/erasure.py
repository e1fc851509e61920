"""Linear erasure in closed form: a representation without what any linear probe could read of something else."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from disentangle.errors import EstimatorWarning
from disentangle.functional.precision import at_least_float32
from disentangle.information.samples import Samples, as_variable

__all__ = ["LEACE"]

FEW_CLASSES, FEW_DIRECTIONS = 10, 0.25  # that whole numbers are, and the share of x that they take, without a question


class LEACE:
    r"""Least-squares concept erasure: takes from x what a linear probe can read of z, and changes x as little as can be.

    With :math:`\Sigma` the covariances, :math:`W = \Sigma_{xx}^{-1/2}` and P the orthogonal projection onto the columns of
    :math:`W \Sigma_{xz}`,

    .. math:: r(x) = x - W^+ P W (x - \bar x)

    On the rows it was fitted to, r(x) and z have no covariance, so the best linear predictor of z from r(x) is a constant; for
    classes no linear classifier under a convex loss beats the frequencies. Of all affine maps with that property it has the
    least mean squared distance to x. It says nothing of what is not linear: a small network may still read z from r(x), which
    `estimate_mutual_information` tells. So it is what a penalty that is trained has to beat beyond the linear.

    It takes as many directions from x as z has columns, or one less than z has classes. Where x has no more than that, nothing
    is left of it but its mean, and an `EstimatorWarning` says so.

    References:
        Belrose et al., LEACE: Perfect Linear Concept Erasure in Closed Form (NeurIPS 2023), theorem 4.3

    Arguments:
        x: The representation, `(N, d)`: a tensor or an array.
        z: What it shall not tell: numbers, `(N,)` or `(N, k)`, or classes.
        classes: Whether the values of z are classes; told from them if not given, as by `estimate_mutual_information`. Whole
            numbers with some rows each are taken for classes: `classes=False` for ages or counts, which take one direction.
            An `EstimatorWarning` asks where more than ten of them take more than a quarter of the directions of x.

    Raises:
        TypeError: If x or z are neither numbers nor names.
        ValueError: If x and z differ in their rows, there are fewer than 2, or a value is not finite.

    Example:
        >>> draw = np.random.default_rng(0)
        >>> z = draw.integers(0, 2, 500)
        >>> x = draw.normal(size=(500, 3)) + np.outer(z, [2.0, 0.0, 1.0])
        >>> erased = LEACE(x, z)(x)
        >>> bool(np.abs(np.cov(erased.T, z)[-1, :-1]).max() < 1e-12)
        True
    """

    def __init__(self, x: Samples, z: Samples, *, classes: bool | None = None):
        rows = as_variable("x", x, classes=False).numbers.numpy()
        variable = as_variable("z", z, classes)
        targets = variable.numbers.numpy()
        if len(rows) != len(targets):
            raise ValueError(f"expected x and z with the same number of rows, got {len(rows)} and {len(targets)}")
        self.mean = rows.mean(0)
        # In the units of each column, or narrow ones would be left as they are.
        x_centered, x_units = _in_units(rows)
        z_centered, _ = _in_units(targets)
        values, vectors = np.linalg.eigh(x_centered.T @ x_centered / len(rows))
        kept = values > values.max(initial=0.0) * len(values) * np.finfo(np.float64).eps
        root, basis = np.sqrt(values[kept]), vectors[:, kept]
        whitened = (basis / root) @ (basis.T @ (x_centered.T @ z_centered / len(rows)))
        left, sizes, _ = np.linalg.svd(whitened, full_matrices=False)
        seen = left[:, sizes > sizes.max(initial=0.0) * max(whitened.shape) * np.finfo(np.float64).eps]
        count, taken = targets.shape[1], seen.shape[1]
        numbers_as_classes = classes is None and variable.order is not None and variable.order.shape[1] == 1
        if numbers_as_classes and count > FEW_CLASSES and taken > FEW_DIRECTIONS * len(root):
            warnings.warn(
                f"z was taken for {count} classes, which take {taken} of {len(root)} directions of x: classes=False if its "
                "values are numbers, classes=True if they are classes",
                EstimatorWarning,
                stacklevel=2,
            )
        if 0 < len(root) == taken:
            warnings.warn(
                f"expected x with more directions than z takes, got {len(root)}, all of which are erased: nothing but the mean "
                "is left: take a wider x, or a z of fewer columns or classes",
                EstimatorWarning,
                stacklevel=2,
            )
        change = ((basis * root) @ (basis.T @ seen)) @ (seen.T @ ((basis / root) @ basis.T))
        self.change = x_units[:, None] * change / x_units

    def __call__(self, x: Tensor | np.ndarray) -> Tensor | np.ndarray:
        """The representation without it, `(N, d)`, on the device and in the precision of x: of any rows, with a gradient.

        It is computed in at least float32; of whole numbers it stays in that.

        Raises:
            TypeError: If x is neither a tensor nor an array.
            ValueError: If x is not `(N, d)`.
        """
        if not isinstance(x, Tensor | np.ndarray):
            raise TypeError(f"expected x as a tensor or an array, got {type(x).__name__}")
        if x.ndim != 2 or x.shape[1] != len(self.mean):
            raise ValueError(f"expected x of shape (N, {len(self.mean)}), got {tuple(x.shape)}")
        if isinstance(x, Tensor):
            precise = at_least_float32(x)
            mean, change = (torch.as_tensor(part).to(precise) for part in (self.mean, self.change))
            with torch.autocast(x.device.type, enabled=False):
                erased = precise - (precise - mean) @ change.T
            return erased.to(x.dtype) if x.is_floating_point() else erased
        erased = x - (x - self.mean) @ self.change.T
        return erased.astype(x.dtype) if x.dtype.kind == "f" else erased


def _in_units(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns less their mean over their deviation, and that deviation; 1 where rounding is all there is of it."""
    centered = rows - rows.mean(0)
    deviation = np.sqrt(np.square(centered).mean(0))
    units = np.where(deviation > 8 * np.finfo(np.float64).eps * np.abs(rows).max(0), deviation, 1.0)
    return centered / units, units
