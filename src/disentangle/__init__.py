"""Representations that must not leak into one another: bounds, penalties and alternating training in PyTorch.

Here is what most programs need. Everything else is imported from its module: further estimators and their bounds from
`disentangle.dependence`, q(y|x) from `disentangle.conditionals`, T(x, y) from `disentangle.critics`, meters from
`disentangle.information`, networks from `disentangle.nn`, metrics from `disentangle.metrics`.
"""

from disentangle.conditionals import CategoricalConditional, GaussianConditional
from disentangle.dependence import (
    CKA,
    DHSIC,
    HSIC,
    CentralMomentDiscrepancy,
    CLUBEstimator,
    CrossCovariance,
    Dependence,
    DistanceCorrelation,
    FeatureCorrelation,
    GivenClasses,
    InfoNCEEstimator,
    LeaveOneOutEstimator,
    MINEEstimator,
    ModalityDiscriminator,
    NWJEstimator,
    OrthogonalLoss,
    SampledCLUBEstimator,
    ScaleInvariant,
    TotalCorrelationEstimator,
)
from disentangle.errors import DisentangleError
from disentangle.hub import push_to_hub
from disentangle.inference import encode, predict
from disentangle.information import (
    dependence_report,
    estimate_mutual_information,
    factor_scores,
    linear_decodability,
    permutation_test,
    probe_classes,
    probe_numbers,
)
from disentangle.model import Model
from disentangle.nn import (
    MAGTextEncoder,
    MultimodalAdaptiveGate,
    SequenceDecoder,
    SequenceEncoder,
    Standardize,
    WordwiseSparseAttention,
)
from disentangle.pairwise import Pairwise
from disentangle.saving import load, save
from disentangle.training import AlternatingStep, AlternatingTrainer, Dial, KeepUp, PenaltyLoss
from disentangle.variables import Masked, Rows, class_numbers, frames

__version__ = "0.2.0.dev0"  # the only place: packages and the documentation read it here

__all__ = [
    "CKA",
    "DHSIC",
    "HSIC",
    "AlternatingStep",
    "AlternatingTrainer",
    "CLUBEstimator",
    "CategoricalConditional",
    "CentralMomentDiscrepancy",
    "CrossCovariance",
    "Dependence",
    "Dial",
    "DisentangleError",
    "DistanceCorrelation",
    "FeatureCorrelation",
    "GaussianConditional",
    "GivenClasses",
    "InfoNCEEstimator",
    "KeepUp",
    "LeaveOneOutEstimator",
    "MAGTextEncoder",
    "MINEEstimator",
    "Masked",
    "ModalityDiscriminator",
    "Model",
    "MultimodalAdaptiveGate",
    "NWJEstimator",
    "OrthogonalLoss",
    "Pairwise",
    "PenaltyLoss",
    "Rows",
    "SampledCLUBEstimator",
    "ScaleInvariant",
    "SequenceDecoder",
    "SequenceEncoder",
    "Standardize",
    "TotalCorrelationEstimator",
    "WordwiseSparseAttention",
    "class_numbers",
    "dependence_report",
    "encode",
    "estimate_mutual_information",
    "factor_scores",
    "frames",
    "linear_decodability",
    "load",
    "permutation_test",
    "predict",
    "probe_classes",
    "probe_numbers",
    "push_to_hub",
    "save",
]
