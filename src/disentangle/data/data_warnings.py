"""Warnings of what lies in a data set and is not read: unread features would look as if there were none."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from disentangle.data import messages
from disentangle.errors import DataWarning

__all__ = ["collected", "warn", "warn_of_features", "warn_of_fields", "warn_of_files"]

# Endings of files that can hold features, labels or transcripts, rather than notes for people.
DATA = {
    *(".npy", ".npz", ".pkl", ".pickle", ".p", ".pt", ".pth", ".safetensors", ".mat", ".h5", ".hdf5", ".csd"),
    *(".csv", ".tsv", ".json", ".jsonl", ".xlsx", ".parquet", ".arrow", ".feather", ".arff"),
}


def warn(message: str) -> None:
    """Issues a `DataWarning`."""
    warnings.warn(message, DataWarning, stacklevel=3)


@contextmanager
def collected() -> Iterator[list[str]]:
    """Keeps each `DataWarning` of a block for a program that prints them itself; those of a block that raises are shown.

    Example:
        >>> with collected() as lines:
        ...     warn("my_set: not read: notes.json")
        >>> lines
        ['my_set: not read: notes.json']
    """
    lines: list[str] = []
    caught: list[warnings.WarningMessage] = []
    kept: tuple[type[Warning], ...] = ()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", DataWarning)
            yield lines
        kept = (DataWarning,)
    finally:
        for each in caught:
            if not issubclass(each.category, kept):
                warnings.showwarning(each.message, each.category, each.filename, each.lineno)
        lines[:] = dict.fromkeys(str(each.message) for each in caught if issubclass(each.category, kept))


def warn_of_fields(where: object, content: Iterable[object], known: Iterable[object]) -> None:
    """Names the fields, or splits, of a file that are not read, other than those `known` to be of no use here."""
    known = set(known)
    if others := [each for each in content if each not in known]:
        warn(f"{where}: not read: {messages.listed(others)}")


def warn_of_files(folder: Path, used: Iterable[Path]) -> None:
    """Names the files in a folder itself that look like data and are not read."""
    names = {path.name for path in used}
    if others := sorted(path.name for path in folder.iterdir() if path.name not in names and _is_data(path)):
        warn(f"{folder}: not read: {messages.listed(others)}")


def warn_of_features(folder: Path, files: Collection[str], used: Iterable[str], ids: Iterable[str]) -> None:
    """Names what lies unread in a modality's folder and looks like data or has the name of a recording.

    Arguments:
        folder: The folder.
        files: What is in it.
        used: Which of them are read.
        ids: The names of the recordings.
    """
    known, ids = set(used), set(ids)
    others = [name for name in files if name not in known and not name.startswith(".")]
    others = [name for name in others if Path(name).stem in ids or _is_data(path := folder / name) or _has_data(path)]
    if others:
        what = f"{len(others)} of {len(files)} files and folders are not read"
        warn(f"{folder}: {what}, expected a file <id>.npy per recording: {messages.listed(sorted(others))}")


def _is_data(path: Path) -> bool:
    return path.suffix.lower() in DATA and not path.name.startswith(".") and path.is_file()


def _has_data(path: Path) -> bool:
    return path.is_dir() and any(map(_is_data, path.iterdir()))
