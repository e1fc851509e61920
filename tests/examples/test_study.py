"""Comparing runs and sweeping an option, from the command line."""

import csv
import importlib.util
import json
import shlex
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import mird_mosi
import pytest
import study
import text_only

from disentangle.errors import DataWarning, SeedsError
from disentangle.experiments import Study, Variant, compare_runs

SMALL = ["--backbone", "tiny", "--epochs", "1"]


def run(*arguments):
    return study.main([str(each) for each in arguments])


@pytest.fixture
def two_runs(dump, data, tmp_path):
    for name, lr in (("slow", 1e-4), ("fast", 3e-3)):
        options = ["--data", dump(data), *SMALL, "--lr", lr, "--out", tmp_path / name]
        assert text_only.main([str(each) for each in options]) == 0
    return [tmp_path / "slow", tmp_path / "fast"]


def test_trained_runs_are_compared_with_a_bootstrap_of_what_they_predicted(two_runs, tmp_path, capsys):
    capsys.readouterr()
    assert run("compare", two_runs[0], f"quick={two_runs[1]}", "--resamples", 50, "--out", tmp_path / "table") == 0
    printed = capsys.readouterr().out
    assert "slow        1" in printed
    assert "paired bootstrap over the 12 rows of the test split, 50 resamples" in printed
    with (tmp_path / "table" / "comparison.csv").open() as file:
        mae = {line["system"]: line for line in csv.DictReader(file) if line["metric"] == "mae"}
    kept = [json.loads((folder / "result.json").read_text())["test"]["mae"] for folder in two_runs]
    assert float(mae["quick"]["difference"]) == pytest.approx(kept[1] - kept[0])
    assert float(mae["quick"]["rows_low"]) <= kept[1] - kept[0] <= float(mae["quick"]["rows_high"])
    assert (tmp_path / "table" / "comparison.png").stat().st_size > 0


@pytest.mark.slow
def test_a_sweep_trains_what_is_left_and_draws_it(dump, data, tmp_path, capsys):
    folder = tmp_path / "sweep"
    arguments = ["sweep", "text_only", "--lr", "1e-4", "3e-3", "--seeds", 0, "--out", folder]
    more = ["--", "--data", dump(data), *SMALL]
    assert run(*arguments, "--dry-run", *more) == 0
    printed = capsys.readouterr().out
    assert "2 of 2 runs are left" in printed
    commands = [shlex.split(line)[1:] for line in printed.splitlines() if "--seed" in line]
    assert [command[-5:-1] for command in commands] == [
        [f"--lr={value}", "--seed", "0", "--out"] for value in ("1e-4", "3e-3")
    ]
    slow, fast = (Path(command[-1]) for command in commands)
    assert not folder.exists()
    assert text_only.main(commands[0][1:]) == 0  # one of them has finished
    written = (slow / "result.json").stat().st_mtime_ns
    capsys.readouterr()
    assert run(*arguments, "--at-once", 2, *more) == 0
    assert "3e-3      1" in capsys.readouterr().out
    assert (slow / "result.json").stat().st_mtime_ns == written
    assert {f"lr.{ending}" for ending in ("md", "csv", "tex", "png", "json")} <= {p.name for p in folder.iterdir()}
    config = json.loads((fast / "config.json").read_text())
    assert (config["lr"], config["epochs"]) == (3e-3, 1)
    table = compare_runs({"1e-4": slow, "3e-3": fast}, split="valid")
    assert table.differences[0].mean != 0
    assert run(*arguments, "--dry-run", *more) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "0 of 2 runs are left"


def test_a_run_that_has_begun_goes_on(tmp_path):
    sweep = Study.sweep(text_only.EXPERIMENT, "lr", [0.1], [0, 1], tmp_path)
    other, begun = (each.folder for each in sweep.runs)
    begun.mkdir(parents=True)
    (begun / "config.json").write_text("{}")
    assert sweep.commands[begun][2:] == ["--resume", str(begun)]
    assert sweep.commands[other][2] == "--lr=0.1"


