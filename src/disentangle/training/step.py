"""One iteration of alternating training, in plain torch: the estimators learn, then the model learns against them.

The paper's Algorithm 1, for any model and any pairwise penalty:

1. `variables = model(batch)`, once, with gradient;
2. `inner_steps` times: one step of the estimators on the detached variables;
3. with the estimators frozen: losses and penalties of the same variables, one step of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from disentangle.pairwise import Pairwise
from disentangle.variables import Masked, Rows

__all__ = ["AlternatingStep", "Model", "Objective", "StepRecord", "frozen"]

Variables = Mapping[str, Tensor | Masked]
Objective = Callable[[Mapping[str, Rows], Mapping[str, Tensor]], Tensor]


class Model(Protocol):
    """What a model must offer to be trained: an `nn.Module` whose call encodes a batch into named variables.

    Encoding is `forward`, so that wrappers such as `DistributedDataParallel` see it.
    """

    def __call__(self, batch: Any) -> Variables:
        """The named variables of a batch, `{name: (N, d)}`: latents, and the inputs that take part in pairs."""
        ...

    def present(self, batch: Any) -> Mapping[str, Tensor] | None:
        """Which rows have which variable, `{name: (N,) bool}` on the CPU; a name left out is present everywhere."""
        ...

    def losses(self, variables: Variables, batch: Any) -> dict[str, Rows]:
        """The named losses of the variables, one term a row."""
        ...


class StepRecord(NamedTuple):
    """What a step saw, outside the graph and on the model's device. Reading it waits for the device; keeping it does not."""

    objective: Tensor
    losses: dict[str, Rows]
    penalties: dict[str, Tensor]
    rms: dict[str, Tensor]
    likelihood: Tensor | None


