"""Networks for padded multimodal sequences: encoders, decoders, fusion, text backbones."""

from disentangle.nn.fusion import MultimodalAdaptiveGate, NonverbalInjection, WordwiseSparseAttention
from disentangle.nn.label_memory import LabelMemory
from disentangle.nn.noisy_latent import NoisyLatent
from disentangle.nn.sequence import SequenceDecoder, SequenceEncoder, masked_cross_entropy, masked_mse
from disentangle.nn.standardize import Standardize
from disentangle.nn.tensor_fusion import LowRankFusion, TensorFusion
from disentangle.nn.text import MAGTextEncoder
from disentangle.nn.transformer import CrossModalTransformer, TemporalConvolution, last_step, sinusoidal_positions

__all__ = [
    "CrossModalTransformer",
    "LabelMemory",
    "LowRankFusion",
    "MAGTextEncoder",
    "MultimodalAdaptiveGate",
    "NoisyLatent",
    "NonverbalInjection",
    "SequenceDecoder",
    "SequenceEncoder",
    "Standardize",
    "TemporalConvolution",
    "TensorFusion",
    "WordwiseSparseAttention",
    "last_step",
    "masked_cross_entropy",
    "masked_mse",
    "sinusoidal_positions",
]
