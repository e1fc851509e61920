"""The acoustic features of CH-SIMS and MMSA: what each column is, by other means than librosa's, and that it is told apart."""

import numpy as np
import pytest
import scipy.fft
import scipy.signal

from disentangle.data.computed_by import Looks, looks_like
from disentangle.features import AUDIO_FEATURES, MMSA_AUDIO_FEATURES, audio_features

from .test_audio import CHROMA, MFCC, RATE, features_of, tone, voice

librosa = pytest.importorskip("librosa", reason="librosa is not installed")
soundfile = pytest.importorskip("soundfile", reason="soundfile is not installed")


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Sounds, and their features of both kinds."""
    folder, noise = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0).normal(size=RATE) / 10
    given = {"voice": voice(), "noise": noise, "silence and tone": np.concatenate([np.zeros(RATE), tone(150)])}
    result = {}
    for name, samples in given.items():
        soundfile.write(folder / f"{name}.wav", samples, RATE, subtype="FLOAT")
        kinds = {kind: audio_features(folder / f"{name}.wav", like=kind) for kind in ("paper", "mmsa")}
        result[name] = samples.astype(np.float32), kinds
    return result


def windows(samples, mode):
    """Frames of 2048 samples, one centred on each 512th."""
    padded = np.pad(samples, 1024, mode=mode)
    return np.lib.stride_tricks.sliding_window_view(padded, 2048)[::512]


def test_the_first_column_counts_changes_of_sign(sounds):
    for samples, kinds in sounds.values():
        negative = np.signbit(np.where(np.abs(windows(samples, "edge")) <= 1e-10, 0, windows(samples, "edge")))
        crossings = (negative[:, 1:] != negative[:, :-1]).sum(1)
        np.testing.assert_array_equal(kinds["mmsa"][:, 0] * 2048, crossings)


def test_the_rate_of_a_tone_is_twice_its_frequency(tmp_path):
    soundfile.write(tmp_path / "tone.wav", tone(441.0, 2.0), RATE, subtype="FLOAT")
    inside = audio_features(tmp_path / "tone.wav", like="mmsa")[4:-4, 0]
    np.testing.assert_allclose(inside, 2 * 441 / RATE, atol=1 / 2048)


def test_cepstral_coefficients_by_htks_formula(sounds):
    samples, kinds = sounds["voice"]
    power = np.abs(np.fft.rfft(windows(samples, "constant") * scipy.signal.get_window("hann", 2048))) ** 2
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, 130) / 2595) - 1)
    hertz = np.arange(1025) * RATE / 2048
    rising = (hertz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - hertz) / np.diff(edges)[1:, None]
    bands = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    decibels = 10 * np.log10(np.maximum(1e-10, power @ bands.T))
    decibels = np.maximum(decibels, decibels.max() - 80)
    cepstrum = scipy.fft.dct(decibels, norm="ortho")[:, :20]
    np.testing.assert_allclose(kinds["mmsa"][:, MFCC], cepstrum, rtol=1e-3, atol=0.05)
    assert np.abs(kinds["paper"][:, MFCC] - cepstrum).max() > 5


def test_they_are_those_of_the_published_recipe(tmp_path):
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([voice(), 0.5 * voice()], 1), RATE, subtype="FLOAT")
    y, sr = librosa.load(path)
    columns = [
        librosa.feature.zero_crossing_rate(y, hop_length=512),
        librosa.feature.mfcc(y=y, sr=sr, hop_length=512, htk=True),
        librosa.feature.chroma_cqt(y=y, sr=sr, hop_length=512),
    ]
    np.testing.assert_allclose(audio_features(path, like="mmsa"), np.vstack(columns).T, rtol=1e-5, atol=1e-5)


def test_names_and_kinds(tmp_path):
    assert ("zero_crossing_rate", *AUDIO_FEATURES[1:]) == MMSA_AUDIO_FEATURES
    with pytest.raises((ValueError, TypeError), match="sims"):  # the latter where types are checked
        audio_features(tmp_path / "a.wav", like="sims")


def test_short_sound_has_as_many_frames(tmp_path):
    for samples in (2048, 5120):
        path = tmp_path / f"{samples}.wav"
        soundfile.write(path, tone(220, samples / RATE), RATE)
        features = audio_features(path, like="mmsa")
        assert features.shape == (1 + samples // 512, 33)
        assert np.isfinite(features).all()


# -- what they look like -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["paper", "mmsa"])
def test_both_kinds_are_told_of_real_sound(sounds, kind):
    looks = Looks()
    for name, (_, kinds) in sounds.items():
        assert looks_like(kinds[kind]) in ((kind,) if name != "noise" else (kind, None))
        looks.see(kinds[kind])
    assert looks.told == kind


@pytest.mark.parametrize("kind", ["paper", "mmsa"])
def test_what_was_done_to_them_is_not_told(sounds, kind):
    frames = sounds["voice"][1][kind]
    finite = np.nan_to_num(frames, nan=5.0)
    deviation = finite.std(0) + 1e-9
    for changed in (
        (finite - finite.mean(0)) / deviation,  # standardised
        (finite - finite.min(0)) / (np.ptp(finite, 0) + 1e-9),  # between 0 and 1
        finite[: len(finite) // 5 * 5].reshape(-1, 5, 33).mean(1),  # averaged over words
        finite[:, ::-1],
        np.random.default_rng(0).normal(size=frames.shape),
        np.zeros_like(frames),
    ):
        assert looks_like(changed.astype(np.float32)) is None


def test_one_recording_of_another_kind_is_enough_for_not_told(sounds):
    looks = Looks()
    for kind in ("paper", "mmsa"):
        looks.see(sounds["voice"][1][kind])
    assert looks.told is None


def test_unvoiced_frames_as_zeros_are_the_papers(sounds):
    assert looks_like(np.nan_to_num(sounds["voice"][1]["paper"])) == "paper"


def test_whether_there_is_voice_is_no_rate(sounds):
    frames = sounds["voice"][1]["mmsa"].copy()
    frames[:, 0] = frames[:, 0] > np.median(frames[:, 0])
    assert set(frames[:, 0]) == {0, 1}
    assert looks_like(frames) is None


def test_features_in_half_precision_are_told(sounds):
    assert looks_like(sounds["voice"][1]["mmsa"].astype(np.float16)) == "mmsa"


def test_gain_changes_neither_rate_nor_kind(tmp_path):
    loud, soft = features_of(tmp_path, voice()), features_of(tmp_path, 0.25 * voice())
    assert looks_like(loud) == looks_like(soft) == "paper"
    assert loud[:, CHROMA].max() == pytest.approx(1)
