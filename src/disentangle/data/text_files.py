"""Files of text and tables, as editors, spreadsheets and other programs write them."""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from disentangle.data import messages
from disentangle.data.opening import read_bytes
from disentangle.errors import DataError

__all__ = ["csv_rows", "decoded", "load_json", "load_table", "read_text"]

LARGEST = 2**28  # bytes of a JSON or CSV file; the transcripts of the largest sets are a tenth of it
NOT_NUMBERS = ("id", "video_id", "clip_id", "file", "text", "word", "split", "mode", "annotation")
DECIMAL_COMMA = re.compile(r"^(\s*[+-]?[0-9]+),([0-9]+\s*)$")


def read_text(path: str | os.PathLike[str], *, errors: str = "strict") -> str:
    r"""Reads a file of UTF-8, or of UTF-16 with its byte-order mark; lines end in "\n", whatever they end in there.

    Arguments:
        path: The file.
        errors: How bytes that are no text are handled, as in `bytes.decode`.

    Raises:
        DataError: If the file cannot be read, or is no such text.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     _ = file.write(b"\xef\xbb\xbfso\r\ngood")
        ...     file.flush()
        ...     read_text(file.name)
        'so\ngood'
    """
    return decoded(path, read_bytes(path, "text"), errors).replace("\r\n", "\n").replace("\r", "\n")


def decoded(path: str | os.PathLike[str], content: bytes, errors: str = "strict") -> str:
    r"""The text of a file's bytes, without a byte-order mark.

    Raises:
        DataError: If they are neither UTF-8 nor UTF-16 with its mark.

    Example:
        >>> decoded("a.txt", "so".encode("utf-16"))
        'so'
    """
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    # In UTF-16 every second byte of a text that starts with ASCII is null.
    if not utf16 and len(content) >= 4 and not (any(content[:8:2]) and any(content[1:8:2])):
        raise DataError(f"{path}: expected UTF-8, got null bytes, as of UTF-16 without its mark; save it as UTF-8")
    try:
        return content.decode("utf-16" if utf16 else "utf-8-sig", errors)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: expected UTF-8, got byte 0x{content[error.start]:02x} at {error.start}; save it as UTF-8"
        ) from None


def csv_rows(text: str, wanted: Sequence[str], *, keep_blanks: bool = False) -> Iterator[tuple[int, list[str]]]:
    r"""The rows of a CSV file, header first, each with the number of its last line; rows of blank cells are passed over.

    Cells are separated by whichever of comma, semicolon and tab makes the header have the columns `wanted`. With semicolons,
    a number such as 2,5 has a decimal comma, and is given with a point, but in columns of text and of names. Names in the
    header lose blanks and quotes around them; a column that has none is called "column 3 without a name".

    Arguments:
        text: What is in the file.
        wanted: Some names that its header has.
        keep_blanks: Whether blanks in front of a cell belong to it. They never do if the header has blanks in front of quotes.

    Raises:
        csv.Error: If it is no CSV; the message names the line.

    Example:
        >>> list(csv_rows('"id"; "label"\na;2,5\n', ["id", "label"]))
        [(1, ['id', 'label']), (2, ['a', '2.5'])]
    """
    separator = _separator(text, wanted)
    first = text.lstrip("\r\n").partition("\n")[0]
    skip = not keep_blanks or re.search(rf'{separator}[ \t]+"', first) is not None
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=skip, strict=True)
    header, kept = True, []
    try:
        for row in rows:
            if not any(map(str.strip, row)):  # as spreadsheets write rows that had something once
                continue
            if header:
                row = [name.strip() or f"column {c} without a name" for c, name in enumerate(row, 1)]
                kept = [c for c, name in enumerate(row) if name.lower() in NOT_NUMBERS]
            elif separator == ";":
                row = [cell if c in kept else DECIMAL_COMMA.sub(r"\1.\2", cell) for c, cell in enumerate(row)]
            header = False
            yield rows.line_num, row
    except csv.Error as error:
        raise csv.Error(f"line {rows.line_num}: not CSV: {error}") from None


def load_json(path: Path) -> Any:
    """Reads a JSON file; a key that comes twice in one object is an error."""
    return _parsed(path, "JSON", lambda text: json.loads(text, object_pairs_hook=_once))


def load_table(path: Path, wanted: Sequence[str]) -> dict[str, list[str]]:
    """Reads the columns of a CSV file by the names in its first line, each cell stripped; those `wanted` have to be there.

    Cells are separated by commas, semicolons or tabs; names can be in quotes and have blanks around them.
    """
    lines = _parsed(path, "CSV", lambda text: [row for _, row in csv_rows(text, wanted)])
    lines = [[cell.strip() for cell in line] for line in lines]
    names = lines[0] if lines else []
    absent = [name for name in wanted if name not in names]
    if absent:
        raise DataError(f"{path}: expected a column {messages.listed(absent)}, got {messages.listed(names)}")
    if len(set(names)) < len(names):
        raise DataError(f"{path}: expected columns of different names, got {messages.listed(names)}")
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
    text = decoded(path, read_bytes(path, kind, largest=LARGEST))
    try:
        return parse(text)
    except RecursionError:
        raise DataError(f"{path}: not {kind} of data: nested too deep") from None
    except csv.Error as error:
        raise DataError(f"{path}: {error}") from None
    except ValueError as error:
        raise DataError(f"{path}: not {kind}: {' '.join(str(error).split())[:120]}") from None


def _separator(text: str, wanted: Sequence[str]) -> str:
    for separator in ",;\t":
        rows = csv.reader(io.StringIO(text.lstrip("\r\n"), newline=""), delimiter=separator, skipinitialspace=True)
        try:
            names = {name.strip().lower() for name in next(rows, [])}
        except csv.Error:  # a cell of more than 128 kB
            continue
        if names >= {name.lower() for name in wanted}:
            return separator
    return ","
