"""What holds for every example, by example: it trains, goes on, has seeds, is evaluated and predicts, for every task."""

import json
import os
import re
import shutil
import signal
import time
from dataclasses import replace

import dlf
import gpfn_style
import graphcage
import lmf
import lmr_cbt
import mag_bert
import mfsa_style
import mird_mosi
import misa
import mult
import numpy as np
import pmr
import pytest
import self_mm
import text_only
import tfn
import torch
import tsd_style
import wsa_bert
from safetensors.torch import load_file

from disentangle import DisentangleError
from disentangle.data import Recordings, read_recordings, write_folder
from disentangle.experiments import open_trained, run_program
from disentangle.tasks import as_task
from disentangle.training import Run

from . import programs

SYSTEMS = {  # with what makes them small
    misa: [],
    mag_bert: [],
    wsa_bert: [],
    tfn: [],
    lmf: [],
    mult: ["--layers", 1],
    lmr_cbt: ["--layers", 1],
    pmr: ["--cycles", 1],
    graphcage: ["--layers", 1, "--vertices", 3, "--vertex-d", 8],
    gpfn_style: ["--layers", 1],
    mfsa_style: [],
    dlf: [],
    tsd_style: [],
}
SMALL = ["--backbone", "tiny", "--lr", "1e-3"]


def run(paper, *arguments):
    return paper.main([str(each) for each in arguments])


def stopped(number, paper, *arguments, out):
    """What a process of its own that gets a signal after its first epoch says, and the code that it ends with."""
    log = out.with_suffix(".txt")
    process = programs.start(paper.__name__, [*arguments, "--out", out], log)
    try:
        deadline = time.monotonic() + 120
        while not (out / "model" / "model.safetensors").exists():
            assert process.is_alive(), log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, number)
        process.join(60)
        return log.read_text(), process.exitcode
    finally:
        process.kill()


