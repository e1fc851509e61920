"""Mutual information in closed form, in nats."""

from __future__ import annotations

import numpy as np
from scipy.special import digamma, gammaln


def gaussian_mi(covariance: np.ndarray, x_dim: int) -> float:
    """I = ½ (log det Σ_xx + log det Σ_yy - log det Σ) of jointly Gaussian x, the first x_dim coordinates, and y."""
    blocks = covariance[:x_dim, :x_dim], covariance[x_dim:, x_dim:], covariance
    xx, yy, joint = (np.linalg.slogdet(block)[1] for block in blocks)
    return float(xx + yy - joint) / 2


def student_entropy(dim: int, dof: float) -> float:
    """Entropy of a multivariate Student-t with identity dispersion: that of its radius is all there is to it."""
    half, whole = dof / 2, (dof + dim) / 2
    normaliser = dim / 2 * np.log(dof * np.pi) + gammaln(half) - gammaln(whole)
    return float(normaliser + whole * (digamma(whole) - digamma(half)))


def student_mi(dispersion: np.ndarray, x_dim: int, dof: float) -> float:
    """The Gaussian part and what the shared radius tells (Arellano-Valle et al., 2013); it is positive at Σ = 1."""
    dim = len(dispersion)
    radius = student_entropy(x_dim, dof) + student_entropy(dim - x_dim, dof) - student_entropy(dim, dof)
    return gaussian_mi(dispersion, x_dim) + radius


def additive_uniform_mi(width: float) -> float:
    """I(x; x + u) for x ~ U(0, 1) and u ~ U(-width, width): the sum has a trapezoid for a density."""
    return width - float(np.log(2 * width)) if width <= 0.5 else 1 / (4 * width)
