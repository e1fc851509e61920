"""SubRip (`.srt`) and WebVTT (`.vtt`), as they are written, which is not always as they are defined."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

from disentangle.features.transcripts.rolling_captions import unrolled
from disentangle.features.transcripts.segments import Fault, Segment, checked
from disentangle.features.transcripts.unsaid import is_unsaid
from disentangle.features.transcripts.word_pieces import Piece, Stretch, have_own_blanks, words_of

__all__ = ["subrip", "webvtt"]

# A dash in front of what each of two speakers says.
DASH = re.compile(r"^[-–—] (?=\S)", re.MULTILINE)
# The names that SubRip has, and those that others put into it: anything else between < and > is text.
MARK_UP = re.compile(
    r"</?(?:b|i|u|s|em|strong|br|ruby|rt)(?:\.[^<>\s]*)?\s*/?>|</?(?:font|span|p|c|v|lang)(?=[\s.>/])[^<>]*>"
    r"|<[0-9:.]{5,16}>|\{\\[^{}]*\}",
    re.IGNORECASE,
)
ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")


def subrip(text: str) -> list[Segment]:
    """The cues of SubRip, or what they add to one another."""
    cues = []
    for number, lines in _blocks(text):
        # Its number is there to be passed over; some writers leave it out.
        numbered = "-->" not in lines[0] and lines[0].strip().isdecimal()
        start, end, words = _cue(number + numbered, lines[numbered:])
        # Only what is mark-up: a "<" can be one.
        cues.append(Segment(start, end, MARK_UP.sub("", words)))
    return _said(cues)


def webvtt(text: str) -> list[Segment]:
    """The cues of WebVTT, or what they add to one another; notes, styles and regions are passed over."""
    blocks = _blocks(text)
    number, lines = next(blocks, (1, [""]))
    if number != 1 or not re.match(r"WEBVTT(?:[ \t]|$)", lines[0]):
        raise Fault("line 1: expected WEBVTT")
    if any("-->" in line for line in lines):
        raise Fault("line 1: a time amid the header; a blank line is missing below it")
    cues = []
    for number, lines in blocks:
        if "-->" not in lines[0] and re.match(r"(?:NOTE|STYLE|REGION)(?:[ \t]|$)", lines[0]):
            continue
        named = "-->" not in lines[0]
        start, end, words = _cue(number + named, lines[named:])
        cues.append(Segment(start, end, re.sub(r"<[^<>]*>", "", words)))
    return _said(cues)


def _said(cues: Sequence[Segment]) -> list[Segment]:
    """What is said in cues, which may roll, or end within a word."""
    # Only what ends in a semicolon: "this &that" is text.
    plain = [cue._replace(text=ENTITY.sub(lambda found: html.unescape(found[0]), cue.text)) for cue in cues]
    plain = [cue._replace(text=DASH.sub("", cue.text)) for cue in plain if not is_unsaid(cue.text)]
    added = unrolled(plain)
    # Only whisper.cpp's have blanks in front, and can be parts of words; those that roll have them at their lines' ends.
    if added != [cue for cue in plain if cue.text.strip()] or not have_own_blanks([cue.text for cue in plain]):
        return added
    return words_of(Stretch([Piece("", cue.text, cue.start, cue.end) for cue in plain]))


def _blocks(text: str) -> Iterator[tuple[int, list[str]]]:
    """What stands between empty lines, and the number of its first line.

    A line of blanks is text, since within a cue it is; where a cue is below it, it stands for an empty one.
    """
    lines = text.split("\n")
    block: list[str] = []
    for number, line in enumerate([*lines, ""], start=1):
        if line.strip() or (line and block and not any("-->" in below for below in lines[number : number + 2])):
            block.append(line)
        elif block:
            yield number - len(block), block
            block = []


def _cue(number: int, lines: list[str]) -> Segment:
    """A line of times, of this number, and the lines of text below it."""
    times, arrow, after = (lines or [""])[0].partition("-->")
    if not arrow:
        found = f"got {ascii(times.strip())[:40]}" if times else "got none"
        raise Fault(f"line {number}: expected a time, such as 00:00:01.000 --> 00:00:02.000, {found}")
    for below, line in enumerate(lines[1:], start=number + 1):
        if "-->" in line:
            raise Fault(f"line {below}: a time amid text; a blank line is missing above it")
    # WebVTT has settings after the times, and SubRip can have a place.
    start, end = _clock(number, times.strip()), _clock(number, after.split()[0] if after.strip() else "")
    return checked(f"line {number}", start, end, "\n".join(lines[1:]))


def _clock(number: int, time: str) -> float:
    """Seconds, of hours:minutes:seconds.thousandths; hours can be missing, and there can be a comma for the point."""
    parts = re.fullmatch(r"(?:([0-9]{1,6}):)?([0-5][0-9]):([0-5][0-9])[.,]([0-9]{3})", time)
    if parts is None:
        raise Fault(f"line {number}: expected a time such as 00:00:01.000, got {ascii(time)[:40]}")
    hours, minutes, seconds, thousandths = (int(part or 0) for part in parts.groups())
    return ((hours * 60 + minutes) * 60 + seconds) + thousandths / 1000
