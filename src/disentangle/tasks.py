"""What is to be predicted: a number, one of two classes, one of several, or several labels at once.

A task is a loss, one term per row; what a model's scores say, as numbers or probabilities; and the metrics of that. Which
one it is follows from the labels, see `task_of`; a model keeps it, as JSON, and so do those who read its predictions.
"""

# ruff: noqa: D102 - what the methods of a task say stands in `Task`

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from disentangle.functional.precision import at_least_float32
from disentangle.metrics import LabelScale, binary_metrics, class_metrics, disagreements, label_scale
from disentangle.variables import Rows

__all__ = ["SENTIMENT", "TASKS", "Binary", "Classes", "MultiLabel", "Regression", "Task", "as_task", "task_of"]

Metrics = dict[str, float | None]
MOST_CLASSES = 100


class Task(ABC):
    """What is predicted from K scores per row, `outputs` of them.

    *Scores* are what a model computes, `(N, K)`, or `(N,)` where K is 1: numbers, or logits. *Outcomes* are what they say,
    `(N, K)`: numbers as they are, or probabilities.
    """

    kind: ClassVar[str]

    @property
    @abstractmethod
    def outputs(self) -> int:
        """How many scores a row has, K."""

    @abstractmethod
    def terms(self, scores: Tensor, labels: Tensor) -> Tensor:
        """The loss of each row, `(N,)` in at least float32, from scores and labels, `(N,)` or `(N, K)`."""

    @abstractmethod
    def outcomes(self, scores: Tensor) -> np.ndarray:
        """What scores say: numbers, or probabilities, `(N, K)`."""

    @abstractmethod
    def metrics(self, outcomes: np.ndarray, labels: np.ndarray) -> Metrics:
        """The metrics of outcomes, `(N, K)`, beside the labels of any split; `None` where one is undefined."""

    @property
    @abstractmethod
    def monitor(self) -> tuple[str, Literal["min", "max"]]:
        """The metric by which the best epoch is told, and whether less or more of it is better."""

    @abstractmethod
    def baselines(self, labels: np.ndarray) -> dict[str, np.ndarray]:
        """What to say of every row, `(K,)`, when nothing is known but the labels of training."""

    @abstractmethod
    def said(self, outcomes: np.ndarray) -> list[str]:
        """The prediction for each row, as one would write it down."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The names of the K outcomes."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The task as JSON has it; `as_task` brings it back."""

    def loss(self, scores: Tensor, labels: Tensor, weights: Tensor) -> Rows:
        """The loss of each row, with the weight that the row has: 0 where it has no label."""
        return Rows(self.terms(scores, labels), weights)

    def check(self, labels: np.ndarray) -> None:
        """Raises `ValueError` where labels are such that there are no metrics."""
        return

    def disagreements(self, labels: Mapping[str, np.ndarray]) -> list[str]:
        """How the labels of splits differ from what they were in training, a line each."""
        return []


