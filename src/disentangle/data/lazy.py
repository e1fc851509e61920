"""Frames that stay in their files until they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, overload

import numpy as np

__all__ = ["LazyFrames"]


class LazyFrames(Sequence[np.ndarray]):
    """The frames of N recordings, `(T_i, size)` float32, each read anew whenever it is asked for.

    Arguments:
        read: Gives the array of a key.
        keys: What each array is read by, N.
        lengths: How many frames each has, N; 0 where the modality is missing, and then nothing is read.
        size: The size of a frame.

    Example:
        >>> frames = LazyFrames(lambda n: np.full((n, 2), n, np.float32), keys=[3, 4], lengths=[3, 0], size=2)
        >>> frames[0].shape, frames[1].shape, frames.select([1, 0, 0]).lengths
        ((3, 2), (0, 2), [0, 3, 3])
    """

    def __init__(self, read: Callable[[Any], np.ndarray], keys: Sequence[Any], lengths: Sequence[int], size: int):
        self.read, self.keys, self.lengths, self.size = read, keys, lengths, size

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> LazyFrames: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | LazyFrames:
        if isinstance(index, slice):
            return self.select(range(len(self))[index])
        if not self.lengths[index]:
            return np.zeros((0, self.size), np.float32)
        return self.read(self.keys[index])

    def select(self, indices: Iterable[int]) -> LazyFrames:
        """The frames of these recordings, in that order; none is read."""
        indices = list(indices)
        return LazyFrames(self.read, [self.keys[i] for i in indices], [self.lengths[i] for i in indices], self.size)
