import json

import text_only
from transformers import AutoTokenizer

from disentangle.nn.backbones import tiny_backbone


def test_it_trains_and_reports(dump, data, tmp_path, capsys):
    model, tokenizer = tiny_backbone(["good bad film so not very"] * 5, hidden_size=8, layers=2, heads=2)
    model.save_pretrained(tmp_path / "backbone")
    tokenizer.save_pretrained(tmp_path / "backbone")
    assert AutoTokenizer.from_pretrained(tmp_path / "backbone").cls_token == "[CLS]"
    options = ["--data", dump(data), "--backbone", str(tmp_path / "backbone"), "--epochs", "2", "--lr", "1e-3"]
    assert text_only.main([*options, "--out", str(tmp_path / "run")]) == 0
    assert set(json.loads((tmp_path / "run" / "result.json").read_text())) == {"valid", "test"}
    assert "training mean" in capsys.readouterr().out


def test_a_backbone_that_cannot_be_had_is_said(dump, data, tmp_path, capsys):
    options = ["--data", dump(data), "--backbone", "/no/such/folder", "--out", str(tmp_path / "run")]
    assert text_only.main(options) == 2
    assert "error: no folder '/no/such/folder'" in capsys.readouterr().err
