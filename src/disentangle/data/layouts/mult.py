"""A split as a dictionary of fields without transcripts: the files of MulT, `*_data.pkl` and `*_data_noalign.pkl`.

Each holds `vision`, `audio`, and as `text` the GloVe vectors of the words, all `(N, T, D)` and padded with zeros in front;
`labels (N, 1, 1)`, in IEMOCAP's files `(N, 4, 2)`; and mostly `id`, the names, or rows of video, start and end. The words
themselves are not there: the transcripts are "", and the vectors a modality, "glove". Audio has values of -inf, which stay.

IEMOCAP has four labels, "neutral", "happy", "sad" and "angry", each 0 or 1 by which of two places holds a 1, and none that is
the main one: they are `more_labels`.
"""

from __future__ import annotations

import numpy as np

from disentangle.data import expect, messages
from disentangle.data.data_warnings import warn_of_fields
from disentangle.data.recordings import Recordings
from disentangle.errors import DataError

__all__ = ["CONTENT", "matches", "read"]

CONTENT = "text, audio, vision, labels (MulT)"
MODALITIES = {"audio": "audio", "vision": "vision", "glove": "text"}
EMOTIONS = ("neutral", "happy", "sad", "angry")  # of IEMOCAP, in MulT's order


def matches(split: object) -> bool:
    """Whether a split has this layout."""
    return isinstance(split, dict) and "text" in split and not {"raw_text", "regression_labels"} & split.keys()


def read(where: str, split: object, *, labeled: bool = True) -> Recordings:
    """One split.

    Arguments:
        where: The file and the split, for messages.
        split: What the file holds there.
        labeled: Whether it should have labels.

    Raises:
        DataError: If it cannot be used.
    """
    content = expect.dictionary(where, split)
    keys = [*MODALITIES.values(), *["labels"] * labeled]
    for key in keys:
        if key not in content:
            raise DataError(f"{where}: expected {key}, got {messages.listed(content)}")
    if "id" in content:
        keys.append("id")
    warn_of_fields(where, content, [*keys, "labels"])
    columns = {key: expect.column(f"{where}: {key}", content[key]) for key in keys}
    expect.same_length(where, columns)
    sequences, padding = {}, {}
    for name, key in MODALITIES.items():
        sequences[name], padding[name] = expect.frames(f"{where}: {key}", columns[key])
    labels = columns.get("labels")
    emotions = labels if isinstance(labels, np.ndarray) and labels.shape[1:] == (len(EMOTIONS), 2) else None
    return Recordings(
        text=[""] * len(columns["text"]),
        sequences=sequences,
        labels=None if labels is None or emotions is not None else expect.labels(f"{where}: labels", labels),
        more_labels={} if emotions is None else _emotions(f"{where}: labels", emotions),
        ids=expect.ids(f"{where}: id", columns.get("id", [])),
        padding=padding,
    )


def _emotions(where: str, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Whether each emotion is there, `(N,)` float32: its 1 is in the second of two places where it is, else in the first."""
    places = expect.floats(where, labels)
    wrong = (np.sort(places, axis=2) != [0, 1]).any((1, 2))
    if wrong.any():
        raise DataError(f"{where}: expected one 1 and one 0 for each emotion, got others in {wrong.sum()} recordings")
    return {name: places[:, k, 1].copy() for k, name in enumerate(EMOTIONS)}
