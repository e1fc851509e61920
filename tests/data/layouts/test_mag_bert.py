import pickle

import numpy as np
import pytest

from disentangle.data import DataError, read_recordings

FRAMES = np.ones((2, 3), np.float32), np.ones((2, 4), np.float64)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "data.pkl"


def recording(words=("so", "good"), features=FRAMES, label=((1.5,),), segment="a$1"):
    return (words, *features), np.array(label) if isinstance(label, tuple) else label, segment


def read(file, *recordings):
    file.write_bytes(pickle.dumps({name: list(recordings) for name in ("train", "dev", "test")}))
    return read_recordings(file)["train"]


def test_the_second_is_vision_and_the_third_audio(file):
    got = read(file, recording(), recording(["bad"], segment="b"))
    assert got.feature_sizes == {"audio": 4, "vision": 3}
    assert (got.text, got.ids, got.labels.tolist()) == (["so good", "bad"], ["a$1", "b"], [1.5, 1.5])


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["so", "sp", "good"], "so sp good"),
        ([b"so", np.str_("good")], "so good"),
        (np.array(["so", "good"]), "so good"),
        (np.array([b"so", b"good"]), "so good"),
        (np.array(["so", b"good"], object), "so good"),
        (["", " so "], "so"),
        (["我", "喜欢", "它"], "我喜欢它"),
        ([], ""),
    ],
)
def test_words_are_joined_as_they_are(file, words, wanted):
    assert read(file, recording(words)).text == [wanted]


def test_numbers_of_words_are_no_words(file):
    numbers, words = np.arange(2), ["so", "good"]
    assert read(file, ((numbers, *FRAMES, words), np.array([[1.0]]), "a")).text == ["so good"]
    assert read(file, ((words, *FRAMES, words, 2, np.int64(2)), np.array([[1.0]]), "a")).text == ["so good"]
    with pytest.raises(DataError, match=r"train\[0\]: words\[0\]: expected text, got int64$"):
        read(file, recording(numbers))


@pytest.mark.parametrize("label", [((1.5,),), (1.5,), np.array(1.5), 1.5, np.float32(1.5), np.array([[1.5]], ">f4")])
def test_forms_of_a_label(file, label):
    got = read(file, recording(label=label))
    assert (got.labels.tolist(), got.labels.dtype, got.more_labels) == ([1.5], np.float32, {})


def test_emotions(file):
    got = read(file, recording(label=((1.5, 1, 2, 3, 4, 5, np.nan),)), recording(label=((0.0,) * 7,)))
    assert got.labels.tolist() == [1.5, 0]
    assert list(got.more_labels) == ["happy", "sad", "anger", "surprise", "disgust", "fear"]
    assert got.more_labels["happy"].tolist() == [1, 0]
    np.testing.assert_array_equal(got.more_labels["fear"], [np.nan, 0])


@pytest.mark.parametrize(
    ("recordings", "message"),
    [
        ([], "train: no recordings$"),
        ([3], r"train\[0\]: expected \(\(words, visual, acoustic\), label, segment\), got int$"),
        ([recording(), (1, 2)], r"train\[1\]: expected \(\(words, .*, segment\), got 2 parts$"),
        ([("abc", 1.0, "a")], r"train\[0\]: expected \(words, visual, acoustic\) or \(numbers, .*, words\), got str$"),
        ([((1, 2, 3, 4, 5), 1.0, "a")], r"train\[0\]: expected \(words, .*\), got 5 parts$"),
        ([recording("so good")], r"train\[0\]: words: expected a list or an array, got str$"),
        ([recording(label="1")], r"train\[0\]: label: expected numbers, got str$"),
        ([recording(label=[1.0])], r"train\[0\]: label: expected numbers, got list$"),
        ([recording(label=(1.0, 2.0))], r"train\[0\]: label: expected 1 number or 7, got float64 \(2,\)$"),
        ([recording(label=(np.nan,))], "train: labels: 1 of 1 labels are NaN or infinite$"),
        ([recording(), recording(label=(1.0,) * 7)], "train: expected labels of one size, got sizes 1 and 7$"),
        ([recording(label=(1.0,) * 6 + (np.inf,))], "train: fear: 1 of 1 labels are infinite$"),
        ([recording(features=(FRAMES[0], None))], r"train: acoustic\[0\]: expected a numeric array, got NoneType$"),
        (
            [recording(), recording(features=FRAMES[::-1])],
            r"train: acoustic: expected frames of one size, .* \[3, 4\]$",
        ),
        ([recording(segment=None)], r"train: segment\[0\]: expected text, got NoneType$"),
    ],
)
def test_a_split_that_cannot_be_used(file, recordings, message):
    with pytest.raises(DataError, match=message) as error:
        read(file, *recordings)
    assert str(error.value).startswith(f"{file}: ")
    assert "\n" not in str(error.value)
