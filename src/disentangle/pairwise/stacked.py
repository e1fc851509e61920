"""CLUB estimators of one shape as one batched network: a few large operations in place of many small ones."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from disentangle import functional
from disentangle.conditionals import GaussianConditional, mean_and_log_variance
from disentangle.dependence import CLUBEstimator, Dependence
from disentangle.dependence.inputs import columns_of, fitting_rows
from disentangle.functional.inputs import refuse_classes
from disentangle.functional.precision import at_least_float32, in_precision_of
from disentangle.pairwise.samples import Sample, filled_up, named
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
        self.conditionals = tuple(_conditional(member) for member in self.members.values())
        self.layers: Any = tuple(tuple(_network(member)) for member in self.members.values())
        self.first = nn.ModuleList(
            StackedLinear([_network(members[name])[0] for name in names]) for names in by_size.values()
        )
        self.last = StackedLinear([_network(member)[2] for member in self.members.values()])
        self.sizes = [(size,) for member in self.members.values() for size in (member.x_dim, member.y_dim)]
        self.unbiased = next(iter(members.values())).unbiased
        self.log_variance: Literal["free", "tanh", "zero"] = _conditional(next(iter(members.values()))).log_variance

    def refuse_changed(self) -> None:
        """Raises `ValueError` where a member was changed after the stack was made of it, which the stack would not follow."""
        for (name, member), conditional, layers in zip(
            self.members.items(), self.conditionals, self.layers, strict=True
        ):
            if (
                member.unbiased != self.unbiased
                or member.conditional is not conditional
                or conditional.log_variance != self.log_variance
                or tuple(conditional.network._modules.values()) != layers  # faster than by name, as below
                or not all(p.requires_grad for layer in layers for p in layer._parameters.values())
            ):
                raise ValueError(
                    f"{name}: expected the estimator as it was when the Pairwise was made of it, got another unbiased, "
                    "conditional, layer, log_variance or requires_grad: change it before"
                )

    def shared(self) -> Mapping[str, CLUBEstimator]:
        """The single estimators, as views of the stack."""
        for layer in (*self.first, self.last):
            layer.share()
        return self.members

    def forward(self, samples: Mapping[str, Sample]) -> dict[str, Tensor]:
        """The estimate of each member that has enough rows, in nats, `{name: ()}`."""
        values: dict[str, Tensor] = {}
        for names, (mean, log_variance, y) in self._by_rows(samples):
            bounds = functional.club_gaussian(mean, (0.5 * log_variance).exp(), y)
            if self.unbiased:
                bounds = bounds * (y.shape[1] / (y.shape[1] - 1))
            values |= zip(names, bounds.unbind(), strict=True)
        return values

    def learning_loss(self, samples: Mapping[str, Sample]) -> Tensor:
        """The negative log-likelihood summed over the members that have enough rows, one at least: `()`, in nats."""
        losses = []
        for _, (mean, log_variance, y) in self._by_rows(samples):
            k, n, d = y.shape
            total = _Surprise.apply(mean, log_variance, at_least_float32(y))
            losses.append(total / n + 0.5 * k * d * math.log(2 * math.pi))
        return reduce(torch.add, losses)

    def learns_from(self, samples: Mapping[str, Sample]) -> bool:
        """Whether any member has enough rows."""
        return any(samples[name].enough for name in self.members)

    def _by_rows(self, samples: Mapping[str, Sample]) -> Iterator[tuple[list[str], tuple[Tensor, Tensor, Tensor]]]:
        """The members that have one set of rows, at least two, with their means, log-variances and y over these rows."""
        self.refuse_changed()
        given = [self._one_hot(name, samples[name]) for name in self.members]
        self._check(given)
        chosen = dict(zip(self.members, filled_up(given), strict=True))
        predicted = self._predict(list(chosen.values()))
        sets: dict[bytes | None, list[str]] = {}
        for name, sample in chosen.items():
            if sample.enough:
                sets.setdefault(None if sample.rows is None else sample.rows.numpy().tobytes(), []).append(name)
        for names in sets.values():
            rows = chosen[names[0]].rows
            everyone = len(names) == len(chosen)
            members = None if everyone else torch.tensor([i for i, name in enumerate(chosen) if name in names])
            rows = None if rows is None else rows.nonzero().squeeze(1)
            mean, log_variance, y = (_select(t, members, rows) for t in predicted)
            yield names, (mean, log_variance, y)

    def _predict(self, samples: Sequence[Sample]) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and log-variance of q for all members and rows, and y: each `(K, N, y_dim)`."""
        weight = self.last.weight
        xs: list[Any] = [
            in_precision_of(weight, sample.variables[0], f"x of {name}")  # pyright: ignore[reportArgumentType]
            for name, sample in zip(self.members, samples, strict=True)
        ]
        y = torch.stack([at_least_float32(sample.variables[1]) for sample in samples])  # pyright: ignore[reportArgumentType]
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
        return *mean_and_log_variance(out, self.log_variance), y

    def _one_hot(self, name: str, sample: Sample) -> Sample:
        """The sample with a column for each class, where x is classes; what stands in absent rows is none, and becomes 0."""
        x, *rest = sample.variables
        if isinstance(x, Masked) or x.dim() != 1:
            return sample
        if sample.rows is not None:
            x = torch.where(sample.rows.to(x.device, non_blocking=True), x, torch.zeros_like(x))
        with named(name):
            columns = columns_of(x, "x", self.members[name].x_dim, self.last.weight.dtype)
        return sample._replace(variables=(columns, *rest))

    def _check(self, samples: Sequence[Sample]) -> None:
        sizes = [None if isinstance(v, Masked) else v.shape[1:] for sample in samples for v in sample.variables]
        if sizes == self.sizes:
            return
        for (name, member), sample in zip(self.members.items(), samples, strict=True):
            x, y = sample.variables
            if isinstance(x, Masked) or isinstance(y, Masked):
                raise ValueError(
                    f"{name}: expected tensors (N, d), got a masked sequence: give its mean, frames(x, y), or, of x, a "
                    "MaskedConditional"
                )
            with named(name):
                fitting_rows(member.label, x, y, member.x_dim, member.y_dim)
                refuse_classes(y)


