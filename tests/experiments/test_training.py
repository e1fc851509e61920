"""What a run says of an experiment that is not as it should be."""

import json
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from disentangle import HSIC, Model, Pairwise
from disentangle.data import synthetic_recordings
from disentangle.data.layouts.folder import write_folder
from disentangle.errors import DataWarning, SavedModelError
from disentangle.experiments import Experiment, open_trained, run_program
from disentangle.experiments.options import parse
from disentangle.experiments.studies.costs import time_a_step
from disentangle.tasks import as_task

SPLITS = ("train", "valid", "test")


class Heard(Model):
    """What is heard and seen, as means, and a number from both."""

    def __init__(self, sizes, task):
        super().__init__()
        self.task = as_task(task)
        self.read = nn.ModuleDict({m: nn.Linear(size, 3) for m, size in sizes.items()})
        self.head = nn.Linear(3 * len(sizes), self.task.outputs)

    def forward(self, batch):
        return {m: layer(batch.sequences[m].mean()) for m, layer in self.read.items()}

    def present(self, batch):
        return {m: batch.present[m] for m in self.read}

    def predict(self, variables):
        return self.head(torch.cat([variables[m] for m in self.read], 1))

    def losses(self, variables, batch):
        return {"Y": self.task.loss(self.predict(variables), batch.labels, batch.labeled)}


def apart(model, options):
    return Pairwise({("audio", "vision"): HSIC()})


PAPER = Experiment(
    build=Heard,
    objective=lambda options: lambda losses, penalties: losses["Y"].mean() + sum(penalties.values()),
    penalty=apart,
    embedded={"lr": 1e-2, "epochs": 1},
    data=lambda: synthetic_recordings((40, 12, 12)),
)


def run(tmp_path, **changes):
    return run_program(replace(PAPER, **changes), ["--out", str(tmp_path / "run")])


@pytest.mark.parametrize(
    ("objective", "asked"),
    [
        (lambda losses, penalties: losses["X"].mean(), "'X'"),
        (lambda losses, penalties: losses["Y"].mean() + penalties["HSIC(vision;audio)"], "'HSIC(vision;audio)'"),
        (lambda losses, penalties: losses["Y"].mean() + sum(penalties["apart"].values()), "'apart'"),
    ],
)
def test_an_objective_that_asks_for_what_is_not_there_is_told_what_is(objective, asked, tmp_path):
    told = "expected an objective of the losses Y and the penalties HSIC(audio;vision), got one that asks for"
    with pytest.raises(ValueError, match=re.escape(f"{told} {asked}; ")) as caught:
        run(tmp_path, objective=lambda options: objective)
    assert isinstance(caught.value.__cause__, KeyError)  # whose place is in the objective


def test_the_names_of_several_kinds_are_told_with_their_kinds(tmp_path):
    def objective(losses, penalties):
        return losses["Y"].mean() + penalties["apart"]["HSIC(vision;audio)"]

    def penalty(model, options):
        return nn.ModuleDict({"apart": apart(model, options)})

    with pytest.raises(
        ValueError, match=r"and the penalties apart/HSIC\(audio;vision\), got one that asks for 'HSIC\(vision"
    ):
        run(tmp_path, objective=lambda options: objective, penalty=penalty)


def test_a_name_that_the_objective_misses_elsewhere_is_its_own_affair(tmp_path):
    with pytest.raises(KeyError, match="Y"):
        run(tmp_path, objective=lambda options: lambda losses, penalties: {}["Y"])


