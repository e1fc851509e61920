"""The recordings that `mird_mosi.py` trains on, evaluates, and predicts from."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import TypeVar

import numpy as np

from disentangle.data import DataError, Recordings, read_recordings, read_unlabeled, synthetic_recordings
from disentangle.data.layouts.npy import read_frames
from disentangle.features import (
    AUDIO_FEATURES,
    OPENFACE_FEATURES,
    audio_features,
    openface_features,
    read_transcript,
    text_between,
)
from disentangle.metrics import LabelScale, disagreements, label_scale
from disentangle.training import Run, RunError

# What a modality's features are computed by where they are not given as .npy, and how many these are.
FEATURES = {"audio": (audio_features, len(AUDIO_FEATURES)), "vision": (openface_features, len(OPENFACE_FEATURES))}
T = TypeVar("T")
Clip = tuple[str, dict[str, np.ndarray]]  # a transcript, and the frames of each modality


def labeled_splits(path: str | None) -> dict[str, Recordings]:
    """Labelled recordings of "train", "valid" and "test", of the synthetic set without a path; perhaps "unlabeled" ones."""
    splits = read_recordings(path) if path else synthetic_recordings()
    for name in ("train", "valid", "test"):
        if name not in splits or splits[name].labels is None:
            found = ", ".join(
                f"{split} {len(r)}{' without labels' * (r.labels is None)}" for split, r in splits.items()
            )
            raise DataError(
                f"{path}: expected labelled recordings of train, valid and test, got {found}; which is which is told by a "
                "column split in a plain folder's table, a file splits.csv with columns id and split beside .csd files or "
                "dialogues, and the names of the parts in a pickle or a store"
            )
    return splits


def read(options: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Recordings]:
    """The recordings of each split, and `"unlabeled"` ones where there are any: those of a file of their own first."""
    sources = labeled_splits(options.data)
    if options.unlabeled:
        sources["unlabeled"] = read_unlabeled(options.unlabeled)
    if "unlabeled" in sources:
        path = options.unlabeled or options.data
        others = with_modalities(sources["unlabeled"], sources["train"].feature_sizes, path)
        sources["unlabeled"] = replace(others, labels=None)
    for name, recordings in sources.items():
        missing, nonfinite = recordings.missing, recordings.nonfinite
        say(f"{name:9} {len(recordings)} recordings; missing {missing}; values not finite {nonfinite}")
    return sources


def labels_of(sources: Mapping[str, Recordings]) -> dict[str, np.ndarray]:
    """The labels of train, valid and test."""
    labels = {name: sources[name].labels for name in ("train", "valid", "test")}
    return {name: each for name, each in labels.items() if each is not None}


def scale_of(
    labels: Mapping[str, np.ndarray], say: Callable[[str], None], told: LabelScale | None = None
) -> LabelScale:
    """What the labels of training are, said with the metrics that follow, and what differs from it in other splits.

    `told` is what they were for a model that is trained already. Raises `DataError` where there is nothing to learn from them,
    or where a split cannot be measured.
    """
    scale = told or _checked("train", label_scale, labels["train"])
    for name, each in labels.items():
        _checked(name, scale.check, each)
    say(f"labels    {scale}")
    for line in disagreements(scale, labels):
        say(f"          {line}")
    return scale


def _checked(name: str, read: Callable[[np.ndarray], T], labels: np.ndarray) -> T:
    try:
        return read(labels)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from None


def baselines(scale: LabelScale, labels: Mapping[str, np.ndarray]) -> dict[str, dict[str, float | None]]:
    """What a model scores on valid and test that knows nothing but the training labels: their mean, or the most frequent."""
    constants = scale.baselines(labels["train"])
    return {
        f"{split}, {name}": scale.metrics([value] * len(labels[split]), labels[split])
        for name, value in constants.items()
        for split in ("valid", "test")
    }


def write_scale(run: Run, scale: LabelScale) -> None:
    run.write("labels.json", asdict(scale))


def read_scale(run: Run) -> LabelScale | None:
    """What a run has found its labels to be, for whatever it is used on later; None of a run that did not keep it."""
    path = run.folder / "labels.json"
    try:
        if not path.exists():
            return None
        told = json.loads(path.read_text())
        return LabelScale(told["kind"], tuple(map(float, told["values"])))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(f"{path}: expected a kind of labels and their values, as a run leaves them: {error}") from error


def with_modalities(recordings: Recordings, sizes: Mapping[str, int], path: str | os.PathLike[str]) -> Recordings:
    """The recordings with the modalities of the training data: one that they lack altogether is missing in each of them.

    Modalities that the training data lacks are left out; frames of another size are an error.
    """
    for name, size in recordings.feature_sizes.items():
        if size != sizes.get(name, size):
            raise wrong_size(path, name, size, sizes[name])
    sequences = {
        name: recordings.sequences.get(name, [np.zeros((0, size), np.float32)] * len(recordings))
        for name, size in sizes.items()
    }
    padding = {name: cut for name, cut in recordings.padding.items() if name in sizes}
    return replace(recordings, sequences=sequences, padding=padding)


def wrong_size(path: str | os.PathLike[str], name: str, given: int, wanted: int) -> DataError:
    """The error of frames that are not those that a model was built for."""
    return DataError(
        f"{path}: {given} {name} features, expected {wanted} as in the training data: compute the same ones for it, or train "
        "on features like these"
    )


def read_clip(given: Mapping[str, str], sizes: Mapping[str, int]) -> Clip:
    """The transcript of a recording, and the frames of its modalities, from files by name; raises `DataError`."""
    if given.get("text") and given.get("transcript"):
        raise DataError("both text and transcript, expected one of them")
    text = given.get("text", "").strip()
    if path := given.get("transcript"):
        text = text_between(read_transcript(path))
    none = {name: np.zeros((0, size), np.float32) for name, size in sizes.items()}
    frames = {name: read_modality(name, given[name], sizes[name]) if given.get(name) else none[name] for name in sizes}
    if not text and not any(map(len, frames.values())):
        raise DataError("nothing to predict from: nothing is said, and there are no frames")
    return text, frames


def read_modality(name: str, path: str, size: int) -> np.ndarray:
    """The frames of a modality, `(T, size)`: of a `.npy`, or computed by `FEATURES`."""
    if path.lower().endswith(".npy"):
        frames = read_frames(path)
        if not len(frames):
            return np.zeros((0, size), np.float32)
        if frames.shape[1] != size:
            raise wrong_size(path, name, frames.shape[1], size)
        return frames
    if name not in FEATURES:
        raise DataError(f"{path}: expected the features of {name} as .npy, (frames, {size})")
    compute, number = FEATURES[name]
    if number != size:  # said before they are computed, which takes long
        raise wrong_size(path, name, number, size)
    return compute(path)


def recordings_of(clips: list[Clip]) -> Recordings:
    return Recordings([text for text, _ in clips], {m: [frames[m] for _, frames in clips] for m in clips[0][1]})
