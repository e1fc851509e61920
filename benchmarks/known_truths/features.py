"""Variables as encoders, questionnaires and sensors give them: whole, rounded, few dimensions in many columns, directions."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import digamma, entr, i0e, i1e, ndtr, softmax
from scipy.stats import poisson

from . import truths
from .sources import Generator, Map, Source, gaussian, independent
from .transforms import mapped, margins

# -- whole and rounded numbers


def bits(dim: int, flipped: float, share: float = 0.5) -> Source:
    """x is bits, each 1 in that share of rows, and y the same with so many flipped: multi-hot where the share is small."""
    table = np.array([[(1 - share) * (1 - flipped), (1 - share) * flipped], [share * flipped, share * (1 - flipped)]])

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        x = generator.random((n, dim)) < share
        return x.astype(float), (x ^ (generator.random((n, dim)) < flipped)).astype(float)

    return Source(dim, dim, dim * truths.table_mi(table), sample)


def independent_bits(dim: int, share: float) -> Source:
    return independent(dim, dim, lambda generator, shape: (generator.random(shape) < share).astype(float))


def cut(rho: float, x_edges: ArrayLike, y_edges: ArrayLike, names: tuple[Map, Map], dim: int = 1) -> Source:
    """Normals of correlation rho, each known by the interval between edges that it is in, in each of dim coordinates."""
    of_x, of_y = np.array(x_edges, float), np.array(y_edges, float)

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        x, y = normals(rho, n, dim, generator)
        return names[0](np.digitize(x, of_x)), names[1](np.digitize(y, of_y))

    return Source(dim, dim, dim * truths.table_mi(_table(rho, of_x, of_y)), sample)


def ratings(rho: float, edges: ArrayLike = (-1.2, -0.4, 0.4, 1.2), dim: int = 1) -> Source:
    """Answers from 1 to 5."""

    def answer(interval: np.ndarray) -> np.ndarray:
        return interval + 1.0

    return cut(rho, edges, edges, (answer, answer), dim)


def rounded(rho: float, x_step: float, y_step: float, dim: int = 1) -> Source:
    """Normals of correlation rho, rounded to multiples of a step."""

    def edges(step: float) -> np.ndarray:
        return (np.arange(np.floor(-8 / step), np.ceil(8 / step)) + 0.5) * step

    def value(step: float) -> Map:
        return lambda interval: (interval + np.floor(-8 / step)) * step

    return cut(rho, edges(x_step), edges(y_step), (value(x_step), value(y_step)), dim)


def normals(rho: float, n: int, dim: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
    x, e = generator.standard_normal((2, n, dim))
    return x, rho * x + np.sqrt(1 - rho**2) * e


def shared_counts(shared: float, own: float) -> Source:
    """x = a + b and y = a + c: Poisson counts, a of the rate that is shared, b and c each of their own."""
    of_shared, of_own = (np.arange(int(rate + 12 * np.sqrt(rate) + 12)) for rate in (shared, own))
    alone = poisson.pmf(of_own, own)
    table = np.zeros((len(of_shared) + len(of_own),) * 2)
    for a, share in zip(of_shared, poisson.pmf(of_shared, shared), strict=True):
        table[a : a + len(of_own), a : a + len(of_own)] += share * np.outer(alone, alone)

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        a, b, c = (generator.poisson(rate, (n, 1)).astype(float) for rate in (shared, own, own))
        return a + b, a + c

    return Source(1, 1, truths.table_mi(table), sample)


def pixels(levels: int, noise: int) -> Source:
    """x is a whole number below levels, and y that plus one from -noise to noise, round in a circle."""

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        x = generator.integers(levels, size=(n, 1))
        return x.astype(float), ((x + generator.integers(-noise, noise + 1, (n, 1))) % levels).astype(float)

    return Source(1, 1, float(np.log(levels / (2 * noise + 1))), sample)


def _table(rho: float, x_edges: np.ndarray, y_edges: np.ndarray) -> np.ndarray:
    """Of intervals of two normals, by Gauss-Legendre in each of those of x."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    rows = []
    for low, high in pairwise([-9.0, *x_edges, 9.0]):
        x = (low + high + (high - low) * nodes) / 2
        below = ndtr((np.array([-np.inf, *y_edges, np.inf]) - rho * x[:, None]) / np.sqrt(1 - rho**2))
        rows.append((weights * truths.normal_density(x)) @ np.diff(below, axis=1) * (high - low) / 2)
    table = np.array(rows)
    return table / table.sum()


