"""Any modalities beside text: which latents and pairs there are, and that what is missing has no say in anything."""

import csv
import json

import mird_mosi
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from disentangle.data import RecordingDataset, Recordings, collate, synthetic_recordings
from disentangle.data.layouts.folder import write_folder
from disentangle.experiments.options import parse
from disentangle.experiments.reading import read, with_modalities
from disentangle.experiments.training import batches_of
from disentangle.nn.backbones import tiny_backbone

from .test_mird_mosi import double, outputs, run

FOUR = {"audio": 5, "vision": 4, "pose": 3, "glove": 6}
VOCABULARY = np.array(["good", "bad", "film", "so", "not", "very"])


def recordings(has, sizes, *, labels=True, seed=0):
    """A recording for each row of `has`, `{"text" or a modality: (N,) bool}`; what is not named is nowhere missing."""
    draw = np.random.default_rng(seed)
    n = len(next(iter(has.values())))
    has = {m: has.get(m, np.ones(n, bool)) for m in ("text", *sizes)}
    return Recordings(
        text=[" ".join(draw.choice(VOCABULARY, 2 + i % 4)) if has["text"][i] else "" for i in range(n)],
        sequences={
            m: [draw.normal(size=((3 + i % 3) * has[m][i], size)).astype(np.float32) for i in range(n)]
            for m, size in sizes.items()
        },
        labels=draw.uniform(-3, 3, n).astype(np.float32) if labels else None,
    )


def build(sizes, **options):
    torch.manual_seed(0)
    backbone, tokenizer = tiny_backbone(["good bad film so not very"] * 5, hidden_size=8, layers=2, heads=2)
    return mird_mosi.MIRD(backbone, sizes, d=4, **options).double().eval(), tokenizer


def batch_of(has, sizes, tokenizer, **options):
    rows = RecordingDataset(recordings(has, sizes, **options), tokenizer)
    return double(collate([rows[i] for i in range(len(rows))]))


def all_there(n):
    return {"text": np.ones(n, bool)}


PAPER = [("V", "L"), ("V", "A"), ("L", "A"), ("V", "S"), ("L", "S"), ("A", "S")]
PAIRS = {
    (): [("L", "S")],
    ("audio",): [("L", "A"), ("L", "S"), ("A", "S")],
    ("vision",): [("V", "L"), ("V", "S"), ("L", "S")],
    ("pose",): [("L", "pose"), ("L", "S"), ("pose", "S")],
    ("audio", "vision"): PAPER,
    ("vision", "audio"): PAPER,
    ("pose", "audio", "vision"): [
        *(("V", "L"), ("V", "A"), ("V", "pose"), ("L", "A"), ("L", "pose"), ("A", "pose")),
        *(("V", "S"), ("L", "S"), ("A", "S"), ("pose", "S")),
    ],
}


def test_the_papers_pairs_are_those_of_its_list_of_parameters():
    assert mird_mosi.LATENT_PAIRS == PAPER
    assert mird_mosi.INPUT_PAIRS == [("X_V", "S"), ("X_L", "S"), ("X_A", "S")]


@pytest.mark.parametrize("names", PAIRS, ids="+".join)
def test_a_model_has_the_latents_pairs_and_losses_of_its_modalities(names):
    sizes = {name: FOUR[name] for name in names}
    model, tokenizer = build(sizes)
    batch = batch_of(all_there(6), sizes, tokenizer)
    variables, latents = model(batch), [{"audio": "A", "vision": "V"}.get(name, name) for name in names]
    named = {name for name in variables if name[:1] != "_"}
    assert named == {"L", "S", "X_L", *latents, *(f"X_{m}" for m in latents)}
    assert set(model.losses(variables, batch)) == {"Y", "recon_L", *(f"recon_{m}" for m in latents)}
    penalty = mird_mosi.penalty_for(model, "club", input_pairs=True)
    inputs = [(f"X_{m}", "S") for m, last in PAIRS[names] if last == "S"]
    assert penalty.pairs == PAIRS[names] + inputs
    assert mird_mosi.penalty_for(model, "club", input_pairs=False).pairs == PAIRS[names]
    assert mird_mosi.penalty_for(model, "orthogonal", input_pairs=True).pairs == PAIRS[names]
    assert set(penalty.double()(variables, model.present(batch))) == {f"CLUB({x};{y})" for x, y in penalty.pairs}


