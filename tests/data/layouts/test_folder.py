import os
import pickle
import random
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from disentangle.data.layouts import read_recordings, read_unlabeled
from disentangle.data.layouts.folder import read, write_folder
from disentangle.data.layouts.index_rows import read_splits
from disentangle.data.recordings import LazyFrames, Recordings
from disentangle.data.store import open_store, write_store
from disentangle.errors import DataError, DataWarning
from tests.data.layouts.text_writers import csv_bytes, example, mutated, npy_bytes, write

POM = Path(os.environ.get("DISENTANGLE_POM") or Path(__file__).parents[4] / "shared" / "data" / "pom")
relaxed = settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
FRAMES = np.arange(6, dtype=np.float32).reshape(3, 2)
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8).map(str.strip)


def fill(folder, rows: list[list], **arrays: np.ndarray):
    """A folder of a table and of `modality_name=array`."""
    files = {f"{name.replace('_', '/', 1)}.npy": npy_bytes(array) for name, array in arrays.items()}
    return write(folder, {"index.csv": csv_bytes(*rows), **files})


def equal(a: Recordings, b: Recordings) -> bool:
    assert (a.text, a.ids) == (b.text, b.ids)
    assert sorted(a.sequences) == sorted(b.sequences)
    for name in a.sequences:
        for x, y in zip(a.sequences[name], b.sequences[name], strict=True):
            np.testing.assert_array_equal(x, y)
    np.testing.assert_equal(a.labels, b.labels)
    np.testing.assert_equal(a.more_labels, b.more_labels)
    return True


# -- round trips -------------------------------------------------------------------------------------------------------


@st.composite
def recordings(draw, ids: st.SearchStrategy[str], labeled: bool):
    n = draw(st.integers(1, 4))
    elements = st.sampled_from([0.0, -1.5, np.nan, np.inf, 3e38])
    sequences = {
        name: [draw(hnp.arrays(np.float32, (draw(st.integers(0, 3)), 2), elements=elements)) for _ in range(n)]
        for name in ("audio", "my vision")
    }
    for arrays in sequences.values():
        arrays[0] = np.ones((2, 2), np.float32)  # a modality that all lack would be left out
    # Not made here: the check of types looks at random items, and a strategy must not.
    return {
        "text": draw(st.lists(TEXTS, min_size=n, max_size=n)),
        "sequences": sequences,
        "labels": draw(hnp.arrays(np.float32, n, elements=FLOATS)) if labeled else None,
        "ids": draw(st.lists(ids, min_size=n, max_size=n)),
        "more_labels": {
            "T": np.array([1, *draw(hnp.arrays(np.float32, n - 1, elements=FLOATS | st.just(np.nan)))], np.float32)
        },
    }


