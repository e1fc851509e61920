"""Words, or segments, with their times as CSV."""

from __future__ import annotations

import csv

from disentangle.data.text_files import csv_rows
from disentangle.features.transcripts.segments import Fault, Segment
from disentangle.features.transcripts.word_pieces import Piece, Stretch, words_of

__all__ = ["tabulated"]


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
    if header == ["start", "end", "text"] and all(_is_whole(piece) for piece in pieces):
        # whisper.cpp's, which are thousandths.
        pieces = [Piece(p.where, p.text, (p.start or 0) / 1000, (p.end or 0) / 1000) for p in pieces]
    return words_of(Stretch(pieces))


def _is_whole(piece: Piece) -> bool:
    return all(time is not None and time.is_integer() for time in (piece.start, piece.end))


def _seconds(where: str, cell: str) -> float | None:
    """None where there is none."""
    if not cell.strip():
        return None
    try:
        return float(cell)
    except ValueError:
        raise Fault(f"{where}: expected seconds, got {ascii(cell.strip())[:40]}") from None
