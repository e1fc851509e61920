"""Dependence: how much one variable tells about another, as a number to be made small.

Every dependence maps two batches x and y, row i of one drawn together with row i of the other, to a scalar. One that has
parameters (an *estimator*) also says how these learn, `learning_loss`; who steps which optimiser, and when, is the
business of `disentangle.training`.
"""

from disentangle.dependence.adversarial import ModalityDiscriminator, TotalCorrelationEstimator, reverse_gradient
from disentangle.dependence.base import Bound, Dependence
from disentangle.dependence.given_classes import GivenClasses
from disentangle.dependence.lower import (
    BarberAgakovEstimator,
    DifferenceOfEntropiesEstimator,
    InfoNCEEstimator,
    MINEEstimator,
    NWJEstimator,
    SMILEEstimator,
)
from disentangle.dependence.margin import CosineMarginLoss
from disentangle.dependence.parameter_free import (
    CKA,
    DHSIC,
    HSIC,
    CentralMomentDiscrepancy,
    CrossCovariance,
    DistanceCorrelation,
    FeatureCorrelation,
    OrthogonalLoss,
)
from disentangle.dependence.scale_invariant import ScaleInvariant
from disentangle.dependence.upper import (
    CLUBEstimator,
    LeaveOneOutEstimator,
    SampledCLUBEstimator,
    VariationalUpperBound,
)

__all__ = [
    "CKA",
    "DHSIC",
    "HSIC",
    "BarberAgakovEstimator",
    "Bound",
    "CLUBEstimator",
    "CentralMomentDiscrepancy",
    "CosineMarginLoss",
    "CrossCovariance",
    "Dependence",
    "DifferenceOfEntropiesEstimator",
    "DistanceCorrelation",
    "FeatureCorrelation",
    "GivenClasses",
    "InfoNCEEstimator",
    "LeaveOneOutEstimator",
    "MINEEstimator",
    "ModalityDiscriminator",
    "NWJEstimator",
    "OrthogonalLoss",
    "SMILEEstimator",
    "SampledCLUBEstimator",
    "ScaleInvariant",
    "TotalCorrelationEstimator",
    "VariationalUpperBound",
    "reverse_gradient",
]
