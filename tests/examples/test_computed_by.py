"""A model says what its features were computed by, and refuses others; its folder is all that prediction needs."""

import json
import shutil

import mird_mosi
import numpy as np
import pytest

from disentangle.data import DataError, DataWarning, Recordings, synthetic_recordings
from disentangle.data.computed_by import RECORD, record
from disentangle.data.layouts.folder import write_folder
from disentangle.experiments.clips import read_clip
from disentangle.experiments.options import parse
from disentangle.experiments.reading import compare, read

from .test_mird_mosi import run
from .test_mird_predict import refused, said
from .test_modalities import FAST


def sound(kind, seed=0, frames=6):
    """Frames that look like one kind of acoustic features."""
    draw = np.random.default_rng(seed)
    chroma = draw.uniform(0, 1, (frames, 12))
    rate = draw.integers(1, 900, frames) / 2048
    first = {"mmsa": rate, "paper": np.log(draw.uniform(80, 300, frames)), "neither": draw.normal(size=frames)}[kind]
    columns = first[:, None], draw.normal(-200, 50, (frames, 20)), chroma / chroma.max(1, keepdims=True)
    return np.hstack(columns).astype(np.float32)


def data_set(kind, recorded=None, n=6):
    frames = {"audio": [sound(kind, i) for i in range(n)]}
    computed_by = {"audio": recorded} if recorded else {}
    return Recordings(["so good"] * n, frames, np.linspace(-1, 1, n, dtype=np.float32), computed_by=computed_by)


def trained(folder, kind, recorded=None):
    write_folder(folder / "set", {name: data_set(kind, recorded) for name in ("train", "valid", "test")})
    assert run("--data", folder / "set", *FAST, "--out", folder / "run") == 0
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run on features that are recorded as MMSA's."""
    return trained(tmp_path_factory.mktemp("trained"), "mmsa", "mmsa")


def npy(folder, kind, recorded=None):
    folder.mkdir()
    np.save(folder / "new.npy", sound(kind, 9))
    if recorded:
        (folder / RECORD).write_text(record(recorded))
    return folder / "new.npy"


def test_the_model_keeps_the_record(place):
    config = json.loads((place / "run" / "model" / "config.json").read_text())
    assert (config["_data"]["computed_by"], config["_data"]["max_words"]) == ({"audio": "mmsa"}, 256)


def test_the_model_folder_suffices(place, capsys, tmp_path):
    options = ["--text", "so good", "--audio", npy(tmp_path / "new", "mmsa", "mmsa")]
    wanted = said(capsys, place, *options)
    assert run("predict", "--run", place / "run" / "model", *options, "--json") == 0
    assert json.loads(capsys.readouterr().out) == wanted
    shutil.copytree(place / "run" / "model", tmp_path / "run")  # and nothing else, under any name
    assert said(capsys, tmp_path, *options) == wanted
    assert run("evaluate", "--run", tmp_path / "run", "--data", place / "set") == 0
    table = capsys.readouterr().out
    assert run("evaluate", "--run", place / "run") == 0
    assert capsys.readouterr().out == table
    assert run("evaluate", "--run", tmp_path / "run") == 2
    assert "expected --data FILE, as a model's folder does not say" in capsys.readouterr().err


def test_features_of_the_other_kind_are_refused_in_a_line(place, capsys, tmp_path):
    wrong = "expected audio features computed by mmsa, as in the training data, got those by paper: compute them anew"
    recorded, told = npy(tmp_path / "a", "neither", "paper"), npy(tmp_path / "b", "paper")
    assert refused(capsys, place, "--audio", recorded) == f"{recorded}: {wrong}"
    assert refused(capsys, place, "--audio", told) == f"{told}: {wrong}"
    assert refused(capsys, place, "--text", "so", "--like", "paper") == f"--like: {wrong}"
    for name, recorded in (("c", "paper"), ("d", None)):
        write_folder(tmp_path / name, {"test": data_set("paper", recorded)})
        error = refused(capsys, place, "--data", tmp_path / name, "--out", tmp_path / "out.csv")
        assert error == f"{tmp_path / name}: {wrong}"
        assert run("evaluate", "--run", place / "run", "--data", tmp_path / name) == 2
        capsys.readouterr()
    table = tmp_path / "clips.csv"
    table.write_text("id,text,audio\nx,so good,b/new.npy\ny,so good,\n")
    assert run("predict", "--run", place / "run", "--csv", table, "--out", tmp_path / "out.csv") == 0
    assert f"failed: x: {told}: {wrong}" in capsys.readouterr().err
    assert run("--data", place / "set", "--unlabeled", tmp_path / "c", *FAST, "--out", tmp_path / "run") == 2


def test_what_is_not_known_is_said(place, tmp_path):
    said_so = "nothing tells what the audio features given were computed by; taken to be by mmsa, as in training"
    with pytest.warns(DataWarning, match=said_so):
        assert run("predict", "--run", place / "run", "--audio", npy(tmp_path / "a", "neither")) == 0
    with pytest.warns(DataWarning, match="the run does not say what its audio features were computed by"):
        compare("a", "audio", "mmsa", None)


def test_sound_is_computed_as_the_training_data_was(place, capsys, tmp_path):
    pytest.importorskip("librosa", reason="librosa is not installed")
    soundfile = pytest.importorskip("soundfile", reason="soundfile is not installed")
    from disentangle.features import audio_features

    wav = tmp_path / "new.wav"
    soundfile.write(wav, 0.4 * np.sin(2 * np.pi * 150 * np.arange(22050) / 22050), 22050)
    np.save(tmp_path / "same.npy", audio_features(wav, like="mmsa"))
    assert said(capsys, place, "--audio", wav) == said(capsys, place, "--audio", tmp_path / "same.npy")


def test_without_a_record_sound_is_not_computed_by_chance(tmp_path):
    error = "expected --like paper or --like mmsa, as nothing tells what the run's audio features were computed by"
    with pytest.raises(DataError, match=error):
        read_clip({"audio": "new.wav"}, {"audio": 33}, {})
    with pytest.raises(DataError, match=r"audio features computed by covarep, as in the training data, as .npy"):
        read_clip({"audio": "new.wav"}, {"audio": 33}, {"audio": "covarep"})


@pytest.mark.parametrize(
    ("kind", "told"), [("mmsa", {"audio": "mmsa"}), ("paper", {"audio": "paper"}), ("neither", {})]
)
def test_what_the_numbers_tell_is_taken_for_a_record_and_said(kind, told, tmp_path):
    write_folder(tmp_path / "set", {name: data_set(kind) for name in ("train", "valid", "test")})
    lines = []
    options = parse(mird_mosi.EXPERIMENT, ["--data", str(tmp_path / "set")])
    assert read(options, synthetic_recordings, lines.append)["train"].computed_by == told
    assert any("which is not recorded; taken for that" in line for line in lines) == bool(told)


def test_a_folder_without_a_model_is_said(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    assert refused(capsys, tmp_path, "--text", "so").endswith("got none: the run's first epoch has not ended")
