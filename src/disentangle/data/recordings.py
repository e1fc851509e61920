"""Recordings of people who speak: a transcript, a sequence of frames per other modality, and perhaps a label."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, overload

import numpy as np

from disentangle.data.computed_by import check_computed_alike
from disentangle.errors import DataError

__all__ = ["LazyFrames", "Recordings", "check_same_features"]


class LazyFrames(Sequence[np.ndarray]):
    """The frames of N recordings, `(T_i, size)` float32, each read anew whenever it is asked for.

    Arguments:
        read: Gives the array of a key.
        keys: What `read` is given for each array, N.
        lengths: How many frames each has, N; 0 where the modality is missing, and then nothing is read.
        size: The size of a frame.

    Example:
        >>> frames = LazyFrames(lambda n: np.full((n, 2), n, np.float32), keys=[3, 4], lengths=[3, 0], size=2)
        >>> frames[0].shape, frames[1].shape, frames.select([1, 0, 0]).lengths
        ((3, 2), (0, 2), [0, 3, 3])
    """

    def __init__(self, read: Callable[[Any], np.ndarray], keys: Sequence[Any], lengths: Sequence[int], size: int):
        self.read, self.keys, self.lengths, self.size = read, keys, lengths, size

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> LazyFrames: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | LazyFrames:
        if isinstance(index, slice):
            return self.select(range(len(self))[index])
        if not self.lengths[index]:
            return np.zeros((0, self.size), np.float32)
        return self.read(self.keys[index])

    def select(self, indices: Iterable[int]) -> LazyFrames:
        """The frames of these recordings, in that order; none is read."""
        indices = list(indices)
        return LazyFrames(self.read, [self.keys[i] for i in indices], [self.lengths[i] for i in indices], self.size)


@dataclass(frozen=True, eq=False)
class Recordings:
    """N recordings: one split of a data set, or unlabelled ones.

    Attributes:
        text: The transcripts, N; "" where there is none.
        sequences: The frames of each other modality, N arrays `(T_i, D)` float32; T_i is 0 where it is missing. A list, or
            any other sequence of arrays: `LazyFrames` reads them when they are asked for.
        labels: The labels, `(N,)` float32, or `(N, K)` where several are to be learnt at once, see `with_labels`; NaN where a
            recording has none. None if none of them has one.
        ids: Their names, N; by default "0", "1", ...
        factors: What synthetic recordings were made from, each `(N, k)`.
        more_labels: Other labels by name, each `(N,)` float32; NaN where a recording has none.
        padding: How many frames of zeros were cut in front and behind, `(N, 2)` for each modality of which it is known:
            frame t of recording i was frame `t + padding[i, 0]` in the file, where modalities may have been aligned.
        computed_by: What the features of a modality were computed by, "paper" or "mmsa" for example, where it is recorded:
            see `disentangle.data.computed_by`.
        class_names: Of labels that are names in the file, `{"label": ["anger", "joy"]}`: the names in whose places the numbers
            of `labels` stand, or of the further label of a name.

    Raises:
        ValueError: If the parts differ in how many recordings they have, or the frames of a modality in their size.

    Example:
        >>> frames = [np.ones((4, 5), np.float32), np.zeros((0, 5), np.float32)]
        >>> recordings = Recordings(text=["so good", ""], sequences={"audio": frames})
        >>> len(recordings), recordings.feature_sizes, recordings.missing
        (2, {'audio': 5}, {'text': 1, 'audio': 1})
    """

    text: list[str]
    sequences: dict[str, Sequence[np.ndarray]]
    labels: np.ndarray | None = None
    ids: list[str] = field(default_factory=list)
    factors: dict[str, np.ndarray] = field(default_factory=dict)
    more_labels: dict[str, np.ndarray] = field(default_factory=dict)
    padding: dict[str, np.ndarray] = field(default_factory=dict)
    computed_by: dict[str, str] = field(default_factory=dict)
    class_names: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self):
        if not self.ids:
            object.__setattr__(self, "ids", [str(i) for i in range(len(self.text))])
        parts = {"text": self.text, **self.sequences, "ids": self.ids, **self.factors, **self.more_labels}
        parts |= {f"padding of {name}": cut for name, cut in self.padding.items()}
        if self.labels is not None:
            parts["labels"] = self.labels
        if len({len(part) for part in parts.values()}) > 1:
            counts = ", ".join(f"{name} {len(part)}" for name, part in parts.items())
            raise ValueError(f"expected as many recordings in every part, got {counts}")
        for name, frames in self.sequences.items():
            # Looking at the frames of others would read them all.
            shapes = {each.shape[1:] for each in frames} if isinstance(frames, list | tuple) else set()
            if len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
                raise ValueError(
                    f"expected frames (T_i, D) of one size D in {name}, got (T_i, ...) of {sorted(shapes)}"
                )

    def __len__(self) -> int:
        return len(self.text)

    @property
    def feature_sizes(self) -> dict[str, int]:
        """The size D of each modality's frames."""
        return {
            name: frames.size if isinstance(frames, LazyFrames) else frames[0].shape[1]
            for name, frames in self.sequences.items()
        }

    @property
    def missing(self) -> dict[str, int]:
        """How many recordings lack each modality, and `"text"`."""
        counts = {
            name: list(frames.lengths if isinstance(frames, LazyFrames) else map(len, frames)).count(0)
            for name, frames in self.sequences.items()
        }
        return {"text": self.text.count(""), **counts}

    @property
    def nonfinite(self) -> dict[str, int]:
        """How many values of each modality's frames are NaN or infinite; reads them all."""
        return {
            name: sum(int(np.size(each) - np.isfinite(each).sum()) for each in frames)
            for name, frames in self.sequences.items()
        }

    def with_labels(self, *names: str) -> Recordings:
        """The recordings with others of their labels to learn: the one of a name, `(N,)`, or those of several, `(N, K)`.

        `"label"` is the one that they have now. The others stay among `more_labels`, and it joins them, without the names of
        its classes. A recording that lacks one of several has no label.

        Raises:
            ValueError: If there is no label of a name; or if these recordings came from here, so that "label" may be two.

        Example:
            >>> recordings = Recordings(["so good"], {}, more_labels={"joy": np.ones(1), "fear": np.zeros(1)})
            >>> recordings.with_labels("joy").labels.tolist(), recordings.with_labels("joy", "fear").labels.tolist()
            ([1.0], [[1.0, 0.0]])
        """
        known = {**({} if self.labels is None else {"label": self.labels}), **self.more_labels}
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"expected labels of {', '.join(known) or 'which there are none'}, got {unknown[0]!r}")
        if "label" in self.more_labels:
            raise ValueError("expected recordings as they were read, got ones whose labels were chosen before")
        chosen = [np.asarray(known[name], np.float32) for name in names]
        classes = {name: places for name, places in self.class_names.items() if name != "label"}
        if len(names) == 1 and names[0] in self.class_names:
            classes["label"] = self.class_names[names[0]]
        labels = chosen[0] if len(chosen) == 1 else np.stack(chosen, 1)
        return replace(self, labels=labels, more_labels=known, class_names=classes)

    def select(self, indices: Sequence[int] | np.ndarray) -> Recordings:
        """The recordings of these indices, in that order; or those of a mask, N booleans."""
        indices = indices.tolist() if isinstance(indices, np.ndarray) else list(indices)
        if indices and all(isinstance(i, bool | np.bool_) for i in indices):
            if len(indices) != len(self):
                raise ValueError(f"expected a mask of {len(self)} recordings, got {len(indices)}")
            indices = np.flatnonzero(indices).tolist()

        def of(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {name: values[indices] for name, values in arrays.items()}

        return Recordings(
            text=[self.text[i] for i in indices],
            sequences={
                name: frames.select(indices) if isinstance(frames, LazyFrames) else [frames[i] for i in indices]
                for name, frames in self.sequences.items()
            },
            labels=None if self.labels is None else self.labels[indices],
            ids=[self.ids[i] for i in indices],
            factors=of(self.factors),
            more_labels=of(self.more_labels),
            padding=of(self.padding),
            computed_by=self.computed_by,
            class_names=self.class_names,
        )


def have_label(labels: np.ndarray) -> np.ndarray:
    """Which rows of labels, `(N,)` or `(N, K)`, are a label, none of whose parts is NaN: `(N,)` bool."""
    return np.asarray(np.isfinite(labels.reshape(len(labels), -1)).all(1))


def check_same_features(train: Recordings, other: Recordings, path: str | os.PathLike[str]) -> None:
    """Checks that recordings have the training data's modalities in the same sizes, computed in the same way where recorded.

    Arguments:
        train: The training data.
        other: The recordings to use with them.
        path: Where `other` comes from.

    Raises:
        DataError: If they differ.
    """
    wanted, got = train.feature_sizes, other.feature_sizes
    for name in wanted | got:
        if wanted.get(name) != got.get(name):
            raise DataError(
                f"{path}: expected {wanted.get(name, 'no')} {name} features as in the training data, "
                f"got {got.get(name, 'none')}"
            )
    check_computed_alike(path, other.computed_by, train.computed_by)
