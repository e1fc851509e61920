"""What a training was started with, and what is to be said where it goes on with something else."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from disentangle.errors import RunError

__all__ = ["heed_settings", "settings_of"]

ELSEWHERE = {"base_lrs", "_last_lr"}  # of a scheduler: these are its optimiser's lr
HOW = {
    "params",
    "initial_lr",
    "foreach",
    "fused",
    "capturable",
    "differentiable",
}  # of an optimiser: not what it computes


def settings_of(seed: int, accumulation: int, loader: DataLoader[Any], parts: Sequence[Any]) -> dict[str, Any]:
    """What decides the order of the data, and what optimisers and schedulers are made with.

    Arguments:
        seed: Of the trainer.
        accumulation: How many batches make a step.
        loader: The batches.
        parts: Optimisers and schedulers, before they have a checkpoint's state.
    """
    batches: Any = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
    order = {"seed": seed, "accumulation": accumulation, "sampler": type(getattr(batches, "sampler", batches)).__name__}
    with suppress(TypeError):  # it streams
        order["number of rows"] = len(loader.dataset)  # pyright: ignore[reportArgumentType]
    return {"order": order, "parts": [{"kind": _kind(part), "made_with": _made_with(part)} for part in parts]}


def heed_settings(saved: Mapping[str, Any] | None, given: Mapping[str, Any], folder: Path) -> None:
    """Compares the settings that a run was started with to those that it is to go on with.

    Raises `RunError` for another order of the data, or another kind of optimiser or scheduler, and warns where the state of one
    of these, which is loaded, overrules what it was made with. A run of a version without settings has none: `None`.
    """
    if saved is None:
        return
    pairs = list(zip(saved["parts"], given["parts"], strict=False))  # their number is looked at elsewhere
    wanted = {**saved["order"], **{f"part {i}": old["kind"] for i, (old, _) in enumerate(pairs)}}
    got = {**given["order"], **{f"part {i}": new["kind"] for i, (_, new) in enumerate(pairs)}}
    if other := [name for name in wanted if wanted[name] != got.get(name)]:
        raise RunError(
            f"{folder}: expected what it was started with, {_listed(other, wanted)}, got {_listed(other, got)}"
        )
    overruled = [
        f"{name} {values[name]} of {old['kind']}, got {others[name]}"
        for old, new in pairs
        for values, others in [(old["made_with"] or {}, new["made_with"] or {})]
        for name in values.keys() & others.keys()
        if values[name] != others[name]
    ]
    if overruled:
        warnings.warn(
            f"{folder}: goes on with the state that was saved: expected {'; '.join(sorted(overruled))}",
            stacklevel=6,  # where the user called fit
        )


def _listed(names: Sequence[str], values: Mapping[str, Any]) -> str:
    return ", ".join(f"{values[name]}" if name[:5] == "part " else f"{name} {values.get(name)}" for name in names)


def _kind(part: Any) -> str:
    return type(getattr(part, "optimizer", part) if hasattr(part, "param_groups") else part).__name__


def _made_with(part: Any) -> dict[str, Any] | None:
    """The plain values that an optimiser or a scheduler was made with; `None` where it has taken steps since."""
    if hasattr(part, "param_groups"):
        if part.state:
            return None
        several = len(part.param_groups) > 1
        values = {}
        for i, group in enumerate(part.param_groups):
            # a schedule has changed the rate already
            found = _plain({**group, "lr": group.get("initial_lr", group.get("lr"))}, HOW)
            values |= {f"{name} of group {i}" if several else name: value for name, value in found.items()}
        return values
    return _plain(part.state_dict(), ELSEWHERE) if getattr(part, "last_epoch", None) == 0 else None


def _plain(values: Mapping[Any, Any], without: set[str]) -> dict[str, Any]:
    """Numbers, words and lists of these, without nesting."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        value = value.tolist() if isinstance(value, Tensor) else list(value) if isinstance(value, tuple) else value
        if isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
            value = dict(enumerate(value))
        if name in without:
            continue
        if isinstance(value, Mapping):
            found |= {f"{name}.{key}": each for key, each in _plain(value, without).items()}
        elif isinstance(value, bool | int | float | str | list | None):
            found[name] = value
    return found
