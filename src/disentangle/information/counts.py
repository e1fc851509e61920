"""Mutual information of variables that take few values, by counting the pairs of them."""

from __future__ import annotations

import math

from torch import Tensor

from disentangle.dependence import Bound
from disentangle.information.result import MutualInformation

__all__ = ["counted_mutual_information"]

ROWS_A_PAIR = 5
COUNTED = Bound("neither", "the number of rows is finite: it is exact as rows are added")


def counted_mutual_information(x: Tensor, y: Tensor) -> MutualInformation | None:
    r"""The information of the table of counts, where every pair of values that was drawn was drawn five times on average.

    With n rows, `n_xy` of them with a pair of values, and K numbers of values and pairs that were drawn,

    .. math:: \hat I = \frac1n\sum_{xy} n_{xy} \log\frac{n\,n_{xy}}{n_x n_y} - \frac{K_{xy} - K_x - K_y + 1}{2n}

    The second term is the bias. A row is one value, so classes may be one-hot.

    References:
        Miller, Note on the bias of information estimates (1955)

    Returns:
        The estimate, or nothing where there are more values than that.

    Example:
        >>> import torch
        >>> side = torch.arange(100).remainder(2)[:, None]
        >>> print(counted_mutual_information(side, 1 - side))  # log 2, and 1 / 200
        0.698 ± 0.000 nats (counts, 100 rows)
    """
    rows = len(x)
    (x_values, of_x, n_x), (y_values, of_y, n_y) = (
        side.unique(dim=0, return_inverse=True, return_counts=True) for side in (x, y)
    )
    _, pairs, n_xy = (of_x * len(y_values) + of_y).unique(return_inverse=True, return_counts=True)
    if rows < ROWS_A_PAIR * len(n_xy):
        return None
    terms = (rows * n_xy[pairs].double() / (n_x[of_x] * n_y[of_y])).log()
    freedom = len(n_xy) - len(x_values) - len(y_values) + 1
    value = float(terms.mean()) - freedom / (2 * rows)
    # of independent variables the terms vanish, and rows times twice the mean is a chi-square variable
    error = math.sqrt(float(terms.var()) / rows + max(freedom, 0) / (2 * rows**2))
    return MutualInformation(value, error, "counts", COUNTED, rows, rows)
