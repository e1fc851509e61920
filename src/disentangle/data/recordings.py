"""Recordings of people who speak: a transcript, a sequence of frames for each other modality, and perhaps a label.

Three layouts of pickle are read. Each split of a data set is a dictionary,

- in the field's files `raw_text`, `audio`, `vision` and `regression_labels`,
- in the paper's `raw_text`, `audio`, `video` and `labels`,

and an unlabelled file is one such split on its own, without labels. Names are read from `id` where it is there; other keys
are ignored.

Audio and vision are `(N, T, D)`, padded with frames of zeros at the front, at the end, or both, by a different amount each;
or N arrays `(T_i, D)`. A recording's frames are those between its first and its last frame that is not all zero: zeros at
either end are padding, zeros inside are data. A recording without frames lacks that modality. The `audio_lengths` and
`vision_lengths` of some files are not used: they count frames from the front, which is wrong where padding stands there, and
in files of aligned features they tell the padded length. The frames themselves tell the same, and always.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from disentangle.data.pickles import DataError, load_pickle

__all__ = ["Recordings", "check_same_features", "read_recordings", "read_unlabeled", "trim"]

SPLITS = ("train", "valid", "test")
# The names under which a file can have each field.
MODALITIES = {"audio": ("audio",), "vision": ("vision", "video")}
LABELS = ("regression_labels", "labels")


@dataclass(frozen=True, eq=False)
class Recordings:
    """N recordings: one split of a data set, or unlabelled ones.

    Attributes:
        text: The transcripts, N; "" where there is none.
        sequences: The frames of each other modality, N arrays `(T_i, D)` float32; T_i is 0 where it is missing.
        labels: The labels, `(N,)` float32; None if the recordings have none.
        ids: Their names, N; by default "0", "1", ...
        factors: What the recordings were made from, where they are synthetic, each `(N, k)`.

    Raises:
        ValueError: If the parts differ in how many recordings they have, or the frames of a modality in their size.

    Example:
        >>> frames = [np.ones((4, 5), np.float32), np.zeros((0, 5), np.float32)]
        >>> recordings = Recordings(text=["so good", ""], sequences={"audio": frames})
        >>> len(recordings), recordings.feature_sizes, recordings.missing
        (2, {'audio': 5}, {'text': 1, 'audio': 1})
    """

    text: list[str]
    sequences: dict[str, list[np.ndarray]]
    labels: np.ndarray | None = None
    ids: list[str] = field(default_factory=list)
    factors: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self):
        if not self.ids:
            object.__setattr__(self, "ids", [str(i) for i in range(len(self.text))])
        parts = {"text": self.text, **self.sequences, "ids": self.ids, **self.factors}
        if self.labels is not None:
            parts["labels"] = self.labels
        if len({len(part) for part in parts.values()}) > 1:
            counts = ", ".join(f"{name} {len(part)}" for name, part in parts.items())
            raise ValueError(f"expected as many recordings in every part, got {counts}")
        for name, frames in self.sequences.items():
            shapes = {each.shape[1:] for each in frames}
            if len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
                raise ValueError(
                    f"expected frames (T_i, D) of one size D in {name}, got (T_i, ...) of {sorted(shapes)}"
                )

    def __len__(self) -> int:
        return len(self.text)

    @property
    def feature_sizes(self) -> dict[str, int]:
        """The size D of each modality's frames."""
        return {name: frames[0].shape[1] for name, frames in self.sequences.items()}

    @property
    def missing(self) -> dict[str, int]:
        """How many recordings lack each modality, and `"text"`."""
        counts = {name: sum(len(each) == 0 for each in frames) for name, frames in self.sequences.items()}
        return {"text": self.text.count(""), **counts}

    @property
    def nonfinite(self) -> dict[str, int]:
        """How many values of each modality's frames are NaN or infinite."""
        return {
            name: sum(int(np.size(each) - np.isfinite(each).sum()) for each in frames)
            for name, frames in self.sequences.items()
        }

    def select(self, indices: Sequence[int]) -> Recordings:
        """The recordings of these indices, in that order."""
        return Recordings(
            text=[self.text[i] for i in indices],
            sequences={name: [frames[i] for i in indices] for name, frames in self.sequences.items()},
            labels=None if self.labels is None else self.labels[list(indices)],
            ids=[self.ids[i] for i in indices],
            factors={name: values[list(indices)] for name, values in self.factors.items()},
        )


