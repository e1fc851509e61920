"""One pass over the recordings of a split: what their frames show, and the checksum of all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from disentangle.data.computed_by import SIZE, Looks
from disentangle.data.recordings import Recordings
from disentangle.data.report.checks import normalized
from disentangle.data.writing_systems import count_words

__all__ = ["MAIN", "Frames", "Scan", "scan"]

MAIN = ""  # the name of Recordings.labels, among labels by name


@dataclass
class Frames:
    """What the frames of a modality have shown so far; `low` and `high` are the least and largest finite values."""

    low: np.ndarray
    high: np.ndarray
    looks: Looks | None = None
    nan: int = 0
    infinite: int = 0
    nonfinite_recordings: int = 0
    zero_ends: int = 0

    def see(self, frames: np.ndarray) -> tuple[str, bool]:
        """Counts the frames of a recording, at least one; returns their checksum, and whether it tells them from others."""
        # Equal values have equal checksums: there are two zeros, and many NaN.
        values = (frames.astype(np.float32) + np.float32(0)).astype("<f4", copy=False)
        finite, nan = np.isfinite(values), np.isnan(values)
        values[nan] = np.nan
        if self.looks:
            self.looks.see(values)
        self.nan += int(nan.sum())
        self.infinite += int((~finite & ~nan).sum())
        self.nonfinite_recordings += not finite.all()
        self.zero_ends += not (values[0].any() and values[-1].any())
        known = np.where(finite, values, np.float32("nan"))
        low, high = np.fmin.reduce(known), np.fmax.reduce(known)
        self.low, self.high = np.fmin(self.low, low), np.fmax(self.high, high)
        differ = bool(np.fmin.reduce(low) < np.fmax.reduce(high))
        return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest(), differ


@dataclass
class Scan:
    """What a pass over a split has shown.

    Attributes:
        frames: What is in each modality.
        lengths: The length of each recording, by modality, and of its transcript, as "text".
        keys: By "id", "transcript" and modality, what each recording is compared by with other splits; "" equals nothing.
        sha256: The checksum of the whole split.
    """

    frames: dict[str, Frames]
    lengths: dict[str, np.ndarray]
    keys: dict[str, list[str]]
    sha256: str


def scan(recordings: Recordings, advance: Callable[[], object] | None) -> Scan:
    """Reads each frame of a split once; `advance` is called after each recording."""
    sizes = recordings.feature_sizes
    frames = {
        m: Frames(
            low=np.full(size, np.nan, np.float32),
            high=np.full(size, np.nan, np.float32),
            looks=Looks() if (m, size) == ("audio", SIZE) else None,
        )
        for m, size in sizes.items()
    }
    lengths = {"text": np.array([count_words(text) for text in recordings.text], np.int64)}
    lengths |= {m: np.zeros(len(recordings), np.int64) for m in frames}
    named = recordings.ids != [str(i) for i in range(len(recordings))]
    keys = {
        "id": recordings.ids if named else [""] * len(recordings),
        "transcript": [normalized(text) for text in recordings.text],
        **{m: [""] * len(recordings) for m in frames},
    }
    labels = {MAIN: recordings.labels, **recordings.more_labels}
    content = hashlib.sha256()
    for i in range(len(recordings)):
        row = {name: float(each[i]) for name, each in labels.items() if each is not None and not np.isnan(each[i])}
        checksums = {}
        for m in frames:
            array = np.asarray(recordings.sequences[m][i])
            lengths[m][i] = len(array)
            if len(array):
                checksum, differ = frames[m].see(array)
                keys[m][i] = checksum if differ else ""
                checksums[m] = [*array.shape, checksum]
        line = json.dumps([recordings.ids[i], recordings.text[i], row, checksums], sort_keys=True)
        content.update(f"{line}\n".encode())
        if advance is not None:
            advance()
    return Scan(frames, lengths, keys, content.hexdigest())
