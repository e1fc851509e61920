"""Several labels at once as what is to be predicted."""

# ruff: noqa: D102 - what the methods of a task say stands in `Task`

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from disentangle.functional.precision import at_least_float32
from disentangle.metrics import class_metrics
from disentangle.tasks.task import Metrics, Task, mean_auc, on_host

__all__ = ["MultiLabel"]


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
        return on_host(torch.sigmoid(scores.double())).reshape(-1, self.outputs)

    def metrics(self, outcomes: np.ndarray, labels: np.ndarray) -> Metrics:
        from sklearn.metrics import f1_score

        there, found = labels > 0, outcomes >= 0.5
        each = [class_metrics(found[:, k], there[:, k]) for k in range(self.outputs)]
        f1 = [float(f1_score(there[:, k], found[:, k], zero_division=0)) for k in range(self.outputs)]  # type: ignore[arg-type]
        mean: Metrics = {name: float(np.mean([m[name] for m in each])) for name in ("acc", "f1_weighted")}  # type: ignore[misc]
        of_each = {f"f1_{label}": value for label, value in zip(self.labels, f1, strict=True)}
        return {**mean, "f1_macro": float(np.mean(f1)), "auc": mean_auc(outcomes, there), **of_each}

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
