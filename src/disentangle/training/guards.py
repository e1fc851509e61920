"""Guards around a step: refusing what would go wrong in silence, and holding a module still."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from disentangle.errors import EstimatorWarning, TooFewRowsError
from disentangle.model import Variables
from disentangle.pairwise import Pairwise
from disentangle.training.dial import Dial
from disentangle.training.encoded import Encoded
from disentangle.variables import Rows, values_of

__all__ = [
    "frozen",
    "kinds_of",
    "parameters_beside",
    "put_back",
    "refuse_dead_pairs",
    "refuse_frozen",
    "refuse_optimizers",
    "refuse_schedulers",
]


def kinds_of(penalty: Pairwise | nn.ModuleDict | None) -> dict[str, Pairwise]:
    """The penalty of each kind by its name; the name is `""` where there is one kind only."""
    if penalty is None:
        return {}
    kinds: dict[str, Any] = dict(penalty.items()) if isinstance(penalty, nn.ModuleDict) else {"": penalty}
    for name, kind in kinds.items():
        if not isinstance(kind, Pairwise):
            where = f" as {name!r}" if name else ""
            raise TypeError(f"expected a Pairwise, or an nn.ModuleDict of some, got {type(kind).__name__}{where}")
    for name, kind in kinds.items():
        stacked = {id(p) for member in kind.dependences.stacked().values() for p in member.parameters()}
        for other, theirs in kinds.items():
            if other != name and any(id(p) in stacked for p in theirs.parameters()):
                raise ValueError(
                    f"expected estimators of {other!r} that {name!r} does not have, got one of both, which {name!r} has "
                    "stacked with others: there would be two of it"
                )
    return kinds


def refuse_optimizers(
    model: nn.Module, penalty: nn.Module | None, optimizer: Optimizer, penalty_optimizer: Optimizer | None
) -> None:
    """Refuses an optimiser that holds parameters of the other side, and one of the penalty that lacks some of its own.

    One made from the single estimators holds none of the parameters that they own together.
    """
    refuse_closure(optimizer)
    learning, held = [p for p in model.parameters() if p.requires_grad], _held(optimizer)
    if learning and not any(id(p) in held for p in learning):
        raise ValueError(
            f"expected the model's optimiser to hold some of its {len(learning)} parameters that learn, got one that holds "
            "none: was the model copied, or built anew, after it?"
        )
    if penalty is not None:
        _refuse_shared(optimizer, penalty, "the model's optimiser", "the penalty")
    if penalty_optimizer is None:
        return
    refuse_closure(penalty_optimizer)
    _refuse_shared(penalty_optimizer, model, "the penalty's optimiser", "the model")
    if penalty is not None:
        held = _held(penalty_optimizer)
        learning = [p for p in penalty.parameters() if p.requires_grad]
        if lacking := sum(id(p) not in held for p in learning):
            raise ValueError(
                f"expected the penalty's optimiser to hold all {len(learning)} parameters that learn, got one without "
                f"{lacking} of them: make it from penalty.parameters()"
            )


def parameters_beside(model: nn.Module, optimizer: Optimizer) -> list[nn.Parameter]:
    """What an optimiser holds and the model has not: weights that an objective learns, in the order of the optimiser."""
    own = {id(p) for p in model.parameters()}
    return [p for group in optimizer.param_groups for p in group["params"] if id(p) not in own]


def refuse_unregistered(idle: Sequence[nn.Parameter]) -> None:
    """Refuses parameters that neither the model has nor the objective learnt, where the model has learnt them all the same."""
    if learnt := [tuple(p.shape) for p in idle if p.grad is not None]:
        raise ValueError(
            f"expected the model's optimiser to hold parameters of the model and of the objective, got {len(learnt)} that the "
            f"model computes with and has not among its own, {learnt[0]} the first: is a layer in a list or a dictionary? "
            "nn.ModuleList and nn.ModuleDict make it the model's"
        )


def refuse_closure(optimizer: Optimizer) -> None:
    """Refuses an optimiser that would compute the loss anew several times per step."""
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ValueError("expected an optimiser that takes a step from gradients, got LBFGS, which wants a closure")


def refuse_seed(seed: int | None) -> None:
    """Refuses a seed below 0, which nothing can be drawn from."""
    if seed is not None and seed < 0:
        raise ValueError(f"expected a seed of 0 or more, got {seed}")


def refuse_other_than_counts(**given: Any) -> None:
    """Refuses what is no whole number of at least 1; `None` is none at all."""
    for name, value in given.items():
        if value is not None and (not isinstance(value, Integral) or value < 1):
            raise ValueError(f"expected {name} as a whole number of at least 1, got {value!r}")


def refuse_weight(weight: Any, penalty: Pairwise) -> None:
    """Refuses what cannot weigh a penalty: what is no finite number, and dials of others. A device is not waited for."""
    if not isinstance(weight, Real | Tensor | Dial):
        raise TypeError(f"expected the weight as a number, a tensor () or a Dial, got {type(weight).__name__}")
    if isinstance(weight, Tensor) and weight.requires_grad:
        raise ValueError("expected a weight without a gradient: multiply by one that learns, weight * penalty(...)")
    if isinstance(weight, Tensor) and weight.dim():
        raise ValueError(f"expected one weight, (), got {tuple(weight.shape)}: a Dial weighs each pair")
    if isinstance(weight, Tensor):
        weight = weight.item() if weight.device.type == "cpu" else 0.0
    if isinstance(weight, Real) and not math.isfinite(weight):
        raise ValueError(f"expected a finite weight, got {weight}")
    if isinstance(weight, Dial) and getattr(penalty, "dial", None) is not weight:
        raise ValueError("expected the dial of this penalty, got one of another: make it by Dial(penalty, allowed=...)")


def refuse_other_optimizer(optimizer: Any, state: Mapping[str, Any]) -> None:
    """Refuses the state of an optimiser of another kind or of other parameters, which would fail in the next step."""
    wanted, given = (
        [(group.keys() - {"params"}, len(group["params"])) for group in groups]
        for groups in (optimizer.state_dict()["param_groups"], state["param_groups"])
    )
    kind = type(getattr(optimizer, "optimizer", optimizer)).__name__
    if [count for _, count in wanted] != [count for _, count in given]:
        raise ValueError(
            f"expected the state of an optimiser of {[count for _, count in wanted]} parameters by group, got "
            f"{[count for _, count in given]}"
        )
    lacking = sorted(set().union(*(mine - theirs for (mine, _), (theirs, _) in zip(wanted, given, strict=True))))
    if lacking:
        raise ValueError(f"expected the state of {kind}, got one without {', '.join(lacking)}")


def refuse_other_schedulers(schedulers: Any, *optimizers: Optimizer | None) -> None:
    """Refuses what is no sequence of schedulers of these optimisers."""
    if not isinstance(schedulers, Sequence):
        raise TypeError(f"expected schedulers as a list, got {type(schedulers).__name__}: put it into one")
    known = [getattr(optimizer, "optimizer", optimizer) for optimizer in optimizers if optimizer is not None]
    for scheduler in schedulers:
        own = getattr(scheduler, "optimizer", None)
        if own is not None and not any(getattr(own, "optimizer", own) is each for each in known):
            raise ValueError(
                f"expected schedulers of the optimisers that are given, got a {type(scheduler).__name__} of another"
            )


def refuse_plateaus(schedulers: Sequence[LRScheduler]) -> None:
    """Refuses schedulers that want a metric, which a step has not."""
    if any(isinstance(scheduler, ReduceLROnPlateau) for scheduler in schedulers):
        raise ValueError(
            "expected schedulers that take a step without a metric, got a ReduceLROnPlateau: call its step(metric) after each "
            "evaluation, or give it to an AlternatingTrainer"
        )


def refuse_other_plateaus(plateaus: Sequence[ReduceLROnPlateau], metric: str | None, mode: str) -> None:
    """Refuses schedulers that follow a metric where none is monitored, or of which other values are good."""
    if plateaus and metric is None:
        raise ValueError("expected a metric to monitor, which a ReduceLROnPlateau follows, got none")
    if other := [each.mode for each in plateaus if each.mode != mode]:
        raise ValueError(f"expected a ReduceLROnPlateau of mode {mode!r}, as that of the metric, got {other[0]!r}")


def refuse_schedulers(schedulers: Sequence[LRScheduler], penalty_optimizer: Optimizer | None) -> None:
    """Refuses a scheduler of the penalty's optimiser, whose rate adapts."""
    for scheduler in schedulers:
        if scheduler.optimizer is getattr(penalty_optimizer, "optimizer", penalty_optimizer):
            raise ValueError(
                "expected keep_up or a scheduler to set the rate of the penalty's optimiser, got both: keep_up and "
                f"{type(scheduler).__name__}"
            )


