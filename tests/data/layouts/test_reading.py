"""What a path holds tells its layout; what none of them is, is said in a line."""

import pickle

import numpy as np
import pytest

from disentangle.data import DataError, read_recordings, read_unlabeled
from disentangle.data.store import write_store
from tests.data.layouts.test_mmsa import SPLITS, field_split, file, flat, without, write  # noqa: F401


def pickles(folder, **splits):
    for name, split in splits.items():
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(split))
    return folder


def table(path, labels=("1.5", "")):
    path.write_text("id,text,label\n" + "".join(f"{i},so good,{label}\n" for i, label in enumerate(labels)))
    return path


def test_by_suffix_and_by_what_a_folder_holds(tmp_path):
    dialogues = tmp_path / "sarcasm.json"
    dialogues.write_text('{"1": {"utterance": "so good", "sarcasm": true}}')
    wanted = {"train": ["so good"]}
    assert {name: split.text for name, split in read_recordings(dialogues).items()} == wanted
    for path in table(tmp_path / "index.csv", ["2"]), tmp_path:
        assert {name: split.text for name, split in read_recordings(path).items()} == wanted
    # Pickles come before a table.
    pickles(tmp_path, train=field_split(2), dev=field_split(3), test=field_split(4))
    assert {name: len(split) for name, split in read_recordings(tmp_path).items()} == {
        "train": 2,
        "valid": 3,
        "test": 4,
    }


def test_a_store(tmp_path, file):  # noqa: F811
    wanted = read_recordings(write(file, dict.fromkeys(SPLITS, field_split())))
    write_store(tmp_path / "store", wanted)
    got = read_recordings(tmp_path / "store")
    assert {name: split.text for name, split in got.items()} == {name: split.text for name, split in wanted.items()}
    np.testing.assert_array_equal(got["valid"].sequences["audio"][2], wanted["valid"].sequences["audio"][2])
    (tmp_path / "store" / "store.json").write_text('{"version": 1, "splits": {}}')
    with pytest.raises(DataError, match=r"/store: no splits$"):
        read_recordings(tmp_path / "store")


def test_of_two_splits_for_validation_the_one_of_our_name_counts(file):  # noqa: F811
    for order in ("train", "test", "valid", "dev"), ("dev", "valid", "test", "train"):
        content = {name: field_split(5 if name == "valid" else 3) for name in order}
        splits = read_recordings(write(file, content))
        assert {name: len(split) for name, split in splits.items()} == {"train": 3, "valid": 5, "test": 3}


def test_unlabelled_recordings_of_a_table(tmp_path):
    assert len(read_unlabeled(table(tmp_path / "a.csv"))) == 1
    with pytest.raises(DataError, match=r"b.csv: expected recordings of a split unlabeled, got train$"):
        read_unlabeled(table(tmp_path / "b.csv", ["1"]))


def test_folders_that_hold_no_data_set(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(
        DataError, match=r": expected train.pkl, dev.pkl and test.pkl, .csd files, or a .csv table, got notes.txt$"
    ):
        read_recordings(tmp_path)
    pickles(tmp_path, train=field_split())
    assert list(read_recordings(tmp_path)) == ["train"]
    (tmp_path / "labels.csd").touch()
    with pytest.raises(
        DataError, match=r"labels.csd: expected the folder of a data set's .csd files, got one of them$"
    ):
        read_recordings(tmp_path / "labels.csd")


def test_no_layout(file):  # noqa: F811
    wanted = (
        r"data.pkl: train: expected raw_text, audio, vision, regression_labels \(MMSA\) or text, audio, vision, labels "
        r"\(MulT\) or a list of \(\(words, visual, acoustic\), label, segment\) \(MAG-BERT, MISA\), got "
    )
    for split, found in ({"frames": 1, 2: 3}, "frames, 2$"), (1.5, "float$"), (np.ones(3), r"float64 \(3,\)$"):
        with pytest.raises(DataError, match=wanted + found):
            read_recordings(write(file, dict.fromkeys(SPLITS, split)))


def test_splits_of_different_layouts(file):  # noqa: F811
    with pytest.raises(DataError, match=r"data.pkl: valid: expected a dictionary, got list$"):
        read_recordings(write(file, {"train": field_split(), "valid": [], "test": field_split()}))
    words = [((["a"], np.ones((1, 2)), np.ones((1, 4))), 1.0, "a")]
    with pytest.raises(DataError, match=r"data.pkl: test: expected a list of .*, got dict$"):
        read_recordings(write(file, {"train": words, "dev": words, "test": field_split()}))


def test_an_unlabelled_split_is_of_the_layout_of_train(file):  # noqa: F811
    words = [((["a"], np.ones((1, 2)), np.ones((1, 4))), 1.0, "a")]
    for read in read_recordings, read_unlabeled:
        with pytest.raises(DataError, match=r"data.pkl: unlabeled: expected a list of .*, got dict$"):
            read(write(file, {**dict.fromkeys(SPLITS, words), "unlabeled": flat()}))
    with pytest.raises(DataError, match=r"data.pkl: unlabeled: expected raw_text, .* or text, .*, got int$"):
        read_unlabeled(write(file, {"unlabeled": 1}))


def test_splits_of_different_features(file):  # noqa: F811
    content = {"train": field_split(), "valid": field_split(), "test": field_split(audio=np.ones((3, 2, 9)))}
    with pytest.raises(DataError, match=r"data.pkl: test: expected 4 audio features as in the training data, got 9$"):
        read_recordings(write(file, content))


def test_no_splits(file):  # noqa: F811
    with pytest.raises(
        DataError,
        match=r"data.pkl: expected train, .* and test, or a folder of the three, got a list",
    ):
        read_recordings(write(file, [1]))
    with pytest.raises(DataError, match=r"data.pkl: expected a dictionary, got int$"):
        read_recordings(write(file, 1))
    assert list(read_recordings(write(file, {"test": field_split(), "dev": field_split()}))) == ["valid", "test"]
    with pytest.raises(
        DataError,
        match=r"expected train, valid \(or val, validation, dev, \.\.\.\) and test, got 0, 1, .*, 11, \.\.\.$",
    ):
        read_recordings(write(file, dict.fromkeys(range(1000))))


def test_the_wrong_kind_of_file(file):  # noqa: F811
    with pytest.raises(
        DataError,
        match=r"data.pkl: expected a data set with train, .* and test, got an unlabelled file$",
    ):
        read_recordings(write(file, flat()))
    with pytest.raises(
        DataError,
        match=r"data.pkl: expected an unlabelled file, .* got a data set with splits \(train, valid, test\)$",
    ):
        read_unlabeled(write(file, dict.fromkeys(SPLITS, field_split())))
    for read in read_recordings, read_unlabeled:
        for name in "absent/data.pkl", "absent.csv", "absent.json":
            with pytest.raises(DataError, match=rf"{name}: no such file$"):
                read(file.parent / name)
