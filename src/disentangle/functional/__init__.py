"""Pure functions on tensors: what the modules of the library compute, without state.

Everything here is measured in nats where it is an information, is reduced in at least float32 under autocast, and has
finite gradients for finite inputs.
"""

from disentangle.functional.club import club, club_gaussian, club_pairwise
from disentangle.functional.kernels import distance_correlation, hsic
from disentangle.functional.likelihoods import gaussian_log_likelihood
from disentangle.functional.penalties import (
    central_moment_discrepancy,
    cka,
    cross_covariance,
    feature_correlation,
    orthogonality,
)

__all__ = [
    "central_moment_discrepancy",
    "cka",
    "club",
    "club_gaussian",
    "club_pairwise",
    "cross_covariance",
    "distance_correlation",
    "feature_correlation",
    "gaussian_log_likelihood",
    "hsic",
    "orthogonality",
]
