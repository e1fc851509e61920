import csv
import html
import json
import time
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from disentangle.data import DataError
from disentangle.data.writing_systems import ONE as BLANKLESS
from disentangle.data.writing_systems import on_one_line
from disentangle.features.transcripts import Segment, read_transcript, text_between

relaxed = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
ENDINGS = (".txt", ".srt", ".vtt", ".json", ".csv")


@pytest.fixture
def read(tmp_path):
    def read(ending: str, content: str | bytes) -> list[Segment]:
        path = tmp_path / f"clip{ending}"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_transcript(path)

    return read


@pytest.fixture
def message(read, tmp_path):
    def message(ending: str, content: str | bytes) -> str:
        with pytest.raises(DataError) as caught:
            read(ending, content)
        assert "\n" not in str(caught.value)
        return str(caught.value).removeprefix(f"{tmp_path / f'clip{ending}'}: ")

    return message


def clock(thousandths: int, point: str) -> str:
    seconds, rest = divmod(thousandths, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{rest:03}"


words = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1).map(lambda text: " ".join(text.split()))
# Not what is mark-up, is not said, belongs to the word before or behind, or has no blanks around it.
NOT_A_WORD = {*"<>{}&-–—[]()（）【】♪♫♩♬🎵🎶.,;:!?%»”’…'"}
words = words.filter(lambda text: text and not set(text) & NOT_A_WORD and not BLANKLESS.search(text))


@st.composite
def transcripts(draw):
    """Segments in thousandths of a second; there is silence between any two, so that none is the other's continuation."""
    drawn = draw(st.lists(st.tuples(st.integers(200, 10**6), st.integers(0, 30_000), words), max_size=5))
    at, segments = 0, []
    for silence, length, text in drawn:
        segments.append((at + silence, at + silence + length, text))
        at += silence + length
    return segments


def expected(segments) -> list[tuple]:
    return [(pytest.approx(start / 1000), pytest.approx(end / 1000), text) for start, end, text in segments]


@relaxed
@given(transcripts(), st.booleans(), st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(["", "\ufeff"]))
def test_subrip_round_trip(read, segments, numbered, ends, mark):
    cues = [
        [*([str(i)] if numbered else []), f"{clock(start, ',')} --> {clock(end, ',')}", *text.split(" ")]
        for i, (start, end, text) in enumerate(segments)
    ]
    assert read(".srt", mark + (ends * 2).join(ends.join(cue) for cue in cues)) == expected(segments)


@relaxed
@given(transcripts(), st.booleans(), st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(["", "\ufeff"]))
def test_webvtt_round_trip(read, segments, named, ends, mark):
    cues = [["WEBVTT - a title"], ["NOTE", "no --> cue"], ["STYLE", "::cue { color: red }"]]
    for start, end, text in segments:
        voiced = [f"<v Someone><c.loud>{html.escape(word)}</c>" for word in text.split(" ")]
        times = f"{clock(start, '.')} --> {clock(end, '.')} align:start position:0%"
        cues.append([*(["a name"] if named else []), times, *voiced])
    assert read(".vtt", mark + (ends * 2).join(ends.join(cue) for cue in cues)) == expected(segments)


@relaxed
@given(transcripts(), st.sampled_from(["list", "words", "segments", "segment words"]), st.booleans())
def test_json_round_trip(read, segments, layout, ascii_only):
    timed = [{"word": f" {text}", "start": start / 1000, "end": end / 1000} for start, end, text in segments]
    said = "".join(word["word"] for word in timed)
    content = {
        "list": timed,
        "words": {"text": "", "words": timed},
        "segments": {"segments": [{**word, "text": word["word"], "id": 1} for word in timed], "language": "en"},
        "segment words": {"segments": [{"text": said, "start": 0, "end": 9, "words": timed}] if timed else []},
    }[layout]
    assert read(".json", json.dumps(content, ensure_ascii=ascii_only)) == expected(segments)


