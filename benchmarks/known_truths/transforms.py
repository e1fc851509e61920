"""What leaves mutual information as it is: injective maps of x and of y, and coordinates of pure noise."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from .sources import Generator, Map, Noise, Source


def mapped(source: Source, x: Map | None = None, y: Map | None = None, *, x_dim: int | None = None) -> Source:
    """The source with x and y sent through injective maps; x_dim where that of x changes."""

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        a, b = source.sample(n, generator)
        return (x(a) if x else a), (y(b) if y else b)

    return source._replace(x_dim=x_dim or source.x_dim, sample=sample)


def margins(source: Source, function: Map) -> Source:
    """Every coordinate of x and of y through one strictly monotone function."""
    return mapped(source, function, function)


def padded(source: Source, extra: int, noise: Noise = Generator.standard_normal) -> Source:
    """x with `extra` more coordinates, independent of everything."""

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        x, y = source.sample(n, generator)
        return np.hstack([x, noise(generator, (n, extra))]), y

    return source._replace(x_dim=source.x_dim + extra, sample=sample)


def copies(source: Source, count: int) -> Source:
    """`count` independent draws side by side; their informations add."""

    def sample(n: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        x, y = source.sample(n * count, generator)
        return x.reshape(n, -1), y.reshape(n, -1)

    return Source(count * source.x_dim, count * source.y_dim, count * source.mi, sample)


def normal_cdf(z: np.ndarray) -> np.ndarray:
    return ndtr(z)


def cubic(z: np.ndarray) -> np.ndarray:
    return z**3


def half_cube(z: np.ndarray) -> np.ndarray:
    """z |z|^½: longer tails."""
    return z * np.sqrt(np.abs(z))


def swiss_roll(u: np.ndarray) -> np.ndarray:
    """(n, 1) in (0, 1) onto a spiral in the plane: (n, 2)."""
    angle = 1.5 * np.pi * (1 + 2 * u)
    return np.hstack([angle * np.cos(angle), angle * np.sin(angle)]) / 21


def spiral(speed: float, plane: tuple[int, int] = (0, 1)) -> Map:
    """Turns two coordinates by speed · |z|². The norm stays, so the inverse turns them back."""

    def turn(z: np.ndarray) -> np.ndarray:
        angle = speed * np.square(z).sum(1)
        i, j = plane
        turned = z.copy()
        turned[:, i] = np.cos(angle) * z[:, i] - np.sin(angle) * z[:, j]
        turned[:, j] = np.sin(angle) * z[:, i] + np.cos(angle) * z[:, j]
        return turned

    return turn


def rotation(dim: int, seed: int, scale: float = 1.0) -> Map:
    """A rotation drawn uniformly by its seed (QR of a Gaussian matrix, signs fixed), then a common scale."""
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))
    matrix = scale * q * np.sign(np.diag(r))

    def rotate(z: np.ndarray) -> np.ndarray:
        return z @ matrix

    return rotate