def weights(folder):
    return load_file(folder / "model" / "model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("paper", "number"),
    [(mird_mosi, signal.SIGTERM), (self_mm, signal.SIGINT), (text_only, signal.SIGKILL)],
    ids=["mird_mosi", "self_mm", "text_only"],
)
@pytest.mark.usefixtures("curves")
def test_it_trains_goes_on_is_evaluated_and_predicts(paper, number, dump, data, tmp_path, capsys):
    """Stopped after its first epoch, it leaves a folder that can be read, and ends as the run that was not."""
    options = ["--data", dump(data), *SMALL, "--epochs", 6]
    assert run(paper, *options, "--out", tmp_path / "whole") == 0
    table = capsys.readouterr().out
    out = tmp_path / "stopped"
    error, code = stopped(number, paper, *options, out=out)
    if number == signal.SIGKILL:
        assert code == -signal.SIGKILL
    else:
        assert code == 128 + number
        assert f"what there is can be read in {out}, and --resume {out} goes on" in error
        assert (out / "curves.png").stat().st_size > 0
    assert 1 <= len(Run.open(out).history) < 6
    assert run(paper, "evaluate", "--run", out) == 0
    assert run(paper, "--resume", out) == 0
    capsys.readouterr()
    whole, resumed = weights(tmp_path / "whole"), weights(out)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    results = [json.loads((folder / "result.json").read_text()) for folder in (tmp_path / "whole", out)]
    assert results[0] == results[1]
    monitored = min(record["valid"]["mae"] for record in Run.open(tmp_path / "whole").history)
    assert results[0]["valid"]["mae"] == monitored

    assert run(paper, "evaluate", "--run", tmp_path / "whole") == 0
    again = capsys.readouterr().out
    assert again[again.index(" mae") :].splitlines()[:5] == table[table.index(" mae") :].splitlines()[:5]
    assert run(paper, "predict", "--run", tmp_path / "whole", "--text", "so good", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    trained = open_trained(tmp_path / "whole", paper.EXPERIMENT.build)
    none = {m: [np.zeros((0, size), np.float32)] for m, size in trained.sizes.items()}
    assert said["prediction"] == pytest.approx(trained.outcomes(Recordings(["so good"], none))[0, 0], abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("paper", [text_only])  # the program is one for all papers
def test_an_example_has_seeds(paper, dump, data, tmp_path, capsys):
    out = tmp_path / "seeds"
    options = ["--data", dump(data), *SMALL, "--epochs", 1, "--clip-norm", 0.5, "--seeds", 0, 1, "--at-once", 2]
    assert run(paper, *options, "--out", out) == 0
    assert "2 seeds, mean ± sample standard deviation" in capsys.readouterr().out
    results = [json.loads((out / f"seed-{seed}" / "result.json").read_text())["test"]["mae"] for seed in (0, 1)]
    assert results[0] != results[1]
    assert json.loads((out / "result.json").read_text())["test"]["mae"]["mean"] == pytest.approx(np.mean(results))
    spread = f"{np.mean(results):.3f} ± {np.std(results, ddof=1):.3f}"
    for seed in (0, 1):  # each says what the others got
        card = (out / f"seed-{seed}" / "model" / "README.md").read_text()
        assert re.search(rf"2 seeds, mean ± sample standard deviation\n +mae .*\n(valid .*\n)?test +{spread} ", card)
        assert f"| seed | {seed} |" in card
    assert run(paper, "push", "--run", out, "--repo", "user/name") == 2
    assert f"expected one run, got those of several seeds: {out / 'seed-0'} is one" in capsys.readouterr().err
    configs = [Run.open(out / f"seed-{seed}").config for seed in (0, 1)]
    assert [(config["seed"], config["clip_norm"]) for config in configs] == [(0, 0.5), (1, 0.5)]
    assert run(paper, "--resume", out) == 0  # nothing is left to do
    assert "2 seeds" in capsys.readouterr().out


@pytest.mark.parametrize("paper", [mird_mosi, text_only], ids=lambda paper: paper.__name__)
def test_the_result_is_the_monitored_metric_in_half_precision_too(paper, dump, data, tmp_path):
    """Those of the other examples too, where each task is trained."""
    options = ["--data", dump(data), *SMALL, "--epochs", 2, "--precision", "bf16"]
    assert run(paper, *options, "--out", tmp_path / "run") == 0
    monitored = min(record["valid"]["mae"] for record in Run.open(tmp_path / "run").history)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["valid"]["mae"] == monitored


def test_a_paper_may_bring_metrics_of_its_own_and_keeps_the_side_of_words_that_it_read(dump, data, tmp_path, capsys):
    def metrics(task, outcomes, labels):
        return {**task.metrics(outcomes, labels), "largest": float(outcomes.max())}

    own = replace(text_only.EXPERIMENT, metrics=metrics)
    cut = ["--max-words", "2", "--truncation-side", "left"]
    options = ["--data", dump(data), *SMALL, "--epochs", "1", *cut, "--out", str(tmp_path / "run")]
    assert run_program(own, options) == 0
    said = capsys.readouterr().out
    assert " largest" in said
    assert "fill the 2 word pieces that are read; of longer ones the last are kept" in said
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    test = read_recordings(options[1])["test"]
    trained = open_trained(tmp_path / "run", text_only.TextOnly)
    assert trained.tokenizer.truncation_side == "left"
    outcomes = trained.outcomes(test)
    assert result["test"]["largest"] == pytest.approx(outcomes.max(), abs=1e-6)


EMOTIONS = ("anger", "joy", "neutral")
CLASSES = ["acc", "f1_weighted", "f1_macro", "auc"]


def emotions(folder):
    """A plain folder with an emotion by name, whether a joke, and three emotions that may come together."""

    def split(n, seed):
        draw = np.random.default_rng(seed)
        emotion = np.concatenate([[0, 1, 2], draw.integers(0, 3, n - 3)])
        sound = [draw.normal(e, 1, (draw.integers(3, 8), 5)).astype(np.float32) for e in emotion]
        together = {name: draw.integers(0, 3, n).astype(np.float32) for name in EMOTIONS}
        for values in together.values():
            values[:2] = 0, 1
        return Recordings(
            text=[f"so {EMOTIONS[e][: draw.integers(3, 5)]}" for e in emotion],
            sequences={"audio": sound},
            labels=emotion.astype(np.float32),
            more_labels={"joke": (emotion == 1).astype(np.float32), **together},
            class_names={"label": list(EMOTIONS)},
        )

    write_folder(folder, {"train": split(40, 0), "valid": split(12, 1), "test": split(12, 2)})
    return folder


@pytest.mark.parametrize(
    ("paper", "options", "kind", "metrics"),
    [
        *((paper, [], "classes", CLASSES) for paper in (self_mm, *SYSTEMS)),
        (misa, ["--label", "joke"], "binary", CLASSES),
        (misa, ["--label", "joke", "--task", "regression"], "regression", CLASSES),
        (
            misa,
            [part for name in EMOTIONS for part in ("--label", name)],
            "labels",
            [*CLASSES, "f1_anger", "f1_joy", "f1_neutral"],
        ),
    ],
    ids=[
        *(f"{paper.__name__}, classes" for paper in (self_mm, *SYSTEMS)),
        *("binary", "two classes as numbers", "labels at once"),
    ],
)
def test_every_task_is_trained_in_half_precision_evaluated_and_predicted(
    paper, options, kind, metrics, tmp_path, capsys
):
    out, folder, small = tmp_path / "run", emotions(tmp_path / "set"), [*SMALL, *SYSTEMS.get(paper, [])]
    small += ["--precision", "bf16"]
    assert run(paper, "--data", folder, *options, *small, "--epochs", 1, "--out", out) == 0
    result = json.loads((out / "result.json").read_text())
    assert list(result["test"]) == metrics
    assert result["valid"] == Run.open(out).history[0]["valid"]
    task = as_task(json.loads((out / "model" / "config.json").read_text())["task"])
    assert task.kind == kind
    assert f"labels    {task}" in capsys.readouterr().out
    assert run(paper, "evaluate", "--run", out) == 0
    assert run(paper, "predict", "--run", out, "--text", "so joy", "--json") == 0
    printed = capsys.readouterr().out
    said = json.loads(printed[printed.index("{") :])
    trained = open_trained(out, paper.EXPERIMENT.build)
    none = {m: [np.zeros((0, size), np.float32)] for m, size in trained.sizes.items()}
    outcomes = trained.outcomes(Recordings(["so joy"], none))
    if kind == "regression":
        assert said["prediction"] == pytest.approx(outcomes[0, 0], abs=1e-6)
    else:
        assert said["prediction"] == task.said(outcomes)[0]
        assert list(said["outcomes"]) == list(task.names)
    assert run(paper, "predict", "--run", out, "--data", folder, "--out", tmp_path / "said.csv") == 0
    first = (tmp_path / "said.csv").read_text().splitlines()[0]
    assert first.startswith("id,split,label,prediction,")
    assert all(name in first for name in (task.names if kind != "regression" else ()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "binary"], "train: expected 2 different labels for task binary, got 3"),
        (["--task", "regression"], "train: expected numbers for task regression, got names: anger, joy, neutral"),
        (["--task", "labels"], "train: expected several labels per row for task labels, got one"),
        (["--label", "sadness"], "expected labels of label, joke, anger, joy, neutral, got 'sadness'"),
        (
            ["--label", "joke", "--label", "joy", "--task", "classes"],
            "train: expected one label per row for task classes",
        ),
    ],
)
def test_labels_that_do_not_fit_the_task_are_one_clear_line(options, message, tmp_path, capsys):
    out, folder = tmp_path / "run", emotions(tmp_path / "set")
    assert run(text_only, "--data", folder, *options, *SMALL, "--out", out) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert message in error
    assert "\n" not in error
    assert not out.exists()


