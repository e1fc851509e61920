"""A file that lacks something is told to be of its own layout, not of another one."""

import pickle
import random

import pytest

from disentangle.data import DataError, read_recordings
from tests.data.layouts import writers

DRAW = random.Random(0)
SPLITS = {name: writers.LAYOUTS[name].write(DRAW, writers.example())[0] for name in ("mmsa", "paper", "mult")}


@pytest.mark.parametrize(
    ("layout", "key", "message"),
    [
        ("mmsa", "raw_text", "train: expected the transcripts as raw_text, got .*; text is what a BERT made of them"),
        ("mmsa", "regression_labels", "train: expected regression_labels or labels, got raw_text"),
        ("paper", "labels", "train: expected regression_labels or labels, got raw_text"),
        (
            "paper",
            "raw_text",
            "train: expected raw_text, audio, vision, regression_labels .*, got audio, video, labels$",
        ),
        ("mult", "labels", "train: expected labels, got vision, text, audio, id$"),
        ("mult", "audio", "train: expected audio, got vision, labels, text, id$"),
        ("mult", "vision", "train: expected vision, got labels, text, audio, id$"),
    ],
)
def test_what_is_missing_is_named(tmp_path, layout, key, message):
    split = {name: value for name, value in SPLITS[layout].items() if name != key}
    file = tmp_path / "data.pkl"
    file.write_bytes(pickle.dumps(dict.fromkeys(("train", "valid", "test"), split)))
    with pytest.raises(DataError, match=message) as error:
        read_recordings(file)
    assert "\n" not in str(error.value)
