"""One's own recordings: a transcript and files by name, to the frames that a trained model reads."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from disentangle.data import DataError, Recordings
from disentangle.data.computed_by import SIZE, looks_like, read_record
from disentangle.data.layouts.npy import read_frames
from disentangle.experiments.reading import compare, wrong_size
from disentangle.features import (
    AUDIO_FEATURES,
    OPENFACE_FEATURES,
    audio_features,
    openface_features,
    read_transcript,
    text_between,
)

__all__ = ["FEATURES", "Clip", "read_clip", "recordings_of"]

# What a modality's features can be computed by where they are not given as .npy, and how many these are.
FEATURES = {
    "audio": (
        {"paper": audio_features, "mmsa": functools.partial(audio_features, like="mmsa")},
        len(AUDIO_FEATURES),
    ),
    "vision": ({"openface": openface_features}, len(OPENFACE_FEATURES)),
}
Clip = tuple[str, dict[str, np.ndarray]]  # a transcript, and the frames of each modality


def read_clip(given: Mapping[str, str], sizes: Mapping[str, int], computed_by: Mapping[str, str]) -> Clip:
    """The transcript of a recording, and the frames of its modalities, from files by name; raises `DataError`."""
    if given.get("text") and given.get("transcript"):
        raise DataError("both text and transcript, expected one of them")
    text = given.get("text", "").strip()
    if path := given.get("transcript"):
        text = text_between(read_transcript(path))
    none = {name: np.zeros((0, size), np.float32) for name, size in sizes.items()}
    frames = {
        name: read_modality(name, given[name], size, computed_by.get(name)) if given.get(name) else none[name]
        for name, size in sizes.items()
    }
    if not text and not any(map(len, frames.values())):
        raise DataError("nothing to predict from: nothing is said, and there are no frames")
    return text, frames


def read_modality(name: str, path: str, size: int, wanted: str | None) -> np.ndarray:
    """The frames of a modality, `(T, size)`: of a `.npy`, or computed by what `FEATURES` has for what is wanted."""
    if path.lower().endswith(".npy"):
        frames = read_frames(path)
        if not len(frames):
            return np.zeros((0, size), np.float32)
        if frames.shape[1] != size:
            raise wrong_size(path, name, frames.shape[1], size)
        told = looks_like(frames) if (name, size) == ("audio", SIZE) else None
        compare(path, name, read_record(Path(path).parent) or told, wanted)
        return frames
    if name not in FEATURES:
        raise DataError(f"{path}: expected the features of {name} as .npy, (frames, {size})")
    kinds, number = FEATURES[name]
    if number != size:  # said before they are computed, which takes long
        raise DataError(
            f"{path}: expected the {size} {name} features of the training data as .npy, got another file, of which {number} "
            "would be computed"
        )
    if wanted is None and len(kinds) > 1:
        raise DataError(
            f"{path}: expected --like {' or --like '.join(kinds)}, as nothing tells what the run's {name} features were "
            "computed by; python -m disentangle.data says what those of a data set look like"
        )
    if wanted is not None and wanted not in kinds:
        raise DataError(f"{path}: expected {name} features computed by {wanted}, as in the training data, as .npy")
    kind = wanted or next(iter(kinds))
    compare(path, name, kind, wanted)
    return kinds[kind](path)


def recordings_of(clips: list[Clip]) -> Recordings:
    """Several clips as recordings."""
    return Recordings([text for text, _ in clips], {m: [frames[m] for _, frames in clips] for m in clips[0][1]})
