"""The card of a run's model says what is so, and what it tells one to do can be done."""

import json
import pickle
import re
import shlex
import shutil
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import mird_mosi
import numpy as np
import pytest
import text_only
import torch
from huggingface_hub import ModelCard

from disentangle import dependence_report
from disentangle.data import read_recordings
from disentangle.errors import RunError
from disentangle.experiments import write_card
from disentangle.experiments.options import parse
from disentangle.numbers_as_text import for_readers
from disentangle.training import Run

from .conftest import EXAMPLES, content

OPTIONS = ["--penalty", "hsic", "--alpha", "0.3", "--latent-size", "8", "--modalities", "text", "audio", "--seed", "3"]


def run(paper, *arguments):
    return paper.main([str(each) for each in arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data, unlabeled):
    """A run of MIRD, its data, and other recordings that it learnt from."""
    folder = tmp_path_factory.mktemp("my runs")
    (folder / "data.pkl").write_bytes(pickle.dumps({**data, "test": content(60, 5)}))
    (folder / "more.pkl").write_bytes(pickle.dumps({"unlabeled": unlabeled}))
    files = ["--data", folder / "data.pkl", "--unlabeled", folder / "more.pkl", "--backbone", "tiny"]
    assert run(mird_mosi, *files, *OPTIONS, "--epochs", 2, "--out", folder / "run") == 0
    return folder


@pytest.fixture
def copy(trained, tmp_path):
    """The same, where a test may change it."""
    return shutil.copytree(trained, tmp_path / "copy")


def card_of(folder):
    return ModelCard.load(folder / "run" / "model" / "README.md")


def block(card, kind):
    return re.search(rf"^```{kind}\n(.*?)^```$", card.text, re.MULTILINE | re.DOTALL)[1]


def row(card, name):
    return re.search(rf"^\| {re.escape(name)} \| (.*) \|$", card.text, re.MULTILINE)[1]


def test_the_metadata_are_the_results(trained):
    data = card_of(trained).data
    result = json.loads((trained / "run" / "result.json").read_text())
    told = {(each.dataset_split, each.metric_type): each.metric_value for each in data.eval_results}
    assert told == {
        (split, name): value for split, of in result.items() for name, value in of.items() if value is not None
    }
    assert {each.dataset_name for each in data.eval_results} == {"data.pkl"}
    assert (data.library_name, data.model_name, data.base_model) == ("disentangle", "MIRD", None)


def test_the_code_of_the_card_opens_the_model(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained / "run" / "model")
    namespace = {}
    exec(block(card_of(trained), "python"), namespace)
    assert capsys.readouterr().out.startswith("('text', 'audio') ")
    recordings = read_recordings(trained / "data.pkl")["test"]
    kept = json.loads((trained / "run" / "predictions.json").read_text())["outcomes"]
    own = {"recordings": recordings, "trained": namespace["trained"]}
    np.testing.assert_allclose(eval("trained.outcomes(recordings)", own), kept, atol=1e-6)
    assert {"L", "A", "S"} <= eval("trained.encode(recordings)", own).keys()


def test_the_command_of_the_card_has_the_options_of_the_run(trained):
    python, program, *arguments = shlex.split(block(card_of(trained), "sh"))
    assert (python, program) == ("python", "mird_mosi.py")
    assert "--batch-size" not in arguments  # it is at its default
    elsewhere = {"out": None, "data": "data.pkl", "unlabeled": "more.pkl"}
    config = Run.open(trained / "run").config
    options = {name: value for name, value in config.items() if not name.startswith("_")}
    assert {**vars(parse(mird_mosi.EXPERIMENT, arguments)), "out": None} == {**options, **elsewhere}


def test_the_data_and_the_epoch_are_those_of_the_run(trained):
    card = card_of(trained)
    assert row(card, "name") == "data.pkl"
    assert row(card, "SHA-256") == sha256((trained / "data.pkl").read_bytes()).hexdigest()
    assert row(card, "recordings with a label") == "train 40, valid 12, test 60"
    assert row(card, "without one, learnt from too") == "15"
    assert row(card, "modalities") == "text (at most 256 word pieces), audio (5 features)"
    reports = Run.open(trained / "run").history
    best = min(reports, key=lambda report: report["valid"]["mae"])
    assert row(card, "weights") == f"of epoch {best['epoch']} of 2, with the minimum of mae on valid"
    for name, value in best["penalties"].items():
        assert f"\n{name}" in card.text
        assert for_readers(value) in card.text
    assert "This is one run: how much another seed changes is not known here." in card.text
    assert str(trained) not in card.content  # nor any other path of this machine
    assert str(Path.home()) not in card.content


def test_what_was_measured_since_is_added(copy):
    report = dependence_report(dict(zip("LA", torch.randn(2, 60, 2), strict=True)), method="gaussian", permutations=19)
    before = card_of(copy).text
    assert "Nothing was measured on held-out recordings" in before
    assert write_card(mird_mosi.EXPERIMENT, copy / "run", report) == copy / "run" / "model" / "README.md"
    after = card_of(copy).text
    assert report.to_markdown() in after
    assert "Nothing was measured" not in after
    write_card(mird_mosi.EXPERIMENT, copy / "run")
    assert card_of(copy).text == before


def test_a_run_that_has_not_finished_has_no_card(copy):
    (copy / "run" / "result.json").unlink()
    with pytest.raises(RunError, match="expected a finished run"):
        write_card(mird_mosi.EXPERIMENT, copy / "run")
    shutil.rmtree(copy / "run" / "model")
    with pytest.raises(ValueError, match="expected a model in it, got none"):
        write_card(mird_mosi.EXPERIMENT, copy / "run")
    with pytest.raises(RunError, match="expected the folder of a run"):
        write_card(mird_mosi.EXPERIMENT, copy)


def test_a_run_of_an_earlier_version_has_a_card_that_says_less(copy):
    now = card_of(copy)
    path = copy / "run" / "model" / "config.json"
    config = json.loads(path.read_text())
    del config["_provenance"]
    path.write_text(json.dumps(config))
    write_card(mird_mosi.EXPERIMENT, copy / "run")
    card = card_of(copy)
    assert "SHA-256" not in card.text
    assert "versions" not in card.text
    assert row(card, "name") == "data.pkl"
    assert card.data.to_dict() == now.data.to_dict()


def test_a_model_from_a_notebook_has_a_card(copy, monkeypatch):
    """It is in no file."""
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    mine = type("Mine", (mird_mosi.MIRD,), {"__module__": "__main__"})
    write_card(replace(mird_mosi.EXPERIMENT, build=mine), copy / "run")
    assert "from PROGRAM import Mine" in block(card_of(copy), "python")
    assert shlex.split(block(card_of(copy), "sh"))[:2] == ["python", "PROGRAM.py"]


def test_the_card_says_what_the_run_printed(dump, data, tmp_path, capsys):
    options = ["--data", dump(data), "--backbone", "tiny", "--epochs", 1, "--out", tmp_path / "run"]
    assert run(text_only, *options) == 0
    lines = capsys.readouterr().out.splitlines()
    table = "\n".join(lines[-6:-1])
    assert "test, training mean" in table
    card = card_of(tmp_path)
    assert table in card.text
    assert "What its variables know" not in card.text  # there is no penalty
    assert "> The baseline that a multimodal model has to beat" in card.text
    assert "python examples/text_only.py" not in card.text


def test_a_run_is_pushed_with_its_card_and_used_by_its_name(trained, copy, hub, monkeypatch, capsys):
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: hub)
    (copy / "run" / "model" / "README.md").unlink()  # as in a run of an earlier version
    assert run(mird_mosi, "push", "--run", copy / "run", "--repo", "user/mird", "--private") == 0
    assert capsys.readouterr().out == "https://huggingface.co/user/mird\n"
    assert {"README.md", "config.json", "model.safetensors"} <= set(hub.files("user/mird"))
    assert card_of(copy).text == card_of(trained).text
    said = []
    for where in (copy / "run", "user/mird"):
        assert run(mird_mosi, "predict", "--run", where, "--text", "so good", "--json") == 0
        said.append(json.loads(capsys.readouterr().out))
    assert said[0] == said[1]
    assert run(mird_mosi, "evaluate", "--run", "user/mird") == 2
    assert "expected --data FILE" in capsys.readouterr().err
    assert run(mird_mosi, "evaluate", "--run", "user/mird", "--data", copy / "data.pkl") == 0


def test_the_code_of_the_page_runs(copy, hub, monkeypatch):
    page = (EXAMPLES.parent / "docs" / "deploying.md").read_text()
    code = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[1]
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: hub)
    monkeypatch.chdir(copy)
    namespace = {}
    exec(code.replace("runs/RUN", "run").replace("mosi.pkl", "data.pkl").replace('"LAVS"', '"LAS"'), namespace)
    assert namespace["trained"].modalities == ("text", "audio")
    assert "Measured after training:" in (copy / "run" / "model" / "README.md").read_text()


def test_a_push_that_cannot_be_is_a_line(copy, capsys):
    assert run(mird_mosi, "push", "--run", copy / "run", "--repo", "user/mird") == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: user/mird: not pushed: ")
    assert "\n" not in error
    (copy / "run" / "model" / "README.md").unlink()
    (copy / "run" / "result.json").unlink()
    assert run(mird_mosi, "push", "--run", copy / "run", "--repo", "user/mird") == 2
    assert "expected a finished run" in capsys.readouterr().err
