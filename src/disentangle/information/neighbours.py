"""Mutual information from the distances to nearest neighbours."""

from __future__ import annotations

import math

import numpy as np

from disentangle.dependence import Bound
from disentangle.information.matrix import Matrix, as_matrices, standardised
from disentangle.information.result import MutualInformation

__all__ = ["nearest_neighbour_mutual_information"]

BLOCKS = 10  # for the standard error
JITTER = 1e-8  # in standard deviations: below what matters, above the rounding of float64


def nearest_neighbour_mutual_information(x: Matrix, y: Matrix, *, neighbors: int = 3) -> MutualInformation:
    r"""The mutual information, in nats, by the estimator of Kraskov, Stögbauer and Grassberger: no model, nothing to train.

    With :math:`\epsilon_i` the distance of row i of (x, y) to its k-th nearest neighbour, and :math:`n_x(i)` the number of
    other rows whose x is nearer to :math:`x_i` than that, :math:`n_y(i)` likewise,

    .. math:: \hat I = \psi(k) + \psi(N) - \frac1N\sum_i \left[\psi(n_x(i) + 1) + \psi(n_y(i) + 1)\right]

    It is the first of the paper's two estimators. Distances are the largest difference in any column, on standardised
    columns: the value does not depend on their units, but, unlike the information, it does change a little with the
    shape of the margins and with a rotation.

    **When to believe it.** It sees every kind of dependence, and between independent variables it is unbiased in practice.
    It is no bound: it tends to the information as rows are added, from below where there is a lot of it. It needs few
    dimensions (up to about 4 in x and y together) and moderate information. With 4000 rows of two correlated Gaussians,
    it finds 0.92 of 1.12 nats in 5 + 5 dimensions, and 1.06 of 2.23 in 10 + 10. It can never exceed
    :math:`\psi(N) - \psi(k)`, about :math:`\log(N / k)`.

    **Ties.** A column that holds a value twice gets normal noise of 1e-8 of its standard deviation, always the same noise.
    Where the values of a column lie further apart than that, the noise does not change the information, so discrete
    variables, and mixtures such as the output of a ReLU, are estimated correctly. A whole row that is there twice counts as
    evidence for dependence: leave out repeated recordings.

    **The standard error** is that of 10 disjoint blocks of rows, each estimated by itself: :math:`\mathrm{sd} / \sqrt{10}`.
    The terms of the sum depend on one another, and their own standard deviation would be up to a quarter too small. At 600
    to 2000 rows this one is still 5 to 20 % too small, and the 95 % interval of Gaussians in 1 + 1 and 2 + 2 dimensions
    covered the truth in 87 to 92 % of draws. It knows nothing of the bias.

    References:
        | Kraskov, Stögbauer and Grassberger, Estimating mutual information (Physical Review E 2004), eq. 8
        | Holmes and Nemenman, Estimation of mutual information for real-valued data with error bars (Physical Review E 2019)

    Arguments:
        x: `(rows, x_dim)`, on any device; computed in float64 on the CPU.
        y: `(rows, y_dim)`, row i belonging to row i of x.
        neighbors: k. More is less noise and more bias.

    Returns:
        The estimate, its standard error and its warnings.

    Raises:
        ValueError: Where x and y are not matrices with the same number of rows, hold a value that is not finite, have
            fewer than 10 (neighbors + 2) rows, or `neighbors` is less than 1.

    Example:
        >>> import torch
        >>> x = torch.rand(4000, 1, generator=torch.Generator().manual_seed(0)) * 2 - 1
        >>> estimate = nearest_neighbour_mutual_information(x, (3 * x).round().abs())  # a function of x: 4 values
        >>> entropy = -sum(p * torch.tensor(p).log() for p in (1 / 6, 1 / 3, 1 / 3, 1 / 6))
        >>> abs(estimate.value - entropy.item()) < 0.05
        True
    """
    a, b = (side.numpy() for side in as_matrices(x=x, y=y))
    rows = len(a)
    if neighbors < 1:
        raise ValueError(f"expected at least 1 neighbour, got {neighbors}")
    if rows < BLOCKS * (neighbors + 2):
        raise ValueError(f"expected at least {BLOCKS * (neighbors + 2)} rows for {neighbors} neighbours, got {rows}")
    rng = np.random.default_rng(0)
    a, b = (_apart(standardised(side), rng) for side in (a, b))
    if min(a.shape[1], b.shape[1]) == 0:
        value, error = 0.0, 0.0  # a constant tells nothing
    else:
        value = _kraskov(a, b, neighbors)
        blocks = np.array_split(rng.permutation(rows), BLOCKS)
        error = float(np.std([_kraskov(a[i], b[i], neighbors) for i in blocks], ddof=1)) / math.sqrt(BLOCKS)
    return MutualInformation(
        value,
        error,
        "nearest neighbours",
        Bound("neither", "the number of rows is finite"),
        rows,
        rows,
        warnings=tuple(_warnings(value, rows, a.shape[1] + b.shape[1], neighbors)),
    )


def _apart(matrix: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The matrix with noise in those columns that hold a value twice."""
    ordered = np.sort(matrix, axis=0)
    tied = (ordered[1:] == ordered[:-1]).any(0)
    return matrix + JITTER * rng.standard_normal(matrix.shape) * tied


def _kraskov(x: np.ndarray, y: np.ndarray, neighbors: int) -> float:
    from scipy.spatial import KDTree
    from scipy.special import digamma

    both = np.hstack([x, y])
    distances, _ = KDTree(both).query(both, k=neighbors + 1, p=np.inf)  # the first one is the row itself
    nearer = np.nextafter(distances[:, -1], 0)
    # the row itself is counted too: n + 1
    counts = [KDTree(side).query_ball_point(side, nearer, p=np.inf, return_length=True) for side in (x, y)]
    return float(digamma(neighbors) + digamma(len(x)) - np.mean([digamma(n) for n in counts], axis=1).sum())


def _warnings(value: float, rows: int, dimensions: int, neighbors: int) -> list[str]:
    warnings = []
    if dimensions > 6:
        warnings.append(f"{dimensions} dimensions are many for nearest neighbours; the estimate is probably too low")
    if value > 0.6 * math.log(rows / neighbors):
        warnings.append(f"{rows} rows show hardly more than {value:.2f} nats; the estimate is probably too low")
    return warnings