def test_parameters_that_no_optimizer_holds_are_counted_at_the_start(tmp_path, capsys):
    def head_alone(model, options):
        model.read["vision"].requires_grad_(False)  # on purpose: not counted
        return torch.optim.Adam(model.head.parameters(), options.lr)

    assert run(tmp_path, optimizer=head_alone) == 0
    *_, line = [line for line in capsys.readouterr().out.splitlines() if line.startswith("optimizer ")]
    audio = 3 * synthetic_recordings((2, 2, 2))["train"].feature_sizes["audio"] + 3
    named = "read.audio.weight, read.audio.bias"
    assert line == f"optimizer {audio} parameters that could learn are in no optimizer, and stay: {named}"
    assert run(tmp_path / "whole") == 0
    assert "optimizer" not in capsys.readouterr().out


def penalty_that_fails(model, options):
    raise ValueError("expected a penalty, got none")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"penalty": penalty_that_fails}, "expected a penalty, got none"),
        ({"objective": lambda options: {}[0]}, ""),
        (
            {"optimizer": lambda model, options: torch.optim.Adam([nn.Parameter(torch.zeros(1))])},
            "optimiser to hold some",
        ),
        ({"arguments": lambda options: {"limit": float("inf")}}, "expected config['limit'] to be JSON, got float: inf"),
        (
            {"options": lambda group: group.add_argument("--place", type=Path, default="x")},
            "config['place'] to be JSON",
        ),
    ],
)
def test_what_cannot_be_trained_leaves_no_folder(changes, said, tmp_path, capsys):
    with nullcontext() if said else pytest.raises(KeyError):
        assert run(tmp_path, **changes) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_step_is_timed_in_the_precision_that_is_asked_for():
    seen = []

    class Noting(Heard):
        def predict(self, variables):
            seen.append(super().predict(variables).dtype)
            return super().predict(variables)

    paper = replace(PAPER, build=Noting)
    options = parse(paper, ["--precision", "bf16", "--device", "cpu"])
    seconds, steps = time_a_step(paper, options, PAPER.data(), 1)
    assert set(seen) == {torch.bfloat16}
    assert (seconds > 0, steps) == (True, 2)


def with_domains():
    splits = PAPER.data()
    return {n: replace(r, more_labels={"domain": np.ones(len(r), np.float32)}) for n, r in splits.items()}


class OfDomains(Heard):
    def forward(self, batch):
        domain = batch.more_labels["domain"].values.unsqueeze(1)
        return {m: x * domain for m, x in super().forward(batch).items()}


def test_a_model_that_reads_labels_predicts_and_exports_nothing_and_says_why(tmp_path, capsys):
    paper = replace(PAPER, build=OfDomains, data=with_domains)
    assert run(tmp_path, build=OfDomains, data=with_domains) == 0
    np.save(tmp_path / "x.npy", np.ones((3, with_domains()["train"].feature_sizes["audio"]), np.float32))
    of_run = ["--run", str(tmp_path / "run")]
    for command in (
        ["predict", *of_run, "--audio", str(tmp_path / "x.npy")],
        ["export", *of_run, "--out", str(tmp_path / "model.onnx")],
    ):
        capsys.readouterr()
        assert run_program(paper, command) == 1
        error = capsys.readouterr().err
        assert (
            "expected one of the further labels, nothing, got 'domain': recordings to be predicted have none" in error
        )
        assert error.count("\n") == 1
    assert not (tmp_path / "model.onnx").exists()


def test_what_a_newer_version_notes_of_a_model_is_told(tmp_path):
    assert run(tmp_path) == 0
    path = tmp_path / "run" / "model" / "config.json"
    config = json.loads(path.read_text())
    config["_data"]["language"] = "en"
    path.write_text(json.dumps(config))
    with pytest.raises(SavedModelError, match="got language as well: a newer version of disentangle wrote it"):
        open_trained(tmp_path / "run", Heard)


