"""What lies where something else was expected is named, by every reader of files."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import shutil
import struct
import tarfile

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from disentangle.contents import misplaced
from disentangle.data import DataError, load_pickle, open_store, read_recordings
from disentangle.data.layouts.hdf5 import opened
from disentangle.data.layouts.npy import read_frames
from disentangle.data.text_files import load_json, load_table
from disentangle.errors import RunError
from disentangle.features import openface_features, read_transcript
from disentangle.nn.backbones import BackboneError, load_backbone, tiny_backbone
from disentangle.saving import SavedModelError, load, save
from disentangle.training import Run

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e"
    b"2393\nsize 12345\n"
)
PAGE = b'\n<!DOCTYPE html><html lang="en"><head><title>Sign in</title></head><body>...</body></html>\n'


def written(save) -> bytes:
    memory = io.BytesIO()
    save(memory)
    return memory.getvalue()


def hdf5() -> bytes:
    import h5py

    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file["a"] = np.ones(3)
    return memory.getvalue()


def tar() -> bytes:
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.npy"))
    return memory.getvalue()


OTHERS = {
    "a Git LFS pointer": POINTER,
    "a git-annex pointer": b"/annex/objects/SHA256E-s9--0b1d.pkl\n",
    "an HTML page": PAGE,
    "an HTML page: what": b"\xef\xbb\xbf<!-- saved -->\n<html>",
    "an XML document": b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>',
    "a zip archive": written(lambda file: np.savez(file, a=np.ones(3))),
    "a file of torch.save": written(lambda file: torch.save({"a": torch.ones(3)}, file)),
    "a file of torch.save:": written(lambda file: torch.save([1], file, _use_new_zipfile_serialization=False)),
    "an archive that is to be unpacked first, of gzip": gzip.compress(b"a"),
    "an archive that is to be unpacked first, of bzip2": bz2.compress(b"a"),
    "an archive that is to be unpacked first, of xz": lzma.compress(b"a"),
    "an archive that is to be unpacked first, of tar": tar(),
    "a pickle": pickle.dumps([1]),
    "a file of NumPy (.npy)": written(lambda file: np.save(file, np.ones((2, 3)))),
    "an HDF5 file": hdf5(),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_real_files_are_told_and_each_is_what_it_is(tmp_path, kind):
    path = tmp_path / "file"
    path.write_bytes(OTHERS[kind])
    assert misplaced(path, "CSV").startswith(f"expected CSV, got {kind}")
    assert misplaced(path, kind) is None or kind not in ("a pickle", "a file of NumPy (.npy)", "an HDF5 file")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One for all examples of a test, each of which writes its file anew."""
    return tmp_path_factory.mktemp("contents")


@given(st.text(max_size=300))
def test_json_is_never_taken_for_something_else(folder, text):
    path = folder / "file"
    path.write_text(json.dumps([text, {"a": text}]), encoding="utf-8")
    assert misplaced(path, "JSON") is None


@given(st.recursive(st.text() | st.integers() | st.floats(allow_nan=False), st.lists))
def test_a_pickle_is_never_taken_for_something_else(folder, value):
    path = folder / "file"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        path.write_bytes(pickle.dumps(value, protocol))
        assert misplaced(path, "a pickle") is None
        assert load_pickle(path) == value


def open_csd(path):
    with opened(path):
        pass


def data_readers(folder, content):
    """Each reader of data on files that hold `content`, and the file."""
    for name in ("a.pkl", "a.csv", "a.json", "a.npy", "a.csd", "set/store.json", "said.srt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    yield read_recordings, folder / "a.pkl", "a pickle"
    yield read_recordings, folder / "a.csv", "CSV"
    yield read_recordings, folder / "a.json", "JSON"
    yield (lambda path: load_table(path, ["id"])), folder / "a.csv", "CSV"
    yield load_json, folder / "a.json", "JSON"
    yield (lambda path: read_frames(str(path))), folder / "a.npy", "a file of NumPy (.npy)"
    yield open_csd, folder / "a.csd", "an HDF5 file"
    yield (lambda path: open_store(path.parent)), folder / "set" / "store.json", "JSON"
    yield read_transcript, folder / "said.srt", "text"
    yield openface_features, folder / "a.csv", "text"


@pytest.mark.parametrize("kind", ["a Git LFS pointer", "an HTML page"])
def test_every_reader_of_data_names_it(tmp_path, kind):
    for read, path, wanted in data_readers(tmp_path, OTHERS[kind]):
        with pytest.raises(DataError) as error:
            read(path)
        assert str(error.value).startswith(f"{path}: expected {wanted}, got {kind}")
        assert "\n" not in str(error.value)


def test_sound_that_is_a_pointer(tmp_path):
    pytest.importorskip("librosa", reason="librosa is not installed")
    from disentangle.features import audio_features

    (tmp_path / "clip.mp4").write_bytes(POINTER)
    with pytest.raises(DataError, match=r"clip.mp4: expected sound, got a Git LFS pointer: .* git lfs pull$"):
        audio_features(tmp_path / "clip.mp4")


@pytest.mark.parametrize("kind", ["a Git LFS pointer", "an HTML page"])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_saved_model_of_which_a_file_is_something_else(tmp_path, name, kind):
    folder = tmp_path / "model"
    save(folder, torch.nn.Linear(3, 2), {"in_features": 3, "out_features": 2})
    (folder / name).write_bytes(OTHERS[kind])
    wanted = "JSON" if name == "config.json" else "safetensors"
    with pytest.raises(SavedModelError, match=rf"{name}: expected {wanted}, got {kind}") as error:
        load(folder, torch.nn.Linear)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["a Git LFS pointer", "an HTML page"])
def test_a_run_of_which_a_file_is_something_else(tmp_path, kind):
    run = Run.create(tmp_path / "run", {})
    (run.folder / "config.json").write_bytes(OTHERS[kind])
    with pytest.raises(RunError, match=rf"config.json: expected JSON, got {kind}"):
        Run.open(run.folder)


@pytest.fixture(scope="module")
def backbone(folder):
    model, tokenizer = tiny_backbone(["so good"] * 5, hidden_size=8, layers=1, heads=2)
    model.save_pretrained(folder / "backbone")
    tokenizer.save_pretrained(folder / "backbone")
    return folder / "backbone"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_backbone_that_was_cloned_without_its_large_files(backbone, tmp_path, name):
    cloned = shutil.copytree(backbone, tmp_path / "cloned")
    (cloned / name).write_bytes(POINTER)
    with pytest.raises(BackboneError, match=rf"{name}: expected .*, got a Git LFS pointer: .* git lfs pull$"):
        load_backbone(cloned)


@given(st.dictionaries(st.text("abc", min_size=1), st.integers(1, 3), max_size=3))
def test_safetensors_are_never_taken_for_something_else(folder, shapes):
    path = folder / "model.safetensors"
    save_file({name: torch.ones(size) for name, size in shapes.items()}, path)
    assert struct.unpack("<Q", path.read_bytes()[:8])[0] < path.stat().st_size
    assert misplaced(path, "safetensors") is None


def test_safetensors_whose_header_has_the_length_that_a_pickle_begins_with(tmp_path):
    """0x80 0x02 is protocol 2 of pickle, and a header of 640 bytes."""
    header = b'{"w":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}'.ljust(640)
    file = tmp_path / "model.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    assert misplaced(file, "safetensors") is None
    assert misplaced(file, "a pickle") == "expected a pickle, got safetensors"