@relaxed
@given(data=st.data())
def test_what_is_written_is_read(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("folder") / "new"
    ids = data.draw(st.sampled_from([TEXTS, st.sampled_from(["a", "A", "../b", "video[3]"])]))
    names = data.draw(st.lists(st.sampled_from(["train", "valid", "test", "unlabeled"]), min_size=1, unique=True))
    splits = {name: Recordings(**data.draw(recordings(ids, data.draw(st.booleans())))) for name in names}
    write_folder(folder, splits)
    got = read(folder)
    assert list(got) == [name for name in ("train", "valid", "test", "unlabeled") if name in splits]
    assert all(equal(got[name], splits[name]) for name in splits)


def test_files_are_called_by_plain_ids_and_numbered_otherwise(tmp_path):
    def names(*ids: str) -> list[str]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        split = Recordings(text=[""] * len(ids), sequences={"audio": [FRAMES] * len(ids)}, ids=list(ids))
        write_folder(folder, {"test": split})
        assert read(folder)["test"].ids == list(ids)
        return sorted(os.listdir(folder / "audio"))

    assert names("video$_$1", "x[0]") == ["video$_$1.npy", "x[0].npy"]
    for ids in (("a", "a"), ("a", "A"), ("a", "../a"), ("a", ""), ("a", ".b"), ("a", "é"), ("a", "b" * 200)):
        assert names(*ids) == ["000000.npy", "000001.npy"]


def test_writing_reads_one_recording_at_a_time(tmp_path):
    alive = []

    class Counted(np.ndarray):
        def __del__(self):
            alive.remove(id(self))

    def make(key: int) -> np.ndarray:
        array = FRAMES.view(Counted)
        alive.append(id(array))
        assert len(alive) <= 3  # one to write, one before it, one that a check of types looks at
        return array

    lazy = LazyFrames(make, range(50), [3] * 50, 2)
    write_folder(tmp_path / "new", {"train": Recordings(text=[""] * 50, sequences={"audio": lazy})})
    assert len(read(tmp_path / "new")["train"]) == 50


def test_what_cannot_be_written(tmp_path):
    split = Recordings(text=["a"], sequences={"audio": [FRAMES]})
    with pytest.raises(ValueError, match=r"expected recordings of train, valid, test, unlabeled, got dev$"):
        write_folder(tmp_path, {"dev": split})
    with pytest.raises(ValueError, match=r"expected recordings of train, valid, test, unlabeled, got nothing$"):
        write_folder(tmp_path, {})
    for name in ("text", "../audio", ""):
        with pytest.raises(
            ValueError, match=r"expected modalities with names that folders can have, other than text, got"
        ):
            write_folder(tmp_path, {"train": Recordings(text=["a"], sequences={name: [FRAMES]})})
    with pytest.raises(ValueError, match=r"expected text that UTF-8 can write, got \\ud800$"):
        write_folder(tmp_path, {"train": Recordings(text=["\ud800"], sequences={})})
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "other").write_text("")
    with pytest.raises(DataError, match=r": expected a new folder, got one that is not empty$"):
        write_folder(tmp_path, {"train": split})
    with pytest.raises(DataError, match=r"other: cannot be written: Not a directory$"):
        write_folder(tmp_path / "other", {"train": split})


@pytest.mark.skipif(not POM.is_dir(), reason=f"no recordings in {POM} (DISENTANGLE_POM)")
def test_real_recordings_are_the_same_afterwards(tmp_path):
    splits = read_recordings(POM / "pom_unaligned.pkl")
    splits["unlabeled"] = read_unlabeled(POM / "pom_unlabeled.pkl").select(range(100))
    write_folder(tmp_path / "pom", splits)
    got = read_recordings(tmp_path / "pom")
    assert got.keys() == splits.keys()
    assert all(equal(got[name], splits[name]) for name in splits)


# -- reading -----------------------------------------------------------------------------------------------------------


def test_a_table_alone(tmp_path):
    write(tmp_path, {"my table.csv": b"\xef\xbb\xbfid, text ,other\na, so good ,1\nb,,2\n"})
    got = read(tmp_path)
    assert list(got) == ["unlabeled"]
    assert (got["unlabeled"].ids, got["unlabeled"].text) == (["a", "b"], ["so good", ""])
    assert (got["unlabeled"].sequences, got["unlabeled"].more_labels) == ({}, {})
    assert read(tmp_path / "my table.csv").keys() == got.keys()


def test_blank_splits_and_labels(tmp_path):
    header = ["id", "label", "label_T", "split"]
    rows = [["a", 1, 2, ""], ["b", "", "", ""], ["c", "", "", "test"], ["d", "-1e-3", "", "train"], ["e", 0, "", "dev"]]
    got = read(fill(tmp_path, [header, *rows]))
    assert {name: split.ids for name, split in got.items()} == {
        "train": ["a", "d"], "valid": ["e"], "test": ["c"], "unlabeled": ["b"]
    }  # fmt: skip
    assert got["train"].labels.tolist() == [1, np.float32(-0.001)]
    assert got["test"].labels is None
    np.testing.assert_equal(got["train"].more_labels, {"T": np.array([2, np.nan], np.float32)})
    assert got["valid"].more_labels == {}


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f2", "<f8", "<i2", "|u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_frames_of_any_numbers(tmp_path, dtype, order):
    array = np.array([[0, 0], [1, 2], [0, 0]], dtype, order=order)
    got = read(
        fill(tmp_path, [["id"], ["a"], ["b"], ["c"]], audio_a=array, audio_c=np.zeros((0,), dtype), audio_z=array)
    )
    frames = got["unlabeled"].sequences["audio"]
    assert frames.lengths == [3, 0, 0]
    assert (frames[0].dtype, frames[0].tolist()) == (np.float32, [[0, 0], [1, 2], [0, 0]])
    assert frames[0].flags.owndata
    assert frames[1].shape == (0, 2)


