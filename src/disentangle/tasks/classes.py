"""One of two classes, or of several, as what is to be predicted."""

# ruff: noqa: D102 - what the methods of a task say stands in `Task`

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from disentangle.functional.precision import at_least_float32
from disentangle.metrics import LabelScale, binary_metrics, class_metrics, disagreements
from disentangle.tasks.task import Metrics, Task, column, mean_auc, on_host

__all__ = ["Binary", "Classes"]


@dataclass(frozen=True)
class Binary(Task):
    """One of two classes, learnt by cross-entropy: the score is the logit of the second.

    Example:
        >>> task = Binary((0.0, 1.0), ("sincere", "sarcastic"))
        >>> task.outcomes(torch.tensor([0.0])), task.said(np.array([[0.2], [0.5]])), task.names
        (array([[0.5]]), ['sincere', 'sarcastic'], ('probability of sarcastic',))
    """

    values: tuple[float, float]
    labels: tuple[str, str]
    kind: ClassVar[str] = "binary"

    def __str__(self) -> str:
        return f"{' or '.join(self.labels)}: two classes; metrics (acc, f1_weighted, f1_macro, auc); learnt by cross-entropy"

    @property
    def outputs(self) -> int:
        return 1

    def terms(self, scores: Tensor, labels: Tensor) -> Tensor:
        scores = column(scores)
        second = (labels > self._middle).to(scores.dtype)
        return F.binary_cross_entropy_with_logits(scores, second, reduction="none")

    def outcomes(self, scores: Tensor) -> np.ndarray:
        return on_host(torch.sigmoid(scores.double())).reshape(-1, 1)

    def metrics(self, outcomes: np.ndarray, labels: np.ndarray) -> Metrics:
        return binary_metrics(outcomes[:, 0], labels > self._middle)

    @property
    def monitor(self) -> tuple[str, Literal["min", "max"]]:
        return "f1_weighted", "max"

    def baselines(self, labels: np.ndarray) -> dict[str, np.ndarray]:
        return {"training majority": np.array([float((labels > self._middle).mean() >= 0.5)])}

    def said(self, outcomes: np.ndarray) -> list[str]:
        return [self.labels[int(p >= 0.5)] for p in outcomes[:, 0]]

    @property
    def names(self) -> tuple[str, ...]:
        return (f"probability of {self.labels[1]}",)

    def check(self, labels: np.ndarray) -> None:
        LabelScale("binary", self.values).check(labels)

    def disagreements(self, labels: Mapping[str, np.ndarray], names: Mapping[Any, str] | None = None) -> list[str]:
        return disagreements(LabelScale("binary", self.values), labels, names)

    def to_dict(self) -> dict[str, Any]:
        return {"task": self.kind, "values": list(self.values), "labels": list(self.labels)}

    @property
    def _middle(self) -> float:
        return sum(self.values) / 2


@dataclass(frozen=True)
class Classes(Task):
    """One of several classes, learnt by cross-entropy: the scores are their logits.

    Example:
        >>> task = Classes((0.0, 1.0, 2.0), ("anger", "joy", "neutral"))
        >>> task.outputs, task.said(task.outcomes(torch.tensor([[0.0, 3.0, 1.0]])))
        (3, ['joy'])
    """

    values: tuple[float, ...]
    labels: tuple[str, ...]
    kind: ClassVar[str] = "classes"

    def __str__(self) -> str:
        shown = ", ".join(self.labels[:8]) + ", ..." * (len(self.labels) > 8)
        return f"{shown}: {self.outputs} classes; metrics (acc, f1_weighted, f1_macro, auc); learnt by cross-entropy"

    @property
    def outputs(self) -> int:
        return len(self.values)

    def terms(self, scores: Tensor, labels: Tensor) -> Tensor:
        index = torch.zeros_like(labels, dtype=torch.long)
        for middle in self._middles:  # numbers of the host: a tensor of them would wait for the device
            index = index + (labels > middle)
        return F.cross_entropy(at_least_float32(scores), index, reduction="none")

    def outcomes(self, scores: Tensor) -> np.ndarray:
        return on_host(scores.double().softmax(1))

    def metrics(self, outcomes: np.ndarray, labels: np.ndarray) -> Metrics:
        known = np.array(self.values)
        return {
            **class_metrics(known[outcomes.argmax(1)], labels),
            "auc": mean_auc(outcomes, labels[:, None] == known),
        }

    @property
    def monitor(self) -> tuple[str, Literal["min", "max"]]:
        return "f1_weighted", "max"

    def baselines(self, labels: np.ndarray) -> dict[str, np.ndarray]:
        shares = (labels[:, None] == np.array(self.values)).mean(0)
        return {"training majority": np.eye(self.outputs)[shares.argmax()]}

    def said(self, outcomes: np.ndarray) -> list[str]:
        return [self.labels[i] for i in outcomes.argmax(1)]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"probability of {label}" for label in self.labels)

    def disagreements(self, labels: Mapping[str, np.ndarray], names: Mapping[Any, str] | None = None) -> list[str]:
        return disagreements(LabelScale("classes", self.values), labels, names)

    def to_dict(self) -> dict[str, Any]:
        return {"task": self.kind, "values": list(self.values), "labels": list(self.labels)}

    @property
    def _middles(self) -> list[float]:
        return [(a + b) / 2 for a, b in zip(self.values, self.values[1:], strict=False)]
