"""Two variables and their mutual information: what is drawn, before it is transformed and named."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

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


def independent(x_dim: int, y_dim: int, noise: Noise, y_noise: Noise | None = None) -> Source:
    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        return noise(generator, (n, x_dim)), (y_noise or noise)(generator, (n, y_dim))

    return Source(x_dim, y_dim, 0.0, sample)
