"""The rows of a text file that lists recordings, one per recording, and the splits they belong to."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from disentangle.data import expect, messages
from disentangle.data.data_warnings import warn
from disentangle.data.recordings import LazyFrames, Recordings
from disentangle.data.split_names import SPLITS, split_of
from disentangle.data.text_files import load_json, load_table
from disentangle.errors import DataError

__all__ = ["Row", "gather", "number", "numbered", "read_splits", "split_name", "unique", "warn_of_unused"]


ABSENT = ("nan", "na", "n/a", "none", "null")  # what other programs write where there is no number


class Row(NamedTuple):
    """A recording in such a file. Without a split it is for training, or unlabelled if it has no label."""

    id: str
    text: str
    label: float | None
    split: str | None
    more: Mapping[str, float | None] = {}


def gather(
    where: str,
    rows: Sequence[Row],
    sequences: Mapping[str, LazyFrames],
    computed_by: Mapping[str, str],
    class_names: Mapping[str, list[str]] = {},
) -> dict[str, Recordings]:
    """Sorts rows into their splits, in the order of `SPLITS`; splits without rows are left out.

    Arguments:
        where: The file, for messages.
        rows: The rows, N.
        sequences: The frames of each modality, N.
        computed_by: What the frames were computed by, as in `Recordings`.
        class_names: The names of classes, as there.

    Raises:
        DataError: If there are no rows, or only some rows of a split have labels.
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
            way = "recordings without can be of the split unlabeled"
            if split == "unlabeled":
                way = "leave these blank, or let the recordings with a label be of another split"
            raise DataError(
                f"{where}: {split}: expected labels of all {len(labels)} recordings or of none, got "
                f"{len(labels) - labels.count(None)}; {way}"
            )
        if indices:
            result[split] = Recordings(
                text=[rows[i].text for i in indices],
                sequences={name: frames.select(indices) for name, frames in sequences.items()},
                labels=None
                if None in labels
                else expect.in_float32(f"{where}: {split}: label", np.array(labels, float)),
                ids=[rows[i].id for i in indices],
                more_labels=_more_labels(f"{where}: {split}", [rows[i].more for i in indices]),
                computed_by=dict(computed_by),
                class_names=dict(class_names),
            )
    return result


def _more_labels(where: str, rows: Sequence[Mapping[str, float | None]]) -> dict[str, np.ndarray]:
    """The further labels that any of the rows has, each `(N,)`."""
    columns = {
        name: expect.in_float32(f"{where}: {messages.listed([name])}", np.array([row[name] for row in rows], float))
        for name in rows[0]
    }
    return {name: values for name, values in columns.items() if not np.isnan(values).all()}


def split_name(where: str, value: object) -> str | None:
    """The split of a name; None if blank."""
    name = "" if value is None else expect.text(where, value)
    split = split_of(name)
    if name and split is None:
        raise DataError(f"{where}: expected {', '.join(SPLITS[:-1])} or {SPLITS[-1]}, got {messages.listed([name])}")
    return split


def number(where: str, value: object) -> float | None:
    """A number that is finite in float32, or a truth value; None if blank."""
    if value is None or value == "":
        return None
    try:
        if not isinstance(value, str | int | float) or "_" in str(value):  # "1_0" is 10 in Python
            raise TypeError
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        shown = messages.listed([value]) if isinstance(value, str) else messages.kind(value)
        if shown.lower() in ABSENT:
            raise DataError(f"{where}: expected a number, or blank where there is none, got {shown}") from None
        raise DataError(f"{where}: expected a number, got {shown}") from None
    if np.isnan(result):
        raise DataError(f"{where}: expected a number, or blank where there is none, got nan")
    if abs(result) > np.finfo(np.float32).max:
        raise DataError(f"{where}: expected a finite number, got {messages.listed([value])}")
    return result


def numbered(where: str, labels: Sequence[Any]) -> tuple[list[Any], list[str]]:
    """Labels with their places where they are names of classes, and these names in order; None where blank.

    They are none, and stay as they are, where any of them is a number, or where all are the same. A line break in a name is
    a blank; a `DataWarning` names those that differ in case alone.

    Example:
        >>> numbered("a.csv", ["joy", "", "anger"]), numbered("a.csv", ["joy", 2.5])
        (([1.0, None, 0.0], ['anger', 'joy']), (['joy', 2.5], []))
    """
    if not all(each is None or isinstance(each, str) for each in labels):
        return list(labels), []
    given = [" ".join((each or "").split()) for each in labels]
    names = sorted({each for each in given if each})
    if len(names) < 2 or any(map(_is_number, names)):
        return list(labels), []
    alike = [name for name in names if [other.casefold() for other in names].count(name.casefold()) > 1]
    if alike:
        warn(f"{where}: classes that differ only in upper and lower case: {', '.join(alike[:12])}")
    return [float(names.index(each)) if each else None for each in given], names


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True


def unique(where: str, ids: Sequence[str]) -> None:
    """Checks that no name is blank and none comes twice."""
    seen: set[str] = set()
    for row, each in enumerate(ids, 1):
        if not each:
            raise DataError(f"{where}: row {row}: expected an id, got a blank cell")
        if each in seen:
            raise DataError(f"{where}: id {messages.listed([each])} comes twice")
        seen.add(each)


def warn_of_unused(
    folder: Path, splits: dict[str, str | None], used: Collection[str], recordings: int, kept: int
) -> None:
    """Says which names of a table of splits are of no recording, and how many recordings it does not name."""
    file = next(file for file in ("splits.json", "splits.csv") if (folder / file).exists())
    if others := [name for name in splits if name not in used]:
        warn(
            f"{folder / file}: of no recording: {messages.listed(others)}; {kept} of {recordings} recordings are in a split"
        )


def read_splits(folder: Path) -> dict[str, str | None] | None:
    """What `splits.json`, `{id: split}`, or `splits.csv`, with columns id and split, says; None if there is neither."""
    files = [file for file in (folder / "splits.json", folder / "splits.csv") if os.path.lexists(file)]
    if len(files) > 1:
        raise DataError(f"{folder}: expected splits.json or splits.csv, got both")
    if not files:
        return None
    (file,) = files
    if file.suffix == ".json":
        content = expect.dictionary(file, load_json(file))
        return {name: split_name(f"{file}: {messages.listed([name])}", split) for name, split in content.items()}
    table = load_table(file, ("id", "split"))
    unique(str(file), table["id"])
    return {
        name: split_name(f"{file}: row {i}", split)
        for i, (name, split) in enumerate(zip(table["id"], table["split"], strict=True), 1)
    }
