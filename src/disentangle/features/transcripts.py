"""What is said and when: transcripts as plain text, as subtitles, and as words with their times.

- `.txt`: text; one segment, without times;
- `.srt`: SubRip subtitles; a segment each;
- `.vtt`: WebVTT subtitles; a segment a cue, notes, styles and regions are passed over;
- `.json`: a list of `{"word", "start", "end"}`, or Whisper's `segments`, perhaps with `words`: a segment a word, or else as
  they are;
- `.csv`: a header with `word`, `start` and `end`; a segment a word.

Files are UTF-8. Times are seconds. Mark-up is taken away, and white space is one space.
"""

from __future__ import annotations

import csv
import html
import io
import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from disentangle.data import DataError
from disentangle.features.files import read_text

__all__ = ["Segment", "read_transcript", "text_between"]


class Segment(NamedTuple):
    """Something said, from `start` to `end` in seconds; both are None where a transcript has no times."""

    start: float | None
    end: float | None
    text: str


class _Fault(Exception):
    """What is wrong with a transcript, and where in it."""


def read_transcript(path: str | os.PathLike[str]) -> list[Segment]:
    r"""Reads a transcript; its ending tells the layout.

    Arguments:
        path: A file `.txt`, `.srt`, `.vtt`, `.json` or `.csv`.

    Returns:
        Its segments, in the file's order; those without words are left out, so there are none where nothing is said.

    Raises:
        DataError: If it cannot be read, or is malformed: the message says at which line.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".srt") as file:
        ...     _ = file.write("1\n00:00:01,000 --> 00:00:02,500\n<i>So</i>\ngood!\n")
        ...     file.flush()
        ...     read_transcript(file.name)
        [Segment(start=1.0, end=2.5, text='So good!')]
    """
    readers = {".txt": _plain, ".srt": _subrip, ".vtt": _webvtt, ".json": _json, ".csv": _csv}
    reader = readers.get(Path(path).suffix.lower())
    if reader is None:
        raise DataError(f"{path}: not a transcript: expected a name that ends in {', '.join(readers)}")
    text = read_text(path)
    try:
        segments = [Segment(start, end, " ".join(words.split())) for start, end, words in reader(text)]
    except _Fault as fault:
        raise DataError(f"{path}: {fault}") from None
    return [segment for segment in segments if segment.text]


def text_between(segments: Iterable[Segment], start: float = -math.inf, end: float = math.inf) -> str:
    """What is said in an interval; by default all of it.

    A segment belongs to the interval in which its middle is, so that of intervals that follow one another each segment is in
    one and only one.

    Arguments:
        segments: The segments of a transcript.
        start: The first second.
        end: The second before which it ends.

    Raises:
        ValueError: If an interval is wanted of a transcript without times.

    Example:
        >>> words = [Segment(0.0, 0.4, "so"), Segment(0.4, 1.0, "good")]
        >>> text_between(words), text_between(words, 0.5, 2.0)
        ('so good', 'good')
    """
    inside = []
    for segment in segments:
        if segment.start is None or segment.end is None:
            if (start, end) != (-math.inf, math.inf):
                raise ValueError(f"expected segments with times, to find those in [{start}, {end}), got one without")
            inside.append(segment.text)
        elif start <= (segment.start + segment.end) / 2 < end:
            inside.append(segment.text)
    return " ".join(inside)


def _plain(text: str) -> Iterator[Segment]:
    yield Segment(None, None, text)


def _subrip(text: str) -> Iterator[Segment]:
    for number, lines in _blocks(text):
        # Its number is there to be passed over; some writers leave it out.
        numbered = "-->" not in lines[0] and lines[0].strip().isdecimal()
        start, end, words = _cue(number + numbered, lines[numbered:])
        # Only what is mark-up: a "<" can be one.
        yield Segment(start, end, re.sub(r"</?[A-Za-z][^<>]*>|\{\\[^{}]*\}", "", words))


def _webvtt(text: str) -> Iterator[Segment]:
    blocks = _blocks(text)
    number, lines = next(blocks, (1, [""]))
    if number != 1 or not re.match(r"WEBVTT(?:[ \t]|$)", lines[0]):
        raise _Fault("line 1: expected WEBVTT")
    if any("-->" in line for line in lines):
        raise _Fault("line 1: a time amid the header; a blank line is missing below it")
    for number, lines in blocks:
        if "-->" not in lines[0] and re.match(r"(?:NOTE|STYLE|REGION)(?:[ \t]|$)", lines[0]):
            continue
        named = "-->" not in lines[0]
        start, end, words = _cue(number + named, lines[named:])
        yield Segment(start, end, html.unescape(re.sub(r"<[^<>]*>", "", words)))


