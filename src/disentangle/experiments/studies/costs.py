"""How long a study takes, before it is run: the first steps of each variant, timed."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from disentangle.experiments.experiment import Experiment
from disentangle.experiments.reading import labels_of, read, task_for
from disentangle.experiments.studies.runs import trained_by
from disentangle.experiments.studies.study import Study
from disentangle.experiments.training import batches_of, built, class_names, datasets_of, parts_of, trainer_for
from disentangle.text_tables import aligned
from disentangle.training.seeds import cores, finished

__all__ = ["Cost", "cost_of"]

STEPS, ENOUGH = 3, 5.0  # steps that are timed after the first one, which warms up; seconds after which no other is
START = 10.0  # seconds until a run's first step, about: imports, reading, the vocabulary


@dataclass(frozen=True)
class Cost:
    """What is left to run of some studies, and how long it takes. `str(cost)` is a table.

    Attributes:
        left: The runs that are left of each variant, by its name and example.
        steps: How many steps each of these runs takes.
        seconds: How long a step takes.
        total: How many runs there are, with those that have finished.
        at_once: How many are trained at a time.
    """

    left: dict[str, int]
    steps: dict[str, int]
    seconds: dict[str, float]
    total: int
    at_once: int

    @property
    def hours(self) -> float:
        """How long all of it takes, with ten seconds for the start of each run; validation and test come on top."""
        runs = [self.left[name] * (START + self.steps[name] * self.seconds[name]) for name in self.left]
        return sum(runs) / min(self.at_once, max(sum(self.left.values()), 1)) / 3600

    def __str__(self) -> str:
        lines = [
            [name, str(n), str(self.steps[name]), f"{self.seconds[name]:.3f}", f"{self._minutes(name):.1f}"]
            for name, n in self.left.items()
        ]
        table = aligned([["variant", "runs left", "steps each", "s per step", "min each"], *lines], ["variant"])
        n, took = sum(self.left.values()), _duration(self.hours)
        end = f"{n} of {self.total} runs are left"
        return f"{table}\n{end}: about {took}, {self.at_once} at a time; validation and test come on top" if n else end

    def _minutes(self, name: str) -> float:
        return self.steps[name] * self.seconds[name] / 60


def cost_of(studies: Sequence[Study], *, at_once: int = 1) -> Cost:
    """Times steps of each variant that is not finished, after one that warms up; nothing is written.

    Arguments:
        studies: The studies; runs that they share count once.
        at_once: How many runs will be trained at a time: a step is timed with that share of the cores.

    Raises:
        DataError: If the data cannot be read.
        ValueError: If a variant cannot be trained on them, or if `at_once` is below 1.
    """
    if at_once < 1:
        raise ValueError(f"expected at_once of at least 1, got {at_once}")
    runs = {each.folder: each for study in studies for each in study.runs}
    left: dict[str, int] = {}
    steps: dict[str, int] = {}
    seconds: dict[str, float] = {}
    known: dict[tuple[Any, ...], Any] = {}  # what was read, by what decides on it
    for folder, run in runs.items():
        name = f"{folder.parents[1].name}/{folder.parent.name}"
        if finished(folder):
            continue
        left[name] = left.get(name, 0) + 1
        if name not in steps:
            experiment = run.variant.experiment
            options = trained_by(experiment, run.arguments)
            asked = ("data", "unlabeled", "label", "modalities")
            key = (experiment.data, hasattr(options, "unlabeled"), *(str(getattr(options, each, "")) for each in asked))
            if key not in known:
                known[key] = read(options, experiment.data, _silent)
            seconds[name], steps[name] = time_a_step(experiment, options, known[key], at_once)
    return Cost(left, steps, seconds, len(runs), at_once)


def time_a_step(
    experiment: Experiment, options: argparse.Namespace, sources: dict[str, Any], at_once: int
) -> tuple[float, int]:
    """How many seconds a step takes, the median of a few, and how many steps a run."""
    task = task_for(options, labels_of(sources), class_names(sources["train"], options), _silent)
    torch.manual_seed(options.seed)
    model, config, tokenizer = built(experiment, options, sources["train"], task, _silent)
    experiment.prepare(model, sources["train"])
    learnt = {name: sources[name] for name in ("train", "unlabeled") if name in sources}
    batches = batches_of(datasets_of(learnt, tokenizer, config, task), options)
    steps = options.epochs * -(-len(batches) // options.accumulation)
    trainer = trainer_for(options, model, parts_of(experiment, options, model, steps), {})
    trainer.model.train()
    pieces, taken, threads = iter(batches), [], torch.get_num_threads()
    torch.set_num_threads(max(1, cores() // at_once))
    try:
        for _ in range(min(1 + STEPS, len(batches) // options.accumulation or 1)):
            batch = [piece.to(trainer.accelerator.device) for piece in islice(pieces, options.accumulation)]
            started = time.perf_counter()
            with trainer.accelerator.autocast():
                trainer.step(*batch)
            if trainer.accelerator.device.type == "cuda":
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - started)
            if sum(taken[1:]) > ENOUGH:
                break
    finally:
        torch.set_num_threads(threads)
    return statistics.median(taken[1:] or taken), steps


def _silent(_: str) -> None:
    """Says nothing."""


def _duration(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"
