"""The means of what steps saw, kept on the device until they are read."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from torch import Tensor

from disentangle.training.step import StepRecord, flat

__all__ = ["Means"]


class Means:
    """Means since the last reading: of losses over rows, of everything else over steps.

    Example:
        >>> import torch
        >>> from disentangle import Rows
        >>> means, one = Means(), torch.ones(1)
        >>> for value in (1.0, 2.0):
        ...     means.add(StepRecord(torch.tensor(value), {"Y": Rows(value * one, one)}, {}, {}, None))
        >>> means.read()
        {'losses': {'Y': 1.5}, 'penalties': {}, 'rms': {}, 'objective': 1.5}
    """

    def __init__(self) -> None:
        self.sums: dict[tuple[str, str], Tensor] = {}
        self.counts: dict[tuple[str, str], int] = defaultdict(int)
        self.weights: dict[str, Tensor] = {}
        self.skipped = 0

    def add(self, record: StepRecord) -> None:
        """Adds what a step saw; a step that was left out is counted."""
        if record.nonfinite:
            self.skipped += 1
            return
        scalars = {"objective": record.objective, "likelihood": record.likelihood}
        sections = {"": scalars, "penalties": flat(record.penalties), "rms": record.rms}
        for section, values in sections.items():
            for name, value in values.items():
                if value is not None:
                    self._add((section, name), value)
        for name, rows in record.losses.items():
            weight = rows.weights.sum()
            self.weights[name] = self.weights[name] + weight if name in self.weights else weight
            self._add(("losses", name), rows.total())

    def _add(self, key: tuple[str, str], value: Tensor) -> None:
        self.sums[key] = self.sums[key] + value if key in self.sums else value
        self.counts[key] += 1

    def read(self) -> dict[str, Any]:
        """The means, and the number of steps left out if there are any; starts anew."""
        result: dict[str, Any] = {"losses": {}, "penalties": {}, "rms": {}}
        for (section, name), value in self.sums.items():
            if section == "losses":
                weight = self.weights[name].item()
                result[section][name] = value.item() / weight if weight > 0 else None
            else:
                (result[section] if section else result)[name] = value.item() / self.counts[section, name]
        if self.skipped:
            result["skipped"] = self.skipped
        self.__init__()
        return result

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes."""
        return {
            "sums": [(*key, value) for key, value in self.sums.items()],
            "counts": [(*key, count) for key, count in self.counts.items()],
            "weights": dict(self.weights),
            "skipped": self.skipped,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` returned."""
        self.sums = {(section, name): value for section, name, value in state["sums"]}
        self.counts = defaultdict(int, {(section, name): count for section, name, count in state["counts"]})
        self.weights, self.skipped = dict(state["weights"]), state["skipped"]