# -- few dimensions in many columns


def encoded(dim: int, mi: float, x_units: int, y_units: int, activation: Map) -> Source:
    """Gaussians of dim dimensions, each mixed at random into more units, which have an activation."""
    draw = np.random.default_rng(0)
    of_x, of_y = (draw.standard_normal((dim, units)) / np.sqrt(dim) for units in (x_units, y_units))
    source = mapped(gaussian(dim, mi), lambda x: activation(x @ of_x), lambda y: activation(y @ of_y))
    return source._replace(x_dim=x_units, y_dim=y_units)


def linear(z: np.ndarray) -> np.ndarray:
    return z


def relu(z: np.ndarray) -> np.ndarray:
    return np.maximum(z, 0)


def half_precision(z: np.ndarray) -> np.ndarray:
    return z.astype(np.float16).astype(float)


# -- directions and shares


def circle(concentration: float) -> Source:
    """A direction in the plane, and the same in von Mises noise, as cosine and sine."""
    log_normalizer = np.log(i0e(concentration)) + concentration
    mi = float(concentration * i1e(concentration) / i0e(concentration) - log_normalizer)

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        angle = generator.uniform(-np.pi, np.pi, n)
        x, y = (np.stack([np.cos(t), np.sin(t)], 1) for t in (angle, angle + generator.vonmises(0, concentration, n)))
        return x, y

    return Source(2, 2, mi, sample)


def hours(concentration: float) -> Source:
    """The same as hours from 0 to 24, that begin again at midnight."""

    def hour(z: np.ndarray) -> np.ndarray:
        return 12 + np.arctan2(z[:, 1:], z[:, :1]) * 12 / np.pi

    return mapped(circle(concentration), hour, hour)._replace(x_dim=1, y_dim=1)


def sphere(concentration: float) -> Source:
    """A direction in space, and the same in von Mises-Fisher noise."""
    log_sinh = concentration + np.log1p(-np.exp(-2 * concentration)) - np.log(2)
    mi = float(concentration / np.tanh(concentration) - 1 + np.log(concentration) - log_sinh)

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        x = unit_length(generator, (n, 3))
        u = generator.random((n, 1))
        along = 1 + np.log(u + (1 - u) * np.exp(-2 * concentration)) / concentration
        across = generator.standard_normal((n, 3))
        across -= (across * x).sum(1, keepdims=True) * x
        across /= np.linalg.norm(across, axis=1, keepdims=True)
        return x, along * x + np.sqrt(np.clip(1 - along**2, 0, None)) * across

    return Source(3, 3, mi, sample)


def unit_length(generator: Generator, shape: tuple[int, int]) -> np.ndarray:
    z = generator.standard_normal(shape)
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def shares(dim: int, mi: float, gain: float = 1.0) -> Source:
    """Softmax on both sides, of logits that are alike: only their differences are left, dim - 1 of them."""
    return margins(gaussian(dim, mi * dim / (dim - 1)), lambda z: softmax(gain * z, 1))._replace(mi=mi)


# -- classes


def class_of_shares(alpha: ArrayLike) -> Source:
    """x is Dirichlet, y a class that is drawn by it."""
    a = np.array(alpha, float)
    total = a.sum()
    given = digamma(total + 1) - float(a / total @ digamma(a + 1))  # the entropy of y where x is known, on average

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        x = generator.dirichlet(a, n)
        return x, (x.cumsum(1) < generator.random((n, 1))).sum(1).clip(max=len(a) - 1)

    return Source(len(a), 1, float(entr(a / total).sum()) - given, sample)


def largest_of(dim: int, classes: int, wrong: float) -> Source:
    """x has unit length, y says which of its first coordinates is the largest; in so many rows it is any class."""

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        x = unit_length(generator, (n, dim))
        other, drawn = generator.integers(classes, size=n), generator.random(n) < wrong
        return x, np.where(drawn, other, x[:, :classes].argmax(1))

    return Source(dim, 1, truths.table_mi(_channel(np.full(classes, 1 / classes), wrong)), sample)


