"""Whether two arrays depend on one another at all: a test that is exact whatever their distributions."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import SupportsFloat

import numpy as np
import torch
from torch import Tensor

from disentangle.functional.kernels import double_centered, radial_kernel
from disentangle.information.pair import as_pair, refuse_other_order
from disentangle.information.samples import Samples, as_variable, unit_variance

__all__ = ["PermutationTest", "permutation_test"]

ROWS = 2000  # that HSIC uses at most: two kernel matrices of 32 MB
ROWS_GIVEN = 1000  # the same within classes, whose orders are looked at one by one
BLOCK = 64  # diagonals at a time, so that they stay in the cache


@dataclass(frozen=True)
class PermutationTest:
    """What a permutation test found.

    Attributes:
        p_value: The probability of a statistic at least as large if x and y were independent.
        statistic: The statistic of the rows as they were given.
        null_mean: Its mean over the permutations: what it is where there is nothing.
        permutations: How many permutations were drawn; the p-value cannot be below 1 / (1 + permutations).
        rows: How many rows the statistic used.

    Example:
        >>> print(PermutationTest(0.002, 0.051, 0.001, 500, 1000))
        p = 0.002 (statistic 0.051 against 0.001 under independence; 500 permutations of 1000 rows)
    """

    p_value: float
    statistic: float
    null_mean: float
    permutations: int
    rows: int

    def __str__(self) -> str:
        return (
            f"p = {self.p_value:.3g} (statistic {self.statistic:.3g} against {self.null_mean:.3g} under independence; "
            f"{self.permutations} permutations of {self.rows} rows)"
        )


def permutation_test(
    x: Samples,
    y: Samples,
    *,
    statistic: Callable[[Tensor, Tensor], SupportsFloat] | None = None,
    permutations: int = 500,
    classes: Collection[str] | None = None,
    groups: Samples | None = None,
    given: Samples | None = None,
    seed: int = 0,
) -> PermutationTest:
    r"""Tests whether x and y are independent, by comparing a statistic with its values after the rows of y are shuffled.

    With T the statistic and :math:`\pi_b` one of B random permutations,

    .. math:: p = \frac{1 + \#\{b : T(x, \pi_b y) \ge T(x, y)\}}{1 + B}

    Under independence :math:`p \le \alpha` happens with probability at most :math:`\alpha`, exactly, for every
    distribution and every statistic: no number of rows is too small, no tail too heavy. It only needs rows that are
    independent draws. Frames of one recording are not, nor are crops of one clip: name the recordings by `groups`, and one
    row of each is used, or p is too small. Rows that are copies of others are found and used once.

    A small p says that there is dependence, not how much. A large one says that this statistic saw none in these rows.

    **The statistic** is by default the Hilbert-Schmidt independence criterion, `disentangle.functional.hsic`, with Laplace
    kernels of median bandwidth on columns of unit variance. It sees every kind of dependence as rows are added; its power
    falls with the number of dimensions. A Gaussian kernel sees a little more of what is linear, and far less of what is fine
    (`benchmarks/independence_tests.py`). Of more than 2000 rows it uses 2000, drawn by `seed`. Its permutations shift the
    rows, in an order that is drawn, round by 1, 2, …: all shifts together take O(rows² log rows), half a second at 2000
    rows, by Fourier transforms of the diagonals of the kernel matrices.

    Any other statistic that is larger under dependence will do, such as
    `lambda x, y: nearest_neighbor_mutual_information(x, y)`. It is called 1 + B times on all rows.

    **Given a third variable** that is classes, such as the speaker, the rows of y are shuffled within each class, which tests
    whether x and y are independent where it is known: of two latents that both tell the speaker, whether they share anything
    else. HSIC is then that of what is left of them less their means in each class, of 1000 rows at most.

    References:
        | Gretton et al., A Kernel Statistical Test of Independence (NeurIPS 2007)
        | Phipson and Smyth, Permutation P-values Should Never Be Zero (2010), for the ones in p

    Arguments:
        x: `(rows, x_dim)`, or `(rows,)` of numbers or classes, on any device. Names, and whole numbers with five rows
            each, become one-hot columns.
        y: Likewise, row i belonging to row i of x.
        statistic: From x and y, float64 `(rows, dim)` on the CPU, to a number; HSIC by default.
        permutations: B. The p-value cannot be below 1 / (1 + B).
        classes: Which of "x" and "y" are classes, `["y"]` say or `[]`; told from their values if not given.
        groups: `(rows,)`, the same number or name for rows that are no independent draws of one another: recordings, or blocks
            of a time series, `numpy.arange(rows) // 100`.
        given: `(rows,)`, classes: of one another x and y may depend on it, and the test is of what they share beyond.
        seed: Draws the permutations, and the rows where not all are used.

    Returns:
        The p-value, the statistic, and its mean over the permutations.

    Raises:
        ValueError: Where x and y do not have the same number of rows, hold a value that is not finite,
            `permutations` is less than 1, no class of `given` has two rows, or the statistic is NaN.

    Example:
        >>> import torch
        >>> x, noise = torch.randn(2, 300, 1, generator=torch.Generator().manual_seed(0))
        >>> permutation_test(x, x**2 + noise).p_value  # uncorrelated, not independent
        0.001996007984031936
        >>> permutation_test(x, noise).p_value > 0.05
        True
    """
    if permutations < 1:
        raise ValueError(f"expected at least 1 permutation, got {permutations}")
    refuse_other_order({"x": x, "given": given})
    pair = as_pair(x=x, y=y, classes=classes, groups=groups, seed=seed)
    x, y, kept = pair.x.numbers, pair.y.numbers, pair.kept
    rng = np.random.default_rng(seed)
    most = ROWS if given is None else ROWS_GIVEN
    if statistic is None and len(x) > most:
        rows = np.sort(rng.choice(len(x), most, replace=False))
        x, y, kept = x[rows], y[rows], kept[rows]
    parts = [np.arange(len(x))] if given is None else _parts(given, pair.given, kept)
    if statistic is None and given is None:
        observed, null = _hsic(x, y, permutations, rng)
    else:
        of_order = _hsic_of_order(x, y, parts) if statistic is None else lambda order: statistic(x, y[order])
        observed = float(of_order(np.arange(len(x))))
        null = np.array([float(of_order(_shuffled(parts, len(x), rng))) for _ in range(permutations)])
    if math.isnan(observed) or np.isnan(null).any():
        raise ValueError(f"expected a statistic that is a number, got NaN for some of {1 + permutations} orders of y")
    # equal numbers must count as equal after rounding: orders of a discrete variable repeat themselves
    rounding = 1e-9 * null.std() if statistic is None else 0.0  # of a sum that is zero
    as_large = int(np.sum((null >= observed) | np.isclose(null, observed, rtol=1e-6, atol=rounding)))
    return PermutationTest((1 + as_large) / (1 + permutations), observed, float(null.mean()), permutations, len(x))


def _parts(given: Samples, rows: int, kept: np.ndarray) -> list[np.ndarray]:
    """Of the rows that are kept, the places of those of each class of `given`."""
    classes = as_variable("given", given, True).classes
    assert classes is not None
    if len(classes) != rows:
        raise ValueError(f"expected given as ({rows},), one for each row, got {len(classes)} rows")
    codes = classes.numpy()[kept]
    parts = [np.flatnonzero(codes == code) for code in np.unique(codes)]
    if len(parts) == len(codes):
        raise ValueError(
            f"expected given as classes with several rows, got {len(codes)} different values in {len(codes)} rows"
        )
    return parts


def _hsic_of_order(x: Tensor, y: Tensor, parts: list[np.ndarray]) -> Callable[[np.ndarray], Tensor]:
    """HSIC of x and y less their means in each part, as a function of the order of the rows of y."""
    x, y = x.clone(), y.clone()
    for part in parts:
        x[part] -= x[part].mean(0)
        y[part] -= y[part].mean(0)
    k, m = _centered_kernel(x), _centered_kernel(y)
    return lambda order: (k * m[order][:, order]).mean()


def _shuffled(parts: list[np.ndarray], rows: int, rng: np.random.Generator) -> np.ndarray:
    """An order of the rows in which each part has its own in a random order."""
    order = np.arange(rows)
    for part in parts:
        order[part] = rng.permutation(part)
    return order


def _hsic(x: Tensor, y: Tensor, permutations: int, rng: np.random.Generator) -> tuple[float, np.ndarray]:
    """HSIC of the rows as they are, and under so many orders of y.

    The orders are shifts: of the rows in an order that is drawn, and, where these are not enough, of more such orders of y.
    Under independence each member of these sets is as likely to be what was observed as any other: the test stays exact.
    """
    rows = len(x)
    order = torch.from_numpy(rng.permutation(rows))
    k, m = _centered_kernel(x[order]), _centered_kernel(y[order])
    values = [hsic_of_shifts(k, m)]
    while len(values) * rows <= permutations:
        order = torch.from_numpy(rng.permutation(rows))
        values.append(hsic_of_shifts(k, m[order][:, order]))
    observed, *others = torch.cat(values).tolist()
    return observed, rng.choice(others, permutations, replace=False)


def hsic_of_shifts(k: Tensor, m: Tensor) -> Tensor:
    r"""The mean of K times M whose rows and columns were shifted round by s, for every s: `(N,)`.

    A pair of entries at distance d of the diagonal stays at distance d, so each diagonal of K is correlated with the same
    one of M, for all s at once by Fourier transforms: O(N² log N) in all, where each order by itself takes O(N²).

    Arguments:
        k: K, `(N, N)`, symmetric.
        m: M, `(N, N)`, symmetric.

    Example:
        >>> k, m = (t + t.mT for t in torch.randn(2, 5, 5, dtype=torch.float64))
        >>> by_hand = torch.stack([(k * m.roll((s, s), (0, 1))).mean() for s in range(5)])
        >>> torch.allclose(hsic_of_shifts(k, m), by_hand)
        True
    """
    rows, furthest = len(k), len(k) // 2  # that at distance rows - d is the one at distance d
    k, m = (torch.cat([t, t[:, :furthest]], 1) for t in (k, m))
    spectrum = torch.zeros((), dtype=torch.complex128)
    for start in range(0, furthest + 1, BLOCK):
        block = min(BLOCK, furthest + 1 - start)
        of_k, of_m = (torch.fft.rfft(t.as_strided((block, rows), (1, rows + furthest + 1), start)) for t in (k, m))
        distances = torch.arange(start, start + block)
        alone = (distances == 0) | (2 * distances == rows)
        spectrum = spectrum + (of_k * of_m.conj() * (2 - alone.to(k.dtype))[:, None]).sum(0)
    return torch.fft.irfft(spectrum, rows) / rows**2


def _centered_kernel(x: Tensor) -> Tensor:
    columns = torch.from_numpy(unit_variance(x.numpy()))
    if columns.shape[1] == 0:
        return torch.zeros(len(x), len(x), dtype=x.dtype)  # of a constant
    return double_centered(radial_kernel(columns, None, kernel="laplace"), False)
