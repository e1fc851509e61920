"""Rows of an index, one a recording, and the splits they go to: for the layouts whose index is a text file."""

from __future__ import annotations

import csv
import json
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from disentangle.data import fields
from disentangle.data.lazy import LazyFrames
from disentangle.data.pickles import DataError
from disentangle.data.recordings import Recordings
from disentangle.data.text_files import csv_rows, decoded

__all__ = ["SPLITS", "Row", "gather", "load_json", "load_table", "number", "read_splits", "split_name", "unique"]

SPLITS = ("train", "valid", "test", "unlabeled")
OTHER_NAMES = {"dev": "valid", "val": "valid", "validation": "valid", "unlabelled": "unlabeled"}
LARGEST = 2**28  # bytes of a text file; the transcripts of the largest sets are a tenth of it


class Row(NamedTuple):
    """A recording of an index. Without a split it is for training, or unlabelled if it has no label."""

    id: str
    text: str
    label: float | None
    split: str | None
    more: Mapping[str, float | None] = {}


def gather(where: str, rows: Sequence[Row], sequences: Mapping[str, LazyFrames]) -> dict[str, Recordings]:
    """The splits that rows belong to, in the order of `SPLITS`; those that have none are left out.

    Arguments:
        where: The file, for messages.
        rows: The rows, N.
        sequences: The frames of each modality, N.

    Raises:
        DataError: If there are no rows, or only some of a split's have labels.
    """
    if not rows:
        raise DataError(f"{where}: no recordings")
    groups: dict[str, list[int]] = {split: [] for split in SPLITS}
    for i, row in enumerate(rows):
        groups[row.split or ("unlabeled" if row.label is None else "train")].append(i)
    result = {}
    for split, indices in groups.items():
        labels = [rows[i].label for i in indices]
        if 0 < labels.count(None) < len(labels):
            raise DataError(
                f"{where}: {split}: {labels.count(None)} of {len(labels)} recordings have no label, expected all or none; "
                "the split of those without can be unlabeled"
            )
        if indices:
            result[split] = Recordings(
                text=[rows[i].text for i in indices],
                sequences={name: frames.select(indices) for name, frames in sequences.items()},
                labels=None if None in labels else np.array(labels, np.float32),
                ids=[rows[i].id for i in indices],
                more_labels=_more_labels([rows[i].more for i in indices]),
            )
    return result


def _more_labels(rows: Sequence[Mapping[str, float | None]]) -> dict[str, np.ndarray]:
    """The further labels that any of the rows has, each `(N,)`."""
    columns = {name: np.array([row[name] for row in rows], np.float32) for name in rows[0]}
    return {name: values for name, values in columns.items() if not np.isnan(values).all()}


def split_name(where: str, value: object) -> str | None:
    """One of `SPLITS`, under any of its names; None if blank."""
    name = "" if value is None else fields.text(where, value)
    name = OTHER_NAMES.get(name, name)
    if name and name not in SPLITS:
        raise DataError(f"{where}: expected {', '.join(SPLITS[:-1])} or {SPLITS[-1]}, got {fields.listed([name])}")
    return name or None


def number(where: str, value: object) -> float | None:
    """A finite number, or a truth value, rounded to float32; None if blank."""
    if value is None or value == "":
        return None
    try:
        if not isinstance(value, str | int | float) or "_" in str(value):  # "1_0" is 10 in Python
            raise TypeError
        with np.errstate(over="ignore"):
            result = float(np.float32(float(value)))
    except (TypeError, ValueError, OverflowError):
        shown = fields.listed([value]) if isinstance(value, str) else fields.kind(value)
        raise DataError(f"{where}: expected a number, got {shown}") from None
    if not np.isfinite(result):
        raise DataError(f"{where}: expected a finite number, got {fields.listed([value])}")
    return result


def unique(where: str, ids: Sequence[str]) -> None:
    """Checks that no name is blank and none comes twice."""
    seen: set[str] = set()
    for each in ids:
        if not each or each in seen:
            raise DataError(f"{where}: " + (f"id {fields.listed([each])} comes twice" if each else "a blank id"))
        seen.add(each)


def read_splits(folder: Path) -> dict[str, str | None] | None:
    """What `splits.json`, `{id: split}`, or `splits.csv`, with columns id and split, says; None if there is neither."""
    files = [file for file in (folder / "splits.json", folder / "splits.csv") if os.path.lexists(file)]
    if len(files) > 1:
        raise DataError(f"{folder}: both splits.json and splits.csv, expected one of them")
    if not files:
        return None
    (file,) = files
    if file.suffix == ".json":
        content = fields.dictionary(file, load_json(file))
        return {name: split_name(f"{file}: {fields.listed([name])}", split) for name, split in content.items()}
    table = load_table(file, ("id", "split"))
    unique(str(file), table["id"])
    return {
        name: split_name(f"{file}: row {i}", split)
        for i, (name, split) in enumerate(zip(table["id"], table["split"], strict=True), 1)
    }


def load_json(path: Path) -> Any:
    """What a JSON file holds; a key that comes twice in one object is an error."""
    return _parsed(path, "JSON", lambda text: json.loads(text, object_pairs_hook=_once))


def load_table(path: Path, wanted: Sequence[str]) -> dict[str, list[str]]:
    """The columns of a CSV file, each cell stripped, by the names in its first line; those `wanted` have to be there.

    Cells are separated by commas, semicolons or tabs; names can be in quotes and have blanks around them.
    """
    lines = _parsed(path, "CSV", lambda text: [row for _, row in csv_rows(text, wanted)])
    lines = [[cell.strip() for cell in line] for line in lines]
    names = lines[0] if lines else []
    absent = [name for name in wanted if name not in names]
    if absent:
        raise DataError(f"{path}: expected a column {fields.listed(absent)}, got {fields.listed(names)}")
    if len(set(names)) < len(names):
        raise DataError(f"{path}: two columns of one name, found {fields.listed(names)}")
    for i, line in enumerate(lines[1:], 1):
        if len(line) != len(names):
            raise DataError(f"{path}: row {i}: expected {len(names)} cells, got {len(line)}")
    return {name: [line[c] for line in lines[1:]] for c, name in enumerate(names)}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key that comes twice in one object")
    return content


def _parsed(path: Path, kind: str, parse: Callable[[str], Any]) -> Any:
    try:
        # A pipe or a device would block or never end.
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path}: not a regular file")
        if status.st_size > LARGEST:
            raise DataError(f"{path}: {status.st_size:,} bytes, expected {kind} of at most {LARGEST:,}")
        return parse(decoded(path, path.read_bytes()))
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except RecursionError:
        raise DataError(f"{path}: not {kind} of data: nested too deep") from None
    except csv.Error as error:
        raise DataError(f"{path}: {error}") from None
    except ValueError as error:
        raise DataError(f"{path}: not {kind}: {' '.join(str(error).split())[:120]}") from None
