"""Several processes that train as one process with the whole batch would, each with a share of its rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from disentangle.training.encoded import Encoded
from disentangle.variables import Masked, Rows

__all__ = ["DistributedProcesses", "SingleProcess", "all_processes"]

BUCKET = 2**24  # numbers that are summed at once: bounds the memory of the copy


class SingleProcess:
    """One process, which has the whole batch: nothing travels."""

    rank, size = 0, 1

    def exchange(self, mine: Sequence[Encoded]) -> list[Encoded]:
        """One's own pieces."""
        return list(mine)

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Nothing to add."""

    def copy_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Nothing to copy."""

    def any(self, flag: bool) -> bool:
        """The flag."""
        return flag

    def from_first(self, value: Any) -> Any:
        """The value."""
        return value


class DistributedProcesses:
    """The processes of `torch.distributed`'s default group, which must have been initialised.

    Values travel by the group's own backend; what they are, names, shapes and presences, by another one on the CPU, so that
    nothing waits for a device. Gradients are *summed*: every process differentiates the same scalar of all rows, and takes
    the gradient back through its own rows alone.
    """

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.control: Any = dist.new_group(backend="gloo")

    def exchange(self, mine: Sequence[Encoded]) -> list[Encoded]:
        """The pieces of all processes, in the order of their ranks; a process may have none."""
        flat = [_tensors(piece) for piece in mine]
        described = [
            ([(key, tuple(t.shape), t.dtype) for key, t in tensors.items()], piece.present)
            for piece, tensors in zip(mine, flat, strict=True)
        ]
        everyone: list[Any] = [None] * self.size
        dist.all_gather_object(everyone, (described, _device(flat)), group=self.control)
        received = self._gather([t for tensors in flat for t in tensors.values()], everyone)
        result: list[Encoded] = []
        for rank, (pieces, _) in enumerate(everyone):
            if rank == self.rank:
                result += mine
                continue
            values = iter(received[rank])
            result += [
                _from_tensors({key: next(values) for key, _, _ in tensors}, present) for tensors, present in pieces
            ]
        return result

    def _gather(self, mine: list[Tensor], everyone: list[Any]) -> list[list[Tensor]]:
        """The tensors of every process, from their descriptions: one message for each data type, as long as the longest."""
        layout = [[(shape, dtype) for piece, _ in pieces for _, shape, dtype in piece] for pieces, _ in everyone]
        device = mine[0].device if mine else _counterpart(everyone)
        result: list[dict[int, Tensor]] = [{} for _ in layout]
        for dtype in sorted({dtype for each in layout for _, dtype in each}, key=str):
            places = [[i for i, (_, other) in enumerate(each) if other == dtype] for each in layout]
            sizes = [
                [int(torch.Size(each[i][0]).numel()) for i in own] for each, own in zip(layout, places, strict=True)
            ]
            carried = _carried(dtype)
            message = torch.zeros(max(map(sum, sizes)), dtype=carried, device=device)
            own = [t.detach().reshape(-1).to(carried) for t in mine if t.dtype == dtype]
            if own:
                torch.cat(own, out=message[: sum(sizes[self.rank])])
            messages = [torch.empty_like(message) for _ in layout]
            dist.all_gather(messages, message)
            for rank, (each, own_places, own_sizes) in enumerate(zip(layout, places, sizes, strict=True)):
                parts = messages[rank][: sum(own_sizes)].to(dtype).split(own_sizes)
                result[rank] |= {i: part.view(each[i][0]) for i, part in zip(own_places, parts, strict=True)}
        return [[found[i] for i in range(len(found))] for found in result]

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sums the gradients, in buckets."""
        parameters = list(parameters)
        has = torch.tensor([p.grad is not None for p in parameters], dtype=torch.uint8)
        dist.all_reduce(has, dist.ReduceOp.MAX, group=self.control)
        used = [p for p, any_has in zip(parameters, has.tolist(), strict=True) if any_has]
        for parameter in used:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if parameter.grad.is_sparse:
                raise ValueError(
                    f"expected dense gradients, which {self.size} processes add up, got a sparse one of a parameter "
                    f"{tuple(parameter.shape)}: make the nn.Embedding with sparse=False"
                )
        for bucket in _buckets([p.grad for p in used if p.grad is not None]):
            total = torch.cat([gradient.reshape(-1) for gradient in bucket])
            dist.all_reduce(total)
            for gradient, part in zip(bucket, total.split([g.numel() for g in bucket]), strict=True):
                gradient.copy_(part.view_as(gradient))

    def copy_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Gives every process the values of the first one's tensors."""
        for tensor in tensors:
            message = tensor.detach().to(_carried(tensor.dtype))
            dist.broadcast(message, src=0)
            tensor.detach().copy_(message)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        flags = torch.tensor([flag], dtype=torch.uint8)
        dist.all_reduce(flags, dist.ReduceOp.MAX, group=self.control)
        return bool(flags.item())

    def from_first(self, value: Any) -> Any:
        """The first process's value, for all."""
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self.control)
        return box[0]


def all_processes() -> SingleProcess | DistributedProcesses:
    """The processes of `torch.distributed`'s default group where it has several, otherwise this one alone."""
    several = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    return _processes_of(dist.group.WORLD) if several else SingleProcess()


@lru_cache(maxsize=1)  # a group of control messages is made once
def _processes_of(group: Any) -> DistributedProcesses:
    return DistributedProcesses()


def _carried(dtype: torch.dtype) -> torch.dtype:
    """A data type that travels: not every backend sends all of them."""
    if dtype.is_floating_point or dtype.is_complex or dtype in (torch.uint8, torch.int8, torch.int32, torch.int64):
        return dtype
    return torch.uint8 if dtype == torch.bool else torch.int64


def _tensors(piece: Encoded) -> dict[tuple[str, str], Tensor]:
    flat: dict[tuple[str, str], Tensor] = {}
    for name, variable in piece.variables.items():
        if isinstance(variable, Masked):
            flat["values", name], flat["mask", name] = variable
        else:
            flat["variable", name] = variable
    for name, rows in piece.losses.items():
        flat["loss", name], flat["weight", name] = rows
    return flat


def _from_tensors(flat: dict[tuple[str, str], Tensor], present: Any) -> Encoded:
    variables: dict[str, Tensor | Masked] = {}
    for kind, name in flat:
        if kind == "variable":
            variables[name] = flat[kind, name]
        elif kind == "values":
            variables[name] = Masked(flat[kind, name], flat["mask", name])
    losses = {name: Rows(flat["loss", name], flat["weight", name]) for kind, name in flat if kind == "loss"}
    return Encoded(variables, present, losses)


def _device(flat: Sequence[dict[Any, Tensor]]) -> str | None:
    """Where a process's tensors are, as a kind of device."""
    return next((t.device.type for tensors in flat for t in tensors.values()), None)


def _counterpart(everyone: list[Any]) -> torch.device:
    """The device of a process without pieces: its own, of the kind that the others use."""
    kind = next((kind for _, kind in everyone if kind is not None), "cpu")
    return torch.device(kind, torch.cuda.current_device()) if kind == "cuda" else torch.device(kind)


def _buckets(gradients: Sequence[Tensor]) -> Iterable[list[Tensor]]:
    for _, same in groupby(gradients, key=lambda gradient: (gradient.dtype, gradient.device)):
        bucket: list[Tensor] = []
        size = 0
        for gradient in same:
            if bucket and size + gradient.numel() > BUCKET:
                yield bucket
                bucket, size = [], 0
            bucket.append(gradient)
            size += gradient.numel()
        yield bucket
