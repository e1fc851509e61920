import pickle
from dataclasses import replace
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from disentangle.data import DataError, DataWarning, Recordings, read_recordings, read_unlabeled
from tests.data.mutations import objects

relaxed = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
SPLITS = ("train", "valid", "test")


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "data.pkl"


def field_split(n: int = 3, **changes) -> dict:
    draw = np.random.default_rng(0)
    return {
        "raw_text": [f"word {i}" for i in range(n)],
        "audio": draw.normal(size=(n, 5, 4)).astype(np.float32),
        "vision": draw.normal(size=(n, 6, 2)).astype(np.float32),
        "regression_labels": np.linspace(-3, 3, n).astype(np.float32),
        "id": [f"video$_${i}" for i in range(n)],
        **changes,
    }


def without(split: dict, *keys: str) -> dict:
    return {key: value for key, value in split.items() if key not in keys}


def paper_split(n: int = 3, **changes) -> dict:
    split = field_split(n)
    split["video"], split["labels"] = split["vision"], split["regression_labels"]
    return {**without(split, "vision", "regression_labels", "id"), **changes}


def flat(n: int = 3, **changes) -> dict:
    return {**without(paper_split(n), "labels"), **changes}


def write(file: Path, content: object) -> Path:
    file.write_bytes(pickle.dumps(content))
    return file


def read(file: Path, split: dict) -> Recordings:
    return read_recordings(write(file, dict.fromkeys(SPLITS, split)))["train"]


def equal(a: Recordings, b: Recordings) -> bool:
    return (
        a.text == b.text
        and a.sequences.keys() == b.sequences.keys()
        and all(
            len(a.sequences[m]) == len(b.sequences[m])
            and all(np.array_equal(x, y, equal_nan=True) for x, y in zip(a.sequences[m], b.sequences[m], strict=True))
            for m in a.sequences
        )
        and (b.labels is None if a.labels is None else np.array_equal(a.labels, b.labels))
    )


# -- layouts -----------------------------------------------------------------------------------------------------------


def test_the_fields_layout(file):
    content = {name: field_split(n, audio_lengths=[1] * n, text_bert=None) for n, name in enumerate(SPLITS, 2)}
    splits = read_recordings(write(file, content))
    assert list(splits) == list(SPLITS)
    for name, got in splits.items():
        wanted = content[name]
        assert got.text == wanted["raw_text"]
        assert got.ids == wanted["id"]
        np.testing.assert_array_equal(got.labels, wanted["regression_labels"])
        for modality in ("audio", "vision"):
            np.testing.assert_array_equal(np.stack(got.sequences[modality]), wanted[modality])
            assert all(frames.dtype == np.float32 for frames in got.sequences[modality])
        assert got.feature_sizes == {"audio": 4, "vision": 2}
        assert got.missing == {"text": 0, "audio": 0, "vision": 0}
        assert got.nonfinite == {"audio": 0, "vision": 0}


def test_other_labels_are_kept_where_they_are_numbers(file):
    nan = float("nan")
    got = read(
        file,
        field_split(
            regression_labels_T=np.array([1.0, nan, -1.0]),
            regression_labels_A=[0.5, 0.25, 1],
            classification_labels=[0, 1, 2],
            classification_labels_T=["Positive", "", "Negative"],
            classification_labels_V=np.eye(3),
            annotations=["Positive"] * 3,
        ),
    )
    assert list(got.more_labels) == ["T", "A", "classification"]
    np.testing.assert_array_equal(got.more_labels["T"], [1, nan, -1])
    np.testing.assert_array_equal(got.more_labels["A"], [0.5, 0.25, 1])
    np.testing.assert_array_equal(got.more_labels["classification"], [0, 1, 2])
    assert all(labels.dtype == np.float32 for labels in got.more_labels.values())


def test_the_papers_layout_and_the_flat_one_give_the_same(file):
    wanted, paper = read(file, field_split()), read(file, paper_split())
    assert equal(paper, wanted)
    assert paper.ids == ["0", "1", "2"]
    for content in (flat(), {**without(flat(), "video"), "vision": flat()["video"]}):
        unlabelled = read_unlabeled(write(file, content))
        assert unlabelled.labels is None
        assert unlabelled.text == wanted.text
        assert list(unlabelled.sequences) == ["audio", "vision"]
        np.testing.assert_array_equal(unlabelled.sequences["vision"], wanted.sequences["vision"])


