"""What is in a data set: lengths, padding, what is missing or not finite, labels, and recordings that two splits share.

Every frame is read once and let go, so that sets larger than memory can be described.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from disentangle.data.recordings import Recordings
from disentangle.data.report.checks import find_leaks, warnings
from disentangle.data.report.parts import Histogram, Labels, Leak, Lengths, Modality, Padding, Source, Split
from disentangle.data.report.scan import MAIN, Frames, scan
from disentangle.data.report.text import render
from disentangle.metrics import LabelScale, label_scale
from disentangle.tasks import task_of

__all__ = ["DataReport", "describe"]

# Bins of labels, one around the middle of the scale; and the most of lengths.
BINS = 13
LENGTH_BINS = 24


@dataclass(frozen=True)
class DataReport:
    """What is in a data set; `str` gives text for a terminal.

    Attributes:
        splits: Its splits, by name.
        leaks: For any two splits, the recordings that are in both.
        warnings: What is wrong, one line each.
        source: Where it was read from, if it is known.
        scale: What the labels of train are, which decides on the metrics; None if there are none, or all are the same.
        classes: The names of the classes of train, where labels are names.
        task: What a run says that it learns from the labels of train, and the metrics that follow; "" where it refuses them.
    """

    splits: dict[str, Split]
    leaks: tuple[Leak, ...]
    warnings: tuple[str, ...]
    source: Source | None = None
    scale: LabelScale | None = None
    classes: tuple[str, ...] = ()
    task: str = ""

    def __str__(self) -> str:
        return render(self.source, self.warnings, self.splits, self.task)

    def to_json(self) -> str:
        """The report as JSON: an object with the names of the attributes."""
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
        unread: What lies there and is not read, one line each: the text of each `DataWarning` from reading it.
        advance: Called after each recording, for a progress bar.

    Raises:
        ValueError: If recordings have several labels at once, see `Recordings.with_labels`.

    Example:
        >>> frames = [np.ones((4, 5), np.float32), np.zeros((0, 5), np.float32)]
        >>> train = Recordings(["so good", "so bad"], {"audio": frames}, np.array([2, -1], np.float32), ["a", "b"])
        >>> report = describe({"train": train, "test": train.select([0])})
        >>> report.splits["train"].modalities["audio"].missing, report.splits["train"].labels.mean
        (1, 0.5)
        >>> print(*report.warnings, sep="\\n")
        test: 1 of 1 recording is also in train: same id 1, same transcript 1; for example a = a
    """
    for name, recordings in splits.items():
        if recordings.labels is not None and recordings.labels.ndim != 1:
            raise ValueError(
                f"{name}: expected one label per recording, got {recordings.labels.shape[1]}: describe them before with_labels"
            )
    scans = {name: scan(recordings, advance) for name, recordings in splits.items()}
    labels = {name: _labels(recordings) for name, recordings in splits.items()}
    length_edges = _edges((each.lengths for each in scans.values()), _length_bins)
    label_edges = _edges(labels.values(), _label_bins)
    described = {}
    for name, recordings in splits.items():
        scanned = scans[name]
        others = {label: _described_labels(values, label_edges[label]) for label, values in labels[name].items()}
        main = others.pop(MAIN, None)
        described[name] = Split(
            recordings=len(recordings),
            unlabeled=len(recordings) - (main.count if main else 0),
            missing_text=recordings.text.count(""),
            words=_described_lengths(scanned.lengths["text"], length_edges["text"]),
            modalities={
                m: _described_frames(
                    seen,
                    scanned.lengths[m],
                    length_edges[m],
                    recordings.padding.get(m),
                    recordings.computed_by.get(m),
                )
                for m, seen in scanned.frames.items()
            },
            labels=main,
            more_labels=others,
            duplicate_ids=tuple(each for each, count in Counter(recordings.ids).items() if count > 1),
            sha256=scanned.sha256,
        )
    ids = {name: recordings.ids for name, recordings in splits.items()}
    leaks = find_leaks(ids, {name: each.keys for name, each in scans.items()})
    mains = {name: each[MAIN] for name, each in labels.items() if MAIN in each}
    train = mains.get("train", np.zeros(0))
    names = splits["train"].class_names.get("label", []) if "train" in splits else []
    scale = _scale(train, bool(names))
    classes = tuple(names[int(place)] for place in np.unique(train)) if names else ()
    task, refused = _task(train, classes) if scale else ("", ())
    found = (*unread, *refused, *warnings(described, leaks, mains, scale, names))
    return DataReport(described, leaks, found, source, scale, classes, task)


def _scale(train: np.ndarray, named: bool) -> LabelScale | None:
    """What labels are; with names they are classes, however many."""
    found = np.unique(train)
    if len(found) < 2:
        return None
    return (
        LabelScale("binary" if len(found) == 2 else "classes", tuple(found.tolist())) if named else label_scale(train)
    )


def _task(train: np.ndarray, classes: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """What a run learns from labels that differ, in the words in which it says so, or why it refuses them."""
    try:
        return str(task_of(train.astype(np.float32), names=classes)), ()
    except ValueError as error:
        return "", (f"train: {error}",)


def _labels(recordings: Recordings) -> dict[str, np.ndarray]:
    """The labels that are there, where there are any."""
    labels = {MAIN: recordings.labels, **recordings.more_labels}
    finite = {name: each[np.isfinite(each)].astype(np.float64) for name, each in labels.items() if each is not None}
    return {name: values for name, values in finite.items() if len(values)}


def _edges(
    groups: Iterable[Mapping[str, np.ndarray]], bins: Callable[[np.ndarray], np.ndarray]
) -> dict[str, np.ndarray]:
    """Bins for the values of each name, the same in all groups, so that splits can be compared."""
    values: dict[str, list[np.ndarray]] = {}
    for group in groups:
        for name, each in group.items():
            values.setdefault(name, []).append(each)
    return {name: bins(np.concatenate(each)) for name, each in values.items()}


def _label_bins(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # NumPy's bins around one value of 1e18 would have no width
        low, high = low - max(0.5, abs(low)), high + max(0.5, abs(high))
    return np.linspace(low, high, BINS + 1)


def _length_bins(lengths: np.ndarray) -> np.ndarray:
    """Bins that each hold the same number of whole numbers."""
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
    seen: Frames, lengths: np.ndarray, edges: np.ndarray, cut: np.ndarray | None, computed_by: str | None
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
