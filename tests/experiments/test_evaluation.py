"""What is measured of a model, on which splits, and what stands beside it."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from disentangle import Model
from disentangle.data import RecordingDataset, synthetic_recordings
from disentangle.data.layouts.folder import write_folder
from disentangle.experiments import run_program
from disentangle.experiments.evaluation import outcomes_of
from disentangle.tasks import SENTIMENT
from tests.experiments.test_training import PAPER


class Constant(Model):
    def __init__(self, scores):
        super().__init__()
        self.scores = scores

    def forward(self, batch):
        return {"rows": torch.zeros(len(batch.labels), self.scores)}

    def predict(self, variables):
        return variables["rows"]


def test_scores_of_another_number_are_refused_and_not_taken_for_more_rows():
    dataset = RecordingDataset(synthetic_recordings((2, 2, 6))["test"], None)
    outcomes, labels = outcomes_of(Constant(1), dataset, SENTIMENT)
    np.testing.assert_array_equal(outcomes, np.zeros((len(labels), 1)))
    with pytest.raises(ValueError, match=r"^expected 1 score per row, \(N,\) or \(N, 1\), got \(6, 2\): "):
        outcomes_of(Constant(2), dataset, SENTIMENT)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on labels whose mean is 0.5 or so."""
    folder = tmp_path_factory.mktemp("evaluated")
    splits = {
        name: moved(split, 0.5) for name, split in synthetic_recordings((40, 12, 12)).items() if name != "unlabeled"
    }
    write_folder(folder / "data", splits)
    arguments = ["--data", str(folder / "data"), "--lr", "1e-2", "--epochs", "1", "--out", str(folder / "run")]
    assert run_program(PAPER, arguments) == 0
    return folder / "run"


def moved(split, by):
    return replace(split, labels=split.labels + np.float32(by))


def evaluated(run, capsys, *arguments):
    """The rows of the table that `evaluate` prints, `{name: mae}`."""
    assert run_program(PAPER, ["evaluate", "--run", str(run), *map(str, arguments)]) == 0
    _, *lines = capsys.readouterr().out.partition(" mae ")[2].splitlines()
    return {line.rsplit("  ", line.count("  "))[0].strip(): float(line.split("  ")[1]) for line in map(tidy, lines)}


def tidy(line):
    """A row whose cells are two blanks apart."""
    return "  ".join(filter(None, (cell.strip() for cell in line.split("  "))))


def test_what_knows_the_labels_alone_knows_those_that_the_run_learnt_from(run, tmp_path, capsys):
    other = {
        name: moved(split, 10) for name, split in synthetic_recordings((40, 12, 12)).items() if name != "unlabeled"
    }
    write_folder(tmp_path / "other", other)
    table = evaluated(run, capsys, "--data", tmp_path / "other")
    learnt = synthetic_recordings((40, 12, 12))["train"].labels.mean() + 0.5
    assert table["test, training mean"] == pytest.approx(np.abs(other["test"].labels - learnt).mean(), abs=1e-3)


def test_a_run_of_an_earlier_version_says_whose_labels_they_are(run, tmp_path, capsys):
    config = run / "model" / "config.json"
    content = config.read_text()
    earlier = json.loads(content)
    del earlier["_data"]["baselines"]
    config.write_text(json.dumps(earlier))
    data = run.parent / "data"
    assert list(evaluated(run, capsys)) == ["valid", "test", "valid, training mean", "test, training mean"]
    table = evaluated(run, capsys, "--data", data)
    assert list(table) == ["valid", "test", f"valid, mean of {data}: train", f"test, mean of {data}: train"]
    config.write_text(content)


@pytest.mark.parametrize("of", ["a folder", "a pickle"])
def test_a_test_set_alone_is_measured(run, tmp_path, capsys, of):
    test = moved(synthetic_recordings((40, 12, 12))["test"], 0.5)
    path = tmp_path / "test"
    if of == "a folder":
        write_folder(path, {"test": test})
    else:
        frames = {name: np.zeros((12, 60, each[0].shape[1]), np.float32) for name, each in test.sequences.items()}
        for name, each in test.sequences.items():
            for i, real in enumerate(each):
                frames[name][i, : len(real)] = real
        split = {"raw_text": test.text, **frames, "regression_labels": test.labels, "id": test.ids}
        path.write_bytes(pickle.dumps({"test": split}))
    whole = evaluated(run, capsys)
    alone = evaluated(run, capsys, "--data", path)
    assert alone == {name: whole[name] for name in ("test", "test, training mean")}


def test_training_data_alone_is_not_measured(run, tmp_path, capsys):
    splits = synthetic_recordings((40, 12, 12))
    write_folder(tmp_path / "train", {"train": splits["train"], "test": replace(splits["test"], labels=None)})
    assert run_program(PAPER, ["evaluate", "--run", str(run), "--data", str(tmp_path / "train")]) == 2
    wanted = "train: expected recordings of valid or test with labels, got train 40, test 12 without labels\n"
    assert capsys.readouterr().err.endswith(wanted)
