"""What is said and when, and what is said within an interval."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from disentangle.data.writing_systems import join_words
from disentangle.errors import DisentangleError

__all__ = ["Fault", "Segment", "checked", "text_between"]


class Segment(NamedTuple):
    """Something said, from `start` to `end` in seconds; both are None where a transcript has no times."""

    start: float | None
    end: float | None
    text: str


class Fault(DisentangleError):
    """What is wrong with a transcript, and where in it."""


def checked(where: str, start: float, end: float, text: str) -> Segment:
    """A segment, if its times are finite and in order."""
    if not (math.isfinite(start) and math.isfinite(end)):
        raise Fault(f"{where}: expected times that are finite, got {start} to {end}")
    if end < start:
        raise Fault(f"{where}: expected an end after the start at {start} s, got {end} s")
    return Segment(start, end, text)


def text_between(segments: Iterable[Segment], start: float = -math.inf, end: float = math.inf) -> str:
    """What is said in an interval; by default all of it.

    A segment belongs to the interval that holds its middle, so each segment is in exactly one of several intervals that
    follow one another. Segments are joined with blanks, or without in scripts that have none, such as Chinese.

    Arguments:
        segments: The segments of a transcript.
        start: Where the interval begins, in seconds.
        end: Where it ends, in seconds.

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
    return join_words(inside)
