import functools
import json
import operator
import os
import pickle
import random
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from disentangle.data.layouts.csd import read
from disentangle.data.layouts.hdf5 import opened
from disentangle.errors import DataError
from tests.data.layouts.text_writers import csd_bytes, example, mutated, write

h5py = pytest.importorskip("h5py")

relaxed = settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
VALUES = st.sampled_from([0.0, -1.5, 2.25, 1e30, np.nan, np.inf, -np.inf])
STORAGE = st.sampled_from([{}, {"compression": "gzip"}, {"compression": "gzip", "shuffle": True}, {"chunks": (1, 1)}])


def seconds(*times: float) -> np.ndarray:
    """Intervals from each time to the next."""
    return np.stack([times[:-1], times[1:]], 1).astype(np.float64)


def frames(count: int, size: int = 2, start: float = 0.0) -> np.ndarray:
    return start + np.arange(count * size, dtype=np.float32).reshape(count, size)


def labels(*values: float) -> np.ndarray:
    return np.array(values, np.float64)[:, None]


@pytest.fixture
def folder(tmp_path):
    """A folder with labels: recordings of video `a` in [0, 2) and [2, 4), and of `b` in [0, 4)."""
    rows = {"a": (labels(1, -1), seconds(0, 2, 4)), "b": (labels(2), seconds(0, 4))}
    (tmp_path / "MY_Opinion_Labels.csd").write_bytes(csd_bytes("Opinion Segment Labels", rows))
    return tmp_path


def add(folder, name: str, entries: dict, root: str | None = None, **storage) -> None:
    (folder / f"{name}.csd").write_bytes(csd_bytes(root or name, entries, **storage))


# -- reading a set -----------------------------------------------------------------------------------------------------


@st.composite
def sets(draw):
    """Videos with contiguous recordings, and frames at any times, in any order."""
    videos = {}
    for name in draw(st.lists(st.sampled_from(["a", "b$1", "é"]), min_size=1, unique=True)):
        cuts = np.cumsum(draw(st.lists(st.integers(1, 3), min_size=2, max_size=4))).astype(float)
        count = draw(st.integers(0, 8))
        begin = draw(hnp.arrays(np.float64, count, elements=st.integers(0, 12).map(lambda n: n / 2)))
        length = draw(hnp.arrays(np.float64, count, elements=st.integers(0, 4).map(lambda n: n / 2)))
        dtype = draw(st.sampled_from(["<f4", ">f8", "<f8"]))
        features = draw(hnp.arrays(np.float64, (count, 3), elements=VALUES)).astype(dtype)
        videos[name] = (seconds(*cuts), features, np.stack([begin, begin + length], 1))
    return videos


@relaxed
@given(videos=sets(), storage=STORAGE)
def test_frames_and_words_whose_middle_is_within(tmp_path_factory, videos, storage):
    folder = tmp_path_factory.mktemp("csd")
    add(folder, "labels", {name: (labels(*range(len(cuts))), cuts) for name, (cuts, _, _) in videos.items()})
    # h5py cannot compress arrays without elements.
    filled = {name: (values, times) for name, (_, values, times) in videos.items() if len(values)}
    if filled:
        add(folder, "COVAREP", filled, **storage)
        add(
            folder,
            "words",
            {name: (np.array([[b"w%d" % i] for i in range(len(v))]), t) for name, (v, t) in filled.items()},
        )
    got = read(folder)["train"]
    texts, sequences, ids = [], [], []
    for name in sorted(videos, key=str.encode):
        cuts, values, times = videos[name]
        for k, (start, end) in enumerate(cuts):
            middles = [(times[i].sum() / 2, i) for i in range(len(times))]
            inside = [i for middle, i in sorted(middles) if start <= middle < end]
            ids.append(f"{name}[{k}]")
            texts.append(" ".join(f"w{i}" for i in inside))
            sequences.append(np.array([values[i] for i in inside]).reshape(-1, 3))
    assert (got.ids, got.text) == (ids, texts)
    assert got.labels.tolist() == [k for name in videos for k in range(len(videos[name][0]))] or len(videos) > 1
    if filled:
        for index, wanted in enumerate(sequences):
            array = got.sequences["audio"][index]
            assert array.dtype == np.float32
            np.testing.assert_array_equal(array, wanted.astype(np.float32))
        assert got.sequences["audio"].lengths == [len(each) for each in sequences]
        assert got.nonfinite["audio"] == sum(int((~np.isfinite(each.astype(np.float32))).sum()) for each in sequences)


