import pickle

import numpy as np
import pytest

from disentangle.data import DataError, read_recordings

SPLITS = ("train", "valid", "test")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "data.pkl"


def split(n: int = 3, **changes) -> dict:
    draw = np.random.default_rng(0)
    return {
        "vision": draw.normal(size=(n, 6, 2)),
        "labels": np.linspace(-3, 3, n).reshape(n, 1, 1),
        "text": draw.normal(size=(n, 4, 300)).astype(np.float32),
        "audio": draw.normal(size=(n, 5, 4)).astype(np.float32),
        "id": np.array([f"video_{i}".encode() for i in range(n)]),
        **changes,
    }


def read(file, content: dict):
    file.write_bytes(pickle.dumps(dict.fromkeys(SPLITS, content)))
    return read_recordings(file)["train"]


def test_the_vectors_of_words_are_a_modality(file):
    got = read(file, split())
    assert got.feature_sizes == {"audio": 4, "vision": 2, "glove": 300}
    assert got.missing == {"text": 3, "audio": 0, "vision": 0, "glove": 0}
    assert got.text == ["", "", ""]
    np.testing.assert_array_equal(np.stack(got.sequences["glove"]), split()["text"])
    np.testing.assert_array_equal(got.labels, [-3, 0, 3])


def test_padding_in_front_is_cut_and_infinities_stay(file):
    audio = split()["audio"]
    audio[0, :2] = 0
    audio[1, 0, 3] = audio[1, 4, 0] = -np.inf
    audio[2] = 0
    got = read(file, split(audio=audio))
    assert got.padding["audio"].tolist() == [[2, 0], [0, 0], [0, 5]]
    assert [len(frames) for frames in got.sequences["audio"]] == [3, 5, 0]
    assert got.nonfinite == {"audio": 2, "vision": 0, "glove": 0}
    np.testing.assert_array_equal(got.sequences["audio"][1], audio[1])


@pytest.mark.parametrize(
    ("ids", "wanted"),
    [
        (np.array([b"a", b"b", b"c"]), ["a", "b", "c"]),
        (np.array([[b"a", b"0.5", b"2"]] * 3), ["a_0.5_2"] * 3),
        (np.array([["a", 0.5, 2]] * 3, object), ["a_0.5_2"] * 3),
        (np.array([[b"a"]] * 3), ["a"] * 3),
        (["a", b"b", 3], ["a", "b", "3"]),
    ],
)
def test_names_and_rows_of_names(file, ids, wanted):
    assert read(file, split(id=ids)).ids == wanted


def test_without_names(file):
    content = split()
    del content["id"]
    assert read(file, content).ids == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"text": 1, "audio": 2}, "train: expected vision, got text, audio$"),
        (
            split(labels=np.ones((3, 7, 1))),
            r"train: labels: expected one label per recording, got float64 \(3, 7, 1\)$",
        ),
        (split(labels=np.ones((3, 4, 2))), "expected one 1 and one 0 for each emotion, got others in 3 recordings$"),
        (split(labels=np.full((3, 1, 1), np.nan)), "train: labels: 3 of 3 labels are NaN or infinite$"),
        (
            split(audio=np.ones((3, 4))),
            r"train: audio: expected \(recordings, frames, features\), got float64 \(3, 4\); .* x\[:, None\] makes",
        ),
        (split(text=np.ones((2, 1, 1))), "expected as many recordings in every field, got audio 3, vision 3, text 2, "),
        (split(text=["so", "good", "!"]), r"train: text\[0\]: expected a numeric array, got str$"),
        (split(id=np.full((3, 2), None)), r"train: id\[0\]: expected text, got NoneType$"),
        (split(0), "train: no recordings$"),
    ],
)
def test_a_split_that_cannot_be_used(file, content, message):
    with pytest.raises(DataError, match=message) as error:
        read(file, content)
    assert str(error.value).startswith(f"{file}: ")
    assert "\n" not in str(error.value)


def test_iemocap_has_four_labels_and_no_main_one(file):
    there = np.array([[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]])
    got = read(file, split(labels=np.stack([1 - there, there], axis=2)))
    assert got.labels is None
    assert list(got.more_labels) == ["neutral", "happy", "sad", "angry"]
    np.testing.assert_array_equal(got.with_labels(*got.more_labels).labels, there)