def refuse_tensor_rates(optimizer: Optimizer | None) -> None:
    """Refuses an Adam that takes no tensor as its rate, which is what a rate that adapts is."""
    if not isinstance(getattr(optimizer, "optimizer", optimizer), torch.optim.Adam):  # AdamW is one
        return
    assert optimizer is not None
    for group in optimizer.param_groups:
        if group.get("foreach") and not group.get("capturable"):
            raise ValueError(
                "expected an optimiser whose rate may be a tensor for keep_up, got one with foreach=True: take fused=True"
            )


def refuse_other_values(first: Encoded, again: Encoded) -> None:
    """Refuses a piece that was encoded otherwise the second time: its gradients would be those of other values."""
    for (name, a), (_, b) in zip(first.what_counts(), again.what_counts(), strict=True):
        if (
            a.is_floating_point()
            and (difference := (a - b).double().norm() / a.double().norm().clamp(min=1e-30)) > 0.01
        ):
            raise ValueError(
                f"{name}: expected the model to encode a piece twice alike, got values that differ by {difference:.0%}: its "
                "noise has to come from torch's generators, which that of nn.LSTM on a GPU does not, and it must not count "
                "its calls; or give the batch whole"
            )


def refuse_other_than_names(computed: object, call: str, what: str) -> None:
    """Refuses a model that does not return things by name."""
    if not isinstance(computed, Mapping):
        raise TypeError(f"expected {call} to return {what} by name, a dictionary, got a {type(computed).__name__}")