@pytest.mark.parametrize(
    "changes",
    [
        {"raw_text": np.array(["word 0", "word 1", "word 2"])},
        {"raw_text": np.array([b"word 0", b"word 1", b"word 2"])},
        {"raw_text": [b"word 0", "word 1", np.str_("word 2")]},
        {"raw_text": objects(["word 0", " word 1\n", "word 2"])},
        {"audio": list(field_split()["audio"])},
        {"audio": tuple(field_split()["audio"])},
        {"audio": objects(list(field_split()["audio"]))},
        {"audio": field_split()["audio"].astype(object)},
        {"audio": field_split()["audio"].astype(">f8")},
        {"vision": np.asfortranarray(field_split()["vision"])},
        {"regression_labels": [-3.0, 0, 3.0]},
        {"regression_labels": np.array([[-3.0], [0.0], [3.0]])},
        {"regression_labels": list(np.array([-3.0, 0.0, 3.0], np.float32))},
        {"regression_labels": np.array([-3, 0, 3])},
        {"regression_labels": objects([-3.0, 0.0, 3.0])},
    ],
)
def test_other_forms_of_a_field_give_the_same(file, changes):
    got = read(file, field_split(**changes))
    assert equal(got, read(file, field_split()))
    assert all(type(text) is str for text in got.text)
    assert got.labels.dtype == np.float32


@pytest.mark.parametrize("absent", [["audio"], ["vision"], ["audio", "vision"]], ids="+".join)
def test_a_file_may_lack_modalities(file, absent):
    wanted = read(file, field_split())
    got = read(file, without(field_split(), *absent))
    assert list(got.sequences) == list(got.padding) == [name for name in ("audio", "vision") if name not in absent]
    assert equal(got, replace(wanted, sequences={name: wanted.sequences[name] for name in got.sequences}))
    keys = ["video" if name == "vision" else name for name in absent]
    assert list(read_unlabeled(write(file, without(flat(), *keys))).sequences) == list(got.sequences)


def test_a_modality_under_a_name_that_no_layout_has_is_named(file):
    split = {**without(field_split(), "vision"), "visual": field_split()["vision"]}
    with pytest.warns(DataWarning, match=r"data.pkl: train: not read: visual$"):
        assert read(file, split).feature_sizes == {"audio": 4}
    content = {"train": field_split(), "valid": without(field_split(), "vision"), "test": field_split()}
    with pytest.raises(DataError, match=r"valid: expected 2 vision features as in the training data, got none$"):
        read_recordings(write(file, content))


def test_ids_are_text(file):
    assert read(file, field_split(id=np.array([7, 8, 9]))).ids == ["7", "8", "9"]
    assert read(file, field_split(id=[b"a", "b", 3])).ids == ["a", "b", "3"]


def test_recordings_of_different_length_and_of_none(file):
    audio = [np.ones((2, 4)), np.zeros((0, 4)), np.zeros((0,))]
    got = read(file, field_split(audio=audio, raw_text=["", " \n\t", "a "]))
    assert [frames.shape for frames in got.sequences["audio"]] == [(2, 4), (0, 4), (0, 4)]
    assert got.text == ["", "", "a"]
    assert got.missing == {"text": 2, "audio": 2, "vision": 0}


# -- values -------------------------------------------------------------------------------------------------------------


@relaxed
@given(st.data())
def test_zero_frames_on_either_side_change_nothing(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("padded") / "data.pkl"
    n, t, size = data.draw(st.integers(1, 4)), data.draw(st.integers(0, 4)), data.draw(st.integers(1, 3))
    elements = st.sampled_from([0.0, 1.0, -2.5])
    audio = data.draw(hnp.arrays(np.float32, (n, t, size), elements=elements, fill=st.just(0.0)))
    before, after = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))
    ragged = [
        np.pad(frames, ((data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))), (0, 0))) for frames in audio
    ]
    wanted = read(file, field_split(n, audio=audio))
    assert equal(read(file, field_split(n, audio=np.pad(audio, ((0, 0), (before, after), (0, 0))))), wanted)
    assert equal(read(file, field_split(n, audio=ragged)), wanted)
    assert wanted.missing["audio"] == sum(not frames.any() for frames in audio)


def test_frames_own_their_memory(file):
    frames = np.zeros((3, 1000, 4), np.float32)
    frames[:, 500] = 1
    for each in read(file, field_split(audio=frames)).sequences["audio"]:
        assert each.base is None
        assert each.shape == (1, 4)
        assert each.flags.c_contiguous


def test_values_that_are_not_finite_stay_and_are_counted(file):
    audio, vision = field_split()["audio"].astype(np.float64), field_split()["vision"]
    audio[0, 0, 0], audio[1, 2, :2], audio[2, 4, 3] = np.nan, np.inf, 1e300
    vision[1] = 0
    vision[1, 3, 1] = -np.inf
    got = read(file, field_split(audio=audio, vision=vision))
    assert got.nonfinite == {"audio": 4, "vision": 1}
    assert np.isnan(got.sequences["audio"][0][0, 0])
    assert np.isposinf(got.sequences["audio"][2][4, 3])
    np.testing.assert_array_equal(got.sequences["vision"][1], [[0, -np.inf]])