@relaxed
@given(transcripts(), st.permutations(["word", "start", "end", "confidence"]))
def test_csv_round_trip(read, tmp_path, segments, columns):
    with open(tmp_path / "written.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for start, end, text in segments:
            writer.writerow({"word": text, "start": start / 1000, "end": end / 1000, "confidence": 0.9})
    assert read(".csv", (tmp_path / "written.csv").read_bytes()) == expected(segments)


@relaxed
@given(st.text(st.characters(blacklist_categories=["Cs"])))
def test_plain_text_is_one_segment(read, text):
    said = on_one_line(text.removeprefix("\ufeff"))
    assert read(".txt", text) == ([Segment(None, None, said)] if said else [])


@relaxed
@given(transcripts(), st.lists(st.integers(0, 10**8), max_size=5))
def test_intervals_share_out_the_segments(segments, cuts):
    segments = [Segment(start / 1000, end / 1000, text) for start, end, text in segments]
    edges = [float("-inf"), *sorted(cut / 1000 for cut in cuts), float("inf")]
    parts = [text_between(segments, *interval) for interval in pairwise(edges)]
    assert sorted(" ".join(parts).split()) == sorted(" ".join(segment.text for segment in segments).split())
    assert text_between(segments) == " ".join(segment.text for segment in segments)


def test_a_segment_is_where_its_middle_is():
    segments = [Segment(0.0, 2.0, "so"), Segment(2.0, 3.0, "good")]
    assert text_between(segments, 0.0, 1.0) == ""
    assert text_between(segments, 1.0, 2.5) == "so"
    assert text_between(segments, 2.5, 3.0) == "good"
    untimed = [Segment(None, None, "so good")]
    assert text_between(untimed) == "so good"
    with pytest.raises(
        ValueError, match=r"expected segments with times, to find those in \[1.0, 2.0\), got one without"
    ):
        text_between(untimed, 1.0, 2.0)


@pytest.mark.parametrize(
    ("ending", "content"),
    [(".txt", ""), (".srt", ""), (".srt", "\n\n"), (".vtt", "WEBVTT"), (".csv", "word,start,end"), (".json", "[]")],
)
def test_nothing_said_is_no_segment(read, ending, content):
    assert read(ending, content) == []


def test_mark_up_goes_and_text_stays(read):
    times = "00:00:00,000 --> 00:00:01,000 X1:1 X2:2 Y1:1 Y2:2"
    (segment,) = read(".srt", f"1\n{times}\n{{\\an8}}<font color='red'><b>1 < 2</b></font> & <3 {{so}}\n")
    assert segment.text == "1 < 2 & <3 {so}"
    (segment,) = read(".vtt", "WEBVTT\n\n00:00.000 --> 00:01.000\n<00:00:00.500>Tom &amp; <i.x>Jerry</i>&nbsp;&lt;3\n")
    assert segment.text == "Tom & Jerry <3"


@pytest.mark.parametrize("text", ["mail <bob@example.com> now", "if a<b and c>d then", "a <big> one", "<3"])
def test_what_subrip_has_no_name_for_is_text(read, text):
    (segment,) = read(".srt", f"1\n00:00:00,000 --> 00:00:01,000\n<B>{text}</B>\n")
    assert segment.text == text


def test_channels_are_heard_at_once(read):
    """Who speaks on one channel, and who on another, as Deepgram and Google write them, one behind the other."""
    said = [[("how", 0.0), ("are", 0.3), ("you", 0.6), ("good", 4.0)], [("not", 2.0), ("well", 2.5)]]

    def results(start, end, time):
        for i, words in enumerate(said):
            listed = [{"word": word, start: time(at), end: time(at + 0.2)} for word, at in words]
            best = {"transcript": " ".join(word for word, _ in words), "words": listed}
            yield {"alternatives": [best], "channelTag": i + 1}

    deepgram = {"channels": list(results("start", "end", float))}
    google = list(results("startTime", "endTime", "{:.1f}s".format))
    for content in ({"results": deepgram}, {"results": google}):
        heard = read(".json", json.dumps(content))
        assert " ".join(segment.text for segment in heard) == "how are you not well good"
        assert [segment.start for segment in heard] == [0.0, 0.3, 0.6, 2.0, 2.5, 4.0]


def test_words_that_an_aligner_could_not_place(read):
    words = [{"word": "In", "start": 0.0, "end": 0.2}, {"word": "1984,"}, {"word": "so", "start": 0.7, "end": 0.8}]
    segment = {"text": " In 1984, so 3", "start": 0.0, "end": 1.0, "words": [*words, {"word": "3"}]}
    placed = [Segment(0.0, 0.2, "In"), Segment(0.2, 0.7, "1984,"), Segment(0.7, 0.8, "so")]
    assert read(".json", json.dumps({"segments": [segment]})) == [*placed, Segment(0.8, 1.0, "3")]
    assert read(".json", json.dumps({"word_segments": words})) == placed
    segment["words"] = [{"word": word} for word in ["In", "1984,", "so", "3"]]
    assert read(".json", json.dumps({"segments": [segment]})) == [Segment(0.0, 1.0, "In 1984, so 3")]


def test_a_text_without_times(read):
    assert read(".json", '{"text": " so good", "usage": {}}') == [Segment(None, None, "so good")]


def test_the_end_of_the_last_chunk_is_not_known(read):
    chunks = [{"timestamp": [0.5, None], "text": " so"}, {"timestamp": [2.0, None], "text": " good"}]
    assert read(".json", json.dumps({"text": " so good", "chunks": chunks})) == [
        Segment(0.5, 2.0, "so"),
        Segment(2.0, 2.0, "good"),
    ]


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        (".json", '{"audio_duration": 1, "text": "", "words": [{"text": "so", "start": 250, "end": 650}]}'),
        (".json", '{"transcription": [{"offsets": {"from": 250, "to": 650}, "text": " so"}]}'),
        (".json", '{"events": [{"tStartMs": 250, "dDurationMs": 400, "segs": [{"utf8": "so"}]}]}'),
        (".csv", "start,end,text\n250,650, so\n"),
        (".csv", "word;start;end\nso;0,25;0,65\n"),
    ],
)
def test_times_become_seconds(read, ending, content):
    assert read(ending, content) == [Segment(pytest.approx(0.25), pytest.approx(0.65), "so")]


