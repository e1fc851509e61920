"""Transcripts in the shapes that tools write, `NAME`, and beside each what is said in it, `NAME.said`."""

import copy
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from disentangle.data import DataError
from disentangle.features import read_transcript, text_between

SAMPLES = Path(__file__).parent / "transcripts_samples"
FILES = sorted(path.name.removesuffix(".said") for path in SAMPLES.glob("*.said"))


def test_every_sample_says_what_is_said():
    assert len(FILES) >= 20
    assert {path.name for path in SAMPLES.iterdir()} == {*FILES, *(f"{name}.said" for name in FILES)}


@pytest.mark.parametrize("name", FILES)
def test_what_is_said_is_read(name):
    segments = read_transcript(SAMPLES / name)
    assert text_between(segments) == (SAMPLES / f"{name}.said").read_text(encoding="utf-8").rstrip("\n")
    starts = [segment.start for segment in segments]
    assert starts == sorted(starts)
    assert starts[0] >= 0
    assert segments[-1].end <= 15  # seconds
    assert all(each.text == " ".join(each.text.split()) != "" and each.start <= each.end for each in segments)


def places(value, at=()):
    """Where everything within a value of JSON is."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*at, key)
        yield from places(inner, (*at, key))


OTHER = [None, True, -1, 0.5, 1e300, float("inf"), "", "soon", "\ud83d", [], [1], [[]], {}, {"word": 1}, {"text": "so"}]


@settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
@given(st.sampled_from([name for name in FILES if name.endswith(".json") and "cut" not in name]), st.data())
def test_what_else_such_files_could_hold_is_read_or_a_line(tmp_path, name, data):
    content = json.loads((SAMPLES / name).read_text(encoding="utf-8"))
    *path, last = data.draw(st.sampled_from(list(places(content))))
    changed = copy.deepcopy(content)
    inner = changed
    for key in path:
        inner = inner[key]
    inner[last] = data.draw(st.sampled_from(OTHER))
    (tmp_path / "clip.json").write_text(json.dumps(changed))
    try:
        told = [segment.text for segment in read_transcript(tmp_path / "clip.json")]
    except DataError as error:
        told = [str(error)]
    assert all(text.strip() and "\n" not in text for text in told)
