"""The example, run: two steps an epoch on small data with everything that is real about real data."""

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import mird_mosi
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from disentangle import AlternatingStep
from disentangle.data import RecordingDataset, Recordings, collate, read_recordings
from disentangle.nn.backbones import tiny_backbone
from disentangle.training import Run

from . import programs
from .conftest import EXAMPLES, content

F64 = torch.float64
METRICS = {"mae", "corr", "acc2_has0", "acc2_non0", "f1_has0", "f1_non0", "acc5", "acc7"}
NINE = {f"CLUB({x};{y})" for x, y in mird_mosi.LATENT_PAIRS + mird_mosi.INPUT_PAIRS}


def run(*arguments):
    return mird_mosi.main([str(a) for a in arguments])


@pytest.mark.parametrize(
    ("options", "pairs", "losses"),
    [
        ([], NINE, {"Y", "recon_L", "recon_A", "recon_V"}),
        (["--no-input-mi"], {f"CLUB({x};{y})" for x, y in mird_mosi.LATENT_PAIRS}, None),
        (["--penalty", "orthogonal"], {f"orthogonal({x};{y})" for x, y in mird_mosi.LATENT_PAIRS}, None),
        (["--penalty", "none", "--no-reconstruction", "--inject-layer", "0"], set(), {"Y"}),
    ],
)
@pytest.mark.usefixtures("curves")
def test_a_run_leaves_what_it_should(dump, data, unlabeled, tmp_path, capsys, options, pairs, losses):
    out = tmp_path / "run"
    files = ["--data", dump(data), "--unlabeled", dump(unlabeled, "more.pkl")]
    assert run(*files, "--backbone", "tiny", "--epochs", 2, "--lr", 1e-3, "--out", out, *options) == 0
    names = {
        "config.json",
        "metrics.jsonl",
        "predictions.json",
        "result.json",
        "checkpoints",
        "curves.png",
        "model",
    }
    assert {path.name for path in out.iterdir()} == names
    first, second = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    assert (first["epoch"], second["epoch"]) == (1, 2)
    assert set(first["penalties"]) == pairs
    if losses is not None:
        assert set(first["losses"]) == losses
    assert set("LAVS") <= set(first["rms"])
    assert set(first["valid"]) == METRICS
    result = json.loads((out / "result.json").read_text())
    assert set(result) == {"valid", "test"}
    assert set(result["test"]) == METRICS
    best = min((first, second), key=lambda line: line["valid"]["mae"])
    assert result["valid"] == pytest.approx(best["valid"])
    config = json.loads((out / "config.json").read_text())
    assert config["alpha"] == 0.1
    assert config["seed"] == 0
    table = capsys.readouterr().out
    assert "test, training mean" in table

    assert run("evaluate", "--run", out) == 0
    again = capsys.readouterr().out
    rows = slice(0, 5)  # the header, two splits, two baselines
    assert again[again.index(" mae") :].splitlines()[rows] == table[table.index(" mae") :].splitlines()[rows]


def test_the_same_seed_gives_the_same_run_and_another_seed_another(dump, data, tmp_path):
    weights = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        options = ["--data", dump(data), "--backbone", "tiny", "--epochs", 1, "--lr", 1e-3, "--seed", seed]
        assert run(*options, "--out", tmp_path / name) == 0
        weights.append(load_file(tmp_path / name / "model" / "model.safetensors"))
    first, again, other = weights
    assert all(torch.equal(again[key], value) for key, value in first.items())
    assert not all(torch.equal(other[key], value) for key, value in first.items())


def build(d=4, **options):
    torch.manual_seed(0)
    backbone, tokenizer = tiny_backbone(["good bad film so not very"] * 5, hidden_size=8, layers=2, heads=2)
    return mird_mosi.MIRD(backbone, {"audio": 5, "vision": 4}, d=d, **options).double().eval(), tokenizer


def double(batch):
    sequences = {name: type(x)(x.values.double(), x.mask) for name, x in batch.sequences.items()}
    return replace(batch, sequences=sequences, labels=batch.labels.double())


