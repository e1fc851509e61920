"""Pure functions on tensors: what the modules of the library compute, without state.

Everything here is measured in nats where it is an information, is reduced in at least float32 under autocast, and has
finite gradients for finite inputs.
"""

from disentangle.functional.bounds import (
    donsker_varadhan,
    infonce,
    jensen_shannon,
    leave_one_out,
    nwj,
    smile,
    unmatched_log_mean_exp,
    variational_upper_bound,
)
from disentangle.functional.club import club, club_categorical, club_gaussian, club_pairwise, club_sampled
from disentangle.functional.kernels import dhsic, distance_correlation, hsic, hsic_p_value
from disentangle.functional.likelihoods import log_likelihoods, matched_log_likelihoods
from disentangle.functional.margin import cosine_margin
from disentangle.functional.moments import (
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
    "club_categorical",
    "club_gaussian",
    "club_pairwise",
    "club_sampled",
    "cosine_margin",
    "cross_covariance",
    "dhsic",
    "distance_correlation",
    "donsker_varadhan",
    "feature_correlation",
    "hsic",
    "hsic_p_value",
    "infonce",
    "jensen_shannon",
    "leave_one_out",
    "log_likelihoods",
    "matched_log_likelihoods",
    "nwj",
    "orthogonality",
    "smile",
    "unmatched_log_mean_exp",
    "variational_upper_bound",
]
