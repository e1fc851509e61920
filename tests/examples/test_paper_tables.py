"""The tables of the paper from the command line: which runs they need, share and keep, and what is written of them."""

import json
from hashlib import sha256
from pathlib import Path

import mird_mosi
import numpy as np
import paper_tables
import pytest
import study
import text_only
import torch
from paper_tables import Setting

from disentangle.data import RecordingDataset, collate, read_recordings, synthetic_recordings
from disentangle.experiments import open_trained
from disentangle.nn.backbones import tiny_backbone

SMALL = ("--backbone", "tiny", "--epochs", "1", "--lr", "1e-3")


def run(*arguments):
    return study.main([str(each) for each in arguments])


def train(commands, paper=text_only):
    """What `run_each` does in processes of their own, which take longer to start than to train."""
    for path, command in commands.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        assert paper.main(command[2:]) == 0


def test_a_table_says_how_it_came_about(dump, data, tmp_path, capsys):
    file, out = dump(data), tmp_path / "study"
    train(paper_tables.table1(Setting(data=file, out=str(out), more=SMALL, systems=["text_only"])).commands)
    (result,) = out.rglob("result.json")
    written = result.stat().st_mtime_ns
    capsys.readouterr()
    asked = ["table1", "--systems", "text_only", "--data", file, "--out", out, "--resamples", 20, "--", *SMALL]
    assert run(*asked) == 0  # nothing is left to train
    assert result.stat().st_mtime_ns == written
    printed = capsys.readouterr()
    assert "text_only      1" in printed.out
    assert "1/1" in printed.err
    assert all((out / f"table1.{ending}").stat().st_size for ending in ("md", "csv", "tex", "png"))
    record = json.loads((out / "table1.json").read_text())
    assert record["command"] == ["python", "examples/study.py", *map(str, asked)]
    assert record["data"] == {file: sha256(Path(file).read_bytes()).hexdigest()}
    assert record["versions"]["torch"] == torch.__version__
    (one,) = record["runs"]
    assert (one["system"], one["seed"], out / one["folder"]) == ("text_only", 0, result.parent)
    assert one["seconds"] > 0

    dump({**data, "valid": data["test"]})
    assert run(*asked) == 2
    assert f"error: {file}: expected the file that the runs in {out} learnt from" in capsys.readouterr().err


def test_tables_share_their_runs(dump, data, tmp_path):
    setting = Setting(data=dump(data), out=str(tmp_path), seeds=(0, 1))
    table4, table5, figure7 = (
        make(setting) for make in (paper_tables.table4, paper_tables.table5, paper_tables.figure7)
    )
    assert len(table4.commands) == 8
    assert len(table4.commands.keys() & table5.commands.keys()) == 4  # without inputs, and without any penalty
    assert table4.folder_of("1. no unlabeled data") == figure7.folder_of("0.1")
    other = paper_tables.table5(Setting(data=setting.data, out=setting.out, seeds=(0, 1), more=("--epochs", "3")))
    assert not table5.commands.keys() & other.commands.keys()


def test_a_dry_run_says_what_is_left_and_how_long_it_takes_and_writes_nothing(dump, data, tmp_path, capsys):
    out = tmp_path / "study"
    asked = ["table1", "--systems", "text_only", "--data", dump(data), "--seeds", 0, 1, "--out", out]
    assert run(*asked, "--dry-run", "--", "--backbone", "tiny", "--epochs", 3) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("text_only.py --data" in line for line in lines) == 2
    (line,) = [line.split() for line in lines if line.startswith("text_only/")]
    assert line[1:3] == ["2", "6"]  # runs that are left; 40 rows in batches of 32 are 2 steps per epoch
    assert float(line[3]) > 0
    assert lines[-1].startswith("2 of 2 runs are left: about ")
    assert not out.exists()


def test_a_run_that_was_stopped_goes_on_and_one_that_fails_is_said(dump, data, tmp_path, capsys):
    setting = Setting(data=dump(data), out=str(tmp_path), more=SMALL, systems=["text_only"])
    one = paper_tables.table1(setting)
    (folder,) = one.commands
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    assert one.commands[folder][2:] == ["--resume", str(folder)]
    assert run("table1", "--systems", "text_only", "--data", setting.data, "--out", tmp_path, "--", *SMALL) == 1
    assert "error: 1 of 1 runs failed: run text_only, seed 0, exit code" in capsys.readouterr().err
    assert not (tmp_path / "table1.md").exists()


