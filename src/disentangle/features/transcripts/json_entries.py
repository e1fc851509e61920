"""Texts and times of the words and segments in a transcriber's JSON, whatever their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from disentangle.features.transcripts.segments import Fault
from disentangle.features.transcripts.word_pieces import Piece

__all__ = ["an_object", "first_alternative", "number_of", "piece_of", "string_of", "text_of", "times_of"]


def piece_of(where: str, entry: Any, scale: float = 1.0) -> Piece:
    """A word or a segment with its times, which are a pair in `transformers`."""
    entry = an_object(where, entry)
    pair = entry.get("timestamp")
    if isinstance(pair, list) and len(pair) == 2:
        entry = {**entry, "start": pair[0], "end": pair[1]}
    return Piece(where, string_of(where, entry), *times_of(where, entry, scale=scale))


def an_object(where: str, entry: Any) -> dict[str, Any]:
    """An entry that has names."""
    if not isinstance(entry, dict):
        raise Fault(f"{where}: expected word, start and end, got {type(entry).__name__}")
    return entry


def first_alternative(where: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The most likely of the alternatives for an entry."""
    alternatives = entry.get("alternatives")
    if not isinstance(alternatives, list) or not all(isinstance(each, dict) for each in alternatives):
        raise Fault(f"{where}: expected a list of alternatives, got {type(alternatives).__name__}")
    return alternatives[0] if alternatives else {}


def string_of(where: str, entry: Mapping[str, Any]) -> str:
    """The text of a word or a segment."""
    names = ("punctuated_word", "word", "text", "content", "value", "utf8")
    text = next((entry[name] for name in names if name in entry), None)
    if not isinstance(text, str):
        raise Fault(f"{where}: expected a text under word or text, got {type(text).__name__}")
    return text


def text_of(entry: Any) -> str | None:
    """The text that stands beside words."""
    found = (entry.get(name) for name in ("text", "transcript") if isinstance(entry, dict))
    return next((text for text in found if isinstance(text, str)), None)


def times_of(
    where: str, entry: Mapping[str, Any], names: tuple[str, str] = ("start", "end"), scale: float = 1.0
) -> tuple[float | None, float | None]:
    """When an entry starts and ends, in seconds, where it says so."""
    start, end = (None if entry.get(n) is None else scale * number_of(f"{where}: {n}", entry[n]) for n in names)
    return start, end


def number_of(where: str, time: Any) -> float:
    """A number, or a text of one, such as "0.5" or "0.500s"."""
    try:
        if isinstance(time, bool) or not isinstance(time, int | float | str) or "_" in str(time):
            raise TypeError
        return float(time.removesuffix("s") if isinstance(time, str) else time)
    except OverflowError:
        raise Fault(f"{where}: expected seconds, got one too large") from None
    except (TypeError, ValueError):
        shown = ascii(time)[:40] if isinstance(time, str) else type(time).__name__
        raise Fault(f"{where}: expected seconds, got {shown}") from None
