"""The recordings that an experiment trains on: its splits, the labels that it learns, and what must fit the training data."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from disentangle.data import DataError, Recordings, read_recordings, read_unlabeled
from disentangle.data.computed_by import SIZE, Looks, check_computed_alike
from disentangle.data.data_warnings import warn
from disentangle.data.recordings import have_label
from disentangle.data.report.checks import repeated_lines
from disentangle.numbers_as_text import told_apart
from disentangle.tasks import Binary, Classes, Task, task_of

__all__ = [
    "classes_of",
    "compare",
    "has_labels",
    "labeled_splits",
    "labels_of",
    "measured_splits",
    "read",
    "refuse_names",
    "task_for",
    "tell",
    "with_modalities",
    "wrong_size",
]

LOOKED_AT = 200  # recordings, of what a data set's audio looks like
SPLITS = ("train", "valid", "test")


def labeled_splits(
    path: str | None, embedded: Callable[[], dict[str, Recordings]], labels: list[str] | None = None
) -> dict[str, Recordings]:
    """Labelled recordings of "train", "valid" and "test", perhaps "unlabeled" ones; the embedded ones without a path.

    `labels` names those to learn, where it is not the main one. Names of classes become their places among the names of
    training, the same in every split. Raises `DataError` where a split or its labels are not there, none of several labels
    is named, a class is none of training, or training has one class alone.
    """
    splits = read_recordings(path) if path else embedded()
    if labels:
        splits = {n: r if n == "unlabeled" else _with_labels(r, labels, path) for n, r in splits.items()}
    others = list(splits["train"].more_labels) if "train" in splits and splits["train"].labels is None else []
    if others:
        raise DataError(f"{path}: expected --label with one or more of {', '.join(others)}, got none")
    if any(name not in splits or splits[name].labels is None for name in SPLITS):
        raise DataError(
            f"{path}: expected labelled recordings of train, valid and test, got {_counted(splits)}; which is which is told by "
            "a column split in a plain folder's table, a file splits.csv with columns id and split beside .csd files or "
            "dialogues, and the names of the parts in a pickle or a store"
        )
    for line in repeated_lines({name: splits[name] for name in SPLITS}):
        warn(f"{path}: {line}" if path else line)
    names = _names_in(splits["train"])
    if len(names) == 1:
        raise DataError(f"{path}: train: expected labels of two classes or more, got {names[0]} in every row")
    classes = {name: float(place) for place, name in enumerate(names)}
    return splits | {name: _numbered(splits[name], classes, f"{path}: {name}") for name in SPLITS}


def measured_splits(
    path: str | None,
    embedded: Callable[[], dict[str, Recordings]],
    labels: list[str] | None,
    classes: Mapping[str, float],
) -> dict[str, Recordings]:
    """Those of "train", "valid" and "test" that have labels, for a model that has learnt `labels`, as in `labeled_splits`.

    Names of classes become their numbers in `classes`, `{name: number}`. Raises `DataError` where neither valid nor test
    has labels, or a class is none of these.
    """
    splits = read_recordings(path) if path else embedded()
    found = {name: splits[name] for name in SPLITS if name in splits and has_labels(splits[name], labels or ["label"])}
    if not found.keys() & {"valid", "test"}:
        of = f" {', '.join(labels)}" if labels else ""
        raise DataError(f"{path}: expected recordings of valid or test with labels{of}, got {_counted(splits)}")
    if labels:
        found = {name: _with_labels(recordings, labels, path) for name, recordings in found.items()}
    return {name: _numbered(recordings, classes, f"{path}: {name}") for name, recordings in found.items()}


def has_labels(recordings: Recordings, names: Sequence[str]) -> bool:
    """Whether some of the recordings have all of these labels; `"label"` is the main one."""
    known = {"label": recordings.labels, **recordings.more_labels}
    return all((each := known.get(name)) is not None and have_label(np.asarray(each)).any() for name in names)


def _with_labels(recordings: Recordings, labels: list[str], path: str | None) -> Recordings:
    """The recordings with the labels of these names to learn."""
    refuse_names(recordings, labels, path)
    try:
        return recordings.with_labels(*labels)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


def _counted(splits: Mapping[str, Recordings]) -> str:
    return ", ".join(f"{name} {len(r)}{' without labels' * (r.labels is None)}" for name, r in splits.items())


def _names_in(recordings: Recordings) -> list[str]:
    """The names of the classes that labels of recordings have, in the order of their numbers."""
    own, labels = recordings.class_names.get("label", []), np.asarray(recordings.labels, np.float32)
    return [own[int(place)] for place in np.unique(labels[have_label(labels)])] if own else []


def classes_of(task: Task) -> dict[str, float]:
    """The classes of a task, `{name: number}`; empty where it has none, as its labels are numbers or several at once."""
    return dict(zip(task.labels, task.values, strict=True)) if isinstance(task, Binary | Classes) else {}


def refuse_names(recordings: Recordings, labels: Sequence[str], where: str | os.PathLike[str] | None) -> None:
    """Refuses names of classes among several labels that are learnt at once: each of these is a number, above 0 or not."""
    named = [each for each in labels if each in recordings.class_names] if len(labels) > 1 else []
    if named:
        names = ", ".join(recordings.class_names[named[0]][:4])
        raise DataError(f"{where}: expected numbers in each of several labels, got names in {named[0]}: {names}")


def _numbered(recordings: Recordings, classes: Mapping[str, float], where: str) -> Recordings:
    """The recordings with the numbers of `classes` for the names of their labels, whatever numbers the names had."""
    own, labels = recordings.class_names.get("label", []), np.asarray(recordings.labels, np.float32)
    there = have_label(labels)
    if not there.any() or (own and {name: place for place, name in enumerate(own)} == classes):
        return recordings
    known = ", ".join(list(classes)[:8]) + ", ..." * (len(classes) > 8)
    if not own:
        if list(classes) != told_apart(classes.values()):
            raise DataError(f"{where}: expected the names of classes, {known}, got numbers")
        return recordings
    if not classes:
        raise DataError(f"{where}: expected numbers as labels, as in training, got names: {', '.join(own[:4])}")
    found = [own[int(place)] for place in np.unique(labels[there])]
    if unknown := [name for name in found if name not in classes]:
        count = int((labels == own.index(unknown[0])).sum())
        raise DataError(
            f"{where}: expected the classes of training, {known}, got {unknown[0]!r} in {count} of {len(labels)}: leave "
            "these out, or have some in training"
        )
    numbers = np.array([classes.get(name, np.nan) for name in own], np.float32)
    numbered = np.full_like(labels, np.nan)
    numbered[there] = numbers[labels[there].astype(int)]
    return replace(recordings, labels=numbered, class_names={**recordings.class_names, "label": list(classes)})


def read(
    options: argparse.Namespace,
    embedded: Callable[[], dict[str, Recordings]],
    say: Callable[[str], None],
    *,
    resumed: bool = False,
) -> dict[str, Recordings]:
    """The recordings of each split, and `"unlabeled"` ones where there are any: those of a file of their own first.

    An experiment that has no use for unlabelled ones has no such option; that there were some is then said. What no recording
    of training has is left out of all splits, but not from a run that is `resumed`.
    """
    sources = labeled_splits(options.data, embedded, options.label)
    if "unlabeled" in sources and not hasattr(options, "unlabeled"):
        say(
            f"unlabeled {len(sources.pop('unlabeled'))} recordings: not used, this experiment learns from labelled ones"
        )
    if options.modalities:
        sources = {n: chosen(r, options.modalities, sources["train"].feature_sizes) for n, r in sources.items()}
    computed_by = kinds_of(sources["train"])
    for name in computed_by.keys() - sources["train"].computed_by.keys():
        say(f"{name:9} looks like it was computed by {computed_by[name]}, which is not recorded; taken for that")
    sources["train"] = replace(sources["train"], computed_by=computed_by)
    own = getattr(options, "unlabeled", None)
    if own:
        others = read_unlabeled(own)
        sources["unlabeled"] = chosen(others, options.modalities, None) if options.modalities else others
    if "unlabeled" in sources:
        others = with_modalities(sources["unlabeled"], sources["train"].feature_sizes, own or options.data, computed_by)
        none = np.full((len(others), *np.asarray(sources["train"].labels).shape[1:]), np.nan, np.float32)
        sources["unlabeled"] = replace(others, labels=none, more_labels={})
    learnt = [sources[name] for name in ("train", "unlabeled") if name in sources]
    heard = options.modalities or ["text", *sources["train"].feature_sizes]
    # a run that goes on was built for what it notes; those of earlier versions for all
    if not resumed and (silent := [m for m in heard if all(each.missing.get(m, 0) == len(each) for each in learnt)]):
        heard = options.modalities = [m for m in heard if m not in silent]  # what was not learnt would speak at random
        if not heard:
            raise DataError(f"{options.data}: expected text or frames in some recording of training, got none")
        say(f"          no recording of training has {', '.join(silent)}: not used in any split")
        sources = {n: chosen(r, heard, None) for n, r in sources.items()}
    for name, recordings in sources.items():
        missing, nonfinite = recordings.missing, recordings.nonfinite
        say(f"{name:9} {len(recordings)} recordings; missing {missing}; values not finite {nonfinite}")
    return sources


def chosen(recordings: Recordings, names: Sequence[str], known: Mapping[str, int] | None) -> Recordings:
    """The recordings with some of their modalities; without `"text"` nothing is said in any.

    Raises `DataError` for a name that is not among the `known` modalities of the training data.
    """
    unknown = [] if known is None else [name for name in names if name != "text" and name not in known]
    if unknown:
        raise DataError(f"expected modalities of {', '.join(['text', *(known or {})])}, got {unknown[0]}")
    return replace(
        recordings,
        text=recordings.text if "text" in names else [""] * len(recordings),
        sequences={name: frames for name, frames in recordings.sequences.items() if name in names},
        padding={name: cut for name, cut in recordings.padding.items() if name in names},
    )


def labels_of(sources: Mapping[str, Recordings]) -> dict[str, np.ndarray]:
    """The labels of those of train, valid and test that there are, of the recordings that have one."""
    labels = {name: np.asarray(sources[name].labels) for name in SPLITS if name in sources}
    return {name: each[have_label(each)] for name, each in labels.items()}


def task_for(
    options: argparse.Namespace,
    labels: Mapping[str, np.ndarray],
    names: list[str],
    say: Callable[[str], None],
    learnt: Task | None = None,
) -> Task:
    """What the labels of training are, said with the metrics that follow, and how the labels of other splits differ.

    A run that goes on keeps the task that it has `learnt` by. Raises `DataError` where there is nothing to learn from them.
    """
    for name, each in labels.items():
        if not len(each):
            raise DataError(f"{name}: expected recordings with a label, got none")
    try:
        task = learnt or task_of(labels["train"], options.task, names)
    except ValueError as error:
        raise DataError(f"train: {error}") from None
    tell(task, labels, say, dict(enumerate(names)))
    return task


def tell(task: Task, labels: Mapping[str, np.ndarray], say: Callable[[str], None], names: Mapping[Any, str]) -> None:
    """Says what a task is, and how labels differ from it; raises `DataError` where a split cannot be measured by it."""
    for name, each in labels.items():
        try:
            task.check(each)
        except ValueError as error:
            raise DataError(f"{name}: {error}") from None
    say(f"labels    {task}")
    for line in task.disagreements(labels, names):
        say(f"          {line}")


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
    path: str | os.PathLike[str] | None,
    computed_by: Mapping[str, str] = {},
) -> Recordings:
    """The recordings with the modalities of the training data: one that they lack altogether is missing in each of them.

    Modalities that the training data lacks are left out; frames of another size, or computed by something else, are an error.
    Without a path they are the program's own.
    """
    path = path or "the program's own data"
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
        f"{path}: expected {wanted} {name} features as in the training data, got {given}: compute the same ones for it, or "
        "train on features like these"
    )
