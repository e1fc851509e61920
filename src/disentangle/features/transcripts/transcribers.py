"""What transcribers write as JSON, each told by the names that it has.

- `segments`, each perhaps with `words`: Whisper, WhisperX, faster-whisper, services of OpenAI's kind;
- `words`, `word_segments` or a list: words with times, aligners; AssemblyAI, whose times are milliseconds; `result`: Vosk;
- `chunks`: `pipeline("automatic-speech-recognition")` of `transformers`;
- `transcription`: whisper.cpp, perhaps with `tokens`;
- `results`: Amazon Transcribe, Deepgram, Google;
- `monologues`: Rev; `events`: YouTube's captions;
- only `text`, or `transcript`: a text without times.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from disentangle.data import messages
from disentangle.features.transcripts.json_entries import (
    an_object,
    first_alternative,
    number_of,
    piece_of,
    string_of,
    text_of,
    times_of,
)
from disentangle.features.transcripts.segments import Fault, Segment
from disentangle.features.transcripts.unsaid import is_unsaid
from disentangle.features.transcripts.word_pieces import Piece, Stretch, words_of

__all__ = ["transcribed"]

# What `surrogateescape` has in place of bytes that are no text.
BROKEN = re.compile("[\udc80-\udcff]+")
LISTS = ("segments", "words", "word_segments", "chunks", "result")


def transcribed(text: str) -> list[Segment]:
    """The words of a transcriber's JSON where it has any, else its segments."""
    if not text.strip():
        raise Fault("expected JSON, got an empty file")
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise Fault(f"line {error.lineno}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; thousands of brackets
        raise Fault(f"not JSON that can be read: {str(error)[:80]}") from None
    if BROKEN.search(text) and not (isinstance(content, dict) and "transcription" in content):
        raise Fault("expected UTF-8, got other bytes; save it as UTF-8")
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict) and "chunks" in content[0]:
        content = content[0]  # a batch of one
    if isinstance(content, dict) and not any(
        isinstance(content.get(name), list | dict) for name in (*LISTS, *SERVICES)
    ):
        whole = text_of(content)
        if whole is not None:
            return [Segment(None, None, whole)]
    stretches = _stretches(content)
    words = (word for stretch in stretches if not is_unsaid(stretch.text or "") for word in words_of(stretch))
    said = [word._replace(text=BROKEN.sub(_mended, word.text)) for word in words]
    return sorted(said, key=lambda word: word.start or 0.0) if _has_channels(content) else said


def _has_channels(content: Any) -> bool:
    """Whether one channel stands behind the other, as Deepgram's and Google's do, who speak in turn."""
    results = content.get("results") if isinstance(content, dict) else None
    if isinstance(results, dict):
        return isinstance(results.get("channels"), list)
    return isinstance(results, list) and any(isinstance(each, dict) and "channelTag" in each for each in results)


def _mended(broken: re.Match[str]) -> str:
    """The letters that whisper.cpp wrote in pieces, now that they are put together; single bytes of one are left out."""
    return broken[0].encode("utf-8", "surrogateescape").decode("utf-8", "ignore")


def _stretches(content: Any) -> Iterable[Stretch]:
    if isinstance(content, list):
        return _listed("words", content, None)
    if isinstance(content, dict):
        for name, read in SERVICES.items():
            if isinstance(content.get(name), list | dict) and (stretches := read(content, content[name])) is not None:
                return stretches
        found = [name for name in LISTS if isinstance(content.get(name), list)]
        # A service that was asked for both has the words beside the segments, and an aligner can leave them there only.
        if found[:1] == ["segments"] and len(found) > 1 and not _have_words(content["segments"]):
            apart = " ".join(str(each.get("text")) for each in content["segments"] if isinstance(each, dict))
            words = list(_listed(found[1], content[found[1]], text_of(content) or apart))
            if any(stretch.pieces for stretch in words):
                return words
        if found:
            return _listed(found[0], content[found[0]], text_of(content), scale=_scale(content))
    found = f"an object of {messages.listed(content)}" if isinstance(content, dict) else type(content).__name__
    raise Fault(f"expected words with times, or what a transcriber writes, got {found}")


