"""What looks into finished models: embedded latents, cases, information over epochs."""

import json

import numpy as np
import pytest
import torch

from disentangle.errors import RunError
from disentangle.experiments.studies.cases import Cases, spread
from disentangle.experiments.studies.embedding import embed
from disentangle.experiments.studies.information_curves import information_curves
from disentangle.training import Run


def test_latents_that_lie_apart_are_embedded_apart(tmp_path):
    apart = {"L": torch.randn(40, 4), "S": torch.randn(40, 4) + 20}
    found = embed({"apart": apart, "mixed": {"L": torch.randn(40, 4), "S": torch.randn(40, 4)}}, rows=20)
    assert found.silhouettes["apart"] > 0.8
    assert found.silhouettes["mixed"] < 0.2
    assert found.points["apart"]["S"].shape == (20, 2)
    assert found.to_csv().count("\n") == 1 + 2 * 2 * 20
    found.save(tmp_path, "figure4")
    assert (tmp_path / "figure4.png").stat().st_size > 0


def test_cases_are_spread_over_the_labels_and_say_what_models_say(tmp_path):
    labels = np.random.default_rng(0).uniform(-3, 3, 50)
    places = spread(labels, 5)
    assert [labels[places[0]], labels[places[-1]]] == [labels.min(), labels.max()]
    assert list(labels[places]) == sorted(labels[places])
    cases = Cases([3, 7], ["so good", ""], [2.5, -1.0], {"MIM": [2.0, -0.04], "OC": [1.0, 0.0]})
    assert "| so good | 2.5 | 2.0 | 1.0 |" in cases.to_markdown()
    cases.save(tmp_path, "figure8")
    assert (tmp_path / "figure8.png").stat().st_size > 0


def test_the_penalty_and_a_meter_are_summed_over_the_pairs_of_latents(tmp_path):
    """Of two epochs: in the first L tells all of S, in the second nothing."""
    run = Run.create(tmp_path / "run", {})
    (run.folder / "variables").mkdir()
    draw = np.random.default_rng(0)
    s = draw.normal(size=(400, 1))
    for epoch, told in ((1, s), (2, draw.normal(size=(400, 1)))):
        np.savez(run.folder / "variables" / f"epoch-{epoch:04d}.npz", L=told + 0.5 * draw.normal(size=(400, 1)), S=s)
        run.log({"epoch": epoch, "penalties": {"CLUB(L;S)": 0.5 * epoch, "CLUB(X_L;S)": 9.0}})
    rows = np.arange(400) < 300
    curves = information_curves({"ours": run.folder}, [("L", "S")], rows)
    assert curves.own == {"ours": {1: 0.5, 2: 1.0}}
    assert curves.meter["ours"][1] == pytest.approx(0.5 * np.log(5), abs=0.15)  # a correlation of 0.8 ** 0.5
    assert abs(curves.meter["ours"][2]) < 0.05
    curves.save(tmp_path, "figure5")
    assert (tmp_path / "figure5.png").stat().st_size > 0
    other = Run.create(tmp_path / "other", {})
    (other.folder / "metrics.jsonl").write_text(json.dumps({"epoch": 1, "penalties": {}}) + "\n")
    with pytest.raises(RunError, match="expected a run with --keep-variables and a penalty on its latents"):
        information_curves({"other": other.folder}, [("L", "S")], rows)


def test_a_meter_reads_wide_latents_from_few_rows(tmp_path):
    """80 rows of 64 features: more than a copula can measure, if it were given them all."""
    run = Run.create(tmp_path / "run", {})
    (run.folder / "variables").mkdir()
    draw = np.random.default_rng(0)
    shared, noise = 5 * draw.normal(size=(80, 1)), draw.normal(size=(2, 80, 64))
    wide = {"L": shared + noise[0], "S": shared + noise[1], "A": noise[1][::-1]}  # the shared direction leads
    np.savez(run.folder / "variables" / "epoch-0001.npz", **wide)
    run.log({"epoch": 1, "penalties": {"CLUB(L;S)": 1.0, "CLUB(L;A)": 1.0}})
    told, nothing = (
        information_curves({"ours": run.folder}, [pair], np.ones(80, bool)).meter["ours"][1]
        for pair in (("L", "S"), ("L", "A"))
    )
    assert told > 2
    assert nothing < 0.5
