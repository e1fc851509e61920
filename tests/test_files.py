"""What is written whole stays whole, whatever fails; what Run and Checkpoints write is tested with them."""

import os

import pytest

from disentangle.files import append_line, remove_leftovers, staged, write_file, write_folder, writing


def test_a_folder_takes_the_place_of_another_with_its_permissions(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir(mode=0o700)
    (folder / "old.txt").write_text("old")
    write_folder(folder, lambda part: (part / "new.txt").write_text("new"))
    assert [path.name for path in folder.iterdir()] == ["new.txt"]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("write", [write_file, write_folder])
def test_a_write_that_raises_leaves_what_there_was(tmp_path, write):
    kept = tmp_path / "kept"
    write(kept, lambda part: part.write_text("whole") if write is write_file else (part / "a").write_text("whole"))

    def half(part):
        (part if write is write_file else part / "a").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left on device"):
        write(kept, half)
    assert (kept if write is write_file else kept / "a").read_text() == "whole"
    assert os.listdir(tmp_path) == ["kept"]


def test_a_file_that_cannot_take_its_place_leaves_nothing_behind(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        write_file(tmp_path / "taken", lambda part: part.write_text("new"))
    assert os.listdir(tmp_path) == ["taken"]


def test_what_a_killed_process_left_is_not_mixed_with_what_comes_next(tmp_path):
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "left").write_text("half")
    with staged(tmp_path / "part"):
        assert list((tmp_path / "part").iterdir()) == []


def test_what_the_system_says_is_raised_as_the_error_asked_for(tmp_path):
    class Mine(Exception):
        pass

    for said in (
        "Error while serializing: I/O error: No space left on device (os error 28)",
        "No space left on device (os error 28)",
    ):
        message = r": cannot be written: No space left on device; what was saved before is intact$"
        with pytest.raises(Mine, match=message), writing(tmp_path, Mine):
            raise Exception(said)
    with pytest.raises(ValueError, match=r"^expected a number$"), writing(tmp_path, Mine):
        raise ValueError("expected a number")
    with pytest.raises(Mine, match=r"^mine$"), writing(tmp_path, Mine):
        raise Mine("mine")


def test_what_is_written_beside_a_file_gets_its_place_beside_it(tmp_path):
    def write(part):
        part.write_text("graph")
        part.with_name(f"{part.name}.data").write_text("weights")

    write_file(tmp_path / "model.onnx", write)
    assert sorted(os.listdir(tmp_path)) == ["model.onnx", "model.onnx.data"]
    assert (tmp_path / "model.onnx.data").read_text() == "weights"


@pytest.mark.parametrize("write", [write_file, write_folder])
def test_a_name_may_be_as_long_as_the_system_allows(tmp_path, write):
    name = "讲" * 83 + "1.npy"  # 254 bytes
    with pytest.raises(OSError, match="No space left on device"):
        write(tmp_path / name, full)
    assert os.listdir(tmp_path) == []
    write(tmp_path / name, lambda part: part.write_text("1") if write is write_file else (part / "a").write_text("1"))
    assert os.listdir(tmp_path) == [name]
    with staged(tmp_path / ".part.left"):
        remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == [name]


def full(part):
    raise OSError(28, "No space left on device")


def test_the_reason_why_a_line_could_not_be_added_is_the_systems(tmp_path, monkeypatch):
    path = tmp_path / "metrics.jsonl"
    monkeypatch.setattr("pathlib.Path.open", lambda *given: full(None))
    with pytest.raises(OSError, match="No space left on device"):
        append_line(path, "{}")
