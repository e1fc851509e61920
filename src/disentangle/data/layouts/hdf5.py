"""The HDF5 of computational sequences, `<root>/data/<id>/{features, intervals}`, read with care.

An HDF5 file can refer to things outside of itself. They are refused: links other than to its own objects, virtual data sets,
external storage, and filters other than gzip, which could be loaded from anywhere. An array is refused before
it is read if it declares more bytes than what is stored can hold. Text of variable length, the metadata for example, is not
read: libhdf5 can loop for ever over damaged text.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from disentangle.data import messages
from disentangle.data.opening import reading
from disentangle.errors import DataError

if TYPE_CHECKING:
    import h5py

__all__ = ["Entries", "opened"]

FILTERS = {1, 2}  # deflate, shuffle: what the SDK writes; libhdf5 can crash over damaged checksums
DEFLATION = 1032  # no byte of deflated data makes more than this many
LARGEST = 2**32  # bytes of an array


class Entries:
    """The entries of an open file; `ids` keeps their order."""

    def __init__(self, path: str | os.PathLike[str], file: h5py.File, size: int):
        self.path, self.size = path, size
        self.root = _one(list(file), f"{path}: expected one group, the root")
        self.data = self._child(self._child(file, self.root), "data")
        self.ids = dict.fromkeys(self.data)
        if not self.ids:
            raise DataError(f"{path}: no entries")

    def shape(self, key: str) -> tuple[int, int]:
        """How many frames an entry has, and their size."""
        features = self._array(key, "features")
        if features.ndim != 2:
            raise DataError(f"{self._at(key)}features: expected (frames, features), got {features.shape}")
        return features.shape

    def is_text(self, key: str) -> bool:
        """Whether an entry has text."""
        return self._array(key, "features").dtype.kind == "S"

    def features(self, key: str) -> np.ndarray:
        """The features of an entry, `(T, D)`, as they are."""
        self.shape(key)
        return self._array(key, "features")[()]

    def intervals(self, key: str) -> np.ndarray:
        """The intervals of an entry, `(T, 2)` float64."""
        intervals = self._array(key, "intervals")
        wanted = (self.shape(key)[0], 2)
        if intervals.shape != wanted or intervals.dtype.kind == "S":
            raise DataError(
                f"{self._at(key)}intervals: expected numbers {wanted}, got {intervals.dtype} {intervals.shape}"
            )
        values = intervals[()].astype(np.float64)
        if not np.isfinite(values).all():
            raise DataError(f"{self._at(key)}intervals: expected finite numbers, got NaN or infinity")
        return values

    def _at(self, key: str) -> str:
        return f"{self.path}: {messages.listed([key])}/"

    def _array(self, key: str, name: str) -> h5py.Dataset:
        """A data set whose reading is harmless."""
        import h5py

        array = self._child(self._child(self.data, key), name)
        where = f"{self._at(key)}{name}"
        if not isinstance(array, h5py.Dataset):
            raise DataError(f"{where}: expected an array, got a {type(array).__name__.lower()}")
        if array.dtype.kind not in "fiuS" or array.dtype.subdtype:
            raise DataError(f"{where}: expected numbers, or text of fixed length, got {array.dtype}")
        if array.is_virtual or array.external:
            raise DataError(f"{where}: expected an array in the file itself, got one in another file")
        properties = array.id.get_create_plist()
        filters = {properties.get_filter(i)[0] for i in range(properties.get_nfilters())}
        if not filters <= FILTERS:
            raise DataError(f"{where}: expected compression by gzip, got filter {min(filters - FILTERS)}")
        stored = min(array.id.get_storage_size(), self.size)
        chunk = int(np.prod(array.chunks or (0,), dtype=object)) * array.dtype.itemsize
        declared = max(int(np.prod(array.shape or (0,), dtype=object)) * array.dtype.itemsize, chunk)
        if declared > min(LARGEST, stored * (DEFLATION if filters else 1)):
            raise DataError(f"{where}: expected an array that {stored:,} stored bytes can hold, got {declared:,} bytes")
        return array

    def _child(self, group: Any, name: str) -> Any:
        """A child of a group, if it is in the same file."""
        import h5py

        link = group.get(name, getlink=True) if isinstance(group, h5py.Group) else None
        if link is None:
            raise DataError(f"{self.path}: no {messages.listed([name])} in {messages.listed([group.name])}")
        if not isinstance(link, h5py.HardLink):
            raise DataError(f"{self.path}: expected {messages.listed([name])} in its place, got a link")
        return group[name]


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Entries]:
    """The entries of a file, while it is open; whatever its reading leads to becomes a `DataError`."""
    try:
        import h5py
    except ImportError:
        raise ImportError("expected h5py, which reads .csd files: pip install h5py") from None
    with reading(path, "an HDF5 file"):
        try:
            with h5py.File(path, "r", locking=False) as file:
                yield Entries(path, file, os.path.getsize(path))
        except (DataError, MemoryError):
            raise
        except Exception as error:
            what = " ".join(str(error).split())[:120] or type(error).__name__
            raise DataError(f"{path}: not a computational sequence, or a damaged one: {what}") from error


def _one(names: list[str], wanted: str) -> str:
    if len(names) != 1:
        raise DataError(f"{wanted}, got {messages.listed(names)}")
    return names[0]
