"""The features of many files, written to a folder."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from disentangle.data.computed_by import RECORD, read_record, record
from disentangle.errors import DataError
from disentangle.features.audio import AudioKind, audio_features, columns_of, import_librosa
from disentangle.features.openface import OPENFACE_FEATURES, openface_features
from disentangle.files import write_file

__all__ = ["Failed", "extract_audio", "extract_vision"]

# The pool does not say which file it was.
CRASHED = "not done, since a process ended abruptly: out of memory? Run again, with fewer at once"

Features = Callable[[Path], np.ndarray]


class Failed(NamedTuple):
    """A file whose features could not be computed, and why."""

    file: Path
    reason: str


def extract_audio(
    files: Iterable[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    *,
    like: AudioKind = "paper",
    at_once: int = 1,
    progress: bool = True,
) -> list[Failed]:
    """Writes `audio_features` of many files, `folder/<name without ending>.npy` for each.

    A record beside them says what computed them: see `disentangle.data.computed_by`. Files whose features are there already
    are skipped, so an interrupted run continues where it stopped; delete an array to compute it again. Each is written under
    another name and then renamed, so none is ever incomplete.

    Arguments:
        files: Files of sound, or videos.
        folder: Where to write; it is made if it is not there.
        like: The kind of features: "paper", or "mmsa" as in CH-SIMS and MMSA.
        at_once: How many files to work on at a time, in a process each. With more than one, a script needs the usual
            `if __name__ == "__main__":`.
        progress: Whether to show a bar.

    Returns:
        The files that could not be read. The others are written.

    Raises:
        ValueError: If two files would be written to one name, `at_once` is less than 1, or the folder holds features of
            another or of an unknown kind.
        ImportError: Where librosa is missing.

    Example:
        >>> import tempfile
        >>> failed = extract_audio(["/nowhere/1.mp4"], tempfile.mkdtemp(), progress=False)
        >>> [(file.name, reason) for file, reason in failed]
        [('1.mp4', 'no such file')]
    """
    import_librosa()
    features = functools.partial(audio_features, like=like)
    return _extract(features, files, folder, at_once, progress, computed=(like, columns_of(like)))


def extract_vision(
    files: Iterable[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    *,
    at_once: int = 1,
    progress: bool = True,
) -> list[Failed]:
    """Writes `openface_features` of many CSV files of OpenFace, in the same way as `extract_audio`.

    Arguments:
        files: CSV files of OpenFace's FeatureExtraction.
        folder: Where to write; it is made if it is not there.
        at_once: How many files to work on at a time, in a process each.
        progress: Whether to show a bar.

    Returns:
        The files that could not be read.

    Raises:
        ValueError: If two files would be written to one name, `at_once` is less than 1, or the folder holds features of
            another or of an unknown kind.
    """
    return _extract(openface_features, files, folder, at_once, progress, computed=("openface", OPENFACE_FEATURES))


def _extract(
    features: Features,
    files: Iterable[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    at_once: int,
    progress: bool,
    computed: tuple[str, Sequence[str]],
) -> list[Failed]:
    if at_once < 1:
        raise ValueError(f"expected at_once of at least 1, got {at_once}")
    targets: dict[Path, Path] = {}
    for file in dict.fromkeys(map(Path, files)):
        target = Path(folder) / f"{file.stem}.npy"
        if target in targets:
            raise ValueError(f"expected files of different names, got {targets[target]} and {file}, both {target.name}")
        targets[target] = file
    Path(folder).mkdir(parents=True, exist_ok=True)
    _record(Path(folder), *computed)
    work = {file: target for target, file in targets.items() if not target.exists()}
    outcomes = tqdm(_outcomes(features, work, at_once), total=len(work), disable=not progress, unit="file")
    failed = {file: reason for file, reason in outcomes if reason is not None}
    return [Failed(file, failed[file]) for file in work if file in failed]


def _record(folder: Path, computed_by: str, columns: Sequence[str]) -> None:
    """Writes the record of what computes the features before the first of them; refuses a folder of others."""
    found = read_record(folder)
    if found is None and any(folder.glob("*.npy")):
        raise ValueError(f"{folder}: expected a new folder or one with a {RECORD}, got .npy files of an unknown kind")
    if found not in (None, computed_by):
        raise ValueError(f"{folder}: expected a folder of features computed by {computed_by}, got one of {found}")
    if found is None:
        write_file(folder / RECORD, lambda path: path.write_text(record(computed_by, columns), encoding="utf-8"))


def _outcomes(features: Features, work: dict[Path, Path], at_once: int) -> Iterator[tuple[Path, str | None]]:
    """Each file when it is done, with why it failed, or None."""
    if at_once == 1 or len(work) < 2:
        for file, target in work.items():
            yield file, _write(features, file, target)
        return
    # Spawned, not forked: a process that has run threads, as torch does, cannot be forked safely.
    with ProcessPoolExecutor(min(at_once, len(work)), mp_context=get_context("spawn")) as pool:
        try:
            futures = {pool.submit(_write, features, file, target): file for file, target in work.items()}
            for future in as_completed(futures):
                try:
                    yield futures[future], future.result()
                except BrokenProcessPool:
                    yield futures[future], CRASHED
        finally:
            pool.shutdown(cancel_futures=True)


def _write(features: Features, file: Path, target: Path) -> str | None:
    """Writes the features of a file, or says why the file has none. If they cannot be written, it raises."""
    try:
        values = features(file)
    except DataError as error:
        return str(error).removeprefix(f"{file}: ")
    except Exception as error:  # whatever else a damaged file leads to, also in other libraries
        return " ".join(f"{type(error).__name__}: {error}".split())[:200]
    write_file(target, lambda path: np.save(path, values))
    return None