def test_frames_keep_zeros_and_missing_videos_are_missing(folder):
    add(folder, "CMU_MOSI_Visual_Facet_42", {"a": (np.zeros((4, 5)), seconds(0, 1, 2, 3, 4))}, root="FACET_4.2")
    got = read(folder)["train"]
    assert got.sequences["vision"].lengths == [2, 2, 0]
    assert got.missing == {"text": 3, "vision": 1}
    assert got.sequences["vision"][2].shape == (0, 5)


def test_transcripts_are_without_pauses(folder):
    words = np.array([[b"sp"], [b"so"], [b"sp"], ["né".encode()[:2]]], "S32")
    add(folder, "CMU_MOSI_TimestampedWords", {"b": (words, seconds(0, 1, 2, 3, 4))}, root="words")
    add(folder, "phones", {"b": (words, seconds(0, 1, 2, 3, 4))})
    got = read(folder)["train"]
    assert got.text == ["", "", "so n\N{REPLACEMENT CHARACTER}"]
    assert got.sequences == {}


def test_chinese_words_are_joined_without_blanks(folder):
    words = np.array([[each.encode()] for each in ("sp", "很", "好看", "OK")], "S32")
    add(folder, "CMU_MOSI_TimestampedWords", {"b": (words, seconds(0, 1, 2, 3, 4))}, root="words")
    assert read(folder)["train"].text == ["", "", "很好看 OK"]


def test_files_are_told_by_their_names_or_their_roots(folder):
    entries = {"a": (frames(4), seconds(0, 1, 2, 3, 4))}
    add(folder, "x", entries, root="OpenSMILE")
    add(folder, "CMU_MOSEI_COVAREP", entries, root="COVAREP")
    add(folder, "y", entries, root="OpenFace_2")
    add(folder, "CMU_MOSI_TimestampedWordVectors", entries, root="vectors")
    add(folder, "z", entries, root="my own 1.0")
    assert sorted(read(folder)["train"].sequences) == ["COVAREP", "OpenSMILE", "glove", "my_own_1_0", "vision"]


def test_files_that_were_aligned_already(tmp_path):
    add(tmp_path, "labels", {f"a[{k}]": (labels(k), seconds(k, k + 1)) for k in (0, 2)})
    add(tmp_path, "COVAREP", {"a[2]": (frames(3), seconds(7, 8, 9, 10))})
    got = read(tmp_path)["train"]
    assert (got.ids, got.labels.tolist(), got.sequences["audio"].lengths) == (["a[0]", "a[2]"], [0, 2], [0, 3])
    np.testing.assert_array_equal(got.sequences["audio"][1], frames(3))


def test_further_labels(tmp_path):
    add(tmp_path, "All Labels", {"a": (np.array([[2, 1, 0, 0, 0, 0, np.nan]]), seconds(0, 1))})
    more = read(tmp_path)["train"].more_labels
    assert {name: values.tolist() for name, values in more.items()} == {
        "happy": [1], "sad": [0], "anger": [0], "surprise": [0], "disgust": [0]
    }  # fmt: skip
    add(tmp_path, "All Labels", {"a": (np.array([[2.0, 1.0]]), seconds(0, 1))})
    assert read(tmp_path)["train"].more_labels == {"1": np.ones(1)}


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_splits_by_recording_or_video(folder, kind):
    splits = {"a": "dev", "a[1]": "test", "elsewhere": "train"}
    text = (
        json.dumps(splits)
        if kind == "json"
        else "\ufeffid,split\r\n" + "".join(f"{k},{v}\r\n" for k, v in splits.items())
    )
    (folder / f"splits.{kind}").write_text(text, newline="")
    assert {name: split.ids for name, split in read(folder).items()} == {"valid": ["a[0]"], "test": ["a[1]"]}


def test_frames_can_be_sent_to_another_process(folder):
    add(folder, "COVAREP", {"a": (frames(4), seconds(0, 1, 2, 3, 4))})
    sequence = read(folder)["train"].sequences["audio"]
    np.testing.assert_array_equal(sequence[0], frames(2))
    size = len(pickle.dumps(sequence))
    sequence.read.last = ("a", np.zeros((10**5, 2)))
    assert len(pickle.dumps(sequence)) == size
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(sequence))[1], frames(2, start=4))


