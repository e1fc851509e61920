"""What two variables share column by column."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from disentangle.dependence import Bound
from disentangle.information.counts import ROWS_PER_PAIR, CountTable
from disentangle.information.neighbors import BLOCKS, neighbors_value
from disentangle.information.result import MutualInformation

__all__ = ["column_mutual_information", "matched_columns"]

MATCHED = 8  # pairs of columns, at most
COUNTED = 64  # the same where all of them are counted, which is fast
BOUND = Bound(
    "neither", "three columns of x, and of y, share more than pairs of them do: otherwise it tends to a lower bound"
)


def column_mutual_information(x: Tensor, y: Tensor, *, least: float = -math.inf) -> MutualInformation:
    r"""What matched columns of x and y tell about one another, each pair alone, less what the columns of a side share.

    .. math:: \hat I = \sum_k \hat I(x_k; y_k) - \min\Big(\sum_{j<k}\hat I(x_j; x_k),\ \sum_{j<k}\hat I(y_j; y_k)\Big)

    by nearest neighbours, and of columns of few values by counting: of up to 64 pairs of columns where all are counted, else
    of up to eight, those that are correlated most. It holds on to sharp edges, products and atoms in many
    columns, each of which shares something with its partner, where neighbours in all dimensions and critics see too few
    rows. For

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
    a, b = x[:, s[:COUNTED]].numpy(), y[:, t[:COUNTED]].numpy()
    counted = _counted(a, b)
    if not all(pairs.all() for pairs in counted):
        a, b = a[:, :MATCHED], b[:, :MATCHED]
        counted = _counted(a, b)
    rows, value, error = len(a), _value(a, b, counted, least), 0.0
    if value > least:
        blocks = np.array_split(np.random.default_rng(0).permutation(rows), BLOCKS)
        error = float(np.std([_value(a[i], b[i], counted) for i in blocks], ddof=1)) / math.sqrt(BLOCKS)
    method = "counts" if counted.between.diagonal().all() else "nearest neighbors"
    return MutualInformation(value, error, f"{method}, column by column", BOUND, rows, rows)


def matched_columns(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The columns of x and of y whose values or squares are most correlated, one to one: their indices, the strongest first.

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
    order = strength[of_x, of_y].argsort(descending=True)
    return of_x[order], of_y[order]


class _Counted(NamedTuple):
    """Which pairs of columns are counted, `(columns, columns)` bool each: those of a and b, of a alone, of b alone."""

    between: np.ndarray
    of_a: np.ndarray
    of_b: np.ndarray


def _counted(a: np.ndarray, b: np.ndarray) -> _Counted:
    return _Counted(_few_values(a, b), _few_values(a, a), _few_values(b, b))


def _few_values(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """For each pair of columns whether there are five rows for each pair of their values."""
    of_a, of_b = ([len(np.unique(column)) for column in side.T] for side in (a, b))
    return ROWS_PER_PAIR * np.outer(of_a, of_b) <= len(a)


def _value(a: np.ndarray, b: np.ndarray, counted: _Counted, least: float = -math.inf) -> float:
    """The estimate for columns that are matched already; where it is not above `least`, perhaps without what is taken off."""
    together = sum(_shared(a[:, k], b[:, k], counted.between[k, k]) for k in range(a.shape[1]))
    if together <= least:
        return together
    return together - max(min(_within(a, counted.of_a), _within(b, counted.of_b)), 0.0)


def _within(side: np.ndarray, counted: np.ndarray) -> float:
    """What the pairs of columns of a side share, summed."""
    if counted.all():
        apart = np.random.default_rng(0).permuted(side, axis=0)  # what is left of independent ones is bias
        return _counted_within(side) - _counted_within(apart)
    pairs = itertools.combinations(range(side.shape[1]), 2)
    return sum((_shared(side[:, j], side[:, k], counted[j, k]) for j, k in pairs), 0.0)


def _counted_within(side: np.ndarray) -> float:
    """The same of counted columns, with its bias: of all pairs at once, a matrix of how often values are in one row."""
    codes = [torch.from_numpy(np.unique(column, return_inverse=True)[1]) for column in side.T]
    rows = torch.cat([one_hot(column) for column in codes], 1).double()
    together = rows.mT @ rows / len(rows)
    share = together.diagonal()
    information = torch.xlogy(together, together / torch.outer(share, share)).sum()
    # each pair is there twice, and each column with itself, which has its entropy
    return float(information + torch.xlogy(share, share).sum()) / 2


def _shared(a: np.ndarray, b: np.ndarray, counted: np.bool_) -> float:
    if not counted:
        return neighbors_value(a[:, None], b[:, None])
    x, y = (torch.from_numpy(np.unique(column, return_inverse=True)[1]) for column in (a, b))
    return CountTable(x, y).information


def _unit(columns: Tensor) -> Tensor:
    centered = columns - columns.mean(0)
    return centered / centered.norm(dim=0).clamp(min=torch.finfo(columns.dtype).tiny)
