"""What a model said of some rows, and how what it said of several batches becomes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from disentangle.model import Variables
from disentangle.variables import Masked, Rows

__all__ = ["Seen", "join"]


@dataclass(frozen=True)
class Seen:
    """The variables of some rows, `{name: (N, d)}`, which rows have them, and their losses, one term a row.

    Penalties and logarithms of losses are functions of *all* rows of a batch, wherever these were computed: in pieces, or by
    several processes. So what is differentiated is a scalar of joined leaves, and the model afterwards, piece by piece, with
    the gradients that the leaves got.
    """

    variables: Variables
    present: Mapping[str, Tensor] | None
    losses: Mapping[str, Rows]

    def __len__(self) -> int:
        return len(_first(next(iter(self.variables.values()))))

    def detach(self) -> Seen:
        """The same outside the graph."""
        return Seen(
            {name: variable.detach() for name, variable in self.variables.items()},
            self.present,
            {name: Rows(*(t.detach() for t in rows)) for name, rows in self.losses.items()},
        )

    def leaf(self, of_graph: bool) -> Seen:
        """The same, outside the graph and a leaf of the next one: where `self` has a gradient, or, if it was computed
        without a graph, wherever it can have one."""
        leaf = self.detach()
        for ours, new in zip(self.differentiable(), leaf.differentiable(), strict=True):
            new.requires_grad_(ours.requires_grad if of_graph else new.is_floating_point())
        return leaf

    def differentiable(self) -> list[Tensor]:
        """The tensors through which a gradient can come back: values of variables and of losses."""
        variables = [v.values if isinstance(v, Masked) else v for v in self.variables.values()]
        return variables + [rows.values for rows in self.losses.values()]


def join(pieces: Sequence[Seen]) -> Seen:
    """Several pieces as one, in their order. A loss that a piece lacks has no rows there; a presence, all.

    Raises:
        ValueError: If there is no piece, or if they have other variables.

    Example:
        >>> piece = Seen({"x": torch.ones(2, 3)}, {"x": torch.tensor([True, False])}, {})
        >>> other = Seen({"x": torch.zeros(1, 3)}, None, {"Y": Rows(torch.ones(1), torch.ones(1))})
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
    return Seen(
        {name: _cat([piece.variables[name] for piece in pieces]) for name in names},
        {name: torch.cat([_mask(piece, name) for piece in pieces]) for name in sorted(present)} if present else None,
        {name: Rows(*(torch.cat(parts) for parts in zip(*rows, strict=True))) for name, rows in losses.items()},
    )


def _mask(piece: Seen, name: str) -> Tensor:
    mask = None if piece.present is None else piece.present.get(name)
    rows = len(_first(piece.variables[name])) if name in piece.variables else len(piece)
    return torch.ones(rows, dtype=torch.bool) if mask is None else mask.cpu()


def _cat(variables: Sequence[Tensor | Masked]) -> Tensor | Masked:
    if not any(isinstance(variable, Masked) for variable in variables):
        return torch.cat([variable for variable in variables if isinstance(variable, Tensor)])
    sequences = [variable for variable in variables if isinstance(variable, Masked)]
    steps = max(each.mask.shape[1] for each in sequences)
    return Masked(
        torch.cat([_lengthen(each.values, steps) for each in sequences]),
        torch.cat([_lengthen(each.mask, steps) for each in sequences]),
    )


def _lengthen(t: Tensor, steps: int) -> Tensor:
    return pad(t, (0, 0) * (t.dim() - 2) + (0, steps - t.shape[1]))


def _first(variable: Tensor | Masked) -> Tensor:
    return variable.mask if isinstance(variable, Masked) else variable
