r"""A data set whose factors are known: unaligned text, audio and vision in the sizes of CMU-MOSI.

Written down before anything was trained on it, and not tuned since. For each recording, all independent, with its
strength in the label:

- `shared` u ~ N(0, I) of size 2: u₁ + 0.5 u₂;
- `text`, `audio` and `vision`, private, p_L, p_A and p_V ~ N(0, I) of size 2 each: 0.6 times the first component of each;
- noise ~ N(0, 1): 0.3.

The label is the sum, clipped to [-3, 3] (its standard deviation is 1.56 before). The shared factor is in every modality,
a private one in its own alone.

A modality with private factor p shows :math:`h = \tanh(W[u; p])`, with W of shape `(8, 4)` and entries of variance 1/2:

- *audio*, 16 features, and *vision*, 24 features, 24 to 56 frames each, the two lengths independent: frame t is
  :math:`B\,h + C\,\varphi_t + 0.5\,\varepsilon_t`, with B of entries of variance 1/2, :math:`\varphi_t` the sine and cosine of
  a random frequency and phase of the recording (a nuisance), C of entries of variance 1/4, :math:`\varepsilon_t` standard
  normal;
- *text*, 12 to 28 words, each drawn from 200 by softmax(E h), with E of entries of variance 1.

The maps W, B, C and E belong to the data set's seed, as the recordings do.

`features` gives it other sequences than audio and vision, each made as they are. With a `dependence` r the private factors
are not independent of the shared one: each is r u + (1 - r²)^½ times its own part, and the truth has the parts, which are
independent of all else, as factors too: `own text` and so on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from disentangle.data.recordings import Recordings

__all__ = ["synthetic_recordings"]

FEATURES = {"audio": 16, "vision": 24}
WORDS = 200


def synthetic_recordings(
    sizes: tuple[int, int, int] = (1284, 229, 686),
    *,
    seed: int = 0,
    features: Mapping[str, int] = FEATURES,
    dependence: float = 0.0,
    unlabeled: int = 0,
) -> dict[str, Recordings]:
    """The data set, `{"train", "valid", "test"}`, with the truth in `Recordings.factors`; see this module's text.

    Arguments:
        sizes: The number of recordings in each split; by default those of CMU-MOSI.
        seed: Everything is a function of it.
        features: The sequences beside text, and the size of their frames.
        unlabeled: The number of recordings without a label; if there are any, they are a fourth split, "unlabeled".
        dependence: The correlation of each private factor with the shared one, from 0 to below 1.

    Raises:
        ValueError: If the dependence is not from 0 to below 1.

    Example:
        >>> splits = synthetic_recordings((4, 2, 2))
        >>> splits["train"].feature_sizes, splits["train"].factors["shared"].shape
        ({'audio': 16, 'vision': 24}, (4, 2))
    """
    if not 0 <= dependence < 1:
        raise ValueError(f"expected a dependence from 0 to below 1, got {dependence}")
    draw = np.random.default_rng(seed)
    modalities = ("text", *features)
    maps = {name: draw.normal(0, 0.5**0.5, (4, 8)) for name in modalities}
    lifts = {name: draw.normal(0, 0.5**0.5, (8, size)) for name, size in features.items()}
    waves = {name: draw.normal(0, 0.5, (2, size)) for name, size in features.items()}
    scores = draw.normal(0, 1, (8, WORDS))
    words = np.array([f"word{i}" for i in range(WORDS)])

    def split(n: int, name: str) -> Recordings:
        factors = {factor: draw.normal(size=(n, 2)) for factor in ("shared", *modalities)}
        u = factors["shared"]
        if dependence:
            factors |= {f"own {m}": factors[m] for m in modalities}
            factors |= {m: dependence * u + (1 - dependence**2) ** 0.5 * factors[m] for m in modalities}
        hidden = {m: np.tanh(np.hstack([u, factors[m]]) @ maps[m]) for m in modalities}
        noise = draw.normal(size=n)
        label = u[:, 0] + 0.5 * u[:, 1] + 0.6 * sum(factors[m][:, 0] for m in hidden) + 0.3 * noise
        probability = np.exp(hidden["text"] @ scores)
        probability /= probability.sum(1, keepdims=True)
        return Recordings(
            text=[" ".join(draw.choice(words, draw.integers(12, 29), p=p)) for p in probability],
            sequences={m: [_frames(draw, h @ lifts[m], waves[m]) for h in hidden[m]] for m in features},
            labels=np.clip(label, -3, 3).astype(np.float32),
            ids=[f"{name}-{i}" for i in range(n)],
            factors={factor: value.astype(np.float32) for factor, value in factors.items()},
        )

    splits = {name: split(n, name) for name, n in zip(("train", "valid", "test"), sizes, strict=True)}
    return {**splits, "unlabeled": replace(split(unlabeled, "unlabeled"), labels=None)} if unlabeled else splits


def _frames(draw: np.random.Generator, level: np.ndarray, wave: np.ndarray) -> np.ndarray:
    t = np.arange(draw.integers(24, 57))
    angle = draw.uniform(0.1, 1.0) * t + draw.uniform(0, 2 * np.pi)
    code = np.stack([np.sin(angle), np.cos(angle)], 1) @ wave
    return (level + code + 0.5 * draw.normal(size=(len(t), len(level)))).astype(np.float32)