@pytest.mark.parametrize(
    ("experiment", "module"),
    [
        (replace(text_only.EXPERIMENT, inner_steps=1), "text_only"),
        (replace(mird_mosi.EXPERIMENT, build=text_only.TextOnly), "text_only"),
        (mird_mosi.PRESETS["independent"], "mird_mosi"),
    ],
)
def test_an_experiment_that_its_file_does_not_run_is_refused(experiment, module, tmp_path):
    message = (
        rf"^{module}: expected its EXPERIMENT, .* got another experiment .*: make what differs an option of that file"
    )
    with pytest.raises(ValueError, match=message):
        Study("t", {"whole": Variant(text_only.EXPERIMENT), "other": Variant(experiment)}, [0], tmp_path)
    with pytest.raises(ValueError, match=message):
        Study.sweep(experiment, "lr", [0.1], [0], tmp_path)


def test_variants_that_have_the_same_runs_are_refused(tmp_path):
    def study(*arguments):
        return Study(
            "t", {"a": Variant(text_only.EXPERIMENT), "b": Variant(text_only.EXPERIMENT, arguments)}, [0], tmp_path
        )

    assert len(study("--lr", "0.1").commands) == 2
    with pytest.raises(
        ValueError, match=r"^expected variants that differ .*, got a and b with the same runs, .*text_only"
    ):
        study()


def test_a_program_that_was_edited_is_noticed(dump, data, tmp_path, monkeypatch, capsys):
    path = tmp_path / "edited.py"
    path.write_text(Path(text_only.__file__).read_text())
    spec = importlib.util.spec_from_file_location("edited", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "edited", module)
    spec.loader.exec_module(module)
    table = Study("t", {"one": Variant(module.EXPERIMENT)}, [0, 1], tmp_path / "out", ["--data", dump(data), *SMALL])
    (first, begin), (_, other) = table.commands.items()
    assert module.main(begin[2:]) == 0
    before = sha256(path.read_bytes()).hexdigest()
    path.write_text(f"{path.read_text()}# another objective\n")
    capsys.readouterr()
    assert module.main(["--resume", str(first)]) == 0  # to its end, which it has reached
    after = sha256(path.read_bytes()).hexdigest()
    said = (
        f"edited.py: not the version that the run was started with, SHA-256 {before[:12]}…, but {after[:12]}…; the run"
    )
    assert said in capsys.readouterr().out
    assert module.main(other[2:]) == 0
    with pytest.warns(DataWarning, match=r"^edited\.py: expected runs of one version of this file, got 2, or programs"):
        table.table(resamples=0)
    assert [run["program_sha256"] for run in table.record()["runs"]] == [before, after]
    capsys.readouterr()
    assert module.main(["--resume", str(first.parent / "seed-1")]) == 0
    assert "not the version" not in capsys.readouterr().out


def test_a_run_that_fails_is_named(tmp_path):
    sweep = Study.sweep(text_only.EXPERIMENT, "lr", [0.1], [0], tmp_path, ["--data", str(tmp_path / "absent.pkl")])
    with pytest.raises(
        SeedsError, match=r"^1 of 1 runs failed: run lr 0\.1, seed 0, exit code 2, error: .*absent\.pkl"
    ):
        sweep.run(progress=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "absent"], "absent: expected the folder of a finished run, or of many seeds, got none"),
        (["compare", "x=a", "x=b"], "expected runs of different names, got one name twice; NAME=FOLDER gives another"),
        (["sweep", "text_only", "--out", "x"], "expected one option with its values, such as --lr 1e-4 1e-3, got none"),
        (["sweep", "digits", "--lr", "1", "--out", "x"], "expected the name of an example with an experiment"),
        (["sweep", "text_only", "--alpha", "1", "--out", "x"], "text_only.py: unknown option --alpha=1"),
        (
            ["sweep", "text_only", "--lr", "fast", "--out", "x"],
            "text_only.py: argument --lr: expected a number of at least 0, got fast",
        ),
        (["sweep", "text_only", "--lr", "1", "1", "--out", "x"], "expected values of --lr that are all different"),
        (["sweep", "text_only", "--resume", "1", "--out", "x"], "expected options other than --seed, --seeds"),
        (["sweep", "text_only", "--lr", "1", "--out", "x", "--", "--lr", "2"], "expected options other than --seed"),
        (["sweep", "text_only", "--lr", "1", "--epochs", "2", "--out", "x"], "expected one option with its values"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_before_anything_is_trained(
    arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