def read_recordings(path: str | os.PathLike[str]) -> dict[str, Recordings]:
    """Reads a labelled data set, `{"train", "valid", "test"}`, in the field's layout or in the paper's.

    Text is stripped; blank text is missing. Frames are trimmed and float32; values that are NaN or infinite, or become so,
    stay and are counted in `Recordings.nonfinite`: standardisation can replace them, and a reader should not hide them.

    Arguments:
        path: The file, a pickle; nothing in it is run.

    Raises:
        DataError: If the file is no such data set.

    Example:
        >>> import pickle, tempfile
        >>> audio, video = np.zeros((2, 6, 5)), np.ones((2, 3, 4))
        >>> audio[0, 2:] = 1  # two frames of padding; the second recording has no audio
        >>> split = {"raw_text": ["so good", " "], "audio": audio, "video": video, "labels": [2.5, -1.0]}
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     pickle.dump({"train": split, "valid": split, "test": split}, file)
        ...     file.flush()
        ...     train = read_recordings(file.name)["train"]
        >>> [len(frames) for frames in train.sequences["audio"]], train.missing
        ([4, 0], {'text': 1, 'audio': 1, 'vision': 0})
    """
    content = _dictionary(path, load_pickle(path))
    absent = [name for name in SPLITS if name not in content]
    if absent:
        if len(absent) == len(SPLITS) and "raw_text" in content:
            raise DataError(f"{path}: an unlabelled file, wanted a data set with {_list(SPLITS)}")
        raise DataError(f"{path}: wanted {_list(SPLITS)}, found {_list(content)}")
    splits = {name: _recordings(f"{path}: {name}", content[name], labelled=True) for name in SPLITS}
    for name in SPLITS[1:]:
        check_same_features(splits["train"], splits[name], f"{path}: {name}")
    return splits


def read_unlabeled(path: str | os.PathLike[str]) -> Recordings:
    """Reads recordings without labels, in the flat layout `{raw_text, audio, video}`.

    Arguments:
        path: The file, a pickle; nothing in it is run.

    Raises:
        DataError: If the file has no such layout.

    Example:
        >>> import pickle, tempfile
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     pickle.dump({"raw_text": [""], "audio": np.ones((1, 6, 5)), "video": np.ones((1, 3, 4))}, file)
        ...     file.flush()
        ...     recordings = read_unlabeled(file.name)
        >>> len(recordings), recordings.labels, recordings.feature_sizes
        (1, None, {'audio': 5, 'vision': 4})
    """
    content = _dictionary(path, load_pickle(path))
    if "raw_text" not in content and any(name in content for name in SPLITS):
        raise DataError(f"{path}: a data set with splits ({_list(content)}), wanted an unlabelled file")
    return _recordings(str(path), content, labelled=False)


def check_same_features(train: Recordings, other: Recordings, path: str | os.PathLike[str]) -> None:
    """Checks that recordings have the training data's modalities and sizes of frames.

    Arguments:
        train: The training data.
        other: The recordings that are to be used with them.
        path: Where the others come from.

    Raises:
        DataError: If they differ.
    """
    wanted, got = train.feature_sizes, other.feature_sizes
    for name in wanted | got:
        if wanted.get(name) != got.get(name):
            raise DataError(
                f"{path}: {got.get(name, 'no')} {name} features, wanted {wanted.get(name, 'none')} as in the training data"
            )


def trim(frames: np.ndarray) -> np.ndarray:
    """The frames between the first and the last one that is not all zero, as a view.

    Arguments:
        frames: Frames with padding, `(T, D)`. A NaN is not zero, and -0.0 is.

    Returns:
        `(T', D)`; `(0, D)` if all are zero.

    Example:
        >>> trim(np.array([[0.0], [1.0], [0.0], [2.0], [0.0]])).tolist()
        [[1.0], [0.0], [2.0]]
    """
    (real,) = np.nonzero((frames != 0).any(1))
    return frames[real[0] : real[-1] + 1] if len(real) else frames[:0]


