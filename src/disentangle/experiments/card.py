"""What is to be known of a run's model, as the card that the Hugging Face Hub shows: `README.md` in the model's folder."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Any

import numpy as np

from disentangle.data import Recordings
from disentangle.errors import RunError
from disentangle.experiments.experiment import Experiment
from disentangle.experiments.options import as_arguments, parse
from disentangle.experiments.studies.finished_runs import read_finished
from disentangle.experiments.studies.records import versions
from disentangle.experiments.studies.runs import program_of
from disentangle.experiments.trained import DATA, arguments_of, model_folder
from disentangle.files import write_file, writing
from disentangle.hub import CARD, CONFIG, push_to_hub
from disentangle.information import DependenceReport
from disentangle.metrics import metrics_table, seeds_table
from disentangle.tasks import Task, as_task
from disentangle.tasks.task import Metrics
from disentangle.text_tables import markdown
from disentangle.training import Run, seed_results

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

__all__ = ["PROVENANCE", "prepare_push", "provenance", "write_card"]

PROVENANCE = "_provenance"  # the entry of a model's configuration that says what it comes from; a note, as `DATA` is
# Options that say where a run is computed and kept, and not what it learns
ELSEWHERE = ("out", "resume", "command", "seeds", "at_once", "device", "tracker", "checkpoint_every", "keep_variables")


def provenance(
    options: argparse.Namespace,
    sources: Mapping[str, Recordings],
    labels: Mapping[str, np.ndarray],
    baselines: Mapping[str, Metrics],
    digests: Mapping[str, str],
) -> dict[str, Any]:
    """What a run learns from, and by what: the data's checksum, the sizes of splits, baselines, versions."""
    return {
        "sha256": digests.get(options.data),
        "labeled": {name: len(each) for name, each in labels.items()},
        "unlabeled": len(sources.get("unlabeled", [])),
        "baselines": baselines,
        "versions": versions(),
    }


def write_card(experiment: Experiment, run: str | os.PathLike[str], dependence: DependenceReport | None = None) -> Path:
    """Writes the card of a finished run's model: `README.md` in its folder `model`, with metadata as the Hub reads them.

    It says what the system is, how to load it, the data, the protocol, the metrics of valid and test, and, where there is a
    penalty, what that was at the chosen epoch. An experiment's program writes it when a run ends, and again when all seeds
    of a run have ended, with mean and standard deviation over them. A card that is there is replaced.

    Arguments:
        experiment: The run's experiment.
        run: The run's folder.
        dependence: What was measured of the model's variables since, to be added.

    Returns:
        The card's file.

    Raises:
        RunError: If it is no folder of a run, the run has not finished, or the card cannot be written.
        ValueError: If the run has saved no model.

    Example:
        A run's card, with what the latents know of one another on the test split::

            trained = open_trained("runs/mosi", MIRD)
            latents = trained.encode(read_recordings("mosi.pkl")["test"])
            write_card(EXPERIMENT, "runs/mosi", dependence_report({name: latents[name] for name in "LAVS"}))
    """
    from huggingface_hub import ModelCard

    told = _Finished.read(experiment, run)
    parts = [f"# {told.name}", _about(told), _use(told), _data(told), _protocol(told), _metrics(told)]
    parts += _variables(told, dependence)
    card = ModelCard(f"---\n{_metadata(told).to_yaml()}\n---\n\n" + "\n\n".join(filter(None, parts)) + "\n")
    path = told.folder / CARD
    with writing(told.folder, RunError):
        write_file(path, lambda part: part.write_text(str(card), encoding="utf-8"))
    return path


def prepare_push(experiment: Experiment, options: argparse.Namespace) -> Callable[[], None]:
    """Looks for the model and its card, so that whatever is wrong with them is said before anything is uploaded."""
    folder = model_folder(options.run)
    if not (folder / CARD).exists():  # of a run of an earlier version
        write_card(experiment, options.run)

    def push() -> None:
        print(push_to_hub(folder, options.repo, private=options.private))

    return push


@dataclass(frozen=True)
class _Finished:
    """What the folder of a finished run tells."""

    experiment: Experiment
    run: Run
    folder: Path  # the model's
    config: dict[str, Any]  # the model's
    result: dict[str, dict[str, float | None]]

    @classmethod
    def read(cls, experiment: Experiment, folder: str | os.PathLike[str]) -> _Finished:
        run = Run.open(folder)
        place = model_folder(run.folder)
        result = next(iter(read_finished("", run.folder).results.values()))
        return cls(experiment, run, place, json.loads((place / CONFIG).read_text(encoding="utf-8")), result)

    @property
    def name(self) -> str:
        return self.experiment.build.__name__

    @property
    def program(self) -> str:
        """The file that the model is in; where there is none, as in a notebook, a name that stands for one."""
        try:
            return program_of(self.experiment).name
        except (OSError, TypeError):
            return "PROGRAM.py"

    @property
    def task(self) -> Task:
        return as_task(arguments_of(self.config)["task"])

    @property
    def origin(self) -> dict[str, Any]:
        """What `provenance` has said; runs of earlier versions have not."""
        return self.config.get(PROVENANCE, {})

    @property
    def data(self) -> str:
        path = self.run.config.get("data")
        return Path(path).resolve().name if path else "the embedded set"

    @property
    def backbone(self) -> str | None:
        """The name of the backbone; of one in a folder, that of the folder."""
        name = self.run.config.get("backbone")
        return Path(name).resolve().name if name and Path(name).exists() else name

    @property
    def best(self) -> dict[str, Any]:
        """The report of the epoch that the weights are of."""
        return next((each for each in reversed(self.run.history) if each.get("best")), {})


