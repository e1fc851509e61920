"""The preset `independent` of the example: noisy latents, a shared encoder that does not see all, cross-prediction."""

import argparse
import inspect
import json

import mird_mosi
import pytest
import torch
from safetensors.torch import load_file

from disentangle import Rows
from disentangle.experiments.training import earlier
from disentangle.training import Run

from .conftest import content
from .test_mird_mosi import batch_of, build, club_by_hand, decoded

SMALL = {**mird_mosi.INDEPENDENT, "d": 4, "shared_d": 3, "width": 6}


def run(*arguments):
    return mird_mosi.main([str(a) for a in arguments])


def weights(folder):
    return load_file(folder / "model" / "model.safetensors")


def test_it_trains_is_interrupted_goes_on_and_is_evaluated(dump, data, tmp_path, capsys, monkeypatch):
    options = ["--preset", "independent", "--data", dump(data), "--backbone", "tiny", "--epochs", 2, "--lr", 1e-3]
    options += ["--checkpoint-every", 1]
    assert run(*options, "--out", tmp_path / "whole") == 0
    losses, calls = mird_mosi.MIRD.losses, []

    def interrupted(model, variables, batch):
        calls.append(1)
        if len(calls) == 3:  # in the second of two epochs of two steps
            raise KeyboardInterrupt
        return losses(model, variables, batch)

    monkeypatch.setattr(mird_mosi.MIRD, "losses", interrupted)
    assert run(*options, "--out", tmp_path / "stopped") == 130
    monkeypatch.undo()
    assert run("--resume", tmp_path / "stopped") == 0
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "stopped")
    assert all(torch.equal(resumed[key], value) for key, value in whole.items())

    history = Run.open(tmp_path / "whole").history
    assert set(history[0]["penalties"]) == {f"CLUB({x};{y})" for x, y in mird_mosi.LATENT_PAIRS}
    assert {"Y", "recon_L", "recon_A", "recon_V", "cross_L", "cross_A", "cross_V"} == set(history[-1]["losses"])
    config = json.loads((tmp_path / "whole" / "config.json").read_text())
    assert (config["preset"], config["alpha"]) == ("independent", mird_mosi.PRESETS["independent"].defaults["alpha"])
    result = (tmp_path / "whole" / "result.json").read_text()
    assert run("--resume", tmp_path / "whole") == 0  # it has finished
    assert (tmp_path / "whole" / "result.json").read_text() == result
    capsys.readouterr()
    for command in (["evaluate"], ["predict", "--text", "not so good", "--json"]):
        said = [run(*command, "--run", tmp_path / "whole") or capsys.readouterr().out for _ in range(2)]
        assert said[0] == said[1]
    evaluated = run("evaluate", "--run", tmp_path / "whole") or capsys.readouterr().out
    assert "test, training mean" in evaluated
    assert f"{json.loads(result)['test']['mae']:.3f}" in evaluated


def test_the_paper_is_the_default_and_its_model_neither_hides_nor_carries_noise(dump, data, tmp_path):
    options = ["--data", dump(data), "--backbone", "tiny", "--epochs", 1, "--lr", 1e-3]
    assert run(*options, "--out", tmp_path / "default") == 0
    assert run(*options, "--preset", "paper", "--out", tmp_path / "paper") == 0
    default, paper = weights(tmp_path / "default"), weights(tmp_path / "paper")
    assert all(torch.equal(paper[key], value) for key, value in default.items())
    (record,) = Run.open(tmp_path / "default").history
    assert set(record["losses"]) == {"Y", "recon_L", "recon_A", "recon_V"}
    model, tokenizer = build()
    model.train()
    batch = batch_of(content(6, 0), tokenizer)
    private = [model(batch)[m] for m in "LAV" for _ in range(2)]  # dropout is in the shared encoder alone
    assert all(torch.equal(a, b) for a, b in zip(private[::2], private[1::2], strict=True))
    assert not model(batch)["_hidden"]


def test_a_preset_that_is_not_there_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        run("--preset", "other")
    assert "invalid choice: 'other'" in capsys.readouterr().err


def test_orthogonality_of_latents_of_two_sizes_is_refused_and_the_way_out_is_one(dump, data, tmp_path, capsys):
    options = ["--preset", "independent", "--penalty", "orthogonal", "--data", dump(data), "--backbone", "tiny"]
    options += ["--epochs", 1, "--lr", 1e-3, "--out", tmp_path / "run"]
    for size, given in ((16, []), (32, ["--latent-size", 32])):
        assert run(*options, *given) == 2
        assert capsys.readouterr().err == (
            f"error: expected latents of one size for --penalty orthogonal, got S of 8 and the others of {size}: "
            "--latent-size 8 makes them alike\n"
        )
    assert not (tmp_path / "run").exists()
    assert run(*options, "--latent-size", 8) == 0


