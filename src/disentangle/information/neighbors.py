"""Mutual information from the distances to nearest neighbours."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from disentangle.dependence import Bound
from disentangle.information.pair import as_pair
from disentangle.information.result import MutualInformation
from disentangle.information.samples import SALT, Samples, Variable, unit_variance

__all__ = ["nearest_neighbor_mutual_information", "neighbors_of", "neighbors_value"]

BLOCKS = 10  # for the standard error
SHUFFLES = 20  # that say what there is by chance
BOUND = Bound("neither", "the number of rows is finite")
JITTER = 1e-8  # in standard deviations: below what matters, above the rounding of float64


def nearest_neighbor_mutual_information(x: Samples, y: Samples, *, neighbors: int = 3) -> MutualInformation:
    r"""The mutual information, in nats, by the estimator of Kraskov, Stögbauer and Grassberger: no model, nothing to train.

    With :math:`\epsilon_i` the distance of row i of (x, y) to its k-th nearest neighbour, and :math:`n_x(i)` the number of
    other rows whose x is nearer to :math:`x_i` than that, :math:`n_y(i)` likewise,

    .. math:: \hat I = \psi(k) + \psi(N) - \frac1N\sum_i \left[\psi(n_x(i) + 1) + \psi(n_y(i) + 1)\right]

    It is the first of the paper's two estimators. Distances are the largest difference in any column, on columns of
    unit variance: the value does not depend on their units, but, unlike the information, it does change a little with the
    shape of the margins and with a rotation.

    **When to believe it.** It sees every kind of dependence, and between independent variables it is unbiased in practice.
    It is no bound: it tends to the information as rows are added, from below where there is a lot of it. It needs few
    dimensions (up to about 4 in x and y together) and moderate information. With 4000 rows of two correlated Gaussians,
    it finds 0.92 of 1.12 nats in 5 + 5 dimensions, and 1.06 of 2.23 in 10 + 10. It can never exceed
    :math:`\psi(N) - \psi(k)`, about :math:`\log(N / k)`.

    **Ties.** A column that holds a value twice gets normal noise of 1e-8 of its standard deviation, always the same noise.
    Where the values of a column lie further apart than that, the noise does not change the information, so discrete
    variables, and mixtures such as the output of a ReLU, are estimated correctly. Rows that are copies of others are counted
    once.

    **Classes.** Where one side is classes (names, whole numbers, one-hot rows), the estimator of Ross takes over: the k
    neighbours of a row are those within its class, and with :math:`m_i` rows of any class nearer than the last of them and
    :math:`N_{y_i}` rows in the class,

    .. math:: \hat I = \psi(N) - \frac1N\sum_i \left[\psi(N_{y_i}) - \psi(k_i) + \psi(m_i)\right]

    It is cut off at the entropy of the classes, and warns of nothing but many dimensions.

    **The standard error** is that of 10 disjoint blocks of rows, each estimated by itself: :math:`\mathrm{sd} / \sqrt{10}`.
    Of classes, and of numbers that are there twice, blocks may all be alike: the error is then at least the standard deviation
    of what 20 random orders of the rows of y show. Of the latter their mean is taken off as well.
    The terms of the sum depend on one another, and their own standard deviation would be up to a quarter too small. At 600
    to 2000 rows this one is still 5 to 20 % too small, and the 95 % interval of Gaussians in 1 + 1 and 2 + 2 dimensions
    covered the truth in 87 to 92 % of draws. It knows nothing of the bias.

    References:
        | Kraskov, Stögbauer and Grassberger, Estimating mutual information (Physical Review E 2004), eq. 8
        | Ross, Mutual Information between Discrete and Continuous Data Sets (PLoS ONE 2014)
        | Holmes and Nemenman, Estimation of mutual information for real-valued data with error bars (Physical Review E 2019)

    Arguments:
        x: `(rows, x_dim)`, or `(rows,)` of numbers or classes, on any device; computed in float64 on the CPU.
        y: Likewise, row i belonging to row i of x.
        neighbors: k. More is less noise and more bias.

    Returns:
        The estimate, its standard error and its warnings.

    Raises:
        ValueError: Where x and y do not have the same number of rows, hold a value that is not finite, have
            fewer than 10 (neighbors + 2) rows, or `neighbors` is less than 1.

    Example:
        >>> import torch
        >>> x = torch.rand(4000, 1, generator=torch.Generator().manual_seed(0)) * 2 - 1
        >>> estimate = nearest_neighbor_mutual_information(x, (3 * x).round().abs())  # a function of x: 4 values
        >>> entropy = -sum(p * torch.tensor(p).log() for p in (1 / 6, 1 / 3, 1 / 3, 1 / 6))
        >>> abs(estimate.value - entropy.item()) < 0.05
        True
    """
    pair = as_pair(x=x, y=y)
    if neighbors < 1:
        raise ValueError(f"expected at least 1 neighbour, got {neighbors}")
    if len(pair.x.numbers) < BLOCKS * (neighbors + 2):
        rows = f"at least {BLOCKS * (neighbors + 2)} rows for {neighbors} neighbours"
        raise ValueError(f"expected {rows}, got {len(pair.x.numbers)}")
    estimate = neighbors_of(pair.x, pair.y, neighbors)
    return replace(estimate, rows=pair.given, warnings=(*pair.warnings, *estimate.warnings))


def neighbors_value(x: np.ndarray, y: np.ndarray, neighbors: int = 3) -> float:
    """The estimate alone, of numbers in rows that are all different; y is numbers `(rows, dim)` or classes `(rows,)`."""
    rng = np.random.default_rng([SALT, 0])
    x = _apart(unit_variance(x), rng)
    return _ross(x, y, neighbors) if y.ndim == 1 else _kraskov(x, _apart(unit_variance(y), rng), neighbors)


def neighbors_of(x: Variable, y: Variable, neighbors: int = 3, *, least: float = -math.inf) -> MutualInformation:
    """The estimate for rows that are all different; by Ross' estimator where one of the two is classes and the other is not.

    A value that is not above `least` is of no use: its standard error is then left out, as 0.
    """
    if y.classes is None and x.classes is not None:
        x, y = y, x
    noise = np.random.default_rng([SALT, 0])
    columns = [unit_variance(side.numbers.numpy()) for side in (x, y)]
    classes = y.classes if x.classes is None else None
    of_classes = classes is not None
    a, b = (
        (_apart(side, noise) for side in columns) if classes is None else (_apart(columns[0], noise), classes.numpy())
    )
    rows, dimensions = len(a), a.shape[1] + (0 if of_classes else b.shape[1])
    value = _ross if of_classes else _kraskov
    constant = a.shape[1] == 0 or (b.ndim == 2 and b.shape[1] == 0)
    nats, error = 0.0 if constant else value(a, b, neighbors), 0.0  # a constant tells nothing
    if not constant and nats > least:
        blocks = np.array_split(np.random.default_rng(0).permutation(rows), BLOCKS)
        error = float(np.std([value(a[i], b[i], neighbors) for i in blocks], ddof=1)) / math.sqrt(BLOCKS)
        tied = not of_classes and any(_tied(side).any() for side in columns)
        if of_classes or tied:
            by_chance = [value(a, noise.permutation(b), neighbors) for _ in range(SHUFFLES)]
            nats, error = nats - tied * float(np.mean(by_chance)), max(error, float(np.std(by_chance, ddof=1)))
    warnings = tuple(_warnings(nats, rows, dimensions, neighbors, of_classes))
    return MutualInformation(nats, error, "nearest neighbors", BOUND, rows, rows, warnings=warnings)


def _apart(matrix: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The matrix with noise in those columns that hold a value twice."""
    return matrix + JITTER * rng.standard_normal(matrix.shape) * _tied(matrix)


