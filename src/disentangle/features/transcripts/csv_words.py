"""Words, or segments, with their times as CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence

import numpy as np

from disentangle.data.text_files import csv_rows
from disentangle.data.writing_systems import count_words
from disentangle.features.transcripts.segments import Fault, Segment
from disentangle.features.transcripts.word_pieces import Piece, Stretch, words_of

__all__ = ["tabulated"]

SLOWEST_WORD = 20.0  # seconds; as thousandths, a fiftieth of a second, which no word is as short as


def tabulated(text: str) -> list[Segment]:
    """What the rows say, below a header with `word` (or `text`), `start` and `end`."""
    rows = csv_rows(text, ("start", "end"), keep_blanks=True)
    try:
        _, names = next(rows, (1, []))
        header = [name.lower() for name in names]
        said = "word" if "word" in header or "text" not in header else "text"
        missing = [name for name in (said, "start", "end") if name not in header]
        if missing:
            raise Fault(f"line 1: expected columns word, start and end, got no {missing[0]}")
        word, start, end = (header.index(name) for name in (said, "start", "end"))
        pieces = []
        for number, row in rows:
            where = f"line {number}"
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header):
                raise Fault(f"{where}: expected {len(header)} values as in the header, got {len(row)}")
            pieces.append(Piece(where, row[word], _seconds(where, row[start]), _seconds(where, row[end])))
    except csv.Error as error:
        raise Fault(str(error)) from None
    if header == ["start", "end", "text"] and _are_thousandths(pieces):  # whisper.cpp's
        pieces = [Piece(p.where, p.text, (p.start or 0) / 1000, (p.end or 0) / 1000) for p in pieces]
    return words_of(Stretch(pieces))


def _are_thousandths(pieces: Sequence[Piece]) -> bool:
    """Whether times are whole numbers, and a word takes longer than anybody would need for it in seconds."""
    times = [(piece.start, piece.end) for piece in pieces]
    if not times or not all(time is not None and time.is_integer() for pair in times for time in pair):
        return False
    words = [max(1, count_words(piece.text)) for piece in pieces]
    each = [
        (end - start) / n for (start, end), n in zip(times, words, strict=True) if start is not None and end is not None
    ]
    return float(np.median(each)) > SLOWEST_WORD


def _seconds(where: str, cell: str) -> float | None:
    """None where there is none."""
    if not cell.strip():
        return None
    try:
        return float(cell)
    except ValueError:
        raise Fault(f"{where}: expected seconds, got {ascii(cell.strip())[:40]}") from None
