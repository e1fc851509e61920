import json

import digits
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression


def run(folder, capsys, *options):
    assert digits.main(["--out", str(folder), *options]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(digits, "EPOCHS", 40)
    monkeypatch.setattr(digits, "DRAWS", 2)


def test_a_short_training_lowers_what_a_probe_reads_and_leaves_what_it_says_behind(tmp_path, capsys):
    line = run(tmp_path, capsys)
    assert list(line) == ["linear", "mlp", "mlp_draws", "chance", "error", "error_without_penalty"]
    assert line["chance"] == pytest.approx(0.1, abs=0.01)
    assert (tmp_path / "styles.png").stat().st_size > 5000
    assert (tmp_path / "probes.png").exists()
    with np.load(tmp_path / "latents.npz") as latents:
        z, y, z_test, y_test = (latents[n] for n in ("train_latent", "train_label", "test_latent", "test_label"))
    assert z.shape == (1257, 8)
    assert z_test.shape == (540, 8)
    assert LogisticRegression(max_iter=1000).fit(z, y).score(z_test, y_test) == pytest.approx(line["linear"], abs=0.02)
    assert line["linear"] < 0.25
    assert line["error"] > line["error_without_penalty"]


def test_a_seed_draws_everything(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(digits, "EPOCHS", 3)
    monkeypatch.setattr(digits, "load_digits", lambda **how: [each[:750] for each in load_digits(**how)])
    once, again = (run(tmp_path, capsys, "--penalty", "club", "--seed", "1") for _ in range(2))
    assert once == again


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "-1"], "--seed: expected a whole number from 0 to 4294967295, got -1"),
        (["--noise", "-1"], "--noise: expected a number above 0, got -1"),
    ],
)
def test_an_option_that_cannot_be_is_one_line(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit):
        digits.main(["--out", str(tmp_path / "digits"), *arguments])
    assert capsys.readouterr().err.strip().endswith(message)
    assert not (tmp_path / "digits").exists()
