"""A plain folder: a table of the recordings, and a folder of `.npy` files for each modality::

    my_set/
      index.csv              id,text,label,split
      audio/<id>.npy         (T, D) numbers, in float32 or another type
      vision/<id>.npy
      audio/computed_by.json what the features were computed by, if it is known: see `disentangle.data.computed_by`

The table is `index.csv`, or the only `.csv` there. Of its columns only `id` is needed:

- `id`: the recording's name, which its files also have;
- `text`: the transcript; blank where it is missing;
- `label`: a number, or, where none in the column is one, the name of a class; blank for an unlabelled recording;
- `label_T`, `label_A`, ...: further labels, `more_labels["T"]`, ...; blank where there is none;
- `split`: train, valid, test or unlabeled, or another name of these (`disentangle.data.split_names`); blank for train where
  there is a label, for unlabeled where there is none;
- `file`: the name of the recording's files without `.npy`, where it is not the id.

Other columns are ignored. A modality is missing for a recording without a file; what lies there and is not read, features of
another ending for example, is named in a `DataWarning`. The arrays stay in their files until they are asked for, and are as
long as they are: zeros at either end are data, not padding.
"""

from __future__ import annotations

import csv
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from disentangle.data import messages
from disentangle.data.computed_by import RECORD, read_records, record
from disentangle.data.data_warnings import warn_of_files
from disentangle.data.layouts.index_rows import Row, gather, number, numbered, split_name, unique
from disentangle.data.layouts.npy import modalities
from disentangle.data.recordings import Recordings
from disentangle.data.split_names import SPLITS
from disentangle.data.text_files import DECIMAL_COMMA, load_table
from disentangle.data.writing import write_new_folder
from disentangle.errors import DataError, DataWarning

__all__ = ["read", "write_folder"]

MORE = "label_"
# Names that files can have on any system.
PLAIN = re.compile(r"[\w$\[\]()+-][\w$\[\]()+ .-]{0,98}[\w$\[\]()+-]|[\w$-]", re.ASCII)


def read(path: str | os.PathLike[str]) -> dict[str, Recordings]:
    """Reads a plain folder; returns its splits, "train", "valid", "test" or "unlabeled", by name.

    Arguments:
        path: The folder, or its table.

    Raises:
        DataError: If it cannot be used.

    Example:
        >>> import tempfile
        >>> frames = [np.ones((4, 5), np.float32), np.ones((2, 5), np.float32)]
        >>> recordings = Recordings(["so good", ""], {"audio": frames}, np.array([2.5, -1], np.float32), ["a", "b"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_folder(folder, {"train": recordings})
        ...     print(Path(folder, "index.csv").read_text())
        ...     train = read(folder)["train"]
        ...     train.text, train.labels.tolist(), train.sequences["audio"][1].shape
        id,text,label,split
        a,so good,2.5,train
        b,,-1.0,train
        <BLANKLINE>
        (['so good', ''], [2.5, -1.0], (2, 5))
    """
    index = _index(Path(path))
    if Path(path).is_dir():
        warn_of_files(index.parent, [index])
    table: dict[str, list[Any]] = load_table(index, ("id",))
    ids = table["id"]
    files = table.get("file", ids)
    unique(str(index), files)
    blank = [""] * len(ids)
    class_names: dict[str, list[str]] = {}
    for name in [each for each in table if each == "label" or (each.startswith(MORE) and each != MORE)]:
        table[name], classes = numbered(f"{index}: {messages.listed([name])}", table[name])
        if classes:
            if comma := [each for each in classes if DECIMAL_COMMA.match(each)]:
                raise DataError(f"{index}: {name}: expected numbers with a decimal point, got {comma[0]}")
            class_names[name.removeprefix(MORE)] = classes
    known = ("id", "file", "text", "label", "split")
    if unread := [name for name in table if name not in known and not name.startswith(MORE)]:
        if meant := [name for name in unread if name.lower() in (*known, "transcript")]:
            raise DataError(f"{index}: expected columns {', '.join(known)}, or label_..., got {', '.join(meant)}")
        warnings.warn(f"{index}: columns that are not read: {', '.join(unread)}", DataWarning, stacklevel=3)
    more = {name: table[name] for name in table if name.startswith(MORE) and name != MORE}
    rows = []
    for i, name in enumerate(ids):
        at = f"{index}: row {i + 1}"
        text, label, split = (table.get(key, blank)[i] for key in ("text", "label", "split"))
        others = {
            key[len(MORE) :]: number(f"{at}: {messages.listed([key])}", values[i]) for key, values in more.items()
        }
        rows.append(Row(name, text, number(f"{at}: label", label), split_name(f"{at}: split", split), others))
    sequences = modalities(index.parent, files)
    return gather(str(index), rows, sequences, read_records(index.parent, sequences), class_names)


