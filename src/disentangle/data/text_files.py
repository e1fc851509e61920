"""JSON and CSV, as data: what is wrong with a file is a `DataError` of one line."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from disentangle.contents import misplaced
from disentangle.data import fields
from disentangle.data.pickles import DataError

__all__ = ["load_json", "load_table"]

LARGEST = 2**28  # bytes of a text file; the transcripts of the largest sets are a tenth of it


def load_json(path: Path) -> Any:
    """What a JSON file holds; a key that comes twice in one object is an error."""
    return _parsed(path, "JSON", lambda text: json.loads(text, object_pairs_hook=_once))


def load_table(path: Path, wanted: Sequence[str]) -> dict[str, list[str]]:
    """The columns of a CSV file, each cell stripped, by the names in its first line; those `wanted` have to be there."""
    lines = _parsed(path, "CSV", lambda text: list(csv.reader(io.StringIO(text, newline=""), strict=True)))
    lines = [[cell.strip() for cell in line] for line in lines if line]
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
        if wrong := misplaced(path, kind):
            raise DataError(f"{path}: {wrong}")
        return parse(path.read_bytes().decode("utf-8-sig"))
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected UTF-8, and it is not at byte {error.start}") from None
    except RecursionError:
        raise DataError(f"{path}: not {kind} of data: nested too deep") from None
    except (ValueError, csv.Error) as error:
        raise DataError(f"{path}: not {kind}: {' '.join(str(error).split())[:120]}") from None
