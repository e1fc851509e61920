"""A store: a folder of recordings whose frames are read as they are used, for sets larger than memory::

    my_set/
      store.json                    each split's name, transcripts, ids, and the names of its arrays
      train/sequences/vision.npy    the frames of all recordings, one recording after another, (frames, D)
      train/starts/vision.npy       where the frames of each recording begin, and where the last ones end, (N + 1,)
      train/labels.npy              (N,)
      train/more_labels/T.npy       (N,); in the same way factors/ and padding/

The arrays are plain `.npy` files, which any program can read.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from disentangle.data import expect, messages
from disentangle.data.opening import map_array, read_bytes
from disentangle.data.recordings import LazyFrames, Recordings
from disentangle.data.writing import write_new_folder
from disentangle.errors import DataError

__all__ = ["open_store", "write_store"]

VERSION = 1
DIMENSIONS = {"more_labels": 1, "factors": 2, "padding": 2}  # of arrays with one item per recording
PLAIN = re.compile(r"\w[\w+ -]*(\.[\w+-]+)*")  # names that files can have, and that lead to no other folder
RESIDENT = 2**25  # bytes of a mapped file that may stay in memory
AROUND = 2**16  # bytes that the system reads along with the frames of a recording


def write_store(
    folder: str | os.PathLike[str],
    splits: Mapping[str, Recordings],
    *,
    dtype: Literal["float32", "float16"] = "float32",
) -> None:
    """Writes recordings as a store, one recording at a time, so that they need not fit into memory together.

    The folder gets its name once everything is on the disk; a process that is stopped earlier leaves no folder.

    Arguments:
        folder: The folder, which is made; if it is there already, it has to be empty.
        splits: The recordings by the names of their splits.
        dtype: The type that frames are kept in; "float16" takes half the space and keeps three digits of values
            from 6e-5 up; smaller ones lose digits, and below 3e-8 they are 0.

    Raises:
        DataError: If the folder is not empty, or cannot be written.
        ValueError: If there are no recordings, a file cannot have one of the names, frames differ in size, or a value is too
            large for float16.

    Example:
        >>> import tempfile
        >>> frames = [np.ones((4, 5), np.float32), np.zeros((0, 5), np.float32)]
        >>> recordings = Recordings(text=["so good", ""], sequences={"audio": frames})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_store(f"{folder}/my_set", {"train": recordings})
        ...     train = open_store(f"{folder}/my_set")["train"]
        ...     train.text, train.sequences["audio"][0].shape, train.missing
        (['so good', ''], (4, 5), {'text': 1, 'audio': 1})
    """
    if not splits or not all(map(len, splits.values())):
        counts = ", ".join(f"{name} {len(split)}" for name, split in splits.items())
        raise ValueError(f"expected recordings in every split, got {counts or 'no split'}")
    index = {"version": VERSION, "splits": {name: _entry(name, split) for name, split in splits.items()}}

    def write(part: Path) -> None:
        for name, split in splits.items():
            _write_split(part / name, split, np.dtype(dtype))
        (part / "store.json").write_bytes(json.dumps(index).encode())

    write_new_folder(folder, write)


def open_store(folder: str | os.PathLike[str]) -> dict[str, Recordings]:
    """Opens a store: reads everything but the frames, which stay in their files, mapped into memory.

    `sequences[name][i]` is a read-only view; if the store keeps float16, it is a copy in float32. Files are mapped anew now
    and then, so that memory use stays small however many recordings are read. The recordings can be pickled, and the worker
    processes of a `DataLoader` can use them: each maps the files for itself.

    Arguments:
        folder: The folder.

    Returns:
        The recordings by the names of their splits.

    Raises:
        DataError: If it is no store, or a damaged one.
    """
    folder = Path(folder).absolute()
    path = folder / "store.json"
    if not os.path.exists(path):
        raise DataError(f"{folder}: no store.json in it")
    try:
        content = json.loads(read_bytes(path, "JSON"))
    except DataError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}") from None
    content = expect.dictionary(path, content)
    if content.get("version") != VERSION:
        raise DataError(f"{path}: expected version {VERSION}, got {ascii(content.get('version'))[:40]}")
    splits = expect.dictionary(f"{path}: splits", content.get("splits"))
    names = _names(f"{path}: splits", list(splits))
    return {name: _open_split(folder / name, f"{path}: {name}", splits[name]) for name in names}


def _entry(name: str, recordings: Recordings) -> dict[str, Any]:
    """What `store.json` says of a split."""
    names = {field: list(getattr(recordings, field)) for field in ("sequences", *DIMENSIONS)}
    wrong = [each for each in (name, *chain(*names.values())) if not PLAIN.fullmatch(each)]
    if wrong:
        raise ValueError(f"expected names that files can have, got {messages.listed(wrong)}")
    entry = {"text": recordings.text, "ids": recordings.ids, "labels": recordings.labels is not None, **names}
    notes = {"computed_by": recordings.computed_by, "class_names": recordings.class_names}
    return {**entry, **{name: note for name, note in notes.items() if note}}


def _write_split(folder: Path, recordings: Recordings, dtype: np.dtype) -> None:
    for name, frames in recordings.sequences.items():
        with _new_file(folder / "sequences" / f"{name}.npy") as file:
            starts = _write_frames(file, name, frames, recordings.feature_sizes[name], dtype)
        with _new_file(folder / "starts" / f"{name}.npy") as file:
            np.save(file, starts, allow_pickle=False)
    arrays = {f"{field}/{name}": array for field in DIMENSIONS for name, array in getattr(recordings, field).items()}
    if recordings.labels is not None:
        arrays["labels"] = recordings.labels
    for name, array in arrays.items():
        with _new_file(folder / f"{name}.npy") as file:
            np.save(file, array, allow_pickle=False)


def _write_frames(file: BinaryIO, name: str, frames: Sequence[np.ndarray], size: int, dtype: np.dtype) -> np.ndarray:
    """Writes the frames of all recordings as one array; returns where each recording begins."""

    def head(length: int) -> None:
        # NumPy leaves room in the head for any length, so that it can be written again at the end.
        shape = {"shape": (length, size), "fortran_order": False, "descr": np.lib.format.dtype_to_descr(dtype)}
        np.lib.format.write_array_header_1_0(file, shape)

    head(0)
    starts = [0]
    for i in range(len(frames)):
        given = frames[i]
        if given.ndim != 2 or given.shape[1] != size:
            raise ValueError(f"expected frames (T, {size}) in {name}[{i}], got {given.shape}")
        with np.errstate(over="ignore"):
            kept = np.ascontiguousarray(given, dtype)
        if np.isinf(kept).sum() > np.isinf(given).sum():
            largest = np.abs(given[np.isfinite(given)]).max()
            raise ValueError(f"expected values that {dtype} can hold in {name}[{i}], got {largest:g}")
        file.write(kept.data)
        starts.append(starts[-1] + len(kept))
    file.seek(0)
    head(starts[-1])
    return np.array(starts, np.int64)


def _new_file(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return open(path, "xb")


def _open_split(folder: Path, where: str, entry: object) -> Recordings:
    entry = expect.dictionary(where, entry)
    text, ids = (_strings(f"{where}: {key}", entry.get(key)) for key in ("text", "ids"))
    sequences = _names(f"{where}: sequences", entry.get("sequences"))
    frames: dict[str, Sequence[np.ndarray]] = {name: _open_frames(folder, name) for name in sequences}
    arrays = {
        field: {
            name: np.array(_mapped(folder / field / f"{name}.npy", dimensions))
            for name in _names(f"{where}: {field}", entry.get(field))
        }
        for field, dimensions in DIMENSIONS.items()
    }
    labels = (
        expect.in_float32(f"{where}: labels", _mapped(folder / "labels.npy", 1, 2)) if entry.get("labels") else None
    )
    computed_by = expect.dictionary(f"{where}: computed_by", entry.get("computed_by", {}))
    _strings(f"{where}: computed_by", list(computed_by.values()))
    names = expect.dictionary(f"{where}: class_names", entry.get("class_names", {}))
    class_names = {name: _strings(f"{where}: class_names: {name}", classes) for name, classes in names.items()}
    try:
        return Recordings(text, frames, labels, ids, **arrays, computed_by=computed_by, class_names=class_names)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None


def _strings(where: str, value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise DataError(f"{where}: expected a list of text, got {messages.kind(value)}")
    return value


def _names(where: str, value: object) -> list[str]:
    """Names of files that do not lead out of their folder."""
    names = _strings(where, value)
    wrong = [name for name in names if not PLAIN.fullmatch(name)]
    if wrong:
        raise DataError(f"{where}: expected names of files, got {messages.listed(wrong)}")
    return names


def _open_frames(folder: Path, name: str) -> LazyFrames:
    path = folder / "sequences" / f"{name}.npy"
    array, starts = _mapped(path, 2), np.array(_mapped(folder / "starts" / f"{name}.npy", 1))
    if array.dtype not in (np.float32, np.float16):
        raise DataError(f"{path}: expected float32 or float16, got {array.dtype}")
    lengths = np.diff(starts)
    if starts.dtype != np.int64 or not len(lengths) or starts[0] != 0 or starts[-1] != len(array) or lengths.min() < 0:
        raise DataError(f"{folder}: starts/{name}.npy does not fit the {len(array)} frames of sequences/{name}.npy")
    return LazyFrames(MappedFrames(path, starts), range(len(lengths)), lengths.tolist(), array.shape[1])


def _mapped(path: Path, *dimensions: int) -> np.ndarray:
    """An array of numbers in its file, of any of these dimensions."""
    array = map_array(path)
    if array.ndim not in dimensions or array.dtype.kind not in "fiub":
        wanted = " or ".join(map(str, dimensions))
        raise DataError(f"{path}: expected an array of numbers with {wanted} dimensions, got {messages.kind(array)}")
    return array


class MappedFrames:
    """Reads the frames of a recording from the array in a file, mapped into memory.

    Pages of a mapped file stay in memory once they were read, so the file is mapped anew after every `RESIDENT` bytes.

    Arguments:
        path: The file.
        starts: Where the frames of each recording begin, and where the last ones end.
    """

    def __init__(self, path: Path, starts: np.ndarray):
        self.path, self.starts = path, starts
        self._map: np.ndarray | None = None
        self._seen = 0

    def __call__(self, index: int) -> np.ndarray:
        """The frames of a recording, `(T, D)` float32."""
        array = self._map
        if array is None or self._seen > RESIDENT:
            array = self._map = _mapped(self.path, 2)
            self._seen = 0
        frames = array[self.starts[index] : self.starts[index + 1]]
        self._seen += frames.nbytes + AROUND
        return np.asarray(frames, np.float32)

    def __getstate__(self) -> dict[str, Any]:
        """Without the map, which would be pickled as the whole content of the file."""
        return {**self.__dict__, "_map": None}
