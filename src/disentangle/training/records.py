"""What a trainer writes down: where it is, and its reports in the forms that others take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Position", "moved", "plain", "short"]


@dataclass
class Position:
    """Where in the training one is: steps taken, the epoch, counted from 0, its batches that are done, reports written."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    reports: int = 0
    stopped: bool = False


def short(value: float | None) -> str:
    """A number for a line of progress."""
    return "-" if value is None else f"{value:.3f}"


def plain(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without nesting, `{"valid/mae": 0.5}`, as trackers take it."""
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}/{name}": inner for name, inner in plain(value).items()}
        elif isinstance(value, bool | int | float | str):
            flat[key] = value
    return flat


def moved(device: torch.device, value: Any) -> Any:
    """The tensors of a saved state on a device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: moved(device, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [moved(device, item) for item in value]
    return value
