"""The example on tones: the pitch is the speaker, the melody is what is said; and on recordings that SPOKEN_DIGITS names."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import speech
import torch

soundfile = pytest.importorskip("soundfile")

RATE, TAKES = 8000, 5
MELODIES = {"up": (1.0, 1.5, 2.0), "down": (2.0, 1.5, 1.0), "flat": (1.5, 1.5, 1.5)}
PITCHES = {"ann": 300.0, "ben": 450.0, "cleo": 675.0}
FACTORS = ("content", "speaker")
NAMES = "{content}_{speaker}_{take}"
RECORDINGS = os.environ.get("SPOKEN_DIGITS", "")  # a folder of the Free Spoken Digit Dataset


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    folder, draw = tmp_path_factory.mktemp("tones"), np.random.default_rng(0)
    for word, melody in MELODIES.items():
        for who, pitch in PITCHES.items():
            for take in range(TAKES):
                times = [np.arange(int(draw.uniform(0.05, 0.1) * RATE)) / RATE for _ in melody]
                notes = [0.5 * np.sin(2 * np.pi * pitch * step * t) for step, t in zip(melody, times, strict=True)]
                sound = np.concatenate(notes)
                soundfile.write(folder / f"{word}_{who}_{take}.wav", sound + draw.normal(0, 0.01, len(sound)), RATE)
    return folder


@pytest.fixture(scope="module")
def parts(tones):
    return speech.split(speech.read_folder(tones, NAMES, 0.8), [])


def run(capsys, *arguments):
    code = speech.main([str(each) for each in arguments])
    return code, capsys.readouterr()


def last_line(printed):
    return json.loads(printed.out.splitlines()[-1])


def test_it_trains_measures_and_draws(tones, tmp_path, capsys):
    penalty = "hsic"
    code, printed = run(capsys, "--data", tones, "--penalty", penalty, "--steps", 3, "--out", tmp_path)
    assert code == 0
    result = last_line(printed)
    assert (result["penalty"], result["seed"], result["unseen"]) == (penalty, 0, None)
    for latent in ("content_latent", "speaker_latent"):
        for factor in FACTORS:
            of = result[latent][factor]
            assert set(of) == {"linear", "neural", "neural_draws", "interval", "chance"}
            assert of["chance"] == pytest.approx(1 / 3)
            assert of["interval"][0] <= of["neural"] <= of["interval"][1]
    assert result["error"] > 0
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("matrix.png", "conversion.png"))
    arrays = np.load(tmp_path / "latents.npz")
    rows = {"train": 9 * (TAKES - 1), "test": 9}
    shapes = {f"{part}_content_latent": (n, speech.CONTENT) for part, n in rows.items()}
    shapes |= {f"{part}_speaker_latent": (n, speech.SPEAKER) for part, n in rows.items()}
    shapes |= {f"{part}_{factor}_label": (n,) for part, n in rows.items() for factor in FACTORS}
    assert {name: arrays[name].shape for name in arrays.files} == shapes
    assert set(arrays["test_content_label"]) == set(MELODIES)
    assert set(arrays["test_speaker_label"]) == set(PITCHES)


@pytest.mark.parametrize("penalty", ["hsic", "club", "orthogonal", "adversary"])
def test_every_penalty_reaches_the_encoders(penalty, parts):
    weights = [
        speech.train(parts["train"], kind, steps=3, seed=0).content.latent[0].weight for kind in ("none", penalty)
    ]
    assert weights[1].isfinite().all()
    assert not torch.equal(*weights)


def test_it_learns_what_it_is_to_tell(parts):
    """By a rule of its own, the nearest mean of training latents, and not by the probes of the example."""
    model = speech.train(parts["train"], "none", steps=60, seed=0)
    with torch.no_grad():
        z, held_out = (model(parts[name].frames)["speaker"] for name in ("train", "test"))
    means = torch.stack([z[torch.as_tensor(parts["train"].speaker == who)].mean(0) for who in PITCHES])
    nearest = np.array(list(PITCHES))[torch.cdist(held_out, means).argmin(1)]
    assert (nearest == parts["test"].speaker).mean() > 0.7


def test_equal_seeds_are_equal_numbers_and_others_are_not(parts):
    same, again, other = (
        speech.train(parts["train"], "club", steps=3, seed=seed).draw[-1].weight for seed in (1, 1, 2)
    )
    assert torch.equal(same, again)
    assert not torch.equal(same, other)


def test_unseen_speakers_are_not_trained_on_and_leace_leaves_a_linear_map_nothing(tones, tmp_path, capsys):
    options = ("--unseen", "cleo", "--penalty", "leace", "--steps", 30)
    code, printed = run(capsys, "--data", tones, *options, "--out", tmp_path)
    assert code == 0
    assert last_line(printed)["unseen"]["chance"] == pytest.approx(1 / 3)
    arrays = np.load(tmp_path / "latents.npz")
    assert set(arrays["unseen_speaker_label"]) == {"cleo"}
    assert "cleo" not in {*arrays["train_speaker_label"], *arrays["test_speaker_label"]}
    assert arrays["unseen_content_latent"].shape == (3 * TAKES, speech.CONTENT)
    for latent, other in (("content", "speaker"), ("speaker", "content")):
        z, label = arrays[f"train_{latent}_latent"], arrays[f"train_{other}_label"]
        means = np.stack([z[label == name].mean(0) for name in np.unique(label)])
        np.testing.assert_allclose(means, np.broadcast_to(z.mean(0), means.shape), atol=1e-4)


def test_speakers_who_say_no_word_both_are_measured_all_the_same(tones, tmp_path, capsys):
    said = {"ann": ("up",), "ben": ("down",), "cleo": ("down", "flat")}  # the first two have no word in common
    for number, sharing in enumerate((True, False)):
        folder = tmp_path / f"tones {number}"
        folder.mkdir()
        for path in tones.glob("*.wav"):
            word, who, _ = path.stem.split("_")
            if word in said[who] and (sharing or (who, word) != ("cleo", "down")):
                (folder / path.name).write_bytes(path.read_bytes())
        out = tmp_path / f"run {number}"
        code, printed = run(capsys, "--data", folder, "--penalty", "none", "--steps", 2, "--out", out)
        assert code == 0
        assert last_line(printed)["error"] > 0
        assert (out / "conversion.png").exists() == sharing


def test_names_may_carry_the_factors_in_another_way(tones, tmp_path):
    for path in tones.glob("*_0.wav"):
        word, who, take = path.stem.split("_")
        (tmp_path / f"{who}-{take}.{word}.wav").write_bytes(path.read_bytes())
    read = speech.read_folder(tmp_path, "{speaker}-{take}.{content}", 0.8)
    assert (set(read.content), set(read.speaker)) == (set(MELODIES), set(PITCHES))


def test_what_stands_in_padding_tells_nothing(parts):
    """The encoders see a recording in a batch of longer ones as they see it alone."""
    frames, encoder = parts["train"].frames, speech.Encoder(4).eval()
    encoder.latent[1].noise = 0.0
    together = encoder(frames)
    for row in (0, 7):
        values, mask = (t[row, : int(frames.lengths[row])][None] for t in frames)
        torch.testing.assert_close(encoder(speech.Masked(values, mask))[0], together[row], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "absent"], "absent: expected a folder of recordings, *.wav, got none"),
        (["--names", "{content}-{speaker}"], "expected a name like {content}-{speaker}.wav, got down_ann_0.wav"),
        (["--names", "{content}_{take}"], "expected names with {content} and {speaker} once each, got '{content}_{take}'"),
        (["--unseen", "dora"], "expected unseen speakers among ann, ben, cleo, got dora"),
        (["--unseen", "ann", "ben"], "expected two contents and two speakers or more with 5 takes each to train on"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_clear_line(options, message, tones, tmp_path, capsys):
    code, printed = run(capsys, "--data", tones, *options, "--out", tmp_path / "out")
    assert code == 2
    assert printed.err.startswith("error: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"no sound at all", None])
def test_a_file_without_sound_is_one_clear_line(content, tmp_path, capsys):
    path = tmp_path / "a_b_0.wav"
    soundfile.write(path, np.zeros(10), RATE) if content is None else path.write_bytes(content)
    code, printed = run(capsys, "--data", tmp_path)
    assert code == 2
    assert printed.err.startswith(f"error: {path}: expected ")
    assert printed.err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.skipif(not RECORDINGS, reason="SPOKEN_DIGITS names no folder of recordings")
def test_of_recordings_a_few_steps_with_hsic_leave_less_of_the_speaker_in_the_content(tmp_path, capsys):
    """On two digits of all speakers, since the whole set takes minutes."""
    for path in Path(RECORDINGS).glob("[07]_*.wav"):
        (tmp_path / path.name).symlink_to(path.resolve())
    found = {}
    for penalty in ("none", "hsic"):
        code, printed = run(
            capsys, "--data", tmp_path, "--penalty", penalty, "--steps", 40, "--out", tmp_path / penalty
        )
        assert code == 0
        found[penalty] = last_line(printed)
    speaker = {penalty: result["content_latent"]["speaker"]["linear"] for penalty, result in found.items()}
    assert speaker["hsic"] < speaker["none"] - 0.1
    assert found["hsic"]["content_latent"]["content"]["linear"] > 0.7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "-1"], "--seed: expected a whole number from 0 to 4294967295, got -1"),
        (["--steps", "0"], "--steps: expected a whole number of at least 1, got 0"),
        (["--seconds", "-1"], "--seconds: expected a number above 0, got -1"),
    ],
)
def test_an_option_that_cannot_be_is_one_line(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit):
        speech.main(["--data", str(tmp_path), *arguments])
    assert capsys.readouterr().err.strip().endswith(message)
