import json
import os
import re
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from disentangle.training import Run, RunError

from .failing import files_up_to


def test_the_configuration_and_the_lines_come_back(tmp_path):
    run = Run.create(tmp_path / "run", {"alpha": 0.1, "data": None})
    run.log({"epoch": 1, "losses": {"Y": 1.5}})
    run.log({"epoch": 2, "losses": {"Y": float("nan")}})
    again = Run.open(tmp_path / "run")
    assert again.config == {"alpha": 0.1, "data": None}
    assert again.history == [{"epoch": 1, "losses": {"Y": 1.5}}, {"epoch": 2, "losses": {"Y": None}}]


def test_what_is_not_finite_is_null_and_the_file_is_json(tmp_path):
    run = Run.create(tmp_path / "run", {})
    run.write("result.json", {"valid": {"mae": float("inf"), "corr": None, "acc2": 0.5}})
    text = (tmp_path / "run" / "result.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"valid": {"mae": None, "corr": None, "acc2": 0.5}}


def test_a_folder_in_which_a_killed_process_began_to_write_is_taken(tmp_path):
    left = tmp_path / "run" / ".part.config.json"
    left.mkdir(parents=True)
    (left / "config.json").write_text("{")
    assert Run.open(Run.create(tmp_path / "run", {"alpha": 0.1}).folder).config == {"alpha": 0.1}
    assert not left.exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match=re.escape(f"{tmp_path}: exists and is not empty; nothing in it was touched")):
        Run.create(tmp_path, {})
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be made into an output folder"):
        Run.create(tmp_path / "file", {})


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="expected the folder of a run"):
        Run.open(tmp_path)


@pytest.mark.parametrize("config", ["[]", "3", "null", "[" * 100_000])
def test_a_configuration_that_is_no_object_is_refused(config, tmp_path):
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(RunError, match="expected"):
        Run.open(tmp_path)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), Path("data"), {1: 2}, {3}])
def test_a_configuration_that_json_would_not_give_back_is_refused_before_anything_is_written(value, tmp_path):
    with pytest.raises(ValueError, match=r"^expected config\['options'\]\['limit'\] to be JSON, got"):
        Run.create(tmp_path / "run", {"options": {"limit": value}})
    assert not (tmp_path / "run").exists()


def test_a_run_has_checkpoints(tmp_path):
    run = Run.create(tmp_path / "run", {})
    run.checkpoints.save(3, {"model": nn.Linear(2, 2)}, {"step": 3})
    again = Run.open(tmp_path / "run")
    assert again.checkpoints.load({"model": nn.Linear(2, 2)}) == {"step": 3}
    assert (run.folder / "checkpoints" / "00000003").is_dir()


@settings(max_examples=30, deadline=None)
@given(records=st.lists(st.dictionaries(st.text(), st.text())), torn=st.binary(), kept=st.integers(0, 10))
def test_what_was_left_of_a_line_is_ignored_and_cut_off(records, torn, kept):
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(folder, {})
        for record in records:
            run.log(record)
        with (run.folder / "metrics.jsonl").open("ab") as file:
            file.write(torn.replace(b"\n", b""))
        assert run.history == records
        run.log({"next": 1})
        assert run.history == [*records, {"next": 1}]
        with (run.folder / "metrics.jsonl").open("ab") as file:
            file.write(torn.replace(b"\n", b""))
        kept = min(kept, len(records))
        run.truncate(kept)
        assert run.history == records[:kept]
        assert (run.folder / "metrics.jsonl").read_bytes().count(b"\n") == kept
        assert (run.folder / "metrics.jsonl").read_bytes()[-1:] in (b"", b"\n")


def test_fewer_lines_than_there_were_are_told(tmp_path):
    run = Run.create(tmp_path / "run", {})
    run.truncate(0)
    assert not (run.folder / "metrics.jsonl").exists()
    run.log({"epoch": 1})
    with pytest.warns(UserWarning, match=r"metrics.jsonl: expected at least 3 lines, got 1$"):
        run.truncate(3)
    assert run.history == [{"epoch": 1}]


