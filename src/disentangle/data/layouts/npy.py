"""Frames in `.npy` files, a folder per modality and a file per recording: `<folder>/<modality>/<name>.npy`, each `(T, D)`."""

from __future__ import annotations

import functools
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from disentangle.data import expect, messages
from disentangle.data.computed_by import RECORD
from disentangle.data.data_warnings import warn_of_features
from disentangle.data.opening import map_array
from disentangle.data.recordings import LazyFrames
from disentangle.errors import DataError

__all__ = ["frames_shape", "modalities", "read_frames"]


def modalities(folder: Path, names: Sequence[str]) -> dict[str, LazyFrames]:
    """The frames of each modality, read when they are asked for; before, only the heads of the files are read.

    A modality is a folder with at least one `.npy` in it, and is missing for a name that has no file. What else is in the
    folders is left alone, and a `DataWarning` names it. An accented letter is the same whether it is one character or, as
    macOS writes names of files, two.

    Arguments:
        folder: Where the modalities' folders are.
        names: The names of the files, without `.npy`.

    Raises:
        DataError: If a name or a link leads out of the folder, or the files are not of frames of one size.
    """
    result = {}
    for modality, files in _folders(folder).items():
        there = _arrays(files)
        composed = {_composed(name): file for name, file in there.items()}
        found = [there.get(name) or composed.get(_composed(name)) for name in names]
        warn_of_features(modality, files, [RECORD, *filter(None, found)], names)
        if not there or not names:
            continue
        _check_inside(str(modality), folder)
        if modality.name == "text":
            raise DataError(
                f"{modality}: expected the name of these features, glove for example, got text, which is the transcripts"
            )
        wrong = [name for name in names if not _is_plain(name)]
        if wrong:
            raise DataError(f"{modality}: expected ids that are plain names of files, got {messages.listed(wrong)}")
        paths = [None if file is None else str(modality / file) for file in found]
        if not any(paths):
            raise DataError(
                f"{modality}: none of its {len(there)} files is {messages.listed([names[0]])}.npy, or that of another recording"
            )
        for path in paths:
            if path is not None and os.path.islink(path):
                _check_inside(path, folder)
        heads = [(0, 0) if path is None else frames_shape(path) for path in paths]
        size = expect.one_size(modality, {size for length, size in heads if length})
        lengths = [length for length, _ in heads]
        result[modality.name] = LazyFrames(functools.partial(read_frames, size=size), paths, lengths, size)
    return result


def read_frames(path: str, size: int | None = None) -> np.ndarray:
    """The frames of a file, `(T, D)` float32.

    Arguments:
        path: The file.
        size: D, as it should be.

    Raises:
        DataError: If the file cannot be read, or holds anything else.
    """
    array = _mapped(path)
    if size is not None and len(array) and array.shape[1] != size:
        raise DataError(f"{path}: expected frames of size {size}, got {array.shape[1]}")
    return expect.floats(path, np.array(array))


def frames_shape(path: str) -> tuple[int, int]:
    """How many frames a file has, and their size; only its head is read.

    Arguments:
        path: The file.

    Raises:
        DataError: If the file cannot be read, or holds anything else.
    """
    length, size = _mapped(path).shape
    return length, size


def _folders(folder: Path) -> dict[Path, list[str]]:
    """The folders in a folder, and what is in each, by name."""
    try:
        found = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        return {path: sorted(os.listdir(path)) for path in found}
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read: {error.strerror}") from error


def _arrays(files: Sequence[str]) -> dict[str, str]:
    """The `.npy` files among some in order, by their names without it; of `a.NPY` and `a.npy` the second counts."""
    return {file[: -len(".npy")]: file for file in files if file.lower().endswith(".npy")}


def _composed(name: str) -> str:
    """A name with its accented letters as one character each."""
    return unicodedata.normalize("NFC", name)


def _check_inside(path: str, folder: Path) -> None:
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise DataError(f"{path}: a link that leads out of {folder}")


def _is_plain(name: str) -> bool:
    """Whether a name stands for a file in the folder itself, on any system."""
    return name not in ("", ".", "..") and name.isprintable() and not any(each in name for each in "/\\")


def _mapped(path: str) -> np.ndarray:
    """The frames of a file, of which only the head has been read."""
    array = map_array(path)
    if array.dtype.kind not in "fiu" or (array.shape != (0,) and array.ndim != 2):
        raise DataError(f"{path}: expected numbers (frames, features), got {messages.no_frames(array)}")
    return array.reshape(0, 0) if array.ndim == 1 else array