def test_frames_stay_in_their_files(tmp_path):
    folder = fill(tmp_path, [["id"], ["a"]], audio_a=FRAMES)
    frames = pickle.loads(pickle.dumps(read(folder)["unlabeled"].sequences["audio"]))
    (folder / "audio" / "a.npy").write_bytes(npy_bytes(FRAMES + 1))
    np.testing.assert_array_equal(frames[0], FRAMES + 1)
    (folder / "audio" / "a.npy").write_bytes(npy_bytes(np.ones((3, 5))))
    with pytest.raises(DataError, match=r"audio/a.npy: expected frames of size 2, got 5$"):
        frames[0]
    (folder / "audio" / "a.npy").unlink()
    with pytest.raises(DataError, match=r"audio/a.npy: no such file$"):
        frames[0]


def test_too_large_numbers_become_infinite(tmp_path):
    got = read(fill(tmp_path, [["id"], ["a"]], audio_a=np.array([[1e300, np.nan]])))
    np.testing.assert_array_equal(got["unlabeled"].sequences["audio"][0], [[np.inf, np.nan]])


@pytest.mark.parametrize(
    "table",
    [
        b'"id","text","label"\n"a","so good","2.5"\n',
        b'\xef\xbb\xbf"id", "text", "label"\r\n"a", "so good", "2.5"\r\n',
        b"\xef\xbb\xbfid;text;label\r\na;so good;2,5\r\n",
        "id\ttext\tlabel\r\na\tso good\t2.5\r\n".encode("utf-16"),
    ],
)
def test_tables_as_spreadsheets_write_them(tmp_path, table):
    (tmp_path / "index.csv").write_bytes(table)
    (tmp_path / "splits.csv").write_bytes(b'"id"; "split"\na;test\n')
    got = read(tmp_path)["train"]
    assert (got.ids, got.text, got.labels.tolist()) == (["a"], ["so good"], [2.5])
    assert read_splits(tmp_path) == {"a": "test"}


@pytest.mark.filterwarnings("error::disentangle.errors.DataWarning")
def test_accents_of_file_names_may_be_written_either_way(tmp_path):
    composed, apart = "caf\u00e9", "cafe\u0301"
    for number, (name, file) in enumerate([(composed, apart), (apart, composed), (apart, apart)]):
        table = csv_bytes(["id"], [name], ["b"])
        arrays = {f"audio/{file}.npy": npy_bytes(FRAMES), "audio/b.npy": npy_bytes(FRAMES[:1])}
        got = read(write(tmp_path / str(number), {"index.csv": table, **arrays}))["unlabeled"]
        assert got.sequences["audio"].lengths == [3, 1]
        np.testing.assert_array_equal(got.sequences["audio"][0], FRAMES)
    write(tmp_path / "both", {"index.csv": csv_bytes(["id"], [composed], [apart])})
    write(tmp_path / "both", {f"audio/{name}.npy": npy_bytes(FRAMES[:n]) for n, name in ((1, composed), (2, apart))})
    if len(os.listdir(tmp_path / "both" / "audio")) == 2:  # some file systems take them for one
        assert read(tmp_path / "both")["unlabeled"].sequences["audio"].lengths == [1, 2]


def test_rows_of_blank_cells_are_passed_over(tmp_path):
    table = b"id,text,label,split\r\na,so good,1,train\r\n,,,\r\nb,bad,2,train\r\n ,,,\r\n,,,,,\r\n"
    got = read(write(tmp_path, {"index.csv": table, "splits.csv": b"id,split\na,test\n,\n"}))
    assert {name: split.ids for name, split in got.items()} == {"train": ["a", "b"]}
    assert read_splits(tmp_path) == {"a": "test"}


def test_columns_without_a_name_are_named_by_their_place(tmp_path):
    unnamed = "index.csv: columns that are not read: column {} without a name$"
    for table, place in (b",id,text\n0,a,b\n", "1"), (b"id,text,\na,b,\n", "3"):
        with pytest.warns(DataWarning, match=unnamed.format(place)):
            assert read(write(tmp_path, {"index.csv": table}))["unlabeled"].text == ["b"]
    with pytest.warns(DataWarning, match=unnamed.format("3 without a name, column 4")):
        assert read(write(tmp_path, {"index.csv": b"id,text,,\na,b,,\n"}))["unlabeled"].text == ["b"]


