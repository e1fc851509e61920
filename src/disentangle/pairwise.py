"""Which variables must not tell about one another: a dependence for each pair of names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from disentangle.dependence import Dependence
from disentangle.variables import Masked

__all__ = ["Pairwise"]


class Pairwise(nn.Module):
    """A dependence for each named pair `(x, y)` of variables, evaluated over the rows where both are present.

    The order inside a pair matters to an estimator: `(x, y)` means that it models q(y|x). Values are named
    `label(x;y)`, for example `CLUB(L;S)`.

    Where `present` is given, a row counts for a pair only if both variables are present in it, and a pair with fewer than
    two such rows is left out of the result. What an absent row holds, be it NaN, changes nothing. Keep `present` on the
    CPU, as `disentangle.data` does: which rows are used is decided on the host, and reading the answer back from a GPU
    would stall it.

    Arguments:
        dependences: The dependence for each pair of names, `{(x, y): dependence}`.

    Raises:
        ValueError: If there is no pair, if a name is empty or holds one of `. ; ( )`, or on a call with a variable missing
            or variables of differing numbers of rows.

    Example:
        >>> from disentangle import CLUBEstimator
        >>> pairs = Pairwise({("L", "S"): CLUBEstimator(4, 4), ("A", "S"): CLUBEstimator(4, 4)})
        >>> variables = {name: torch.randn(8, 4) for name in "LAS"}
        >>> list(pairs(variables))
        ['CLUB(L;S)', 'CLUB(A;S)']
        >>> list(pairs(variables, present={"A": torch.zeros(8, dtype=torch.bool)}))
        ['CLUB(L;S)']
    """

    def __init__(self, dependences: Mapping[tuple[str, str], Dependence]):
        super().__init__()
        if not dependences:
            raise ValueError("expected at least one pair of variables, got none")
        for name in (name for pair in dependences for name in pair):
            if not name or set(name) & set(".;()"):
                raise ValueError(f"expected a variable's name without any of '. ; ( )', got {name!r}")
        self.pairs = list(dependences)
        self.dependences = nn.ModuleDict({f"{x};{y}": dependence for (x, y), dependence in dependences.items()})

    @property
    def learns(self) -> bool:
        """Whether any of the dependences has parameters."""
        return next(self.parameters(), None) is not None

    def forward(
        self, variables: Mapping[str, Tensor | Masked], present: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """The value of each pair, `{"CLUB(x;y)": ()}`, from variables `(N, d)` and presences `(N,)` bool."""
        return {
            f"{dependence.label}({x};{y})": dependence(x_rows, y_rows)
            for x, y, dependence, x_rows, y_rows in self._selected(variables, present)
        }

    def learning_loss(
        self, variables: Mapping[str, Tensor | Masked], present: Mapping[str, Tensor] | None = None
    ) -> Tensor | None:
        """The sum of the learning losses of all pairs, `()`, eq. 22; `None` where no pair has anything to learn from."""
        losses = [
            dependence.learning_loss(x_rows, y_rows)
            for _, _, dependence, x_rows, y_rows in self._selected(variables, present)
            if next(dependence.parameters(), None) is not None
        ]
        return torch.stack(losses).sum() if losses else None

    def _selected(
        self, variables: Mapping[str, Tensor | Masked], present: Mapping[str, Tensor] | None
    ) -> Iterator[tuple[str, str, Any, Any, Any]]:
        """Each pair of names with its dependence and the rows that both variables have."""
        needed = {name for pair in self.pairs for name in pair}
        if missing := needed - variables.keys():
            raise ValueError(
                f"expected variables named {sorted(needed)}, got {sorted(variables)}: no {sorted(missing)}"
            )
        counts = {name: _rows(variables[name]) for name in sorted(needed)}
        if len(set(counts.values())) > 1:
            raise ValueError(f"expected variables with the same number of rows, got {counts}")
        n = next(iter(counts.values()))
        everywhere = torch.ones(n, dtype=torch.bool)
        for (x, y), dependence in zip(self.pairs, self.dependences.values(), strict=True):
            x_rows, y_rows, rows = variables[x], variables[y], n
            if present is not None:
                both = present.get(x, everywhere).cpu() & present.get(y, everywhere).cpu()
                index = both.nonzero().squeeze(1)
                rows = len(index)
                if rows < n:
                    index = index.to(_device(x_rows), non_blocking=True)
                    x_rows, y_rows = _select(x_rows, index), _select(y_rows, index)
            if rows >= 2:
                yield x, y, dependence, x_rows, y_rows


def _rows(variable: Tensor | Masked) -> int:
    return variable.mask.shape[0] if isinstance(variable, Masked) else variable.shape[0]


def _select(variable: Tensor | Masked, rows: Tensor) -> Any:
    return variable.select(rows) if isinstance(variable, Masked) else variable.index_select(0, rows)


def _device(variable: Tensor | Masked) -> torch.device:
    return variable.mask.device if isinstance(variable, Masked) else variable.device
