"""A trained model with all that using it needs: what it reads, how, and what its scores say."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from disentangle.data import RecordingDataset, Recordings, loader
from disentangle.errors import DataWarning, SavedModelError
from disentangle.hub import CONFIG, WEIGHTS, local_folder
from disentangle.inference import encode, predict
from disentangle.saving import load
from disentangle.tasks import Task, as_task
from disentangle.tasks.task import refuse_other_scores
from disentangle.training import Run
from disentangle.training.determinism import noise_at
from disentangle.training.run import MODEL

__all__ = ["DATA", "Trained", "arguments_of", "explained", "model_folder", "open_trained", "outcomes_for"]

DATA = "_data"  # the entry of a model's configuration that says what it was trained on, and is no argument of its class


@dataclass(frozen=True)
class Trained:
    """A trained model, in evaluation mode.

    Attributes:
        model: The model.
        task: What its scores say.
        tokenizer: What makes tokens of transcripts; `None` for a model that reads no text.
        sizes: The sizes of the frames that it reads, by modality.
        max_words: To how many word pieces transcripts are cut.
        computed_by: What the features of a modality were computed by, where it is known.
        label: The names of the labels that it has learnt, where it is not the main one.
        hears_words: Whether it has learnt from words; if not, those of recordings are hidden from it.
        baselines: What one would say of every recording by the labels of training alone, K outcomes by name; empty for a
            model of an earlier version.
    """

    model: Any
    task: Task
    tokenizer: Any
    sizes: dict[str, int]
    max_words: int = 256
    computed_by: dict[str, str] = field(default_factory=dict)
    label: list[str] | None = None
    hears_words: bool = True
    baselines: dict[str, list[float]] = field(default_factory=dict)

    @property
    def modalities(self) -> tuple[str, ...]:
        """What it reads, by name."""
        return (*(("text",) if self.tokenizer is not None and self.hears_words else ()), *self.sizes)

    def dataset(self, recordings: Recordings) -> RecordingDataset:
        """Recordings as the model reads them."""
        if not self.hears_words:
            recordings = replace(recordings, text=[""] * len(recordings))
        return RecordingDataset(recordings, self.tokenizer, max_words=self.max_words, scaled=self.task.scaled)

    def encode(self, recordings: Recordings) -> dict[str, Tensor]:
        """The variables of recordings, `{name: (N, d)}` on the CPU: what a `dependence_report` takes."""
        return encode(self.model, loader(self.dataset(recordings)))

    def outcomes(self, recordings: Recordings, modalities: Sequence[str] | None = None) -> np.ndarray:
        """What the model says, `(N, K)`: numbers or probabilities; from some of the modalities, if they are given.

        The others are then missing, as they would be in a file. See `outcomes_for`.
        """
        if modalities is not None:
            recordings = self._only(recordings, modalities)
        return outcomes_for(self.model, self.dataset(recordings), self.task)

    def explain(self, recordings: Recordings) -> tuple[np.ndarray, dict[str, list[float | None]]]:
        """The outcomes, `(N, K)`, and what each modality adds to the one that is `explained`: `None` where it is missing."""
        whole = self.outcomes(recordings, self.modalities)
        rows, about = np.arange(len(whole)), explained(whole)
        contributions: dict[str, list[float | None]] = {}
        for m in self.modalities:
            has = map(len, recordings.text if m == "text" else recordings.sequences[m])
            without = self.outcomes(recordings, [other for other in self.modalities if other != m])
            added = whole[rows, about] - without[rows, about]
            contributions[m] = [float(value) if n else None for value, n in zip(added, has, strict=True)]
        return whole, contributions

    def _only(self, recordings: Recordings, modalities: Sequence[str]) -> Recordings:
        none = {name: [np.zeros((0, size), np.float32)] * len(recordings) for name, size in self.sizes.items()}
        return replace(
            recordings,
            text=recordings.text if "text" in modalities else [""] * len(recordings),
            sequences={m: recordings.sequences[m] if m in modalities else none[m] for m in self.sizes},
            padding={},
        )


def outcomes_for(model: nn.Module, dataset: RecordingDataset, task: Task) -> np.ndarray:
    """What a model says of all rows of a data set, `(N, K)`. A model whose latents carry noise draws the same each time."""
    with noise_at(0, "evaluation"):
        scores = predict(model, loader(dataset))
    refuse_other_scores(scores, task.outputs)
    return task.outcomes(scores)


def explained(outcomes: np.ndarray) -> np.ndarray:
    """Which of the K outcomes of each row is explained, `(N,)`: the largest probability, or the number that there is."""
    return outcomes.argmax(1)


def open_trained(
    folder: str | os.PathLike[str], build: Callable[..., nn.Module], *, device: torch.device | str = "cpu"
) -> Trained:
    """The model that an experiment's program saved.

    Arguments:
        folder: The folder of its run, or the folder `model` in it, which suffices; or, as a string, its repository on the
            Hugging Face Hub, see `disentangle.load`.
        build: The model's class.
        device: Where the model shall be.

    Raises:
        RunError: If it is no folder of a run.
        SavedModelError: If the model cannot be loaded, or is not to be had from the Hub.
        ValueError: If the run has not saved a model yet, or is of another experiment.
    """
    place = model_folder(folder)
    if place.name == MODEL and (wrong := Run(place.parent, {}).refuted_model()):
        warnings.warn(DataWarning(f"{wrong}; where the run goes on, it finds its best anew"), stacklevel=2)
    try:
        model, config, tokenizer = load(place, lambda **config: build(**arguments_of(config)), device=device)
    except TypeError as error:  # arguments that it does not have
        name = getattr(build, "__name__", str(build))
        raise ValueError(
            f"{place}: expected a model of {name}, got one that it cannot be built from: {error}"
        ) from error
    known = data_of(config, place)
    task = getattr(model, "task", None) or as_task(arguments_of(config)["task"])
    return Trained(model, task, tokenizer, config["sizes"], **known)


def model_folder(folder: str | os.PathLike[str]) -> Path:
    """The folder of a model: that of a run has it in it; errors as of `open_trained`."""
    given = local_folder(folder)
    place = given / MODEL if (given / MODEL).is_dir() else given
    if (place / WEIGHTS).exists():
        return place
    run = Run.open(given)  # or says that it is none
    if seeds := run.config.get("seeds"):
        raise ValueError(f"{given}: expected one run, got those of several seeds: {given / f'seed-{seeds[0]}'} is one")
    why = (
        "no epoch had a value of the metric that is to be best"
        if run.history
        else "the run's first epoch has not ended"
    )
    raise ValueError(f"{given}: expected a model in it, got none: {why}")


def arguments_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the model's class. Earlier versions kept what `DATA` holds, and the scale of the labels, among them."""
    arguments = {key: value for key, value in config.items() if key not in (DATA, *EARLIER)}
    if "task" not in arguments and (scale := config.get("labels")):
        arguments["task"] = {"task": "regression", "scale": scale["kind"], "values": scale["values"]}
    return arguments


EARLIER = ("max_words", "computed_by", "labels")


def data_of(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What the model was trained on. Of the earliest versions, the run alone knows to how many words transcripts were cut."""
    known = config.get(DATA)
    if known is not None:
        wanted = [each.name for each in fields(Trained) if each.name not in ("model", "task", "tokenizer", "sizes")]
        if more := [name for name in known if name not in wanted]:
            raise SavedModelError(
                f"{folder}: expected {', '.join(wanted)} in {DATA} of its {CONFIG}, got {more[0]} as well: a newer version of "
                "disentangle wrote it"
            )
        return dict(known)
    words = config.get("max_words") or Run.open(folder.parent).config["max_words"]
    return {"max_words": words, "computed_by": config.get("computed_by") or {}}
