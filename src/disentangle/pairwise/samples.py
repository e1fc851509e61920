"""The rows of a batch that a group of variables has in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from disentangle.errors import TooFewRowsError
from disentangle.variables import Masked, as_rows, row_count, select_rows, values_of

__all__ = ["Sample", "filled_up", "named", "presences_of", "refuse_other_presences", "refuse_too_few", "samples_of"]


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
        index = self.rows.nonzero().squeeze(1).to(values_of(self.variables[0]).device, non_blocking=True)
        return tuple(select_rows(v, index) for v in self.variables)


def variables_of(
    groups: Mapping[str, tuple[str, ...]], variables: Mapping[str, Tensor | Masked]
) -> dict[str, Tensor | Masked]:
    """The variables that the groups of names, `{key: names}`, need.

    Raises:
        TypeError: If one of them is no tensor.
        ValueError: If one of them is missing.
    """
    needed = {name for names in groups.values() for name in names}
    if missing := needed - variables.keys():
        raise ValueError(f"expected variables named {sorted(needed)}, got {sorted(variables)}: no {sorted(missing)}")
    return {name: as_rows(variables[name], name) for name in sorted(needed)}


def refuse_other_presences(variables: Mapping[str, Any], present: Mapping[str, Tensor] | None) -> None:
    """Raises `ValueError` for the presence of what is no variable, whose rows would all count as present.

    And `TypeError` where either is not given by name.
    """
    for given, what in ((variables, "variables"), ({} if present is None else present, "presences")):
        if not isinstance(given, Mapping):
            raise TypeError(f"expected {what} by name, a dictionary, got {type(given).__name__}")
    if unknown := sorted((present or {}).keys() - variables.keys()):
        raise ValueError(f"expected the presence of variables, {sorted(variables)}, got that of {', '.join(unknown)}")


def presences_of(variables: Mapping[str, Tensor | Masked], present: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """Which rows have each of the variables whose presence is given, on the CPU.

    Raises:
        TypeError: If a presence is no tensor.
        ValueError: If it is not `(N,)` bool.
    """
    given: dict[str, Any] = {name: present[name] for name in sorted(variables) if present and name in present}
    for name, mask in given.items():
        rows = row_count(variables[name])
        if not isinstance(mask, Tensor):
            raise TypeError(
                f"expected the presence of {name} as a tensor ({rows},), got {type(mask).__name__}: torch.as_tensor makes one"
            )
        if mask.shape != (rows,):
            raise ValueError(f"expected the presence of {name} as ({rows},), one per row, got {tuple(mask.shape)}")
        if mask.dtype != torch.bool:
            raise ValueError(f"expected the presence of {name} as torch.bool, got {mask.dtype}")
    return {name: mask.cpu() for name, mask in given.items()}


def samples_of(
    groups: Mapping[str, tuple[str, ...]],
    variables: Mapping[str, Tensor | Masked],
    present: Mapping[str, Tensor] | None,
) -> dict[str, Sample]:
    """The sample of each group of names, `{key: names}`.

    Raises:
        TypeError: If a variable is no tensor.
        ValueError: If a variable is missing; if those of a group, or a presence, differ in their number of rows; if a presence
            is not bool.
    """
    refuse_other_presences(variables, present)
    variables = variables_of(groups, variables)
    counts = {name: row_count(variable) for name, variable in variables.items()}
    masks = presences_of(variables, present)
    gaps = {name: mask for name, mask in masks.items() if not mask.all()}
    samples = {}
    for key, names in groups.items():
        n = counts[names[0]]
        if any(counts[name] != n for name in names):
            given = dict(sorted((name, counts[name]) for name in names))
            raise ValueError(f"expected variables with the same number of rows, got {given}")
        rows = (
            reduce(torch.logical_and, [gaps[name] for name in names if name in gaps]) if gaps.keys() & names else None
        )
        samples[key] = Sample(tuple([variables[name] for name in names]), rows, n if rows is None else int(rows.sum()))
    return samples


def filled_up(samples: Sequence[Sample]) -> list[Sample]:
    """Samples of tensors as samples of as many rows as the longest has; the rows added do not count.

    Example:
        >>> short, long = (Sample((torch.ones(n, 1), torch.ones(n, 2)), None, n) for n in (1, 3))
        >>> filled_up([short, long])[0].rows
        tensor([ True, False, False])
    """
    counts = [len(sample.variables[0]) for sample in samples]
    filled = []
    for sample, count in zip(samples, counts, strict=True):
        lacking = max(counts) - count
        if lacking:
            rows = torch.ones(count, dtype=torch.bool) if sample.rows is None else sample.rows
            longer = [pad(v, (0, 0, 0, lacking)) for v in sample.variables if isinstance(v, Tensor)]
            sample = Sample(tuple(longer), pad(rows, (0, lacking)), sample.n)
        filled.append(sample)
    return filled


def refuse_too_few(samples: Mapping[str, Sample]) -> None:
    """Raises `TooFewRowsError` for a group whose variables have all rows there are, and these are too few."""
    for key, sample in samples.items():
        if sample.rows is None and not sample.enough:
            raise TooFewRowsError(
                f"{key}: expected at least 2 rows, got {sample.n}: drop_last=True of the DataLoader, or a larger batch"
            )


@contextmanager
def named(group: str) -> Iterator[None]:
    """Puts the name of the group in front of any `ValueError` that is raised in the block.

    Example:
        >>> with named("L;S"):
        ...     raise ValueError("expected x of shape (N, 3), got (5, 2)")
        Traceback (most recent call last):
        ValueError: L;S: expected x of shape (N, 3), got (5, 2)
    """
    try:
        yield
    except ValueError as error:
        kind = TooFewRowsError if isinstance(error, TooFewRowsError) else ValueError
        raise kind(f"{group}: {error}") from error
