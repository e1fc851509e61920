"""What is in a data set: lengths, padding, what is missing or not finite, labels, and recordings that two splits share.

Every frame is read once and let go, so that sets larger than memory can be described.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from disentangle.data.looks import SIZE, Looks
from disentangle.data.recordings import Recordings
from disentangle.data.report_checks import find_leaks, normalized, warnings
from disentangle.data.report_parts import Histogram, Labels, Leak, Lengths, Modality, Padding, Source, Split
from disentangle.data.report_text import render
from disentangle.data.words import count_words
from disentangle.metrics import LabelScale, label_scale

__all__ = ["DataReport", "describe"]

# Bins of labels, one around the middle of the scale; and the most of lengths.
BINS = 13
LENGTH_BINS = 24
MAIN = ""  # among labels by name, those of Recordings.labels


@dataclass(frozen=True)
class DataReport:
    """What is in a data set; as text, for a terminal.

    Attributes:
        splits: Its splits, by name.
        leaks: For each two splits, the recordings that are in both.
        warnings: What is wrong, each a line.
        source: Where it was read from, if it was.
        scale: What the labels of train are, which decides on the metrics; None without any, or where all are the same.
    """

    splits: dict[str, Split]
    leaks: tuple[Leak, ...]
    warnings: tuple[str, ...]
    source: Source | None = None
    scale: LabelScale | None = None

    def __str__(self) -> str:
        return render(self.source, self.warnings, self.splits, self.scale)

    def to_json(self) -> str:
        """The same as JSON: an object with the attributes' names."""
        return json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False)


def describe(
    splits: Mapping[str, Recordings],
    *,
    source: Source | None = None,
    unread: Iterable[str] = (),
    advance: Callable[[], object] | None = None,
) -> DataReport:
    """Describes a data set.

    Arguments:
        splits: The recordings by the names of their splits, such as `read_recordings` gives.
        source: Where they come from.
        unread: What lies there and is not read, each a line: the text of each `DataWarning` of reading it.
        advance: Called after each recording, for a progress bar.

    Example:
        >>> frames = [np.ones((4, 5), np.float32), np.zeros((0, 5), np.float32)]
        >>> train = Recordings(["so good", "so bad"], {"audio": frames}, np.array([2, -1], np.float32), ["a", "b"])
        >>> report = describe({"train": train, "test": train.select([0])})
        >>> report.splits["train"].modalities["audio"].missing, report.splits["train"].labels.mean
        (1, 0.5)
        >>> print(*report.warnings, sep="\\n")
        test: 1 of 1 recording is also in train: same id 1, same transcript 1; for example a = a
    """
    scans = {name: _scan(recordings, advance) for name, recordings in splits.items()}
    labels = {name: _labels(recordings) for name, recordings in splits.items()}
    length_edges = _edges((scan.lengths for scan in scans.values()), _length_bins)
    label_edges = _edges(labels.values(), _label_bins)
    described = {}
    for name, recordings in splits.items():
        scan = scans[name]
        others = {label: _described_labels(values, label_edges[label]) for label, values in labels[name].items()}
        main = others.pop(MAIN, None)
        described[name] = Split(
            recordings=len(recordings),
            unlabeled=len(recordings) - (main.count if main else 0),
            missing_text=recordings.text.count(""),
            words=_described_lengths(scan.lengths["text"], length_edges["text"]),
            modalities={
                m: _described_frames(
                    seen,
                    scan.lengths[m],
                    length_edges[m],
                    recordings.padding.get(m),
                    recordings.computed_by.get(m),
                )
                for m, seen in scan.frames.items()
            },
            labels=main,
            more_labels=others,
            duplicate_ids=tuple(each for each, count in Counter(recordings.ids).items() if count > 1),
            sha256=scan.sha256,
        )
    ids = {name: recordings.ids for name, recordings in splits.items()}
    leaks = find_leaks(ids, {name: scan.keys for name, scan in scans.items()})
    mains = {name: each[MAIN] for name, each in labels.items() if MAIN in each}
    train = mains.get("train", np.zeros(0))
    scale = label_scale(train) if len(np.unique(train)) > 1 else None
    return DataReport(described, leaks, (*unread, *warnings(described, leaks, mains, scale)), source, scale)


