"""What a training was started with, and what is to be said where it goes on with something else."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from disentangle.errors import RunError

__all__ = ["freeze_as", "frozen_names", "give_values", "heed_settings", "settings_of"]

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
    order |= {
        name: value for name in ("batch_size", "drop_last") if (value := getattr(batches, name, None)) is not None
    }
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


def give_values(parameters: Sequence[nn.Parameter], saved: Sequence[Tensor], folder: Path) -> None:
    """Gives parameters the values that were saved; raises `RunError` where these are of others.

    A run of a version that saved none keeps what it is given.
    """
    wanted, got = ([tuple(each.shape) for each in these] for these in (saved, parameters))
    if saved and wanted != got:
        raise RunError(f"{folder}: expected an optimiser of parameters {wanted} beside the model's, got {got}")
    with torch.no_grad():
        for parameter, value in zip(parameters, saved, strict=False):
            parameter.copy_(value)


def frozen_names(model: nn.Module) -> list[str]:
    """The names of the parameters that do not learn."""
    return [name for name, parameter in model.named_parameters() if not parameter.requires_grad]


def freeze_as(saved: Sequence[str] | None, model: nn.Module, folder: Path) -> None:
    """Freezes the parameters that were frozen, and no others; warns where the model was given otherwise."""
    given = frozen_names(model)
    if saved is None or list(saved) == given:
        return
    of_each = (f"{len(names)} ({', '.join(names[:4])})" if names else "none" for names in (saved, given))
    warnings.warn(
        "{}: goes on with the parameters frozen that were: expected {}, got {}".format(folder, *of_each),
        stacklevel=6,  # where the user called fit
    )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in saved)


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
