"""What lies in a data set and is not read is named, and nothing else is."""

import json
import pickle
import random
import warnings

import numpy as np
import pytest

from disentangle.data import DataWarning, read_recordings
from disentangle.data.__main__ import main
from disentangle.data.data_warnings import collected
from tests.data.layouts import text_writers, writers
from tests.data.layouts.text_writers import csv_bytes, npy_bytes

FRAMES = np.ones((2, 3), np.float32)
TABLE = {"index.csv": csv_bytes(["id", "text", "label"], ["a", "so good", 1], ["b", "so bad", -1])}


def notes(path):
    with collected() as lines:
        splits = read_recordings(path)
    return [line.replace(str(path), "set") for line in lines], splits


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        (
            ["audio/a.npz", "audio/b.npz"],
            ["set/audio: 2 of 2 files and folders are not read, expected a file <id>.npy per recording: a.npz, b.npz"],
        ),
        (
            ["vision/a.csv", "vision/a.npy"],
            ["set/vision: 1 of 2 files and folders are not read, expected a file <id>.npy per recording: a.csv"],
        ),
        (
            ["audio/train/a.npy"],
            ["set/audio: 1 of 1 files and folders are not read, expected a file <id>.npy per recording: train"],
        ),
        (
            ["audio/a.npy", "audio/c.npy"],
            ["set/audio: 1 of 2 files and folders are not read, expected a file <id>.npy per recording: c.npy"],
        ),
        (
            ["audio/a.wav"],
            ["set/audio: 1 of 1 files and folders are not read, expected a file <id>.npy per recording: a.wav"],
        ),
        (["audio.npz", "features.pkl", "labels.csv"], ["set: not read: audio.npz, features.pkl, labels.csv"]),
        (["audio/a.npy", "audio/b.NPY", "README.md", ".cache.json", "notes/plan.docx", "audio/.DS_Store"], []),
        ([], []),
    ],
)
def test_beside_a_table(tmp_path, files, wanted):
    text_writers.write(tmp_path, {**TABLE, **dict.fromkeys(files, npy_bytes(FRAMES))})
    assert notes(tmp_path)[0] == wanted


def test_endings_in_capitals_are_read(tmp_path):
    text_writers.write(tmp_path, {**TABLE, "audio/a.NPY": npy_bytes(FRAMES), "audio/b.npy": npy_bytes(2 * FRAMES)})
    audio = read_recordings(tmp_path)["train"].sequences["audio"]
    assert [frames[0, 0] for frames in audio] == [1, 2]


def test_the_report_says_it_first(tmp_path, capsys):
    text_writers.write(tmp_path, {**TABLE, "audio/a.npz": b"", "vision/a.csv": b""})
    assert main([str(tmp_path)]) == 0
    out = capsys.readouterr().out.replace(str(tmp_path), "set")
    assert "No warnings" not in out
    assert "! set/audio: 1 of 1 files" in out
    assert "! set/vision: 1 of 1 files" in out
    assert main([str(tmp_path), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["warnings"]) == 2


def test_fields_and_splits_of_a_pickle(tmp_path):
    draw, file = random.Random(0), tmp_path / "data.pkl"
    split = writers.mmsa(draw, writers.example())[0]
    content = {"train": {**split, "pose": np.ones((2, 3, 4))}, "valid": split, "test": split, "extra": split}
    file.write_bytes(pickle.dumps(content))
    assert notes(file)[0] == ["set: not read: extra", "set: train: not read: pose"]
    split = writers.mult(draw, writers.example())[0]
    file.write_bytes(pickle.dumps({"train": split, "valid": split, "test": {**split, "pose": 1}}))
    assert notes(file)[0] == ["set: test: not read: pose"]


@pytest.mark.parametrize("layout", writers.LAYOUTS)
def test_nothing_is_said_of_the_published_layouts(tmp_path, layout):
    split = writers.LAYOUTS[layout].write(random.Random(0), writers.example())[0]
    file = tmp_path / "data.pkl"
    file.write_bytes(pickle.dumps(dict.fromkeys(("train", "valid", "test"), split)))
    assert notes(file)[0] == []


@pytest.mark.parametrize("layout", text_writers.LAYOUTS)
def test_nothing_is_said_of_other_layouts_as_they_should_be(tmp_path, layout):
    assert notes(text_writers.write(tmp_path, text_writers.example(layout)))[0] == []


def test_beside_csd_files_and_pickles(tmp_path):
    path = text_writers.write(tmp_path / "csd", {**text_writers.example("csd"), "audio.h5": b"", "phones.csv": b""})
    assert notes(path)[0] == ["set: not read: audio.h5, phones.csv"]
    split = writers.misa(random.Random(0), writers.example())[0]
    files = {f"{name}.pkl": pickle.dumps(split) for name in ("train", "dev", "test", "embeddings")}
    assert notes(text_writers.write(tmp_path / "pickles", {"a.csv": b"", **files}))[0] == [
        "set: not read: a.csv, embeddings.pkl"
    ]


def test_other_warnings_are_shown_and_these_are_shown_to_whoever_does_not_collect_them(tmp_path):
    text_writers.write(tmp_path, {**TABLE, "audio.npz": b""})
    with pytest.warns(DataWarning, match="not read: audio.npz"):
        read_recordings(tmp_path)
    with pytest.warns(RuntimeWarning, match="another"), collected() as lines:
        warnings.warn("another", RuntimeWarning, stacklevel=1)
    assert lines == []


def test_of_what_fails_all_warnings_are_shown():
    def fail():
        warnings.warn("not read: notes.json", DataWarning, stacklevel=1)
        warnings.warn("another", RuntimeWarning, stacklevel=1)
        raise ValueError("no recordings")

    with (
        pytest.warns(DataWarning, match="not read: notes.json"),
        pytest.warns(RuntimeWarning, match="another"),
        pytest.raises(ValueError, match="no recordings"),
        collected() as lines,
    ):
        fail()
    assert lines == []


# -- intervals ---------------------------------------------------------------------------------------------------------


def test_recordings_that_end_before_they_start_are_left_out_by_name(tmp_path):
    seconds = np.stack([np.arange(4.0), np.arange(1.0, 5.0)], 1)
    spans = np.array([[0.0, 2.0], [3.0, 1.0], [2.0, 2.0], [2.0, 4.0]])
    labels = {"a": (np.array([[1.0], [2.0], [3.0], [-1.0]]), spans)}
    files = {
        "labels.csd": text_writers.csd_bytes("labels", labels),
        "COVAREP.csd": text_writers.csd_bytes("COVAREP", {"a": (np.arange(4.0)[:, None], seconds)}),
    }
    lines, splits = notes(text_writers.write(tmp_path, files))
    assert lines == [
        "set/labels.csd: 2 recordings do not end after they start and are left out: a[1] from 3 to 1, a[2] from 2 to 2"
    ]
    train = splits["train"]
    assert (train.ids, train.labels.tolist()) == (["a[0]", "a[3]"], [1, -1])
    assert [frames.ravel().tolist() for frames in train.sequences["audio"]] == [[0, 1], [2, 3]]
