"""What a task is, and what all of them compute."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from disentangle.functional.precision import at_least_float32
from disentangle.variables import Rows

__all__ = ["Array", "Metrics", "Task", "column", "mean_auc", "on_host", "refuse_other_scores"]

Metrics = dict[str, float | None]
Array = TypeVar("Array", np.ndarray, Tensor)


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
        """The loss of each row, `(N,)` in at least float32, from scores and `scaled` labels, `(N,)` or `(N, K)`."""

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
        """The loss of each row, from `scaled` labels, with the weight that the row has: 0 where it has no label.

        Raises `ValueError` where a row has another number of scores than `outputs`.
        """
        refuse_other_scores(scores, self.outputs)
        return Rows(self.terms(scores, labels), weights)

    def scaled(self, labels: Array) -> Array:
        """Labels in the unit of scores, as batches hold them in training."""
        return labels

    def check(self, labels: np.ndarray) -> None:
        """Raises `ValueError` where labels are such that there are no metrics."""
        return

    def disagreements(self, labels: Mapping[str, np.ndarray], names: Mapping[Any, str] | None = None) -> list[str]:
        """How the labels of splits differ from what they were in training, a line each; classes by their names."""
        return []


def mean_auc(outcomes: np.ndarray, there: np.ndarray) -> float | None:
    """The area under the ROC curve of each column, averaged; columns that are there always or never have none."""
    from sklearn.metrics import roc_auc_score

    columns = [k for k in range(there.shape[1]) if 0 < there[:, k].sum() < len(there)]
    return float(np.mean([roc_auc_score(there[:, k], outcomes[:, k]) for k in columns])) if columns else None


def refuse_other_scores(scores: Tensor, outputs: int) -> None:
    """Raises `ValueError` where scores are not `(N, outputs)`, or `(N,)` where one per row is expected."""
    shape = tuple(scores.shape)
    if shape[1:] != (outputs,) and not (outputs == 1 and len(shape) == 1):
        wanted = "1 score per row, (N,) or (N, 1)" if outputs == 1 else f"{outputs} scores per row, (N, {outputs})"
        raise ValueError(f"expected {wanted}, got {shape}: the outputs of a task say how many a model predicts")


def column(scores: Tensor) -> Tensor:
    """One score per row, `(N,)`, in at least float32."""
    refuse_other_scores(scores, 1)
    return at_least_float32(scores).reshape(len(scores))


def on_host(scores: Tensor) -> np.ndarray:
    """Scores as an array of float64."""
    return scores.detach().to("cpu", torch.float64).numpy()
