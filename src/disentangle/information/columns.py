"""What two variables share column by column."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from torch import Tensor

from disentangle.dependence import Bound
from disentangle.information.neighbors import BLOCKS, neighbors_value
from disentangle.information.result import MutualInformation

__all__ = ["column_mutual_information", "matched_columns"]

MATCHED = 8  # pairs of columns, at most
BOUND = Bound(
    "neither", "three columns of x, and of y, share more than pairs of them do: otherwise it tends to a lower bound"
)


def column_mutual_information(x: Tensor, y: Tensor, *, least: float = -math.inf) -> MutualInformation:
    r"""What matched columns of x and y tell about one another, each pair alone, less what the columns of a side share.

    .. math:: \hat I = \sum_k \hat I(x_k; y_k) - \min\Big(\sum_{j<k}\hat I(x_j; x_k),\ \sum_{j<k}\hat I(y_j; y_k)\Big)

    by nearest neighbours. It holds on to sharp edges, products and atoms in many columns, each of which shares something
    with its partner, where neighbours in all dimensions and critics see too few rows. For

    .. math:: I(x; y) \ge \sum_k I(x_k; y_k) - T(x)

    and likewise with y, where T, the total correlation, is at most the sum over pairs unless three columns share what no
    two of them do.

    Arguments:
        x: `(rows, x_dim)`, normal scores.
        y: `(rows, y_dim)`, normal scores.
        least: A value that is not above it is of no use: its standard error is then left out, as 0.

    Example:
        >>> x, noise = torch.rand(2, 500, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> found = column_mutual_information(x, x + noise)  # 1/2 nat in each of three columns
        >>> abs(found.value - 1.5) < 0.2
        True
    """
    s, t = matched_columns(x, y)
    a, b = x[:, s].numpy(), y[:, t].numpy()
    rows, value, error = len(a), _value(a, b, least), 0.0
    if value > least:
        blocks = np.array_split(np.random.default_rng(0).permutation(rows), BLOCKS)
        error = float(np.std([_value(a[i], b[i]) for i in blocks], ddof=1)) / math.sqrt(BLOCKS)
    return MutualInformation(value, error, "nearest neighbors, column by column", BOUND, rows, rows)


def matched_columns(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The columns of x and of y, at most eight, whose values or squares are most correlated, one to one: their indices.

    Arguments:
        x: `(rows, x_dim)`, normal scores.
        y: `(rows, y_dim)`, normal scores.

    Example:
        >>> x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
        >>> matched_columns(x, torch.stack([x[:, 1] ** 2, x[:, 0]], 1))
        (tensor([0, 1]), tensor([1, 0]))
    """
    from scipy.optimize import linear_sum_assignment

    strength = torch.zeros(x.shape[1], y.shape[1], dtype=x.dtype)
    for a, b in itertools.product((x, x.square()), (y, y.square())):
        strength += (_unit(a).mT @ _unit(b)).square()
    of_x, of_y = (torch.from_numpy(i) for i in linear_sum_assignment(strength.numpy(), maximize=True))
    kept = strength[of_x, of_y].argsort(descending=True)[:MATCHED].sort().values
    return of_x[kept], of_y[kept]


def _value(a: np.ndarray, b: np.ndarray, least: float = -math.inf) -> float:
    """The estimate for columns that are matched already; where it is not above `least`, perhaps without what is taken off."""
    together = sum(neighbors_value(a[:, [k]], b[:, [k]]) for k in range(a.shape[1]))
    if together <= least:
        return together
    pairs = list(itertools.combinations(range(a.shape[1]), 2))
    within = (sum(neighbors_value(side[:, [j]], side[:, [k]]) for j, k in pairs) for side in (a, b))
    return together - max(min(within), 0.0)


def _unit(columns: Tensor) -> Tensor:
    centered = columns - columns.mean(0)
    return centered / centered.norm(dim=0).clamp(min=torch.finfo(columns.dtype).tiny)
