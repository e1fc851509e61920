"""What labels are, and so which metrics say something of predictions.

It is told from the labels of the training split, once, and holds for all splits: a test split in which only 0 and 1 happen to
occur is not another task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from disentangle.metrics.classes import binary_metrics, class_metrics
from disentangle.metrics.sentiment import FEW, corr, mae, of_sentiments
from disentangle.metrics.sims import sims_metrics
from disentangle.metrics.vectors import Array, vector, vectors
from disentangle.numbers_as_text import told_apart

__all__ = ["Kind", "LabelScale", "disagreements", "label_scale"]

Kind = Literal["binary", "classes", "ratings", "sentiment", "sims", "numbers"]
MOST = 10  # whole numbers that are counted one by one; of more, how far off a prediction is says more
LEAST = 0.3  # what labels reach that are sentiment: within that, they have another unit
DISCRETE = ("binary", "classes", "ratings")
CLASSES = ("acc", "f1_weighted", "f1_macro")
NAMES: dict[Kind, tuple[str, ...]] = {
    "binary": (*CLASSES, "auc"),
    "classes": CLASSES,
    "ratings": ("mae", "corr", *CLASSES),
    "sentiment": ("mae", "corr", "acc2_has0", "acc2_non0", "f1_has0", "f1_non0", "acc5", "acc7"),
    "sims": ("mae", "corr", "acc2_sims", "f1_sims", "acc3_sims", "acc5_sims"),
    "numbers": ("mae", "corr"),
}


@dataclass(frozen=True)
class LabelScale:
    """What labels are. Make one with `label_scale`; as text, a line that says what was found and which metrics follow.

    Attributes:
        kind: "binary", two values; "classes", 0, 1, 2, ...; "ratings", other whole numbers; "sentiment" in [-3, 3]; "sims",
            sentiment in [-1, 1]; or "numbers".
        values: The labels of the first three kinds, in rising order; of the others the least and the largest.

    Raises:
        ValueError: If there are fewer than two values, or more but for classes and ratings, or not in rising order.

    Example:
        >>> print(LabelScale("sims", (-1.0, 1.0)))
        -1 to 1: sentiment in [-1, 1], as in CH-SIMS; metrics (mae, corr, acc2_sims, f1_sims, acc3_sims, acc5_sims)
    """

    kind: Kind
    values: tuple[float, ...]

    def __post_init__(self):
        more = self.kind in ("classes", "ratings")
        if len(self.values) < 2 or (len(self.values) > 2 and not more) or (np.diff(self.values) <= 0).any():
            wanted = "2 or more" if more else "2"
            raise ValueError(f"expected {wanted} values of {self.kind} in rising order, got {self.values}")

    def __str__(self) -> str:
        return f"{self.shown}: {self._meaning}; metrics ({', '.join(self.names)})"

    @property
    def discrete(self) -> bool:
        """Whether labels are some few values; a prediction then counts as the nearest of them."""
        return self.kind in DISCRETE

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the metrics."""
        return NAMES[self.kind]

    @property
    def monitor(self) -> tuple[str, Literal["min", "max"]]:
        """The metric that picks the best epoch, which is always defined, and whether less or more of it is better."""
        return ("f1_weighted", "max") if self.kind in ("binary", "classes") else ("mae", "min")

    @property
    def shown(self) -> str:
        """A short description of the labels."""
        if self.discrete and len(self.values) <= 7:
            return ", ".join(told_apart(self.values))
        return " to ".join(told_apart((self.values[0], self.values[-1])))

    def metrics(self, prediction: Array, label: Array) -> dict[str, float | None]:
        """The metrics that say something of these labels.

        Arguments:
            prediction: Predicted labels, `(N,)`: a tensor on any device, an array or a list.
            label: True labels, `(N,)`, of any split.

        Returns:
            The metrics by name, in the order of `names`; `None` where undefined.

        Raises:
            ValueError: Where the two are not vectors of the same length, are empty, or hold a value that is not finite; where
                `check` raises it.

        Example:
            >>> metrics = label_scale([0, 1, 1, 0, 1]).metrics([0.9, 0.2, 0.7], [1, 0, 0])
            >>> {name: round(value, 3) for name, value in metrics.items()}
            {'acc': 0.667, 'f1_weighted': 0.667, 'f1_macro': 0.667, 'auc': 1.0}
        """
        p, y = vectors(prediction, label)
        self.check(y)
        if self.kind == "sentiment":
            return of_sentiments(p, y)
        if self.kind == "sims":
            return sims_metrics(p, y)
        if self.kind == "binary":
            low, high = self.values
            return binary_metrics(p, self.nearest(y) == high, threshold=(low + high) / 2)
        numbers = {} if self.kind == "classes" else {"mae": mae(p, y), "corr": corr(p, y)}
        if not self.discrete:
            return numbers
        known = np.where(self._known(y), self.nearest(y), y)  # a label that training has not is never hit
        return {**numbers, **class_metrics(self.nearest(p), known)}

    def nearest(self, prediction: Array) -> np.ndarray:
        """The value that each prediction counts as, where labels are `discrete`; halfway between two, the larger.

        Example:
            >>> LabelScale("binary", (0.0, 1.0)).nearest([-2.0, 0.4, 0.5, 7.0]).tolist()
            [0.0, 0.0, 1.0, 1.0]
        """
        values = np.array(self.values)
        return values[np.searchsorted((values[1:] + values[:-1]) / 2, vector(prediction, "prediction"), side="right")]

    def check(self, label: Array) -> None:
        """Raises `ValueError` where there are metrics that cannot be computed: of two classes, where there is a third label."""
        y = vector(label)
        other = y[~self._known(y)]
        if self.kind == "binary" and other.size:
            raise ValueError(f"expected labels {self.shown} as in training, got {_listed(other, {})}")

    def baselines(self, label: Array) -> dict[str, float]:
        """What to predict for all when nothing is known but the training labels, `(N,)`: their mean, where the labels are
        numbers, and the most frequent one, where they are some few values.

        Example:
            >>> label_scale([1, 2, 2, 5]).baselines([1, 2, 2, 5])
            {'training mean': 2.5, 'training majority': 2.0}
        """
        y = vector(label)
        found, counts = np.unique(y, return_counts=True)
        mean = {} if self.kind in ("binary", "classes") else {"training mean": float(y.mean())}
        majority = {"training majority": float(found[counts.argmax()])} if self.discrete else {}
        return {**mean, **majority}

    def _known(self, y: np.ndarray) -> np.ndarray:
        """Which labels belong to the scale, `(N,)` bool."""
        if self.discrete:
            near = np.abs(y[:, None] - self.values) <= 1e-6 * np.abs(self.values)
            return np.asarray(near.any(1))
        return _within(y, {"sentiment": 3.0, "sims": 1.0}.get(self.kind, np.inf))

    @property
    def _meaning(self) -> str:
        _, middle, high = told_apart((self.values[0], (self.values[0] + self.values[-1]) / 2, self.values[-1]))
        return {
            "binary": f"two classes, a prediction from {middle} on counts as {high}",
            "classes": f"{len(self.values)} classes, taken in this order, a prediction counts as the nearest",
            "ratings": "whole numbers, a prediction counts as the nearest",
            "sentiment": "sentiment in [-3, 3]",
            "sims": "sentiment in [-1, 1], as in CH-SIMS",
            "numbers": "numbers",
        }[self.kind]