def test_what_earlier_versions_saved_is_loaded_or_refused_in_a_line(dump, data, tmp_path, capsys):
    """Earlier, the scale of the labels and what the data were stood among the arguments of the class."""
    out = tmp_path / "run"
    options = ["--data", dump(data), *SMALL, "--epochs", 1, "--penalty", "none", "--no-reconstruction"]
    assert run(mird_mosi, *options, "--out", out) == 0
    path = out / "model" / "config.json"
    config = json.loads(path.read_text())
    task, known = config.pop("task"), config.pop("_data")
    scale = {"kind": task["scale"], "values": task["values"]}
    earlier = {**config, "labels": scale, "max_words": known["max_words"], "computed_by": known["computed_by"]}
    capsys.readouterr()
    assert run(mird_mosi, "evaluate", "--run", out) == 0
    wanted = capsys.readouterr().out
    path.write_text(json.dumps(earlier))
    assert run(mird_mosi, "evaluate", "--run", out) == 0
    assert capsys.readouterr().out == wanted
    path.write_text(json.dumps(config))
    shutil.copytree(out / "model", tmp_path / "alone")
    with pytest.raises((DisentangleError, ValueError), match="expected"):
        open_trained(tmp_path / "alone", mird_mosi.MIRD)


def refused(capsys, paper, *arguments, code=2):
    assert run(paper, *arguments) == code
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_a_run_goes_on_by_its_own_program_and_data_alone(dump, data, tmp_path, capsys):
    path = dump(data)
    options = ["--data", path, *SMALL, "--epochs", 1]
    out = tmp_path / "run"
    assert run(text_only, *options, "--out", out) == 0
    assert (
        refused(capsys, self_mm, "--resume", out)
        == f"error: {out}: expected a run of self_mm.py, got one of text_only.py"
    )
    assert refused(capsys, mird_mosi, "evaluate", "--run", out).startswith("error: ")
    with pytest.raises(ValueError, match="expected a model of Linear, got one that it cannot be built from: "):
        open_trained(out, torch.nn.Linear)
    assert "expected the folder of a run, got one whose config.json has no options" in refused(
        capsys, text_only, "--resume", out / "model"
    )
    with Run.open(out).alone():
        line = refused(capsys, text_only, "--resume", out, code=1)
    assert line.startswith(f"error: {out}: expected no process that trains in it, got process ")
    data = {name: {**split, "regression_labels": -split["regression_labels"]} for name, split in data.items()}
    dump(data)
    assert refused(capsys, text_only, "--resume", out).startswith(
        f"error: {path}: expected the data that the run in {out} learnt from, SHA-256 "
    )
    assert run(text_only, "evaluate", "--run", out) == 0
    assert f"warning: {path}: not what the run learnt from" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--precision", "fp16", "--device", "cpu"], "expected a CUDA device for precision 'fp16', found none"),
        (["--tracker", "foo"], "expected a tracker that is installed"),
        (["--seeds", "0", "0"], "expected seeds that are all different, got 0, 0"),
    ],
)
def test_what_is_wrong_with_an_option_leaves_no_folder(dump, data, tmp_path, capsys, options, message):
    line = refused(capsys, text_only, "--data", dump(data), *SMALL, "--out", tmp_path / "run", *options)
    assert line.startswith(f"error: {message}")
    assert not (tmp_path / "run").exists()


def test_an_experiment_that_is_in_no_file_trains(dump, data, tmp_path, monkeypatch):
    """As in a notebook."""
    monkeypatch.setattr(text_only.TextOnly, "__module__", "nowhere")
    out = tmp_path / "run"
    assert run(text_only, "--data", dump(data), *SMALL, "--epochs", 1, "--out", out) == 0
    assert Run.open(out).config["_program"] is None
    assert run(text_only, "--resume", out) == 0
