"""Classes by name are the same classes in every split and in every other file, wherever their names stand in order there."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import text_only

from disentangle.data import Recordings, synthetic_recordings, write_folder, write_store
from disentangle.errors import DataError
from disentangle.experiments.options import parse
from disentangle.experiments.reading import labeled_splits, read

from .test_labels import printed

FAST = ["--backbone", "tiny", "--epochs", 1, "--lr", 1e-2]
WORDS = {"anger": "bad", "fear": "dark", "joy": "good", "sad": "cry"}


def split(names, n):
    """Recordings whose one word tells their class, coded by the places of these names, as the file that has them does."""
    said = [names[i % len(names)] for i in range(n)]
    places = sorted(names)
    return Recordings(
        text=[WORDS[name] for name in said],
        sequences={},
        labels=np.array([places.index(name) for name in said], np.float32),
        class_names={"label": places},
    )


def splits(names):
    return {name: split(names, n) for name, n in {"train": 48, "valid": 8, "test": 8}.items()}


def run(*arguments):
    return text_only.main([str(each) for each in arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model that tells anger, fear and joy without fail."""
    folder = tmp_path_factory.mktemp("names")
    write_folder(folder / "set", splits(["anger", "fear", "joy"]))
    assert run("--data", folder / "set", *FAST, "--epochs", 10, "--out", folder / "run") == 0
    assert json.loads((folder / "run" / "result.json").read_text())["test"]["acc"] == 1.0
    return folder / "run"


def test_another_file_with_fewer_classes_is_measured_by_their_names(trained, tmp_path, capsys):
    write_folder(tmp_path / "other", splits(["joy", "fear"]))
    assert run("evaluate", "--run", trained, "--data", tmp_path / "other") == 0
    out = capsys.readouterr().out
    table = printed(out, "acc")
    assert table["test"]["acc"] == 1.0
    assert table["test, training majority"]["acc"] == 0.0  # anger, the first of three that are as frequent in training


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (
            ["anger", "joy", "sad"],
            "expected the classes of training, anger, fear, joy, got 'sad' in 16 of 48: leave these out, or ",
        ),
        (None, "expected the names of classes, anger, fear, joy, got numbers"),
    ],
    ids=["an unknown class", "numbers"],
)
def test_another_file_of_other_classes_is_refused(trained, tmp_path, capsys, others, message):
    other = splits(others or ["anger", "fear", "joy"])
    if others is None:
        for each in other.values():
            each.class_names.clear()
    write_folder(tmp_path / "other", other)
    assert run("evaluate", "--run", trained, "--data", tmp_path / "other") == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'other'}: train: {message}")


def test_names_are_refused_by_a_model_of_numbers(tmp_path, capsys):
    numbers = {
        name: Recordings(["so"] * 8, {}, np.arange(8, dtype=np.float32) / 7) for name in ("train", "valid", "test")
    }
    write_folder(tmp_path / "set", numbers)
    assert run("--data", tmp_path / "set", *FAST, "--out", tmp_path / "run") == 0
    write_folder(tmp_path / "other", splits(["joy", "fear"]))
    capsys.readouterr()
    assert run("evaluate", "--run", tmp_path / "run", "--data", tmp_path / "other") == 2
    message = "expected numbers as labels, as in training, got names: fear, joy"
    assert capsys.readouterr().err.strip() == f"error: {tmp_path / 'other'}: train: {message}"


def test_predictions_stand_beside_the_names_of_their_file(trained, tmp_path):
    write_folder(tmp_path / "other", splits(["sad", "joy"]))
    assert run("predict", "--run", trained, "--data", tmp_path / "other", "--out", tmp_path / "said.csv") == 0
    with open(tmp_path / "said.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["label"] for row in rows} == {"sad", "joy"}
    assert {row["prediction"] for row in rows if row["label"] == "joy"} == {"joy"}


def test_splits_of_a_store_may_number_their_classes_differently(tmp_path):
    """As they do where each was read by itself: one has no anger, and so fear is its first class."""
    parts = {
        "train": split(["joy", "anger", "fear"], 48),
        "valid": split(["fear", "joy"], 8),
        "test": split(["joy"], 8),
    }
    write_store(tmp_path / "store", parts)
    by_word = {word: name for name, word in WORDS.items()}
    for each in labeled_splits(str(tmp_path / "store"), synthetic_recordings).values():
        names = each.class_names["label"]
        assert names == ["anger", "fear", "joy"]
        assert [names[int(label)] for label in each.labels] == [by_word[text] for text in each.text]


def test_several_labels_at_once_are_numbers(tmp_path, capsys):
    named = splits(["joy", "fear"])
    for each in named.values():
        each.more_labels["loud"] = each.labels
    write_folder(tmp_path / "set", named)
    options = ["--data", tmp_path / "set", *FAST, "--label", "loud", "--label", "label", "--out", tmp_path / "run"]
    assert run(*options) == 2
    message = "expected numbers in each of several labels, got names in label: fear, joy"
    assert capsys.readouterr().err.strip() == f"error: {tmp_path / 'set'}: {message}"


def test_it_is_said_that_unlabelled_recordings_are_of_no_use(tmp_path):
    more = Recordings(["so"] * 5, {})
    write_folder(tmp_path / "set", {**splits(["joy", "fear"]), "unlabeled": more})
    options, lines = parse(text_only.EXPERIMENT, ["--data", str(tmp_path / "set")]), []
    assert "unlabeled" not in read(options, synthetic_recordings, lines.append)
    assert "unlabeled 5 recordings: not used, this experiment learns from labelled ones" in lines


def test_the_classes_are_those_of_training(tmp_path):
    third = splits(["joy", "fear"]) | {"test": split(["joy", "fear", "sad"], 8)}
    write_store(tmp_path / "third", third)
    with pytest.raises(
        DataError, match=r"test: expected the classes of training, fear, joy, got 'sad' in \d of 8: leave these out, or"
    ):
        labeled_splits(str(tmp_path / "third"), synthetic_recordings)
    one = splits(["joy", "fear"])
    one["train"] = replace(one["train"], labels=np.ones(48, np.float32))
    write_store(tmp_path / "one", one)
    with pytest.raises(DataError, match="train: expected labels of two classes or more, got joy in every row"):
        labeled_splits(str(tmp_path / "one"), synthetic_recordings)


def test_of_several_labels_without_a_main_one_the_names_are_said(tmp_path):
    """IEMOCAP's files have four."""
    own = {name: np.array([0, 1, 1, 0], np.float32) for name in ("neutral", "happy")}
    write_store(
        tmp_path / "set", {name: Recordings([name] * 4, {}, more_labels=own) for name in ("train", "valid", "test")}
    )
    with pytest.raises(DataError, match=r"set: expected --label with one or more of neutral, happy, got none$"):
        labeled_splits(str(tmp_path / "set"), synthetic_recordings)
    found = labeled_splits(str(tmp_path / "set"), synthetic_recordings, ["happy"])
    assert found["train"].labels.tolist() == [0, 1, 1, 0]