def learn(model, batch):
    """All that training looks at, and all gradients."""
    torch.manual_seed(1)
    penalty = mird_mosi.penalty_for(model, "club", input_pairs=True).double()
    computed, present = model(batch), model.present(batch)
    variables = {m: z for m, z in computed.items() if m[:1] != "_"}
    losses, bounds = model.losses(computed, batch), penalty(variables, present)
    objective = mird_mosi.objective_for(0.1)(losses, bounds)
    learning = penalty.learning_loss({m: z.detach() for m, z in variables.items()}, present)
    parameters = [*model.parameters(), *penalty.parameters()]
    total = objective if learning is None else objective + learning
    gradients = torch.autograd.grad(total, parameters, allow_unused=True, materialize_grads=True)
    said = {m: rows.values for m, rows in losses.items()} | bounds
    return {"prediction": model.predict(variables), **variables, **said}, gradients


def scramble(batch, filler):
    """Other values wherever a row has nothing: in rows without a modality, and in padding."""
    for frames in batch.sequences.values():
        frames.values[~frames.mask] = filler
    batch.words.values[~batch.words.mask] = 5
    batch.tokens["input_ids"][batch.tokens["attention_mask"] == 0] = 6


HAS = st.lists(st.tuples(*[st.booleans()] * 5), min_size=2, max_size=6)


@given(HAS)
@settings(max_examples=15, deadline=None)
def test_what_absent_rows_hold_has_no_say_in_predictions_losses_or_gradients(rows):
    model, tokenizer = build(FOUR)
    has = dict(zip(("text", *FOUR), np.array(rows).T, strict=True))
    batches = [batch_of(has, FOUR, tokenizer) for _ in range(2)]
    scramble(batches[1], float("nan"))
    (said, gradients), (again, others) = (learn(model, batch) for batch in batches)
    assert said.keys() == again.keys()
    for name, value in said.items():
        assert torch.equal(value, again[name]), name
        assert value.isfinite().all(), name
    for gradient, other in zip(gradients, others, strict=True):
        assert torch.equal(gradient, other)
        assert gradient.isfinite().all()
    for m, name in model.modalities.items():
        assert not said[m][torch.from_numpy(~has[name])].any()
    has_latent = {m: has[name] for m, name in model.modalities.items()} | {"S": np.any([*has.values()], axis=0)}
    np.testing.assert_array_equal(model.present(batches[0])["S"], has_latent["S"])
    for x, y in mird_mosi.pairs_of(model.order)[0]:
        assert (f"CLUB({x};{y})" in said) == ((has_latent[x] & has_latent[y]).sum() >= 2)


@pytest.mark.parametrize("absent", ["audio", "text", "pose"])
def test_a_batch_in_which_nobody_has_a_modality_leaves_its_pairs_and_losses_out(absent):
    model, tokenizer = build(FOUR)
    latent = {"audio": "A", "text": "L", "pose": "pose"}[absent]
    said, gradients = learn(model, batch_of({absent: np.zeros(5, bool)}, FOUR, tokenizer))
    names = {name for name in said if "(" in name or name.startswith("recon")}
    latents, inputs = mird_mosi.pairs_of([m for m in model.order if m != latent])
    recons = {f"recon_{m}" for m in model.order if m != latent}
    assert names == recons | {f"CLUB({x};{y})" for x, y in latents + inputs}
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_a_modality_that_a_set_lacks_is_as_if_each_recording_lacked_it():
    model, tokenizer = build(FOUR)
    whole = with_modalities(recordings(all_there(4), {"audio": 5}), FOUR, "here")
    assert whole.feature_sizes == FOUR
    assert whole.missing == {"text": 0, "audio": 0, "vision": 4, "pose": 4, "glove": 4}
    none = {m: np.zeros(4, bool) for m in ("vision", "pose", "glove")}
    rows = RecordingDataset(whole, tokenizer)
    ours = outputs(model, double(collate([rows[i] for i in range(4)])))
    theirs = outputs(model, batch_of({**all_there(4), **none}, FOUR, tokenizer))
    assert torch.equal(ours["prediction"], theirs["prediction"])


def test_a_recording_with_nothing_but_audio_is_predicted_from_it():
    model, tokenizer = build(FOUR)
    only = {m: np.array([m == "audio"]) for m in ("text", *FOUR)}
    batch = batch_of(only, FOUR, tokenizer)
    before = outputs(model, batch)
    assert before["prediction"].isfinite().all()
    assert {m for m in model.order if before[m].any()} == {"A"}
    batch.sequences["audio"].values[:] += 1
    assert not torch.equal(model.predict(model(batch)), before["prediction"])


@pytest.mark.parametrize(
    "name", ["L", "A", "V", "S", "Y", "text", "X_pose", "", "po.se", "a;b", "a(b", "a)b", "type", "values", "training"]
)
def test_a_modality_whose_name_cannot_be_a_variables_is_refused(name):
    with pytest.raises(ValueError, match=r"^expected a modality's name without any of '\. ; \( \)', .*, got '"):
        build({"audio": 5, name: 3})


