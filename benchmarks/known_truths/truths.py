"""Mutual information in closed form, or by quadrature of smooth densities on a grid, in nats.

Where there is a grid, it is a trapezoid rule, or Simpson's where the grid ends at an edge, far finer than the density's width
and wide enough to leave out less than 1e-15 of the mass. Halving the steps moves no truth by more than 1e-7; the kink of |x|
costs 2e-5.
"""

from __future__ import annotations

import numpy as np
from scipy.integrate import simpson
from scipy.special import digamma, entr, gammaln, i0e, ndtr, xlogy

GAUSSIAN_ENTROPY = float(np.log(2 * np.pi * np.e)) / 2


def gaussian_mi(covariance: np.ndarray, x_dim: int) -> float:
    """I = ½ (log det Σ_xx + log det Σ_yy - log det Σ) of jointly Gaussian x, the first x_dim coordinates, and y."""
    blocks = covariance[:x_dim, :x_dim], covariance[x_dim:, x_dim:], covariance
    xx, yy, joint = (np.linalg.slogdet(block)[1] for block in blocks)
    return float(xx + yy - joint) / 2


def student_entropy(dim: int, dof: float) -> float:
    """Entropy of a multivariate Student-t with identity dispersion: that of its radius is all there is to it."""
    half, whole = dof / 2, (dof + dim) / 2
    normalizer = dim / 2 * np.log(dof * np.pi) + gammaln(half) - gammaln(whole)
    return float(normalizer + whole * (digamma(whole) - digamma(half)))


def student_mi(dispersion: np.ndarray, x_dim: int, dof: float) -> float:
    """The Gaussian part and what the shared radius tells (Arellano-Valle et al., 2013); it is positive at Σ = 1."""
    dim = len(dispersion)
    radius = student_entropy(x_dim, dof) + student_entropy(dim - x_dim, dof) - student_entropy(dim, dof)
    return gaussian_mi(dispersion, x_dim) + radius


def additive_uniform_mi(width: float) -> float:
    """I(x; x + u) for x ~ U(0, 1) and u ~ U(-width, width): the sum has a trapezoid for a density."""
    return width - float(np.log(2 * width)) if width <= 0.5 else 1 / (4 * width)


def normal_density(z: np.ndarray, mean: np.ndarray | float = 0.0, scale: np.ndarray | float = 1.0) -> np.ndarray:
    return np.exp(-np.square((z - mean) / scale) / 2) / (np.sqrt(2 * np.pi) * scale)


def entropy(density: np.ndarray, grid: np.ndarray) -> float:
    return float(np.trapezoid(entr(density), grid))


def random_sign_mi(rho: float, dim: int) -> float:
    """I(x; s (rho x + σ e)) for Gaussian x and e of dim coordinates, σ² = 1 - rho², and one random sign s.

    y is standard normal whatever rho is. What s costs is I(s; y|x), the information of one sign in Gaussian noise at the
    amplitude b = rho |x| / σ: log 2 - E log(1 + exp(-2b² - 2bz)).
    """
    noise = np.sqrt(1 - rho**2)
    radius, z = np.linspace(0, np.sqrt(dim) + 9, 1001), np.linspace(-9, 9, 401)
    weight = radius ** (dim - 1) * np.exp(-(radius**2) / 2 - gammaln(dim / 2)) * 2 ** (1 - dim / 2)
    b = rho * radius[:, None] / noise
    lost = np.log(2) - np.trapezoid(normal_density(z) * np.logaddexp(0, -2 * b**2 - 2 * b * z), z)
    return -dim * float(np.log(noise)) - float(np.trapezoid(weight * lost, radius))