def test_entries_of_one_file(tmp_path):
    add(tmp_path, "COVAREP", {"a": (frames(2), seconds(0, 1, 2)), "b": (frames(1), seconds(0, 1))})
    with opened(tmp_path / "COVAREP.csd") as entries:
        assert (list(entries.ids), entries.root, entries.is_text("a")) == (["a", "b"], "COVAREP", False)
        assert (entries.shape("a"), entries.shape("b")) == ((2, 2), (1, 2))
        np.testing.assert_array_equal(entries.features("a"), frames(2))
        np.testing.assert_array_equal(entries.intervals("a"), [[0, 1], [1, 2]])
        with pytest.raises(DataError, match=r"no data in /COVAREP/data$"):
            entries.features("data")


def test_without_h5py(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"expected h5py, which reads .csd files: pip install h5py$"):
        read(folder)


# -- files that are no such data ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"a": (frames(2), seconds(0, 1))}, r"a/intervals: expected numbers \(2, 2\), got float64 \(1, 2\)$"),
        ({"a": (frames(1), np.array([[0, np.nan]]))}, "a/intervals: expected finite numbers, got NaN or infinity$"),
        ({"a": (frames(1), np.array([[b"0", b"1"]]))}, r"a/intervals: expected numbers \(1, 2\), got \|S1 \(1, 2\)$"),
        ({"a": (np.zeros(3), seconds(0, 1, 2, 3))}, r"a/features: expected \(frames, features\), got \(3,\)$"),
        ({"a": (np.ones((1, 2), complex), seconds(0, 1))}, "a/features: expected numbers, or text .*, got complex128$"),
        ({"a": (np.ones((1, 2), bool), seconds(0, 1))}, "expected numbers, or text of fixed length, got bool"),
        (
            {"a": (frames(1), seconds(0, 1)), "b": (frames(1, 3), seconds(0, 1))},
            r"COVAREP.csd: expected frames of one size, got sizes \[2, 3\]$",
        ),
        (
            {"a": (frames(1), seconds(0, 1)), "b": (np.array([[b"x", b"y"]]), seconds(0, 1))},
            "COVAREP.csd: expected numbers in all entries, got text in b$",
        ),
        ({"c": (frames(1), seconds(0, 1))}, "COVAREP.csd: has none of the recordings of the labels$"),
        ({}, "COVAREP.csd: no 'data' in /COVAREP$|no data in /COVAREP$"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used(folder, entries, message):
    add(folder, "COVAREP", entries)
    with pytest.raises(DataError, match=message) as error:
        read(folder)
    assert "\n" not in str(error.value)


def test_folders_that_cannot_be_used(folder, tmp_path_factory):
    with pytest.raises(DataError, match=r"expected a .csd of labels, got nothing$"):
        read(tmp_path_factory.mktemp("empty"))
    (folder / "splits.json").write_text('{"c": "train"}')
    with pytest.raises(DataError, match=r"the splits name none of the recordings$"):
        read(folder)
    (folder / "splits.csv").write_text("id,split\n")
    with pytest.raises(DataError, match=r"expected splits.json or splits.csv, got both$"):
        read(folder)
    (folder / "splits.json").unlink()
    add(folder, "more_labels", {"a": (labels(1), seconds(0, 1))})
    with pytest.raises(DataError, match=r"expected one .csd of labels, got MY_Opinion_Labels.csd, more_labels.csd$"):
        read(folder)
    (folder / "more_labels.csd").unlink()
    add(folder, "MY_Opinion_Labels", {"a": (labels(np.nan), seconds(0, 1))})
    with pytest.raises(DataError, match=r"MY_Opinion_Labels.csd: a: 1 of 1 labels are NaN or infinite$"):
        read(folder)
    add(folder, "MY_Opinion_Labels", {"a": (labels(1), seconds(0, 1)), "b": (np.ones((1, 2)), seconds(0, 1))})
    with pytest.raises(DataError, match=r"expected labels of one size, got sizes \[1, 2\]$"):
        read(folder)


def entry(path, key):
    """The features and the intervals of one entry of a file."""
    with opened(path) as entries:
        return entries.features(key), entries.intervals(key)


def test_no_hdf5(tmp_path):
    path = tmp_path / "a.csd"
    with pytest.raises(DataError, match=r"a.csd: no such file$"):
        entry(path, "a")
    path.write_bytes(b"hello")
    with pytest.raises(DataError, match=r"a.csd: not a computational sequence, or a damaged one: .*signature"):
        entry(path, "a")
    with h5py.File(path, "w") as file:
        file["a"], file["b"] = 1, 2
    with pytest.raises(DataError, match=r"expected one group, the root, got a, b$"):
        entry(path, "a")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match=r"a.csd: not a regular file$"):
        entry(path, "a")


