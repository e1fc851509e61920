import os
from pathlib import Path

import numpy as np
import pytest

from disentangle.data.computed_by import RECORD, read_record
from disentangle.features.__main__ import main
from disentangle.features.audio import audio_features
from disentangle.features.extract import CRASHED, Failed, _extract, extract_audio, extract_vision
from disentangle.features.openface import openface_features
from tests.features.test_openface import write


def dies(path: Path) -> np.ndarray:
    os._exit(1)


def stumbles(path: Path) -> np.ndarray:
    raise KeyError("a library's\nown fault")


@pytest.fixture
def clips(tmp_path) -> list[Path]:
    return [write(tmp_path / f"clip{i}.csv", i + 1) for i in range(3)]


def test_writes_each_files_features(tmp_path, clips):
    out = tmp_path / "new" / "vision"
    assert extract_vision(clips, out, progress=False) == []
    assert sorted(path.name for path in out.iterdir()) == ["clip0.npy", "clip1.npy", "clip2.npy", "computed_by.json"]
    assert read_record(out) == "openface"
    for clip in clips:
        np.testing.assert_array_equal(np.load(out / f"{clip.stem}.npy", allow_pickle=False), openface_features(clip))


@pytest.mark.slow
def test_several_at_once_are_the_same(tmp_path, clips):
    broken = tmp_path / "broken.csv"
    broken.write_text("frame, success\n")
    failed = extract_vision([broken, *clips], tmp_path / "out", at_once=2, progress=False)
    assert [each.file for each in failed] == [broken]
    for clip in clips:
        np.testing.assert_array_equal(np.load(tmp_path / "out" / f"{clip.stem}.npy"), openface_features(clip))


def test_bad_files_keep_none_of_the_others(tmp_path, clips):
    files = [tmp_path / "gone.csv", clips[0], tmp_path, clips[1]]
    failed = extract_vision(files, tmp_path / "out", progress=False)
    assert failed == [Failed(files[0], "no such file"), Failed(files[2], "expected a file, got a directory")]
    assert len(list((tmp_path / "out").glob("*.npy"))) == 2


def test_goes_on_where_it_was(tmp_path, clips):
    out = tmp_path / "out"
    extract_vision(clips[:1], out, progress=False)
    mark = np.zeros(3)
    np.save(out / "clip0.npy", mark)
    assert extract_vision(clips, out, progress=False) == []
    np.testing.assert_array_equal(np.load(out / "clip0.npy"), mark)
    assert np.load(out / "clip2.npy").shape == (3, 709)


def test_a_failed_write_leaves_nothing_and_is_raised(tmp_path, clips, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        extract_vision(clips, tmp_path / "out", progress=False)
    assert list((tmp_path / "out").iterdir()) == []


def test_two_files_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected files of different names, got a/1.csv and b/1.csv, both 1.npy"):
        extract_vision(["a/1.csv", "b/1.csv"], tmp_path / "out")
    with pytest.raises(ValueError, match="expected at_once of at least 1, got 0"):
        extract_vision([], tmp_path / "out", at_once=0)
    assert not (tmp_path / "out").exists()


def test_any_fault_of_a_file_is_its_own(tmp_path, clips):
    failed = _extract(stumbles, clips[:1], tmp_path / "out", 1, False, ("own", ()))
    assert failed == [Failed(clips[0], 'KeyError: "a library\'s\\nown fault"')]


@pytest.mark.slow
def test_a_process_that_dies_does_not_hang(tmp_path, clips):
    assert _extract(dies, clips, tmp_path / "out", 2, False, ("own", ())) == [Failed(clip, CRASHED) for clip in clips]


def test_sound_and_what_is_none(tmp_path):
    soundfile = pytest.importorskip("soundfile", reason="soundfile is not installed")
    good, bad = tmp_path / "good.wav", tmp_path / "bad.wav"
    soundfile.write(good, np.sin(np.arange(8000) / 10), 16000)
    soundfile.write(bad, np.zeros(8000), 16000)
    assert extract_audio([good, bad], tmp_path / "out", progress=False) == [Failed(bad, "silent")]
    assert np.load(tmp_path / "out" / "good.npy").shape == (1 + 11025 // 512, 33)


def test_command_line(tmp_path, clips, capsys):
    out = tmp_path / "out"
    assert main(["vision", *map(str, clips), "--out", str(out)]) == 0
    assert len(list(out.glob("*.npy"))) == 3
    capsys.readouterr()
    assert main(["vision", "gone.csv", str(clips[0]), "--out", str(out), "--at-once", "1"]) == 1
    said = capsys.readouterr().err.split("\n")
    assert "failed: gone.csv: no such file" in said
    assert "1 of 2 files failed" in said
    assert main(["vision", "a/1.csv", "b/1.csv", "--out", str(out)]) == 2
    assert "error: expected files of different names" in capsys.readouterr().err


def test_each_kind_of_sound_has_a_folder_of_its_own(tmp_path, capsys):
    soundfile = pytest.importorskip("soundfile", reason="soundfile is not installed")
    wav, out = tmp_path / "a.wav", tmp_path / "out"
    soundfile.write(wav, np.sin(np.arange(8000) / 10), 16000)
    assert main(["audio", str(wav), "--out", str(out), "--like", "mmsa"]) == 0
    assert read_record(out) == "mmsa"
    np.testing.assert_array_equal(np.load(out / "a.npy"), audio_features(wav, like="mmsa"))
    before = {path: path.read_bytes() for path in out.iterdir()}
    for options in ([], ["--like", "paper"]):
        assert main(["audio", str(wav), "--out", str(out), *options]) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert said == f"error: {out}: expected a folder of features computed by paper, got one of mmsa"
    (out / RECORD).unlink()
    assert main(["audio", str(wav), "--out", str(out), "--like", "mmsa"]) == 2
    assert "got .npy files of an unknown kind" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.iterdir()} == {
        p: b for p, b in before.items() if p.suffix == ".npy"
    }


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ([], ("audio", "vision", "FOLDER/NAME.npy")),
        (["audio"], ("--out", "--at-once", "ffmpeg")),
        (["vision"], ("OpenFace", "-pdmparams")),
    ],
)
def test_help_explains(capsys, kind, words):
    with pytest.raises(SystemExit) as caught:
        main([*kind, "--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    assert all(word in said for word in words)
