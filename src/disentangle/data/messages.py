"""How values and names are put into a message of one line."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

__all__ = ["kind", "listed", "no_frames"]


def kind(value: object) -> str:
    """What a value is, for a message."""
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def no_frames(array: np.ndarray) -> str:
    """What an array is that should be frames, and, where it is one row of numbers, how it becomes them."""
    cure = (
        "; of features of a whole utterance x[None] makes one frame, of one feature over time x[:, None] makes frames"
    )
    return kind(array) + cure * (array.ndim == 1)


def listed(names: Iterable[object]) -> str:
    """The first names, short enough for a message of one line."""
    names = list(names)
    shown = [ascii(name)[:40].strip("'") for name in names[:12]]
    return ", ".join([*shown, "..."] if len(names) > 12 else shown) or "nothing"
