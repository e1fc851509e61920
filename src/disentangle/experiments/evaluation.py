"""What a model says of a split beside its labels, the metrics of that, and the command that prints them for a run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import nn

from disentangle.data import RecordingDataset
from disentangle.data.recordings import have_label
from disentangle.experiments.experiment import Experiment
from disentangle.experiments.reading import classes_of, labeled_splits, labels_of, tell, with_modalities
from disentangle.experiments.studies.records import CHECKSUMS, checksum, refuse_elsewhere
from disentangle.experiments.trained import open_trained, outcomes_for
from disentangle.hub import local_folder
from disentangle.metrics import metrics_table
from disentangle.tasks import Task
from disentangle.tasks.task import Metrics
from disentangle.training import Run, accelerator_for

__all__ = ["baselines", "metrics_of", "outcomes_of", "prepare_evaluation"]


def metrics_of(experiment: Experiment, model: nn.Module, dataset: RecordingDataset, task: Task) -> Metrics:
    """The metrics of a model on the rows of a split that have a label."""
    return experiment.metrics(task, *outcomes_of(model, dataset, task))


def outcomes_of(model: nn.Module, dataset: RecordingDataset, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """What a model says of the rows of a split that have a label, `(N, K)`, and their labels."""
    labels = dataset.labels
    there = have_label(labels)
    return outcomes_for(model, dataset, task)[there], labels[there]


def baselines(experiment: Experiment, task: Task, labels: dict[str, np.ndarray]) -> dict[str, Metrics]:
    """What one scores on valid and test who knows nothing but the labels of training."""
    return {
        f"{split}, {name}": experiment.metrics(task, np.tile(outcome, (len(labels[split]), 1)), labels[split])
        for name, outcome in task.baselines(labels["train"]).items()
        for split in ("valid", "test")
    }


def prepare_evaluation(experiment: Experiment, options: argparse.Namespace) -> Callable[[], None]:
    """The metrics of a run's model, on its own data or on another file."""
    trained = open_trained(options.run, experiment.build, device=accelerator_for(options.device).device)
    data = options.data
    if not data:
        run = Run.open(local_folder(options.run))
        if "data" not in run.config:
            raise ValueError(
                f"{run.folder}: expected --data FILE, as a model's folder does not say what it was trained on"
            )
        data = run.config["data"]
        refuse_elsewhere([data] if data else [], run)
        known = run.config.get(CHECKSUMS, {}).get(data)
        if known is not None and Path(data).exists() and checksum(data) != known:
            print(f"warning: {data}: not what the run learnt from, by its checksum", file=sys.stderr)
    splits = labeled_splits(data, experiment.data, trained.label, classes_of(trained.task))
    labels = labels_of(splits)
    classes = classes_of(trained.task)
    tell(trained.task, labels, print, {number: name for name, number in classes.items()})
    for name in ("valid", "test"):
        rows, missing = len(splits[name]), splits[name].missing
        if lacking := [m for m in trained.sizes if missing.get(m, rows) == rows]:
            print(f"          {name}: no recording has {', '.join(lacking)}")
    test = splits["test"]
    if unused := sorted({m for m, lack in test.missing.items() if lack < len(test)} - set(trained.modalities)):
        print(f"          the model does not hear {', '.join(unused)}")
    datasets = {
        name: trained.dataset(with_modalities(splits[name], trained.sizes, data, trained.computed_by))
        for name in ("valid", "test")
    }

    def evaluate() -> None:
        result = {
            name: metrics_of(experiment, trained.model, dataset, trained.task) for name, dataset in datasets.items()
        }
        print(metrics_table({**result, **baselines(experiment, trained.task, labels)}))

    return evaluate
