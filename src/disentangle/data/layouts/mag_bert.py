"""A split as a list of recordings: the files of MAG-BERT, MISA and MMIM.

In MAG-BERT's files, each is `((words, visual, acoustic), label, segment)`. MISA has word numbers first and the words last,
`((numbers, visual, acoustic, words), label, segment)`, and MMIM two lengths after them, which are not read. The words are
joined by spaces, as they are, and without them in Chinese and other scripts that have none. A label is `(1, 1)`, or in
CMU-MOSEI `(1, 7)`, the sentiment and six emotions; that of an unlabelled recording is not read.
"""

from __future__ import annotations

import numpy as np

from disentangle.data import expect, messages
from disentangle.data.recordings import Recordings
from disentangle.data.writing_systems import join_words
from disentangle.errors import DataError

__all__ = ["CONTENT", "EMOTIONS", "matches", "read"]

CONTENT = "a list of ((words, visual, acoustic), label, segment) (MAG-BERT, MISA)"
EMOTIONS = ("happy", "sad", "anger", "surprise", "disgust", "fear")


def matches(split: object) -> bool:
    """Whether a split has this layout."""
    return isinstance(split, list | tuple)


def read(where: str, split: object, *, labeled: bool = True) -> Recordings:
    """One split.

    Arguments:
        where: The file and the split, for messages.
        split: What the file holds there.
        labeled: Whether it should have labels.

    Raises:
        DataError: If it cannot be used.
    """
    if not isinstance(split, list | tuple):
        raise DataError(f"{where}: expected {CONTENT}, got {messages.kind(split)}")
    if not split:
        raise DataError(f"{where}: no recordings")
    text, visual, acoustic, labels, segments = [], [], [], [], []
    for i, recording in enumerate(split):
        at = f"{where}[{i}]"
        features, label, segment = _parts(at, recording, "((words, visual, acoustic), label, segment)", 3)
        parts = _parts(at, features, "(words, visual, acoustic) or (numbers, visual, acoustic, words)", 3, 4, 6)
        words = expect.texts(f"{at}: words", expect.column(f"{at}: words", parts[0 if len(parts) == 3 else 3]))
        text.append(join_words(words).strip())
        visual.append(parts[1])
        acoustic.append(parts[2])
        if labeled:
            labels.append(_label(f"{at}: label", label))
        segments.append(segment)
    sequences, padding = {}, {}
    for name, key, values in (("audio", "acoustic", acoustic), ("vision", "visual", visual)):
        sequences[name], padding[name] = expect.frames(f"{where}: {key}", values)
    if len({len(each) for each in labels}) > 1:
        raise DataError(f"{where}: expected labels of one size, got sizes 1 and 7")
    columns = np.stack(labels, 1) if labeled else []
    return Recordings(
        text=text,
        sequences=sequences,
        labels=expect.labels(f"{where}: labels", columns[0]) if labeled else None,
        ids=expect.ids(f"{where}: segment", segments),
        more_labels={
            name: expect.labels(f"{where}: {name}", values, absent=True)
            for name, values in zip(EMOTIONS, columns[1:], strict=False)
        },
        padding=padding,
    )


def _parts(where: str, value: object, wanted: str, *counts: int) -> list[object]:
    if not isinstance(value, list | tuple):
        raise DataError(f"{where}: expected {wanted}, got {messages.kind(value)}")
    if len(value) not in counts:
        raise DataError(f"{where}: expected {wanted}, got {len(value)} parts")
    return list(value)


def _label(where: str, value: object) -> np.ndarray:
    """The numbers of a label, `(1,)` or `(7,)`."""
    label = value
    if not isinstance(value, np.ndarray):
        label = np.empty((), object)
        label[()] = value
    label = expect.floats(where, label, np.float64)
    if label.size not in (1, 1 + len(EMOTIONS)):
        raise DataError(f"{where}: expected 1 number or 7, got {messages.kind(label)}")
    return label.reshape(-1)