def regression_mi(weights: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> float:
    """I(x; y) where y|x ~ N(mean, scale²): nodes of x with their weights, and mean and scale at each."""
    y = np.linspace((mean - 10 * scale).min(), (mean + 10 * scale).max(), 3001)
    density = sum(w * normal_density(y, m, s) for w, m, s in zip(weights, mean, scale, strict=True))
    return entropy(np.asarray(density), y) - GAUSSIAN_ENTROPY - float(weights @ np.log(scale))


def ring_mi(noise: float) -> float:
    """I(x; y) of the two coordinates of a point of the unit circle in Gaussian noise, 2 h(x) - h(x, y)."""
    angles, end = np.arange(500) * (2 * np.pi / 500), 1 + 10 * noise
    r, grid = np.linspace(0, end, 2001), np.linspace(-end, end, 2001)
    margin = normal_density(grid[:, None], np.cos(angles), noise).mean(1)
    joint = np.exp(-((r - 1) ** 2) / (2 * noise**2)) * i0e(r / noise**2) / (2 * np.pi * noise**2)
    return 2 * entropy(margin, grid) - float(np.trapezoid(2 * np.pi * r * entr(joint), r))


def log_radius_density(t: np.ndarray, dim: int) -> np.ndarray:
    """Density of log |e| for a standard normal e of dim coordinates."""
    return np.exp(dim * t - np.exp(2 * t) / 2 - gammaln(dim / 2)) * 2 ** (1 - dim / 2)


LOG_SCALES = np.linspace(-38, 10, 2401)


def scale_mi(log_scale_density: np.ndarray, dim: int) -> float:
    """I(x; scale(x) e) for a standard normal e: that of log scale and log |y| = log scale + log |e|, for directions say
    nothing. The density of the log-scale is given on LOG_SCALES."""
    step = LOG_SCALES[1] - LOG_SCALES[0]
    noise = log_radius_density(LOG_SCALES, dim)
    total = np.convolve(log_scale_density, noise) * step
    grid = 2 * LOG_SCALES[0] + step * np.arange(len(total))
    return entropy(total, grid) - entropy(noise, LOG_SCALES)


def mixture_mi(weights: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> float:
    """I(x; y) of a mixture of Gaussians in the plane: the double integral of p log(p / p_x p_y)."""
    spread = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
    low, high = (means - 9 * spread).min(0), (means + 9 * spread).max(0)
    x, y = (np.linspace(low[i], high[i], 1201) for i in range(2))
    joint, p_x, p_y = 0.0, 0.0, 0.0
    for weight, (a, b), (s, t), c in zip(weights, means, spread, covariances[:, 0, 1], strict=True):
        component = normal_density(x, a, s)
        regression, rest = c / s**2, np.sqrt(t**2 - (c / s) ** 2)
        joint += weight * component[:, None] * normal_density(y, b + regression * (x[:, None] - a), rest)
        p_x += weight * component
        p_y += weight * normal_density(y, b, t)
    ratio = xlogy(joint, joint) - xlogy(joint, np.multiply.outer(p_x, p_y))
    return float(np.trapezoid(np.trapezoid(ratio, y), x))


def entropy_of(shares: np.ndarray | list[float]) -> float:
    return float(entr(np.asarray(shares)).sum())


def table_mi(joint: np.ndarray) -> float:
    """Of classes with a table of probabilities."""
    return max(entropy_of(joint.sum(0)) + entropy_of(joint.sum(1)) - entropy_of(joint.ravel()), 0.0)


def clusters_mi(shares: np.ndarray, centers: np.ndarray, spread: float) -> float:
    """I(k; centers[k] + spread · e): the entropy of the mixture less that of the noise."""
    grid = np.linspace(centers.min() - 10 * spread, centers.max() + 10 * spread, 20_001)
    density = normal_density(grid[:, None], centers, spread) @ shares
    return max(entropy(density, grid) - GAUSSIAN_ENTROPY - float(np.log(spread)), 0.0)


def bins_mi(edges: np.ndarray, noise: float) -> float:
    """I(x; bin of x + noise · e): the entropy of the bins less its mean at a given x."""
    x = np.linspace(-10, 10, 20_001)
    bounds = np.concatenate([[-np.inf], edges, [np.inf]])
    given = np.diff(ndtr((bounds - x[:, None]) / noise), axis=1)
    overall = np.diff(ndtr(bounds / np.sqrt(1 + noise**2)))
    return entropy_of(overall) - float(np.trapezoid(normal_density(x) * entr(given).sum(1), x))


def zero_inflated_poisson_mi(zeros: float) -> float:
    """Of x ~ Exp(1) and y ~ Poisson(x) with so many zeros put in; a Poisson of an exponential rate is geometric."""
    x, k = np.linspace(0, 60, 60_001)[:, None], np.arange(80)
    given = (1 - zeros) * np.exp(xlogy(k, x) - x - gammaln(k + 1))
    overall = (1 - zeros) * 0.5 ** (k + 1)
    given[:, 0] += zeros
    overall[0] += zeros
    return entropy_of(overall) - float(np.trapezoid(np.exp(-x[:, 0]) * entr(given).sum(1), x[:, 0]))


def rectified_mi(rho: float, threshold: float) -> float:
    """Of two normals that are replaced by the threshold below it: an atom, two edges and a density."""
    noise = np.sqrt(1 - rho**2)
    z = np.linspace(threshold, 9, 1001)
    below = ndtr(threshold)
    given = ndtr((threshold - rho * z) / noise)  # that the other one is below
    edge = float(simpson(normal_density(z) * xlogy(given, given / below), x=z))
    corner = below - float(simpson(normal_density(z) * given, x=z))
    conditional = normal_density(z[None], rho * z[:, None], noise)
    ratio = -np.log(noise) - (np.square((z[None] - rho * z[:, None]) / noise) - np.square(z[None])) / 2
    inside = float(simpson(normal_density(z) * simpson(conditional * ratio, x=z), x=z))
    return max(float(xlogy(corner, corner / below**2)) + 2 * edge + inside, 0.0)
