"""The examples say what the labels are before they train, and measure by what follows from it."""

import json
import re

import mird_mosi
import numpy as np
import pytest
import text_only

from disentangle.experiments.options import parse
from disentangle.metrics import label_scale
from disentangle.nn.backbones import tiny_backbone
from disentangle.tasks import Binary
from disentangle.training import Run

from .test_mird_mosi import run

FAST = ["--backbone", "tiny", "--epochs", 1, "--lr", 1e-3, "--penalty", "none", "--no-reconstruction"]
SARCASM = {"train": np.arange(40) % 3 < 1, "valid": np.arange(12) % 4 < 1, "test": np.arange(12) % 2 < 1}


def relabeled(data, labels):
    """The data set with labels of another kind."""
    return {name: {**split, "regression_labels": np.asarray(labels[name], float)} for name, split in data.items()}


def printed(said, first):
    """The last table that was printed whose first column has this name: cells by column, by the name of the row."""
    header, *lines = re.findall(rf"^ +{first}\b.*\n(?:\w.* [-\d.]+$\n?)+", said, re.MULTILINE)[-1].splitlines()
    cells = {name: values for name, *values in (re.split(r"  +", line) for line in lines)}
    return {
        name: {
            column: None if value == "-" else float(value) for column, value in zip(header.split(), values, strict=True)
        }
        for name, values in cells.items()
    }


def test_a_run_on_two_classes_shows_what_the_majority_scores(dump, data, tmp_path, capsys):
    out = tmp_path / "run"
    assert run("--data", dump(relabeled(data, SARCASM)), *FAST, "--out", out) == 0
    said = capsys.readouterr().out
    (line,) = (line for line in said.splitlines() if line.startswith("labels "))
    assert line.split(maxsplit=1)[1] == str(Binary((0.0, 1.0), ("0", "1")))
    assert said.index(line) < said.index("backbone")  # before anything is trained
    table = printed(said, "acc")
    assert list(table) == ["valid", "test", "valid, training majority", "test, training majority"]
    for split in ("valid", "test"):
        share = SARCASM[split].mean()  # of the minority of training
        majority = table[f"{split}, training majority"]
        assert majority == pytest.approx(
            {
                "acc": 1 - share,
                "f1_weighted": (1 - share) * 2 * (1 - share) / (2 - share),
                "f1_macro": (1 - share) / (2 - share),
                "auc": 0.5,
            },
            abs=5e-4,
        )
        assert set(table[split]) == set(majority)
    assert run("evaluate", "--run", out) == 0
    assert printed(capsys.readouterr().out, "acc") == table
    assert run("predict", "--run", out, "--text", "so good") == 0
    first = capsys.readouterr().out.splitlines()[0]
    said, probability = re.fullmatch(r"prediction ([01]); probability of 1 ([.\d]+)", first).groups()
    assert int(said) == (float(probability) >= 0.5)
    assert max(record["valid"]["f1_weighted"] for record in Run.open(out).history) == pytest.approx(
        json.loads((out / "result.json").read_text())["valid"]["f1_weighted"]
    )


def test_the_scale_of_training_holds_for_a_split_that_looks_otherwise(dump, data, tmp_path, capsys):
    changed = relabeled(data, {name: split["regression_labels"] for name, split in data.items()})
    changed["test"]["regression_labels"] = np.arange(12) % 2.0
    out = tmp_path / "run"
    assert run("--data", dump(changed), *FAST, "--out", out) == 0
    said = capsys.readouterr().out
    assert re.search(r"^ +test: its labels are 0, 1 only, where training has -\d", said, re.MULTILINE)
    assert set(json.loads((out / "result.json").read_text())["test"]) == set(label_scale([-3.0, 0.5, 3.0]).names)


def test_a_run_is_evaluated_by_what_it_was_trained_on(dump, data, tmp_path, capsys):
    """CH-SIMS' labels, and a file of two classes that has nothing to do with them."""
    steps = {name: np.arange(len(split["raw_text"])) % 11 / 5 - 1 for name, split in data.items()}
    out = tmp_path / "run"
    assert run("--data", dump(relabeled(data, steps)), *FAST, "--out", out) == 0
    table = printed(capsys.readouterr().out, "mae")
    assert list(table["test"]) == ["mae", "corr", "acc2_sims", "f1_sims", "acc3_sims", "acc5_sims"]
    other = dump(relabeled(data, SARCASM), "other.pkl")
    assert run("evaluate", "--run", out, "--data", other) == 0
    said = capsys.readouterr().out
    assert list(printed(said, "mae")["test"]) == list(table["test"])
    assert re.search(r"^ +train: its labels are 0, 1 only, where training has -1 to 1;", said, re.MULTILINE)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train": np.ones(40)}, "train: expected labels of at least 2 different values, got 1 of all 40"),
        ({"test": np.arange(12) % 3}, "test: expected labels 0, 1 as in training, got 2"),
    ],
)
def test_labels_that_cannot_be_measured_are_refused_before_anything_is_made(
    dump, data, tmp_path, capsys, changed, message
):
    path, out = dump(relabeled(data, {**SARCASM, **changed})), tmp_path / "run"
    for arguments in ([], ["--seeds", 0, 1]):
        assert run("--data", path, *FAST, *arguments, "--out", out) == 2
        assert capsys.readouterr().err.strip() == f"error: {message}"
        assert not out.exists()


def test_seeds_show_what_the_labels_are_and_what_the_majority_scores(dump, data, tmp_path, capsys):
    """Of runs that have finished already: whether they train is tested elsewhere."""
    out, scores = tmp_path / "seeds", {0: 0.5, 1: 0.75}
    command = ["--data", dump(relabeled(data, SARCASM)), *FAST, "--seeds", 0, 1, "--out", out]
    options = parse(mird_mosi.EXPERIMENT, [str(each) for each in command])
    folder = Run.create(out, vars(options)).folder
    for seed, acc in scores.items():
        (folder / f"seed-{seed}").mkdir()
        (folder / f"seed-{seed}" / "result.json").write_text(json.dumps({"test": {"acc": acc}}))
    assert run("--resume", out) == 0
    said = capsys.readouterr().out
    assert said.startswith("labels    0 or 1: two classes")
    assert "test  0.625 ± 0.177" in said
    assert printed(said, "acc")["test, training majority"]["acc"] == 0.5


def test_text_only_measures_the_same_way(dump, data, tmp_path, capsys):
    model, tokenizer = tiny_backbone(["good bad film so not very"] * 5, hidden_size=8, layers=2, heads=2)
    model.save_pretrained(tmp_path / "backbone")
    tokenizer.save_pretrained(tmp_path / "backbone")
    path = dump(relabeled(data, SARCASM))
    options = ["--data", path, "--backbone", str(tmp_path / "backbone"), "--epochs", "1", "--lr", "1e-3"]
    assert text_only.main([*options, "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "\nlabels    0 or 1: two classes" in said
    assert printed(said, "acc")["test, training majority"]["auc"] == 0.5
