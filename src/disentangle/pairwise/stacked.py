"""CLUB estimators of one shape as one batched network: a few large operations in place of many small ones."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from disentangle import functional
from disentangle.conditionals import GaussianConditional
from disentangle.dependence import CLUBEstimator, Dependence
from disentangle.functional.precision import at_least_float32
from disentangle.pairwise.samples import Sample
from disentangle.variables import Masked

__all__ = ["StackedCLUB", "StackedLinear", "stackable"]


class StackedLinear(nn.Module):
    """Linear layers of one shape as one: `(K, N, in)` to `(K, N, out)`.

    Weights are kept as `(K, in, out)`, the layout in which their gradients arrive. The parameters of the layers it is
    made of become views of the stack's, see `share`.

    Example:
        >>> layers = [nn.Linear(3, 2), nn.Linear(3, 2)]
        >>> x = torch.randn(2, 5, 3)
        >>> torch.allclose(StackedLinear(layers)(x)[1], layers[1](x[1]), atol=1e-6)
        True
    """

    def __init__(self, layers: Sequence[nn.Linear]):
        super().__init__()
        self.layers = tuple(layers)  # in a tuple they are not submodules: the parameters are the stack's
        self.weight = nn.Parameter(torch.stack([layer.weight.detach().T for layer in layers]))
        self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers]).unsqueeze(1))
        self.share()

    def share(self) -> None:
        """Makes the parameters of the single layers views of the stacked ones, wherever these are now."""
        for i, layer in enumerate(self.layers):
            layer.weight.data = self.weight.data[i].T
            layer.bias.data = self.bias.data[i, 0]

    def forward(self, x: Float[Tensor, "stack batch in_features"]) -> Float[Tensor, "stack batch out_features"]:
        """Layer k on `x[k]`, for each k."""
        return torch.baddbmm(self.bias, x, self.weight)


class StackedCLUB(nn.Module):
    """`CLUBEstimator`s that differ in nothing but the size of x, by name, as one batched network.

    There is a first layer for each size of x and one last layer for all. The network runs over all rows at once, the
    formula once for each set of rows.

    The stack owns the parameters. Those of the estimators it is made of become views of it: their values, their changes in
    place and their state dicts are those of the stack. Gradients are the stack's alone.
    """

    first: Any  # of StackedLinear

    def __init__(self, members: Mapping[str, CLUBEstimator]):
        super().__init__()
        by_size: dict[int, list[str]] = {}
        for name, member in members.items():
            by_size.setdefault(member.x_dim, []).append(name)
        self.members = {name: members[name] for names in by_size.values() for name in names}
        self.first = nn.ModuleList(
            StackedLinear([_network(members[name])[0] for name in names]) for names in by_size.values()
        )
        self.last = StackedLinear([_network(member)[2] for member in self.members.values()])
        self.log_variance = _conditional(next(iter(members.values()))).log_variance

    def shared(self) -> Mapping[str, CLUBEstimator]:
        """The single estimators, as views of the stack."""
        for layer in (*self.first, self.last):
            layer.share()
        return self.members

    def forward(self, samples: Mapping[str, Sample]) -> dict[str, Tensor]:
        """The estimate of each member that has enough rows, in nats, `{name: ()}`."""
        return {
            name: value
            for names, values in self._evaluate(functional.club_gaussian, samples)
            for name, value in zip(names, values.unbind(), strict=True)
        }

    def learning_loss(self, samples: Mapping[str, Sample]) -> Tensor:
        """The negative log-likelihood summed over the members that have enough rows, one at least: `()`, in nats."""
        values = [values for _, values in self._evaluate(functional.gaussian_log_likelihood, samples)]
        return -(values[0] if len(values) == 1 else torch.cat(values)).sum()

    def learns_from(self, samples: Mapping[str, Sample]) -> bool:
        """Whether any member has enough rows."""
        return any(samples[name].enough for name in self.members)

    def _evaluate(
        self, formula: Callable[[Tensor, Tensor, Tensor], Tensor], samples: Mapping[str, Sample]
    ) -> Iterator[tuple[list[str], Tensor]]:
        """Names and the values `(K,)` of `formula(mean, scale, y)`, for each set of rows."""
        chosen = {name: samples[name] for name in self.members}
        mean, scale, y = self._predict(list(chosen.values()))
        for names, rows in _by_rows(chosen):
            members = None
            if len(names) < len(chosen):
                members = torch.tensor([i for i, name in enumerate(chosen) if name in names])
            yield names, formula(*(_select(t, members, rows) for t in (mean, scale, y)))

    def _predict(self, samples: Sequence[Sample]) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and scale of q for all members and rows, and y: each `(K, N, y_dim)`."""
        self._check(samples)
        xs: list[Any] = [sample.variables[0] for sample in samples]
        y = torch.stack([sample.variables[1] for sample in samples])  # pyright: ignore[reportArgumentType]
        has = None
        if any(sample.rows is not None for sample in samples):
            everywhere = torch.ones(y.shape[1], dtype=torch.bool)
            rows = [everywhere if sample.rows is None else sample.rows for sample in samples]
            has = torch.stack(rows).unsqueeze(2).to(y.device, non_blocking=True)
        hidden, start = [], 0
        for layer in self.first:
            members = slice(start, start + len(layer.layers))
            x = torch.stack(xs[members])
            # Whatever an absent row holds must not reach the weights' gradients: 0 times NaN is NaN.
            hidden.append(layer(x if has is None else torch.where(has[members], x, 0)))
            start = members.stop
        out = self.last((hidden[0] if len(hidden) == 1 else torch.cat(hidden)).relu())
        mean, log_variance = at_least_float32(out).chunk(2, dim=-1)
        if self.log_variance == "tanh":
            log_variance = log_variance.tanh()
        return mean, (0.5 * log_variance).exp(), y

    def _check(self, samples: Sequence[Sample]) -> None:
        for (name, member), sample in zip(self.members.items(), samples, strict=True):
            x, y = sample.variables
            if (
                isinstance(x, Masked)
                or isinstance(y, Masked)
                or x.shape[1:] != (member.x_dim,)
                or y.shape[1:] != (member.y_dim,)
            ):
                given = ["a masked sequence" if isinstance(v, Masked) else tuple(v.shape) for v in (x, y)]
                raise ValueError(
                    f"{member.label}({name}): expected x of shape (N, {member.x_dim}) and y of shape (N, {member.y_dim}), "
                    f"got {given[0]} and {given[1]}"
                )