def test_a_model_that_the_reports_do_not_know_is_told(tmp_path, capsys, recwarn):
    assert run(tmp_path) == 0
    open_trained(tmp_path / "run", Heard)
    assert warned(recwarn) == []
    lines = (tmp_path / "run" / "metrics.jsonl").read_text()
    (tmp_path / "run" / "metrics.jsonl").write_text("")
    told = f"model: expected none, by the reports of the run, got that of step {json.loads(lines)['step']}, which was given up"
    for folder in ("run", "run/model"):
        with pytest.warns(DataWarning, match=told):
            open_trained(tmp_path / folder, Heard)
    (tmp_path / "run" / "metrics.jsonl").unlink()  # the model's folder alone
    open_trained(tmp_path / "run", Heard)
    assert warned(recwarn) == []


def train_on(tmp_path, **splits):
    write_folder(tmp_path / "data", splits)
    arguments = ["--data", str(tmp_path / "data"), "--lr", "1e-2", "--epochs", "1", "--out", str(tmp_path / "run")]
    assert run_program(PAPER, arguments) == 0


def warned(recwarn, start=""):
    """The warnings about data so far, which are then forgotten."""
    lines = [str(each.message) for each in recwarn if each.category is DataWarning]
    recwarn.clear()
    return [line for line in lines if line.startswith(start)]


def test_test_rows_that_are_training_rows_are_said_before_training(tmp_path, recwarn):
    splits = synthetic_recordings((40, 12, 12))
    named = {name: replace(splits[name], ids=[f"{name}{i}" for i in range(len(splits[name]))]) for name in splits}
    named.pop("unlabeled", None)
    train_on(tmp_path / "apart", **named)
    renamed = replace(
        named["train"].select(range(3)), ids=["a", "b", "c"]
    )  # what is said twice may be another recording
    train_on(tmp_path / "renamed", **named | {"valid": renamed})
    assert warned(recwarn) == []
    train_on(tmp_path / "leak", **named | {"test": named["train"].select(range(5))})
    told = "test: 5 of 5 recordings are also in train: same id and transcript 5; for example train0 = train0"
    (line,) = warned(recwarn)
    assert line.startswith(f"{tmp_path / 'leak' / 'data'}: {told}")


def test_a_run_goes_on_by_the_labels_that_its_model_has_learnt(tmp_path, capsys):
    splits = synthetic_recordings((40, 12, 12))
    train_on(tmp_path, **{name: replace(splits[name], labels=splits[name].labels + 70) for name in SPLITS})
    place = tmp_path / "run" / "model" / "config.json"
    config = json.loads(place.read_text())
    assert config["task"].pop("mean") == pytest.approx(70, abs=0.5)
    assert config["task"].pop("std") > 0
    place.write_text(json.dumps(config))  # of a version that learnt them as they are
    assert open_trained(tmp_path / "run", Heard).task.mean == 0
    capsys.readouterr()
    assert run_program(PAPER, ["--resume", str(tmp_path / "run")]) == 0
    assert "learnt by squared error\n" in capsys.readouterr().out


@pytest.mark.parametrize(("unit", "middle"), [(1000.0, 0.0), (1e6, 5e6), (1e-4, 0.0), (1.0, 70.0)])
def test_labels_on_another_scale_are_learnt_like_standardised_ones(tmp_path, capsys, unit, middle):
    splits = synthetic_recordings((40, 12, 12))
    y = splits["train"].labels.astype(float)
    mean, std = y.mean(), y.std()

    def outcomes(name, change):
        of = {each: replace(splits[each], labels=change(splits[each].labels.astype(float))) for each in SPLITS}
        train_on(tmp_path / name, **of)
        kept = json.loads((tmp_path / name / "run" / "predictions.json").read_text())
        assert kept["ids"] == splits["test"].ids
        return np.array(kept["outcomes"])[:, 0]

    wanted = outcomes("standard", lambda y: (y - mean) / std)
    assert "learnt by squared error\n" in capsys.readouterr().out
    got = outcomes("other", lambda y: y * unit + middle)
    assert "learnt by squared error of (label - " in capsys.readouterr().out
    np.testing.assert_allclose((got - middle) / unit, wanted * std + mean, rtol=1e-3, atol=1e-3 * std)