def _listed(name: str, entries: list[Any], text: str | None, scale: float = 1.0) -> Iterator[Stretch]:
    """Words, or segments, perhaps with words."""
    if not _have_words(entries):
        yield Stretch([piece_of(f"{name}[{i}]", entry, scale) for i, entry in enumerate(entries)], text)
        return
    for i, entry in enumerate(entries):
        where = f"{name}[{i}]"
        inner = _inner(entry)
        own = text_of(entry)
        if not inner:
            yield Stretch([piece_of(where, entry, scale)], own)
            continue
        start, end = times_of(where, entry)
        pieces = [piece_of(f"{where}.{inner}[{j}]", word, scale) for j, word in enumerate(entry[inner])]
        if all(piece.start is None and piece.end is None for piece in pieces) and own is not None:
            pieces = [Piece(where, own, start, end)]  # none that an aligner could place
        yield Stretch(pieces, own, start, end)


def _have_words(entries: list[Any]) -> bool:
    return any(_inner(entry) for entry in entries)


def _inner(entry: Any) -> str | None:
    """The name of an entry's own list of words, if it has one."""
    names = (name for name in ("words", "result") if isinstance(entry, dict) and isinstance(entry.get(name), list))
    return next((name for name in names if entry[name]), None)


def _scale(content: Mapping[str, Any]) -> float:
    """Seconds of a unit of time: AssemblyAI's are thousandths."""
    return 0.001 if "audio_duration" in content and "words" in content else 1.0


def _whisper_cpp(content: Mapping[str, Any], entries: Any) -> Iterator[Stretch] | None:
    if not isinstance(entries, list):
        return None

    def pieces(where: str, listed: list[Any]) -> list[Piece]:
        named = [(f"{where}[{i}]", an_object(f"{where}[{i}]", each)) for i, each in enumerate(listed)]
        return [Piece(at, string_of(at, each), *_milliseconds(at, each)) for at, each in named]

    def stretches() -> Iterator[Stretch]:
        whole = pieces("transcription", entries)
        if not all(isinstance(entry.get("tokens"), list) for entry in entries):
            yield Stretch(whole)
            return
        for i, (entry, segment) in enumerate(zip(entries, whole, strict=True)):
            # Those such as [_BEG_] are no text, but where a segment begins or ends.
            listed = pieces(f"transcription[{i}].tokens", entry["tokens"])
            tokens = [token for token in listed if not token.text.startswith("[_")]
            # A letter can be of several tokens, none of which is text by itself: then the segment is one.
            fit = "".join(token.text for token in tokens) == segment.text
            yield Stretch(tokens if fit else [segment], segment.text, segment.start, segment.end)

    return stretches()


def _milliseconds(where: str, entry: Mapping[str, Any]) -> tuple[float | None, float | None]:
    offsets = entry.get("offsets")
    return times_of(where, offsets, ("from", "to"), 0.001) if isinstance(offsets, dict) else (None, None)


def _results(content: Mapping[str, Any], results: Any) -> Iterator[Stretch] | None:
    if isinstance(results, dict) and isinstance(results.get("items"), list):
        return _amazon(results)
    if isinstance(results, dict) and isinstance(results.get("channels"), list):
        return _best("results.channels", results["channels"])
    return _best("results", results) if isinstance(results, list) else None


def _amazon(results: Mapping[str, Any]) -> Iterator[Stretch]:
    transcripts = results.get("transcripts")
    text = text_of(transcripts[0]) if isinstance(transcripts, list) and len(transcripts) == 1 else None
    pieces = []
    for i, item in enumerate(results["items"]):
        where = f"results.items[{i}]"
        item = an_object(where, item)
        pieces.append(
            Piece(
                where,
                string_of(where, first_alternative(where, item)),
                *times_of(where, item, ("start_time", "end_time")),
            )
        )
    yield Stretch(pieces, text)