def refuse_losses(losses: object) -> None:
    """Refuses losses that are no rows of one shape, `(B,)`: others would count a row several times."""
    refuse_other_than_names(losses, "model.losses(variables, batch)", "losses")
    assert isinstance(losses, Mapping)
    for name, loss in losses.items():
        if not isinstance(loss, Rows):
            raise TypeError(
                f"expected the loss {name} as Rows, one term per row, got a {type(loss).__name__}: "
                "Rows.unweighted(terms) makes them of terms (B,)"
            )
        loss.check(f"the loss {name}")
        if loss.weights.requires_grad:
            raise ValueError(
                f"expected the weights of the loss {name} without a gradient, which they would not get: multiply the values"
            )


def refuse_frozen(penalty: Pairwise) -> None:
    """Refuses an estimator whose parameters are all frozen: it would compute its bound with random weights."""
    stacks = {penalty.labels[next(iter(stack.members))]: stack for stack in penalty.dependences.stacks}
    alone = {penalty.labels[name]: dependence for name, dependence in penalty.dependences.alone().items()}
    for label, dependence in (alone | stacks).items():
        parameters = list(dependence.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            raise ValueError(
                f"{label}: expected parameters that take gradients, got {len(parameters)} that do not: "
                "an estimator that is never fitted estimates nothing"
            )


def refuse_dead_pairs(penalty: Pairwise, variables: Variables, present: Mapping[str, Tensor] | None) -> None:
    """Refuses a pair without any variable that carries a gradient: no step of the model could change it.

    A variable that is present in no row may have none. Variables that the pairs cannot take are refused as such.
    """
    absent = {name for name, mask in (present or {}).items() if not mask.any()}
    for key, names in penalty.groups.items():
        known = [variables[name] for name in names if name in variables and name not in absent]
        if len(known) == len(names) and not any(values_of(variable).requires_grad for variable in known):
            with torch.no_grad(), frozen(penalty), suppress(TooFewRowsError):
                penalty(variables, present)
            raise ValueError(
                f"{penalty.labels[key]}: expected a variable with a gradient, got none of {', '.join(names)}: "
                "was the latent detached?"
            )


def refuse_parameters_of(penalty: Pairwise, variables: Variables) -> None:
    """Refuses variables that were computed by the penalty's own parameters: their two optimisers would both move these."""
    own = {id(p) for p in penalty.parameters()}
    seen: set[Any] = set()
    waiting = [values_of(variable).grad_fn for variable in variables.values()]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if id(getattr(node, "variable", None)) in own:
            raise ValueError(
                "expected estimators with parameters of their own, got some that computed the variables: give a conditional a "
                "copy of the encoder"
            )
        waiting += [following for following, _ in node.next_functions]


def too_few_rows(when: str, names: Sequence[str]) -> EstimatorWarning:
    """What is to be said of a batch of a single row, in which nothing can be told apart."""
    return EstimatorWarning(
        f"{when}: expected at least 2 rows of {', '.join(names)}, got fewer: what compares them is left out of such steps: "
        "drop_last=True of the DataLoader, or larger batches"
    )


def _refuse_shared(optimizer: Optimizer, module: nn.Module, whose: str, other: str) -> None:
    held = _held(optimizer)
    if shared := [name for name, p in module.named_parameters() if id(p) in held]:
        raise ValueError(
            f"expected {whose} to hold no parameters of {other}, got {len(shared)} of them, such as {shared[0]!r}"
        )


def _held(optimizer: Optimizer) -> set[int]:
    return {id(p) for group in optimizer.param_groups for p in group["params"]}


@contextmanager
def frozen(module: nn.Module | None) -> Iterator[None]:
    """Within the block, `module` is in evaluation mode and takes no gradients; afterwards all flags are as before.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> with frozen(layer):
        ...     layer.training, layer.weight.requires_grad
        (False, False)
        >>> layer.training, layer.weight.requires_grad
        (True, True)
    """
    if module is None:
        yield
        return
    modes = [(m, m.training) for m in module.modules()]
    flags = [(p, p.requires_grad) for p in module.parameters()]
    try:
        module.eval()
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        yield
    finally:
        for m, mode in modes:
            m.training = mode
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


@torch.no_grad()
def put_back(module: nn.Module, buffers: Mapping[str, Tensor]) -> None:
    """Gives the buffers of `module` the values they had, but for those made since."""
    for path, part in module.named_modules():
        for name, buffer in part._buffers.items():
            saved = buffers.get(f"{path}.{name}" if path else name)
            if buffer is None or saved is None:
                continue
            if buffer.shape == saved.shape:
                buffer.copy_(saved)
            else:  # it has grown, as a table of positions does
                part._buffers[name] = saved
