import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from disentangle.data import DataError, LazyFrames, Recordings, check_same_features, read_recordings, read_unlabeled

POM = Path(os.environ.get("DISENTANGLE_POM") or Path(__file__).parents[3] / "shared" / "data" / "pom")
SPLITS = ("train", "valid", "test")


def of_sizes(**sizes: int) -> Recordings:
    return Recordings(text=["a"], sequences={name: [np.ones((2, size), np.float32)] for name, size in sizes.items()})


def test_check_same_features():
    train = of_sizes(audio=4, vision=2)
    check_same_features(train, of_sizes(vision=2, audio=4), "data.pkl")
    with pytest.raises(DataError, match=r"^data.pkl: expected 2 vision features as in the training data, got 7$"):
        check_same_features(train, of_sizes(audio=4, vision=7), "data.pkl")
    with pytest.raises(DataError, match=r"^data.pkl: expected 2 vision features as in the training data, got none$"):
        check_same_features(train, of_sizes(audio=4), "data.pkl")
    with pytest.raises(DataError, match=r"^data.pkl: expected no vision features as in the training data, got 2$"):
        check_same_features(of_sizes(audio=4), train, "data.pkl")


def test_parts_must_agree():
    frames = [np.ones((2, 3), np.float32)] * 2
    with pytest.raises(ValueError, match="expected as many recordings in every part, got text 1, audio 2, ids 1"):
        Recordings(text=["a"], sequences={"audio": frames})
    with pytest.raises(ValueError, match="labels 3"):
        Recordings(text=["a", "b"], sequences={"audio": frames}, labels=np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="shared 3"):
        Recordings(text=["a", "b"], sequences={"audio": frames}, factors={"shared": np.zeros((3, 2))})
    with pytest.raises(ValueError, match=r"one size D in audio, got \(T_i, ...\) of \[\(3,\), \(4,\)\]"):
        Recordings(text=["a", "b"], sequences={"audio": [np.ones((2, 3)), np.ones((2, 4))]})
    with pytest.raises(ValueError, match="one size D in audio"):
        Recordings(text=["a"], sequences={"audio": [np.ones(3)]})


def test_more_labels_and_padding_must_agree():
    with pytest.raises(ValueError, match=r"text 2, ids 2, T 1$"):
        Recordings(text=["a", "b"], sequences={}, more_labels={"T": np.zeros(1, np.float32)})
    with pytest.raises(ValueError, match=r"text 2, ids 2, padding of audio 3$"):
        Recordings(text=["a", "b"], sequences={}, padding={"audio": np.zeros((3, 2), int)})


def test_select():
    recordings = Recordings(
        text=["a", "b", "c"],
        sequences={"audio": [np.full((i, 1), i, np.float32) for i in range(3)]},
        labels=np.arange(3, dtype=np.float32),
        factors={"shared": np.arange(6).reshape(3, 2)},
        more_labels={"T": np.array([5, 6, 7], np.float32)},
        padding={"audio": np.array([[0, 1], [2, 3], [4, 5]])},
    )
    got = recordings.select([2, 0])
    assert (got.text, got.ids, got.labels.tolist()) == (["c", "a"], ["2", "0"], [2.0, 0.0])
    assert [len(frames) for frames in got.sequences["audio"]] == [2, 0]
    assert got.factors["shared"].tolist() == [[4, 5], [0, 1]]
    assert got.more_labels["T"].tolist() == [7, 5]
    assert got.padding["audio"].tolist() == [[4, 5], [0, 1]]


def test_frames_that_stay_in_their_files_are_not_all_read():
    asked = []

    def read(key: int) -> np.ndarray:
        asked.append(key)
        return np.full((key, 2), key, np.float32)

    n = 1000
    frames = LazyFrames(read, range(n), range(n), size=2)
    recordings = Recordings(text=["a"] * n, sequences={"audio": frames})
    some = recordings.select([5, *range(n)])
    assert recordings.feature_sizes == some.feature_sizes == {"audio": 2}
    assert (recordings.missing["audio"], some.missing["audio"], len(some)) == (1, 1, n + 1)
    assert len(asked) < 20  # checks of types at run time, which tests make, look at one or the other
    np.testing.assert_array_equal(some.sequences["audio"][0], np.full((5, 2), 5))


def test_frames_may_be_any_sequence():
    frames = np.zeros((3, 4, 2), np.float32)
    frames[1, 2, 0] = np.nan
    recordings = Recordings(text=["a", "b", "c"], sequences={"audio": tuple(frames)})
    assert (recordings.feature_sizes, recordings.missing["audio"], recordings.nonfinite) == (
        {"audio": 2},
        0,
        {"audio": 1},
    )


# -- real recordings ---------------------------------------------------------------------------------------------------


def loop_cut(frames: np.ndarray) -> list[int]:
    """How many frames of zeros stand in front and behind."""
    real = [t for t in range(len(frames)) if np.abs(frames[t]).max() > 0]
    return [min(real), len(frames) - 1 - max(real)] if real else [0, len(frames)]


@pytest.mark.skipif(not POM.is_dir(), reason=f"no recordings in {POM} (DISENTANGLE_POM)")
def test_real_recordings():
    with open(POM / "pom_unaligned.pkl", "rb") as stream:
        raw = pickle.load(stream)
    splits = read_recordings(POM / "pom_unaligned.pkl")
    assert [len(splits[name]) for name in SPLITS] == [200, 33, 70]
    for name, got in splits.items():
        assert got.feature_sizes == {"audio": 43, "vision": 41}
        assert got.text == [text.strip() for text in raw[name]["raw_text"]]
        assert got.ids == list(raw[name]["id"])
        np.testing.assert_array_equal(got.labels, raw[name]["regression_labels"])
        for modality in ("audio", "vision"):
            cut = np.array([loop_cut(frames) for frames in raw[name][modality]])
            np.testing.assert_array_equal(got.padding[modality], cut)
            lengths = raw[name][modality].shape[1] - cut.sum(1)
            assert [len(frames) for frames in got.sequences[modality]] == lengths.tolist()
            assert got.missing[modality] == int((np.abs(raw[name][modality]).sum((1, 2)) == 0).sum())
            assert got.nonfinite[modality] == int((~np.isfinite(raw[name][modality])).sum())
            np.testing.assert_allclose(
                [frames.sum() for frames in got.sequences[modality]],
                raw[name][modality].sum((1, 2)),
                rtol=1e-3,
                atol=1e-3,
            )
    assert splits["train"].missing["vision"] > 60


@pytest.mark.skipif(not POM.is_dir(), reason=f"no recordings in {POM} (DISENTANGLE_POM)")
def test_real_unlabelled_recordings():
    with open(POM / "pom_unlabeled.pkl", "rb") as stream:
        raw = pickle.load(stream)
    got = read_unlabeled(POM / "pom_unlabeled.pkl")
    assert (len(got), got.labels) == (600, None)
    assert got.missing["text"] == 600
    for modality, key in (("audio", "audio"), ("vision", "video")):
        cut = np.array([loop_cut(frames) for frames in raw[key]])
        np.testing.assert_array_equal(got.padding[modality], cut)
        lengths = np.array(list(map(len, raw[key]))) - cut.sum(1)
        assert [len(frames) for frames in got.sequences[modality]] == lengths.tolist()
        assert got.missing[modality] == int((np.abs(raw[key]).sum((1, 2)) == 0).sum())
    check_same_features(read_recordings(POM / "pom_unaligned.pkl")["train"], got, POM / "pom_unlabeled.pkl")