@dataclass(frozen=True)
class Regression(Task):
    """A number, learnt by its squared error. Its metrics are those of the scale of its labels.

    Example:
        >>> task = Regression(label_scale([-2.4, 0.0, 3.0, 1.2]))
        >>> task.terms(torch.tensor([1.0]), torch.tensor([3.0])), task.said(np.array([[1.0]])), task.monitor
        (tensor([4.]), ['1.0000'], ('mae', 'min'))
    """

    scale: LabelScale
    kind: ClassVar[str] = "regression"

    def __str__(self) -> str:
        return f"{self.scale}; learnt by squared error"

    @property
    def outputs(self) -> int:
        return 1

    def terms(self, scores: Tensor, labels: Tensor) -> Tensor:
        return (_column(scores) - labels).square()

    def outcomes(self, scores: Tensor) -> np.ndarray:
        return _host(scores).reshape(-1, 1)

    def metrics(self, outcomes: np.ndarray, labels: np.ndarray) -> Metrics:
        return self.scale.metrics(outcomes[:, 0], labels)

    @property
    def monitor(self) -> tuple[str, Literal["min", "max"]]:
        return self.scale.monitor

    def baselines(self, labels: np.ndarray) -> dict[str, np.ndarray]:
        return {name: np.array([value]) for name, value in self.scale.baselines(labels).items()}

    def said(self, outcomes: np.ndarray) -> list[str]:
        return [f"{value:z.4f}" for value in outcomes[:, 0]]

    @property
    def names(self) -> tuple[str, ...]:
        return ("prediction",)

    def check(self, labels: np.ndarray) -> None:
        self.scale.check(labels)

    def disagreements(self, labels: Mapping[str, np.ndarray]) -> list[str]:
        return disagreements(self.scale, labels)

    def to_dict(self) -> dict[str, Any]:
        return {"task": self.kind, "scale": self.scale.kind, "values": list(self.scale.values)}


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
        scores = _column(scores)
        second = (labels > sum(self.values) / 2).to(scores.dtype)
        return F.binary_cross_entropy_with_logits(scores, second, reduction="none")

    def outcomes(self, scores: Tensor) -> np.ndarray:
        return _host(torch.sigmoid(scores.double())).reshape(-1, 1)

    def metrics(self, outcomes: np.ndarray, labels: np.ndarray) -> Metrics:
        return binary_metrics(outcomes[:, 0], labels > sum(self.values) / 2)

    @property
    def monitor(self) -> tuple[str, Literal["min", "max"]]:
        return "f1_weighted", "max"

    def baselines(self, labels: np.ndarray) -> dict[str, np.ndarray]:
        return {"training majority": np.array([float((labels > sum(self.values) / 2).mean() >= 0.5)])}

    def said(self, outcomes: np.ndarray) -> list[str]:
        return [self.labels[int(p >= 0.5)] for p in outcomes[:, 0]]

    @property
    def names(self) -> tuple[str, ...]:
        return (f"probability of {self.labels[1]}",)

    def check(self, labels: np.ndarray) -> None:
        LabelScale("binary", self.values).check(labels)

    def disagreements(self, labels: Mapping[str, np.ndarray]) -> list[str]:
        return disagreements(LabelScale("binary", self.values), labels)

    def to_dict(self) -> dict[str, Any]:
        return {"task": self.kind, "values": list(self.values), "labels": list(self.labels)}


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
        return _host(scores.double().softmax(1))

    def metrics(self, outcomes: np.ndarray, labels: np.ndarray) -> Metrics:
        known = np.array(self.values)
        return {
            **class_metrics(known[outcomes.argmax(1)], labels),
            "auc": _mean_auc(outcomes, labels[:, None] == known),
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

    def disagreements(self, labels: Mapping[str, np.ndarray]) -> list[str]:
        return disagreements(LabelScale("classes", self.values), labels)

    def to_dict(self) -> dict[str, Any]:
        return {"task": self.kind, "values": list(self.values), "labels": list(self.labels)}

    @property
    def _middles(self) -> list[float]:
        return [(a + b) / 2 for a, b in zip(self.values, self.values[1:], strict=False)]


@dataclass(frozen=True)
class MultiLabel(Task):
    """Several labels, each of which a recording has or not, learnt by the cross-entropy of each. One above 0 is there.

    Example:
        >>> task = MultiLabel(("joy", "anger"))
        >>> task.said(np.array([[0.9, 0.6], [0.2, 0.1]]))
        ['joy, anger', 'none']
    """

    labels: tuple[str, ...]
    kind: ClassVar[str] = "labels"

    def __str__(self) -> str:
        metrics = ", ".join([*("acc", "f1_weighted", "f1_macro", "auc"), *(f"f1_{label}" for label in self.labels)])
        return f"{', '.join(self.labels)}: labels of which each is there or not; metrics ({metrics}); learnt by cross-entropy"

    @property
    def outputs(self) -> int:
        return len(self.labels)

    def terms(self, scores: Tensor, labels: Tensor) -> Tensor:
        scores = at_least_float32(scores).reshape(len(labels), -1)
        there = (labels > 0).to(scores.dtype).reshape(len(labels), -1)
        return F.binary_cross_entropy_with_logits(scores, there, reduction="none").mean(1)

    def outcomes(self, scores: Tensor) -> np.ndarray:
        return _host(torch.sigmoid(scores.double())).reshape(-1, self.outputs)

    def metrics(self, outcomes: np.ndarray, labels: np.ndarray) -> Metrics:
        from sklearn.metrics import f1_score

        there, found = labels > 0, outcomes >= 0.5
        each = [class_metrics(found[:, k], there[:, k]) for k in range(self.outputs)]
        f1 = [float(f1_score(there[:, k], found[:, k], zero_division=0)) for k in range(self.outputs)]  # type: ignore[arg-type]
        mean: Metrics = {name: float(np.mean([m[name] for m in each])) for name in ("acc", "f1_weighted")}  # type: ignore[misc]
        of_each = {f"f1_{label}": value for label, value in zip(self.labels, f1, strict=True)}
        return {**mean, "f1_macro": float(np.mean(f1)), "auc": _mean_auc(outcomes, there), **of_each}

    @property
    def monitor(self) -> tuple[str, Literal["min", "max"]]:
        return "f1_weighted", "max"

    def baselines(self, labels: np.ndarray) -> dict[str, np.ndarray]:
        return {"training majority": ((labels > 0).mean(0) >= 0.5).astype(float)}

    def said(self, outcomes: np.ndarray) -> list[str]:
        return [", ".join(n for n, p in zip(self.labels, row, strict=True) if p >= 0.5) or "none" for row in outcomes]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"probability of {label}" for label in self.labels)

    def to_dict(self) -> dict[str, Any]:
        return {"task": self.kind, "labels": list(self.labels)}


SENTIMENT = Regression(LabelScale("sentiment", (-3.0, 3.0)))  # of CMU-MOSI and CMU-MOSEI
TASKS = tuple(task.kind for task in (Regression, Binary, Classes, MultiLabel))