class AlternatingStep:
    """One iteration of alternating training; call it with a batch.

    Losses and penalties are raw values; their weights and logarithms live in `objective` and nowhere else.
    In the estimators' phase the model's gradients are left as they are; in the model's phase the estimators are frozen and
    in evaluation mode, their gradients stay `None`, and their flags are restored, also when something raises.

    References:
        Qian et al., MIRD, Algorithm 1

    Arguments:
        model: The model to train, see `Model`; also wrapped in `DistributedDataParallel`.
        penalty: What must not depend on what; `None` for no penalty.
        objective: Maps `losses: {name: Rows}` and `penalties: {"CLUB(x;y)": ()}` to the scalar that the model minimises.
        optimizer: The optimiser of the model's parameters.
        penalty_optimizer: The optimiser of the estimators' parameters; needed where the penalty learns.
        inner_steps: How many steps the estimators take for one of the model, T' in the paper.
        backward: What is called with the scalar to differentiate; an `Accelerator`'s `backward` fits.

    Raises:
        ValueError: If the penalty learns and there is no optimiser for it or `inner_steps` is below 1; if the optimiser of
            one side holds parameters of the other, or the penalty's lacks some of its own; on a call, if the objective is not
            a scalar with a gradient.

    Example:
        >>> from disentangle import CLUBEstimator
        >>> class Halves(nn.Module):  # two latents of one input, that rebuild it together and must share nothing
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.a, self.b, self.decode = nn.Linear(6, 2), nn.Linear(6, 2), nn.Linear(4, 6)
        ...     def forward(self, batch):
        ...         return {"a": self.a(batch), "b": self.b(batch)}
        ...     def present(self, batch):
        ...         return None
        ...     def losses(self, variables, batch):
        ...         error = self.decode(torch.cat([variables["a"], variables["b"]], 1)) - batch
        ...         return {"recon": Rows(error.square().mean(1), torch.ones(len(batch)))}
        >>> model, penalty = Halves(), Pairwise({("a", "b"): CLUBEstimator(2, 2)})
        >>> step = AlternatingStep(
        ...     model,
        ...     penalty,
        ...     objective=lambda losses, penalties: losses["recon"].mean() + 0.1 * sum(penalties.values()),
        ...     optimizer=torch.optim.Adam(model.parameters(), 1e-3),
        ...     penalty_optimizer=torch.optim.Adam(penalty.parameters(), 1e-3, fused=True),
        ... )
        >>> record = step(torch.randn(32, 6))
        >>> list(record.penalties)
        ['CLUB(a;b)']
    """

    def __init__(
        self,
        model: nn.Module,
        penalty: Pairwise | None,
        *,
        objective: Objective,
        optimizer: Optimizer,
        penalty_optimizer: Optimizer | None = None,
        inner_steps: int = 5,
        backward: Callable[[Tensor], None] = Tensor.backward,
    ):
        learns = penalty is not None and penalty.learns
        if learns and (penalty_optimizer is None or inner_steps < 1):
            raise ValueError(
                "the penalty has parameters: expected a penalty_optimizer and inner_steps >= 1, "
                f"got {penalty_optimizer} and {inner_steps}"
            )
        if penalty is not None:
            _refuse_shared(optimizer, penalty, "the model's optimiser", "the penalty")
        if penalty_optimizer is not None:
            _refuse_shared(penalty_optimizer, model, "the penalty's optimiser", "the model")
            if penalty is not None:
                _refuse_partial(penalty_optimizer, penalty)
        self.model = model
        self.module: Any = model.module if isinstance(model, DistributedDataParallel) else model
        self.penalty, self.learns = penalty, learns
        self.objective = objective
        self.optimizer, self.penalty_optimizer = optimizer, penalty_optimizer
        self.inner_steps = inner_steps
        self.backward = backward

    def __call__(self, batch: Any) -> StepRecord:
        """Takes one step on `batch` and returns what it saw."""
        variables = self.model(batch)
        present = self.module.present(batch)
        likelihood = self._fit(variables, present) if self.learns else None
        return self._descend(variables, present, batch, likelihood)

    def _fit(self, variables: Variables, present: Mapping[str, Tensor] | None) -> Tensor | None:
        """The estimators' phase: returns the log-likelihood of their last step, summed over pairs."""
        assert self.penalty is not None
        assert self.penalty_optimizer is not None
        detached = {name: variable.detach() for name, variable in variables.items()}
        loss = None
        self.penalty.train()
        for _ in range(self.inner_steps):
            loss = self.penalty.learning_loss(detached, present)
            if loss is None:
                break
            self.penalty_optimizer.zero_grad(set_to_none=True)
            self.backward(loss)
            self.penalty_optimizer.step()
        self.penalty_optimizer.zero_grad(set_to_none=True)
        return None if loss is None else -loss.detach()

    def _descend(
        self, variables: Variables, present: Mapping[str, Tensor] | None, batch: Any, likelihood: Tensor | None
    ) -> StepRecord:
        """The model's phase."""
        losses = self.module.losses(variables, batch)
        with frozen(self.penalty):
            penalties = {} if self.penalty is None else self.penalty(variables, present)
            objective = self.objective(losses, penalties)
            if not isinstance(objective, Tensor) or objective.dim() or not objective.requires_grad:
                raise ValueError(f"expected the objective to be a scalar with a gradient, got {objective!r}")
            self.optimizer.zero_grad(set_to_none=True)
            self.backward(objective)
        self.optimizer.step()
        return StepRecord(
            objective.detach(),
            {name: Rows(*(t.detach() for t in rows)) for name, rows in losses.items()},
            {name: value.detach() for name, value in penalties.items()},
            root_mean_squares(variables, present),
            likelihood,
        )


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
def root_mean_squares(variables: Variables, present: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """The root mean square of each variable `(N, d)` over the rows that have it.

    A penalty that depends on scale, or a bound with a bounded variance, can be satisfied by shrinking a latent; this shows it.
    """
    result = {}
    for name, variable in variables.items():
        rows = None if present is None else present.get(name)
        if isinstance(variable, Masked) or (rows is not None and not rows.any()):
            continue
        square = variable.float().square().mean(1)
        weights = torch.ones_like(square) if rows is None else rows.to(square, non_blocking=True)
        result[name] = Rows(square, weights).mean().sqrt()
    return result


def _refuse_shared(optimizer: Optimizer, module: nn.Module, whose: str, other: str) -> None:
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if shared := [name for name, p in module.named_parameters() if id(p) in held]:
        raise ValueError(
            f"{whose} holds {len(shared)} parameters of {other}, such as {shared[0]!r}: each side learns alone"
        )


def _refuse_partial(optimizer: Optimizer, penalty: Pairwise) -> None:
    """An optimiser made from the single estimators would hold none of the parameters that they own together."""
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    learning = [p for p in penalty.parameters() if p.requires_grad]
    if lacking := sum(id(p) not in held for p in learning):
        raise ValueError(
            f"the penalty's optimiser lacks {lacking} of the {len(learning)} parameters that learn: "
            "make it from penalty.parameters()"
        )
