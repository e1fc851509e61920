"""What a report on a data set is made of: numbers and text, nothing of the recordings themselves."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Histogram", "Labels", "Leak", "Lengths", "Modality", "Padding", "Source", "Split"]


@dataclass(frozen=True)
class Histogram:
    """How many values lie in each bin; bin i ends where bin i + 1 begins, and the last one includes its end."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Lengths:
    """How long the recordings that have a modality are, in frames, or in words for text, as `count_words` counts them."""

    min: int
    median: float
    max: int
    total: int
    histogram: Histogram


@dataclass(frozen=True)
class Padding:
    """The frames of zeros that were cut from the recordings that have a modality.

    Attributes:
        side: Where: "front", "back", "both" or "none".
        front: How many frames in front, in all.
        back: How many behind.
        front_max: The most in front of one recording.
        back_max: The most behind one.
    """

    side: str
    front: int
    back: int
    front_max: int
    back_max: int


@dataclass(frozen=True)
class Modality:
    """The frames of a modality in a split.

    Attributes:
        size: The size of a frame.
        missing: How many recordings have none.
        lengths: The lengths of the others; None if there are no others.
        padding: What was cut; None if it is not known.
        zero_ends: How many recordings begin or end with a frame of zeros, which counts as data.
        nan: How many values are NaN.
        infinite: How many are infinite.
        nonfinite_recordings: In how many recordings either is found.
        constant: The features that never change, or are never finite.
        computed_by: What they were computed by, where it is recorded.
        looks_like: What 33 acoustic features look like, "paper" or "mmsa"; None if their numbers do not tell.
    """

    size: int
    missing: int
    lengths: Lengths | None
    padding: Padding | None
    zero_ends: int
    nan: int
    infinite: int
    nonfinite_recordings: int
    constant: tuple[int, ...]
    computed_by: str | None = None
    looks_like: str | None = None


@dataclass(frozen=True)
class Labels:
    """The labels of a split; `sd` is their standard deviation as a population, `zeros` how many are exactly 0."""

    count: int
    mean: float
    sd: float
    min: float
    max: float
    zeros: int
    histogram: Histogram


@dataclass(frozen=True)
class Split:
    """One split.

    Attributes:
        recordings: How many it has.
        unlabeled: How many of them have no label.
        missing_text: How many have no transcript.
        words: The lengths of the others' transcripts; None if there are no others.
        modalities: The other modalities, by name.
        labels: The labels; None if there are none.
        more_labels: Other labels, by name.
        duplicate_ids: The ids that come more than once.
        sha256: A checksum of ids, transcripts, labels and frames, in their order: the same in every layout.
    """

    recordings: int
    unlabeled: int
    missing_text: int
    words: Lengths | None
    modalities: dict[str, Modality]
    labels: Labels | None
    more_labels: dict[str, Labels]
    duplicate_ids: tuple[str, ...]
    sha256: str


@dataclass(frozen=True)
class Source:
    """Where a data set lies.

    Attributes:
        path: The file or folder.
        layout: What its layout is called.
        files: How many files it is.
        bytes: How many bytes they have.
        sha256: The checksum of the file; of a folder, the checksum of what `sha256sum` prints for its files, sorted by name.
    """

    path: str
    layout: str
    files: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Leak:
    """Recordings of one split that are also in another one.

    Attributes:
        split: The split.
        other: The other one.
        recordings: How many of the split's recordings are in the other one, by anything.
        by: How many of them have the same "id", the same "transcript" (the same words; case, punctuation and spaces aside), or
            the same frames of a modality.
        examples: A few of them, each with the id of the recording that it equals.
    """

    split: str
    other: str
    recordings: int
    by: dict[str, int]
    examples: tuple[tuple[str, str], ...]
