"""A split as a dictionary of fields without transcripts: the files of MulT, `*_data.pkl` and `*_data_noalign.pkl`.

Each holds `vision`, `audio`, and as `text` the GloVe vectors of the words, all `(N, T, D)` and padded with zeros in front;
`labels (N, 1, 1)`; and mostly `id`, the names, or rows of video, start and end. The words themselves are not there: the
transcripts are "", and the vectors a modality, "glove". Audio has values of -inf, which stay.
"""

from __future__ import annotations

from disentangle.data import expect, messages
from disentangle.data.data_warnings import warn_of_fields
from disentangle.data.recordings import Recordings
from disentangle.errors import DataError

__all__ = ["CONTENT", "matches", "read"]

CONTENT = "text, audio, vision, labels (MulT)"
MODALITIES = {"audio": "audio", "vision": "vision", "glove": "text"}


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
    return Recordings(
        text=[""] * len(columns["text"]),
        sequences=sequences,
        labels=expect.labels(f"{where}: labels", columns["labels"]) if labeled else None,
        ids=expect.ids(f"{where}: id", columns.get("id", [])),
        padding=padding,
    )
