"""What is refused, because training would go wrong in silence or fail far from the cause."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from disentangle.model import Variables
from disentangle.pairwise import Pairwise
from disentangle.variables import Masked

__all__ = ["refuse_dead_pairs", "refuse_frozen", "refuse_partial", "refuse_shared"]


def refuse_shared(optimizer: Optimizer, module: nn.Module, whose: str, other: str) -> None:
    """Refuses an optimiser of one side that holds parameters of the other."""
    held = _held(optimizer)
    if shared := [name for name, p in module.named_parameters() if id(p) in held]:
        raise ValueError(
            f"{whose} holds {len(shared)} parameters of {other}, such as {shared[0]!r}: each side learns alone"
        )


def refuse_partial(optimizer: Optimizer, penalty: nn.Module) -> None:
    """Refuses an optimiser made from the single estimators: it would hold none of the parameters that they own together."""
    held = _held(optimizer)
    learning = [p for p in penalty.parameters() if p.requires_grad]
    if lacking := sum(id(p) not in held for p in learning):
        raise ValueError(
            f"the penalty's optimiser lacks {lacking} of the {len(learning)} parameters that learn: "
            "make it from penalty.parameters()"
        )


def refuse_frozen(penalty: Pairwise) -> None:
    """Refuses an estimator none of whose parameters can learn: its bound would be that of random weights."""
    for name, dependence in penalty.dependences.alone().items():
        parameters = list(dependence.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            raise ValueError(
                f"{penalty.labels[name]} has {len(parameters)} parameters and none of them takes a gradient: "
                "an estimator that is never fitted estimates nothing"
            )


def refuse_dead_pairs(penalty: Pairwise, variables: Variables) -> None:
    """Refuses a pair none of whose variables carries a gradient: no step of the model could change it."""
    for key, names in penalty.groups.items():
        known = [variables[name] for name in names if name in variables]
        if len(known) == len(names) and not any(_requires_grad(variable) for variable in known):
            raise ValueError(
                f"{penalty.labels[key]}: expected a variable with a gradient, got none of {', '.join(names)}: "
                "was the latent detached?"
            )


def _requires_grad(variable: object) -> bool:
    values = variable.values if isinstance(variable, Masked) else variable
    return bool(getattr(values, "requires_grad", False))


def _held(optimizer: Optimizer) -> set[int]:
    return {id(p) for group in optimizer.param_groups for p in group["params"]}
