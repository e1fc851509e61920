import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.fft

from disentangle.data import DataError
from disentangle.features import AUDIO_FEATURES, AUDIO_FRAME_RATE, audio
from disentangle.features.audio import PITCH_CLASSES, audio_features

pytest.importorskip("librosa", reason="librosa is not installed")
soundfile = pytest.importorskip("soundfile", reason="soundfile is not installed")
needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")
needs_espeak = pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed")

RATE = 22050
MFCC, CHROMA = slice(1, 21), slice(21, 33)


def tone(hertz, seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    """A sine whose frequency can change from sample to sample."""
    hertz = np.broadcast_to(hertz, round(seconds * rate))
    return 0.4 * np.sin(2 * np.pi * np.cumsum(hertz) / rate)


def voice(seconds: float = 2.0, rate: int = RATE) -> np.ndarray:
    """Harmonics of a gliding pitch, breath, and pauses: what a codec has to do with in speech."""
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(140 + 40 * np.sin(2 * np.pi * 0.8 * time)) / rate
    sound = sum(np.sin(k * phase) / k for k in range(1, 20))
    breath = np.random.default_rng(0).normal(size=len(time))
    return 0.1 * (sound + 0.02 * breath) * (np.sin(2 * np.pi * 1.5 * time) > -0.5)


def features_of(folder: Path, samples: np.ndarray, rate: int = RATE) -> np.ndarray:
    path = folder / "sound.wav"
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return audio_features(path)


def test_names_every_column_once():
    assert len(set(AUDIO_FEATURES)) == 33
    assert AUDIO_FEATURES[0] == "log_f0"
    assert [name.split("_")[0] for name in AUDIO_FEATURES[MFCC]] == ["mfcc"] * 20
    assert [name.split("_")[0] for name in AUDIO_FEATURES[CHROMA]] == ["chroma"] * 12


@pytest.mark.parametrize("midi", [38, 45, 57, 64, 72])
def test_finds_the_pitch_of_a_tone(tmp_path, midi):
    hertz = 440 * 2 ** ((midi - 69) / 12)
    inside = features_of(tmp_path, tone(hertz))[4:-4]
    assert np.abs(np.exp(inside[:, 0]) / hertz - 1).max() < 0.01
    assert {PITCH_CLASSES[k] for k in inside[:, CHROMA].argmax(1)} == {PITCH_CLASSES[midi % 12]}


def test_the_chromagram_is_not_tuned_to_the_rest_of_the_recording(tmp_path):
    sharp = tone(440 * 2 ** (0.15 / 12), 3.0)
    first, second = (features_of(tmp_path, np.concatenate([tone(440), rest])) for rest in (sharp, tone(440, 3.0)))
    half = round(AUDIO_FRAME_RATE / 2)
    np.testing.assert_allclose(first[:half, CHROMA], second[:half, CHROMA], atol=0.01)


@pytest.mark.parametrize("hertz", [1500, 6000])
def test_cepstral_coefficients_tell_the_spectrum(tmp_path, hertz):
    cepstrum = features_of(tmp_path, tone(hertz))[10:-10, MFCC].mean(0)
    # Back from the cosine transform to the decibels of 128 bands, smooth now; Slaney's mel scale is logarithmic from 1000 Hz.
    decibels = scipy.fft.idct(np.pad(cepstrum, (0, 108)), norm="ortho")
    mel = 15 + 27 * np.log(hertz / 1000) / np.log(6.4)
    highest = 15 + 27 * np.log(RATE / 2000) / np.log(6.4)
    assert abs(decibels.argmax() + 1 - mel / highest * 129) < 3


def test_a_frame_every_512_samples(tmp_path):
    for samples in (2048, 5119, 5120, 5121):
        features = features_of(tmp_path, tone(220, samples / RATE))
        assert features.shape == (1 + samples // 512, 33)
        assert features.dtype == np.float32
    assert round(AUDIO_FRAME_RATE, 2) == 43.07


def test_frames_stand_where_the_sound_is(tmp_path):
    samples = np.random.default_rng(0).normal(size=2 * RATE) * 1e-3
    click = round(1.3 * RATE)
    samples[click : click + 64] += 0.5
    features = features_of(tmp_path, samples)
    assert abs(features[:, 1].argmax() / AUDIO_FRAME_RATE - 1.3) <= 1 / AUDIO_FRAME_RATE


def test_all_columns_change_with_the_sound_at_one_time(tmp_path):
    features = features_of(tmp_path, tone(np.repeat([220.0, 330.0], RATE), 2.0))
    change = round(1.0 * AUDIO_FRAME_RATE)
    assert abs((features[:, 0] < np.log(270)).sum() - change) <= 2
    assert (
        abs((features[:, 21 + PITCH_CLASSES.index("A")] > features[:, 21 + PITCH_CLASSES.index("E")]).sum() - change)
        <= 3
    )
    mfcc = features[:, MFCC]
    nearer = np.linalg.norm(mfcc - mfcc[10], axis=1) < np.linalg.norm(mfcc - mfcc[-10], axis=1)
    assert abs(nearer.sum() - change) <= 2


def test_silence_and_noise_have_no_pitch(tmp_path):
    silence = np.zeros(RATE)
    features = features_of(tmp_path, np.concatenate([silence, tone(150), silence]))
    second = round(AUDIO_FRAME_RATE)
    assert np.isnan(features[: second - 3, 0]).all()
    assert np.isnan(features[2 * second + 4 :, 0]).all()
    assert np.isfinite(features[second + 3 : 2 * second - 3, 0]).all()
    assert np.isfinite(features[:, 1:]).all()
    noise = features_of(tmp_path, 0.1 * np.random.default_rng(0).normal(size=2 * RATE))
    assert np.isnan(noise[:, 0]).mean() > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("block", [7, 43])  # of 87 frames: 3 in the last block, and 1
def test_pitch_tracked_in_blocks_is_pitch_tracked_at_once(tmp_path, monkeypatch, block):
    hertz = np.geomspace(100, 300, 2 * RATE)
    whole = features_of(tmp_path, tone(hertz, 2.0))[:, 0]
    monkeypatch.setattr(audio, "BLOCK", block)
    parts = features_of(tmp_path, tone(hertz, 2.0))[:, 0]
    assert np.isfinite(whole[4:-4]).all()
    np.testing.assert_allclose(parts[4:-4], whole[4:-4], atol=0.03)
    frames = np.arange(len(parts)) * 512
    np.testing.assert_allclose(parts[4:-4], np.log(hertz[frames[4:-4]]), atol=0.04)


def test_gain_changes_loudness_alone(tmp_path):
    loud, soft = features_of(tmp_path, voice()), features_of(tmp_path, 0.25 * voice())
    np.testing.assert_array_equal(np.isnan(loud), np.isnan(soft))
    np.testing.assert_allclose(soft[:, 2:], loud[:, 2:], atol=2e-2)
    # In decibels, of which the first coefficient is the sum over 128 bands by sqrt(128).
    np.testing.assert_allclose(soft[:, 1] - loud[:, 1], 20 * np.log10(0.25) * np.sqrt(128), atol=0.1)


@pytest.mark.slow
def test_formats_of_one_sound_have_nearly_the_same_features(tmp_path):
    samples = np.round(voice() * 2**15).astype(np.int16)
    for ending in ("wav", "flac", "ogg", "mp3"):
        soundfile.write(tmp_path / f"sound.{ending}", samples, RATE)
    wav = audio_features(tmp_path / "sound.wav")
    np.testing.assert_array_equal(audio_features(tmp_path / "sound.flac"), wav)
    for ending in ("ogg", "mp3"):
        features = audio_features(tmp_path / f"sound.{ending}")
        assert abs(len(features) - len(wav)) <= 3
        n = min(len(features), len(wav))
        voiced = np.isfinite(features[:n, 0]) & np.isfinite(wav[:n, 0])
        assert voiced.mean() > 0.5 * np.isfinite(wav[:, 0]).mean()
        assert np.median(np.abs(features[:n, 0] - wav[:n, 0])[voiced]) < 0.02
        for columns in (MFCC, CHROMA):
            assert np.corrcoef(features[:n, columns][voiced].ravel(), wav[:n, columns][voiced].ravel())[0, 1] > 0.97


@pytest.mark.slow
def test_rates_and_channels_do_not_matter(tmp_path):
    mono = features_of(tmp_path, voice())
    other = voice(rate=44100)
    stereo = features_of(tmp_path, np.stack([1.5 * other, 0.5 * other], 1), 44100)
    assert stereo.shape == mono.shape
    both = np.isfinite(mono[:, 0]) & np.isfinite(stereo[:, 0])
    assert np.abs(mono[both, 0] - stereo[both, 0]).max() < 0.02
    assert np.corrcoef(mono[both][:, CHROMA].ravel(), stereo[both][:, CHROMA].ravel())[0, 1] > 0.99


def test_channels_are_averaged(tmp_path):
    both = features_of(tmp_path, np.stack([tone(220), tone(330)], 1))[4:-4, CHROMA].mean(0)
    assert {PITCH_CLASSES[k] for k in np.argsort(both)[-2:]} == {"A", "E"}
    assert np.sort(both)[-2:].min() > 0.6


def test_bad_files_are_told_in_one_line(tmp_path):
    def message(path) -> str:
        with pytest.raises(DataError) as caught:
            audio_features(path)
        assert "\n" not in str(caught.value)
        return str(caught.value).removeprefix(f"{path}: ")

    path = tmp_path / "sound.wav"
    assert message(path) == "no such file"
    assert message(tmp_path) == "expected a file, got a directory"
    assert message("a\0b.wav") == "cannot be read: embedded null byte"
    path.touch()
    assert message(path) == "expected sound, got an empty file"
    soundfile.write(path, np.zeros(RATE), RATE)
    assert message(path) == "silent"
    soundfile.write(path, np.zeros(0), RATE)
    assert message(path) == "expected at least 0.1 s of sound, got 0.000 s"
    soundfile.write(path, tone(220, 0.05), RATE)
    assert message(path) == "expected at least 0.1 s of sound, got 0.050 s"
    soundfile.write(path, np.full(RATE, np.nan), RATE, subtype="FLOAT")
    assert message(path) == "samples that are NaN or infinite"


def test_without_ffmpeg_says_that_it_is_needed(tmp_path, monkeypatch):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"not a film")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError) as caught:
        audio_features(path)
    wanted = "not WAV, FLAC, OGG or MP3; reading the sound of anything else needs ffmpeg, not found"
    assert str(caught.value) == f"{path}: {wanted}"


