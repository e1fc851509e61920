"""A finished model on batches: its variables and its predictions for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from disentangle.variables import Masked, tensors_of

__all__ = ["encode", "evaluating", "predict"]


def encode(model: nn.Module, batches: Iterable[Any], *, progress: bool = False) -> dict[str, Tensor]:
    """Encodes all batches: their variables, one batch after the other, on the CPU.

    The model runs in evaluation mode and without gradients, and is left as it was. A variable in half precision becomes
    float32; sequences (`Masked`) and names that begin with `_` are left out. Of a row that lacks a variable, the result holds
    whatever the model made.

    Arguments:
        model: A model whose call maps a batch to its variables, `{name: (N, ...)}`.
        batches: The batches, for example a `DataLoader`; each is moved to the model's device.
        progress: Whether to show a progress bar.

    Returns:
        The variables by name, each `(all rows, ...)`.

    Raises:
        ValueError: If there is no batch, if batches differ in their variables, or if a variable has no rows.

    Example:
        >>> class Halves(nn.Module):
        ...     def forward(self, batch):
        ...         return {"a": batch[:, :2], "b": batch[:, 2:]}
        >>> {name: value.shape for name, value in encode(Halves(), torch.randn(10, 6).split(4)).items()}
        {'a': torch.Size([10, 2]), 'b': torch.Size([10, 4])}
    """

    def read(variables: Mapping[str, Tensor | Masked]) -> dict[str, Tensor]:
        return tensors_of({name: value for name, value in variables.items() if name[:1] != "_"})

    return _run(model, read, batches, progress)


def predict(model: nn.Module, batches: Iterable[Any], *, progress: bool = False) -> Tensor:
    """Predicts for all batches, one after the other; the predictions are on the CPU. The model runs as in `encode`.

    Arguments:
        model: A model as for `encode` that also has a method `predict`, which maps the variables of a batch to its
            predictions, `(N, ...)`.
        batches: The batches, for example a `DataLoader`; each is moved to the model's device.
        progress: Whether to show a progress bar.

    Returns:
        The predictions, `(all rows, ...)`.

    Raises:
        ValueError: If there is no batch, or a prediction has no rows.

    Example:
        >>> class Sum(nn.Module):
        ...     def forward(self, batch):
        ...         return {"x": batch}
        ...     def predict(self, variables):
        ...         return variables["x"].sum(1)
        >>> predict(Sum(), torch.ones(5, 3).split(2))
        tensor([3., 3., 3., 3., 3.])
    """
    from accelerate.utils import extract_model_from_parallel

    head: Any = extract_model_from_parallel(model).predict
    return _run(model, lambda variables: {"prediction": head(variables)}, batches, progress)["prediction"]


@torch.no_grad()
def _run(
    model: nn.Module, read: Callable[[Any], dict[str, Tensor]], batches: Iterable[Any], progress: bool
) -> dict[str, Tensor]:
    """What `read` takes from the variables of each batch, concatenated."""
    from accelerate.utils import extract_model_from_parallel, send_to_device
    from tqdm.auto import tqdm

    module: Any = extract_model_from_parallel(model)  # a distributed one would wait for the other processes
    device = next(chain(module.parameters(), module.buffers()), torch.empty(0)).device
    parts: list[dict[str, Tensor]] = []
    with evaluating(module):
        for batch in tqdm(batches, disable=not progress, unit="batch"):
            values = read(module(send_to_device(batch, device)))
            if parts and values.keys() != parts[0].keys():
                wanted, given = (", ".join(names) or "none" for names in (parts[0], values))
                raise ValueError(f"expected the variables {wanted} of every batch, got {given} of batch {len(parts)}")
            parts.append({name: _on_host(name, value) for name, value in values.items()})
    if not parts:
        raise ValueError("expected at least one batch, got none (a generator can be read only once)")
    return {name: torch.cat([values[name] for values in parts]) for name in parts[0]}


def _on_host(name: str, value: Tensor) -> Tensor:
    if not value.dim():
        raise ValueError(f"expected {name!r} to be of shape (N, ...), got a scalar")
    dtype = torch.promote_types(value.dtype, torch.float32) if value.is_floating_point() else value.dtype
    return value.to("cpu", dtype)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within the block, `model` is in evaluation mode; afterwards each of its modules is in the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, mode in modes:
            module.training = mode