def _best(name: str, entries: list[Any]) -> Iterator[Stretch]:
    """The most likely of the alternatives for each channel or stretch of time."""
    for i, entry in enumerate(entries):
        where = f"{name}[{i}]"
        best = first_alternative(where, an_object(where, entry))
        words = best.get("words")
        # Who speaks is told in a last result that has all words once more, and no transcript.
        if not best.get("transcript") and i:
            continue
        if isinstance(words, list) and words:
            at = f"{where}.alternatives[0].words"
            yield Stretch([_google(f"{at}[{j}]", word) for j, word in enumerate(words)], text_of(best))
        elif text_of(best):
            raise Fault(f"{where}: expected words with times, got none; ask for the times of words")


def _google(where: str, entry: Any) -> Piece:
    """A word of Deepgram's or Google's, whose times can be texts; no time is 0 there, and a reading can be behind the word."""
    word = an_object(where, entry)
    if "start" in word:
        return piece_of(where, word)
    names = ("startOffset", "endOffset") if "endOffset" in word else ("startTime", "endTime")
    start, end = times_of(where, {names[0]: 0.0, **word}, names)
    return Piece(where, string_of(where, word).partition("|")[0], start, end)


def _rev(content: Mapping[str, Any], monologues: Any) -> Iterator[Stretch] | None:
    if not isinstance(monologues, list):
        return None

    def stretches() -> Iterator[Stretch]:
        for i, monologue in enumerate(monologues):
            where = f"monologues[{i}]"
            elements = an_object(where, monologue).get("elements")
            if not isinstance(elements, list):
                raise Fault(f"{where}: expected a list of elements, got {type(elements).__name__}")
            named = [(f"{where}.elements[{j}]", each) for j, each in enumerate(elements)]
            pieces = [_rev_piece(at, an_object(at, each)) for at, each in named]
            # All that is written is an element, blanks as well.
            yield Stretch(pieces, "".join(piece.text for piece in pieces))

    return stretches()


def _rev_piece(where: str, element: Mapping[str, Any]) -> Piece:
    return Piece(where, string_of(where, element), *times_of(where, element, ("ts", "end_ts")))


def _youtube(content: Mapping[str, Any], events: Any) -> Iterator[Stretch] | None:
    if not isinstance(events, list):
        return None

    def stretches() -> Iterator[Stretch]:
        # Those that append hold an end of a line and nothing else.
        shown = [
            event
            for event in events
            if isinstance(event, dict) and isinstance(event.get("segs"), list) and not event.get("aAppend")
        ]
        starts = [number_of("events: tStartMs", event.get("tStartMs", 0)) / 1000 for event in shown]
        for i, event in enumerate(shown):
            where = f"events[{i}]"
            end = starts[i] + number_of(f"{where}: dDurationMs", event.get("dDurationMs", 0)) / 1000
            end = min([end, *(start for start in starts[i + 1 : i + 2] if start >= starts[i])])
            segments = [an_object(f"{where}.segs", each) for each in event["segs"]]
            offsets = [number_of(f"{where}: tOffsetMs", each.get("tOffsetMs", 0)) / 1000 for each in segments]
            pieces = [
                Piece(where, string_of(where, each), starts[i] + offset, None)
                for each, offset in zip(segments, offsets, strict=True)
            ]
            yield Stretch(pieces, "".join(piece.text for piece in pieces), starts[i], end)

    return stretches()


Reader = Callable[[Mapping[str, Any], Any], Iterator[Stretch] | None]
SERVICES: dict[str, Reader] = {
    "transcription": _whisper_cpp,
    "results": _results,
    "monologues": _rev,
    "events": _youtube,
}
