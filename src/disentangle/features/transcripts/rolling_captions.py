"""Captions that roll: each cue repeats what the last one showed, and adds to it. Only what it adds is new.

YouTube's automatic captions show two lines. A line is first the lower one, then alone for a moment, then the upper one. Live
captions show three lines, or one that grows by a word. The whole file tells whether captions roll: somebody who says "no" in
two captions has said it twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from disentangle.data.writing_systems import on_one_line, without_blank
from disentangle.features.transcripts.segments import Segment

__all__ = ["unrolled"]

GAP = 0.1  # seconds: captions that roll follow one another at once
MOMENT = 0.05
LINES = 4  # the most that captions show


def unrolled(cues: Sequence[Segment]) -> list[Segment]:
    r"""What each cue adds to the one before it, if the cues roll; else the cues.

    Example:
        >>> cues = [(0, 2, "i liked it"), (2, 2.01, "i liked it"), (2.01, 4, "i liked it\nbut not much")]
        >>> [cue.text for cue in unrolled([Segment(*cue) for cue in cues])]
        ['i liked it', '', 'but not much']
    """
    cues = [cue for cue in cues if cue.text.strip()]
    added = [_added(before, cue) for before, cue in pairwise(cues)]
    touching = sum(each is not None for each in added)
    again = [(cue, new) for cue, new in zip(cues[1:], added, strict=True) if new not in (None, on_one_line(cue.text))]
    # Equal cues alone could be somebody who says the same again.
    grow = any(new or 0 < _seconds(cue) <= MOMENT for cue, new in again)
    if not grow or 2 * len(again) <= touching:
        return list(cues)
    new = [cue.text if text is None else text for cue, text in zip(cues, [None, *added], strict=True)]
    return [Segment(cue.start, cue.end, text) for cue, text in zip(cues, new, strict=True)]


def _added(before: Segment, cue: Segment) -> str | None:
    """What a cue shows that was not there before it; None if it does not follow at once."""
    start, end = cue.start or 0.0, before.end or 0.0
    if not (before.start or 0.0) <= start <= end + GAP:
        return None
    shown, lines = on_one_line(cue.text), [line for line in before.text.splitlines() if line.strip()][-LINES:]
    for i in range(len(lines)):
        kept = on_one_line("\n".join(lines[i:]))
        if shown.startswith(kept) and _is_edge(shown, len(kept)):
            return shown[len(kept) :].strip()
    whole = on_one_line(before.text)
    return "" if whole.endswith(shown) and _is_edge(whole, len(whole) - len(shown)) else shown


def _is_edge(text: str, at: int) -> bool:
    """Whether a word can end at a place."""
    at_blank = at in (0, len(text)) or text[at].isspace() or text[at - 1].isspace()
    return at_blank or without_blank(text[max(0, at - 5) : at], text[at : at + 5])


def _seconds(cue: Segment) -> float:
    return (cue.end or 0.0) - (cue.start or 0.0)
