"""Mutual information as far as it is in second moments."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch
from torch import Tensor

from disentangle.arrays import as_array
from disentangle.information.samples import Samples, as_matrix

__all__ = [
    "correlation_noise",
    "gaussian_mutual_information",
    "independent_columns",
    "orthonormal_basis",
    "wishart_bias",
]


def gaussian_mutual_information(x: Samples, y: Samples) -> float:
    r"""The mutual information, in nats, of the Gaussian with the covariance of (x, y), unbiased at any number of rows.

    With p and q the ranks of x and y, m = rows - 1, and :math:`r_k` the canonical correlations of the rows,

    .. math:: \hat I = -\frac12\sum_k \log(1 - r_k^2)
              - \frac12\sum_{i=0}^{p-1}\left[\psi\left(\tfrac{m-i}{2}\right) - \psi\left(\tfrac{m-q-i}{2}\right)\right]

    The first sum alone is the usual plug-in, which finds about pq / (2 rows) nats where there is nothing: 2 nats for
    two independent variables of 64 dimensions in 1000 rows. For Gaussian rows the second sum is its bias, exactly and
    whatever the dependence: the sample covariances are Wishart, and the mean of the logarithm of a Wishart determinant
    is the logarithm of the true one plus digammas :math:`\psi` of the degrees of freedom. So no rows need to be held
    out for independent variables to read 0 on average.

    What it measures, :math:`I_G`, is related to the mutual information I by

    .. math:: I(x; y) \ge I_G - \min(J(x), J(y))

    with J the negentropy, how far the entropy of a variable lies below that of the Gaussian with its covariance. For
    :math:`h(x|y) = h(x - Ay\,|\,y) \le h(x - Ay)`, and the residual of the best A has at most the entropy of the
    Gaussian with the residual's covariance.

    - x and y jointly Gaussian: :math:`I_G = I`, and the estimate has mean I.
    - x or y Gaussian: :math:`I_G` is a lower bound on I.
    - neither: no bound. Two equal coins share log 2 nats, and :math:`I_G` is infinite.
    - :math:`I_G = 0` where x and y are uncorrelated, dependent or not.

    An unbiased estimate of nothing is negative half of the time. Between independent Gaussians its standard deviation
    is about :math:`\sqrt{pq/2}\,/\,\sqrt{(m-p)(m-q)}`, more when p + q comes near m. Bias and noise of heavy-tailed
    rows are larger, and shrink with the number of rows.

    The value does not change under an invertible affine map of x or of y. Constant dimensions, and those that are
    linear in the others, count for nothing. Padding and missing rows are to be left out before. Rows are taken as they are:
    copies are looked for by `estimate_mutual_information(method="gaussian")`, not here.

    References:
        | Misra, Singh and Demchuk, Estimation of the entropy of a multivariate normal distribution (JMVA 2005)
        | Cover and Thomas, Elements of Information Theory, theorem 8.6.5 (the Gaussian has the most entropy)

    Arguments:
        x: `(rows, x_dim)`, on any device; computed in float64.
        y: `(rows, y_dim)`, row i belonging to row i of x.

    Returns:
        The estimate in nats; `inf` where some direction of y is a linear function of x up to the rounding of float64.

    Raises:
        ValueError: Where x and y are not matrices with the same number of rows, hold a value that is not finite, or
            have fewer rows than rank(x) + rank(y) + 1.

    Example:
        >>> import math, torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> x, noise = torch.randn(2, 1000, 10, generator=generator, dtype=torch.float64)
        >>> y = 0.9 * x + (1 - 0.9**2) ** 0.5 * noise
        >>> abs(gaussian_mutual_information(x, y) - -5 * math.log(1 - 0.9**2)) < 0.3
        True
        >>> abs(gaussian_mutual_information(x, noise)) < 0.05
        True
    """
    u, v = orthonormal_basis("x", x), orthonormal_basis("y", y)
    if len(u) != len(v):
        raise ValueError(f"expected x and y with the same number of rows, got {len(u)} and {len(v)}")
    (rows, p), q = u.shape, v.shape[1]
    if min(p, q) == 0:
        return 0.0
    if rows < p + q + 1:
        raise ValueError(f"expected at least {p + q + 1} rows for x of rank {p} and y of rank {q}, got {rows}")
    # sines of the angles between the two spaces: exact where 1 - r² of a correlation close to 1 is all rounding
    sines = torch.linalg.svdvals(v - u @ (u.mT @ v)).clamp(max=1.0)
    if sines.min() <= rows * torch.finfo(sines.dtype).eps:
        return math.inf
    return float(-sines.log().sum()) - wishart_bias(rows, p, q)


def wishart_bias(rows: int, p: int, q: int) -> float:
    """By how much the plug-in of the canonical correlations of Gaussian rows is too high, in nats."""
    freedom = (rows - 1 - torch.arange(p, dtype=torch.float64)) / 2
    return float((torch.digamma(freedom) - torch.digamma(freedom - q / 2)).sum() / 2)


def correlation_noise(rows: int, p: int, q: int) -> float:
    """The variance of the information of Gaussian rows that are independent: that of the logarithms of Wishart determinants."""
    freedom = (rows - 1 - torch.arange(p, dtype=torch.float64)) / 2
    return float((torch.polygamma(1, freedom - q / 2) - torch.polygamma(1, freedom)).sum() / 4)


def independent_columns(matrix: Tensor, eps: float) -> Tensor:
    """The columns of a matrix, `(rows, dim)`, without those that are constant or linear in the others, which tell nothing more.

    Arguments:
        matrix: Float64.
        eps: The rounding of the numbers before they became float64, relative to them.
    """
    from scipy.linalg import qr

    centered, varies = _unit_columns(matrix, eps)
    if centered.shape[1] == 0:
        return centered
    _, r, order = cast(tuple[np.ndarray, ...], qr(centered.numpy(), mode="economic", pivoting=True))
    left = np.abs(r.diagonal())  # of each column, without what the ones before it tell
    kept = np.sort(order[: len(left)][left > left[0] * _rounding(centered, eps)])
    return matrix[:, varies][:, kept]


def orthonormal_basis(name: str, values: Samples) -> Tensor:
    """An orthonormal basis of the centered columns, `(rows, rank)`, in float64."""
    kept = as_array(values).dtype
    eps = float(np.finfo(kept).eps) if kept.kind == "f" else 0.0
    centered, _ = _unit_columns(as_matrix(name, values), eps)
    if centered.shape[1] == 0:
        return centered
    u, s, _ = torch.linalg.svd(centered, full_matrices=False)
    return u[:, s > s[0] * _rounding(centered, eps)]


def _unit_columns(matrix: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The columns that vary, with mean 0 and length 1, and which ones they are, `(dim,)` bool."""
    centered = matrix - matrix[:1]  # a constant column is exactly 0 here; a mean would leave its rounding
    centered = centered - centered.mean(0)
    size = centered.abs().amax(0)
    # relative to what the numbers could hold before they became float64
    varies = size > eps * matrix.abs().amax(0)
    centered = centered[:, varies] / size[varies]
    return centered / centered.norm(dim=0), varies


def _rounding(columns: Tensor, eps: float) -> float:
    """What of columns of length 1 may be rounding."""
    return max(10 * eps, max(columns.shape) * torch.finfo(columns.dtype).eps)
