"""Every reader knows the same names of splits."""

import json
import pickle
import random

import numpy as np
import pytest

from disentangle.data import DataError, Recordings, read_recordings, read_unlabeled, write_store
from disentangle.data.split_names import NAMES, keys_of_splits, split_of
from tests.data.layouts import text_writers, writers

PARTS = {"train": 3, "valid": 2, "test": 4}
# Of each split a name, the next ones of all splits, and so on; in the case of each and in another.
CHOICES = [
    {split: NAMES[split][i % len(NAMES[split])] for split in PARTS} for i in range(max(map(len, NAMES.values())))
] + [{"train": "Train", "valid": "DEV", "test": "TEST"}]


def sizes(splits):
    return {name: len(split) for name, split in splits.items()}


def parts(layout="mmsa"):
    draw = random.Random(0)
    return {name: writers.LAYOUTS[layout].write(draw, writers.example(n, n))[0] for name, n in PARTS.items()}


@pytest.mark.parametrize("names", CHOICES, ids=lambda names: names["valid"])
@pytest.mark.parametrize("layout", ["mmsa", "mult", "misa"])
def test_pickles_and_folders_of_them(tmp_path, names, layout):
    content = {names[split]: part for split, part in parts(layout).items()}
    (tmp_path / "data.pkl").write_bytes(pickle.dumps(content))
    assert sizes(read_recordings(tmp_path / "data.pkl")) == PARTS
    (tmp_path / "set").mkdir()
    for i, (name, part) in enumerate(content.items()):
        (tmp_path / "set" / f"{name}.{('pkl', 'pickle')[i % 2]}").write_bytes(pickle.dumps(part))
    assert sizes(read_recordings(tmp_path / "set")) == PARTS


@pytest.mark.parametrize("names", CHOICES, ids=lambda names: names["valid"])
def test_tables_dialogues_and_stores(tmp_path, names):
    rows = [(f"{split}{i}", names[split]) for split, n in PARTS.items() for i in range(n)]
    table = text_writers.csv_bytes(["id", "label", "split"], *([name, 1, split] for name, split in rows))
    assert sizes(read_recordings(text_writers.write(tmp_path / "table", {"index.csv": table}))) == PARTS
    said = {name: {"utterance": "so good", "sarcasm": True, "split": split} for name, split in rows}
    assert sizes(read_recordings(text_writers.write(tmp_path, {"said.json": json.dumps(said).encode()}))) == PARTS
    splits = {names[split]: Recordings(["a"] * n, {}, np.ones(n, np.float32)) for split, n in PARTS.items()}
    write_store(tmp_path / "store", splits)
    assert sizes(read_recordings(tmp_path / "store")) == PARTS


def test_other_splits_of_a_store_keep_their_names(tmp_path):
    write_store(tmp_path / "store", {name: Recordings(["a"], {}) for name in ("dev", "fold 1")})
    assert list(read_recordings(tmp_path / "store")) == ["valid", "fold 1"]


@pytest.mark.parametrize("name", NAMES["unlabeled"])
def test_an_unlabelled_split_of_a_pickle(tmp_path, name):
    unlabelled = {key: value for key, value in parts()["valid"].items() if "label" not in key}
    (tmp_path / "data.pkl").write_bytes(pickle.dumps({**parts(), name: unlabelled}))
    splits = read_recordings(tmp_path / "data.pkl")
    assert sizes(splits) == {**PARTS, "unlabeled": 2}
    assert splits["unlabeled"].labels is None
    alone = read_unlabeled(tmp_path / "data.pkl")
    assert (alone.labels, alone.text) == (None, splits["unlabeled"].text)


def test_our_own_name_counts_and_two_others_are_refused():
    assert keys_of_splits("a", ["dev", "valid", "val"]) == {"valid": "valid"}
    with pytest.raises(DataError, match=r"^a: expected one valid split, got dev, val$"):
        keys_of_splits("a", ["train", "dev", "val"])


def test_no_name_is_of_two_splits():
    names = [name for each in NAMES.values() for name in each]
    assert len(set(names)) == len(names)
    assert all(split_of(name) == split for split, each in NAMES.items() for name in each)
