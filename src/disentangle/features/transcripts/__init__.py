"""What is said and when: transcripts as plain text, as subtitles, and as words with their times.

- `.txt`: text, as it is; one segment, without times;
- `.srt`, `.vtt`: SubRip and WebVTT subtitles; a segment per cue. In captions that roll, such as YouTube's automatic ones, a
  segment is what a cue adds to the one before;
- `.json`: what Whisper and its kin write (openai-whisper, WhisperX, faster-whisper, whisper.cpp, pipelines of `transformers`,
  OpenAI's service), Amazon Transcribe, AssemblyAI, Deepgram, Google, Rev, Vosk, and YouTube (`json3`); aligners; or a list of
  `{"word", "start", "end"}`. A segment per word, or per longer piece if only that has times;
- `.csv`: a header with `word` (or `text`), `start` and `end`; a segment per word.

Files are UTF-8, or UTF-16 with its mark. Times are in seconds, unless the format has another unit. Any white space becomes one
space.

Words are put together as they are written. Pieces that have blanks of their own, such as ` a`, ` well`, `-known`, ` 3`, `.5`,
are "a well-known 3.5"; where the whole text stands beside its words, as it mostly does, it says where blanks and marks are.
Between words of scripts without blanks, such as Chinese, there is none. A word without times (aligners give
numbers none) is given the time between its neighbours.

What is not said is left out, except in `.txt`: mark-up, words in square brackets (`[Music]`), a caption or a segment that is
all in round ones (`(laughs)`), notes of music (what is sung stays), `>>` for another speaker, and in subtitles a dash in front
of a line. The name of a speaker before a colon stays: it cannot be told from what is said.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from disentangle.data.text_files import read_text
from disentangle.data.writing_systems import count_words, on_one_line
from disentangle.errors import DataError
from disentangle.features.transcripts.csv_words import tabulated
from disentangle.features.transcripts.segments import Fault, Segment, text_between
from disentangle.features.transcripts.subtitles import subrip, webvtt
from disentangle.features.transcripts.transcribers import transcribed
from disentangle.features.transcripts.unsaid import without_unsaid

__all__ = ["Segment", "read_transcript", "text_between"]

SLOWEST = 60.0  # seconds per word, by the median; beyond it, times are in another unit


def read_transcript(path: str | os.PathLike[str]) -> list[Segment]:
    r"""Reads a transcript; its ending tells the layout.

    Arguments:
        path: A file `.txt`, `.srt`, `.vtt`, `.json` or `.csv`.

    Returns:
        Its segments, in the file's order; those without words are left out, so there are none where nothing is said.

    Raises:
        DataError: If it cannot be read, is malformed, or has times that are not seconds: the message names the line.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".srt") as file:
        ...     _ = file.write("1\n00:00:01,000 --> 00:00:02,500\n<i>So</i>\ngood!\n")
        ...     file.flush()
        ...     read_transcript(file.name)
        [Segment(start=1.0, end=2.5, text='So good!')]
    """
    readers: dict[str, Callable[[str], Sequence[Segment]]] = {
        ".txt": lambda text: [Segment(None, None, text)],
        ".srt": subrip,
        ".vtt": webvtt,
        ".json": transcribed,
        ".csv": tabulated,
    }
    ending = Path(path).suffix.lower()
    reader = readers.get(ending)
    if reader is None:
        raise DataError(
            f"{path}: expected a transcript whose name ends in {', '.join(readers)}, got {ending or 'no ending'}"
        )
    # whisper.cpp cuts within letters of several bytes.
    text = read_text(path, errors="surrogateescape" if ending == ".json" else "strict")
    try:
        segments = reader(text)
        if ending in (".json", ".csv"):
            _check_unit(segments)
    except Fault as fault:
        raise DataError(f"{path}: {fault}") from None
    if ending == ".txt":
        return [Segment(None, None, line) for line in [on_one_line(text)] if line]
    return without_unsaid(segments)


def _check_unit(segments: Sequence[Segment]) -> None:
    """Refuses times that cannot be seconds: they could be thousandths, and every interval would be wrong."""
    slowness = [
        (segment.end - segment.start) / count_words(segment.text)
        for segment in segments
        if segment.start is not None and segment.end is not None and segment.text.strip()
    ]
    if slowness and np.median(slowness) > SLOWEST:
        raise Fault(
            f"expected times in seconds, got {np.median(slowness):.0f} s for a word; divide milliseconds by 1000"
        )
