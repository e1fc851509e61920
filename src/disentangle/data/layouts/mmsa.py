"""A split as a dictionary of fields, transcripts among them: the files of MMSA and of the paper.

MMSA's `unaligned_50.pkl`, `aligned_50.pkl` and `unaligned_39.pkl` (CMU-MOSI, CMU-MOSEI, CH-SIMS) hold `raw_text`, `audio`,
`vision`, `regression_labels`, mostly `id`, and where each modality has a label of its own, `regression_labels_T`, `_A` and
`_V`. The paper's files hold `raw_text`, `audio`, `video` and `labels`; an unlabelled one is one such split without labels.
Either may lack audio or vision, or both.

`text` and `text_bert` are what a BERT made of the transcripts, and are not read. Nor are `audio_lengths` and
`vision_lengths`: they count frames from the front, which is wrong if the padding is there, and in files of aligned features
they are the padded length. The frames themselves always tell. Of other fields, a `DataWarning` says that they are
not read.
"""

from __future__ import annotations

import numpy as np

from disentangle.data import expect, messages
from disentangle.data.data_warnings import warn_of_fields
from disentangle.data.recordings import Recordings
from disentangle.errors import DataError

__all__ = ["CONTENT", "matches", "read"]

CONTENT = "raw_text, audio, vision, regression_labels (MMSA)"
# The names under which a file can have each field.
MODALITIES = {"audio": ("audio",), "vision": ("vision", "video")}
LABELS = ("regression_labels", "labels")
# What files of this kind also have, and nobody misses.
USELESS = {
    "text",
    "text_bert",
    "text_lengths",
    "audio_lengths",
    "vision_lengths",
    "video_lengths",
    "annotations",
    "mode",
}


def matches(split: object) -> bool:
    """Whether a split has this layout."""
    return isinstance(split, dict) and ("raw_text" in split or "regression_labels" in split)


def read(where: str, split: object, *, labeled: bool = True) -> Recordings:
    """One split, or an unlabelled file.

    Arguments:
        where: The file and the split, for messages.
        split: What the file holds there.
        labeled: Whether it should have labels.

    Raises:
        DataError: If it cannot be used.
    """
    content = expect.dictionary(where, split)
    if "raw_text" not in content:
        lost = "; text is what a BERT made of them, which does not bring them back" * ("text" in content)
        raise DataError(f"{where}: expected the transcripts as raw_text, got {messages.listed(content)}{lost}")
    wanted = {"text": ("raw_text",), **MODALITIES, **({"labels": LABELS} if labeled else {})}
    there = {name: [option for option in options if option in content] for name, options in wanted.items()}
    keys = {name: found[0] for name, found in there.items() if found}
    if labeled and "labels" not in keys:
        raise DataError(f"{where}: expected {' or '.join(LABELS)}, got {messages.listed(content)}")
    if "vision" in content and "video" in content:
        raise DataError(f"{where}: expected vision or video, got both")
    others = _other_labels(content) if labeled else {}
    used = [*keys.values(), *(["id"] if "id" in content else []), *others.values()]
    classes = [key for key in content if isinstance(key, str) and key.startswith("classification_labels")]
    unused = classes if labeled else [*classes, *LABELS, *_other_labels(content).values()]
    warn_of_fields(where, content, [*used, *unused, *USELESS])
    columns = {key: expect.column(f"{where}: {key}", content[key]) for key in used}
    expect.same_length(where, columns)
    sequences, padding = {}, {}
    for name in filter(keys.get, MODALITIES):
        sequences[name], padding[name] = expect.frames(f"{where}: {keys[name]}", columns[keys[name]])
    return Recordings(
        text=expect.texts(f"{where}: raw_text", columns["raw_text"]),
        sequences=sequences,
        labels=expect.labels(f"{where}: {keys['labels']}", columns[keys["labels"]]) if labeled else None,
        ids=expect.ids(f"{where}: id", columns.get("id", [])),
        more_labels={name: expect.labels(f"{where}: {key}", columns[key], absent=True) for name, key in others.items()},
        padding=padding,
    )


def _other_labels(content: dict[object, object]) -> dict[str, str]:
    """The keys of other labels: "T" of `regression_labels_T`, "classification" of classes that are numbers."""
    found = {}
    for key in content:
        if not isinstance(key, str):
            continue
        if key.startswith("regression_labels_"):
            found[key.removeprefix("regression_labels_")] = key
        elif key.startswith("classification_labels") and _numeric(content[key]):
            found[key.replace("_labels", "", 1)] = key
    return found


def _numeric(values: object) -> bool:
    """Whether they are numbers, one per recording; classes can be words, too."""
    if isinstance(values, np.ndarray) and values.dtype != object:
        return values.dtype.kind in "fiu" and values.ndim > 0 and values.size == len(values)
    if not isinstance(values, list | tuple) and not (isinstance(values, np.ndarray) and values.ndim == 1):
        return False
    return all(
        isinstance(each, int | float | np.integer | np.floating) and not isinstance(each, bool) for each in values
    )
