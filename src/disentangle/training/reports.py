"""What is said of the training: the record of a step, means of many, which report was the best, and the progress bar."""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from disentangle.numbers_as_text import or_dash
from disentangle.training.guards import refuse_other_than_counts
from disentangle.variables import Rows

__all__ = ["Means", "Monitor", "ProgressBar", "StepRecord", "flat", "loggable", "summary"]


class StepRecord(NamedTuple):
    """What a step computed, outside the graph and on the model's device. Reading it waits for the device; keeping it does not.

    `penalties` are named as the objective got them, and so are `weights`, where the penalty has a `Dial`. `nonfinite` names
    what was NaN or infinite in a step that was left out; it is empty for a step that was taken. `held_out` is the estimators'
    log-likelihood of the batch before their first step on it, `likelihood` that of the last one; `lag` is near 1 where they
    lag behind the latents, and near 0 where they keep up, see `disentangle.training.lag`.
    """

    objective: Tensor | None
    losses: dict[str, Rows]
    penalties: dict[str, Any]
    rms: dict[str, Tensor]
    likelihood: Tensor | None
    nonfinite: tuple[str, ...] = ()
    weights: Mapping[str, Any] = {}
    held_out: Tensor | None = None
    lag: Tensor | None = None


class Means:
    """Means since they were last read: of losses over rows, of everything else over steps. They stay on the device until then.

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
        """Adds the record of a step; one that was left out is only counted."""
        if record.nonfinite:
            self.skipped += 1
            return
        scalars = {name: getattr(record, name) for name in ("objective", "held_out", "likelihood", "lag")}
        sections = {
            "": scalars,
            "penalties": flat(record.penalties),
            "weights": flat(record.weights),
            "rms": record.rms,
        }
        for section, values in sections.items():
            for name, value in values.items():
                if value is not None:
                    self._add((section, name), value)
        for name, rows in record.losses.items():
            total = rows.total()
            weight = torch.where(rows.weights > 0, rows.weights, 0).sum(dtype=total.dtype)  # those of `Rows.total`
            self.weights[name] = self.weights[name] + weight if name in self.weights else weight
            self._add(("losses", name), total)

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
                (result.setdefault(section, {}) if section else result)[name] = (
                    value.item() / self.counts[section, name]
                )
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


class Monitor:
    """Follows a metric: which evaluation was the best, and whether patience has run out.

    Arguments:
        metric: Its name; `None` follows nothing.
        mode: Whether the best is the smallest or the largest.
        patience: After how many evaluations in a row without a new best `exhausted` is true; `None`: never.

    Raises:
        ValueError: If the mode or the patience is out of range; on a call, if the metric was not evaluated.

    Example:
        >>> monitor = Monitor("mae", "min", patience=2)
        >>> [monitor.improves({"mae": value}) for value in (3.0, 1.0, None, 2.0)], monitor.best, monitor.exhausted
        ([True, True, False, False], 1.0, True)
    """

    def __init__(self, metric: str | None, mode: Literal["min", "max"] = "min", patience: int | None = None):
        if mode not in ("min", "max"):
            raise ValueError(f"expected mode 'min' or 'max', got {mode!r}")
        refuse_other_than_counts(patience=patience)
        if patience is not None and metric is None:
            raise ValueError("expected a metric to monitor, which patience is about, got none")
        self.metric, self.mode, self.patience = metric, mode, patience
        self.best: float | None = None
        self.stale = 0

    def improves(self, metrics: Mapping[str, float | None]) -> bool:
        """Whether these metrics are the best so far; `None` never is, nor what is not finite."""
        if self.metric is None:
            return False
        if self.metric not in metrics:
            raise ValueError(f"expected the metric {self.metric!r} among those evaluated, got {sorted(metrics)}")
        value = metrics[self.metric]
        score = float(value) if value is not None and math.isfinite(value) else None
        better = score is not None and (
            self.best is None or (score < self.best if self.mode == "min" else score > self.best)
        )
        self.best, self.stale = (score, 0) if better else (self.best, self.stale + 1)
        return better

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out: too many evaluations in a row without a new best."""
        return self.patience is not None and self.stale >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes."""
        return {
            "best": self.best,
            "stale": self.stale,
            "metric": self.metric,
            "mode": self.mode,
            "exhausted": self.exhausted,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` returned; raises `ValueError` for that of another metric."""
        saved = state.get("metric", self.metric), state.get("mode", self.mode)
        if saved != (self.metric, self.mode):
            raise ValueError(f"expected the metric {saved[0]} ({saved[1]}) as before, got {self.metric} ({self.mode})")
        self.best, self.stale = state["best"], state["stale"]


class ProgressBar:
    """A progress bar on a terminal and in a notebook; in a log file, a line per report.

    Arguments:
        total: How many steps there are.
        done: How many of them are already done.
        shown: Whether to show anything.
    """

    def __init__(self, total: int, done: int = 0, *, shown: bool = True):
        from tqdm.auto import tqdm

        self.total, self.done = total, done
        watched = sys.stderr.isatty() or "ipykernel" in sys.modules
        self.lines = shown and not watched
        self.bar: Any = tqdm(
            total=total,
            initial=done,
            unit="step",
            disable=not (shown and watched),
            dynamic_ncols=True,
            mininterval=0.5,
        )

    def update(self) -> None:
        """Counts one more step."""
        self.done += 1
        self.bar.update()

    def report(self, text: str) -> None:
        """Shows a report."""
        self.bar.set_postfix_str(text, refresh=False)
        if self.lines:
            sys.stderr.write(f"step {self.done}/{self.total}, {text}\n")
            sys.stderr.flush()

    def close(self) -> None:
        """Closes the bar."""
        self.bar.close()


def summary(report: Mapping[str, Any], monitor: Monitor) -> str:
    """A report in a few words.

    Example:
        >>> summary({"epoch": 2, "objective": 0.25, "skipped": 1}, Monitor(None))
        'epoch 2, objective 0.250, 1 steps skipped'
    """
    parts = [f"epoch {report['epoch']}"]
    if (metric := monitor.metric) is not None:
        parts += [f"valid {metric} {or_dash(report['valid'][metric])}", f"best {or_dash(monitor.best)}"]
    elif (objective := report.get("objective")) is not None:
        parts.append(f"objective {or_dash(objective)}")
    if skipped := report.get("skipped"):
        parts.append(f"{skipped} steps skipped")
    if report.get("lags"):
        parts.append(f"estimators lag ({or_dash(report['lag'])})")
    return ", ".join(parts)


def flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without nesting.

    Example:
        >>> flat({"step": 8, "valid": {"mae": 0.5}})
        {'step': 8, 'valid/mae': 0.5}
    """
    result: dict[str, Any] = {}
    for key, value in record.items():
        result |= (
            {f"{key}/{name}": each for name, each in flat(value).items()}
            if isinstance(value, Mapping)
            else {key: value}
        )
    return result


def loggable(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as trackers take it: without nesting, numbers and text alone."""
    return {name: value for name, value in flat(record).items() if isinstance(value, bool | int | float | str)}