def test_a_modality_may_be_called_as_a_part_of_the_papers_order():
    model, _ = build({"VL": 3, "vision": 4})
    assert model.order == ["V", "L", "VL"]


def written(folder, splits):
    """A plain folder of these recordings, whose ids are made to differ."""
    for name, each in splits.items():
        each.ids[:] = [f"{name}-{i}" for i in range(len(each))]
    write_folder(folder, splits)
    return folder


FAST = ["--backbone", "tiny", "--epochs", 1, "--lr", 1e-3]


@pytest.mark.parametrize("names", [(), ("audio",), ("pose", "vision", "glove")], ids="+".join)
def test_a_run_on_a_plain_folder_of_any_modalities(tmp_path, capsys, names):
    sizes = {name: FOUR[name] for name in names}
    counts = {"train": 34, "valid": 6, "test": 6, "unlabeled": 9}
    splits = {
        split: recordings({"text": np.arange(n) % 4 > 0}, sizes, labels=split != "unlabeled", seed=n)
        for split, n in counts.items()
    }
    written(tmp_path / "set", splits)
    out = tmp_path / "run"
    assert run("--data", tmp_path / "set", *FAST, "--out", out) == 0
    said = capsys.readouterr().out
    assert "unlabeled 9 recordings" in said
    record = json.loads((out / "metrics.jsonl").read_text())
    expected = PAIRS.get(names) or mird_mosi.pairs_of(["V", "L", "glove", "pose"])[0]
    assert {name for name in record["penalties"] if "X_" not in name} == {f"CLUB({x};{y})" for x, y in expected}
    assert run("evaluate", "--run", out) == 0
    table = capsys.readouterr().out
    assert table[table.index(" mae") :].splitlines() == said[said.index(" mae") :].splitlines()[:5]


def test_unlabelled_rows_of_the_data_set_are_used_unless_a_file_gives_others(tmp_path):
    splits = {
        split: recordings(all_there(n), {"audio": 5}, labels=split != "unlabeled", seed=n)
        for split, n in {"train": 10, "valid": 3, "test": 4, "unlabeled": 5}.items()
    }
    written(tmp_path / "set", splits)
    others = recordings(all_there(7), {"pose": 3})  # whose labels are left out as well
    write_folder(tmp_path / "others", {"unlabeled": others})
    for more, n, lacking in ((None, 5, 0), (str(tmp_path / "others"), 7, 7)):
        options = parse(
            mird_mosi.EXPERIMENT, ["--data", str(tmp_path / "set"), *(["--unlabeled", more] if more else [])]
        )
        sources = read(options, synthetic_recordings, lambda line: None)
        assert len(sources["unlabeled"]) == n
        assert np.isnan(sources["unlabeled"].labels).all()
        assert sources["unlabeled"].missing == {"text": 0, "audio": lacking}  # and its pose is left out
        _, tokenizer = build({})
        datasets = {name: RecordingDataset(each, tokenizer) for name, each in sources.items()}
        (batch,) = batches_of(datasets, options)
        assert (len(batch), int(batch.labeled.sum())) == (20, 10)


def test_a_split_that_is_missing_or_has_no_labels_is_said_and_how_to_give_it(tmp_path, capsys):
    write_folder(tmp_path / "set", {"train": recordings(all_there(4), {"audio": 5})})
    with open(tmp_path / "set" / "index.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert run("--data", tmp_path / "set", *FAST, "--out", tmp_path / "run") == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith(
        f"error: {tmp_path / 'set'}: expected labelled recordings of train, valid and test, got train 4;"
    )
    for how in ("column split in a plain folder's table", "splits.csv with columns id and split", "pickle or a store"):
        assert how in error
    for row, split in zip(rows, ("train", "valid", "test", "test"), strict=True):
        row.update(split=split, label="" if split == "test" else row["label"])
    with open(tmp_path / "set" / "index.csv", "w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    assert run("--data", tmp_path / "set", *FAST, "--out", tmp_path / "run") == 2
    assert "got train 1, valid 1, test 2 without labels;" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_set_without_any_transcript_can_be_trained_on(tmp_path):
    splits = {
        split: recordings({"text": np.zeros(n, bool)}, {"audio": 5}, seed=n)
        for split, n in {"train": 10, "valid": 3, "test": 4}.items()
    }
    written(tmp_path / "set", splits)
    assert run("--data", tmp_path / "set", *FAST, "--out", tmp_path / "run") == 0
    record = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())
    assert set(record["losses"]) == {"Y", "recon_A"}
    assert set(record["penalties"]) == {"CLUB(A;S)", "CLUB(X_A;S)"}