def test_the_objective_is_that_of_what_is_seen_and_of_what_is_hidden_written_out():
    model, tokenizer = build(**{**SMALL, "orderless": False, "hiding": 0.9})
    model.train()
    batch = batch_of(content(20, 0), tokenizer)
    torch.manual_seed(3)
    z, present = model(batch), model.present(batch)
    assert sum(int(rows.sum()) for rows in z["_hidden"].values()) > 3
    torch.manual_seed(4)
    losses = model.losses(z, batch)

    torch.manual_seed(4)
    real = {"L": batch.words, **z["_frames"]}
    for m, sequence in real.items():
        hidden = z["_hidden"][model.modalities[m]]
        have = z[m][present[m]]
        noise = have.mean(0) + have.std(0, correction=0) * torch.randn(z[m].shape, dtype=z[m].dtype)
        errors = {f"recon_{m}": [], f"cross_{m}": []}
        for row in present[m].nonzero().flatten().tolist():
            kind, private = ("cross", noise) if hidden[row] else ("recon", z[m])
            start, length = torch.cat([private[row], z["S"][row]]), int(sequence.mask[row].sum())
            for t, out in enumerate(decoded(model.decoders[m], start, length)):
                target = sequence.values[row, t]
                error = out.logsumexp(0) - out[target] if m == "L" else (out - target).square().mean()
                errors[f"{kind}_{m}"].append(error)
        for name, each in errors.items():
            torch.testing.assert_close(losses[name].mean(), torch.stack(each).mean())
        (gradient,) = torch.autograd.grad(losses[f"cross_{m}"].values.sum(), z[m], retain_graph=True, allow_unused=True)
        assert gradient is None or not gradient.any()

    penalty = mird_mosi.penalty_for(model, "club", input_pairs=False, log_variance="tanh").double()
    by_hand = sum(torch.log(loss.mean() + 1e-6) for loss in losses.values())
    for (x, y), club in zip(penalty.pairs, penalty.dependences.values(), strict=True):
        rows = present[x] & present[y]
        by_hand = by_hand + 0.2 * club_by_hand(club.conditional, z[x][rows], z[y][rows])
    torch.testing.assert_close(mird_mosi.objective_for(0.2)(losses, penalty(z, present)), by_hand)


def test_the_shared_latent_of_a_row_depends_on_nothing_that_is_hidden_from_it():
    model, tokenizer = build(hiding=1.0)
    model.train()
    batch = batch_of(content(12, 0), tokenizer)
    frames = {name: sequence.values.requires_grad_() for name, sequence in batch.sequences.items()}
    torch.manual_seed(0)
    z = model(batch)
    gradients = torch.autograd.grad(z["S"].square().sum(), list(frames.values()), allow_unused=True)
    for name, gradient in zip(frames, gradients, strict=True):
        hidden = z["_hidden"][name]
        assert hidden.any()
        assert not gradient[hidden].any()
        assert gradient[batch.present[name] & ~hidden].any()


def test_noise_is_where_a_modality_is_and_nothing_is_hidden_once_it_is_trained():
    model, tokenizer = build(**SMALL)
    batch = batch_of(content(12, 0), tokenizer)
    first, second = model(batch), model(batch)
    assert not first["_hidden"]
    for m in "LAV":
        has = model.present(batch)[m]
        assert not first[m][~has].any()
        assert (first[m][has] != second[m][has]).all()


def test_a_batch_with_a_single_row_of_a_modality_can_be_trained_on():
    model, tokenizer = build(**SMALL)
    model.train()
    alone = batch_of(content(1, 0), tokenizer)
    z = model(alone)
    assert all(torch.isfinite(loss.values).all() for loss in model.losses(z, alone).values())


def test_without_order_words_count_and_frames_are_decoded_alike_wherever_they_stand():
    model, tokenizer = build(**{**SMALL, "noise": None})
    split = content(6, 0)
    turned = [" ".join(reversed(text.split())) for text in split["raw_text"]]
    first, second = (model(batch_of({**split, "raw_text": texts}, tokenizer)) for texts in (split["raw_text"], turned))
    torch.testing.assert_close(first["L"], second["L"])
    assert not torch.allclose(first["S"], second["S"])
    steps = model.decoders["A"](torch.randn(2, 7, dtype=torch.float64), 5)
    assert steps.shape == (2, 5, 5)
    assert torch.equal(steps, steps[:, :1].expand(-1, 5, -1))
    assert not torch.equal(steps[0], steps[1])


def test_the_words_losses_weigh_what_is_said_and_all_others_once():
    one = torch.ones(1)
    losses = {name: Rows(2.0 * one, one) for name in ("Y", "recon_L", "cross_L", "recon_A")}
    plain, weighed = (mird_mosi.objective_for(0.5, words)(losses, {"CLUB": 3 * one[0]}) for words in (1.0, 10.0))
    log = (torch.tensor(2.0) + mird_mosi.EPS).log()
    torch.testing.assert_close(plain, 4 * log + 1.5)
    torch.testing.assert_close(weighed, 22 * log + 1.5)


def test_runs_from_before_there_were_presets_and_recipes_go_on_as_the_papers_model():
    then = argparse.Namespace(**earlier(mird_mosi.EXPERIMENT))
    model = inspect.signature(mird_mosi.MIRD).parameters
    arguments = mird_mosi.arguments_of(then)
    assert arguments == {name: model[name].default for name in arguments}
    assert then.recipe == "paper"