def spoil(path, change) -> None:
    """A valid file, `/X/data/a/{features, intervals}`, changed by a function of its entry."""
    path.write_bytes(csd_bytes("X", {"a": (frames(2), seconds(0, 1, 2))}))
    with h5py.File(path, "r+") as file:
        change(file["X/data/a"])


def replace(entry, value) -> None:
    del entry["features"]
    entry["features"] = value


def declare(entry, shape, **storage) -> None:
    del entry["features"]
    entry.create_dataset("features", shape, "f4", **storage)


def group(entry) -> None:
    del entry["features"]
    entry.create_group("features")


def virtual(entry) -> None:
    layout = h5py.VirtualLayout((2, 2), "f4")
    layout[:] = h5py.VirtualSource("other.csd", "secret", (2, 2))
    del entry["features"]
    entry.create_virtual_dataset("features", layout)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (functools.partial(replace, value=h5py.ExternalLink("other.csd", "/secret")), "features in its place, got a link$"),
        (functools.partial(replace, value=h5py.SoftLink("/X/data/a/intervals")), "in its place, got a link$"),
        (virtual, "a/features: expected an array in the file itself, got one in another file$"),
        (functools.partial(declare, shape=(2, 2), external=[("other.csd", 0, 16)]), "got one in another file$"),
        (functools.partial(replace, value=["text"]), "expected numbers, or text of fixed length, got object$"),
        (functools.partial(replace, value=np.zeros(2, [("x", "f4")])), "expected numbers, or text of fixed length, got \\[\\("),
        (functools.partial(declare, shape=(2**20, 2**10)), "that 0 stored bytes can hold, got 4,294,967,296 bytes$"),
        (functools.partial(declare, shape=(2**40, 2), chunks=(2**20, 2), compression="gzip"), "that 0 stored bytes can"),
        (functools.partial(declare, shape=(2, 2), maxshape=(None, 2), chunks=(2**27, 2)), "got 1,073,741,824 bytes$"),
        (functools.partial(declare, shape=(2, 2), compression="lzf"), "expected compression by gzip, got filter 32000$"),
        (functools.partial(declare, shape=(2, 2), fletcher32=True), "expected compression by gzip, got filter 3$"),
        (lambda entry: operator.delitem(entry, "features"), "no features in /X/data/a$"),
        (group, "a/features: expected an array, got a group$"),
    ],
)  # fmt: skip
def test_what_is_refused_without_reading_it(tmp_path, change, message):
    with h5py.File(tmp_path / "other.csd", "w") as file:
        file["secret"] = frames(2)
    spoil(tmp_path / "a.csd", change)
    with pytest.raises(DataError, match=message) as error:
        entry(tmp_path / "a.csd", "a")
    assert "\n" not in str(error.value)


def test_zeros_that_compress_well_are_no_bomb(tmp_path):
    add(tmp_path, "X", {"a": (np.zeros((50_000, 4)), np.zeros((50_000, 2)))}, compression="gzip", compression_opts=9)
    assert (tmp_path / "X.csd").stat().st_size < 25_000
    assert entry(tmp_path / "X.csd", "a")[0].shape == (50_000, 4)


def test_damaged_files_are_refused_or_read(tmp_path):
    files = example("csd")
    outcomes = []
    for number in range(60):
        path = write(tmp_path, mutated(random.Random(f"csd {number}"), files))
        try:
            for split in read(path).values():
                outcomes.append([array.shape for sequence in split.sequences.values() for array in sequence])
        except DataError as error:
            outcomes.append(str(error))
    refused = [each for each in outcomes if isinstance(each, str)]
    assert 0 < len(refused) < len(outcomes)
    assert not any("\n" in each for each in refused)