def label_scale(label: Array) -> LabelScale:
    """Tells from labels what they are.

    The first that fits:

    - *binary*: two different values, such as sarcastic or not;
    - *classes*: 0, 1, ..., C - 1, up to 10 of them; taken in this order, since what is predicted is a number;
    - *ratings*: whole numbers, up to 10 different ones, such as 1 to 5 stars or -1, 0, 1; but those beyond -2 or 2 within
      [-3, 3], on both sides of 0, are sentiment;
    - *sims*: on both sides of 0, within [-1, 1], as in CH-SIMS, and not all within [-0.3, 0.3];
    - *sentiment*: on both sides of 0, within [-3, 3], as in CMU-MOSI and CMU-MOSEI;
    - *numbers*: everything else.

    Arguments:
        label: The labels of the training split, `(N,)`.

    Raises:
        ValueError: Where they are no vector, empty, not finite, or all the same.

    Example:
        >>> print(label_scale([0, 1, 1, 0]))
        0, 1: two classes, a prediction from 0.5 on counts as 1; metrics (acc, f1_weighted, f1_macro, auc)
        >>> print(label_scale([-2.4, 0.0, 3.0, 1.2]))
        -2.4 to 3: sentiment in [-3, 3]; metrics (mae, corr, acc2_has0, acc2_non0, f1_has0, f1_non0, acc5, acc7)
        >>> print(label_scale([0.1, 0.25, 0.9]))
        0.1 to 0.9: numbers; metrics (mae, corr)
    """
    y = vector(label)
    found = np.unique(y)
    if len(found) < 2:
        raise ValueError(f"expected labels of at least 2 different values, got {found[0]:g} of all {y.size}")
    kind = _kind(found)
    return LabelScale(kind, tuple((found if kind in DISCRETE else found[[0, -1]]).tolist()))


