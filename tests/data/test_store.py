import json
import os
import pickle
import random
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from disentangle.data import DataError, LazyFrames, RecordingDataset, Recordings, collate
from disentangle.data import store as module
from disentangle.data.store import open_store, write_store
from disentangle.nn.backbones import tiny_backbone

NAMES = st.text("abcXYZ_09", min_size=1, max_size=4)
VALUES = np.array([0.0, -0.0, 1.5, -3.25, np.nan, np.inf, -np.inf, 2.0**-14], np.float32)  # all of float16, too


def recordings(seed=0, n=5, sizes=None, labels=True, others=True):
    draw = np.random.default_rng(seed)
    frames = {
        name: [draw.choice(VALUES, (length, size)) for length in draw.integers(0, 4, n)]
        for name, size in (sizes or {"audio": 3, "vision": 2}).items()
    }
    return Recordings(
        text=[str(draw.choice(["", "so good", 'a "quote"\n', "\N{SNOWMAN}", "\ud800"])) for _ in range(n)],
        sequences=frames,
        labels=draw.normal(size=n).astype(np.float32) if labels else None,
        ids=[f"clip/{i}" for i in range(n)],
        factors={"shared": draw.normal(size=(n, 2))} if others else {},
        more_labels={"T": draw.normal(size=n).astype(np.float32)} if others else {},
        padding={name: draw.integers(0, 9, (n, 2)) for name in frames} if others else {},
    )


def assert_same(one, other):
    assert (one.text, one.ids, list(one.sequences)) == (other.text, other.ids, list(other.sequences))
    for name, frames in one.sequences.items():
        assert len(frames) == len(other.sequences[name]) == len(one)
        for a, b in zip(frames, other.sequences[name], strict=True):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            assert a.tobytes() == b.tobytes()
    assert (one.labels is None) == (other.labels is None)
    for field in ("factors", "more_labels", "padding"):
        assert list(getattr(one, field)) == list(getattr(other, field))
        for name, array in getattr(one, field).items():
            assert np.array_equal(array, getattr(other, field)[name])
            assert array.dtype == getattr(other, field)[name].dtype
    if one.labels is not None:
        assert np.array_equal(one.labels, other.labels)


@given(
    seed=st.integers(0, 99),
    counts=st.dictionaries(NAMES, st.integers(1, 6), min_size=1, max_size=3),
    sizes=st.dictionaries(NAMES, st.integers(1, 9), min_size=1, max_size=3),
    labels=st.booleans(),
    others=st.booleans(),
    dtype=st.sampled_from(["float32", "float16"]),
)
@settings(max_examples=20, deadline=None)
def test_what_is_written_is_read_back_the_same(tmp_path_factory, seed, counts, sizes, labels, others, dtype):
    folder = tmp_path_factory.mktemp("store") / "set"
    splits = {name: recordings(seed + n, n, sizes, labels, others) for name, n in counts.items()}
    write_store(folder, splits, dtype=dtype)
    opened = open_store(folder)
    assert list(opened) == list(splits)
    for name, split in splits.items():
        assert_same(opened[name], split)
        assert opened[name].missing == split.missing
        assert opened[name].feature_sizes == split.feature_sizes
    assert not list(folder.parent.glob(".part*"))
    shutil.rmtree(folder)


def test_a_set_without_other_modalities(tmp_path):
    write_store(tmp_path / "set", {"train": Recordings(text=["so good", ""], sequences={})})
    assert_same(open_store(tmp_path / "set")["train"], Recordings(text=["so good", ""], sequences={}))


def test_frames_stay_in_their_file(tmp_path):
    split = recordings(n=30)
    write_store(tmp_path / "set", {"train": split})
    frames = open_store(tmp_path / "set")["train"].sequences["audio"]
    assert isinstance(frames, LazyFrames)
    path = tmp_path / "set/train/sequences/audio.npy"
    whole = np.load(path)  # anything reads it
    assert whole.tobytes() == np.concatenate(split.sequences["audio"]).tobytes()
    i = next(i for i, each in enumerate(frames) if len(each))
    view = frames[i]
    assert not view.flags.writeable
    assert not view.flags.owndata
    where = path.stat().st_size - whole.nbytes + 12 * sum(map(len, split.sequences["audio"][:i]))
    with open(path, "r+b") as file:  # what changes in the file changes in the view
        file.seek(where)
        file.write(np.float32(42).tobytes())
    assert view[0, 0] == 42
    picked = frames.select([i, 0])
    assert picked[0].tobytes() == view.tobytes()


def test_maps_are_let_go_now_and_then(tmp_path, monkeypatch):
    split = recordings(n=40)
    write_store(tmp_path / "set", {"train": split})
    monkeypatch.setattr(module, "RESIDENT", 50)
    monkeypatch.setattr(module, "AROUND", 0)
    opened = open_store(tmp_path / "set")["train"]
    maps = []
    for i in np.random.default_rng(0).permutation(40).tolist():
        for name, frames in split.sequences.items():
            assert opened.sequences[name][i].tobytes() == frames[i].tobytes()
        maps.append(opened.sequences["audio"].read._map)
    total = sum(each.nbytes for each in split.sequences["audio"])
    assert 2 <= len({id(each) for each in maps}) <= 1 + total // 50