def batch_of(split, tokenizer, **changes):
    data = read_split({**split, **changes})
    rows = RecordingDataset(data, tokenizer)
    return double(collate([rows[i] for i in range(len(rows))]))


def read_split(split):
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        pickle.dump(dict.fromkeys(("train", "valid", "test"), split), file)
        file.flush()
        return read_recordings(file.name)["train"]


def outputs(model, batch):
    variables = model(batch)
    return {
        **{name: value for name, value in variables.items() if name[0] != "_"},
        "prediction": model.predict(variables),
        **{k: v.mean() for k, v in model.losses(variables, batch).items()},
    }


@given(front=st.integers(0, 6), back=st.integers(0, 6))
@settings(max_examples=12, deadline=None)
def test_padding_added_to_the_raw_data_on_either_side_changes_no_output(front, back):
    model, tokenizer = build()
    split = content(6, 0)
    padded = {m: np.pad(split[m], ((0, 0), (front, back), (0, 0))) for m in ("audio", "vision")}
    before, after = outputs(model, batch_of(split, tokenizer)), outputs(model, batch_of(split, tokenizer, **padded))
    for name, value in before.items():
        assert torch.equal(value, after[name]), name


def test_rows_do_not_depend_on_what_else_is_in_the_batch():
    model, tokenizer = build()
    rows = RecordingDataset(read_split(content(8, 0)), tokenizer)
    whole = outputs(model, double(collate([rows[i] for i in range(8)])))
    for i in range(8):
        alone = outputs(model, double(collate([rows[i]])))
        for name in ("L", "A", "V", "S", "prediction"):
            torch.testing.assert_close(alone[name][0], whole[name][i])


@pytest.mark.parametrize("modality", ["audio", "vision", "text"])
def test_what_a_missing_modality_holds_changes_nothing(modality):
    model, tokenizer = build()
    batch = batch_of(content(6, 0), tokenizer)
    lacking = ~batch.present[modality]
    assert lacking.any()
    before = outputs(model, batch)
    if modality == "text":
        batch.words.values[lacking] = 5
    else:
        batch.sequences[modality].values[lacking] = float("nan")
    after = outputs(model, batch)
    for name, value in before.items():
        assert torch.equal(value, after[name]), name
    latent = {"audio": "A", "vision": "V", "text": "L"}[modality]
    assert not before[latent][lacking].any()
    assert not model.present(batch)[latent][lacking].any()


def decoded(decoder, z, length):
    """Eq. 8 by hand: an LSTM cell that is fed its own hidden state."""
    (w_ih, w_hh, b_ih, b_hh), h, c = decoder.lstm.all_weights[0], z, torch.zeros_like(z)
    for _ in range(length):
        i, f, g, o = (w_ih @ h + b_ih + w_hh @ h + b_hh).chunk(4)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        yield decoder.output.weight @ h + decoder.output.bias


def club_by_hand(q, x, y):
    """Eq. 12 by its double sum, with the log-variance bounded by tanh."""
    first, _, second = q.network
    out = torch.relu(x @ first.weight.T + first.bias) @ second.weight.T + second.bias
    mean, log_variance = out.chunk(2, 1)
    log_variance = log_variance.tanh()
    n = len(x)
    log_q = [
        [(-0.5 * ((y[j] - mean[i]) ** 2 / log_variance[i].exp() + log_variance[i])).sum() for j in range(n)]
        for i in range(n)
    ]
    return sum(log_q[i][i] for i in range(n)) / n - sum(map(sum, log_q)) / n**2


