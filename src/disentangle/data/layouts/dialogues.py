"""Utterances of dialogues with whether they are sarcastic, as in MUStARD's `sarcasm_data.json`::

    {"160": {"utterance": "It's just a privilege ...", "speaker": "SHELDON", "context": [...], "context_speakers": [...],
             "show": "BBT", "sarcasm": true}, ...}

An utterance is a recording: its text, and label 1.0 or 0.0. In a file without `sarcasm`, `label` is the label, as in a plain
folder: a number, or the name of a class. Without either an utterance is unlabelled. What was said before it, by whom, and the
show are not read; nor are other fields, which a `DataWarning` names. Features can stand beside the file,
`<modality>/<id>.npy`, as in a plain folder. A field `split` says which split an utterance belongs to, or else a file
`splits.json` or `splits.csv` beside it (`id`, `split`), which leaves out what it does not name; without either, all utterances
with a label are for training.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from disentangle.data import expect, messages
from disentangle.data.computed_by import read_records
from disentangle.data.data_warnings import warn_of_fields
from disentangle.data.layouts.index_rows import Row, gather, number, numbered, read_splits, split_name, warn_of_unused
from disentangle.data.layouts.npy import modalities
from disentangle.data.recordings import Recordings
from disentangle.data.text_files import load_json
from disentangle.errors import DataError

__all__ = ["read"]

KNOWN = ("utterance", "split", "speaker", "context", "context_speakers", "show")


def read(path: str | os.PathLike[str]) -> dict[str, Recordings]:
    """Reads dialogues; returns their splits, "train", "valid", "test" or "unlabeled", by name.

    Arguments:
        path: The file.

    Raises:
        DataError: If it cannot be used.

    Example:
        >>> import json, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "sarcasm_data.json")
        ...     _ = file.write_text(json.dumps({"1_60": {"utterance": "Oh, great.", "sarcasm": True}}))
        ...     train = read(file)["train"]
        >>> train.ids, train.text, train.labels.tolist()
        (['1_60'], ['Oh, great.'], [1.0])
    """
    path = Path(path)
    content = expect.dictionary(path, load_json(path))
    items = {name: expect.dictionary(f"{path}: {messages.listed([name])}", value) for name, value in content.items()}
    key = "sarcasm" if any("sarcasm" in item for item in items.values()) else "label"
    warn_of_fields(path, dict.fromkeys(field for item in items.values() for field in item), [key, *KNOWN])
    labels = [item.get(key) for item in items.values()]
    classes: list[str] = []
    if key == "label":
        labels, classes = numbered(str(path), labels)
    splits = read_splits(path.parent)
    rows = []
    for (name, item), label in zip(items.items(), labels, strict=True):
        where = f"{path}: {messages.listed([name])}"
        rows.append(_row(where, name, item, number(f"{where}: {key}", label), splits))
    if splits is not None:
        kept = [row for row in rows if row.split is not None]
        warn_of_unused(path.parent, splits, {row.id for row in rows}, len(rows), len(kept))
        rows = kept
    sequences = modalities(path.parent, [row.id for row in rows])
    computed_by = read_records(path.parent, sequences)
    return gather(str(path), rows, sequences, computed_by, {"label": classes} if classes else {})


def _row(where: str, name: str, item: dict[Any, Any], label: float | None, splits: dict[str, str | None] | None) -> Row:
    if "utterance" not in item:
        raise DataError(f"{where}: expected an utterance, got {messages.listed(item)}")
    if "sarcasm" in item and label not in (None, 0, 1):
        raise DataError(f"{where}: sarcasm: expected true or false, got {label:g}")
    split = split_name(f"{where}: split", item.get("split")) or (splits or {}).get(name)
    return Row(name, expect.text(f"{where}: utterance", item["utterance"]), label, split)