def stackable(dependences: Mapping[str, Dependence]) -> list[dict[str, CLUBEstimator]]:
    """The sets of two estimators or more that one `StackedCLUB` can hold.

    These are `CLUBEstimator`s with a `GaussianConditional` of the usual layers and one size of y. What stands in more than
    one place, or is frozen in part, stays what it is.
    """
    places = [id(dependence) for dependence in dependences.values()]
    stacks: dict[Hashable, dict[str, Any]] = {}
    for name, dependence in dependences.items():
        kind = _kind(dependence)
        if kind is not None and places.count(id(dependence)) == 1:
            stacks.setdefault(kind, {})[name] = dependence
    return [members for members in stacks.values() if len(members) > 1]


def _kind(dependence: Any) -> Hashable:
    """What must be equal in a stack; `None` for what cannot stand in one."""
    if type(dependence) is not CLUBEstimator or type(dependence.conditional) is not GaussianConditional:
        return None
    conditional = dependence.conditional
    network = conditional.network
    if [type(layer) for layer in network] != [nn.Linear, nn.ReLU, nn.Linear]:
        return None
    first, last = network[0], network[2]
    parameters = [first.weight, first.bias, last.weight, last.bias]
    if not all(isinstance(p, nn.Parameter) and p.requires_grad for p in parameters):
        return None
    return conditional.log_variance, last.weight.shape, first.weight.dtype, first.weight.device


def _conditional(club: CLUBEstimator) -> GaussianConditional:
    assert isinstance(club.conditional, GaussianConditional)
    return club.conditional


def _network(club: CLUBEstimator) -> Any:
    return _conditional(club).network


def _by_rows(samples: Mapping[str, Sample]) -> Iterator[tuple[list[str], Tensor | None]]:
    """The names with enough rows, by the set of rows they have: its indices, `(M,)`, or `None` for all rows."""
    sets: dict[bytes | None, list[str]] = {}
    for name, sample in samples.items():
        if sample.enough:
            sets.setdefault(None if sample.rows is None else sample.rows.numpy().tobytes(), []).append(name)
    for names in sets.values():
        rows = samples[names[0]].rows
        yield names, None if rows is None else rows.nonzero().squeeze(1)


def _select(t: Tensor, *indices: Tensor | None) -> Tensor:
    """`t` at the given indices of its first dimensions; `None` takes all."""
    for dim, index in enumerate(indices):
        if index is not None:
            t = t.index_select(dim, index.to(t.device, non_blocking=True))
    return t
