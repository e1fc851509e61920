"""33 features of each frame of sound, in two kinds: "paper" and "mmsa".

"paper" are the paper's acoustic features, by librosa: fundamental frequency, mel-frequency cepstral coefficients and a
chromagram. The paper names neither rate nor settings, so librosa's own are used: mono at 22050 Hz and a frame every 512
samples, 43 per second. Frame t is centred on t / `AUDIO_FRAME_RATE` seconds in all of them. Two settings differ: F0 is looked
for in the range of voices, 65 to 600 Hz, and the chromagram is tuned to A = 440 Hz in every recording. librosa would guess the
tuning of each, but speech has none.

`log_f0` is the natural logarithm of F0 in Hz, and NaN in frames without voice, which have no pitch. `Standardize` replaces NaN
by the mean of the voiced frames of the training data.

"mmsa" is what most of this field uses instead. The paper of CH-SIMS (Yu et al., ACL 2020) describes its 33 features as
log F0, 20 MFCC and 12 of a constant-Q chromagram. The code that its authors published (`__getAudioEmbedding` in
`data/getFeature.py` of early versions of https://github.com/thuiar/MMSA) computes, in this order, the zero-crossing rate under
the name of F0, MFCC with HTK's formula of the mel scale, and the chromagram with a tuning that is guessed for each recording.
All else is left to librosa: mono at 22050 Hz, windows of 2048 samples and a frame every 512. librosa has changed its
resampling since, so sound of other rates comes out slightly different from theirs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from disentangle.data.opening import reading
from disentangle.errors import DataError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = [
    "AUDIO_FEATURES",
    "AUDIO_FRAME_RATE",
    "MMSA_AUDIO_FEATURES",
    "AudioKind",
    "audio_features",
    "columns_of",
    "import_librosa",
]

AudioKind = Literal["paper", "mmsa"]

SAMPLE_RATE = 22050
HOP = 512
FRAME = 2048
LOWEST, HIGHEST = 65.0, 600.0  # Hz: below a deep voice, above an excited or a child's one
BLOCK = 2048  # frames whose F0 is tracked together, 48 s: tracking an hour at once would take 6 GB
QUIETEST = 1e-4  # -80 dB: what a lossy codec makes of silence stays below it

PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")

AUDIO_FEATURES = ("log_f0", *(f"mfcc_{i}" for i in range(20)), *(f"chroma_{name}" for name in PITCH_CLASSES))
"""The names of the 33 columns of the paper's kind."""

MMSA_AUDIO_FEATURES = ("zero_crossing_rate", *AUDIO_FEATURES[1:])
"""The names of the 33 columns of MMSA's kind."""

AUDIO_FRAME_RATE = SAMPLE_RATE / HOP
"""Frames per second."""


def audio_features(path: str | os.PathLike[str], *, like: AudioKind = "paper") -> np.ndarray:
    """Computes the 33 features of each frame of a recording's sound.

    WAV, FLAC, OGG and MP3 are read by libsndfile; the sound of a video, and any other format, by ffmpeg, which has to be
    installed. Channels are averaged.

    Arguments:
        path: A file of sound, or a video.
        like: The kind: "paper", or "mmsa" as in CH-SIMS and MMSA.

    Returns:
        `(T, 33)` float32, columns as in `AUDIO_FEATURES` or `MMSA_AUDIO_FEATURES`, T = 1 + samples // 512 at 22050 Hz.

    Raises:
        DataError: If the file has no sound that can be read, or only silence, or less than 0.1 s.
        ImportError: Where librosa is missing.
        ValueError: If `like` is neither.

    Example:
        >>> import tempfile, pathlib, soundfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "tone.wav"
        >>> soundfile.write(path, 0.5 * np.sin(2 * np.pi * 220 * np.arange(22050) / 22050), 22050)
        >>> features = audio_features(path)
        >>> features.shape, float(np.exp(features[20, 0]).round()), AUDIO_FEATURES[21 + features[20, 21:].argmax()]
        ((44, 33), 220.0, 'chroma_A')
        >>> audio_features(path, like="mmsa")[20, 0] * 2048  # crossings in 2048 samples: two per period
        np.float32(41.0)
    """
    columns_of(like)
    librosa = import_librosa()
    samples = _samples(path, librosa)
    features = _like_paper(samples, librosa) if like == "paper" else _like_mmsa(samples, librosa)
    return np.ascontiguousarray(features.T, dtype=np.float32)


