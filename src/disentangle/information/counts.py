"""Mutual information of classes and classes, by counting the pairs of them."""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor

from disentangle.dependence import Bound
from disentangle.information.classes import entropy
from disentangle.information.result import MutualInformation, standard_error

__all__ = ["ROWS_PER_PAIR", "CountTable", "counted_mutual_information"]

ROWS_PER_PAIR, ONCE = 5, 0.02  # on average at least; the share of rows whose pair is there once, at most
STRENGTHS = [2.0**i for i in range(-3, 16)]  # rows that the frequencies of y count for, beside those of a class of x
DISCOUNTS = (0.0, 0.25, 0.5, 0.75, 1.0)
COUNTED = Bound("neither", "the number of rows is finite: it is exact as rows are added")
SMOOTHED = Bound("lower", "the rows are drawn independently")


class CountTable:
    """How often two variables of classes, `(rows,)` int64 each, have each class and each pair of classes.

    Attributes:
        classes: The two variables.
        of_each: How many rows have each class of x, and of y, `(classes,)` float64.
        counts: How many have each pair that there is, `(pairs,)` int64.
        pair: Which pair each row has, `(rows,)` int64.
        terms: The logarithm of how much more often a row's pair is there than by chance, `(rows,)`.
    """

    def __init__(self, x: Tensor, y: Tensor):
        self.classes = x, y
        n_x, n_y = self.of_each = x.bincount().double(), y.bincount().double()
        _, self.pair, self.counts = (x * len(n_y) + y).unique(return_inverse=True, return_counts=True)
        self.terms = (len(x) * self.counts[self.pair].double() / (n_x[x] * n_y[y])).log()

    @cached_property
    def by_chance(self) -> float:
        """What the table of independent variables with these classes says on average, in nats."""
        from sklearn.metrics.cluster import expected_mutual_information

        table = torch.zeros([len(n) for n in self.of_each], dtype=torch.int64)
        of_x, of_y = self.classes
        table.index_put_((of_x, of_y), torch.ones_like(of_x), accumulate=True)
        return float(expected_mutual_information(table.numpy(), len(of_x)))

    @cached_property
    def independence(self) -> float:
        """1 where the table says what that of independent variables does, 0 where a class tells the other one."""
        most = min(map(entropy, self.classes))
        if most <= self.by_chance:
            return 0.0
        left = max(0.0, most - float(self.terms.mean()))  # rounding may make it a little less than nothing
        return min(1.0, left / (most - self.by_chance))

    @property
    def information(self) -> float:
        """What the classes tell about one another, in nats, less its bias."""
        rows, of_classes = len(self.terms), sum(map(len, self.of_each)) - 1
        bias = (len(self.counts) - of_classes) / (2 * rows)
        by_chance = (float(_pairs_by_chance(*self.of_each)) - of_classes) / (2 * rows)
        return float(self.terms.mean()) - bias - self.independence * (self.by_chance - by_chance)


def counted_mutual_information(x: Tensor, y: Tensor) -> MutualInformation:
    r"""What two variables with classes tell about one another, at most the entropy of either.

    **Where a pair of classes that was drawn was drawn five times on average, and hardly any only once**: the information
    of the table of counts, less its bias. With n rows, :math:`n_{xy}` of them with a pair of classes, K numbers of classes and
    pairs that were drawn, and :math:`E[\cdot]` the mean over all orders of the rows of y,

    .. math:: \hat I = I - \frac{K_{xy} - K_x - K_y + 1}{2n} - w\left(E[I] - \frac{E[K_{xy}] - K_x - K_y + 1}{2n}\right),
              \qquad I = \frac1n\sum_{xy} n_{xy} \log\frac{n\,n_{xy}}{n_x n_y}

    The second term is Miller's bias. The third is what that lacks where classes are rare: of independent variables the mean
    of I over orders is the bias exactly, so w is 1 where I is that mean, and falls to 0 where I is the smaller entropy.

    **Otherwise** that bias is not known well enough, and the value is a lower bound: how much better the class of a row is
    predicted by the other rows, its class of x known, than by the frequencies alone. With :math:`\tilde n` the counts of
    the other rows, :math:`\tilde t_x` the number of classes of y that they have beside x, and the discount D, m, and
    direction that give most,

    .. math:: \hat I = \frac1n\sum_i \log\frac{\max(\tilde n_{x_iy_i} - D, 0) + (m + D\,\tilde t_{x_i})\,n_{y_i} / n}
              {(\tilde n_{x_i} + m)\; n_{y_i}/n}

    References:
        | Miller, Note on the bias of information estimates (1955)
        | Vinh, Epps and Bailey, Information Theoretic Measures for Clusterings Comparison (JMLR 2010), the mean over orders
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
        n_xy, (n_x, n_y) = table.counts[table.pair].double(), table.of_each
        terms = max(_smoothed(n_xy, n_x, n_y, x, y), _smoothed(n_xy, n_y, n_x, y, x), key=torch.mean)
        value, error = min(float(terms.mean()), most), standard_error(terms)
        few = f"{rows} rows are few for {pairs} pairs of classes: the value may be too low"
        return MutualInformation(value, error, "counts, smoothed", SMOOTHED, rows, rows, warnings=(few,))
    # of independent variables the terms vanish, and 2 rows times the mean is about a chi-square variable
    error = math.sqrt((float(table.terms.var()) + table.independence * table.by_chance) / rows)
    return MutualInformation(min(table.information, most), error, "counts", COUNTED, rows, rows)


def _pairs_by_chance(n_x: Tensor, n_y: Tensor) -> Tensor:
    """How many pairs of classes there are on average over all orders of the rows of y."""
    rows, a, b = n_x.sum(), n_x[:, None], n_y
    # of choosing the rows of a class of y among those without the class of x
    left = torch.lgamma((rows - a - b + 1).clamp(min=1))
    none = torch.lgamma(rows - a + 1) + torch.lgamma(rows - b + 1) - left - torch.lgamma(rows + 1)
    return (1 - none.exp().where(a + b <= rows, 0.0)).sum()


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