class _Surprise(torch.autograd.Function):
    """The sum of `((y - mean)² / variance + log_variance) / 2`, with its gradient in closed form."""

    @staticmethod
    def forward(ctx: Any, mean: Tensor, log_variance: Tensor, y: Tensor) -> Tensor:
        error = y - mean
        pull = log_variance.neg().exp_().mul_(error)
        squares = error.mul_(pull)
        ctx.save_for_backward(mean, log_variance, y, pull, squares)
        return 0.5 * (squares + log_variance).sum()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        mean, log_variance, y, pull, squares = ctx.saved_tensors
        if torch.is_grad_enabled():  # what was kept has no derivative itself
            error = y - mean
            pull = log_variance.neg().exp() * error
            squares = error * pull
        half = 0.5 * grad_outputs[0]
        to_mean = pull.mul(-grad_outputs[0])
        return to_mean, torch.addcmul(half, squares, half, value=-1), -to_mean if ctx.needs_input_grad[2] else None


def stackable(dependences: Mapping[str, Dependence]) -> list[dict[str, CLUBEstimator]]:
    """The sets of two estimators or more that one `StackedCLUB` can hold.

    These are `CLUBEstimator`s with a `GaussianConditional` of the usual layers and one size of y. What is shared by several,
    in another stack already, or frozen in part, stays what it is.
    """
    places = Counter(id(p) for dependence in dependences.values() for p in dependence.parameters())
    stacks: dict[Hashable, dict[str, Any]] = {}
    for name, dependence in dependences.items():
        kind = _kind(dependence)
        if kind is not None and all(places[id(p)] == 1 for p in dependence.parameters()):
            stacks.setdefault(kind, {})[name] = dependence
    return [members for members in stacks.values() if len(members) > 1]


def _kind(dependence: Any) -> Hashable:
    """What must be equal for estimators to share a stack; `None` for one that cannot be stacked."""
    if type(dependence) is not CLUBEstimator or type(dependence.conditional) is not GaussianConditional:
        return None
    conditional = dependence.conditional
    network = conditional.network
    if [type(layer) for layer in network] != [nn.Linear, nn.ReLU, nn.Linear]:
        return None
    first, last = network[0], network[2]
    parameters: list[Any] = [first.weight, first.bias, last.weight, last.bias]
    if not all(isinstance(p, nn.Parameter) and p.requires_grad for p in parameters):
        return None
    if any(p.data.untyped_storage().nbytes() != p.nbytes for p in parameters):  # views of another stack
        return None
    return dependence.unbiased, conditional.log_variance, last.weight.shape, first.weight.dtype, first.weight.device


def _conditional(club: CLUBEstimator) -> GaussianConditional:
    assert isinstance(club.conditional, GaussianConditional)
    return club.conditional


def _network(club: CLUBEstimator) -> Any:
    return _conditional(club).network


def _select(t: Tensor, *indices: Tensor | None) -> Tensor:
    """`t` at the given indices of its first dimensions; `None` takes all."""
    for dim, index in enumerate(indices):
        if index is not None:
            t = t.index_select(dim, index.to(t.device, non_blocking=True))
    return t