def columns_of(like: AudioKind) -> tuple[str, ...]:
    """The names of the columns of a kind of features.

    Raises:
        ValueError: If there is no such kind.
    """
    if like not in ("paper", "mmsa"):
        raise ValueError(f"expected like of 'paper' or 'mmsa', got {like!r}")
    return AUDIO_FEATURES if like == "paper" else MMSA_AUDIO_FEATURES


def _like_mmsa(samples: np.ndarray, librosa: ModuleType) -> np.ndarray:
    """MMSA's features, `(33, T)`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a chromagram's low octaves, for which a second is short
        return np.vstack(
            [
                librosa.feature.zero_crossing_rate(samples, frame_length=FRAME, hop_length=HOP),
                librosa.feature.mfcc(y=samples, sr=SAMPLE_RATE, n_mfcc=20, hop_length=HOP, n_fft=FRAME, htk=True),
                librosa.feature.chroma_cqt(y=samples, sr=SAMPLE_RATE, hop_length=HOP),
            ]
        )


def _like_paper(samples: np.ndarray, librosa: ModuleType) -> np.ndarray:
    """The paper's features, `(33, T)`."""
    mfcc = librosa.feature.mfcc(y=samples, sr=SAMPLE_RATE, n_mfcc=20, hop_length=HOP, n_fft=FRAME)
    # Its lowest octaves need a second of sound. It is padded with silence anyway, so here is more of it.
    longer = np.pad(samples, (0, max(0, SAMPLE_RATE * 3 - len(samples))))
    chroma = librosa.feature.chroma_cqt(y=longer, sr=SAMPLE_RATE, hop_length=HOP, tuning=0.0)
    return np.vstack([_log_f0(samples, librosa), mfcc, chroma[:, : mfcc.shape[1]]])


def import_librosa() -> ModuleType:
    """librosa, or an error that says how to get it.

    Raises:
        ImportError: Where it is missing.
    """
    try:
        import librosa
    except ImportError as error:
        raise ImportError("features of sound need librosa: pip install librosa") from error
    return librosa


def _log_f0(samples: np.ndarray, librosa: ModuleType) -> np.ndarray:
    """log F0 by probabilistic YIN, `(1, T)`; NaN where there is no voice."""
    padded = np.pad(samples, FRAME // 2)
    frames = 1 + len(samples) // HOP
    f0 = np.empty(frames)
    for start in range(0, frames, BLOCK):
        stop = min(start + BLOCK, frames)
        block = padded[start * HOP : (stop - 1) * HOP + FRAME]
        f0[start:stop], _, _ = librosa.pyin(
            block, fmin=LOWEST, fmax=HIGHEST, sr=SAMPLE_RATE, frame_length=FRAME, hop_length=HOP, center=False
        )
    return np.log(f0)[None]


def _samples(path: str | os.PathLike[str], librosa: ModuleType) -> np.ndarray:
    """The sound in mono at `SAMPLE_RATE`, checked."""
    import soundfile

    with reading(path, "sound"):
        if not os.path.getsize(path):
            raise DataError(f"{path}: expected sound, got an empty file")
    try:
        channels, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, TypeError):  # the latter where the file is named `.raw`
        channels, rate = _decoded(path)
    if not np.isfinite(channels).all():
        raise DataError(f"{path}: samples that are NaN or infinite")
    samples = librosa.resample(channels.mean(1), orig_sr=rate, target_sr=SAMPLE_RATE)
    if len(samples) < FRAME:
        raise DataError(f"{path}: expected at least 0.1 s of sound, got {len(samples) / SAMPLE_RATE:.3f} s")
    if np.abs(samples).max() < QUIETEST:
        raise DataError(f"{path}: silent")
    return samples


def _decoded(path: str | os.PathLike[str]) -> tuple[np.ndarray, int]:
    """The channels of a file's first track of sound, `(samples, channels)`, and its rate, by ffmpeg."""
    import soundfile

    if shutil.which("ffmpeg") is None:
        raise DataError(
            f"{path}: not WAV, FLAC, OGG or MP3; reading the sound of anything else needs ffmpeg, not found"
        )
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "sound.wav"
        # As `file:`, a name is never an option or an address; what is in the file cannot make ffmpeg fetch anything then.
        source = ["-i", f"file:{os.fspath(path)}"]
        command = ["ffmpeg", "-nostdin", "-v", "error", *source, "-map", "0:a:0", "-c:a", "pcm_f32le", str(wav)]
        result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if result.returncode or not wav.exists():
            said = [line.strip() for line in result.stderr.splitlines() if line.strip()]
            raise DataError(f"{path}: no sound that ffmpeg can read: {said[0] if said else 'it does not say why'}")
        return soundfile.read(wav, dtype="float32", always_2d=True)