def test_a_set_is_written_recording_by_recording_and_pickled_without_its_frames(tmp_path):
    given = []

    def read(key):
        assert sum(each() is not None for each in given) <= 2  # never many at a time
        array = np.full((200, 50), key, np.float32)
        given.append(weakref.ref(array))
        return array

    source = Recordings(text=[""] * 100, sequences={"vision": LazyFrames(read, range(100), [200] * 100, size=50)})
    write_store(tmp_path / "set", {"train": source})
    opened = open_store(tmp_path / "set")
    frames = opened["train"].sequences["vision"]
    assert frames[7][0, 0] == 7  # the map is there now
    data = pickle.dumps(opened)
    assert len(data) < 20_000 < 4 * 200 * 50
    assert pickle.loads(data)["train"].sequences["vision"][99].tolist() == [[99.0] * 50] * 200


def test_a_store_is_found_again_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    split = recordings()
    write_store("set", {"train": split})
    opened = open_store("set")["train"]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert_same(opened, split)


@pytest.mark.slow
@pytest.mark.parametrize(("start", "workers"), [("fork", 2), ("spawn", 1)])  # each that is spawned imports torch
def test_worker_processes_read_the_same(tmp_path, start, workers):
    split = recordings(n=12)
    write_store(tmp_path / "set", {"train": split})
    tokenizer = tiny_backbone(["so good a quote"] * 5)[1]
    text = ["so good", ""] * 6
    opened = open_store(tmp_path / "set")["train"]
    kept = Recordings(text, dict(split.sequences), split.labels)
    stored = Recordings(text, dict(opened.sequences), opened.labels)
    stored.sequences["audio"][0]
    wanted = DataLoader(RecordingDataset(kept, tokenizer), batch_size=5, collate_fn=collate)
    got = DataLoader(
        RecordingDataset(stored, tokenizer),
        batch_size=5,
        collate_fn=collate,
        num_workers=workers,
        multiprocessing_context=start,
    )
    for one, other in zip(wanted, got, strict=True):
        assert torch.equal(one.tokens["input_ids"], other.tokens["input_ids"])
        assert torch.equal(one.labels, other.labels)
        for name, sequence in one.sequences.items():
            assert torch.equal(sequence.values.nan_to_num(7), other.sequences[name].values.nan_to_num(7))
            assert torch.equal(sequence.mask, other.sequences[name].mask)


def test_a_half_written_store_is_none(tmp_path):
    stopped = []

    def read(key):
        if key in stopped:
            raise KeyboardInterrupt
        return np.ones((1, 2), np.float32)

    broken = Recordings(text=[""] * 3, sequences={"audio": LazyFrames(read, range(3), [1, 1, 1], size=2)})
    stopped.append(2)  # only now: the check of types looks at any of them
    with pytest.raises(KeyboardInterrupt):
        write_store(tmp_path / "set", {"train": broken})
    assert not list(tmp_path.iterdir())
    (tmp_path / ".part.set" / "train").mkdir(parents=True)  # of a process that was killed
    write_store(tmp_path / "set", {"train": recordings()})
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_what_cannot_be_written_is_said(tmp_path):
    (tmp_path / "there").mkdir()
    write_store(tmp_path / "there", {"train": recordings()})  # an empty folder is taken
    with pytest.raises(DataError, match=r"there: expected a new folder, got one that is not empty$"):
        write_store(tmp_path / "there", {"train": recordings()})
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file/set: cannot be written: File exists$"):
        write_store(tmp_path / "file" / "set", {"train": recordings()})
    with pytest.raises(ValueError, match=r"^expected recordings in every split, got no split$"):
        write_store(tmp_path / "set", {})
    with pytest.raises(ValueError, match=r"^expected recordings in every split, got train 5, test 0$"):
        write_store(tmp_path / "set", {"train": recordings(), "test": Recordings([], {})})
    for name in ("", "..", "a/b", ".hidden", "a\0", "a\\b", "C:"):
        with pytest.raises(ValueError, match=r"^expected names that files can have, got "):
            write_store(tmp_path / "set", {name: recordings()})
        with pytest.raises(ValueError, match=r"^expected names that files can have, got "):
            write_store(tmp_path / "set", {"train": recordings(sizes={name: 2})})
    large = Recordings([""], {"audio": [np.array([[1.0], [np.inf], [1e5]], np.float32)]})
    with pytest.raises(ValueError, match=r"^expected values that float16 can hold in audio\[0\], got 100000$"):
        write_store(tmp_path / "set", {"train": large}, dtype="float16")
    uneven = LazyFrames(lambda key: np.ones((1, key), np.float32), [2, 3], [1, 1], size=2)
    with pytest.raises(ValueError, match=r"^expected frames \(T, 2\) in audio\[1\], got \(1, 3\)$"):
        write_store(tmp_path / "set", {"train": Recordings(["", ""], {"audio": uneven})})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "there"]