def test_columns_that_are_not_read_are_named(tmp_path):
    with pytest.warns(DataWarning, match=r"index.csv: columns that are not read: speaker, year$"):
        got = read(write(tmp_path, {"index.csv": b"id,text,speaker,year\na,b,anna,1999\n"}))
    assert [each.text for each in got.values()] == [["b"]]


# -- folders that cannot be used ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"", "index.csv: expected a column id, got nothing$"),
        (b"id|text\na|b\n", r"index.csv: expected a column id, got id\|text$"),
        (b"id\n", "index.csv: no recordings$"),
        (b"id,text,text\na,b,c\n", "expected columns of different names, got id, text, text$"),
        (b"id,text\na\n", "row 1: expected 2 cells, got 1$"),
        (b"id\na\nb\na\n", "index.csv: id a comes twice$"),
        (b"id,text\na,b\n,\n,b\n", "index.csv: row 2: expected an id, got a blank cell$"),
        (b"id,label\na,good\n", "row 1: label: expected a number, got good$"),
        (b'id,"label_a\nb"\na,x\n', r"row 1: label_a\\nb: expected a number, got x$"),
        (b"id,label\na,1_0\n", "row 1: label: expected a number, got 1_0$"),
        (b"id,label\na,nan\n", "row 1: label: expected a number, or blank where there is none, got nan$"),
        (b"id,label\na,1\nb,N/A\n", "row 2: label: expected a number, or blank where there is none, got N/A$"),
        (
            b"id,label_T\na,1600000001\nb,1600000002\nc,1600000900\n",
            "index.csv: unlabeled: T: 3 different labels become 2 in float32: subtract an offset, or divide by a unit$",
        ),
        (b"id,label\na,1e39\n", "row 1: label: expected a finite number, got 1e39$"),
        (b'id,label\na,"-0,67"\nb,"0,5"\n', "index.csv: label: expected numbers with a decimal point, got -0,67$"),
        (b"id,Text\na,b\n", "expected columns id, file, text, label, split, or label_..., got Text$"),
        (b"id,transcript\na,b\n", "expected columns id, file, text, label, split, or label_..., got transcript$"),
        (b"id,split\na,trian\n", "row 1: split: expected train, valid, test or unlabeled, got trian$"),
        (b"id,label,split\na,1,train\nb,,train\n", "train: expected labels of all 2 recordings or of none, got 1; "),
        (
            b"id,label,split\na,1,unlabeled\nb,,unlabeled\n",
            "unlabeled: .* got 1; leave these blank, or let the recordings",
        ),
        (b"id,text\na,\xff\n", "index.csv: expected UTF-8, got byte 0xff at 10; save it as UTF-8$"),
        (b'id,text\na,"b\n', "index.csv: line 2: not CSV: unexpected end of data$"),
        (b"id,text\na," + b"b" * 200_000, "index.csv: line 2: not CSV: field larger than field limit"),
    ],
)
def test_a_table_that_cannot_be_used(tmp_path, table, message):
    with pytest.raises(DataError, match=message) as error:
        read(write(tmp_path, {"index.csv": table}))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            npy_bytes(np.ones(3)),
            r"expected numbers \(frames, features\), got float64 \(3,\); .* x\[None\] .* x\[:, None\] makes frames$",
        ),
        (npy_bytes(np.ones((1, 2, 3))), r"expected numbers \(frames, features\), got float64 \(1, 2, 3\)$"),
        (npy_bytes(np.array([["a"]])), r"expected numbers \(frames, features\), got <U1 \(1, 1\)$"),
        (npy_bytes(np.array([[None]])), "not an array of NumPy: .*object"),
        (npy_bytes(np.ones((3, 0))), r"expected frames of one size, got sizes \[0\]$"),
        (npy_bytes(np.zeros((0, 3))), r"expected frames of one size, got sizes \[\]$"),
        (npy_bytes(FRAMES)[:-1], "not an array of NumPy: "),
        (npy_bytes(FRAMES).replace(b"(3, 2)", b"(9**9,)"), "not an array of NumPy: "),
        (npy_bytes(FRAMES).replace(b"(3, 2), ", b"(3, 10**12), "), "not an array of NumPy: "),
        (
            npy_bytes(FRAMES).replace(b"(3, 2), }     ", b"(3, 99999999),}"),
            "not an array of NumPy: mmap length is greater",
        ),
        (b"PICKLE" + npy_bytes(FRAMES)[6:], "not an array of NumPy: the magic string is not correct"),
        (
            npy_bytes(FRAMES, (2, 0))[:8] + b"\xff\xff\xff\x7f",
            "not an array of NumPy: a head of 2,147,483,647 bytes in a",
        ),
        (b"", "not an array of NumPy: "),
    ],
)
def test_an_array_that_cannot_be_used(tmp_path, data, message):
    with pytest.raises(DataError, match=f"audio(/a.npy)?: {message}") as error:
        read(write(tmp_path, {"index.csv": b"id\na\n", "audio/a.npy": data}))
    assert "\n" not in str(error.value)