def far_clusters(weights: ArrayLike, dim: int, wrong: float) -> Source:
    """x is one of clusters, 12 from the middle, y its number; in so many rows it is any, drawn by the weights."""
    of_class = np.array(weights, float)
    centers = 12 * unit_length(np.random.default_rng(0), (len(of_class), dim))

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        cluster, other = generator.choice(len(of_class), (2, n), p=of_class)
        y = np.where(generator.random(n) < wrong, other, cluster)
        return centers[cluster] + generator.standard_normal((n, dim)), y

    return Source(dim, 1, truths.table_mi(_channel(of_class, wrong)), sample)


def _channel(weights: np.ndarray, error: float) -> np.ndarray:
    return (1 - error) * np.diag(weights) + error * np.outer(weights, weights)


# -- the families


def whole_numbers_family() -> dict[str, Source]:
    return {
        "8 bits, flipped 0.1": bits(8, 0.1),
        "16 bits, flipped 0.2": bits(16, 0.2),
        "20 labels on in a tenth, flipped 0.02": bits(20, 0.02, 0.1),
        "20 labels on in a tenth, independent": independent_bits(20, 0.1),
        "ratings 0.7": ratings(0.7),
        "ratings of 6 items 0.5": ratings(0.5, dim=6),
        "ratings, mostly the least, 0.7": ratings(0.7, (0.8, 1.3, 1.7, 2.1)),
        "counts that share 5 of 7": shared_counts(5, 2),
        "counts that share 50 of 60": shared_counts(50, 10),
        "pixels of 256 levels, noise 10": pixels(256, 10),
    }


def rounded_family() -> dict[str, Source]:
    return {
        "rounded to 0.1, 0.9": rounded(0.9, 0.1, 0.1),
        "rounded to 1, 0.9": rounded(0.9, 1, 1),
        "rounded to 0.5, 0.9 d=3": rounded(0.9, 0.5, 0.5, 3),
        "x rounded to 1, y to 0.01, 0.8": rounded(0.8, 1, 0.01),
        "rounded to 0.1, independent d=3": rounded(0, 0.1, 0.1, 3),
        "half precision of gaussian d=4 mi=2": margins(gaussian(4, 2), half_precision),
    }


def low_dimension_family() -> dict[str, Source]:
    return {
        "3 dimensions in 16 units": encoded(3, 1.5, 16, 16, linear),
        "5 dimensions in 64 units, independent": encoded(5, 0, 64, 64, linear),
        "5 dimensions in 64 units": encoded(5, 3, 64, 64, linear),
        "3 dimensions in 64 tanh units": encoded(3, 2, 64, 64, np.tanh),
        "3 dimensions in 64 and 8 tanh units": encoded(3, 2, 64, 8, np.tanh),
        "4 dimensions in 64 rectified units": encoded(4, 2, 64, 64, relu),
    }


def directions_family() -> dict[str, Source]:
    return {
        "circle, concentration 5": circle(5),
        "hours, concentration 5": hours(5),
        "sphere, concentration 20": sphere(20),
        "independent unit vectors 8x8": independent(8, 8, unit_length),
        "softmax of 10 logits": shares(10, 2),
        "confident softmax of 4 logits": shares(4, 1, 5),
    }


def classes_of_features_family() -> dict[str, Source]:
    of_rank = 1 / np.arange(1, 101)
    return {
        "shares of 10 and a class by them": class_of_shares(np.full(10, 0.3)),
        "4 classes of unit vectors of 32": largest_of(32, 4, 0.2),
        "20 clusters in 64 dimensions": far_clusters(np.full(20, 0.05), 64, 0.2),
        "100 clusters in 32 dimensions, few of them often": far_clusters(of_rank / of_rank.sum(), 32, 0.2),
        "1 % of the rows in 16 dimensions": far_clusters([0.99, 0.01], 16, 0.2),
        "shares of 3 and a class by them": class_of_shares(np.ones(3)),
    }


FEATURES: dict[str, Callable[[], dict[str, Source]]] = {
    "whole numbers": whole_numbers_family,
    "rounded": rounded_family,
    "low dimension": low_dimension_family,
    "directions": directions_family,
    "classes of features": classes_of_features_family,
}
