"""The dependences of a `Pairwise` by name; the ones of one shape are stacked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from disentangle.dependence import Dependence
from disentangle.pairwise.stacked import StackedCLUB, stackable

__all__ = ["Dependences"]


class Dependences(nn.Module):
    """Dependences by name. Those of one shape own their parameters together, in `stacks`; the others are submodules.

    It reads like a mapping of single dependences, and its state dict has the names of the single ones, whatever is stacked.
    """

    stacks: Any  # of StackedCLUB

    def __init__(self, dependences: Mapping[str, Dependence]):
        super().__init__()
        self.names = list(dependences)
        self.stacks = nn.ModuleList(StackedCLUB(members) for members in stackable(dependences))
        stacked = {name for stack in self.stacks for name in stack.members}
        for name, dependence in dependences.items():
            if name not in stacked:
                self.add_module(name, dependence)
        self.register_state_dict_post_hook(_split)
        self.register_load_state_dict_pre_hook(_join)

    def alone(self) -> dict[str, Any]:
        """The dependences that are in no stack."""
        return {name: self._modules[name] for name in self.names if name in self._modules}

    def stacked(self) -> dict[str, Any]:
        """The dependences that are in stacks, whose parameters need not be views of these."""
        return {name: member for stack in self.stacks for name, member in stack.members.items()}

    def __getitem__(self, name: str) -> Any:
        return self._single()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def keys(self) -> list[str]:
        """The names, in the order given."""
        return list(self.names)

    def values(self) -> list[Any]:
        """The single dependences, in the order given."""
        return list(self._single().values())

    def items(self) -> list[tuple[str, Any]]:
        """Names and single dependences, in the order given."""
        return list(self._single().items())

    def _single(self) -> dict[str, Any]:
        found = self.alone()
        for stack in self.stacks:
            found |= stack.shared()
        return {name: found[name] for name in self.names}


def _split(module: Dependences, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any]) -> None:
    """Replaces the parameters of the stacks by the ones of the single estimators (for a state dict)."""
    for key in [key for key in state_dict if key.startswith(f"{prefix}stacks.")]:
        del state_dict[key]
    for stack in module.stacks:
        for name, member in stack.shared().items():
            for key, value in member.state_dict(prefix=f"{prefix}{name}.").items():
                state_dict[key] = value.clone(memory_format=torch.contiguous_format)


def _join(
    module: Dependences,
    state_dict: dict[str, Any],
    prefix: str,
    local_metadata: dict[str, Any],
    strict: bool,
    missing_keys: list[str],
    unexpected_keys: list[str],
    error_msgs: list[str],
) -> None:
    """Loads the single estimators of the stacks, which writes into the stacks."""
    for stack in module.stacks:
        if local_metadata.get("assign_to_params_buffers") and stack.last.weight.is_meta:
            device = next((t.device for key, t in state_dict.items() if key.startswith(prefix)), torch.device("cpu"))
            for part in (stack, *stack.members.values()):  # gives them room, which assigning to each would not share
                part.to_empty(device=device)
        for name, member in stack.shared().items():
            start = f"{prefix}{name}."
            own = {key.removeprefix(start): state_dict.pop(key) for key in [*state_dict] if key.startswith(start)}
            try:
                found = member.load_state_dict(own, strict=False)
            except RuntimeError as error:  # of a wrong size
                error_msgs.append(f"{start[:-1]}: {error}")
            else:
                missing_keys.extend(start + key for key in found.missing_keys)
                unexpected_keys.extend(start + key for key in found.unexpected_keys)
    # The stacks have now been read; they shall not be missed.
    state_dict.update(module.stacks.state_dict(prefix=f"{prefix}stacks.", keep_vars=True))
