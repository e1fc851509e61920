"""Functions of the distances between rows: zero in the population exactly where x and y are independent.

Both need the N x N distances within x and within y: O(N²·d) operations and O(N²) memory. These come from inner products,
so in float32 a distance below about a thousandth of the rows' own distance from the middle counts as zero.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from disentangle.functional.scaling import scaled, shifted

__all__ = ["distance_correlation", "hsic"]


def hsic(
    x: Float[Tensor, "batch x_dim"],
    y: Float[Tensor, "batch y_dim"],
    *,
    bandwidth: float | tuple[float, float] | None = None,
    unbiased: bool = False,
) -> Float[Tensor, ""]:
    r"""The Hilbert-Schmidt independence criterion of a batch, with Gaussian kernels.

    With :math:`K_{ij} = \exp(-\|x_i - x_j\|^2 / 2\sigma_x^2)`, L likewise from y, and :math:`H = I - \frac{1}{N}11^\top`,

    .. math:: \frac{1}{N^2} \operatorname{tr}(K H L H)

    In the population it is zero if and only if x and y are independent. This batch estimate is never negative, and of order
    1/N where they are independent. The unbiased one,

    .. math:: \frac{1}{N(N-3)}\left( \operatorname{tr}(\tilde K \tilde L)
              + \frac{1^\top \tilde K 1 \, 1^\top \tilde L 1}{(N-1)(N-2)} - \frac{2}{N-2} 1^\top \tilde K \tilde L 1 \right)

    (the tilde sets the diagonal to zero), then has mean zero for given bandwidths, so it is negative half of the time.

    **The bandwidth.** By default each variable's is the median distance between two of its rows, taken without gradient;
    where most rows coincide, the mean of the distances that are not zero. The value then does not depend on the unit of
    either. With many more features than rows all distances are alike, and the biased value says little.

    References:
        | Gretton et al., Measuring Statistical Dependence with Hilbert-Schmidt Norms (ALT 2005), with 1/N² for 1/(N-1)²
        | Song et al., Feature Selection via Dependence Maximization (JMLR 2012), eq. 4

    Arguments:
        x: N samples, `(N, x_dim)`.
        y: N samples, `(N, y_dim)`, row i drawn together with row i of x.
        bandwidth: :math:`\sigma` of both kernels, or :math:`(\sigma_x, \sigma_y)`, in the units of x and y.
        unbiased: Whether to take the unbiased estimate.

    Returns:
        The criterion, `()`, without a unit. It is no information in nats.

    Raises:
        ValueError: If a bandwidth is not positive, or if the unbiased estimate has fewer than 4 rows.

    Example:
        >>> import torch
        >>> x = torch.linspace(-1, 1, 100)[:, None]
        >>> hsic(x, x**2) > hsic(x, torch.randn(100, 1))  # uncorrelated, but not independent
        tensor(True)
    """
    _check_rows(x, unbiased, "unbiased HSIC")
    widths = bandwidth if isinstance(bandwidth, tuple) else (bandwidth, bandwidth)
    if any(width is not None and width <= 0 for width in widths):
        raise ValueError(f"expected a positive bandwidth, got {bandwidth}")
    with torch.autocast(x.device.type, enabled=False):
        x_kernel, y_kernel = gaussian_kernel(x, widths[0]), gaussian_kernel(y, widths[1])
        return _product(double_centered(x_kernel, unbiased), double_centered(y_kernel, unbiased), unbiased)


def distance_correlation(
    x: Float[Tensor, "batch x_dim"],
    y: Float[Tensor, "batch y_dim"],
    *,
    unbiased: bool = False,
) -> Float[Tensor, ""]:
    r"""The distance correlation of a batch.

    With :math:`A_{ij}` the distance of rows i and j of x, minus the means of its row and of its column, plus the mean of
    all, and B likewise from y,

    .. math:: R = \sqrt{\frac{\langle A, B\rangle}{\sqrt{\langle A, A\rangle \langle B, B\rangle}}}

    R lies in [0, 1]. In the population it is zero if and only if x and y are independent, provided that both have a mean;
    it is 1 where y is a scaled rotation of x, plus a constant. Units and offsets do not change it. Over a batch it is too
    large, the more so the more features there are: with many more features than rows it is near 1 for independent ones.

    The bias-corrected one is :math:`R^2`, not R: the same ratio, without the root, of unbiased estimates. It is about zero
    where x and y are independent, whatever their sizes, and can be negative.

    Where x or y is constant both are 0, with gradient 0.

    References:
        | Székely et al., Measuring and Testing Dependence by Correlation of Distances (Annals of Statistics 2007), eq. 2.8
        | Székely and Rizzo, The distance correlation t-test of independence in high dimension (JMVA 2013)
        | Székely and Rizzo, Partial distance correlation with methods for dissimilarities (Annals of Statistics 2014), for
          the form of the bias-corrected one that is computed here

    Arguments:
        x: N samples, `(N, x_dim)`.
        y: N samples, `(N, y_dim)`, row i drawn together with row i of x.
        unbiased: Whether to take the bias-corrected :math:`R^2` in place of R.

    Returns:
        R, or the bias-corrected :math:`R^2`, `()`.

    Raises:
        ValueError: If the bias-corrected one has fewer than 4 rows.

    Example:
        >>> import torch
        >>> x = torch.randn(50, 3)
        >>> round(distance_correlation(x, 2 * x.flip(1) + 7).item(), 4)
        1.0
    """
    _check_rows(x, unbiased, "bias-corrected distance correlation")
    with torch.autocast(x.device.type, enabled=False):
        a, b = (double_centered(_sqrt(_squared_distances(t)[0]), unbiased) for t in (x, y))
        norms = _sqrt(_product(a, a, unbiased)) * _sqrt(_product(b, b, unbiased))
        squared = _product(a, b, unbiased) / torch.where(norms > 0, norms, 1.0)
        return squared if unbiased else _sqrt(squared)


def _check_rows(x: Tensor, unbiased: bool, name: str) -> None:
    if unbiased and len(x) < 4:
        raise ValueError(f"{name} needs at least 4 rows, got {len(x)}")


def _squared_distances(x: Tensor) -> tuple[Tensor, Tensor]:
    """The squared distances between the rows of x over the square of a scale, `(N, N)`, and that scale.

    Rows that cannot be told apart after rounding have distance zero, with gradient zero.
    """
    x, scale = scaled(shifted(x))
    products = x @ x.T
    squares = products.diagonal()
    sums = squares[:, None] + squares
    distances = sums - 2 * products
    return torch.where(distances > 8 * torch.finfo(x.dtype).eps * sums, distances, 0.0), scale


def gaussian_kernel(x: Tensor, bandwidth: float | None) -> Tensor:
    """The Gaussian kernel of all pairs of rows minus one, `(N, N)`, which centring takes out.

    Its diagonal is exactly zero, and a large bandwidth does not round everything to one.
    """
    distances, scale = _squared_distances(x)
    inverse = _median(distances.detach()).rsqrt() if bandwidth is None else scale / bandwidth
    return torch.expm1(
        -0.5 * distances * inverse.clamp(max=1e9).square()
    )  # a bandwidth below rounding: 1 - K is 0 or 1


def _median(distances: Tensor) -> Tensor:
    """The median over pairs of rows, or if it is zero the mean of those that are not, or if there are none 1."""
    n = len(distances)
    if n < 2:
        return distances.new_ones(())
    i, j = torch.triu_indices(n, n, 1, device=distances.device)
    pairs = distances[i, j]
    median = pairs.median()
    mean = (pairs.sqrt().sum() / (pairs > 0).sum().clamp(min=1)).square()
    return torch.where(median > 0, median, torch.where(mean > 0, mean, 1.0))


def double_centered(m: Tensor, unbiased: bool) -> Tensor:
    """`m`, `(N, N)`, symmetric with a zero diagonal, such that its rows and columns have mean zero.

    The unbiased form has means of zero over the entries off the diagonal, which is left zero ("U-centring"). `_product` of
    two of these is the unbiased formula of `hsic`.
    """
    n = len(m)
    if not unbiased:
        rows = m.mean(1)
        return m - rows[:, None] - rows + rows.mean()
    rows = m.sum(1) / (n - 2)
    centered = m - rows[:, None] - rows + rows.sum() / (n - 1)
    return centered - centered.diagonal().diag()


def _product(a: Tensor, b: Tensor, unbiased: bool) -> Tensor:
    n = len(a)
    return (a * b).sum() / (n * (n - 3)) if unbiased else (a * b).mean()


def _sqrt(t: Tensor) -> Tensor:
    """The square root, with gradient zero where t is zero, and zero where t was rounded below it."""
    positive = t > 0
    return torch.where(positive, torch.where(positive, t, 1.0).sqrt(), 0.0)