def _blocks(text: str) -> Iterator[tuple[int, list[str]]]:
    """What stands between blank lines, and the number of its first line."""
    block = []
    for number, line in enumerate([*text.split("\n"), ""], start=1):
        if line.strip():
            block.append(line)
        elif block:
            yield number - len(block), block
            block = []


def _cue(number: int, lines: list[str]) -> Segment:
    """A line of times, of this number, and the lines of text below it."""
    times, arrow, after = (lines or [""])[0].partition("-->")
    if not arrow:
        found = f"got {ascii(times.strip())[:40]}" if times else "got none"
        raise _Fault(f"line {number}: expected a time, such as 00:00:01.000 --> 00:00:02.000, {found}")
    for below, line in enumerate(lines[1:], start=number + 1):
        if "-->" in line:
            raise _Fault(f"line {below}: a time amid text; a blank line is missing above it")
    # WebVTT has settings after the times, and SubRip can have a place.
    start, end = _clock(number, times.strip()), _clock(number, after.split()[0] if after.strip() else "")
    return _timed(f"line {number}", start, end, "\n".join(lines[1:]))


def _clock(number: int, time: str) -> float:
    """Seconds, of hours:minutes:seconds.thousandths; hours can be missing, and there can be a comma for the point."""
    parts = re.fullmatch(r"(?:([0-9]{1,6}):)?([0-5][0-9]):([0-5][0-9])[.,]([0-9]{3})", time)
    if parts is None:
        raise _Fault(f"line {number}: expected a time such as 00:00:01.000, got {ascii(time)[:40]}")
    hours, minutes, seconds, thousandths = (int(part or 0) for part in parts.groups())
    return ((hours * 60 + minutes) * 60 + seconds) + thousandths / 1000


def _timed(where: str, start: float, end: float, text: str) -> Segment:
    if not (math.isfinite(start) and math.isfinite(end)):
        raise _Fault(f"{where}: expected times that are finite, got {start} to {end}")
    if end < start:
        raise _Fault(f"{where}: ends at {end} s, before it starts at {start} s")
    return Segment(start, end, text)


def _json(text: str) -> Iterator[Segment]:
    if not text.strip():
        raise _Fault("empty, expected JSON")
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise _Fault(f"line {error.lineno}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; thousands of brackets
        raise _Fault(f"not JSON that can be read: {str(error)[:80]}") from None
    if isinstance(content, dict):
        name = next((name for name in ("segments", "words") if isinstance(content.get(name), list)), None)
        if name is None:
            raise _Fault("expected a list of words with times, or Whisper's segments, got neither")
        entries = content[name]
    else:
        name, entries = "words", content
    if not isinstance(entries, list):
        raise _Fault("expected a list of words with times, or Whisper's segments, got neither")
    for i, entry in enumerate(entries):
        words = entry.get("words") if isinstance(entry, dict) else None
        # Aligners leave words without times that they could not place, numbers mostly: then the segment is one.
        if isinstance(words, list) and words and all(isinstance(word, dict) and "start" in word for word in words):
            yield from (_entry(f"{name}[{i}].words[{j}]", word) for j, word in enumerate(words))
        else:
            yield _entry(f"{name}[{i}]", entry)


def _entry(where: str, entry: object) -> Segment:
    """A word or a segment of JSON."""
    if not isinstance(entry, dict):
        raise _Fault(f"{where}: expected word, start and end, got {type(entry).__name__}")
    text = entry.get("word", entry.get("text"))
    if not isinstance(text, str):
        raise _Fault(f"{where}: expected a text under word or text, got {type(text).__name__}")
    times = []
    for name in ("start", "end"):
        time = entry.get(name)
        if isinstance(time, bool) or not isinstance(time, int | float):
            raise _Fault(f"{where}: expected seconds under {name}, got {type(time).__name__}")
        try:
            times.append(float(time))
        except OverflowError:
            raise _Fault(f"{where}: {name} is too large") from None
    return _timed(where, times[0], times[1], text)


def _csv(text: str) -> Iterator[Segment]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in next(rows, [])]
        missing = [name for name in ("word", "start", "end") if name not in header]
        if missing:
            raise _Fault(f"line 1: expected columns word, start and end, got no {missing[0]}")
        word, start, end = (header.index(name) for name in ("word", "start", "end"))
        for row in rows:
            if any(cell.strip() for cell in row):
                where = f"line {rows.line_num}"
                if len(row) != len(header):
                    raise _Fault(f"{where}: {len(row)} values, expected {len(header)} as in the header")
                yield _timed(where, _seconds(where, row[start]), _seconds(where, row[end]), row[word])
    except csv.Error as error:
        raise _Fault(f"line {rows.line_num}: not CSV: {error}") from None


def _seconds(where: str, cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise _Fault(f"{where}: expected seconds, got {ascii(cell.strip())[:40]}") from None