def test_all_examples_with_a_text_encoder_are_systems():
    names = paper_tables.systems()
    assert names[0] == "text_only"
    assert names[-1] == "mird_mosi"
    assert {"misa", "mag_bert", "tfn", "lmf", "self_mm"} <= set(names)
    assert not {"study", "digits", "speech", "paper_tables"} & set(names)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table1", "--systems", "digits"], "expected the name of an example with an experiment"),
        (["table6"], "table6: expected unlabelled recordings, by --unlabeled FILE or in --data, got none"),
        (["table4", "--seeds", "1", "1"], "expected seeds that are all different"),
        (["table4", "--", "--seed", "1"], "expected options other than --seed"),
        (["figure7", "--alphas", "much"], "figure7: expected numbers, got much"),
        (
            ["figure7", "--", "--alpha", "0.3"],
            "figure7: expected options of every run without --alpha, got --alpha 0.3",
        ),
        (["figure7", "--", "--preset", "independent"], "figure7: expected options of every run without --preset, got"),
        (["figure7", "--", "--alph", "0.5"], "mird_mosi.py: unknown option --alph"),
        (["table4", "--", "--colour", "red"], "mird_mosi.py: unknown option --colour"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_before_anything_is_trained(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_with_unlabeled_recordings_there_are_more_lines(dump, unlabeled, tmp_path):
    setting = Setting(unlabeled=dump(unlabeled), out=str(tmp_path), systems=["misa", "mird_mosi"])
    tables = paper_tables.table1, paper_tables.table4, paper_tables.table5, paper_tables.table6, paper_tables.figure6
    table1, table4, table5, table6, figure6 = (make(setting) for make in tables)
    assert list(table1.systems) == ["misa", "MIRD", "MIRD, unlabeled data"]
    assert "--unlabeled" not in table1.systems["misa"].arguments  # it has no use for them
    with_unlabeled = {name for name, each in table4.systems.items() if "--unlabeled" in each.arguments}
    assert with_unlabeled == {"MIRD, unlabeled data"}  # as in the paper: further lines take parts away from line 1
    assert table4.folder_of("2. and no penalty on inputs") == table5.folder_of("MIM")
    assert table4.folder_of("3. and none on latents") == table5.folder_of("none")
    assert table6.folder_of("4. nothing") == table1.folder_of("MIRD") == figure6.folder_of("0")
    assert table6.folder_of("1. penalty and reconstruction") == figure6.folder_of("1")


@pytest.mark.parametrize("used_for", ["both", "penalty", "reconstruction"])
def test_unlabeled_rows_serve_what_they_shall(used_for):
    recordings = synthetic_recordings((6, 1, 1))["train"]
    assert recordings.labels is not None
    recordings.labels[3:] = float("nan")
    backbone, tokenizer = tiny_backbone(recordings.text, hidden_size=16, layers=2)
    model = mird_mosi.MIRD(backbone, recordings.feature_sizes, d=4, unlabeled_for=used_for)
    dataset = RecordingDataset(recordings, tokenizer)
    batch = collate([dataset[i] for i in range(6)])
    rows = {True: 6, False: 3}
    for training in (True, False):
        model.train(training)
        present, losses = model.present(batch), model.losses(model(batch), batch)
        both = not training or used_for == "both"
        assert {int(each.sum()) for each in present.values()} == {rows[both or used_for == "penalty"]}
        assert {len(losses[f"recon_{m}"].values) for m in "LAV"} == {rows[both or used_for == "reconstruction"]}
        assert int(losses["Y"].weights.sum()) == 3


def test_some_modalities_alone_are_learnt_from_and_asked_for(dump, data, tmp_path, capsys):
    out = tmp_path / "run"
    options = ["--modalities", "audio", "--batch-size", "16", "--keep-variables", "--data", dump(data), *SMALL]
    assert text_only.main([*options, "--out", str(out)]) == 0
    trained = open_trained(out, text_only.TextOnly)
    assert trained.modalities == ("audio",)
    test = read_recordings(dump(data))["test"]
    said = trained.outcomes(test)
    assert (said == said[0]).all()  # it has nothing to read
    assert json.loads((out / "metrics.jsonl").read_text())["step"] == 3  # 40 rows in batches of 16
    with np.load(out / "variables" / "epoch-0001.npz") as kept:
        assert kept["L"].shape == (12, 64)
    assert text_only.main(["--modalities", "smell", "--data", dump(data), *SMALL, "--out", str(tmp_path / "no")]) == 2
    assert "error: expected modalities of text, audio, vision, got smell" in capsys.readouterr().err