def test_the_objective_and_its_gradients_are_eq_16_to_21_written_out():
    model, tokenizer = build()
    batch = batch_of(content(7, 0), tokenizer)
    penalty = mird_mosi.penalty_for(model, "club", input_pairs=True).double()
    z, present = model(batch), model.present(batch)
    ours = mird_mosi.objective_for(0.1)(model.losses(z, batch), penalty(z, present))

    joint = torch.cat([z["V"], z["L"], z["A"], z["S"]], 1)
    first, _, second = model.regressor
    prediction = (torch.relu(joint @ first.weight.T + first.bias) @ second.weight.T + second.bias).squeeze(1)
    losses = [((prediction - batch.labels) ** 2).mean()]
    frames = z["_frames"]
    for m, real in {"L": batch.words, **frames}.items():
        errors = []
        for row in range(7):
            start, length = torch.cat([z[m][row], z["S"][row]]), int(real.mask[row].sum())
            for t, out in enumerate(decoded(model.decoders[m], start, length)):
                target = real.values[row, t]
                errors.append(out.logsumexp(0) - out[target] if m == "L" else (out - target).square().mean())
        losses.append(torch.stack(errors).mean())
    by_hand = sum(torch.log(loss + 1e-6) for loss in losses)
    for (x, y), club in zip(penalty.pairs, penalty.dependences.values(), strict=True):
        rows = present[x] & present[y]
        by_hand = by_hand + 0.1 * club_by_hand(club.conditional, z[x][rows], z[y][rows])

    torch.testing.assert_close(ours, by_hand)
    parameters = list(model.parameters())
    expected = torch.autograd.grad(by_hand, parameters, retain_graph=True)
    for a, e in zip(torch.autograd.grad(ours, parameters), expected, strict=True):
        torch.testing.assert_close(a, e, rtol=1e-6, atol=1e-9)


def test_short_rows_that_run_apart_give_the_same():
    model, tokenizer = build()
    batch = batch_of({**content(10, 0), "raw_text": ["good " * 30] * 4 + ["", "bad"] * 3}, tokenizer)
    frames = model(batch)["_frames"]
    together = model.shared(**batch.tokens, others=frames)
    apart = model.shared(**batch.tokens, others=frames, lengths=batch.lengths)
    torch.testing.assert_close(apart, together)


def test_nine_estimators_and_the_parts_of_the_model_get_gradients():
    model, tokenizer = build()
    batch = batch_of(content(12, 0), tokenizer)
    penalty = mird_mosi.penalty_for(model, "club", input_pairs=True).double()
    z = model(batch)
    loss = mird_mosi.objective_for(0.1)(model.losses(z, batch), penalty(z, model.present(batch)))
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    assert all(p.grad.any() for p in penalty.parameters())
    assert len(penalty.pairs) == 9


class Exploit:
    def __reduce__(self):
        return os.system, ("echo run > exploited",)


