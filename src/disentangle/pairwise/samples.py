"""The rows of a batch that a group of variables has in common."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from disentangle.variables import Masked

__all__ = ["Sample", "samples_of"]


class Sample(NamedTuple):
    """The variables of a group of names, which rows all of them have, and how many these are, `n`.

    `rows` is `(N,)` bool, on the CPU, or `None` where every row counts.
    """

    variables: tuple[Tensor | Masked, ...]
    rows: Tensor | None
    n: int

    @property
    def enough(self) -> bool:
        """Whether there are two rows to tell apart."""
        return self.n >= 2

    def selected(self) -> tuple[Tensor | Masked, ...]:
        """The variables over the rows that count."""
        if self.rows is None:
            return self.variables
        index = self.rows.nonzero().squeeze(1).to(_first(self.variables[0]).device, non_blocking=True)
        return tuple(v.select(index) if isinstance(v, Masked) else v.index_select(0, index) for v in self.variables)


def samples_of(
    groups: Mapping[str, tuple[str, ...]],
    variables: Mapping[str, Tensor | Masked],
    present: Mapping[str, Tensor] | None,
) -> dict[str, Sample]:
    """The sample of each group of names, `{key: names}`.

    Raises:
        ValueError: If a variable is missing, or if they differ in their number of rows.
    """
    needed = {name for names in groups.values() for name in names}
    if missing := needed - variables.keys():
        raise ValueError(f"expected variables named {sorted(needed)}, got {sorted(variables)}: no {sorted(missing)}")
    counts = {name: _first(variables[name]).shape[0] for name in needed}
    if len(set(counts.values())) > 1:
        raise ValueError(f"expected variables with the same number of rows, got {dict(sorted(counts.items()))}")
    n = next(iter(counts.values()))
    masks = {name: present[name].cpu() for name in needed if present and name in present}
    gaps = {name: mask for name, mask in masks.items() if not mask.all()}
    samples = {}
    for key, names in groups.items():
        rows = (
            reduce(torch.logical_and, [gaps[name] for name in names if name in gaps]) if gaps.keys() & names else None
        )
        samples[key] = Sample(tuple([variables[name] for name in names]), rows, n if rows is None else int(rows.sum()))
    return samples


def _first(variable: Tensor | Masked) -> Tensor:
    return variable.mask if isinstance(variable, Masked) else variable