@pytest.mark.parametrize(
    ("ending", "content"),
    [(".json", '[{"word": "so", "start": 250, "end": 650}]'), (".csv", "word,start,end\nso,250,650\n")],
)
def test_thousandths_are_not_taken_for_seconds(message, ending, content):
    assert message(ending, content) == "expected times in seconds, got 400 s for a word; divide milliseconds by 1000"


def cues(*texts: str, seconds: float = 1.0, apart: float = 0.0) -> str:
    times = [
        (int(1000 * i * (seconds + apart)), int(1000 * (i * (seconds + apart) + seconds))) for i in range(len(texts))
    ]
    return "\n".join(
        f"{clock(a, ',')} --> {clock(b, ',')}\n{text}\n" for (a, b), text in zip(times, texts, strict=True)
    )


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        (["i liked it", "i liked it", "i liked it but not much"], "i liked it but not much"),
        (["i", "i liked", "i liked it"], "i liked it"),
        (["我喜欢", "我喜欢它", "我喜欢它\n但是"], "我喜欢它但是"),
        (["a b", "a b\nc d", "c d\nc d"], "a b c d c d"),
        # Somebody who says the same again, and words that begin alike.
        (["No.", "No."], "No. No."),
        (["hey", "hey", "hey"], "hey hey hey"),
        (["I like", "I liked it"], "I like I liked it"),
        (["so", "so it went", "and on", "and off", "he said", "to her"], "so so it went and on and off he said to her"),
    ],
)
def test_captions_that_roll_are_read_once(read, texts, wanted):
    assert text_between(read(".srt", cues(*texts))) == wanted