def task_of(labels: np.ndarray, kind: str | None = None, names: Sequence[str] = ()) -> Task:
    """The task that labels set: the one asked for, or the one that they tell.

    Two different values are two classes; 0, 1, ..., C - 1, up to 10 of them, are classes, and so are all that have names;
    several labels per row are labels at once; everything else is numbers.

    Arguments:
        labels: The labels of training, `(N,)`, or `(N, K)` for several at once.
        kind: One of `TASKS`, or `None` to tell it.
        names: The names of the K labels; or those of the classes, in which case the labels are their places in it.

    Raises:
        ValueError: If the labels are not what the task needs.

    Example:
        >>> task_of(np.array([0, 1, 1, 0])).kind, task_of(np.array([-2.4, 0.0, 3.0])).kind
        ('binary', 'regression')
        >>> task_of(np.array([0.2, 0.4, 0.9]), "classes")
        Traceback (most recent call last):
        ValueError: expected whole numbers or names as classes, got 0.2: task regression learns numbers
    """
    if kind is not None and kind not in TASKS:
        raise ValueError(f"expected a task of {', '.join(TASKS)}, got {kind!r}")
    several = labels.ndim == 2
    if several != (kind == "labels") and (several or kind is not None):
        wanted, given = ("several labels per row", "one") if kind == "labels" else ("one label per row", "several")
        if kind is not None:
            raise ValueError(f"expected {wanted} for task {kind}, got {given}: --label names the labels to learn")
    if several:
        return _labels_at_once(labels, names)
    found = np.unique(labels)
    if kind is None:
        several = bool(names) or label_scale(labels).kind in ("binary", "classes")
        kind = "regression" if not several else "binary" if len(names or found) == 2 else "classes"
    if kind == "regression":
        if names:
            raise ValueError(f"expected numbers for task regression, got names: {', '.join(names[:4])}")
        return Regression(label_scale(labels))
    values = tuple(float(v) for v in (range(len(names)) if names else found))
    if kind == "binary":
        if len(values) != 2:
            raise ValueError(f"expected 2 different labels for task binary, got {len(values)}: {_shown(found)}")
        first, second = names or [f"{v:g}" for v in values]
        return Binary((values[0], values[1]), (first, second))
    fractions = [v for v in values if v != round(v)]
    if fractions:
        raise ValueError(
            f"expected whole numbers or names as classes, got {fractions[0]:g}: task regression learns numbers"
        )
    if not 2 <= len(values) <= MOST_CLASSES:
        raise ValueError(f"expected 2 to {MOST_CLASSES} classes, got {len(values)}: {_shown(found)}")
    return Classes(values, tuple(names or [f"{v:g}" for v in values]))


def as_task(task: Task | Mapping[str, Any]) -> Task:
    """A task as it is, or from what its `to_dict` returned.

    Raises:
        ValueError: If it is none.

    Example:
        >>> as_task({"task": "labels", "labels": ["joy", "anger"]})
        MultiLabel(labels=('joy', 'anger'))
    """
    if isinstance(task, Task):
        return task
    kind, labels = task.get("task"), tuple(task.get("labels", ()))
    values = tuple(map(float, task.get("values", ())))
    if kind == "regression":
        return Regression(LabelScale(task["scale"], values))
    if kind == "binary":
        return Binary((values[0], values[1]), (labels[0], labels[1]))
    if kind == "classes":
        return Classes(values, labels)
    if kind == "labels":
        return MultiLabel(labels)
    raise ValueError(f"expected a task of {', '.join(TASKS)}, got {kind!r}")


def _labels_at_once(labels: np.ndarray, names: Sequence[str]) -> MultiLabel:
    if len(names) != labels.shape[1]:
        raise ValueError(f"expected a name for each of {labels.shape[1]} labels, got {len(names)}")
    for name, column in zip(names, labels.T, strict=True):
        count = int((column > 0).sum())
        if count in (0, len(column)):
            raise ValueError(
                f"label {name}: expected recordings with and without it, got {count} of {len(column)} with it"
            )
    return MultiLabel(tuple(names))


def _mean_auc(outcomes: np.ndarray, there: np.ndarray) -> float | None:
    """The area under the ROC curve of each column, averaged; columns that are there always or never have none."""
    from sklearn.metrics import roc_auc_score

    columns = [k for k in range(there.shape[1]) if 0 < there[:, k].sum() < len(there)]
    return float(np.mean([roc_auc_score(there[:, k], outcomes[:, k]) for k in columns])) if columns else None


def _column(scores: Tensor) -> Tensor:
    return at_least_float32(scores).reshape(len(scores))


def _host(scores: Tensor) -> np.ndarray:
    return scores.detach().to("cpu", torch.float64).numpy()


def _shown(values: np.ndarray) -> str:
    return ", ".join(f"{v:g}" for v in values[:5]) + (", ..." if len(values) > 5 else "")