# -- files that are no such data ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (
            without(field_split(), "raw_text"),
            "train: expected the transcripts as raw_text, got audio, vision, regression_labels, id$",
        ),
        (
            without(field_split(), "regression_labels"),
            "train: expected regression_labels or labels, got raw_text, audio",
        ),
        ({}, "train: expected raw_text, .*, got nothing$"),
        (field_split(video=np.ones((3, 2, 2))), "train: expected vision or video, got both$"),
        (None, "train: expected raw_text, .*, got NoneType$"),
        (
            field_split(raw_text=["a"]),
            "train: expected as many recordings in every field, "
            "got raw_text 1, audio 3, vision 3, regression_labels 3, id 3$",
        ),
        (field_split(regression_labels=[1.0]), "regression_labels 1, id 3$"),
        (field_split(id=["a"]), "regression_labels 3, id 1$"),
        (field_split(0), "train: no recordings$"),
        (field_split(raw_text="abc"), "train: raw_text: expected a list or an array, got str$"),
        (field_split(raw_text=["a", None, "b"]), r"train: raw_text\[1\]: expected text, got NoneType$"),
        (field_split(raw_text=["a", "b", b"\xff"]), r"train: raw_text\[2\]: expected UTF-8$"),
        (field_split(id=[1.5, 2.5, 3.5]), r"train: id\[0\]: expected text, got float$"),
        (field_split(audio=None), "train: audio: expected a list or an array, got NoneType$"),
        (field_split(audio=np.array(1.0)), r"train: audio: expected a list or an array, got float64 \(\)$"),
        (
            field_split(audio=np.ones((3, 4))),
            r"audio: expected \(recordings, frames, features\), got float64 \(3, 4\); .* x\[:, None\] makes",
        ),
        (
            field_split(audio=np.ones((3, 4, 2, 2))),
            r"expected \(recordings, frames, features\), got float64 \(3, 4, 2, 2\)",
        ),
        (
            field_split(audio=[np.ones((2, 4)), np.ones(4), np.ones((2, 4))]),
            r"audio\[1\]: expected \(frames, features\)",
        ),
        (field_split(audio=[[[1.0]]] * 3), r"train: audio\[0\]: expected a numeric array, got list$"),
        (field_split(audio=np.full((3, 2, 2), "a")), r"audio\[0\]: expected a numeric array, got <U1 \(2, 2\)$"),
        (
            field_split(audio=np.ones((3, 2, 2), complex)),
            r"audio\[0\]: expected a numeric array, got complex128 \(2, 2\)$",
        ),
        (field_split(audio=np.full((3, 2, 2), None)), r"audio\[0\]: expected numbers, got NoneType$"),
        (field_split(audio=np.full((3, 2, 2), 10**400, object)), r"audio\[0\]: a whole number too large for a float$"),
        (field_split(audio=np.ones((3, 2, 0))), r"train: audio: expected frames of one size, got sizes \[0\]$"),
        (field_split(audio=[np.ones((2, 4)), np.ones((2, 5)), np.ones((2, 4))]), r"of one size, got sizes \[4, 5\]$"),
        (field_split(audio=[np.zeros(0)] * 3), r"of one size, got sizes \[\]$"),
        (field_split(regression_labels=["a", "b", "c"]), "train: regression_labels: expected numbers, got str$"),
        (field_split(regression_labels=[1.0, None, 2.0]), "regression_labels: expected numbers, got NoneType$"),
        (field_split(regression_labels=np.ones((3, 2))), r"expected one label per recording, got float64 \(3, 2\)$"),
        (
            field_split(regression_labels=[1.0, np.nan, -np.inf]),
            "train: regression_labels: 2 of 3 labels are NaN or inf",
        ),
        (
            field_split(regression_labels=[1.0, 1e300, 2.0]),
            "train: regression_labels: 1 of 3 labels are NaN or infinite$",
        ),
        (field_split(regression_labels_V=["", "", ""]), "train: regression_labels_V: expected numbers, got str$"),
        (field_split(regression_labels_V=[1.0, np.inf, 2.0]), "regression_labels_V: 1 of 3 labels are infinite$"),
        (field_split(regression_labels_V=[1.0]), "got raw_text 3, .*, regression_labels_V 1$"),
        (field_split(classification_labels=[1.0]), "got raw_text 3, .*, classification_labels 1$"),
        (paper_split(labels=[1.0, np.nan, 2.0]), "train: labels: 1 of 3 labels are NaN or infinite$"),
    ],
)
def test_a_split_that_cannot_be_used(file, split, message):
    with pytest.raises(DataError, match=message) as error:
        read(file, split)
    assert str(error.value).startswith(f"{file}: ")
    assert "\n" not in str(error.value)


def test_errors_name_the_split(file):
    content = {"train": field_split(), "valid": field_split(regression_labels=[np.nan, 1, 2]), "test": field_split()}
    with pytest.raises(DataError, match=r"data.pkl: valid: regression_labels: 1 of 3 labels"):
        read_recordings(write(file, content))