def test_what_is_said_again_after_a_while_is_not_rolling(read):
    assert text_between(read(".srt", cues("so", "so good", apart=0.5))) == "so so good"


def test_lines_of_a_blank_are_text_within_a_cue_and_an_end_between_two(read):
    first, second = "00:01.000 --> 00:02.000", "00:02.000 --> 00:03.000"
    wanted = [Segment(1.0, 2.0, "so good"), Segment(2.0, 3.0, "yes")]
    for blank in (" ", "\t", "\u3000"):
        assert read(".vtt", f"WEBVTT\n\n{first}\n{blank}\nso\n{blank}\ngood\n\n{second}\nyes\n{blank}\n") == wanted
        assert read(".vtt", f"WEBVTT\n\n{first}\nso good\n{blank}\n{second}\nyes") == wanted
        assert read(".srt", f"1\n00:{first}\nso good\n{blank}\n2\n00:{second}\nyes\n{blank}\n") == wanted


CUE = "1\n00:00:01,000 --> 00:00:02,000\nso\n"
WANTED = "expected a time, such as 00:00:01.000 --> 00:00:02.000, got"


@pytest.mark.parametrize(
    ("ending", "content", "wanted"),
    [
        (".srt", f"{CUE}\n2\nlost\n", f"line 6: {WANTED} 'lost'"),
        (".srt", f"{CUE}\n2\n", f"line 6: {WANTED} none"),
        (".srt", f"{CUE}\nmore of it\n", f"line 5: {WANTED} 'more of it'"),
        (".srt", f"{CUE}2\n{CUE}", "line 6: a time amid text; a blank line is missing above it"),
        (".srt", CUE.replace("02,000", "62,000"), "line 2: expected a time such as 00:00:01.000, got '00:00:62,000'"),
        (".srt", CUE.replace("02,000", ""), "line 2: expected a time such as 00:00:01.000, got '00:00:'"),
        (".srt", "1\n --> \n", "line 2: expected a time such as 00:00:01.000, got ''"),
        (".srt", CUE.replace("02,000", "00,500"), "line 2: expected an end after the start at 1.0 s, got 0.5 s"),
        (".vtt", CUE, "line 1: expected WEBVTT"),
        (".vtt", "WEBVTTs\n", "line 1: expected WEBVTT"),
        (".vtt", "", "line 1: expected WEBVTT"),
        (".vtt", f"WEBVTT\n{CUE}", "line 1: a time amid the header; a blank line is missing below it"),
        (".vtt", "WEBVTT\n\nREGIONAL\n", f"line 4: {WANTED} none"),
        (".json", "", "expected JSON, got an empty file"),
        (".json", "[\n{,}]", "line 2: not JSON: Expecting property name enclosed in double quotes"),
        (".json", "3", "expected words with times, or what a transcriber writes, got int"),
        (
            ".json",
            '{"id": 1, "b": 2}',
            "expected words with times, or what a transcriber writes, got an object of id, b",
        ),
        (".json", '["so"]', "words[0]: expected word, start and end, got str"),
        (".json", '[{"word": "so"}]', "words[0]: expected seconds, got no times, nor any before or after it"),
        (".json", '[{"word": "so", "start": true, "end": 1}]', "words[0]: start: expected seconds, got bool"),
        (".json", '[{"word": "so", "start": "soon", "end": 1}]', "words[0]: start: expected seconds, got 'soon'"),
        (".json", '[{"start": 0, "end": 1}]', "words[0]: expected a text under word or text, got NoneType"),
        (
            ".json",
            '[{"word": "so", "start": 0, "end": NaN}]',
            "words[0]: expected times that are finite, got 0.0 to nan",
        ),
        (
            ".json",
            f'[{{"word": "so", "start": 0, "end": 1{"0" * 400}}}]',
            "words[0]: end: expected seconds, got one too large",
        ),
        (
            ".json",
            '{"segments": [{"words": [{"word": "so", "start": 2, "end": 1}]}]}',
            "segments[0].words[0]: expected an end after the start at 2.0 s, got 1.0 s",
        ),
        (".csv", "", "line 1: expected columns word, start and end, got no word"),
        (".csv", "word,start,stop\n", "line 1: expected columns word, start and end, got no end"),
        (".csv", "word,start,end\nso,0,1\n\ngood,1\n", "line 4: expected 3 values as in the header, got 2"),
        (".csv", "word,start,end\nso,0,soon\n", "line 2: expected seconds, got 'soon'"),
        (".csv", "word,start,end\nso,0,inf\n", "line 2: expected times that are finite, got 0.0 to inf"),
        (".csv", 'word,start,end\n"so,0,1\n', "line 2: not CSV: unexpected end of data"),
        (
            ".json",
            b'[{"word": "s\xfc\xdf", "start": 0, "end": 1}]',
            "expected UTF-8, got other bytes; save it as UTF-8",
        ),
        (".txt", b"so \xff", "expected UTF-8, got byte 0xff at 3; save it as UTF-8"),
    ],
)
def test_what_is_wrong_and_where(message, ending, content, wanted):
    assert message(ending, content) == wanted


