"""Dependence apart from margins: ranks, and the Gaussian and Student copulas fitted to them."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from disentangle.information.gaussian import wishart_bias

__all__ = ["DEGREES_OF_FREEDOM", "EllipticalCopula", "log_density_ratios", "quantiles", "uniform_ranks"]

DEGREES_OF_FREEDOM = (1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 15.0, math.inf)  # the last one is the Gaussian
RIDGE = 1e-9  # keeps repeated columns from dividing by zero
LARGEST = 1 - 1e-9  # squared correlation that scores can be computed with


def uniform_ranks(matrix: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """The ranks of each column on (0, 1), `(rows, dim)` float64; constant columns are left out.

    Equal values share the mean of their ranks, or have them in an order that the generator draws: then every column is
    uniform, and a fit to it is not misled by atoms.

    Example:
        >>> uniform_ranks(torch.tensor([[3.0, 1.0], [9.0, 1.0]], dtype=torch.float64))
        tensor([[0.2500],
                [0.7500]], dtype=torch.float64)
    """
    from scipy.stats import rankdata

    varies = matrix.amax(0) > matrix.amin(0)
    if generator is None:
        ranks = rankdata(matrix[:, varies].numpy(), axis=0)
    else:
        order = torch.rand(len(matrix), int(varies.sum()), generator=generator).argsort(
            0
        )  # another one for each column
        ranks = np.empty(order.shape)
        shuffled = rankdata(matrix[:, varies].gather(0, order).numpy(), method="ordinal", axis=0)
        np.put_along_axis(ranks, order.numpy(), shuffled, axis=0)
    return torch.from_numpy((ranks - 0.5) / len(matrix))


def quantiles(ranks: Tensor, degrees_of_freedom: float) -> Tensor:
    """The values that standard normal or Student margins have at these ranks, in the shape of `ranks`."""
    from scipy.special import ndtri, stdtrit

    values = ranks.numpy()
    return torch.from_numpy(ndtri(values) if math.isinf(degrees_of_freedom) else stdtrit(degrees_of_freedom, values))


class EllipticalCopula:
    r"""A Gaussian or Student distribution of (x, y), in canonical coordinates, and its log density ratio.

    With :math:`u = A^\top x`, :math:`v = B^\top y` uncorrelated within, and correlated with :math:`r_k` in the k-th
    coordinate only, :math:`\nu` degrees of freedom, p and q dimensions and
    :math:`Q = |u|^2 + |v|^2 + \sum_k [r_k^2(u_k^2 + v_k^2) - 2 r_k u_k v_k] / (1 - r_k^2)`,

    .. math:: \log\frac{p(x, y)}{p(x)p(y)} = c - \tfrac12\sum_k\log(1 - r_k^2)
              - \tfrac{\nu+p+q}2\log(1 + \tfrac Q\nu) + \tfrac{\nu+p}2\log(1 + \tfrac{|u|^2}\nu)
              + \tfrac{\nu+q}2\log(1 + \tfrac{|v|^2}\nu)

    The scatter is the maximum-likelihood one at this :math:`\nu`. The correlations that enter are shrunk by what as many
    independent rows would show.

    Arguments:
        x: `(rows, p)` float64, margins as `quantiles` gives them.
        y: `(rows, q)`.
        degrees_of_freedom: :math:`\nu`; infinity for the Gaussian.
    """

    def __init__(self, x: Tensor, y: Tensor, degrees_of_freedom: float):
        (rows, p), q = x.shape, y.shape[1]
        scatter = _scatter(torch.cat([x, y], 1), degrees_of_freedom)
        of_x, of_y = (_cholesky(block) for block in (scatter[:p, :p], scatter[p:, p:]))
        between = torch.linalg.solve_triangular(of_x, scatter[:p, p:], upper=False)
        between = torch.linalg.solve_triangular(of_y, between.mT, upper=False).mT
        a, correlations, b = torch.linalg.svd(between)
        self.to_u = torch.linalg.solve_triangular(of_x.mT, a, upper=True)
        self.to_v = torch.linalg.solve_triangular(of_y.mT, b.mT, upper=True)
        self.p, self.q, self.degrees_of_freedom = p, q, degrees_of_freedom
        self.correlations = correlations.clamp(max=math.sqrt(LARGEST))
        noise = min(max(p, q) / rows, 0.9)
        self.squares = ((self.correlations.square() - noise) / (1 - noise)).clamp(0, LARGEST)

    def coordinates(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The canonical coordinates of rows, `(rows, p)` and `(rows, q)`."""
        return x @ self.to_u, y @ self.to_v

    def scores(self, u: Tensor, v: Tensor) -> Tensor:
        """The log density ratio of all pairs of canonical coordinates, `(N, p)` and `(M, q)`: `(N, M)`."""
        return log_density_ratios(u, v, self.squares.to(u), self.degrees_of_freedom)

    def information(self, rows: int) -> float:
        """The mutual information of the fitted distribution in nats, less the bias of correlations from so many rows."""
        p, q, nu = self.p, self.q, self.degrees_of_freedom
        value = float(-0.5 * torch.log1p(-self.correlations.square()).sum()) - wishart_bias(rows, p, q)
        return value if math.isinf(nu) else value + _radial(nu, p) + _radial(nu, q) - _radial(nu, p + q)