def test_a_line_that_is_no_record_is_named(tmp_path):
    run = Run.create(tmp_path / "run", {})
    (run.folder / "metrics.jsonl").write_text('{"epoch": 1}\n{"epo\n{"epoch": 3}\n')
    with pytest.raises(RunError, match=re.escape("""metrics.jsonl: expected a JSON object in line 2, got '{"epo'""")):
        _ = run.history


@settings(max_examples=40, deadline=None)
@given(size=st.integers(0, 400))
def test_where_the_system_refuses_files_are_as_they_were(size):
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(folder, {})
        refused = f"{folder}: cannot be written: File too large; what was saved before is intact"
        run.write("result.json", {"mae": 1.0})
        run.log({"epoch": 1, "text": "x" * 50})
        size_before = (run.folder / "metrics.jsonl").stat().st_size
        names = sorted(os.listdir(folder))
        writes = [
            lambda: run.write("result.json", {"text": "y" * 400}),
            lambda: run.log({"epoch": 2, "text": "z" * 400}),
        ]
        for write in writes:
            with files_up_to(size), pytest.raises(RunError) as failed:
                write()
            assert str(failed.value) == refused
        assert sorted(os.listdir(folder)) == names
        assert json.loads((run.folder / "result.json").read_text()) == {"mae": 1.0}
        assert (run.folder / "metrics.jsonl").stat().st_size == size_before
        run.log({"epoch": 2})
        assert [record["epoch"] for record in run.history] == [1, 2]


def test_a_new_file_takes_the_place_of_the_old_one_whole(tmp_path):
    run = Run.create(tmp_path / "run", {})
    run.log({"epoch": 1})
    for name, write in {
        "result.json": lambda: run.write("result.json", {"mae": run.history}),
        "metrics.jsonl": lambda: run.truncate(0),
    }.items():
        write()
        run.log({"epoch": 2})
        opened = (run.folder / name).open("rb")  # goes on reading what it has opened
        before = (run.folder / name).read_bytes()
        write()
        assert (run.folder / name).read_bytes() != before
        assert opened.read() == before
        opened.close()


def test_what_a_killed_process_left_goes_with_the_next_file_of_the_name(tmp_path):
    run = Run.create(tmp_path / "run", {})
    left = run.folder / ".part.result.json"
    left.mkdir()
    (left / ".tmpXYZ").write_bytes(b"half of")
    run.write("result.json", {})
    assert sorted(path.name for path in run.folder.iterdir()) == ["config.json", "result.json"]


def test_lines_that_are_no_epochs_are_not_drawn(tmp_path):
    run = Run.create(tmp_path / "run", {})
    run.log({"step": 1, "nonfinite": ["objective"]})
    run.draw()
    assert not (run.folder / "curves.png").exists()
    run.log({"epoch": 1, "losses": {"Y": 1.0}})
    run.draw()
    assert (run.folder / "curves.png").exists()


@pytest.mark.parametrize("line", ["{half", "3"])
def test_a_damaged_line_is_no_reason_to_lose_a_run(line, tmp_path):
    run = Run.create(tmp_path / "run", {})
    run.log({"epoch": 1, "losses": {"Y": 1.0}})
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.warns(UserWarning, match=r"no curves.png: .*expected a JSON object in line 2, got"):
        run.draw()
    assert not (run.folder / "curves.png").exists()


def test_no_temporary_file_is_left(tmp_path):
    run = Run.create(tmp_path / "run", {})
    run.write("result.json", {})
    run.log({"epoch": 1, "losses": {"Y": 1.0}})
    run.draw()
    names = {p.name for p in run.folder.iterdir()}
    assert names == {"config.json", "result.json", "metrics.jsonl", "curves.png"}


def test_without_matplotlib_a_run_goes_on_and_says_so(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"] or ["matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    run = Run.create(tmp_path / "run", {})
    run.log({"epoch": 1, "losses": {"Y": 1.0}})
    with pytest.warns(UserWarning, match=r"no curves.png: .*pip install matplotlib"):
        run.draw()
    assert not (tmp_path / "run" / "curves.png").exists()
