"""Which of two kinds of 33 acoustic features an array looks like, told by its numbers.

The paper's begin with log F0, those of CH-SIMS and MMSA with the zero-crossing rate; twenty cepstral coefficients and a
chromagram follow in both: see `disentangle.features.audio`. What was normalised, averaged or computed otherwise is neither.
"""

from __future__ import annotations

import numpy as np

__all__ = ["SIZE", "Looks", "looks_like"]

SIZE = 33
LOWEST, HIGHEST = np.log(50), np.log(1000)  # of a voice, in log Hz
WINDOW = 2048  # samples in which zero crossings are counted, so that a rate is a whole number of its parts


class Looks:
    """What the frames of recordings look like, seen one recording after another.

    Example:
        >>> chroma = np.eye(12, dtype=np.float32)[[0, 3]]
        >>> frames = np.hstack([[[0.125], [0.0625]], np.full((2, 20), -300), chroma])
        >>> looks = Looks()
        >>> looks.see(frames)
        >>> looks.told
        'mmsa'
    """

    def __init__(self) -> None:
        self._possible, self._seen = {"paper", "mmsa"}, set[str]()

    def see(self, frames: np.ndarray) -> None:
        """Looks at the frames of a recording, `(T, 33)`; raises ValueError where they have another shape."""
        if frames.ndim != 2 or frames.shape[1] != SIZE:
            raise ValueError(f"expected frames (T, {SIZE}), got {frames.shape}")
        if not len(frames) or not self._possible:
            return
        first, cepstrum, chroma = np.split(frames.astype(np.float64), [1, 21], axis=1)
        top = chroma.max(1)
        # Each frame of a chromagram has its largest value at 1, or is silent; the first coefficient is of decibels.
        others = (
            chroma.min() >= 0
            and np.isfinite(cepstrum).all()
            and bool(((np.abs(top - 1) < 1e-3) | (top < 1e-6)).all())
            and np.abs(cepstrum[:, 0]).max() > 10
        )
        voiced = (first >= LOWEST) & (first <= HIGHEST)
        counts = first * WINDOW
        rates = (first >= 0) & (first < 1) & (counts == np.round(counts))
        absent = np.isnan(first) | np.isneginf(first) | (first == 0)
        if not (others and (voiced | absent).all()):
            self._possible -= {"paper"}
        if not (others and rates.all()):
            self._possible -= {"mmsa"}
        self._seen |= {"paper"} if voiced.any() else set()
        self._seen |= {"mmsa"} if len(np.unique(first[rates & (first > 0)])) > 1 else set()

    @property
    def told(self) -> str | None:
        """ "paper" or "mmsa"; None where the numbers do not tell, or are of neither."""
        told = self._possible & self._seen
        return told.pop() if len(told) == 1 else None


def looks_like(frames: np.ndarray) -> str | None:
    """What the acoustic features of one recording, `(T, 33)`, look like: "paper", "mmsa", or None where it is not told."""
    looks = Looks()
    looks.see(frames)
    return looks.told
