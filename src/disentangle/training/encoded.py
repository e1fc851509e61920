"""A batch, or a piece of one, as the model encoded it; and pieces joined to one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from disentangle.functional.precision import at_least_float32
from disentangle.model import Variables
from disentangle.variables import Masked, Rows, concatenate, row_count, values_of, zero_in_padding

__all__ = ["Encoded", "join"]


@dataclass(frozen=True)
class Encoded:
    """The variables of some rows, `{name: (N, d)}`, which rows have them, and their losses, one term per row.

    Penalties and logarithms of losses are functions of *all* rows of a batch, but the rows may be encoded in pieces, or by
    several processes. So the step differentiates the objective with respect to leaves that hold all rows, and then takes the
    gradient of each piece's leaves back through the model.
    """

    variables: Variables
    present: Mapping[str, Tensor] | None
    losses: Mapping[str, Rows]

    def __len__(self) -> int:
        return row_count(next(iter(self.variables.values())))

    @property
    def device(self) -> torch.device:
        """Where the variables are."""
        return values_of(next(iter(self.variables.values()))).device

    def detach(self) -> Encoded:
        """The same values, outside the graph."""
        return Encoded(
            {name: variable.detach() for name, variable in self.variables.items()},
            self.present,
            {name: rows.detach() for name, rows in self.losses.items()},
        )

    def at_least_float32(self) -> Encoded:
        """Variables of less precision in float32, in the graph; classes and other whole numbers, and losses, as they are."""
        return Encoded(
            {name: _raised(variable) for name, variable in self.variables.items()}, self.present, self.losses
        )

    def single(self) -> list[str]:
        """The names of variables of fewer than two rows, in which nothing can be told apart."""
        return [name for name, variable in self.variables.items() if row_count(variable) < 2]

    def absent(self, names: Sequence[str]) -> Encoded:
        """The same, but that no row has the variables of these names."""
        if not names:
            return self
        nowhere = {name: torch.zeros(row_count(self.variables[name]), dtype=torch.bool) for name in names}
        return Encoded(self.variables, {**(self.present or {}), **nowhere}, self.losses)

    def leaf(self, of_graph: bool) -> Encoded:
        """The same values as leaves of a new graph.

        Arguments:
            of_graph: Whether `self` was computed with a graph: then a leaf takes a gradient where `self` has one. Without a
                graph, every leaf of floating-point numbers does.
        """
        leaf = self.detach()
        for ours, new in zip(self.differentiable(), leaf.differentiable(), strict=True):
            new.requires_grad_(ours.requires_grad if of_graph else new.is_floating_point())
        return leaf

    def differentiable(self) -> list[Tensor]:
        """The tensors through which gradients come back: the values of variables and of losses."""
        return [values_of(v) for v in self.variables.values()] + [rows.values for rows in self.losses.values()]

    @torch.no_grad()
    def what_counts(self) -> list[tuple[str, Tensor]]:
        """The values of variables and losses by name, with zeros in padding and in rows that do not count."""
        found = []
        for name, variable in self.variables.items():
            values = zero_in_padding(*variable) if isinstance(variable, Masked) else variable
            rows = None if self.present is None else self.present.get(name)
            found.append((name, values if rows is None else _zero_elsewhere(values, rows)))
        return found + [(name, _zero_elsewhere(rows.values, rows.weights > 0)) for name, rows in self.losses.items()]

    @torch.no_grad()
    def root_mean_squares(self) -> dict[str, Tensor]:
        """The root mean square of each variable `(N, ...)` over the rows that have it; of sequences over their real steps.

        A penalty that depends on scale, or a bound with a bounded variance, can be satisfied by shrinking a latent; this
        shows it.
        """
        result = {}
        for name, variable in self.variables.items():
            rows = None if self.present is None else self.present.get(name)
            if rows is not None and not rows.any():
                continue
            values, mask = variable if isinstance(variable, Masked) else (variable, None)
            steps = 1 if mask is None else 2
            square = at_least_float32(values).square().unsqueeze(-1).flatten(steps).mean(steps)  # classes are (N,)
            weights = torch.ones_like(square) if mask is None else mask.to(square.dtype)
            if rows is not None:
                weights = weights * rows.to(square, non_blocking=True).view(-1, *(1,) * (steps - 1))
            result[name] = Rows(square.flatten(), weights.flatten()).mean().sqrt()
        return result


def join(pieces: Sequence[Encoded]) -> Encoded:
    """The rows of all pieces, in their order.

    A piece that lacks a loss adds no rows to it; one that says nothing of where a variable is present has it in all rows.

    Raises:
        ValueError: If there are no pieces, or their variables differ.

    Example:
        >>> piece = Encoded({"x": torch.ones(2, 3)}, {"x": torch.tensor([True, False])}, {})
        >>> other = Encoded({"x": torch.zeros(1, 3)}, None, {"Y": Rows(torch.ones(1), torch.ones(1))})
        >>> whole = join([piece, other])
        >>> len(whole), whole.present["x"].tolist(), len(whole.losses["Y"].values)
        (3, [True, False, True], 1)
    """
    if not pieces:
        raise ValueError("expected a batch, got none")
    if len(pieces) == 1:
        return pieces[0]
    names = list(pieces[0].variables)
    for piece in pieces[1:]:
        if sorted(piece.variables) != sorted(names):
            raise ValueError(f"expected the same variables of every batch, got {names} and {list(piece.variables)}")
    losses: dict[str, list[Rows]] = {}
    for piece in pieces:
        for name, rows in piece.losses.items():
            losses.setdefault(name, []).append(rows)
    present = {name for piece in pieces for name in piece.present or ()}
    return Encoded(
        {name: concatenate([piece.variables[name] for piece in pieces]) for name in names},
        {name: torch.cat([_presence(piece, name) for piece in pieces]) for name in sorted(present)}
        if present
        else None,
        {name: Rows(*(torch.cat(parts) for parts in zip(*rows, strict=True))) for name, rows in losses.items()},
    )


def _zero_elsewhere(values: Tensor, rows: Tensor) -> Tensor:
    there = rows.to(values.device, non_blocking=True).view(-1, *(1,) * (values.dim() - 1))
    return torch.where(there, values, 0)


def _raised(variable: Tensor | Masked) -> Tensor | Masked:
    if isinstance(variable, Masked):
        return Masked(_raised_tensor(variable.values), variable.mask)
    return _raised_tensor(variable)


def _raised_tensor(t: Tensor) -> Tensor:
    return t.to(torch.promote_types(t.dtype, torch.float32)) if t.is_floating_point() else t


def _presence(piece: Encoded, name: str) -> Tensor:
    mask = None if piece.present is None else piece.present.get(name)
    rows = row_count(piece.variables[name]) if name in piece.variables else len(piece)
    return torch.ones(rows, dtype=torch.bool) if mask is None else mask.cpu()
