"""Representations that must not leak into one another: bounds, penalties and alternating training in PyTorch."""

from disentangle.conditionals import Conditional, GaussianConditional
from disentangle.dependence import Bound, CLUBEstimator, Dependence, OrthogonalLoss
from disentangle.information import gaussian_mutual_information, linear_decodability
from disentangle.metrics import sentiment_metrics
from disentangle.nn import (
    MAGTextEncoder,
    MultimodalAdaptiveGate,
    SequenceDecoder,
    SequenceEncoder,
    Standardize,
    WordwiseSparseAttention,
)
from disentangle.pairwise import Pairwise
from disentangle.training import AlternatingStep, AlternatingTrainer
from disentangle.variables import Masked, Rows

__version__ = "0.1.0"

__all__ = [
    "AlternatingStep",
    "AlternatingTrainer",
    "Bound",
    "CLUBEstimator",
    "Conditional",
    "Dependence",
    "GaussianConditional",
    "MAGTextEncoder",
    "Masked",
    "MultimodalAdaptiveGate",
    "OrthogonalLoss",
    "Pairwise",
    "Rows",
    "SequenceDecoder",
    "SequenceEncoder",
    "Standardize",
    "WordwiseSparseAttention",
    "gaussian_mutual_information",
    "linear_decodability",
    "sentiment_metrics",
]