def write_folder(folder: str | os.PathLike[str], splits: Mapping[str, Recordings]) -> None:
    """Writes recordings as a plain folder, one recording at a time.

    The folder gets its name when everything is on the disk; a process that is stopped before leaves none.

    Files are named by the ids, or numbered if an id comes twice or cannot name a file. Factors, counts of padding, and
    modalities that every recording lacks are left out. `read_recordings` reads the folder.

    Arguments:
        folder: The folder, which is made; if it is there already, it has to be empty.
        splits: The recordings of "train", "valid", "test" and "unlabeled", or of some of these.

    Raises:
        DataError: If the folder is not empty, or cannot be written.
        ValueError: If what is written could not be read back: the name of a split or a modality, text that is no UTF-8 or
            longer than a cell of CSV can be, several labels at once, labels of a part of a labelled split; or if the features
            of two splits were computed by different things.
    """
    _check_names(splits)
    computed_by = _computed_by(splits)
    more = list(dict.fromkeys(name for split in splits.values() for name in split.more_labels))
    ids = [name for split in splits.values() for name in split.ids]
    numbered = len({name.casefold() for name in ids}) < len(ids) or not all(map(PLAIN.fullmatch, ids))

    def write(part: Path) -> None:
        with open(part / "index.csv", "w", encoding="utf-8", newline="") as stream:
            table = csv.writer(stream)
            table.writerow(["id", "text", "label", "split", *(MORE + name for name in more), *["file"] * numbered])
            for n, (split, i) in enumerate((split, i) for split, each in splits.items() for i in range(len(each))):
                file = f"{n:06d}" if numbered else ids[n]
                table.writerow([*_cells(split, splits[split], i, more), *[file] * numbered])
                for modality, frames in splits[split].sequences.items():
                    if len(array := frames[i]):
                        (part / modality).mkdir(exist_ok=True)
                        np.save(part / modality / f"{file}.npy", array, allow_pickle=False)
        for modality, name in computed_by.items():
            if (part / modality).exists():
                (part / modality / RECORD).write_text(record(name), encoding="utf-8")

    write_new_folder(folder, write)


def _check_names(splits: Mapping[str, Recordings]) -> None:
    wrong = [name for name in splits if name not in SPLITS]
    if wrong or not any(map(len, splits.values())):
        raise ValueError(f"expected recordings of {', '.join(SPLITS)}, got {messages.listed(splits)}")
    for name, split in splits.items():
        _check_labels(name, split.labels)
        wrong = [name for name in split.sequences if name == "text" or not PLAIN.fullmatch(name)]
        if wrong:
            raise ValueError(
                f"expected modalities with names that folders can have, other than text, got {messages.listed(wrong)}"
            )
        for text in (*split.text, *split.ids):
            try:
                text.encode()
            except UnicodeEncodeError:
                raise ValueError(f"expected text that UTF-8 can write, got {messages.listed([text])}") from None
            if len(text) > (most := csv.field_size_limit()):
                raise ValueError(f"expected text of at most {most:,} characters, as CSV is read, got {len(text):,}")


def _check_labels(name: str, labels: np.ndarray | None) -> None:
    if labels is None:
        return
    if labels.ndim != 1:
        raise ValueError(
            f"{name}: expected one label per recording, got {labels.shape[1]}: write them before with_labels"
        )
    count = int(np.isfinite(labels).sum())
    if name != "unlabeled" and 0 < count < len(labels):
        raise ValueError(f"{name}: expected labels of all {len(labels)} recordings or of none, got {count}")


def _computed_by(splits: Mapping[str, Recordings]) -> dict[str, str]:
    """What each modality was computed by, where it is recorded for all splits that have it."""
    result = {}
    for modality in dict.fromkeys(modality for split in splits.values() for modality in split.sequences):
        found = {split.computed_by.get(modality) for split in splits.values() if modality in split.sequences}
        if len(found - {None}) > 1:
            raise ValueError(f"expected {modality} computed alike in all splits, got {messages.listed(found)}")
        if name := found.pop() if len(found) == 1 else None:
            result[modality] = name
    return result


def _cells(split: str, recordings: Recordings, i: int, more: Sequence[str]) -> list[object]:
    """A row of the table; NaN, for a label that is absent, is blank."""
    names = recordings.class_names

    def cell(values: np.ndarray | None, classes: Sequence[str] | None) -> object:
        value = float("nan") if values is None else float(values[i])
        return "" if np.isnan(value) else classes[int(value)] if classes else value

    label = cell(recordings.labels, names.get("label"))
    # A further label "label" is the one before `with_labels`, whose classes the names of "label" no longer are.
    others = [cell(recordings.more_labels.get(name), None if name == "label" else names.get(name)) for name in more]
    return [recordings.ids[i], recordings.text[i], label, split, *others]


def _index(path: Path) -> Path:
    """The table of a folder."""
    if not path.is_dir():
        return path
    if (path / "index.csv").exists():
        return path / "index.csv"
    found = sorted(file.name for file in path.glob("*.csv"))
    if len(found) != 1:
        raise DataError(f"{path}: expected index.csv, or one .csv, got {messages.listed(found)}")
    return path / found[0]
