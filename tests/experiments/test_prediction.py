"""What is written of predictions on any scale of labels."""

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from disentangle.data import read_recordings, synthetic_recordings
from disentangle.data.layouts.folder import write_folder
from disentangle.experiments import open_trained, run_program
from tests.experiments.test_training import PAPER, Heard


def trained(folder, labels):
    """A run on recordings with other labels, and its data."""
    splits = {name: split for name, split in synthetic_recordings((40, 12, 12)).items() if name != "unlabeled"}
    splits = {name: replace(split, labels=labels(split.labels).astype(np.float32)) for name, split in splits.items()}
    write_folder(folder / "data", splits)
    arguments = ["--data", str(folder / "data"), "--lr", "1e-2", "--epochs", "1", "--out", str(folder / "run")]
    assert run_program(PAPER, arguments) == 0
    return folder


def predicted(folder):
    arguments = ["predict", "--run", folder / "run", "--data", folder / "data", "--out", folder / "said.csv"]
    assert run_program(PAPER, list(map(str, arguments))) == 0
    with open(folder / "said.csv", newline="") as file:
        return [row for row in csv.DictReader(file) if row["split"] == "test"]


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0])
def test_a_table_of_predictions_loses_nothing_of_numbers_of_any_size(tmp_path, scale):
    rows = predicted(trained(tmp_path, lambda labels: labels / 3 * scale))
    test = read_recordings(tmp_path / "data")["test"]
    np.testing.assert_array_equal([np.float32(row["label"]) for row in rows], test.labels)
    whole, contributions = open_trained(tmp_path / "run", Heard).explain(test)
    np.testing.assert_array_equal([np.float32(row["prediction"]) for row in rows], whole[:, 0].astype(np.float32))
    np.testing.assert_allclose([float(row["contribution_audio"]) for row in rows], contributions["audio"], rtol=1e-8)


def test_metrics_can_be_computed_again_from_a_table_of_probabilities(tmp_path):
    from sklearn.metrics import roc_auc_score

    rows = predicted(trained(tmp_path, lambda labels: labels > 0))
    auc = roc_auc_score([float(row["label"]) for row in rows], [float(row["probability of 1"]) for row in rows])
    assert auc == json.loads((tmp_path / "run" / "result.json").read_text())["test"]["auc"]
    whole = open_trained(tmp_path / "run", Heard).outcomes(read_recordings(tmp_path / "data")["test"])
    np.testing.assert_allclose([float(row["probability of 1"]) for row in rows], whole[:, 0], rtol=1e-8)


def test_what_is_printed_of_small_numbers_has_their_digits(tmp_path, capsys):
    trained(tmp_path, lambda labels: labels / 3 * 1e-3)
    assert run_program(PAPER, ["evaluate", "--run", str(tmp_path / "run")]) == 0
    *_, line = re.findall(r"^test, training mean +(\S+)", capsys.readouterr().out, re.MULTILINE)
    assert re.fullmatch(r"0\.000[1-9]\d\d", line)
