"""Joins pieces of text to words: transcribers cut within words, and say in several ways where blanks are.

- The whole text stands beside its pieces: it says where blanks are, and which marks there are between words.
- The pieces have blanks of their own: ` a`, ` well`, `-known`, ` 3`, `.5` are "a well-known 3.5".
- The pieces have none: each is a word. Marks stay with the word before, and an elided `l'` with the word after.

Of scripts without blanks, each piece is a word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from disentangle.data.writing_systems import without_blank
from disentangle.features.transcripts.segments import Fault, Segment, checked
from disentangle.features.transcripts.unsaid import is_unsaid

__all__ = ["Piece", "Stretch", "have_own_blanks", "words_of"]

CLOSING = re.compile(r"[.,;:!?%)\]}»”’…]+")
# The rest of the bytes of a letter, as `surrogateescape` has them.
REST = re.compile("[\udc80-\udcbf]")
ELIDED = re.compile(r"(?:[cdjlmnst]|\w*qu|dell|nell|all|sull|aujourd)['’]", re.IGNORECASE)
# How the rest of a word begins that two segments share; anything else without a blank in front is a new word.
GOES_ON = re.compile(r"[a-zß-öø-ÿ0-9'’%.,]|-\w")


class Piece(NamedTuple):
    """A word or a part of one, with its blanks, its times in seconds, if known, and its place in the file."""

    where: str
    text: str
    start: float | None
    end: float | None


class Stretch(NamedTuple):
    """Pieces that follow one another, and the whole text and its times in seconds, if known."""

    pieces: Sequence[Piece]
    text: str | None = None
    start: float | None = None
    end: float | None = None


def words_of(stretch: Stretch) -> list[Segment]:
    """Joins the pieces of a stretch to words, or to longer segments; unknown times are taken from the neighbours.

    Raises:
        Fault: If there are no times at all, or a word ends before it starts.

    Example:
        >>> a, b = Piece("[0]", " well", 0.0, 0.3), Piece("[1]", "-known", 0.3, 0.6)
        >>> for word in words_of(Stretch([a, b, Piece("[2]", " 3", None, None), Piece("[3]", " is", 1.0, 1.2)])):
        ...     print(word)
        Segment(start=0.0, end=0.6, text=' well-known')
        Segment(start=0.6, end=1.0, text=' 3')
        Segment(start=1.0, end=1.2, text=' is')
    """
    pieces = stretch.pieces
    if not _are_words([piece.text for piece in pieces]):
        pieces = [piece for piece in pieces if not is_unsaid(piece.text)]
    texts = [piece.text for piece in pieces]
    laid_out = None if stretch.text is None else _as_in(texts, stretch.text)
    words: list[Piece] = []
    for piece, text in zip(pieces, laid_out or _with_blanks(texts), strict=True):
        times = (piece.start, piece.end) if piece.text.strip() else (None, None)
        before = words[-1].text if words else " "
        if text and (before[-1:].isspace() or text[0].isspace() or without_blank(before, text)):
            words.append(Piece(piece.where, text, *times))
        elif text:
            where, _, start, end = words[-1]
            words[-1] = Piece(
                where, before + text, times[0] if start is None else start, end if times[1] is None else times[1]
            )
    return _timed(words, stretch)


def _are_words(texts: Sequence[str]) -> bool:
    """Whether pieces are words or parts of them, and not segments of several."""
    return not texts or float(np.median([len(text.split()) for text in texts])) <= 1


def have_own_blanks(texts: Sequence[str]) -> bool:
    """Whether the pieces of a transcript hold its blanks: if a quarter do, since words can have many pieces."""
    own = _own_blanks(texts)
    return 4 * sum(own) >= max(len(own), 1)


def _own_blanks(texts: Sequence[str]) -> list[bool]:
    return [text[:1].isspace() or before[-1:].isspace() for before, text in pairwise(texts)]


def _as_in(pieces: Sequence[str], text: str) -> list[str] | None:
    """The text cut where the pieces begin, or at the blank before; None if it is another text."""
    lower = text.lower() if len(text.lower()) == len(text) else text
    cuts, at = [], 0
    for piece in pieces:
        wanted = piece.strip().lower() if lower is not text else piece.strip()
        found = lower.find(wanted, at)
        between = lower[at:found]
        if found < 0 or any(map(str.isalnum, between)):
            return None
        blanks = [blank.start() for blank in re.finditer(r"\s+", between)]
        cuts.append(at + blanks[-1] if blanks else found)
        at = found + len(wanted)
    if any(map(str.isalnum, lower[at:])):
        return None
    return [text[a:b] for a, b in zip([0, *cuts[1:]], [*cuts[1:], len(text)], strict=True)] if cuts else []


def _with_blanks(texts: Sequence[str]) -> list[str]:
    """The pieces, each with a blank in front where it is not the rest of what is before it."""
    own, has_own = _own_blanks(texts), have_own_blanks(texts)
    if has_own and _are_words(texts):
        return list(texts)
    result = list(texts[:1])
    for before, text, blank in zip(texts, texts[1:], own, strict=False):
        if has_own:
            apart = blank or not before[-1:].isalnum() or not GOES_ON.match(text)
        else:
            apart = not (CLOSING.fullmatch(text) or ELIDED.fullmatch(before) or REST.match(text))
        result.append(f" {text}" if apart else text)
    return result


def _timed(words: Sequence[Piece], stretch: Stretch) -> list[Segment]:
    """Words with all their times: where one is unknown, it is where the last known one ends, or the next one starts."""
    after = [stretch.end]
    for word in reversed(words):
        after.append(next((time for time in (word.start, word.end) if time is not None), after[-1]))
    segments, last = [], stretch.start
    for word, following in zip(words, reversed(after[:-1]), strict=True):
        start, end = word.start, word.end
        if start is None:
            start = last if last is not None else following if end is None else end
            start = start if start is None or end is None else min(start, end)
        if start is None:
            raise Fault(f"{word.where}: expected seconds, got no times, nor any before or after it")
        if end is None:
            end = start if following is None else max(start, following)
        segments.append(checked(word.where, start, end, word.text))
        last = end
    return segments