def _tied(matrix: np.ndarray) -> np.ndarray:
    """Which columns hold a value twice, `(dim,)` bool."""
    ordered = np.sort(matrix, axis=0)
    return (ordered[1:] == ordered[:-1]).any(0)


def _kraskov(x: np.ndarray, y: np.ndarray, neighbors: int) -> float:
    from scipy.spatial import KDTree
    from scipy.special import digamma

    both = np.hstack([x, y])
    distances, _ = KDTree(both).query(both, k=neighbors + 1, p=np.inf)  # the first one is the row itself
    counts = [rows_nearer(side, distances[:, -1]) for side in (x, y)]
    return float(digamma(neighbors) + digamma(len(x)) - np.mean([digamma(n) for n in counts], axis=1).sum())


def rows_nearer(x: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """How many rows are nearer to each row than its radius, itself one of them."""
    from scipy.spatial import KDTree

    if x.shape[1] > 1:
        return KDTree(x).query_ball_point(x, np.nextafter(radius, 0), p=np.inf, return_length=True)
    # sorting is far faster; a row at the radius itself may be rounded into it, which is therefore made a little smaller
    column = x[:, 0]
    ordered, inside = np.sort(column), np.maximum(radius - 2 * np.spacing(np.abs(column) + radius), 0)
    first, last = ordered.searchsorted(column - inside), ordered.searchsorted(column + inside, side="right")
    return last - first


def _ross(x: np.ndarray, y: np.ndarray, neighbors: int) -> float:
    """Of numbers x and classes y; at most the entropy of the classes. A class of a single row says nothing and is left out."""
    from scipy.spatial import KDTree
    from scipy.special import digamma

    _, y, counts = np.unique(y, return_inverse=True, return_counts=True)
    x, y = x[counts[y] > 1], y[counts[y] > 1]
    if len(x) == 0:
        return 0.0
    k, radius = np.minimum(neighbors, counts - 1), np.empty(len(x))
    for i in np.unique(y):
        of_class = x[y == i]
        radius[y == i] = KDTree(of_class).query(of_class, k=int(k[i]) + 1, p=np.inf)[0][:, -1]
    value = digamma(len(x)) - np.mean(digamma(counts[y]) - digamma(k[y]) + digamma(rows_nearer(x, radius)))
    shares = counts / counts.sum()
    return float(min(value, -np.sum(shares * np.log(shares))))


def _warnings(value: float, rows: int, dimensions: int, neighbors: int, of_classes: bool) -> list[str]:
    warnings = []
    if dimensions > 6:
        warnings.append(f"{dimensions} dimensions are many for nearest neighbours; the estimate is probably too low")
    if not of_classes and value > 0.6 * math.log(rows / neighbors):
        warnings.append(f"{rows} rows show hardly more than {value:z.2f} nats; the estimate is probably too low")
    return warnings