def edit(folder, **changes):
    """Changes the entry of the split in `store.json`."""
    path = folder / "store.json"
    content = json.loads(path.read_text())
    content["splits"]["train"].update(changes)
    path.write_text(json.dumps(content))


def save(folder, name, array):
    np.save(folder / "train" / f"{name}.npy", array)


DAMAGES = {
    "no store.json in it": lambda f: (f / "store.json").unlink(),
    "store.json: not JSON: Expecting value: line 1 column 1 (char 0)": lambda f: (f / "store.json").write_text(""),
    "store.json: expected a dictionary, got list": lambda f: (f / "store.json").write_text("[]"),
    "store.json: expected version 1, got 2": lambda f: (f / "store.json").write_text('{"version": 2}'),
    "store.json: splits: expected a dictionary, got NoneType": lambda f: (f / "store.json").write_text(
        '{"version": 1}'
    ),
    "store.json: splits: expected names of files, got ../other": lambda f: (f / "store.json").write_text(
        '{"version": 1, "splits": {"../other": {}}}'
    ),
    "store.json: train: text: expected a list of text, got NoneType": lambda f: edit(f, text=None),
    "store.json: train: factors: expected names of files, got ../x": lambda f: edit(f, factors=["../x"]),
    "store.json: train: expected as many recordings in every part, got text 1,": lambda f: edit(f, text=["one"]),
    "sequences/glove.npy: no such file": lambda f: edit(f, sequences=["glove"]),
    "labels.npy: no such file": lambda f: (f / "train/labels.npy").unlink(),
    "labels.npy: not an array of NumPy: Array can't be memory-mapped: Python objects": lambda f: np.save(
        f / "train/labels.npy", np.array([1, None] * 3, object), allow_pickle=True
    ),
    "labels.npy: expected an array of numbers with 1 or 2 dimensions, got float32 (5, 1, 1)": lambda f: save(
        f, "labels", np.ones((5, 1, 1), np.float32)
    ),
    "labels.npy: expected an array of numbers with 1 or 2 dimensions, got <U1 (5,)": lambda f: save(
        f, "labels", list("abcde")
    ),
    "audio.npy: expected float32 or float16, got float64": lambda f: save(f, "sequences/audio", np.ones((9, 3))),
    "starts/audio.npy does not fit the 2 frames of sequences/audio.npy": lambda f: save(
        f, "sequences/audio", np.ones((2, 3), np.float32)
    ),
    "does not fit the 5 frames": lambda f: (
        save(f, "sequences/audio", np.ones((5, 3), np.float32)),
        save(f, "starts/audio", np.array([0, 4, 3, 5, 5, 5])),
    ),
    "does not fit the 4 frames": lambda f: (
        save(f, "sequences/audio", np.ones((4, 3), np.float32)),
        save(f, "starts/audio", np.array([0, 4, 3, 4, 4, 4], np.uint64)),
    ),
    "does not fit the 0 frames": lambda f: (
        save(f, "sequences/audio", np.ones((0, 3), np.float32)),
        save(f, "starts/audio", np.zeros(0, np.int64)),
    ),
    "sequences/audio.npy: not an array of NumPy: mmap length is greater than file size": lambda f: os.truncate(
        f / "train/sequences/audio.npy", 130
    ),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_a_damaged_store_is_refused_in_a_line(tmp_path, message):
    write_store(tmp_path / "set", {"train": recordings()})
    DAMAGES[message](tmp_path / "set")
    with pytest.raises(DataError) as error:
        open_store(tmp_path / "set")
    assert message in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "set"))
    assert "\n" not in str(error.value)


def test_whatever_byte_is_damaged_the_store_is_read_or_refused(tmp_path):
    write_store(tmp_path / "set", {"train": recordings()})
    paths = sorted(path for path in Path(tmp_path / "set").rglob("*") if path.is_file())
    refused = []
    for number in range(200):
        draw = random.Random(number)
        path = draw.choice(paths)
        before = path.read_bytes()
        damaged = bytearray(before)
        for _ in range(draw.randint(1, 4)):
            damaged[draw.randrange(min(len(damaged), 200))] = draw.randrange(256)
        path.write_bytes(bytes(damaged[: draw.choice([len(damaged), draw.randrange(len(damaged))])]))
        try:
            for split in open_store(tmp_path / "set").values():
                for frames in split.sequences.values():
                    list(frames)
        except DataError as error:
            refused.append(str(error))
        path.write_bytes(before)
    assert 0 < len(refused) < 200
    assert not any("\n" in message for message in refused)
    assert_same(open_store(tmp_path / "set")["train"], recordings())
