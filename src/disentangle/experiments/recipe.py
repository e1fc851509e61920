"""How a model is trained: rates, weight decay, warm-up and decay; as its paper says, or as did better on validation data."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from disentangle.nn import NonverbalInjection, SequenceEncoder

__all__ = ["TUNED", "adamw", "recipe_defaults", "warmup_then_decay"]

TUNED = {"lr": 1e-3, "backbone_lr": 5e-5, "weight_decay": 0.01, "epochs": 30}


def recipe_defaults(
    defaults: Mapping[str, Any], options: argparse.Namespace, tuned: Mapping[str, Any]
) -> dict[str, Any]:
    """The values of options that are not given: a paper's own, with those of the tuned recipe over them where it is asked for.

    Where the backbone starts from random weights, it learns at the rate of everything else, and so do the encoders.
    """
    if options.recipe == "paper":
        return dict(defaults)
    values = {**defaults, **tuned}
    if getattr(options, "backbone", None) == "tiny":
        for name in ("backbone_lr", "encoder_lr"):
            values.pop(name, None)
    return values


def adamw(model: nn.Module, options: argparse.Namespace, rates: Mapping[str, float] | None = None) -> Optimizer:
    """AdamW: the backbone at `--backbone-lr`, encoders at `--encoder-lr`, `rates` at their own, everything else at `--lr`.

    Encoders are each `SequenceEncoder`. A `NonverbalInjection` learns as fast as the backbone whose words it moves. With
    `--weight-decay`, matrices decay; biases and the weights of norms, which are vectors, do not.

    Without `--weight-decay` everything decays by torch's default, 0.01; without one of the rates, what it is for learns at
    `--lr`. So it is in runs of versions that had no such options.

    Arguments:
        model: The model; its backbone is each module of this name in it.
        options: The options of the run.
        rates: Rates by the beginning of the names of parameters, such as `{"fusion.factors.": 1e-3}`.

    Example:
        >>> model = nn.ModuleDict({"backbone": nn.Linear(2, 2), "head": nn.Linear(2, 1)})
        >>> options = argparse.Namespace(lr=1e-3, backbone_lr=5e-5, weight_decay=0.1)
        >>> for group in adamw(model, options).param_groups:
        ...     print(group["lr"], group["weight_decay"], [tuple(p.shape) for p in group["params"]])
        0.001 0.1 [(1, 2)]
        0.001 0.0 [(1,)]
        5e-05 0.1 [(2, 2)]
        5e-05 0.0 [(2,)]
    """
    own = dict(rates or {})
    shared = {kind: getattr(options, f"{kind}_lr", None) for kind in ("encoder", "backbone")}
    decay = getattr(options, "weight_decay", None)
    encoders, injections = _inside(model, SequenceEncoder), _inside(model, NonverbalInjection)
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        kind = next((each for each in own if name.startswith(each)), "")
        if shared["encoder"] is not None and parameter in encoders:
            kind = "encoder"
        if shared["backbone"] is not None and ("backbone" in name.split(".") or parameter in injections):
            kind = "backbone"
        groups.setdefault((kind, decay is None or parameter.ndim > 1), []).append(parameter)
    known = {"": options.lr, **own, **shared}
    kinds = [(kind, decays) for kind in known for decays in (True, False) if (kind, decays) in groups]
    usual = 0.01 if decay is None else decay
    parts = [
        {"params": groups[kind, decays], "lr": known[kind], "weight_decay": usual if decays else 0.0}
        for kind, decays in kinds
    ]
    return AdamW(parts, options.lr, fused=True)


def _inside(model: nn.Module, kind: type[nn.Module]) -> set[nn.Parameter]:
    return {p for module in model.modules() if isinstance(module, kind) for p in module.parameters()}


def warmup_then_decay(optimizer: Optimizer, steps: int) -> LRScheduler:
    """Linear warm-up over a tenth of the steps, then linear decay."""
    from transformers import get_linear_schedule_with_warmup

    return get_linear_schedule_with_warmup(optimizer, steps // 10, steps)
