"""Non-verbal information in word representations: word-wise sparse attention and the multimodal adaptive gate."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from entmax import sparsemax
from jaxtyping import Bool, Float
from torch import Tensor, nn

from disentangle.variables import Masked, zero_in_padding

__all__ = ["MultimodalAdaptiveGate", "NonverbalInjection", "WordwiseSparseAttention"]


class WordwiseSparseAttention(nn.Module):
    r"""For each word, the frames of another modality that tell most about it, wherever in the sequence they are.

    Words and frames are mapped into a common space; the inner products of a word with all frames are its scores, and
    sparsemax turns them into weights, most of which are exactly 0.

    .. math:: \tilde X^m = \operatorname{Sparsemax}\left(f(W) \cdot g(X^m)^\top\right) \cdot X^m

    Frames in padding never take part; where a row has no frames the result is zero. Scores are computed in at least
    float32, also under autocast.

    References:
        | Qian et al., MIRD, eq. 2
        | Martins and Astudillo, From Softmax to Sparsemax (ICML 2016)

    Arguments:
        word_features: The number of features of a word, W.
        features: The number of features of a frame, D.
        common_features: The number of features of the common space.

    Example:
        >>> attention = WordwiseSparseAttention(16, 5)
        >>> attention(torch.randn(2, 7, 16), torch.randn(2, 30, 5), torch.ones(2, 30, dtype=torch.bool)).shape
        torch.Size([2, 7, 5])
    """

    def __init__(self, word_features: int, features: int, common_features: int = 64):
        super().__init__()
        self.words = nn.Linear(word_features, common_features)
        self.frames = nn.Linear(features, common_features)

    def forward(
        self,
        words: Float[Tensor, "batch words word_features"],
        values: Float[Tensor, "batch frames features"],
        mask: Bool[Tensor, "batch frames"],
    ) -> Float[Tensor, "batch words features"]:
        """What each word attends to, `(B, T, D)`, among frames `(B, S, D)` with their mask `(B, S)`."""
        values, real = zero_in_padding(values, mask), mask.unsqueeze(1)
        with torch.autocast(words.device.type, enabled=False):
            dtype = self.words.weight.dtype
            queries, keys = _precise(self.words(words.to(dtype))), _precise(self.frames(values.to(dtype)))
            scores = queries @ keys.mT
            # Half of the lowest number, since sparsemax subtracts the maximum; -inf would give NaN in a row without frames.
            scores = scores.masked_fill(~real, torch.finfo(scores.dtype).min / 2)
            # Sorting 32 scores first is exact and faster, but what it then does about longer supports waits for the device.
            # It depends on the data, too, which a compiled or exported graph must not.
            some = scores.device.type == "cpu" and not torch.compiler.is_compiling()
            if some and not scores.isfinite().all():  # which it would not survive; the step will say so
                return values.new_full((*scores.shape[:2], values.shape[2]), torch.nan)
            weights = sparsemax(scores, dim=-1, k=32 if some else None) * real
            return (weights @ values.to(weights.dtype)).to(values.dtype)


class MultimodalAdaptiveGate(nn.Module):
    r"""Words moved by what other modalities say at them: how far is decided by gates, and bounded by the word's length.

    .. math:: G^m = \sigma\left(W_g^m [w; \tilde x^m] + b_g^m\right), \qquad
              h = \sum_m G^m \odot \left(W_d^m \tilde x^m + b_d^m\right)

    .. math:: \tilde w = w + \lambda h, \qquad
              \lambda = \min\left(\frac{\lVert w \rVert}{\lVert h \rVert}\,\epsilon,\ 1\right)

    References:
        | Qian et al., MIRD, eq. 3 to 6
        | Rahman et al., Integrating Multimodal Information in Large Pretrained Transformers (ACL 2020)

    Arguments:
        word_features: The number of features of a word, W.
        sizes: The number of features of each other modality, by name.
        epsilon: The longest displacement, in lengths of the word.
        from_zero: Whether no word is moved at first: the displacements start at zero, and learn from there.

    Raises:
        ValueError: If there is no modality.

    Example:
        >>> gate = MultimodalAdaptiveGate(16, {"audio": 5, "vision": 9}, epsilon=0.5)
        >>> words = torch.randn(2, 7, 16)
        >>> moved = gate(words, {"audio": torch.randn(2, 7, 5), "vision": torch.randn(2, 7, 9)})
        >>> bool(((moved - words).norm(dim=-1) <= 0.501 * words.norm(dim=-1)).all())
        True
    """

    def __init__(self, word_features: int, sizes: Mapping[str, int], epsilon: float = 1.0, *, from_zero: bool = False):
        super().__init__()
        if not sizes:
            raise ValueError("expected the sizes of one modality or more, got none")
        self.epsilon = epsilon
        self.gates = nn.ModuleDict({m: nn.Linear(word_features + size, word_features) for m, size in sizes.items()})
        self.displacements = nn.ModuleDict({m: nn.Linear(size, word_features) for m, size in sizes.items()})
        if from_zero:
            for parameter in self.displacements.parameters():
                nn.init.zeros_(parameter)

    def forward(
        self,
        words: Float[Tensor, "batch words word_features"],
        attended: Mapping[str, Float[Tensor, "batch words _"]],
        present: Mapping[str, Bool[Tensor, " batch"]] | None = None,
    ) -> Float[Tensor, "batch words word_features"]:
        """The words `(B, T, W)` moved by what they attend to in each modality, `{name: (B, T, D)}`.

        Where a modality is not `present`, `{name: (B,)}`, it moves nothing; one that is not named is present everywhere.
        """
        _check_names(self.gates, attended)
        displacement = torch.zeros_like(words)
        for m, gate in self.gates.items():
            x = attended[m]
            if present is not None and m in present:
                x = torch.where(present[m][:, None, None], x, 0)
            h = torch.sigmoid(gate(torch.cat([words, x], -1))) * self.displacements[m](x)  # eq. 3 and 4
            if present is not None and m in present:
                h = torch.where(present[m][:, None, None], h, 0)
            displacement = displacement + h
        return words + (_scale(words, displacement, self.epsilon) * displacement).to(words.dtype)  # eq. 5


class NonverbalInjection(nn.Module):
    """Sparse attention to each other modality, and the gate that lets what was found into the words: eq. 2 to 6.

    A row that has no frames of a modality is not moved by it.

    References:
        Qian et al., MIRD, eq. 2 to 6

    Arguments:
        word_features: The number of features of a word, W.
        sizes: The number of features of each other modality, by name.
        common_features: The number of features of the space in which words and frames are compared.
        epsilon: The longest displacement, in lengths of the word.
        from_zero: Whether no word is moved at first: the displacements start at zero, and learn from there.

    Raises:
        ValueError: If there is no modality.

    Example:
        >>> inject = NonverbalInjection(16, {"audio": 5})
        >>> words, silence = torch.randn(2, 7, 16), torch.zeros(2, 30, dtype=torch.bool)
        >>> torch.equal(inject(words, {"audio": Masked(torch.randn(2, 30, 5), silence)}), words)
        True
    """

    def __init__(
        self,
        word_features: int,
        sizes: Mapping[str, int],
        common_features: int = 64,
        epsilon: float = 1.0,
        *,
        from_zero: bool = False,
    ):
        super().__init__()
        self.attention = nn.ModuleDict(
            {m: WordwiseSparseAttention(word_features, size, common_features) for m, size in sizes.items()}
        )
        self.gate = MultimodalAdaptiveGate(word_features, sizes, epsilon, from_zero=from_zero)

    def forward(
        self, words: Float[Tensor, "batch words word_features"], others: Mapping[str, Masked]
    ) -> Float[Tensor, "batch words word_features"]:
        """The words `(B, T, W)`, moved by the frames of the other modalities, `{name: (B, S_m, D_m)}` with their masks."""
        _check_names(self.attention, others)
        attended = {m: attention(words, *others[m]) for m, attention in self.attention.items()}
        return self.gate(words, attended, {m: others[m].mask.any(1) for m in attended})


def _precise(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _scale(words: Tensor, displacement: Tensor, epsilon: float) -> Tensor:
    """Eq. 6, `(B, T, 1)`: divides only where it shortens, so that a displacement of 0 has a gradient."""
    limit = epsilon * torch.linalg.vector_norm(_precise(words), dim=-1, keepdim=True)
    length = torch.linalg.vector_norm(_precise(displacement), dim=-1, keepdim=True)
    too_long = length > limit
    return torch.where(too_long, limit / torch.where(too_long, length, 1), 1)


def _check_names(modules: nn.ModuleDict, given: Mapping[str, object]) -> None:
    if given.keys() != modules.keys():
        raise ValueError(f"expected the modalities {sorted(modules)}, got {sorted(given)}")
