"""What stands in a transcript and is not said: `[Music]`, `(laughs)` by itself, notes, and marks of who speaks."""

from __future__ import annotations

import re
from collections.abc import Iterable

from disentangle.data.writing_systems import on_one_line
from disentangle.features.transcripts.segments import Segment

__all__ = ["is_unsaid", "without_unsaid"]

NOTES = re.compile("[♩♪♫♬\U0001f3b5\U0001f3b6]\ufe0f?")
# A segment may end within the brackets, which is what the null character stands for.
BRACKETS = re.compile(r"\[[^\[\]]{0,80}\]|【[^【】]{0,80}】")
ALL_OF_IT = re.compile(r"\s*(?:\([^()]*\)|（[^（）]*）)\s*")
SPEAKER = re.compile(r"(?<!\S)>>+(?=\s|\w|$)")


def is_unsaid(text: str) -> bool:
    """Whether a caption or a segment is a description of sounds and nothing else.

    Example:
        >>> is_unsaid(" (upbeat music)"), is_unsaid("It was (almost) good.")
        (True, False)
    """
    return ALL_OF_IT.fullmatch(text) is not None


def without_unsaid(segments: Iterable[Segment]) -> list[Segment]:
    """What is said, each segment's text on one line; segments without any are left out.

    Example:
        >>> without_unsaid([Segment(0, 1, "[soft"), Segment(1, 2, "music]"), Segment(2, 3, "♪ la la ♪")])
        [Segment(start=2, end=3, text='la la')]
    """
    said = list(segments)
    texts = "\0".join(SPEAKER.sub(" ", NOTES.sub(" ", segment.text)).replace("\0", " ") for segment in said)
    texts = BRACKETS.sub(lambda found: " " + "\0" * found[0].count("\0") + " ", texts)
    lines = map(on_one_line, texts.split("\0"))
    return [Segment(each.start, each.end, text) for each, text in zip(said, lines, strict=False) if text]
