"""What features were computed by: a record beside the arrays, compared before recordings are used together.

    audio/computed_by.json      {"computed_by": "mmsa", "columns": ["zero_crossing_rate", ...]}

Numbers of one count can be of many kinds, and a model that was trained on one of them says something of any other, too.
Without a record nothing is compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from disentangle.data import fields
from disentangle.data.text_files import load_json
from disentangle.errors import DataError

__all__ = ["RECORD", "check_computed_alike", "read_record", "read_records", "record"]

RECORD = "computed_by.json"
PLAIN = re.compile(r"[\w][\w .:+-]{0,59}", re.ASCII)


def record(computed_by: str, columns: Iterable[str] = ()) -> str:
    """What the file of a record holds.

    Arguments:
        computed_by: What the features beside it were computed by: "paper", "mmsa", "openface", or a name of your own.
        columns: The names of the features, where they are known.
    """
    return json.dumps({"computed_by": computed_by, "columns": list(columns)}) + "\n"


def read_record(folder: Path) -> str | None:
    """What the features in a folder were computed by; None where there is no record.

    Raises:
        DataError: If the record cannot be read.
    """
    path = folder / RECORD
    if not path.exists():
        return None
    content = fields.dictionary(path, load_json(path))
    name = fields.text(f"{path}: computed_by", content.get("computed_by"))
    if not PLAIN.fullmatch(name):
        raise DataError(f"{path}: computed_by: expected a short name, got {fields.listed([name])}")
    return name


def read_records(folder: Path, modalities: Iterable[str]) -> dict[str, str]:
    """The records of modalities in the folders of their names; those without one are left out."""
    found = {name: read_record(folder / name) for name in modalities}
    return {name: computed_by for name, computed_by in found.items() if computed_by is not None}


def check_computed_alike(where: object, got: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Checks that features were computed by the same as those of the training data, where both are recorded.

    Arguments:
        where: Where the features come from, for messages.
        got: What they were computed by, by modality.
        wanted: What those of the training data were computed by.

    Raises:
        DataError: If they were computed by something else.

    Example:
        >>> check_computed_alike("new.npy", {"audio": "mmsa"}, {"audio": "paper"})
        Traceback (most recent call last):
        disentangle.errors.DataError: new.npy: expected audio features computed by paper, as in the training data, got
        those by mmsa: compute them anew
    """
    for name in wanted:
        if name in got and got[name] != wanted[name]:
            raise DataError(
                f"{where}: expected {name} features computed by {wanted[name]}, as in the training data, got those by "
                f"{got[name]}: compute them anew"
            )
