import json
import re
import sys

import pytest
import torch
from torch import nn

from disentangle.training import Run, RunError


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
        self.out.weight = self.table.weight


def test_weights_come_back_equal_shared_tables_included(tmp_path):
    run = Run.create(tmp_path / "run", {})
    first, second = Tied(), Tied()
    run.save("best", {"model": first, "penalty": nn.Linear(2, 2)})
    run.load("best", {"model": second, "penalty": nn.Linear(2, 2)})
    assert torch.equal(first.table.weight, second.table.weight)
    assert second.out.weight is second.table.weight


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


def test_a_torn_or_foreign_checkpoint_is_refused_and_nothing_is_loaded(tmp_path):
    run = Run.create(tmp_path / "run", {})
    run.save("last", {"model": nn.Linear(2, 2)})
    path = run.folder / "last.safetensors"
    model = nn.Linear(2, 2)
    before = model.weight.clone()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match="cannot be loaded"):
        run.load("last", {"model": model})
    path.write_bytes(whole)
    with pytest.raises(RunError, match="cannot be loaded"):
        run.load("last", {"model": nn.Linear(3, 2)})
    with pytest.raises(RunError, match="cannot be loaded"):
        run.load("best", {"model": model})
    assert torch.equal(model.weight, before)


def test_no_temporary_file_is_left(tmp_path):
    run = Run.create(tmp_path / "run", {})
    run.save("best", {"model": nn.Linear(2, 2)})
    run.log({"epoch": 1, "losses": {"Y": 1.0}})
    run.draw()
    names = {p.name for p in run.folder.iterdir()}
    assert names == {"config.json", "best.safetensors", "metrics.jsonl", "curves.png"}


def test_without_matplotlib_a_run_goes_on_and_says_so(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"] or ["matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    run = Run.create(tmp_path / "run", {})
    run.log({"epoch": 1, "losses": {"Y": 1.0}})
    with pytest.warns(UserWarning, match=r"no curves.png: .*disentangle\[plots\]"):
        run.draw()
    assert not (tmp_path / "run" / "curves.png").exists()