def test_no_path_leaves_the_folder(tmp_path):
    inside = tmp_path / "inside"
    write(tmp_path, {"secret.npy": npy_bytes(FRAMES), "inside/audio/a.npy": npy_bytes(FRAMES)})
    plain = "inside/audio: expected ids that are plain names of files, got "
    for name in ("../../secret", "/etc/passwd", "a/b", "..", r"..\secret", "b\nc"):
        write(inside, {"index.csv": csv_bytes(["id"], ["a"], [name])})
        with pytest.raises(DataError, match=plain + re.escape(ascii(name)[1:-1]) + "$"):
            read(inside)
    write(inside, {"index.csv": csv_bytes(["id", "file"], ["a", "../a"])})
    with pytest.raises(DataError, match=plain + r"\.\./a$"):
        read(inside)
    write(inside, {"index.csv": csv_bytes(["id"], ["a"], ["b"])})
    (inside / "audio" / "b.npy").symlink_to(tmp_path / "secret.npy")
    with pytest.raises(DataError, match=rf"audio/b.npy: a link that leads out of {re.escape(str(inside))}$"):
        read(inside)
    (inside / "audio" / "b.npy").unlink()
    (inside / "audio" / "b.npy").symlink_to("a.npy")
    assert read(inside)["unlabeled"].sequences["audio"].lengths == [3, 3]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "secret.npy").rename(tmp_path / "elsewhere" / "a.npy")
    (inside / "vision").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=rf"vision: a link that leads out of {re.escape(str(inside))}$"):
        read(inside)


def test_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(DataError, match=r"expected index.csv, or one .csv, got nothing$"):
        read(tmp_path)
    with pytest.raises(DataError, match=r"absent: no such file$"):
        read(tmp_path / "absent")
    write(tmp_path, {"a.csv": b"id\na\n", "b.csv": b""})
    with pytest.raises(DataError, match=r"expected index.csv, or one .csv, got a.csv, b.csv$"):
        read(tmp_path)
    (tmp_path / "b.csv").unlink()
    write(tmp_path, {"text/a.npy": npy_bytes(FRAMES)})
    with pytest.raises(
        DataError, match=r"text: expected the name of these features, glove for example, got text, which"
    ):
        read(tmp_path)
    (tmp_path / "text").rename(tmp_path / "glove")
    write(tmp_path, {"a.csv": b"id\nb\n"})
    with pytest.raises(DataError, match=r"glove: none of its 1 files is b.npy, or that of another recording$"):
        read(tmp_path)
    write(tmp_path, {"a.csv": b"id\na\nb\n", "glove/b.npy": npy_bytes(np.ones((2, 5)))})
    with pytest.raises(DataError, match=r"glove: expected frames of one size, got sizes \[2, 5\]$"):
        read(tmp_path)
    (tmp_path / "glove" / "b.npy").unlink()
    os.mkfifo(tmp_path / "glove" / "b.npy")
    with pytest.raises(DataError, match=r"glove/b.npy: not a regular file$"):
        read(tmp_path)
    (tmp_path / "a.csv").unlink()
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"a.csv: not a regular file$"):
        read(tmp_path)


@pytest.mark.filterwarnings("ignore")  # of Python's parser, over the heads of damaged arrays
def test_damaged_files_are_refused_or_read(tmp_path):
    files = example("folder")
    outcomes = []
    for number in range(200):
        path = write(tmp_path, mutated(random.Random(f"folder {number}"), files))
        try:
            for split in read(path).values():
                outcomes.append([array.shape for sequence in split.sequences.values() for array in sequence])
        except DataError as error:
            outcomes.append(str(error))
    refused = [each for each in outcomes if isinstance(each, str)]
    assert 0 < len(refused) < len(outcomes)
    assert not any("\n" in each for each in refused)


