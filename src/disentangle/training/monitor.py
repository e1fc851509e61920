"""Which evaluation was the best, and whether there is still hope for a better one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

__all__ = ["Monitor"]


class Monitor:
    """Follows a metric.

    Arguments:
        metric: Its name; `None` follows nothing.
        mode: Whether the best is the smallest or the largest.
        patience: After how many evaluations in a row without a new best `exhausted` is true; `None`: never.

    Raises:
        ValueError: If the mode or the patience is none, and when a metric is not among those that were evaluated.

    Example:
        >>> monitor = Monitor("mae", "min", patience=2)
        >>> [monitor.improves({"mae": value}) for value in (3.0, 1.0, None, 2.0)], monitor.best, monitor.exhausted
        ([True, True, False, False], 1.0, True)
    """

    def __init__(self, metric: str | None, mode: Literal["min", "max"] = "min", patience: int | None = None):
        if mode not in ("min", "max"):
            raise ValueError(f"expected mode 'min' or 'max', got {mode!r}")
        if patience is not None and patience < 1:
            raise ValueError(f"expected a patience of at least 1, got {patience}")
        if patience is not None and metric is None:
            raise ValueError("expected a metric to monitor, which patience is about, got none")
        self.metric, self.mode, self.patience = metric, mode, patience
        self.best: float | None = None
        self.stale = 0

    def improves(self, metrics: Mapping[str, float | None]) -> bool:
        """Whether these metrics are the best so far; `None` never is."""
        if self.metric is None:
            return False
        if self.metric not in metrics:
            raise ValueError(f"expected the metric {self.metric!r} among those evaluated, got {sorted(metrics)}")
        value = metrics[self.metric]
        score = None if value is None else float(value)
        better = score is not None and (
            self.best is None or (score < self.best if self.mode == "min" else score > self.best)
        )
        self.best, self.stale = (score, 0) if better else (self.best, self.stale + 1)
        return better

    @property
    def exhausted(self) -> bool:
        """Whether there have been too many evaluations without a new best."""
        return self.patience is not None and self.stale >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes."""
        return {"best": self.best, "stale": self.stale}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` returned."""
        self.best, self.stale = state["best"], state["stale"]
