"""Which task labels set, and a task from JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from disentangle.metrics import LabelScale, label_scale
from disentangle.numbers_as_text import told_apart
from disentangle.tasks.classes import Binary, Classes
from disentangle.tasks.multi_label import MultiLabel
from disentangle.tasks.regression import Regression, mean_and_std
from disentangle.tasks.task import Task

__all__ = ["TASKS", "as_task", "task_of"]

MOST_CLASSES = 100
PARTS = {  # of a task as JSON, by its kind
    Regression.kind: ("scale", "values"),
    Binary.kind: ("values", "labels"),
    Classes.kind: ("values", "labels"),
    MultiLabel.kind: ("labels",),
}
TASKS = tuple(PARTS)


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
    if kind is not None and several != (kind == "labels"):
        wanted, given = ("one label per row", "several") if several else ("several labels per row", "one")
        raise ValueError(f"expected {wanted} for task {kind}, got {given}: --label names the labels to learn")
    if several:
        return _labels_at_once(labels, names)
    found = np.unique(labels)
    if kind is None:
        discrete = bool(names) or label_scale(labels).kind in ("binary", "classes")
        kind = "regression" if not discrete else "binary" if len(names or found) == 2 else "classes"
    if kind == "regression":
        if names:
            raise ValueError(f"expected numbers for task regression, got names: {', '.join(names[:4])}")
        return Regression(label_scale(labels), *mean_and_std(labels))
    values = tuple(float(v) for v in (range(len(names)) if names else found))
    if kind == "binary":
        if len(values) != 2:
            raise ValueError(f"expected 2 different labels for task binary, got {len(values)}: {_shown(found)}")
        first, second = names or told_apart(values)
        return Binary((values[0], values[1]), (first, second))
    fractions = [v for v in values if v != round(v)]
    if fractions:
        raise ValueError(
            f"expected whole numbers or names as classes, got {fractions[0]:g}: task regression learns numbers"
        )
    if not 2 <= len(values) <= MOST_CLASSES:
        raise ValueError(f"expected 2 to {MOST_CLASSES} classes, got {len(values)}: {_shown(found)}")
    return Classes(values, tuple(names or told_apart(values)))


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
    kind: Any = task.get("task")
    if kind not in TASKS:
        raise ValueError(f"expected a task of {', '.join(TASKS)}, got {kind!r}")
    if lacking := [name for name in PARTS[kind] if not task.get(name)]:
        raise ValueError(f"expected {' and '.join(PARTS[kind])} of a task {kind}, got no {lacking[0]}")
    labels, values = tuple(task.get("labels", ())), tuple(map(float, task.get("values", ())))
    counts = len(values), len(labels)
    if (kind == "binary" and counts != (2, 2)) or (kind == "classes" and counts[0] != counts[1]):
        wanted = "2 values and 2 labels" if kind == "binary" else "as many values as labels"
        raise ValueError(f"expected {wanted} of a task {kind}, got {counts[0]} and {counts[1]}")
    if kind == "regression":
        return Regression(LabelScale(task["scale"], values), task.get("mean", 0.0), task.get("std", 1.0))
    if kind == "binary":
        return Binary((values[0], values[1]), (labels[0], labels[1]))
    if kind == "classes":
        return Classes(values, labels)
    return MultiLabel(labels)


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


def _shown(values: np.ndarray) -> str:
    return ", ".join(told_apart(values[:5])) + (", ..." if len(values) > 5 else "")
