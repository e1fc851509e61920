"""Pairs of a penalty that say nothing, for want of rows or of an estimator that lives: a penalty of 0 does not show why."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from disentangle.errors import EstimatorWarning
from disentangle.pairwise import Pairwise
from disentangle.training.lag import FIRST_STEPS
from disentangle.training.watch import Arriving

__all__ = ["SilentPairs"]

ZERO = 1e-5  # below it a value is 0 to rounding: that of an estimator that tells rows apart scatters more


class SilentPairs:
    """Finds the pairs that had no rows in any batch, and the estimators that say the same of every row; names each once.

    Example:
        >>> from disentangle import CLUBEstimator
        >>> pairs = Pairwise({("a", "b"): CLUBEstimator(1, 1), ("a", "c"): CLUBEstimator(1, 1)})
        >>> silent = SilentPairs({"": pairs})
        >>> for warning in silent.warnings("step 25", {"CLUB(a;b)": 0.3}):
        ...     print(warning)
        step 25: CLUB(a;c): no batch so far had rows enough with all its variables: nothing is penalised there
        >>> silent.warnings("step 50", {"CLUB(a;b)": 0.3})
        []
    """

    def __init__(self, kinds: Mapping[str, Pairwise]):
        self.learning: dict[str, bool] = {}
        for kind, penalty in kinds.items():
            for name, dependence in penalty.dependences.items():
                label = f"{kind}/{penalty.labels[name]}" if kind else penalty.labels[name]
                self.learning[label] = next(dependence.parameters(), None) is not None
        self.seen: set[str] = set()
        self.warned: set[str] = set()
        self.calls: list[Mapping[str, Tensor]] = []
        self.arriving: tuple[list[str], Arriving] | None = None

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Adds the values of a call, detached."""
        self.calls.append(values)
        if len(self.calls) < FIRST_STEPS:
            return
        labels = [label for label in self.learning if any(label in each for each in self.calls)]
        largest = [torch.stack([each[label] for each in self.calls if label in each]).abs().max() for label in labels]
        self.arriving = labels, Arriving(torch.stack(largest) if largest else torch.empty(0))
        self.calls = []

    def read(self) -> dict[str, float] | None:
        """The largest value of each pair in the calls before this one, each time there are `FIRST_STEPS` more; else `None`."""
        if self.arriving is None:
            return None
        (labels, largest), self.arriving = self.arriving, None
        return dict(zip(labels, largest.read().tolist(), strict=True))

    def warnings(self, where: str, values: Mapping[str, float]) -> list[EstimatorWarning]:
        """What to warn of where these are the values of some batches, their largest or their means."""
        self.seen |= values.keys()
        absent = [label for label in self.learning if label not in self.seen | self.warned]
        dead = [
            label
            for label, learns in self.learning.items()
            if learns and label not in self.warned and abs(values.get(label, 1.0)) < ZERO
        ]
        self.warned.update(absent, dead)
        said = {
            "no batch so far had rows enough with all its variables: nothing is penalised there": absent,
            "0 for some time: the estimator says the same of every row, or rows are all alike: a smaller learning rate, or, "
            "where y takes few values, as those of a codebook are, make it x, or give its classes": dead,
        }
        return [EstimatorWarning(f"{where}: {', '.join(labels)}: {what}") for what, labels in said.items() if labels]