def test_labels_may_be_the_names_of_classes(tmp_path):
    rows = [["id", "text", "label", "label_speaker", "split"]]
    rows += [[f"{i}", "so", label, who, split] for i, (label, who, split) in enumerate(NAMED)]
    splits = read(fill(tmp_path / "set", rows))
    assert splits["train"].class_names == {"label": ["anger", "joy", "neutral"], "speaker": ["Ann", "Bo"]}
    assert splits["train"].labels.tolist() == [1, 0, 2]
    assert splits["valid"].labels.tolist() == [0]
    np.testing.assert_equal(splits["train"].more_labels["speaker"], np.array([0, np.nan, 1], np.float32))
    by_speaker = splits["train"].with_labels("speaker")
    assert by_speaker.class_names["label"] == ["Ann", "Bo"]
    write_folder(tmp_path / "again", splits)
    again = read(tmp_path / "again")
    assert again["valid"].class_names == splits["valid"].class_names
    equal(again["train"], splits["train"])
    write_store(tmp_path / "store", splits)
    assert open_store(tmp_path / "store")["train"].class_names == splits["train"].class_names


NAMED = [("joy", "Ann", "train"), ("anger", "", "train"), ("neutral", "Bo", "train"), ("anger", "Ann", "valid")]


def test_names_of_classes_are_of_one_line_and_those_that_differ_in_case_are_said(tmp_path):
    rows = csv_bytes(["id", "label"], ["a", "so\n joy"], ["b", "Joie"], ["c", "joie"], ["d", "so joy"])
    with pytest.warns(
        DataWarning, match=r"index.csv: label: classes that differ only in upper and lower case: Joie, joie$"
    ):
        train = read(write(tmp_path, {"index.csv": rows}))["train"]
    assert train.class_names == {"label": ["Joie", "joie", "so joy"]}
    assert train.labels.tolist() == [2.0, 0.0, 1.0, 2.0]


def test_a_name_among_numbers_is_refused(tmp_path):
    rows = [["id", "text", "label"], ["a", "so", "1"], ["b", "so", "joy"]]
    with pytest.raises(DataError, match="row 2: label: expected a number, got joy"):
        read(fill(tmp_path / "set", rows))


def chosen_before():
    frames = {"audio": [np.ones((2, 3), np.float32)] * 3}
    more = {"mood": np.array([1.0, 0.0, 1.0], np.float32)}
    names = {"label": ["bad", "good"], "mood": ["joy", "rage"]}
    labels = np.array([0.0, 1.0, 0.0], np.float32)
    return Recordings(list("xyz"), frames, labels, list("abc"), more_labels=more, class_names=names)


def test_labels_that_were_chosen_are_the_ones_that_are_written(tmp_path):
    write_folder(tmp_path / "set", {"train": chosen_before().with_labels("mood")})
    train = read(tmp_path / "set")["train"]
    assert train.class_names["label"] == ["joy", "rage"]
    assert train.labels.tolist() == train.more_labels["mood"].tolist() == [1.0, 0.0, 1.0]
    assert train.more_labels["label"].tolist() == [0.0, 1.0, 0.0]
    store = tmp_path / "store"
    write_store(store, {"train": chosen_before().with_labels("label", "mood")})
    assert open_store(store)["train"].labels.tolist() == [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.with_labels("label", "mood"), "train: expected one label per recording, got 2: write them before"),
        (
            lambda r: replace(r, labels=np.array([0, np.nan, 1])),
            "train: expected labels of all 3 recordings or of none, got 2",
        ),
        (
            lambda r: replace(r, text=["x", "y", "z" * 200_000]),
            "expected text of at most 131,072 characters, as CSV is read",
        ),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        write_folder(tmp_path / "set", {"train": change(chosen_before())})
    assert not (tmp_path / "set").exists()


def test_a_decimal_comma_is_one_in_numbers_alone(tmp_path):
    (tmp_path / "index.csv").write_text("id;text;label;split\n1,2;3,5;2,5;train\n")
    train = read(tmp_path)["train"]
    assert (train.ids, train.text, train.labels.tolist()) == (["1,2"], ["3,5"], [2.5])