def _metadata(told: _Finished) -> ModelCardData:
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type="regression" if told.task.kind == "regression" else "classification",
            dataset_type=told.data,
            dataset_name=told.data,
            dataset_split=split,
            metric_type=metric,
            metric_value=value,
        )
        for split, metrics in told.result.items()
        for metric, value in metrics.items()
        if value is not None
    ]
    of_the_hub = told.backbone != "tiny" and told.backbone == told.run.config.get("backbone")
    return ModelCardData(
        library_name="disentangle",
        base_model=told.backbone if of_the_hub else None,
        model_name=told.name,
        eval_results=results,
    )


def _about(told: _Finished) -> str:
    """What the program says of itself, without its commands, which are indented."""
    paragraphs = re.split(r"\n\s*\n", (told.experiment.description or "").strip())
    prose = "\n\n".join(each for each in paragraphs if each and not each.startswith(" "))
    return f"From `{told.program}`:\n\n{indent(prose, '> ', lambda line: True)}" if prose else ""


def _use(told: _Finished) -> str:
    module = told.experiment.build.__module__
    return f"""\
## How to use it

With the library `disentangle` and the program that trained it, `{told.program}`:

```python
from disentangle.experiments import open_trained
from {told.program.removesuffix(".py") if module == "__main__" else module} import {told.name}

trained = open_trained(".", {told.name})  # its folder, or "user/name" on the Hub
print(trained.modalities, trained.task)
```

`trained.outcomes(recordings)` are its predictions and `trained.encode(recordings)` its variables, for `recordings` that
`disentangle.data.read_recordings` reads. `python {told.program} predict --run FOLDER --text "…"` predicts for your own."""


def _data(told: _Finished) -> str:
    known = told.config.get(DATA, {})
    reads = "backbone" in told.config and known.get("hears_words", True)
    words = [f"text (at most {known['max_words']} word pieces)"] if reads else []
    sizes = [f"{name} ({size} features)" for name, size in told.config["sizes"].items()]
    rows = {
        "name": told.data,
        "SHA-256": told.origin.get("sha256"),
        "recordings with a label": _each(told.origin.get("labeled")),
        "without one, learnt from too": str(told.origin.get("unlabeled") or ""),
        "modalities": ", ".join([*words, *sizes]),
        "features computed by": _each(known.get("computed_by")),
        "labels": ", ".join(known.get("label") or []),
        "task": str(told.task),
    }
    return f"## Data\n\n{_listed(rows)}"


def _protocol(told: _Finished) -> str:
    (metric, mode), best = told.task.monitor, told.best
    last = max(each.get("epoch", 0) for each in told.run.history)
    rows = {
        "weights": f"of epoch {best['epoch']} of {last}, with the {mode}imum of {metric} on valid" if best else None,
        "backbone": told.backbone,
        "seed": str(told.run.config["seed"]),
        "versions": _each(told.origin.get("versions")),
    }
    command = shlex.join(["python", told.program, *_arguments(told)])
    return (
        f"## Protocol\n\n{_listed(rows)}\n\nWhat the command does not say is at its default:\n\n```sh\n{command}\n```"
    )


def _arguments(told: _Finished) -> list[str]:
    """The arguments that train the run again: data, recipe and seed, and what is not the default with these."""
    options = told.run.config
    always = {name: options[name] for name in ("data", "recipe") if options.get(name)}
    defaults = vars(parse(told.experiment, as_arguments(told.experiment, always)))
    names = [name for name in options if name in defaults and name not in ELSEWHERE]
    given = {**always, **{name: options[name] for name in names if options[name] != defaults[name]}}
    names_of_files = {name: Path(given[name]).resolve().name for name in ("data", "unlabeled") if name in given}
    backbone = {"backbone": told.backbone} if "backbone" in given else {}
    return as_arguments(told.experiment, {**given, **names_of_files, **backbone, "seed": options["seed"]})


def _metrics(told: _Finished) -> str:
    table = metrics_table({**told.result, **told.origin.get("baselines", {})})
    text = f"## Metrics\n\n```text\n{table}\n```\n\n"
    folder = told.run.folder.resolve()
    if folder.name.startswith("seed-") and (folder.parent / "result.json").exists():  # all seeds have ended
        seeds = seeds_table(seed_results(folder.parent))
        return f"{text}Trained with other seeds, and the same in all else:\n\n```text\n{seeds}\n```"
    return f"{text}This is one run: how much another seed changes is not known here."


def _variables(told: _Finished, dependence: DependenceReport | None) -> list[str]:
    """What is known of how much the variables tell about one another, where there is a penalty or it was measured."""
    penalties, parts = told.best.get("penalties"), []
    if penalties:
        table = metrics_table({name: {"penalty": value} for name, value in penalties.items()})
        parts += [
            f"The penalty of each pair, as a mean over the training batches of epoch {told.best['epoch']}. The model was\n"
            f"trained against these values: that they are low does not show that there is nothing to know.",
            f"```text\n{table}\n```",
        ]
    if dependence is not None:
        parts += ["Measured after training:", dependence.to_markdown()]
    elif penalties:
        parts += [
            "Nothing was measured on held-out recordings. `dependence_report(trained.encode(recordings))` of `disentangle` "
            "does,\nand `write_card` of `disentangle.experiments` adds it to this card."
        ]
    return ["## What its variables know of one another", *parts] if parts else []


def _each(values: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{name} {value}" for name, value in (values or {}).items())


def _listed(rows: Mapping[str, str | None]) -> str:
    """A table of names and values, without those that are not known."""
    return markdown([["", ""], *([name, value] for name, value in rows.items() if value)], [""])