@pytest.mark.parametrize(
    ("break_it", "options", "message"),
    [
        (lambda data, path: os.remove(path), [], "no such file"),
        (lambda data, path: path.write_bytes(path.read_bytes()[:-200]), [], "{path}: "),
        (lambda data, path: path.write_bytes(pickle.dumps({"train": Exploit()})), [], "system"),
        (
            lambda data, path: path.write_bytes(pickle.dumps({"training": 1})),
            [],
            "train: expected raw_text, ",
        ),
        (
            lambda data, path: path.write_bytes(
                pickle.dumps({**data, "test": {**data["test"], "audio": data["test"]["audio"][..., :3]}})
            ),
            [],
            "expected 5 audio features as in the training data, got 3",
        ),
        (
            lambda data, path: path.write_bytes(
                pickle.dumps({**data, "valid": {**data["valid"], "regression_labels": np.full(12, np.nan)}})
            ),
            [],
            "12 of 12 labels are NaN or infinite",
        ),
        (None, ["--backbone", "/no/such/folder"], "give a local folder"),
        (None, ["--backbone", "no-such-name-at-all"], "give a local folder"),
        (None, ["--backbone", "no-such-name-at-all"], "or --backbone tiny, which is small and random"),
        (None, ["--inject-layer", "9"], "expected inject_after of 0 to 4, the layers of the backbone, got 9"),
        (None, ["--max-words", "600"], "512"),
        (None, ["--out", "{tmp}"], "exists and is not empty; nothing in it was touched"),
    ],
    ids=lambda value: None,
)
def test_bad_input_is_one_clear_line_and_nothing_is_lost(
    dump, data, tmp_path, capsys, monkeypatch, break_it, options, message
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    path = tmp_path / "data.pkl"
    dump(data)
    if break_it:
        break_it(data, path)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    options = [option.format(tmp=tmp_path) for option in options]
    assert run("--data", path, "--backbone", "tiny", "--epochs", 1, "--out", tmp_path / "run", *options) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert "\n" not in error
    assert message.format(path=path) in error
    assert {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before
    assert not (tmp_path / "exploited").exists()
    if "{tmp}" not in options and "--out" not in options:
        assert not (tmp_path / "run").exists()


def test_a_cuda_device_that_is_not_there_is_said(dump, data, tmp_path, capsys):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    assert run("--data", dump(data), "--backbone", "tiny", "--device", "cuda", "--out", tmp_path / "run") == 2
    assert "error: expected a CUDA device, found none" in capsys.readouterr().err


def test_evaluate_refuses_a_folder_that_is_no_run(tmp_path, capsys):
    assert run("evaluate", "--run", tmp_path) == 2
    assert "expected the folder of a run" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(dump, data, unlabeled, tmp_path, capsys):
    """The same global batches, an uneven last one, unlabelled rows; without dropout, whose noise would differ."""
    backbone, tokenizer = tiny_backbone(data["train"]["raw_text"], hidden_size=16, layers=2, heads=2)
    backbone.config.hidden_dropout_prob = backbone.config.attention_probs_dropout_prob = 0.0
    backbone.save_pretrained(tmp_path / "backbone")
    tokenizer.save_pretrained(tmp_path / "backbone")
    files = ["--data", dump(data), "--unlabeled", dump(unlabeled, "more.pkl"), "--backbone", tmp_path / "backbone"]
    device = ["--device", "cpu"] if torch.cuda.is_available() else []
    options = [*files, "--epochs", 3, "--lr", 1e-3, *device, "--out"]
    assert run(*options, tmp_path / "alone") == 0
    script = tmp_path / "ends.py"  # fails where the group is left to the end of Python, which may abort
    script.write_text(
        f"import sys\nimport torch.distributed as dist\nsys.path.insert(0, {str(EXAMPLES)!r})\nfrom mird_mosi import main\n"
        "raise SystemExit(main() or dist.is_initialized())"
    )
    torchrun = ["--standalone", "--nproc-per-node", 2, script, *options, tmp_path / "together"]
    by_two = programs.run("torch.distributed.run", torchrun, tmp_path / "log.txt")
    for printed in (capsys.readouterr().out, by_two):
        assert printed.count("everything is in") == 1
    alone, together = (Run.open(tmp_path / name).history for name in ("alone", "together"))
    assert len(alone) == len(together) == 3
    for ours, theirs in zip(together, alone, strict=True):
        assert ours["objective"] == pytest.approx(theirs["objective"], rel=1e-4, abs=1e-4)
        for section in ("losses", "penalties", "rms", "valid"):
            assert ours[section] == pytest.approx(theirs[section], rel=1e-3, abs=1e-4)


@pytest.mark.slow
def test_two_processes_that_were_killed_go_on_as_if_they_had_not_been(tmp_path):
    options = ["--kills", 1, "--processes", 2, "--precision", "bf16", "--epochs", 2]
    assert "equal bit for bit" in programs.run("kill_and_resume", options, tmp_path / "log.txt")


def test_accumulation_and_other_training_options_are_used(dump, data, tmp_path):
    out = tmp_path / "run"
    options = [
        "--epochs",
        3,
        "--lr",
        0.0,
        "--patience",
        1,
        "--accumulation",
        2,
        "--clip-norm",
        0.5,
        "--group-by-length",
    ]
    assert run("--data", dump(data), "--backbone", "tiny", *options, "--precision", "bf16", "--out", out) == 0
    history = Run.open(out).history
    assert [record["step"] for record in history] == [2, 4]  # 40 rows; nothing gets better at a rate of 0
    assert run("--data", dump(data), "--backbone", "tiny", "--accumulation", 3, "--out", tmp_path / "other") == 2


def test_help_explains_itself(capsys):
    with pytest.raises(SystemExit, match="0"):
        run("--help")
    text = capsys.readouterr().out
    for option in ("--data", "--unlabeled-rate", "--no-input-mi", "--max-words", "evaluate"):
        assert option in text


@pytest.mark.cuda
def test_one_step_on_cuda_agrees_with_the_cpu(cuda):
    model, tokenizer = build()
    model = model.float()
    data = read_split(content(12, 0))
    rows = RecordingDataset(data, tokenizer)
    batch = collate([rows[i] for i in range(12)])
    here = outputs(model, batch)
    there = outputs(model.to(cuda), batch.to(cuda))
    for name, value in here.items():
        torch.testing.assert_close(there[name].cpu(), value, rtol=1e-3, atol=1e-4)


def test_a_run_that_was_given_a_path_says_where_it_goes_on(dump, data, tmp_path, capsys, monkeypatch):
    path = Path(dump(data))
    monkeypatch.chdir(path.parent)
    options = ["--data", path.name, "--backbone", "tiny", "--epochs", 1, "--lr", 1e-3]
    assert run(*options, "--out", tmp_path / "run") == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    capsys.readouterr()
    for command in (["--resume", tmp_path / "run"], ["evaluate", "--run", tmp_path / "run"]):
        assert run(*command) == 2
        assert "got nothing here: go to the folder that it was started in" in capsys.readouterr().err


@pytest.mark.cuda
@pytest.mark.parametrize("preset", [{}, mird_mosi.INDEPENDENT], ids=["paper", "independent"])
def test_a_step_on_cuda_waits_for_nothing(cuda, no_waiting, monkeypatch, preset):
    # Whether a row is padded, transformers asks the device itself: all else is ours.
    monkeypatch.setattr("transformers.masking_utils._ignore_bidirectional_mask_sdpa", lambda *_: False, raising=False)
    data = read_split(content(12, 0))
    backbone, tokenizer = tiny_backbone(data.text, hidden_size=16, layers=2, heads=2)
    model = mird_mosi.MIRD(backbone, data.feature_sizes, **preset).to(cuda)
    penalty = mird_mosi.penalty_for(model, "club", input_pairs=not preset).to(cuda)
    step = AlternatingStep(
        model,
        penalty,
        objective=mird_mosi.objective_for(0.1),
        optimizer=torch.optim.AdamW(model.parameters(), fused=True),
        penalty_optimizer=torch.optim.Adam(penalty.parameters(), fused=True),
        seed=0,
    )
    rows = RecordingDataset(data, tokenizer)
    batch = collate([rows[i] for i in range(12)]).to(cuda)
    for _ in range(3):
        step(batch)  # what is made once may wait
    with no_waiting():
        for _ in range(3):
            step(batch)


def test_the_unlabelled_rows_take_part_in_reconstruction_and_not_in_the_regression():
    model, tokenizer = build()
    labelled = read_split(content(6, 0))
    without = Recordings(text=labelled.text, sequences=labelled.sequences)
    both = [RecordingDataset(r, tokenizer) for r in (labelled, without)]
    rows = [both[0][i] for i in range(6)] + [both[1][i] for i in range(6)]
    batch = double(collate(rows))
    losses = model.losses(model(batch), batch)
    assert losses["Y"].weights.tolist() == [1] * 6 + [0] * 6
    alone = double(collate(rows[:6]))
    for name in ("recon_L", "recon_A", "recon_V"):
        once = model.losses(model(alone), alone)[name]
        assert losses[name].weights.sum() == 2 * once.weights.sum()
        torch.testing.assert_close(losses[name].mean(), once.mean())