def log_density_ratios(u: Tensor, v: Tensor, squares: Tensor, nu: float) -> Tensor:
    """The log density ratio of `EllipticalCopula` for all pairs of rows, by the squares of its correlations.

    Arguments:
        u: `(..., N, p)` canonical coordinates.
        v: `(..., M, q)`.
        squares: `(..., min(p, q))`.
        nu: The degrees of freedom.

    Returns:
        `(..., N, M)`.
    """
    p, q, k = u.shape[-1], v.shape[-1], squares.shape[-1]
    weight = squares / (1 - squares)
    a, b = u[..., :k], v[..., :k]
    of_a, of_b = ((side.square() @ weight[..., None]) for side in (a, b))  # (..., N, 1), (..., M, 1)
    products = (a * (weight / squares.sqrt().clamp(min=1e-12)).unsqueeze(-2)) @ b.mT
    determinant = -0.5 * torch.log1p(-squares).sum(-1)[..., None, None]
    if math.isinf(nu):
        return products.add_((determinant - 0.5 * of_a) - 0.5 * of_b.mT)
    of_u, of_v = u.square().sum(-1, keepdim=True), v.square().sum(-1, keepdim=True)
    total = products.mul_(-2).add_((of_a + of_u) + (of_b + of_v).mT).clamp_(min=0)
    gammas = math.lgamma((nu + p + q) / 2) + math.lgamma(nu / 2) - math.lgamma((nu + p) / 2) - math.lgamma((nu + q) / 2)
    of_rows = gammas + determinant + (nu + p) / 2 * torch.log1p(of_u / nu)
    of_columns = (nu + q) / 2 * torch.log1p(of_v / nu).mT
    return total.div_(nu).log1p_().mul_(-(nu + p + q) / 2).add_(of_rows + of_columns)


def _radial(nu: float, d: int) -> float:
    """The entropy of a Student vector of d dimensions and unit scatter, but for terms that are linear in d."""
    half = torch.tensor((nu + d) / 2, dtype=torch.float64), torch.tensor(nu / 2, dtype=torch.float64)
    return (
        math.lgamma(nu / 2) - math.lgamma((nu + d) / 2) + float((nu + d) / 2 * (half[0].digamma() - half[1].digamma()))
    )


def _scatter(z: Tensor, nu: float) -> Tensor:
    """The scatter matrix around 0: second moments, or the Student likelihood's fixed point (Kent, Tyler and Vardi 1994)."""
    rows, d = z.shape
    if math.isinf(nu):
        return z.mT @ z / rows
    scatter = torch.eye(d, dtype=z.dtype)
    for _ in range(20):
        distances = torch.linalg.solve_triangular(_cholesky(scatter), z.mT, upper=False).square().sum(0)
        weights = (nu + d) / (nu + distances)
        scatter = (z.mT * weights) @ z / weights.sum()  # dividing by the rows has the same fixed point, far more slowly
    return scatter


def _cholesky(scatter: Tensor) -> Tensor:
    return torch.linalg.cholesky(
        scatter + RIDGE * scatter.diagonal().mean() * torch.eye(len(scatter), dtype=scatter.dtype)
    )