@dataclass
class _Frames:
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
class _Scan:
    """What a pass over a split has shown.

    Attributes:
        frames: What is in each modality.
        lengths: The length of each recording, by modality, and of its transcript, as "text".
        keys: What each recording is compared by with those of other splits, by what it is of; "" for nothing.
        sha256: The checksum of all.
    """

    frames: dict[str, _Frames]
    lengths: dict[str, np.ndarray]
    keys: dict[str, list[str]]
    sha256: str


def _scan(recordings: Recordings, advance: Callable[[], object] | None) -> _Scan:
    sizes = recordings.feature_sizes
    frames = {
        m: _Frames(
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
    return _Scan(frames, lengths, keys, content.hexdigest())


def _labels(recordings: Recordings) -> dict[str, np.ndarray]:
    """The labels that are there, where there are any."""
    labels = {MAIN: recordings.labels, **recordings.more_labels}
    finite = {name: each[np.isfinite(each)].astype(np.float64) for name, each in labels.items() if each is not None}
    return {name: values for name, values in finite.items() if len(values)}


def _edges(
    groups: Iterable[Mapping[str, np.ndarray]], bins: Callable[[np.ndarray], np.ndarray]
) -> dict[str, np.ndarray]:
    """Bins for the values of each name in all groups: splits can be compared where they are the same."""
    values: dict[str, list[np.ndarray]] = {}
    for group in groups:
        for name, each in group.items():
            values.setdefault(name, []).append(each)
    return {name: bins(np.concatenate(each)) for name, each in values.items()}


def _label_bins(values: np.ndarray) -> np.ndarray:
    return np.histogram_bin_edges(values, BINS)


def _length_bins(lengths: np.ndarray) -> np.ndarray:
    """Each bin holds as many whole numbers."""
    real = lengths[lengths > 0]
    low, high = (int(real.min()), int(real.max())) if len(real) else (1, 1)
    width = -(-(high - low + 1) // LENGTH_BINS)
    return np.arange(low, high + width + 1, width) - 0.5


def _histogram(values: np.ndarray, edges: np.ndarray) -> Histogram:
    counts, _ = np.histogram(values, edges)
    return Histogram(tuple(edges.tolist()), tuple(counts.tolist()))


def _described_lengths(lengths: np.ndarray, edges: np.ndarray) -> Lengths | None:
    real = lengths[lengths > 0]
    if not len(real):
        return None
    return Lengths(int(real.min()), float(np.median(real)), int(real.max()), int(real.sum()), _histogram(real, edges))


def _described_labels(values: np.ndarray, edges: np.ndarray) -> Labels:
    return Labels(
        count=len(values),
        mean=float(values.mean()),
        sd=float(values.std()),
        min=float(values.min()),
        max=float(values.max()),
        zeros=int((values == 0).sum()),
        histogram=_histogram(values, edges),
    )


def _described_frames(
    seen: _Frames, lengths: np.ndarray, edges: np.ndarray, cut: np.ndarray | None, computed_by: str | None
) -> Modality:
    present = lengths > 0
    return Modality(
        size=len(seen.low),
        missing=int((~present).sum()),
        lengths=_described_lengths(lengths, edges),
        padding=None if cut is None or not present.any() else _described_padding(cut[present]),
        zero_ends=seen.zero_ends,
        nan=seen.nan,
        infinite=seen.infinite,
        nonfinite_recordings=seen.nonfinite_recordings,
        constant=tuple(np.flatnonzero(~(seen.low < seen.high)).tolist()) if present.any() else (),
        computed_by=computed_by,
        looks_like=seen.looks.told if seen.looks else None,
    )


def _described_padding(cut: np.ndarray) -> Padding:
    (front, back), (front_max, back_max) = cut.sum(0).tolist(), cut.max(0).tolist()
    sides = {(True, True): "both", (True, False): "front", (False, True): "back", (False, False): "none"}
    return Padding(sides[front > 0, back > 0], front, back, front_max, back_max)