def test_other_files_are_told_in_one_line(tmp_path, message):
    with pytest.raises(DataError, match=r"clip\.srt: no such file$"):
        read_transcript(tmp_path / "clip.srt")
    wanted = "expected a transcript whose name ends in .txt, .srt, .vtt, .json, .csv, got .docx"
    assert message(".docx", "so") == wanted


def outcome(read, ending: str, content: str) -> list[Segment] | str:
    """The transcript, or what is wrong with it."""
    try:
        return read(ending, content)
    except DataError as error:
        return str(error)


PIECES = [*'<>{}\\:,.-"[]0159 \t\n\r', "-->", "WEBVTT\n\n", "00:01.000 --> ", "word,start,end\n", "NOTE", "&lt;"]


@relaxed
@given(st.sampled_from(ENDINGS), st.lists(st.sampled_from(PIECES)))
def test_any_text_is_a_transcript_or_a_line(read, ending, pieces):
    result = outcome(read, ending, "".join(pieces))
    if isinstance(result, str):
        assert "\n" not in result
    else:
        assert all(segment.text == " ".join(segment.text.split()) != "" for segment in result)


@pytest.mark.parametrize(
    "piece", ["<", "<a", "</", "{\\", "<v ", "&", "&lt", "1", "1:", " ", "--", "a\n", "[", '{"a":', '"', "\r"]
)
def test_hostile_text_takes_no_time(read, piece):
    hostile = piece * (200_000 // len(piece))
    cue = f"00:00:01.000 --> 00:00:02.000\n{hostile}"
    contents = [*((ending, hostile) for ending in ENDINGS), (".srt", cue), (".vtt", f"WEBVTT\n\n{cue}")]
    start = time.perf_counter()
    results = [outcome(read, *content) for content in contents]
    assert time.perf_counter() - start < 5
    assert all(len(result) < 500 for result in results if isinstance(result, str))


@pytest.mark.parametrize("header", ["start,end,text", "text,start,end"])
def test_whole_seconds_are_seconds_in_any_order_of_columns(tmp_path, header):
    cells = {"start": 4, "end": 9, "text": "I loved it"}
    row = ",".join(str(cells[name]) for name in header.split(","))
    (tmp_path / "a.csv").write_text(f"{header}\n{row}\n")
    assert read_transcript(tmp_path / "a.csv") == [Segment(4.0, 9.0, "I loved it")]
