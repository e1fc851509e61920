"""A modality that no recording of training has: what was never learnt does not speak."""

import mird_mosi
import numpy as np
import pytest

from disentangle.training import Run

from .conftest import content


def run(*arguments):
    return mird_mosi.main([str(each) for each in arguments])


def silenced(name):
    """Data of which training, and it alone, lacks a modality."""
    splits = {split: content(n, seed) for seed, (split, n) in enumerate({"train": 30, "valid": 12, "test": 12}.items())}
    train = splits["train"]
    train.update(raw_text=[""] * 30) if name == "text" else train.update({name: np.zeros_like(train[name])})
    return splits


@pytest.mark.parametrize("name", ["text", "vision"])
def test_it_is_left_out_in_all_splits_and_not_heard_later(name, dump, tmp_path, capsys):
    options = ["--backbone", "tiny", "--epochs", 1, "--lr", 1e-3, "--data", dump(silenced(name))]
    heard = [m for m in ("text", "audio", "vision") if m != name]
    assert run(*options, "--out", tmp_path / "run") == 0
    assert f"no recording of training has {name}: not used in any split" in capsys.readouterr().out
    assert run(*options, "--modalities", *heard, "--out", tmp_path / "asked") == 0
    assert "no recording" not in capsys.readouterr().out
    ours, asked = ((tmp_path / each / "result.json").read_text() for each in ("run", "asked"))
    assert ours == asked
    assert run("--resume", tmp_path / "run") == 0
    assert Run.open(tmp_path / "run").config["modalities"] == heard
    assert run("evaluate", "--run", tmp_path / "run") == 0
    assert f"the model does not hear {name}" in capsys.readouterr().out
    file = ["--text", "so good"] if name == "text" else ["--vision", tmp_path / "v.npy"]
    np.save(tmp_path / "v.npy", np.ones((3, 4), np.float32))
    assert run("predict", "--run", tmp_path / "run", *file) == 2
    assert f"expected the modalities that the run was trained on, {', '.join(heard)}" in capsys.readouterr().err


def test_data_without_anything_to_learn_from_is_refused(dump, tmp_path, capsys):
    splits = silenced("text")
    for name in ("audio", "vision"):
        splits["train"][name] = np.zeros_like(splits["train"][name])
    assert run("--backbone", "tiny", "--data", dump(splits), "--out", tmp_path / "run") == 2
    assert "expected text or frames in some recording of training, got none" in capsys.readouterr().err
