"""Classes and numbers with atoms, and what they share: what is drawn, before it is transformed and named."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from . import truths
from .sources import Generator, Source


def clusters(positions: ArrayLike, spread: float, weights: ArrayLike | None = None, dim: int = 1) -> Source:
    """x = positions[k] + spread · e in each of dim coordinates, y the number of the k of all of them."""
    centers = np.array(positions, float)
    shares = np.full(len(centers), 1 / len(centers)) if weights is None else np.array(weights, float)

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        digits = generator.choice(len(centers), (n, dim), p=shares)
        return centers[digits] + spread * generator.standard_normal((n, dim)), _code(digits, len(centers))

    return Source(dim, 1, dim * truths.clusters_mi(shares, centers, spread), sample)


def rings(radii: ArrayLike, spread: float) -> Source:
    """x in the plane at the radius of its class y, give or take, at any angle."""
    line = clusters(radii, spread)

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        radius, y = line.sample(n, generator)
        angle = generator.uniform(0, 2 * np.pi, (n, 1))
        return np.hstack([radius * np.cos(angle), radius * np.sin(angle)]), y

    return line._replace(x_dim=2, sample=sample)


def overlapping_intervals(classes: int) -> Source:
    """y uniform on 0 to classes - 1 and x uniform on [y, y + 2] (Gao et al., 2017)."""

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        y = generator.integers(classes, size=n)
        return y[:, None] + 2 * generator.random((n, 1)), y

    return Source(1, 1, np.log(classes) - (classes - 1) * np.log(2) / classes, sample)


def parity(dim: int, flipped: float) -> Source:
    """y says whether an even number of x's coordinates is positive; flipped in so many rows."""

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        x = generator.standard_normal((n, dim))
        y = ((x > 0).sum(1) + (generator.random(n) < flipped)) % 2
        return x, y

    return Source(dim, 1, np.log(2) - truths.entropy_of([flipped, 1 - flipped]), sample)


def bins(edges: ArrayLike, noise: float) -> Source:
    """y is the bin of x + noise · e, x standard normal."""
    borders = np.array(edges, float)

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        x, e = generator.standard_normal((2, n, 1))
        return x, np.digitize(x[:, 0] + noise * e[:, 0], borders)

    return Source(1, 1, truths.bins_mi(borders, noise), sample)


def counts(zeros: float) -> Source:
    """x is exponential, y Poisson with rate x, and 0 in so many rows whatever x is (Gao et al., 2017)."""

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        x = generator.exponential(size=(n, 1))
        return x, np.where(generator.random(n) < zeros, 0, generator.poisson(x[:, 0]))

    return Source(1, 1, truths.zero_inflated_poisson_mi(zeros), sample)


def channel(shares: ArrayLike, error: float) -> Source:
    """y is the class x, or with probability error any class, drawn by the shares; both are classes."""
    weights = np.array(shares, float)

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        x, other = generator.choice(len(weights), (2, n), p=weights)
        return x, np.where(generator.random(n) < error, other, x)

    joint = (1 - error) * np.diag(weights) + error * np.outer(weights, weights)
    return Source(1, 1, truths.table_mi(joint), sample)


def rectified(rho: float, threshold: float = 0.0, dim: int = 1) -> Source:
    """x and y are correlated normals, what lies below the threshold replaced by it, in each of dim coordinates."""
    noise = np.sqrt(1 - rho**2)

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        x, e = generator.standard_normal((2, n, dim))
        return np.maximum(x, threshold), np.maximum(rho * x + noise * e, threshold)

    return Source(dim, dim, dim * truths.rectified_mi(rho, threshold), sample)


def gated(rho: float, open_share: float, dim: int = 1) -> Source:
    """x is exactly 0 unless a gate is open; then x and y are normals of correlation rho."""
    noise = np.sqrt(1 - rho**2)

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        x, e = generator.standard_normal((2, n, dim))
        return np.where(generator.random((n, dim)) < open_share, x, 0), rho * x + noise * e

    return Source(dim, dim, -dim * open_share * np.log(noise), sample)


def _code(digits: np.ndarray, base: int) -> np.ndarray:
    return digits @ base ** np.arange(digits.shape[1])
