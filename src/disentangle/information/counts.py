"""Mutual information of classes and classes, by counting the pairs of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from disentangle.dependence import Bound
from disentangle.information.classes import entropy
from disentangle.information.result import MutualInformation

__all__ = ["ROWS_PER_PAIR", "CountTable", "counted_mutual_information"]

ROWS_PER_PAIR, ONCE = 5, 0.02  # on average at least; the share of rows whose pair is there once, at most
STRENGTHS = [2.0**i for i in range(-3, 16)]  # rows that the frequencies of y count for, beside those of a class of x
DISCOUNTS = (0.0, 0.25, 0.5, 0.75, 1.0)
COUNTED = Bound("neither", "the number of rows is finite: it is exact as rows are added")
SMOOTHED = Bound("lower", "the rows are drawn independently")


class CountTable:
    """How often two variables of classes, `(rows,)` int64 each, have each class and each pair of classes.

    Attributes:
        of_each: How many rows have each class of x, and of y, `(classes,)` float64.
        counts: How many have each pair that there is, `(pairs,)` int64.
        pair: Which pair each row has, `(rows,)` int64.
        terms: The logarithm of how much more often a row's pair is there than by chance, `(rows,)`.
        freedom: K_xy - K_x - K_y + 1 of `counted_mutual_information`.
    """

    def __init__(self, x: Tensor, y: Tensor):
        n_x, n_y = self.of_each = x.bincount().double(), y.bincount().double()
        _, self.pair, self.counts = (x * len(n_y) + y).unique(return_inverse=True, return_counts=True)
        self.terms = (len(x) * self.counts[self.pair].double() / (n_x[x] * n_y[y])).log()
        self.freedom = len(self.counts) - len(n_x) - len(n_y) + 1

    @property
    def information(self) -> float:
        """What the classes tell about one another, in nats, less its bias."""
        return float(self.terms.mean()) - self.freedom / (2 * len(self.terms))


def counted_mutual_information(x: Tensor, y: Tensor) -> MutualInformation:
    r"""What two variables with classes tell about one another, at most the entropy of either.

    **Where a pair of classes that was drawn was drawn five times on average, and hardly any only once**: the information
    of the table of counts. With n rows, :math:`n_{xy}` of them with a pair of classes, and K numbers of classes and pairs
    that were drawn,

    .. math:: \hat I = \frac1n\sum_{xy} n_{xy} \log\frac{n\,n_{xy}}{n_x n_y} - \frac{K_{xy} - K_x - K_y + 1}{2n}

    The second term is the bias.

    **Otherwise** that bias is not known well enough, and the value is a lower bound: how much better the class of a row is
    predicted by the other rows, its class of x known, than by the frequencies alone. With :math:`\tilde n` the counts of
    the other rows, :math:`\tilde t_x` the number of classes of y that they have beside x, and the discount D, m, and
    direction that give most,

    .. math:: \hat I = \frac1n\sum_i \log\frac{\max(\tilde n_{x_iy_i} - D, 0) + (m + D\,\tilde t_{x_i})\,n_{y_i} / n}
              {(\tilde n_{x_i} + m)\; n_{y_i}/n}

    References:
        | Miller, Note on the bias of information estimates (1955)
        | Teh, A hierarchical Bayesian language model based on Pitman-Yor processes (ACL 2006), the smoothing

    Arguments:
        x: `(rows,)` int64, classes 0 to C-1, each of them in at least one row.
        y: Likewise.

    Example:
        >>> side = torch.arange(100).remainder(2)
        >>> print(counted_mutual_information(side, 1 - side))  # log 2
        0.693 ± 0.000 nats (counts, 100 rows)
    """
    table, most = CountTable(x, y), min(entropy(x), entropy(y))
    rows, pairs = len(x), len(table.counts)
    if rows < ROWS_PER_PAIR * pairs or int((table.counts == 1).sum()) > ONCE * rows:
        n_xy = table.counts[table.pair].double()
        terms = max(_smoothed(n_xy, *table.of_each, x, y), _smoothed(n_xy, *table.of_each[::-1], y, x), key=torch.mean)
        value, error = min(float(terms.mean()), most), float(terms.std()) / math.sqrt(rows)
        few = f"{rows} rows are few for {pairs} pairs of classes: the value may be too low"
        return MutualInformation(value, error, "counts, smoothed", SMOOTHED, rows, rows, warnings=(few,))
    # of independent variables the terms vanish, and rows times twice the mean is a chi-square variable
    error = math.sqrt(float(table.terms.var()) / rows + max(table.freedom, 0) / (2 * rows**2))
    return MutualInformation(min(table.information, most), error, "counts", COUNTED, rows, rows)


def _smoothed(n_xy: Tensor, n_x: Tensor, n_y: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The terms of the lower bound of y told by x, at the best strength and discount; `n_xy` is that of each row's pair."""
    rows, others, seen = len(x), n_xy - 1, (n_xy > 1).double()
    # each pair counts once: every of its rows a part; then without the row itself
    kinds = torch.zeros_like(n_x).index_add_(0, x, 1 / n_xy)[x] - (1 - seen)
    shares = n_y[y] / rows
    terms = [
        ((others - discount * seen + (m + discount * kinds) * shares) / ((n_x[x] - 1 + m) * shares)).log()
        for m in STRENGTHS
        for discount in DISCOUNTS
    ]
    return max(terms, key=torch.mean)
