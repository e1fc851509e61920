"""Predictions for recordings of one's own: what they are, what they are made of, and what is said where there are none."""

import csv
import json
import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from itertools import combinations

import mird_mosi
import numpy as np
import pytest
import torch

from disentangle import load, predict
from disentangle.data import RecordingDataset, Recordings, loader, read_recordings
from disentangle.experiments import export_onnx, open_trained
from disentangle.experiments.onnx_files import quantize
from disentangle.experiments.options import parse, recording_of
from disentangle.experiments.prediction import Chunk, write
from disentangle.experiments.trained import Trained
from disentangle.features import OPENFACE_FEATURES, openface_features
from disentangle.nn.backbones import tiny_backbone

from ..pages import DOCS, run_code
from .test_mird_mosi import run
from .test_modalities import recordings, written

SIZES = {"audio": 33, "vision": 709}
CLOSE = {"rel": 1e-4, "abs": 2e-4}


def trained(folder, sizes, **counts):
    splits = {
        split: recordings({"text": np.arange(n) % 4 > 0}, sizes, labels=split != "unlabeled", seed=n)
        for split, n in counts.items()
    }
    for part in tiny_backbone(splits["train"].text, layers=2):
        part.save_pretrained(folder / "backbone")
    options = ["--backbone", folder / "backbone", "--epochs", 1, "--out", folder / "run"]
    assert run("--data", written(folder / "set", splits), *options) == 0
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run, and files of a recording: frames of sound, and what OpenFace writes of a face that is lost in one frame."""
    folder = trained(tmp_path_factory.mktemp("trained"), SIZES, train=12, valid=5, test=7, unlabeled=3)
    draw = np.random.default_rng(0)
    np.save(folder / "sound.npy", draw.normal(size=(9, 33)).astype(np.float32))
    with open(folder / "face.csv", "w") as file:
        print("frame", "success", *OPENFACE_FEATURES, sep=", ", file=file)
        for frame in range(1, 5):
            print(frame, int(frame != 2), *draw.normal(size=709).round(3), sep=", ", file=file)
    (folder / "said.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\n<i>so good</i>\n")
    return folder


def said(capsys, folder, *options):
    capsys.readouterr()
    assert run("predict", "--run", folder / "run", *options, "--json") == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, folder, *options, code=2):
    capsys.readouterr()
    assert run("predict", "--run", folder / "run", *options) == code
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert "\n" not in error
    return error.removeprefix("error: ")


def by_hand(folder, **given):
    """The prediction for a recording that lacks what is not given, from the saved model."""
    model, config, tokenizer = load(folder / "run" / "model", mird_mosi.MIRD)
    frames = {m: [given.get(m, np.zeros((0, size), np.float32))] for m, size in config["sizes"].items()}
    rows = RecordingDataset(Recordings([given.get("text", "")], frames), tokenizer)
    return predict(model, loader(rows)).item()


ALL = ("text", "audio", "vision")


@pytest.mark.parametrize(
    "names", [names for n in (1, 2, 3) for names in combinations(ALL, n)], ids=lambda names: "+".join(names)
)
def test_predictions_and_contributions_are_those_of_recordings_that_lack_the_rest(place, capsys, names):
    options = {"text": "so good", "audio": place / "sound.npy", "vision": place / "face.csv"}
    given = {"text": "so good", "audio": np.load(place / "sound.npy"), "vision": openface_features(place / "face.csv")}
    result = said(capsys, place, *(part for name in names for part in (f"--{name}", options[name])))
    whole = by_hand(place, **{name: given[name] for name in names})
    assert result["prediction"] == pytest.approx(whole, **CLOSE)
    assert set(result["modalities"]) == set(names)
    for name, parts in result["modalities"].items():
        without = by_hand(place, **{other: given[other] for other in names if other != name})
        assert parts["contribution"] == pytest.approx(whole - without, **CLOSE)
        assert parts["alone"] == pytest.approx(by_hand(place, **{name: given[name]}), **CLOSE)
    assert result["nothing"] == pytest.approx(by_hand(place), **CLOSE)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed")
def test_from_text_to_speech_to_features_to_a_prediction(place, capsys, tmp_path):
    pytest.importorskip("librosa", reason="librosa is not installed")
    from disentangle.features import audio_features

    words, wav = "not so good, a very bad film", tmp_path / "speech.wav"
    subprocess.run(["espeak-ng", "-w", wav, words], check=True, timeout=60)
    result = said(capsys, place, "--text", words, "--audio", wav)
    assert result["prediction"] == pytest.approx(by_hand(place, text=words, audio=audio_features(wav)), **CLOSE)
    assert set(result["modalities"]) == {"text", "audio"}
    assert all(parts["contribution"] != 0 for parts in result["modalities"].values())


def test_a_transcript_is_its_text(place, capsys):
    assert said(capsys, place, "--transcript", place / "said.srt") == said(capsys, place, "--text", "so good")


def test_what_is_printed(place, capsys):
    result = said(capsys, place, "--text", "so good", "--audio", place / "sound.npy")
    assert run("predict", "--run", place / "run", "--text", "so good", "--audio", place / "sound.npy") == 0
    first, _, header, text, audio, vision, *_, last = capsys.readouterr().out.splitlines()
    assert first == f"sentiment {result['prediction']:+z.2f}, on the scale of the labels that the run was trained on"
    assert header.split() == ["contribution", "alone"]
    for line, name in ((text, "text"), (audio, "audio")):
        assert line.split() == [
            name,
            *(f"{result['modalities'][name][key]:+z.2f}" for key in ("contribution", "alone")),
        ]
    assert len({len(line) for line in (header, text, audio)}) == 1
    assert vision.split() == ["vision", "missing"]
    assert last == f"From nothing at all, this model predicts {result['nothing']:+z.2f}."


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def cells(row, result):
    """What a row says of a recording is what is printed of it."""
    assert float(row["prediction"]) == pytest.approx(result["prediction"], **CLOSE)
    for name in ALL:
        contribution = row[f"contribution_{name}"]
        assert (contribution == "") == (name not in result["modalities"])
        if contribution:
            assert float(contribution) == pytest.approx(result["modalities"][name]["contribution"], **CLOSE)


def test_a_table_gives_what_its_rows_give_one_by_one_and_says_which_it_cannot_read(place, capsys, tmp_path):
    good = {
        "a": ["--text", "so good, and bad", "--audio", place / "sound.npy"],
        "b": ["--transcript", place / "said.srt", "--vision", place / "face.csv"],
        "c": ["--audio", place / "sound.npy"],
    }
    (place / "lists").mkdir(exist_ok=True)
    lines = ["id,notes,text,transcript,audio,vision"]
    for i in range(12):  # more than are predicted together
        lines += [
            f'a{i},x,"so good, and bad",,../sound.npy,',
            f"bad{i},x,,,none.npy,",
            f"b{i},x,,../said.srt,,{place / 'face.csv'}",
            f"c{i},x,,,../sound.npy,",
        ]
    lines += ["blank,x,,,,", "short,x,so good", "both,x,so good,../said.srt,,", ",,,,,"]
    (place / "lists" / "clips.csv").write_text("\ufeff" + "\r\n".join(lines))
    out = tmp_path / "out.csv"
    assert run("predict", "--run", place / "run", "--csv", place / "lists" / "clips.csv", "--out", out) == 0
    err = capsys.readouterr().err
    rows = table(out)
    ids = [f"{name}{i}" for i in range(12) for name in good]
    failed = [*(f"bad{i}" for i in range(12)), "blank", "short", "both"]
    assert [row["id"] for row in rows] == ids + failed
    ones = {name: said(capsys, place, *options) for name, options in good.items()}
    for row in rows[: len(ids)]:
        cells(row, ones[row["id"][0]])
        assert row["error"] == ""
    columns = ["id", "prediction", *(f"contribution_{name}" for name in ALL), "error"]
    assert list(rows[0]) == columns
    reasons = {row["id"]: row["error"] for row in rows[len(ids) :]}
    assert all(row[name] == "" for row in rows[len(ids) :] for name in columns[1:-1])
    assert reasons["bad0"] == f"{place / 'lists' / 'none.npy'}: no such file"
    assert reasons["blank"] == "nothing to predict from: nothing is said, and there are no frames"
    assert reasons["short"] == "expected 6 cells as in the header, got 3"
    assert reasons["both"] == "both text and transcript, expected one of them"
    for name, reason in reasons.items():
        assert f"failed: {name}: {reason}" in err


def test_a_column_without_a_name_is_named_by_its_place(place, capsys, tmp_path):
    (tmp_path / "clips.csv").write_text(",id,text\n0,a,so good\n")
    assert run("predict", "--run", place / "run", "--csv", tmp_path / "clips.csv", "--out", tmp_path / "out.csv") == 0
    assert "columns that are not read: column 1 without a name\n" in capsys.readouterr().err


def test_a_table_whose_writing_is_stopped_is_not_there_and_can_be_written_again(place, tmp_path):
    out, clips = tmp_path / "out.csv", tmp_path / "clips.csv"
    model = open_trained(place / "run", mird_mosi.MIRD)

    def stopped():
        yield Chunk([["a"]], Recordings(["so good"], {m: [np.zeros((0, size))] for m, size in SIZES.items()}))
        assert not out.exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(model, str(out), ["id"], stopped())
    assert not any(tmp_path.iterdir())
    (part := tmp_path / ".part.out.csv").mkdir()  # as a process that was killed leaves it
    (part / "out.csv").write_text("id,prediction\na,0.5\n")
    clips.write_text("id,text\nb,so good\n")
    assert run("predict", "--run", place / "run", "--csv", clips, "--out", out) == 0
    assert [row["id"] for row in table(out)] == ["b"]
    assert sorted(tmp_path.iterdir()) == [clips, out]


def test_what_is_predicted_of_what_is_not_finite_is_no_prediction(place, capsys, tmp_path, monkeypatch):
    outcomes = Trained.outcomes

    def of_some(trained, recordings, modalities=None):  # as of a model without a layer that takes NaN away
        found = outcomes(trained, recordings, modalities)
        rows = [bool(np.isnan(frames).any()) for frames in recordings.sequences["audio"]]
        return np.where(np.array(rows)[:, None], np.nan, found)

    monkeypatch.setattr(Trained, "outcomes", of_some)
    np.save(tmp_path / "bad.npy", np.full((9, 33), np.nan, np.float32))
    np.save(tmp_path / "good.npy", np.ones((9, 33), np.float32))
    (tmp_path / "clips.csv").write_text("id,audio\na,good.npy\nb,bad.npy\nc,good.npy\n")
    assert run("predict", "--run", place / "run", "--csv", tmp_path / "clips.csv", "--out", tmp_path / "out.csv") == 0
    assert "2 predictions; 1 rows have none" in capsys.readouterr().out
    *good, bad = table(tmp_path / "out.csv")
    assert [row["id"] for row in good] == ["a", "c"]
    assert bad["error"].startswith("the model predicts no finite number")
    assert bad["prediction"] == ""
    assert refused(capsys, place, "--audio", tmp_path / "bad.npy", code=1) == bad["error"]


def test_a_data_set_gives_what_evaluation_sees(place, tmp_path):
    out = tmp_path / "out.csv"
    assert run("predict", "--run", place / "run", "--data", place / "set", "--out", out) == 0
    rows, splits = table(out), read_recordings(place / "set")
    assert [row["id"] for row in rows] == [name for split in splits.values() for name in split.ids]
    model, _, tokenizer = load(place / "run" / "model", mird_mosi.MIRD)
    for name, split in splits.items():
        mine = [row for row in rows if row["split"] == name]
        expected = predict(model, loader(RecordingDataset(split, tokenizer)))
        torch.testing.assert_close(
            torch.tensor([float(row["prediction"]) for row in mine]), expected, rtol=0, atol=2e-4
        )
        if name == "unlabeled":
            assert {row["label"] for row in mine} == {""}
        else:
            np.testing.assert_allclose([float(row["label"]) for row in mine], split.labels, rtol=1e-5)
        assert [row["contribution_text"] == "" for row in mine] == [text == "" for text in split.text]


def test_a_data_set_may_lack_modalities_of_the_run_and_have_others(place, tmp_path, capsys):
    split = recordings({"text": np.ones(3, bool)}, {"audio": 33, "pose": 2})
    out = tmp_path / "out.csv"
    assert (
        run("predict", "--run", place / "run", "--data", written(tmp_path / "set", {"train": split}), "--out", out) == 0
    )
    assert "the run has no pose: not used" in capsys.readouterr().err
    for row, text, frames in zip(table(out), split.text, split.sequences["audio"], strict=True):
        assert float(row["prediction"]) == pytest.approx(by_hand(place, text=text, audio=frames), **CLOSE)
        assert row["contribution_vision"] == ""


def test_a_run_says_the_same_wherever_it_is(place, capsys, tmp_path):
    options = ["--text", "so good", "--audio", place / "sound.npy"]
    before = said(capsys, place, *options)
    shutil.copytree(place / "run", tmp_path / "copied")
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "copied", tmp_path / "elsewhere" / "run")
    assert said(capsys, tmp_path / "elsewhere", *options) == before


@pytest.mark.slow
def test_other_modalities_are_given_by_name(tmp_path, capsys):
    folder = trained(tmp_path, {"pose": 3}, train=6, valid=3, test=3)
    frames = np.ones((4, 3), np.float32)
    np.save(folder / "pose.npy", frames)
    result = said(capsys, folder, "--text", "so good", "--features", f"pose={folder / 'pose.npy'}")
    assert result["prediction"] == pytest.approx(by_hand(folder, text="so good", pose=frames), **CLOSE)
    assert set(result["modalities"]) == {"text", "pose"}
    assert refused(capsys, folder, "--audio", "a.wav") == (
        "expected the modalities that the run was trained on, text, pose, got audio"
    )
    assert refused(capsys, folder, "--features", "pose=pose.wav") == (
        "pose.wav: expected the features of pose as .npy, (frames, 3)"
    )
    (folder / "clips.csv").write_text("id,text,audio\n1,so good,\n")
    assert refused(capsys, folder, "--csv", folder / "clips.csv", "--out", folder / "out.csv").endswith("got audio")


def arrays(batch):
    """The inputs of an exported model."""
    masks = {f"{name}_mask": mask for name, (_, mask) in batch.sequences.items()}
    values = {name: frames for name, (frames, _) in batch.sequences.items()}
    return {name: x.numpy() for name, x in {**batch.tokens, **values, **masks}.items()}


def test_an_exported_model_says_what_the_model_says_of_any_number_of_rows(place, tmp_path, capsys, monkeypatch):
    onnxruntime = pytest.importorskip("onnxruntime")
    files = tmp_path / "model.onnx", tmp_path / "small.onnx"
    assert run("export", "--run", place / "run", "--out", files[0]) == 0
    assert "scores differ from the model's by at most" in capsys.readouterr().out
    shutil.copyfile(*files)
    quantize(files[1])
    whole, small = (onnxruntime.InferenceSession(str(file)) for file in files)
    trained = open_trained(place / "run", mird_mosi.MIRD)
    known = {name: json.loads(value) for name, value in whole.get_modelmeta().custom_metadata_map.items()}
    assert (known["task"], known["sizes"], known["max_words"]) == (trained.task.to_dict(), trained.sizes, 256)
    rows = trained.dataset(read_recordings(place / "set")["test"])
    for batch in (*loader(rows, batch_size=1), *loader(rows, batch_size=4)):
        given = arrays(batch)
        scores = predict(trained.model, [batch]).numpy()
        np.testing.assert_allclose(whole.run(["scores"], given)[0], scores, atol=1e-5)
        np.testing.assert_allclose(small.run(["scores"], given)[0], scores, atol=0.1)
    assert files[1].stat().st_size < 0.8 * files[0].stat().st_size
    page = (DOCS / "deploying.md").read_text()
    (code, *_) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    namespace = {"__name__": "page"}
    monkeypatch.chdir(tmp_path)
    exec(code.replace("runs/RUN", str(place / "run")), namespace)
    sound = np.load(place / "sound.npy")
    score = namespace["score"]("so good", audio=sound)
    np.testing.assert_allclose(score, by_hand(place, text="so good", audio=sound), atol=1e-5)
    assert run("export", "--run", place / "run", "--out", files[0]) == 2
    assert f"error: {files[0]}: exists; give the name of a new file" in capsys.readouterr().err


@pytest.fixture
def too_large(monkeypatch):
    """Any weights are: bytes above which they have a file of their own."""
    from torch.onnx._internal.exporter import _onnx_program

    monkeypatch.setattr(_onnx_program, "_LARGE_MODEL_THRESHOLD", 0)


@pytest.mark.parametrize(
    ("modalities", "inputs", "options", "files", "error"),
    [
        (["text"], 3, ["--int8"], ["model.onnx"], 0.1),
        (["audio", "vision"], 4, [], ["model.onnx", "model.onnx.data"], 1e-5),
    ],
)
@pytest.mark.usefixtures("too_large")
def test_a_run_of_some_modalities_is_exported_with_the_inputs_that_it_reads(
    place, tmp_path, modalities, inputs, options, files, error
):
    """Where the weights are too large for one file they have another one, unless they are of int8."""
    onnxruntime = pytest.importorskip("onnxruntime")
    data = ["--data", place / "set", "--backbone", place / "backbone", "--epochs", 1, "--modalities", *modalities]
    assert run(*data, "--out", tmp_path / "run") == 0
    assert run("export", "--run", tmp_path / "run", "--out", tmp_path / "model.onnx", *options) == 0
    assert sorted(path.name for path in tmp_path.glob("model.*")) == files
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    trained = open_trained(tmp_path / "run", mird_mosi.MIRD)
    names = [given.name for given in session.get_inputs()]
    assert len(names) == inputs
    for batch in loader(trained.dataset(read_recordings(place / "set")["test"]), batch_size=5):
        given = {name: x for name, x in arrays(batch).items() if name in names}
        scores = predict(trained.model, [batch]).numpy()
        np.testing.assert_allclose(session.run(["scores"], given)[0], scores, atol=error)


def test_a_model_that_draws_noise_cannot_be_exported(place, tmp_path):
    pytest.importorskip("onnxruntime")
    trained = open_trained(place / "run", mird_mosi.MIRD)
    torch.manual_seed(0)
    model = mird_mosi.MIRD(trained.model.shared.backbone, trained.sizes, noise=0.3).eval()
    with pytest.raises(ValueError, match="MIRD draws noise"):
        export_onnx(replace(trained, model=model), tmp_path / "noisy.onnx")


def test_features_of_another_size_are_refused_with_the_way_out(place, capsys, tmp_path):
    np.save(tmp_path / "covarep.npy", np.ones((4, 74), np.float32))
    out = "compute the same ones for it, or train on features like these"
    assert refused(capsys, place, "--audio", tmp_path / "covarep.npy") == (
        f"{tmp_path / 'covarep.npy'}: expected 33 audio features as in the training data, got 74: {out}"
    )
    folder = trained(tmp_path, {"audio": 74}, train=6, valid=3, test=3)
    assert refused(capsys, folder, "--audio", "clip.wav") == (  # which is not looked at
        "clip.wav: expected the 74 audio features of the training data as .npy, got another file, of which 33 would be computed"
    )
    split = recordings({"text": np.ones(3, bool)}, {"audio": 5})
    files = ["--data", written(tmp_path / "five", {"train": split}), "--out", tmp_path / "out.csv"]
    assert refused(capsys, folder, *files) == (
        f"{tmp_path / 'five'}: expected 74 audio features as in the training data, got 5: {out}"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--text", ""], "nothing to predict from: nothing is said, and there are no frames"),
        ([], "expected a recording (--text, --transcript, --audio, --vision, --features), --csv or --data"),
        (["--text", "so", "--data", "x"], "expected a recording (--text,"),
        (["--csv", "x.csv"], "expected --out FILE.csv with --csv or --data"),
        (["--text", "so", "--out", "x.csv"], "and not with a single recording"),
        (["--csv", "x.csv", "--out", "y.csv", "--json"], "expected --json with a single recording"),
        (["--features", "audio"], "expected --features NAME=FILE.npy, and each modality once, got audio"),
        (["--audio", "a.npy", "--features", "audio=b.npy"], "and each modality once, got audio=b.npy"),
        (["--features", "pose=b.npy"], "text, audio, vision, got pose"),
        (["--text", "so", "--transcript", "{place}/said.srt"], "both text and transcript, expected one of them"),
        (["--transcript", "no.srt"], "no.srt: no such file"),
        (["--vision", "clip.mp4"], "clip.mp4: no such file"),
        (["--audio", "{place}/said.srt"], "said.srt: "),
        (["--text", " "], "nothing to predict from"),
        (["--csv", "no.csv", "--out", "y.csv"], "no.csv: no such file"),
        (
            ["--csv", "{place}/said.srt", "--out", "y.csv"],
            "expected columns id and some of text, transcript, audio, vision",
        ),
        (["--data", "no", "--out", "y.csv"], "no: no such file"),
        (["--csv", "x.csv", "--out", "{place}/face.csv"], "face.csv: exists; give the name of a new file"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(place, capsys, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    before = (place / "face.csv").read_bytes()
    assert message in refused(capsys, place, *(option.format(place=place) for option in options))
    assert not any(tmp_path.iterdir())
    assert (place / "face.csv").read_bytes() == before


def test_a_table_that_cannot_be_written_is_said(place, capsys, tmp_path):
    (tmp_path / "clips.csv").write_text("id,text\n1,so good\n")
    out = tmp_path / "none" / "out.csv"
    error = refused(capsys, place, "--csv", tmp_path / "clips.csv", "--out", out, code=1)
    assert error == f"{out}: cannot be written: No such file or directory"


def test_a_folder_that_is_no_run_is_said(tmp_path, capsys):
    assert "expected the folder of a run" in refused(capsys, tmp_path, "--text", "so good")


PAGE = (DOCS / "own_videos.md").read_text()


def test_the_pages_table_of_a_folder_is_one_that_can_be_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "transcripts").mkdir()
    (tmp_path / "transcripts" / "clip[1].srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nso good\n")
    (tmp_path / "labels.csv").write_text("id,label,split\nclip00,1.5,train\nclip[1],,\n")
    assert run_code(DOCS / "own_videos.md", {}) == 1
    (tmp_path / "my_set" / "audio").mkdir()
    np.save("my_set/audio/clip00.npy", np.ones((4, 33), np.float32))
    splits = read_recordings("my_set")
    assert splits["train"].missing == {"text": 1, "audio": 0}
    assert (splits["unlabeled"].text, splits["unlabeled"].labels) == (["so good"], None)


def test_the_pages_commands_are_understood():
    commands = re.findall(r"^python examples/mird_mosi\.py (.*)$", PAGE, re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        options = parse(mird_mosi.EXPERIMENT, shlex.split(command))
        if options.command == "predict":
            recording_of(options)


def test_evaluating_says_what_no_recording_has_and_what_the_model_does_not_hear(place, tmp_path, capsys):
    splits = {
        split: recordings({"text": np.arange(8) % 4 > 0}, {"audio": 33, "motion": 4}, labels=True, seed=seed)
        for seed, split in enumerate(("train", "valid", "test"))
    }
    assert run("evaluate", "--run", place / "run", "--data", written(tmp_path / "other", splits)) == 0
    printed = capsys.readouterr().out
    for line in ("valid: no recording has vision", "test: no recording has vision", "the model does not hear motion"):
        assert line in printed