def disagreements(scale: LabelScale, labels: Mapping[str, Array], names: Mapping[Any, str] | None = None) -> list[str]:
    """How the labels of each split differ from the scale of the training labels, one line for each difference.

    Labels that do not belong to the scale are named however few they are. A split of 10 and more is also named where it has
    not all of a few values, or where numbers, by themselves, would be taken for something else.

    Arguments:
        scale: What the labels of training are.
        labels: The labels of each split by its name, each `(N,)`.
        names: Of the labels that are classes, `{label: name}`.

    Example:
        >>> scale = label_scale([0, 1, 1, 0])
        >>> disagreements(scale, {"valid": [0, 1, 0], "test": [0, 1, 2]})
        ['test: 1 of 3 labels (2) is none of 0, 1, those of training']
        >>> disagreements(scale, {"test": [0, 1, 2]}, {0: "joy", 1: "anger", 2: "fear"})
        ['test: 1 of 3 labels (fear) is none of joy, anger, those of training']
    """
    lines, names = [], names or {}
    shown = _listed(np.array(scale.values), names) if names else scale.shown
    for name, label in labels.items():
        y = vector(label)
        other = y[~scale._known(y)]
        if other.size:
            where = "none of" if scale.discrete else "beyond"
            lines.append(
                f"{name}: {other.size} of {y.size} label{'s' if y.size > 1 else ''} ({_listed(other, names)}) "
                f"{'are' if other.size > 1 else 'is'} {where} {shown}, those of training"
            )
        elif y.size >= FEW and (said := _otherwise(scale, np.unique(y), names)):
            lines.append(f"{name}: {said}, where training has {shown}; the metrics stay those of training")
    return lines


def _otherwise(scale: LabelScale, found: np.ndarray, names: Mapping[Any, str]) -> str:
    """What the labels of a split lack, or alone would be taken for, where that differs from the scale; otherwise ""."""
    if len(found) == 1:
        return f"every label is {_listed(found, names)}"
    if scale.discrete:
        absent = sorted(set(scale.values) - set(scale.nearest(found)))
        return f"no label is {_each(absent, names)}" if absent else ""
    if _kind(found) == scale.kind:
        return ""
    return f"its labels are {_listed(found, names)} only"


def _kind(found: np.ndarray) -> Kind:
    """The kind of labels with these values, in rising order."""
    low, high = found[0], found[-1]
    signed = low < 0 < high
    if len(found) == 2:
        return "binary"
    if (found == np.rint(found)).all() and len(found) <= MOST:
        if low == 0 and high == len(found) - 1:
            return "classes"
        if not signed or not _within(found, 3.0).all() or _within(found, 2.0).all():
            return "ratings"
    if not signed or max(-low, high) < LEAST or not _within(found, 3.0).all():
        return "numbers"
    return "sims" if _within(found, 1.0).all() else "sentiment"


def _within(values: np.ndarray, bound: float) -> np.ndarray:
    """Which values lie in [-bound, bound], up to rounding: labels are often means of a few."""
    return np.abs(values) <= bound * (1 + 1e-6)


def _listed(values: np.ndarray, names: Mapping[Any, str]) -> str:
    found = np.unique(values)
    return _each(found, names) if names or len(found) <= 4 else " to ".join(told_apart(found[[0, -1]]))


def _each(values: Sequence[float] | np.ndarray, names: Mapping[Any, str]) -> str:
    some = [names.get(float(value), word) for value, word in zip(values[:7], told_apart(values[:7]), strict=True)]
    return ", ".join([*some, "..."] if len(values) > len(some) else some)
