"""What a paper consists of: functions, with the defaults that most papers share."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from disentangle.data import Recordings, synthetic_recordings
from disentangle.data.messages import listed
from disentangle.experiments.recipe import TUNED, adamw, warmup_then_decay
from disentangle.pairwise import Pairwise
from disentangle.tasks import Task
from disentangle.tasks.task import Metrics
from disentangle.training.reports import flat
from disentangle.training.step import Objective
from disentangle.variables import Rows

__all__ = ["Experiment", "naming_what_there_is", "standardize_frames"]


def adam(penalty: nn.Module, options: argparse.Namespace) -> Optimizer:
    """Adam on the estimators, at 1e-3."""
    return torch.optim.Adam(penalty.parameters(), 1e-3, fused=True)


def standardize_frames(model: Any, train: Recordings) -> None:
    """Fits `model.standardize`, a `Standardize` by the name of each modality, to the frames of training: a `prepare`."""
    for name, layer in model.standardize.items():
        layer.fit(train.sequences[name])


def no_penalty(model: Any, options: argparse.Namespace) -> None:
    """No penalty."""


def nothing(*_: Any) -> None:
    """Nothing."""


def of_the_task(task: Task, outcomes: np.ndarray, labels: np.ndarray) -> Metrics:
    """The metrics of the task."""
    return task.metrics(outcomes, labels)


def no_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """No arguments of the model's own."""
    return {}


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """The functions that a paper consists of; `run_program` runs them: training, resuming, seeds, evaluating, predicting.

    Arguments:
        build: The model's class. It is called with `sizes`, the sizes of the frames of each modality beside text; `task`, what
            it is to predict, as JSON, see `disentangle.tasks.as_task`; what `arguments` returns; and `backbone`, where it
            has an argument of that name: a model of transformers, or, where a saved model is loaded, its configuration. What
            its `predict` returns are the scores of the task, `(N, K)`, or `(N,)` where K is 1. Batches hold labels in the unit
            of scores, as `task.scaled` makes them. Its module is the file that is run once per seed.
        objective: Maps the options to the objective.
        description: What `--help` says of the program; mostly the `__doc__` of its file.
        penalty: Maps the model and the options to what must not depend on what; no penalty by default.
        arguments: Maps the options to further arguments of `build`, as JSON has them.
        options: Adds the options of the method to a group of the command line.
        prepare: Called with the model and the training recordings, before training: the place to fit what standardises.
            Their labels are as in the data.
        optimizer: Makes the optimiser of the model; by default `adamw`, at the rates and the weight decay of the options.
        penalty_optimizer: Makes the optimiser of the estimators; by default Adam at 1e-3.
        schedule: Makes the learning rate's schedule of an optimiser and the number of steps; by default a warm-up over a tenth
            of them, then linear decay.
        metrics: Measures the task's outcomes, `(N, K)`, beside the labels of a split; by default the task's own metrics. The
            one that the task monitors has to be among them.
        defaults: The values of options that are not given, on data of the user's and with `--recipe paper`: `lr`, `epochs`, and
            `backbone` if there is one. Options that have a default themselves cannot be among them.
        tuned: What the recipe `tuned` has in their place or beside them; data of the user's are learnt by it if none is named.
        embedded: The values in place of `defaults` on the data set that is embedded, which is learnt by the recipe `paper` if
            none is named.
        data: Makes the embedded data set, `{"train": ..., "valid": ..., "test": ...}`.
        batch_size: How many labelled rows a batch has.
        inner_steps: How many steps the estimators take per step of the model.
        unlabeled: Whether the objective learns from rows without a label too.

    Example:
        >>> from disentangle import Model
        >>> from disentangle.tasks import as_task
        >>> class Mean(Model):  # predicts from the mean of its frames
        ...     def __init__(self, sizes, task):
        ...         super().__init__()
        ...         self.task = as_task(task)
        ...         self.head = nn.Linear(sizes["audio"], self.task.outputs)
        ...     def forward(self, batch):
        ...         return {"mean": batch.sequences["audio"].mean()}
        ...     def predict(self, variables):
        ...         return self.head(variables["mean"])
        ...     def losses(self, variables, batch):
        ...         return {"Y": self.task.loss(self.predict(variables), batch.labels, batch.labeled)}
        >>> experiment = Experiment(
        ...     build=Mean, objective=lambda options: lambda losses, penalties: losses["Y"].mean()
        ... )
        >>> experiment.reads_text  # its build takes no backbone; run_program(experiment) is its command line
        False
    """

    build: Callable[..., nn.Module]
    objective: Callable[[argparse.Namespace], Objective]
    description: str | None = None
    penalty: Callable[[Any, argparse.Namespace], Pairwise | nn.ModuleDict | None] = no_penalty
    arguments: Callable[[argparse.Namespace], dict[str, Any]] = no_arguments
    options: Callable[[Any], None] = nothing
    prepare: Callable[[Any, Recordings], None] = nothing
    optimizer: Callable[[Any, argparse.Namespace], Optimizer] = adamw
    penalty_optimizer: Callable[[Any, argparse.Namespace], Optimizer] = adam
    schedule: Callable[[Optimizer, int], LRScheduler] = warmup_then_decay
    metrics: Callable[[Task, np.ndarray, np.ndarray], Metrics] = of_the_task
    defaults: Mapping[str, Any] = field(
        default_factory=lambda: {"lr": 1e-5, "epochs": 100, "backbone": "bert-base-uncased"}
    )
    tuned: Mapping[str, Any] = field(default_factory=lambda: TUNED)
    embedded: Mapping[str, Any] = field(default_factory=lambda: {"lr": 1e-3, "epochs": 20, "backbone": "tiny"})
    data: Callable[[], dict[str, Recordings]] = synthetic_recordings
    batch_size: int = 32
    inner_steps: int = 5
    unlabeled: bool = True

    @property
    def reads_text(self) -> bool:
        """Whether the model has a backbone."""
        return "backbone" in inspect.signature(self.build).parameters


def naming_what_there_is(objective: Objective) -> Objective:
    """An objective whose error, where it asks for a loss or a penalty that is not there, names those that are."""

    def named(losses: Mapping[str, Rows], penalties: Mapping[str, Any]) -> Tensor:
        try:
            return objective(losses, penalties)
        except KeyError as error:
            kinds = [kind for kind in penalties.values() if isinstance(kind, Mapping)]
            if set(error.args) <= {*losses, *penalties}.union(*kinds):  # it is missing elsewhere
                raise
            raise ValueError(
                f"expected an objective of the losses {listed(losses)} and the penalties {listed(flat(penalties))}, got one "
                f"that asks for {error}; what no row of a batch has, and a pair that fewer than 2 have, is not among them"
            ) from error

    return named
