"""What the labels are that `mird_mosi.py` learns, what follows for its metrics, and what scores one who knows nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from disentangle.data import DataError, Recordings
from disentangle.metrics import LabelScale, disagreements, label_scale

T = TypeVar("T")


def labels_of(sources: Mapping[str, Recordings]) -> dict[str, np.ndarray]:
    """The labels of train, valid and test."""
    labels = {name: sources[name].labels for name in ("train", "valid", "test")}
    return {name: each for name, each in labels.items() if each is not None}


def scale_of(
    labels: Mapping[str, np.ndarray], say: Callable[[str], None], told: LabelScale | None = None
) -> LabelScale:
    """What the labels of training are, said with the metrics that follow, and what differs from it in other splits.

    `told` is what they were for a model that is trained already. Raises `DataError` where there is nothing to learn from them,
    or where a split cannot be measured.
    """
    scale = told or _checked("train", label_scale, labels["train"])
    for name, each in labels.items():
        _checked(name, scale.check, each)
    say(f"labels    {scale}")
    for line in disagreements(scale, labels):
        say(f"          {line}")
    return scale


def _checked(name: str, read: Callable[[np.ndarray], T], labels: np.ndarray) -> T:
    try:
        return read(labels)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from None


def baselines(scale: LabelScale, labels: Mapping[str, np.ndarray]) -> dict[str, dict[str, float | None]]:
    """What a model scores on valid and test that knows nothing but the training labels: their mean, or the most frequent."""
    constants = scale.baselines(labels["train"])
    return {
        f"{split}, {name}": scale.metrics([value] * len(labels[split]), labels[split])
        for name, value in constants.items()
        for split in ("valid", "test")
    }


def known_scale(config: Mapping[str, Any]) -> LabelScale | None:
    """What the labels were that a saved model has learnt; None of one whose configuration does not say it."""
    told = config.get("labels")
    return told and LabelScale(told["kind"], tuple(map(float, told["values"])))
