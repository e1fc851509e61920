"""The recordings that `mird_mosi.py` trains on, evaluates, and predicts from."""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from disentangle.data import DataError, Recordings, read_recordings, read_unlabeled, synthetic_recordings
from disentangle.data.computed_by import SIZE, Looks, check_computed_alike, looks_like, read_record
from disentangle.data.data_warnings import warn
from disentangle.data.layouts.npy import read_frames
from disentangle.features import (
    AUDIO_FEATURES,
    OPENFACE_FEATURES,
    audio_features,
    openface_features,
    read_transcript,
    text_between,
)

# What a modality's features can be computed by where they are not given as .npy, and how many these are.
FEATURES = {
    "audio": (
        {"paper": audio_features, "mmsa": functools.partial(audio_features, like="mmsa")},
        len(AUDIO_FEATURES),
    ),
    "vision": ({"openface": openface_features}, len(OPENFACE_FEATURES)),
}
LOOKED_AT = 200  # recordings, of what a data set's audio looks like
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
    computed_by = kinds_of(sources["train"])
    for name in computed_by.keys() - sources["train"].computed_by.keys():
        say(f"{name:9} looks like it was computed by {computed_by[name]}, which is not recorded; taken for that")
    sources["train"] = replace(sources["train"], computed_by=computed_by)
    if options.unlabeled:
        sources["unlabeled"] = read_unlabeled(options.unlabeled)
    if "unlabeled" in sources:
        path = options.unlabeled or options.data
        others = with_modalities(sources["unlabeled"], sources["train"].feature_sizes, path, computed_by)
        sources["unlabeled"] = replace(others, labels=None)
    for name, recordings in sources.items():
        missing, nonfinite = recordings.missing, recordings.nonfinite
        say(f"{name:9} {len(recordings)} recordings; missing {missing}; values not finite {nonfinite}")
    return sources


def kinds_of(recordings: Recordings) -> dict[str, str]:
    """What each modality was computed by: as is recorded, or else as audio looks, where that is told."""
    kinds = dict(recordings.computed_by)
    if "audio" not in kinds and recordings.feature_sizes.get("audio") == SIZE:
        looks = Looks()
        for i in range(min(len(recordings), LOOKED_AT)):
            looks.see(recordings.sequences["audio"][i])
        kinds |= {"audio": looks.told} if looks.told else {}
    return kinds


def compare(where: str | os.PathLike[str], name: str, given: str | None, wanted: str | None) -> None:
    """Refuses features that were computed by something else than the training data's; says so where one is not known."""
    if given and wanted:
        check_computed_alike(where, {name: given}, {name: wanted})
    elif wanted:
        warn(f"nothing tells what the {name} features given were computed by; taken to be by {wanted}, as in training")
    elif given:
        warn(
            f"the run does not say what its {name} features were computed by; taken to be by {given}, as those given are"
        )


def with_modalities(
    recordings: Recordings,
    sizes: Mapping[str, int],
    path: str | os.PathLike[str],
    computed_by: Mapping[str, str] = {},
) -> Recordings:
    """The recordings with the modalities of the training data: one that they lack altogether is missing in each of them.

    Modalities that the training data lacks are left out; frames of another size, or computed by something else, are an error.
    """
    kinds = kinds_of(recordings)
    for name, size in recordings.feature_sizes.items():
        if size != sizes.get(name, size):
            raise wrong_size(path, name, size, sizes[name])
        if name in sizes:
            compare(path, name, kinds.get(name), computed_by.get(name))
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
        raise wrong_size(path, name, number, size)
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
    return Recordings([text for text, _ in clips], {m: [frames[m] for _, frames in clips] for m in clips[0][1]})
