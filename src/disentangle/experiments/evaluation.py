"""What a model says of a split beside its labels, the metrics of that, and the command that prints them for a run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import nn

from disentangle.data import RecordingDataset, Recordings
from disentangle.data.recordings import have_label
from disentangle.experiments.experiment import Experiment
from disentangle.experiments.reading import classes_of, labels_of, measured_splits, tell, with_modalities
from disentangle.experiments.studies.records import CHECKSUMS, checksum, refuse_elsewhere
from disentangle.experiments.trained import Trained, open_trained, outcomes_for
from disentangle.hub import local_folder
from disentangle.metrics import metrics_table
from disentangle.tasks import Task
from disentangle.tasks.task import Metrics
from disentangle.training import Run, accelerator_for

__all__ = ["baselines", "labelled_ids", "metrics_of", "outcomes_of", "prepare_evaluation"]

MEASURED = ("valid", "test")


def metrics_of(experiment: Experiment, model: nn.Module, dataset: RecordingDataset, task: Task) -> Metrics:
    """The metrics of a model on the rows of a split that have a label."""
    return experiment.metrics(task, *outcomes_of(model, dataset, task))


def outcomes_of(model: nn.Module, dataset: RecordingDataset, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """What a model says of the rows of a split that have a label, `(N, K)`, and their labels."""
    labels = dataset.labels
    there = have_label(labels)
    return outcomes_for(model, dataset, task)[there], labels[there]


def labelled_ids(dataset: RecordingDataset) -> list[str]:
    """The names of these rows."""
    return [name for name, there in zip(dataset.recordings.ids, have_label(dataset.labels), strict=True) if there]


def baselines(
    experiment: Experiment,
    task: Task,
    guesses: Mapping[str, Sequence[float] | np.ndarray],
    labels: dict[str, np.ndarray],
) -> dict[str, Metrics]:
    """What one scores on valid and test by guesses, `{name: (K,)}`, the same for each row: by labels alone."""
    return {
        f"{split}, {name}": experiment.metrics(task, np.tile(guess, (len(labels[split]), 1)), labels[split])
        for name, guess in guesses.items()
        for split in MEASURED
        if split in labels
    }


def prepare_evaluation(experiment: Experiment, options: argparse.Namespace) -> Callable[[], None]:
    """The metrics of a run's model, on its own data or on another file, of which it takes the splits that have labels."""
    trained = open_trained(options.run, experiment.build, device=accelerator_for(options.device).device)
    data = options.data or _own_data(options.run)
    classes = classes_of(trained.task)
    splits = measured_splits(data, experiment.data, trained.label, classes)
    labels = labels_of(splits)
    tell(trained.task, labels, print, {number: name for name, number in classes.items()})
    splits = {name: splits[name] for name in MEASURED if name in splits}
    _say_what_is_not_heard(trained, splits)
    datasets = {
        name: trained.dataset(with_modalities(split, trained.sizes, data, trained.computed_by))
        for name, split in splits.items()
    }
    guesses = trained.baselines or _guesses_from(trained.task, labels, options.data)

    def evaluate() -> None:
        result = {
            name: metrics_of(experiment, trained.model, dataset, trained.task) for name, dataset in datasets.items()
        }
        print(metrics_table({**result, **baselines(experiment, trained.task, guesses, labels)}))

    return evaluate


def _own_data(folder: str) -> str | None:
    """The data that a run learnt from; `None` for the embedded set."""
    run = Run.open(local_folder(folder))
    if "data" not in run.config:
        raise ValueError(f"{run.folder}: expected --data FILE, as a model's folder does not say what it was trained on")
    data = run.config["data"]
    refuse_elsewhere([data] if data else [], run)
    known = run.config.get(CHECKSUMS, {}).get(data)
    if known is not None and Path(data).exists() and checksum(data) != known:
        print(f"warning: {data}: not what the run learnt from, by its checksum", file=sys.stderr)
    return data


def _say_what_is_not_heard(trained: Trained, splits: Mapping[str, Recordings]) -> None:
    """Says which modalities of the model a split lacks, and which of the splits the model lacks."""
    there: set[str] = set()
    for name, split in splits.items():
        has = {m for m, missing in split.missing.items() if missing < len(split)}
        if lacking := [m for m in trained.sizes if m not in has]:
            print(f"          {name}: no recording has {', '.join(lacking)}")
        there |= has
    if unused := sorted(there - set(trained.modalities)):
        print(f"          the model does not hear {', '.join(unused)}")


def _guesses_from(task: Task, labels: Mapping[str, np.ndarray], other: str | None) -> dict[str, np.ndarray]:
    """What to guess by the labels of train that are at hand, for a run of an earlier version, which has kept none."""
    guesses = task.baselines(labels["train"]) if "train" in labels else {}
    return {f"{name.removeprefix('training ')} of {other}: train" if other else name: g for name, g in guesses.items()}
