"""Which variables must not tell about one another: a dependence for each group of names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from disentangle.dependence import Dependence
from disentangle.errors import TooFewRowsError
from disentangle.pairwise.dependences import Dependences
from disentangle.pairwise.samples import Sample, named, refuse_too_few, samples_of
from disentangle.variables import Masked

__all__ = ["Pairwise"]


class Pairwise(nn.Module):
    """A dependence for each named pair `(x, y)` of variables, evaluated over the rows where both are present.

    The order inside a pair matters to an estimator: `(x, y)` means that it models q(y|x). Values are named
    `label(x;y)`, for example `CLUB(L;S)`. A dependence of more than two variables takes as many names, `(x, y, z)`.

    Where `present` is given, a row counts for a pair only if both variables are present in it, and a pair with fewer than
    two such rows, or with fewer than its dependence needs, is left out of the result. Where no row lacks a variable, so few
    rows are refused: make the loader with `drop_last=True`. The variables of a group have one
    number of rows, those of different groups may differ, as utterances and their `frames` do. What an absent row holds, be
    it NaN, changes no value; its gradient is 0, which an encoder that was given NaN makes NaN of: give it something finite
    there. Keep `present` on the CPU, as `disentangle.data` does: which rows are used is decided on the host, and reading the
    answer back from a GPU would stall it.

    **Many estimators at the cost of few.** `CLUBEstimator`s that differ in nothing but the size of x run as one batched
    network with a few large parameters; all others run one after another. Values, gradients and state dicts are those of
    single estimators. `dependences["L;S"]` is the estimator that was given, as a view: its parameters show what the network
    has learnt and may be written to, but the gradients belong to the network. So make the optimiser from the parameters of
    the `Pairwise`, and fused: `torch.optim.Adam(pairs.parameters(), 1e-3, fused=True)`. Freeze or change an estimator before
    the `Pairwise` is made of it; afterwards it is refused. In a batch that leaves a pair out, its gradient is zero where a
    single estimator would have none: the momentum of Adam moves it on.

    Arguments:
        dependences: The dependence for each pair of names, `{(x, y): dependence}`.

    Raises:
        ValueError: If there is no pair, if a key is not a tuple of two different names or more, or of as many as its dependence
            takes variables, if a name is empty or holds one of `. ; ( )`, or on a call with a variable missing, variables of a
            group with differing numbers of rows, or variables that a dependence refuses, with the name of the group.
        TooFewRowsError: On a call with fewer than two rows, or fewer than a dependence needs, where none lacks a variable.
        TypeError: If a value is no `Dependence`, or on a call with variables not by name, or one that is no tensor.

    Example:
        >>> from disentangle import CLUBEstimator
        >>> pairs = Pairwise({(x, "S"): CLUBEstimator(4, 4) for x in "LA"})
        >>> variables = {name: torch.randn(8, 4) for name in "LAS"}
        >>> list(pairs(variables))
        ['CLUB(L;S)', 'CLUB(A;S)']
        >>> list(pairs(variables, present={"A": torch.zeros(8, dtype=torch.bool)}))
        ['CLUB(L;S)']
        >>> list(pairs.state_dict())[0]
        'dependences.L;S.conditional.network.0.weight'
    """

    def __init__(self, dependences: Mapping[tuple[str, ...], Dependence]):
        super().__init__()
        _refuse_other(dependences)
        self.pairs = list(dependences)
        self.groups = {";".join(names): names for names in dependences}
        self.dependences = Dependences(dict(zip(self.groups, dependences.values(), strict=True)))
        self.labels = {name: f"{dependence.label}({name})" for name, dependence in self.dependences.items()}

    @property
    def learns(self) -> bool:
        """Whether any of the dependences has parameters."""
        return next(self.parameters(), None) is not None

    def forward(
        self, variables: Mapping[str, Tensor | Masked], present: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """The value of each pair, `{"CLUB(x;y)": ()}`, from variables `(N, d)` or `(N,)` and presences `(N,)` bool."""
        samples = self._samples(variables, present)
        values: dict[str, Tensor] = {}
        for stack in self.dependences.stacks:
            values |= stack(samples)
        for name, dependence in self.dependences.alone().items():
            if (value := _over(samples[name], name, dependence)) is not None:
                values[name] = value
        return {label: values[name] for name, label in self.labels.items() if name in values}

    def learning_loss(
        self, variables: Mapping[str, Tensor | Masked], present: Mapping[str, Tensor] | None = None
    ) -> Tensor | None:
        """The sum of the learning losses of all pairs, `()`, eq. 22; `None` where no pair has anything to learn from."""
        samples = self._samples(variables, present)
        losses = [stack.learning_loss(samples) for stack in self.dependences.stacks if stack.learns_from(samples)]
        for name, dependence in self.dependences.alone().items():
            if next(dependence.parameters(), None) is not None:
                loss = _over(samples[name], name, dependence.learning_loss)
                losses += [] if loss is None else [loss]
        return reduce(torch.add, losses) if losses else None

    def _samples(
        self, variables: Mapping[str, Tensor | Masked], present: Mapping[str, Tensor] | None
    ) -> dict[str, Sample]:
        samples = samples_of(self.groups, variables, present)
        refuse_too_few(samples)
        return samples


def _refuse_other(dependences: Any) -> None:
    """Refuses what is no dependence for each tuple of names."""
    if not isinstance(dependences, Mapping):
        given = type(dependences).__name__
        raise TypeError(f'expected a dependence for each pair of names, {{("x", "y"): HSIC()}}, got a {given}')
    if not dependences:
        raise ValueError("expected at least one pair of variables, got none")
    for names, dependence in dependences.items():
        if not isinstance(names, tuple) or len(names) < 2 or not all(isinstance(name, str) for name in names):
            raise ValueError(f"expected a tuple of two names or more, got {names!r}")
        for name in names:
            if not name or set(name) & set(".;()"):
                raise ValueError(f"expected a variable's name without any of '. ; ( )', got {name!r}")
        if len(set(names)) < len(names):
            raise ValueError(f"expected names that differ, got {names!r}: a variable depends on itself")
        if not isinstance(dependence, Dependence):
            name = getattr(dependence, "__name__", "")
            given = f"the class {name}: {name}(...) makes one" if name else f"a {type(dependence).__name__}"
            raise TypeError(f"{';'.join(names)}: expected a Dependence, got {given}")
        if dependence.variables not in (len(names), None):
            raise ValueError(
                f"{';'.join(names)}: expected {dependence.variables} names, as many as a {type(dependence).__name__} takes "
                f"variables, got {len(names)}"
            )


def _over(sample: Sample, name: str, call: Callable[..., Tensor]) -> Tensor | None:
    """What `call` makes of the rows that count; `None` where these are too few since a variable is missing in the others."""
    if not sample.enough:
        return None
    try:
        with named(name):
            return call(*sample.selected())
    except TooFewRowsError:
        if sample.rows is not None:
            return None
        raise
