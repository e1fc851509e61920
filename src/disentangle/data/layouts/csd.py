"""Computational sequences, the `.csd` files of the CMU Multimodal SDK: a folder with one per modality and one of labels.

A `.csd` is HDF5, `<root>/data/<id>/{features, intervals}`: frames `(T, D)`, and when each begins and ends, `(T, 2)` in seconds.
The name of a file, or of its root, tells what it holds:

- *labels* ("label"): a row per recording, with the interval of the recording; the first column is the label, others go to
  `more_labels`, under CMU-MOSEI's names if there are 7 columns;
- *words* ("words" or "transcript"): their text; "sp", a pause, is left out of the transcript;
- *audio* ("covarep", "opensmile", "acoustic" or "audio"), *vision* ("facet", "openface", "visual", "vision" or "video"),
  *glove* ("glove" or "wordvectors");
- any other of numbers: a modality of the root's name.

Recording k of video v is called `v[k]`, as the SDK's `align` does. It has the words and frames whose middle is within its
interval, in the order of time. So a frame across the border of two recordings belongs to one of them; the SDK gives it to
both. In files that were aligned already, entries are called `v[k]`, and all frames of the entry belong to the recording. A
recording whose interval does not end after it starts is left out, and a `DataWarning` names it; it keeps its number.

`splits.json`, `{id: split}`, or `splits.csv`, beside the files, says which split a recording or a video belongs to; what it
does not name is left out. Without such a file, all are for training.

Frames stay in the file until they are asked for, and are as long as they are: zeros at either end are data. Reading a
recording decompresses its whole video, which is kept for the next one: good enough to convert to another layout, but not to
train from.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from disentangle.data import expect, messages
from disentangle.data.data_warnings import warn, warn_of_files
from disentangle.data.layouts.hdf5 import Entries, opened
from disentangle.data.layouts.index_rows import Row, gather, read_splits, warn_of_unused
from disentangle.data.layouts.mag_bert import EMOTIONS
from disentangle.data.recordings import LazyFrames, Recordings
from disentangle.data.writing_systems import join_words
from disentangle.errors import DataError

__all__ = ["read"]

PAUSE = "sp"
# In the order in which a name is looked at; a pattern's role, or the modality that it is.
ROLES = (
    ("labels", "label"),
    ("glove", "glove|wordvectors"),
    ("words", "words|transcript"),
    ("audio", "covarep|opensmile|acoustic|audio"),
    ("vision", "facet|openface|visual|vision|video"),
)


class Recording(NamedTuple):
    """A row of the labels."""

    video: str
    id: str
    start: float
    end: float
    labels: np.ndarray


def read(path: str | os.PathLike[str]) -> dict[str, Recordings]:
    """Reads a folder of `.csd` files; returns its splits, "train", "valid", "test" or "unlabeled", by name.

    Arguments:
        path: The folder.

    Raises:
        DataError: If it cannot be used.
        ImportError: If h5py is not installed.
    """
    folder = Path(path)
    files = _files(folder)
    recordings = _recordings(files["labels"])
    warn_of_files(folder, [*files.values(), folder / "splits.json", folder / "splits.csv"])
    del files["labels"]
    splits = read_splits(folder)
    if splits is not None:
        known, total = {name for each in recordings for name in (each.id, each.video)}, len(recordings)
        recordings = [each for each in recordings if splits.get(each.id) or splits.get(each.video)]
        if not recordings:
            raise DataError(f"{folder}: the splits name none of the recordings")
        warn_of_unused(folder, splits, known, total, len(recordings))
    texts = _transcripts(files.pop("words"), recordings) if "words" in files else [""] * len(recordings)
    sequences = {name: _frames(file, recordings) for name, file in files.items()}
    rows = []
    for recording, text in zip(recordings, texts, strict=True):
        split = None if splits is None else splits.get(recording.id) or splits.get(recording.video)
        label, *others = recording.labels.tolist()
        names = EMOTIONS if len(others) == len(EMOTIONS) else [str(c) for c in range(1, len(others) + 1)]
        rows.append(Row(recording.id, text, label, split, dict(zip(names, others, strict=True))))
    return gather(str(folder), rows, sequences, {})


def _files(folder: Path) -> dict[str, Path]:
    """The files of a folder by what they are: "labels", "words", and the modalities."""
    paths = sorted(folder.glob("*.csd"))
    roles: dict[str, list[tuple[Path, str]]] = {}
    for path in paths:
        with opened(path) as entries:
            root, is_text = entries.root, entries.is_text(next(iter(entries.ids)))
        name = f"{path.stem} {root}".lower()
        own = re.sub(r"\W+", "_", root).strip("_") or path.stem
        role = next((role for role, pattern in ROLES if re.search(pattern, name)), own)
        if is_text == (role == "words"):  # phones, for example, are neither words nor frames
            roles.setdefault(role, []).append((path, own))
    if "labels" not in roles:
        raise DataError(f"{folder}: expected a .csd of labels, got {messages.listed(path.name for path in paths)}")
    files = {}
    for role, found in roles.items():
        if len(found) > 1 and role in ("labels", "words"):
            raise DataError(
                f"{folder}: expected one .csd of {role}, got {messages.listed(path.name for path, _ in found)}"
            )
        # Two sets of acoustic features, for example, go by their own names.
        files |= {role: found[0][0]} if len(found) == 1 else {own: path for path, own in found}
    return files


def _recordings(path: Path) -> list[Recording]:
    """The rows of the labels whose intervals end after they start."""
    result, empty = [], []
    sizes = set()
    with opened(path) as entries:
        for video in entries.ids:
            labels, intervals = entries.features(video), entries.intervals(video)
            sizes.add(labels.shape[1])
            labels = expect.floats(f"{path}: {messages.listed([video])}", labels, np.float64)
            expect.labels(f"{path}: {messages.listed([video])}", labels[:, :1])
            whole = len(labels) == 1 and video.endswith("]")
            for k, (row, (start, end)) in enumerate(zip(labels, intervals.tolist(), strict=True)):
                name = video if whole else f"{video}[{k}]"
                if start < end or whole:
                    result.append(Recording(_video(video), name, start, end, row))
                else:
                    empty.append(f"{name} from {start:g} to {end:g}")
    expect.one_size(path, sizes, "labels")
    if empty:
        warn(f"{path}: {len(empty)} recordings do not end after they start and are left out: {messages.listed(empty)}")
    if not result:
        raise DataError(f"{path}: expected intervals that end after they start, got none")
    return result


def _video(name: str) -> str:
    """The video of a recording: `v` for `v[3]`."""
    return re.sub(r"\[\d+\]\Z", "", name)


Rows = slice | np.ndarray


def _located(entries: Entries, recordings: Sequence[Recording]) -> list[tuple[str, Rows, int] | None]:
    """Where a file has each recording: the entry, its rows in the order of time, and how many; None if it has none.

    Recordings of a video follow one another, so the order of its frames is computed once.
    """
    result: list[tuple[str, Rows, int] | None] = []
    video, order, middles = "", np.zeros(0, np.int64), np.zeros(0)
    for recording in recordings:
        if recording.id in entries.ids:
            length, _ = entries.shape(recording.id)
            result.append((recording.id, slice(0, length), length))
        elif recording.video not in entries.ids:
            result.append(None)
        else:
            if recording.video != video:
                video = recording.video
                middles = entries.intervals(video).mean(1)
                order = np.argsort(middles, kind="stable")
                middles = middles[order]
            first, last = np.searchsorted(middles, (recording.start, recording.end)).tolist()
            rows = order[first:last]
            in_order = not len(rows) or np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows)))
            found = slice(rows[0], rows[-1] + 1) if len(rows) and in_order else rows
            result.append((video, found, len(rows)))
    return result


def _transcripts(path: Path, recordings: Sequence[Recording]) -> list[str]:
    """The words of each recording, without pauses."""
    texts = []
    with opened(path) as entries:
        last = ("", np.zeros((0, 1), "S1"))
        for each in _located(entries, recordings):
            if each is None:
                texts.append("")
                continue
            entry, rows, _ = each
            if last[0] != entry:
                last = (entry, entries.features(entry))
            # Words of fixed length can be cut within a character.
            words = [word.decode("utf-8", "replace").strip() for word in last[1][rows].ravel().tolist()]
            texts.append(join_words(word for word in words if word != PAUSE))
    return texts


def _frames(path: Path, recordings: Sequence[Recording]) -> LazyFrames:
    """The frames of each recording."""
    with opened(path) as entries:
        located = _located(entries, recordings)
        used = sorted({each[0] for each in located if each})
        sizes = {entries.shape(name)[1] for name in used}
        wrong = [name for name in used if entries.is_text(name)]
    if wrong:
        raise DataError(f"{path}: expected numbers in all entries, got text in {messages.listed(wrong)}")
    if not sizes:
        raise DataError(f"{path}: has none of the recordings of the labels")
    size = expect.one_size(path, sizes)
    lengths = [each[2] if each else 0 for each in located]
    return LazyFrames(_Reader(path), [each and each[:2] for each in located], lengths, size)


class _Reader:
    """Reads rows of entries, and keeps the entry that it read last: recordings of one video often follow one another."""

    def __init__(self, path: Path):
        self.path = path
        self.last: tuple[str, np.ndarray] | None = None

    def __call__(self, key: tuple[str, Rows]) -> np.ndarray:
        entry, rows = key
        last = self.last
        if last is None or last[0] != entry:
            with opened(self.path) as entries:
                last = self.last = (entry, entries.features(entry))
        return expect.floats(f"{self.path}: {messages.listed([entry])}", last[1][rows])

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "last": None}
