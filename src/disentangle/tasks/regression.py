"""A number as what is to be predicted, and labels on a scale that models are not made for."""

# ruff: noqa: D102 - what the methods of a task say stands in `Task`

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor

from disentangle.metrics import LabelScale, disagreements
from disentangle.tasks.task import Array, Metrics, Task, column, on_host

__all__ = ["SENTIMENT", "Regression", "mean_and_std"]

FAR = 10.0  # a mean and a standard deviation beyond those of sentiment and ratings


@dataclass(frozen=True)
class Regression(Task):
    """A number, learnt by its squared error. Its metrics are those of the scale of its labels.

    Models start at scores near 0 and learn steps of about 1. Labels far from that, such as years or milliseconds, have a mean
    and a standard deviation by which they are learnt: a score is then (number - mean) / std, and so is a label of a batch, see
    `scaled`. Outcomes and metrics are in the unit of the labels.

    Arguments:
        scale: What the labels are.
        mean: The number that a score of 0 says.
        std: How far apart the numbers of two scores are that differ by 1.

    Example:
        >>> import torch
        >>> from disentangle.metrics import label_scale
        >>> task = Regression(label_scale([-2.4, 0.0, 3.0, 1.2]))
        >>> task.terms(torch.tensor([1.0]), torch.tensor([3.0])), task.said(np.array([[1.0]])), task.monitor
        (tensor([4.]), ['1'], ('mae', 'min'))
    """

    scale: LabelScale
    mean: float = 0.0
    std: float = 1.0
    kind: ClassVar[str] = "regression"

    def __str__(self) -> str:
        unit = "" if (self.mean, self.std) == (0, 1) else f" of (label - {self.mean:.6g}) / {self.std:.6g}"
        return f"{self.scale}; learnt by squared error{unit}"

    @property
    def outputs(self) -> int:
        return 1

    def terms(self, scores: Tensor, labels: Tensor) -> Tensor:
        return (column(scores) - labels).square()

    def scaled(self, labels: Array) -> Array:
        return (labels - self.mean) / self.std

    def outcomes(self, scores: Tensor) -> np.ndarray:
        return self.mean + self.std * on_host(scores).reshape(-1, 1)

    def metrics(self, outcomes: np.ndarray, labels: np.ndarray) -> Metrics:
        return self.scale.metrics(outcomes[:, 0], labels)

    @property
    def monitor(self) -> tuple[str, Literal["min", "max"]]:
        return self.scale.monitor

    def baselines(self, labels: np.ndarray) -> dict[str, np.ndarray]:
        return {name: np.array([value]) for name, value in self.scale.baselines(labels).items()}

    def said(self, outcomes: np.ndarray) -> list[str]:
        return [f"{value:z.9g}" for value in outcomes[:, 0]]

    @property
    def names(self) -> tuple[str, ...]:
        return ("prediction",)

    def check(self, labels: np.ndarray) -> None:
        self.scale.check(labels)

    def disagreements(self, labels: Mapping[str, np.ndarray], names: Mapping[Any, str] | None = None) -> list[str]:
        return disagreements(self.scale, labels, names)

    def to_dict(self) -> dict[str, Any]:
        of_scale = {"scale": self.scale.kind, "values": list(self.scale.values)}
        return {"task": self.kind, **of_scale, "mean": self.mean, "std": self.std}


def mean_and_std(labels: np.ndarray) -> tuple[float, float]:
    """By which labels of training are learnt: theirs, where these are far from 0 and 1, else 0 and 1."""
    mean, std = float(labels.mean(dtype=float)), float(labels.std(dtype=float))
    return (0.0, 1.0) if abs(mean) <= FAR and 1 / FAR**2 <= std <= FAR else (mean, std)


SENTIMENT = Regression(LabelScale("sentiment", (-3.0, 3.0)))  # of CMU-MOSI and CMU-MOSEI
