"""Recordings of a folder as log-mel frames, with what is said and who speaks by their names; and takes to measure on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from disentangle import Masked
from disentangle.errors import DataError
from disentangle.features.audio import import_librosa

RATE, WINDOW, HOP, MELS = 8000, 256, 160, 40  # Hz, samples, samples, bands: 50 frames per second


class Speech(NamedTuple):
    frames: Masked  # log-mel
    content: np.ndarray  # what is said, and who speaks, as the names of the files say
    speaker: np.ndarray

    def select(self, rows: np.ndarray) -> Speech:
        return Speech(self.frames.select(torch.as_tensor(rows)), self.content[rows], self.speaker[rows])


def read_folder(folder: Path, names: str, seconds: float) -> Speech:
    import soundfile

    librosa = import_librosa()
    fields = {"content": "(?P<content>.+?)", "speaker": "(?P<speaker>.+?)"}
    pattern = re.sub(r"\\\{(\w+)\\\}", lambda field: fields.get(field[1], ".+?"), re.escape(names))
    if names.count("{content}") != 1 or names.count("{speaker}") != 1:
        raise DataError(f"expected names with {{content}} and {{speaker}} once each, got {names!r}")
    read = []
    for path in sorted(folder.glob("*.wav")):
        if not (found := re.fullmatch(pattern, path.stem)):
            raise DataError(f"{path}: expected a name like {names}.wav, got {path.name}")
        try:
            sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise DataError(f"{path}: expected sound, got {error}") from error
        if len(sound) / rate < WINDOW / RATE or not np.isfinite(sound).all():
            raise DataError(f"{path}: expected at least {WINDOW / RATE} s of finite sound, got {len(sound) / rate} s")
        sound = librosa.resample(sound.mean(1), orig_sr=rate, target_sr=RATE)[: int(seconds * RATE)]
        mel = librosa.feature.melspectrogram(y=sound, sr=RATE, n_fft=WINDOW, hop_length=HOP, n_mels=MELS)
        frames = torch.from_numpy(np.log(mel.T + 1e-5)).float()[None]
        alone = Masked(frames, torch.ones(frames.shape[:2], dtype=torch.bool))
        read.append((alone, found["content"], found["speaker"]))
    if not read:
        raise DataError(f"{folder}: expected a folder of recordings, *.wav, got none")
    frames, content, speaker = zip(*read, strict=True)
    return Speech(Masked.cat(frames), np.array(content), np.array(speaker))


def split(speech: Speech, unseen: list[str]) -> dict[str, Speech]:
    """What is trained on, held-out takes of the same speakers, and all of those that are not trained on."""
    if unknown := sorted({*unseen} - {*speech.speaker}):
        raise DataError(
            f"expected unseen speakers among {', '.join(np.unique(speech.speaker))}, got {', '.join(unknown)}"
        )
    part = np.full(len(speech.content), "train", dtype="U6")
    for both in {*zip(speech.content, speech.speaker, strict=True)}:
        takes = np.flatnonzero((speech.content == both[0]) & (speech.speaker == both[1]))
        part[takes[len(takes) - len(takes) // 5 :]] = "test"
    part[np.isin(speech.speaker, unseen)] = "unseen"
    if min(len({*labels[part == "test"]}) for labels in (speech.content, speech.speaker)) < 2:
        raise DataError("expected two contents and two speakers or more with 5 takes each to train on, got fewer")
    return {
        name: speech.select(np.flatnonzero(part == name))
        for name in ("train", "test", "unseen")
        if (part == name).any()
    }
