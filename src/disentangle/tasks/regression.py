"""A number as what is to be predicted."""

# ruff: noqa: D102 - what the methods of a task say stands in `Task`

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor

from disentangle.metrics import LabelScale, disagreements
from disentangle.tasks.task import Metrics, Task, column, on_host

__all__ = ["SENTIMENT", "Regression"]


@dataclass(frozen=True)
class Regression(Task):
    """A number, learnt by its squared error. Its metrics are those of the scale of its labels.

    Example:
        >>> import torch
        >>> from disentangle.metrics import label_scale
        >>> task = Regression(label_scale([-2.4, 0.0, 3.0, 1.2]))
        >>> task.terms(torch.tensor([1.0]), torch.tensor([3.0])), task.said(np.array([[1.0]])), task.monitor
        (tensor([4.]), ['1'], ('mae', 'min'))
    """

    scale: LabelScale
    kind: ClassVar[str] = "regression"

    def __str__(self) -> str:
        return f"{self.scale}; learnt by squared error"

    @property
    def outputs(self) -> int:
        return 1

    def terms(self, scores: Tensor, labels: Tensor) -> Tensor:
        return (column(scores) - labels).square()

    def outcomes(self, scores: Tensor) -> np.ndarray:
        return on_host(scores).reshape(-1, 1)

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
        return {"task": self.kind, "scale": self.scale.kind, "values": list(self.scale.values)}


SENTIMENT = Regression(LabelScale("sentiment", (-3.0, 3.0)))  # of CMU-MOSI and CMU-MOSEI
