"""Two variables and their mutual information: what is drawn, before it is transformed and named."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from . import truths

Generator = np.random.Generator
Map = Callable[[np.ndarray], np.ndarray]
Noise = Callable[[Generator, tuple[int, int]], np.ndarray]


class Source(NamedTuple):
    """`sample(n, generator)` gives x (n, x_dim) and y (n, y_dim), row by row from a joint law with I(x; y) = mi nats."""

    x_dim: int
    y_dim: int
    mi: float
    sample: Callable[[int, Generator], tuple[np.ndarray, np.ndarray]]


def gaussian(dim: int, mi: float) -> Source:
    """dim independent pairs of equal correlation: rho² = 1 - exp(-2 mi / dim)."""
    noise = np.exp(-mi / dim)
    rho = np.sqrt(-np.expm1(-2 * mi / dim))

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        x, e = generator.standard_normal((2, n, dim))
        return x, rho * x + noise * e

    return Source(dim, dim, mi, sample)


def dense(x_dim: int, y_dim: int, rho: float = 0.5) -> np.ndarray:
    """Correlations, all of them rho."""
    size = x_dim + y_dim
    return np.full((size, size), rho) + (1 - rho) * np.eye(size)


def sparse(x_dim: int, y_dim: int, rho: float = 0.8, pairs: int = 2) -> np.ndarray:
    """Correlations: rho between x_i and y_i for the first pairs, zero elsewhere. No pairs: the identity."""
    correlation = np.eye(x_dim + y_dim)
    first = np.arange(pairs)
    correlation[first, x_dim + first] = correlation[x_dim + first, first] = rho
    return correlation


def multinormal(covariance: np.ndarray, x_dim: int) -> Source:
    factor = np.linalg.cholesky(covariance)

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        z = generator.standard_normal((n, len(factor))) @ factor.T
        return z[:, :x_dim], z[:, x_dim:]

    return Source(x_dim, len(covariance) - x_dim, truths.gaussian_mi(covariance, x_dim), sample)


def student(dispersion: np.ndarray, x_dim: int, dof: float) -> Source:
    """Multivariate Student-t: a multinormal over the root of one chi-square / dof a row, which x and y share."""
    normal = multinormal(dispersion, x_dim)

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        x, y = normal.sample(n, generator)
        scale = np.sqrt(generator.chisquare(dof, (n, 1)) / dof)
        return x / scale, y / scale

    return normal._replace(mi=truths.student_mi(dispersion, x_dim, dof), sample=sample)


def additive_uniform(width: float, dim: int = 1) -> Source:
    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        x = generator.uniform(size=(n, dim))
        return x, x + generator.uniform(-width, width, (n, dim))

    return Source(dim, dim, dim * truths.additive_uniform_mi(width), sample)


def random_sign(rho: float, dim: int = 1) -> Source:
    """y = s (rho x + (1 - rho²)^½ e) with one random sign s a row: neither x nor s y is told by a correlation."""
    noise = np.sqrt(1 - rho**2)

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        x, e = generator.standard_normal((2, n, dim))
        return x, generator.choice([-1.0, 1.0], (n, 1)) * (rho * x + noise * e)

    return Source(dim, dim, truths.random_sign_mi(rho, dim), sample)


def regression(mean: Map, noise: float) -> Source:
    """y = mean(x) + noise · e, x and e standard normal."""
    nodes = np.linspace(-9, 9, 2001)
    weights = truths.normal_density(nodes) * (nodes[1] - nodes[0])

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        x, e = generator.standard_normal((2, n, 1))
        return x, mean(x) + noise * e

    return Source(1, 1, truths.regression_mi(weights, mean(nodes), np.full_like(nodes, noise)), sample)


def ring(noise: float) -> Source:
    """x = cos θ + noise · e and y = sin θ + noise · e', the angle uniform."""

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        angle = generator.uniform(0, 2 * np.pi, (n, 1))
        e = noise * generator.standard_normal((2, n, 1))
        return np.cos(angle) + e[0], np.sin(angle) + e[1]

    return Source(1, 1, truths.ring_mi(noise), sample)


def product(dim: int = 1) -> Source:
    """y = x e: x is the scale of y. One factor x, dim coordinates of y."""

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        x = generator.standard_normal((n, 1))
        return x, x * generator.standard_normal((n, dim))

    return Source(1, dim, truths.scale_mi(truths.log_radius_density(truths.LOG_SCALES, 1), dim), sample)


def volatility(strength: float, dim: int = 1) -> Source:
    """y = exp(strength · x) e: x is the logarithm of the scale of y."""

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        x = generator.standard_normal((n, 1))
        return x, np.exp(strength * x) * generator.standard_normal((n, dim))

    log_scale = truths.normal_density(truths.LOG_SCALES, scale=strength)
    return Source(1, dim, truths.scale_mi(log_scale, dim), sample)


def proportional_noise(noise: float) -> Source:
    """y = x (1 + noise · e), x ~ U(1, 2)."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    x_nodes = 1.5 + nodes / 2

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        x = generator.uniform(1, 2, (n, 1))
        return x, x * (1 + noise * generator.standard_normal((n, 1)))

    return Source(1, 1, truths.regression_mi(weights / 2, x_nodes, noise * x_nodes), sample)


def mixture(weights: ArrayLike, means: ArrayLike, covariances: ArrayLike) -> Source:
    """A mixture of k Gaussians in the plane, whose axes are x and y: weights (k,), means (k, 2), covariances (k, 2, 2)."""
    shares, centers = np.array(weights, float), np.array(means, float)
    spreads = np.broadcast_to(np.array(covariances, float), (len(shares), 2, 2))
    factors = np.linalg.cholesky(spreads)

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        which = generator.choice(len(shares), n, p=shares)
        z = centers[which] + np.einsum("nij,nj->ni", factors[which], generator.standard_normal((n, 2)))
        return z[:, :1], z[:, 1:]

    return Source(1, 1, truths.mixture_mi(shares, centers, spreads), sample)


def independent(x_dim: int, y_dim: int, noise: Noise, y_noise: Noise | None = None) -> Source:
    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        return noise(generator, (n, x_dim)), (y_noise or noise)(generator, (n, y_dim))

    return Source(x_dim, y_dim, 0.0, sample)
