"""Networks for padded multimodal sequences: encoders, decoders, fusion, text backbones."""

from disentangle.nn.capsules import CapsuleReadout, SequenceCapsules, dynamic_routing
from disentangle.nn.fusion import MultimodalAdaptiveGate, NonverbalInjection, WordwiseSparseAttention
from disentangle.nn.graphs import GraphConvolution, SimilarityAdjacency, band_adjacency, mean_adjacency
from disentangle.nn.label_memory import LabelMemory
from disentangle.nn.noisy_latent import NoisyLatent
from disentangle.nn.reconstruction import masked_cross_entropy, masked_linear_mse, masked_mse
from disentangle.nn.sequence import SequenceDecoder, SequenceEncoder
from disentangle.nn.standardize import Standardize
from disentangle.nn.tensor_fusion import LowRankFusion, TensorFusion
from disentangle.nn.text import MAGTextEncoder
from disentangle.nn.transformer import CrossModalTransformer, TemporalConvolution, last_step, sinusoidal_positions

__all__ = [
    "CapsuleReadout",
    "CrossModalTransformer",
    "GraphConvolution",
    "LabelMemory",
    "LowRankFusion",
    "MAGTextEncoder",
    "MultimodalAdaptiveGate",
    "NoisyLatent",
    "NonverbalInjection",
    "SequenceCapsules",
    "SequenceDecoder",
    "SequenceEncoder",
    "SimilarityAdjacency",
    "Standardize",
    "TemporalConvolution",
    "TensorFusion",
    "WordwiseSparseAttention",
    "band_adjacency",
    "dynamic_routing",
    "last_step",
    "masked_cross_entropy",
    "masked_linear_mse",
    "masked_mse",
    "mean_adjacency",
    "sinusoidal_positions",
]