def _recordings(where: str, content: object, *, labelled: bool) -> Recordings:
    """One split, or an unlabelled file; `where` opens the messages."""
    fields = _dictionary(where, content)
    names = {"text": ("raw_text",), **MODALITIES, **({"labels": LABELS} if labelled else {})}
    found = {}
    for name, options in names.items():
        present = [option for option in options if option in fields]
        if not present:
            raise DataError(f"{where}: no {' or '.join(options)}, found {_list(fields)}")
        found[name] = present[0]
    if "vision" in fields and "video" in fields:
        raise DataError(f"{where}: both vision and video, wanted one of them")
    columns = {name: _column(f"{where}: {key}", fields[key]) for name, key in found.items()}
    if "id" in fields:
        columns["ids"] = _column(f"{where}: id", fields["id"])
    counts = {found.get(name, "id"): len(column) for name, column in columns.items()}
    if len(set(counts.values())) > 1:
        raise DataError(
            f"{where}: wanted as many recordings in every field, got "
            + ", ".join(f"{k} {n}" for k, n in counts.items())
        )
    if not len(columns["text"]):
        raise DataError(f"{where}: no recordings")
    return Recordings(
        text=[_text(f"{where}: raw_text[{i}]", text) for i, text in enumerate(columns["text"])],
        sequences={name: _frames(f"{where}: {found[name]}", columns[name]) for name in MODALITIES},
        labels=_labels(f"{where}: {found['labels']}", columns["labels"]) if labelled else None,
        ids=[_id(f"{where}: id[{i}]", each) for i, each in enumerate(columns.get("ids", []))],
    )


def _column(where: str, column: object) -> Sequence[Any] | np.ndarray:
    if isinstance(column, list | tuple) or (isinstance(column, np.ndarray) and column.ndim > 0):
        return column
    raise DataError(f"{where}: wanted a list or an array, got {_kind(column)}")


def _text(where: str, text: object) -> str:
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError:
            raise DataError(f"{where}: wanted UTF-8") from None
    if not isinstance(text, str):
        raise DataError(f"{where}: wanted text, got {_kind(text)}")
    return str(text.strip())


def _id(where: str, each: object) -> str:
    return str(each) if isinstance(each, int | np.integer) else _text(where, each)


def _frames(where: str, column: Sequence[Any] | np.ndarray) -> list[np.ndarray]:
    """The trimmed frames of each recording, `(T_i, D)` float32, each with memory of its own."""
    if isinstance(column, np.ndarray) and column.ndim not in (1, 3):
        raise DataError(f"{where}: wanted (recordings, frames, features), got {_kind(column)}")
    arrays = []
    for i, each in enumerate(column):
        array = _floats(f"{where}[{i}]", each)
        if array.shape != (0,) and array.ndim != 2:
            raise DataError(f"{where}[{i}]: wanted (frames, features), got {_kind(array)}")
        arrays.append(array)
    # An array of no frames often has no features either.
    sizes = {array.shape[1] for array in arrays if array.ndim == 2}
    if len(sizes) != 1 or 0 in sizes:
        raise DataError(f"{where}: wanted frames of one size, got sizes {sorted(sizes)}")
    (size,) = sizes
    return [trim(array).copy() if array.ndim == 2 else np.zeros((0, size), np.float32) for array in arrays]


def _labels(where: str, column: Sequence[Any] | np.ndarray) -> np.ndarray:
    if not isinstance(column, np.ndarray):
        column = np.fromiter(column, dtype=object, count=len(column))
    labels = _floats(where, column)
    if labels.shape not in ((len(labels),), (len(labels), 1)):
        raise DataError(f"{where}: wanted one label a recording, got {_kind(labels)}")
    wrong = int((~np.isfinite(labels)).sum())
    if wrong:
        raise DataError(f"{where}: {wrong} of {len(labels)} labels are NaN or infinite")
    return labels.reshape(-1)


def _floats(where: str, value: object) -> np.ndarray:
    """A numeric array as float32; what is too large for it becomes infinite."""
    if not isinstance(value, np.ndarray):
        raise DataError(f"{where}: wanted a numeric array, got {_kind(value)}")
    if value.dtype == object:
        # Equal arrays in an array of objects become one array of numbers that are objects.
        for each in value.flat:
            if isinstance(each, bool) or not isinstance(each, int | float | np.floating | np.integer):
                raise DataError(f"{where}: wanted numbers, got {_kind(each)}")
    elif value.dtype.kind not in "fiu":
        raise DataError(f"{where}: wanted a numeric array, got {_kind(value)}")
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # a signalling NaN is a NaN
            return value.astype(np.float32)
    except OverflowError:
        raise DataError(f"{where}: a whole number too large for a float") from None


def _dictionary(where: str | os.PathLike[str], content: object) -> dict[Any, Any]:
    if not isinstance(content, dict):
        raise DataError(f"{where}: wanted a dictionary, got {_kind(content)}")
    return content


def _kind(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def _list(names: Any) -> str:
    """The first names, short enough for a message of one line."""
    shown = [ascii(name)[:40].strip("'") for name in list(names)[:12]]
    return ", ".join([*shown, "..."] if len(names) > 12 else shown) or "nothing"
