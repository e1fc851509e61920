"""Pure functions on tensors: what the modules of the library compute, without state.

Everything here is measured in nats where it is an information, is reduced in at least float32 under autocast, and has
finite gradients for finite inputs.
"""

from disentangle.functional.club import club, club_gaussian, club_pairwise
from disentangle.functional.likelihoods import gaussian_log_likelihood
from disentangle.functional.penalties import orthogonality

__all__ = ["club", "club_gaussian", "club_pairwise", "gaussian_log_likelihood", "orthogonality"]