def ffmpeg(*arguments) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)


@pytest.mark.slow
@needs_ffmpeg
def test_reads_the_sound_of_a_video(tmp_path):
    wav, film, mute = tmp_path / "sound.wav", tmp_path / "-a film.mkv", tmp_path / "mute.mp4"
    soundfile.write(wav, voice(), RATE)
    picture = ("-f", "lavfi", "-i", "testsrc=duration=2:size=64x64")
    ffmpeg(*picture, "-i", wav, "-c:a", "pcm_s16le", film)
    np.testing.assert_array_equal(audio_features(film), audio_features(wav))
    ffmpeg(*picture, mute)
    with pytest.raises(DataError, match=r"mute.mp4: no sound that ffmpeg can read: .*matches no streams\.$"):
        audio_features(mute)


@needs_ffmpeg
@pytest.mark.parametrize("name", ["clip.mp4", "clip.raw", "clip.wav", "clip.txt"])
def test_what_is_not_sound_is_refused(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(os.urandom(16) + b"no sound")
    with pytest.raises(DataError, match=r": no sound that ffmpeg can read: [^\n]+$"):
        audio_features(path)


@needs_ffmpeg
def test_a_playlist_fetches_nothing(tmp_path):
    path = tmp_path / "clip.m3u8"
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/sound.ts"
        path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{address}\n#EXT-X-ENDLIST\n")
        with pytest.raises(DataError, match="no sound that ffmpeg can read"):
            audio_features(path)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "librosa", None)
    with pytest.raises(ImportError, match=r"pip install librosa"):
        audio_features(tmp_path / "sound.wav")


@pytest.mark.slow
@needs_espeak
def test_speech_from_text(tmp_path):
    def spoken(text: str, pitch: int) -> np.ndarray:
        path = tmp_path / "speech.wav"
        subprocess.run(["espeak-ng", "-v", "en", "-p", str(pitch), "-w", path, text], check=True)
        return audio_features(path)

    def median_f0(features: np.ndarray) -> float:
        voiced = np.isfinite(features[:, 0])
        assert 0.2 < voiced.mean() < 0.95
        return np.exp(np.median(features[voiced, 0]))

    short, text = "It was good.", "It was good, and far better than the first part of the story, which I did not like."
    low, high = spoken(text, 30), spoken(text, 80)
    assert 65 < median_f0(low) < median_f0(high) - 10 < 300
    assert len(low) > 2 * len(spoken(short, 30))
