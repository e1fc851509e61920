"""A pairwise penalty as one term of a loss, for any loop: its estimators learn inside, on their own."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from io import BytesIO
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from disentangle.errors import NonFiniteError
from disentangle.pairwise import Pairwise
from disentangle.pairwise.samples import presences_of, refuse_other_presences, variables_of
from disentangle.training.determinism import noise_at
from disentangle.training.dial import Dial
from disentangle.training.encoded import Encoded, join
from disentangle.training.guards import (
    frozen,
    refuse_closure,
    refuse_dead_pairs,
    refuse_frozen,
    refuse_other_optimizer,
    refuse_other_than_counts,
    refuse_parameters_of,
    refuse_seed,
    refuse_weight,
    too_few_rows,
)
from disentangle.training.inner_steps import Learning, take_inner_steps
from disentangle.training.keep_up import KeepUp
from disentangle.training.known_gradient import with_gradient
from disentangle.training.lag import FIRST_STEPS, Lag, LagMeans, lag_warning
from disentangle.training.processes import SingleProcess, all_processes
from disentangle.training.silent_pairs import SilentPairs
from disentangle.training.watch import Watch

__all__ = ["PenaltyLoss"]

FIRST_RATE = 1e-2  # where a rate that adapts starts


class PenaltyLoss(nn.Module):
    """A penalty that any training loop adds to its loss: `loss = own_loss + penalty(variables)`.

    On a call in training, the estimators first take their steps on the detached variables, with an optimiser of their own; then
    the sum of the pairs' values is returned, times `weight`, with a gradient in the variables alone. In evaluation mode, and
    under `torch.no_grad()`, nothing learns and the value is returned.

    **Make it an attribute of the model**, so that it goes into its checkpoints. The estimators are not among `parameters()`:
    the model's optimiser does not step them, and `DistributedDataParallel` does not wait for their gradients. Estimators,
    their optimiser's state and the count of calls are one tensor of the `state_dict`, `_extra_state`, which safetensors
    takes; a run that loads it goes on bit for bit. They are on the device of the variables.

    **Several processes** of `torch.distributed` exchange their variables on a call in training, so all have to make it. The
    estimators learn on the rows of all processes, in each alike, and the value is that of all rows. The gradient is
    multiplied by the number of processes, since `DistributedDataParallel` divides by it: what comes out is the gradient of
    one process with the whole batch. In evaluation mode nothing is exchanged, and the value is that of a process's own rows.

    **A batch is what one call is given.** With gradient accumulation each micro-batch is a batch of its own: the estimators
    take their steps on each, and its penalty is that of its own rows. One of a single row, as the last of an epoch may be, has
    a penalty of 0; in training a warning says so once. Call it outside of what activation checkpointing runs again.

    **Precision.** Whatever the model's precision, also under autocast, estimators and penalty are computed in at least float32;
    a scaler of gradients does not see the estimators' steps.

    **Not finite.** On the CPU, variables, values and likelihood are looked at when they are computed, the variables before the
    estimators see them. On a CUDA device the host never waits: what was not finite is raised by the next call.

    **Nothing said.** An `EstimatorWarning` names, once, the pairs that no batch of the first 25 calls had rows for, and those
    whose value was 0 at each of 25 calls, whose estimator says the same of every row.

    Arguments:
        penalty: What must not depend on what. Kinds that weigh differently take a `PenaltyLoss` each.
        weight: What the sum of the values is multiplied by, which may be set at any time: a number, or a `Dial` of the penalty,
            which weighs each pair so that it ends at the dependence allowed, and whose state is saved with the estimators.
        inner_steps: How many steps the estimators take per call.
        lr: The learning rate of the estimators' optimiser, Adam, which may be set at any time. By default it starts at 1e-2 and
            adapts, see `KeepUp`.
        optimizer: Makes another optimiser of the estimators' parameters, in place of `lr`.
        seed: Noise that estimators draw is a function of it and of the number of calls; torch's generators stay as they are.

    Attributes:
        values: The value of each pair at the last call by its label, detached and without the weight: for logs.
        likelihood: The log-likelihood of the estimators at the last call's last inner step, `()`, summed over pairs; `None`
            where nothing learnt.
        held_out: The same before the first inner step, when the batch was new to the estimators.
        lag: Whether the estimators lag, in [-1, 1]. Near 1 each batch asks for more of what the one before asked for, and
            values are not to be trusted; a larger `lr` or more `inner_steps` help. Estimators that keep up are near 0; see
            `disentangle.training.lag`. Its mean over some 10 calls is to be read; where that of 25 calls is above 0.4 twice in
            a row, after the first 25, an `EstimatorWarning` says so once.

    Raises:
        TypeError: If the penalty is no `Pairwise`, the weight no number or the optimiser no function; on a call, if a variable
            is no tensor.
        RuntimeError: Under `create_graph=True`: the penalty has no second derivative.
        ValueError: If the penalty learns and `inner_steps` is below 1, if parts of it cannot learn, if the dial is that of
            another penalty, if there are both `lr` and `optimizer`, or if the weight is a tensor that learns, whose gradient
            would be lost; on a call, if a pair is given what it does not take, or in training has no variable with a
            gradient, or if activation checkpointing makes the call once more.
        TooFewRowsError: On a call in training, for a dependence that needs more than two rows, as its `Pairwise` does.
        NonFiniteError: On a call, where something is not finite.

    Example:
        >>> from disentangle import CLUBEstimator
        >>> encoder = nn.Linear(6, 4)
        >>> penalty = PenaltyLoss(Pairwise({("a", "b"): CLUBEstimator(2, 2)}), weight=0.1)
        >>> a, b = encoder(torch.randn(32, 6)).split(2, 1)
        >>> loss = a.square().mean() + penalty({"a": a, "b": b})
        >>> loss.backward()
        >>> list(penalty.values), list(penalty.parameters())
        (['CLUB(a;b)'], [])
    """

    def __init__(
        self,
        penalty: Pairwise,
        *,
        weight: float | Tensor | Dial = 1.0,
        inner_steps: int = 5,
        lr: float | None = None,
        optimizer: Callable[[list[nn.Parameter]], Optimizer] | None = None,
        seed: int = 0,
    ):
        super().__init__()
        self.weight: float | Tensor | Dial
        if not isinstance(penalty, Pairwise):
            way = ": make a PenaltyLoss of each kind" if isinstance(penalty, nn.ModuleDict) else ""
            raise TypeError(f"expected a Pairwise, got {type(penalty).__name__}{way}")
        if isinstance(optimizer, Optimizer) or not callable(optimizer or torch.optim.Adam):
            raise TypeError(
                "expected optimizer as a function of the estimators' parameters that makes one, such as torch.optim.Adam, got "
                f"{type(optimizer).__name__}: they are the penalty's own"
            )
        if penalty.learns:
            refuse_other_than_counts(inner_steps=inner_steps)
        refuse_frozen(penalty)
        refuse_seed(seed)
        self._hidden = (penalty,)  # in a tuple it is no submodule: its parameters are not those of the model
        self.weight = weight
        self.inner_steps, self.seed = inner_steps, seed
        self.iteration = 0
        self.values: dict[str, Tensor] = {}
        self.held_out: Tensor | None = None
        self.likelihood: Tensor | None = None
        self.lag: Tensor | None = None
        self._lag, self._lag_means, self._silent = Lag(), LagMeans(), SilentPairs({"": penalty})
        self._warned = self._warned_of_rows = False  # that estimators lag; that there are too few rows to compare
        self._make_optimizer = optimizer
        self._optimizer: Optimizer | None = None  # made once the parameters are where they will be
        self.lr = lr
        self._alike = False  # whether all processes have the first one's estimators
        self._watches: list[Watch] = []  # of the call before, on a device that is not waited for

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "weight":
            super().__setattr__(name, value)
            return
        refuse_weight(value, self._hidden[0])
        object.__setattr__(self, name, value)  # a dial is a part of the penalty, and no submodule of this one

    @property
    def pairwise(self) -> Pairwise:
        """The penalty that was given, with its estimators."""
        return self._hidden[0]

    @property
    def lr(self) -> float | None:
        """The learning rate of the estimators' optimiser as it was set; `None` where it adapts, or `optimizer` made another."""
        return self._lr

    @lr.setter
    def lr(self, lr: float | None) -> None:
        if lr is not None and self._make_optimizer is not None:
            raise ValueError(f"expected the rate from lr or from optimizer, got both: lr {lr}")
        self._lr = lr
        self._keep_up = KeepUp() if lr is None and self._make_optimizer is None else None
        if lr is not None and self._optimizer is not None:
            for group in self._optimizer.param_groups:
                group["lr"] = lr

    @property
    def rate(self) -> Tensor | None:
        """The learning rate of the estimators, `()`; `None` before they have learnt."""
        return None if self._optimizer is None else KeepUp.rate(self._optimizer)

    def forward(self, variables: Mapping[str, Any], present: Mapping[str, Tensor] | None = None) -> Tensor:
        """The weighted penalty, `()`; in training the estimators learn first.

        Arguments:
            variables: By name, `(N, d)`, `(N,)` or `Masked`; names in no pair are left alone.
            present: Which rows have a variable, `(N,)` bool per name, best on the CPU; without it, all have.
        """
        self._refuse_places()
        self._raise_what_arrived()
        self._warn()
        learns = self.training and torch.is_grad_enabled()
        own = self._needed(variables, present)
        if learns:
            refuse_dead_pairs(self.pairwise, own.variables, own.present)
        if any(t.device != own.device for t in self._tensors()):
            self.to(own.device)
        processes = all_processes() if learns else SingleProcess()
        if learns and not self._alike:
            refuse_parameters_of(self.pairwise, own.variables)
            if processes.size > 1:  # the optimiser's state, too, which the first process alone may have loaded
                self.set_extra_state(processes.from_first(self.get_extra_state()))
            self._alike = True
        leaf = own.leaf(of_graph=True)
        batch = join(processes.exchange([leaf]))
        single = batch.single()
        if learns and single and not self._warned_of_rows:
            self._warned_of_rows = True
            warning = too_few_rows(f"call {self.iteration + 1}", single)
            warnings.warn(warning, stacklevel=4)  # where the user called the penalty
        batch = batch.absent(single)
        self._look_at({f"variable {name}": size for name, size in batch.root_mean_squares().items()})
        self.iteration += learns
        with noise_at(self.seed, self.iteration), torch.autocast(batch.device.type, enabled=False):
            self.held_out, self.likelihood, self.lag = self._learn(batch.detach()) if learns else Learning()
            with frozen(self.pairwise):
                values = self.pairwise(batch.variables, batch.present)
            total = self._weigh(values, learns, batch.device)
            loss = with_gradient(total, own.differentiable(), leaf.differentiable(), times=processes.size)
        self.values = {label: value.detach() for label, value in values.items()}
        if learns:
            self._silent.add(self.values)
        scalars = {"weight": self.weight, **self.values, "likelihood": self.likelihood}
        # a weight on the host beside values on a device was looked at when it was set
        self._look_at({k: t for k, t in scalars.items() if isinstance(t, Tensor) and t.device == batch.device})
        return loss

    def _weigh(self, values: Mapping[str, Tensor], learns: bool, device: torch.device) -> Tensor:
        if isinstance(self.weight, Dial):
            return self.weight.train(learns)(values)
        return sum(values.values(), torch.zeros((), device=device)) * self.weight

    def get_extra_state(self) -> Tensor:
        """Estimators, their optimiser's state and the count of calls, as the bytes of one tensor."""
        file = BytesIO()
        state = {
            "pairwise": self.pairwise.state_dict(),
            "optimizer": None if self._optimizer is None else self._optimizer.state_dict(),
            "iteration": self.iteration,
            "lag": self._lag.state_dict(),
        }
        torch.save(state, file)
        return torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Goes on from what `get_extra_state` returned; raises `ValueError` for anything else, other versions' states too."""
        saved = _read(state)
        self._refuse_other(saved)
        empty = any(t.is_meta for t in self._tensors())  # as `from_pretrained` of transformers builds a model
        self.pairwise.load_state_dict(saved["pairwise"], assign=empty)
        self._optimizer = self._optimizer_from(saved["optimizer"])
        self._lag.load_state_dict(saved["lag"])
        self.iteration, self._alike = saved["iteration"], False

    def _refuse_other(self, saved: Mapping[str, Any]) -> None:
        """Refuses the state of other estimators, or of another kind of optimiser, before anything is taken from it."""
        states = self.pairwise.state_dict(), saved["pairwise"]
        wanted, given = ({name: tuple(t.shape) for name, t in state.items()} for state in states)
        if differing := sorted(name for name in wanted.keys() | given.keys() if wanted.get(name) != given.get(name)):
            name, more = differing[0], f"; and {len(differing) - 1} more" if len(differing) > 1 else ""
            raise ValueError(f"estimators: {name}: expected {wanted.get(name)}, got {given.get(name)}{more}")
        if saved["optimizer"] is not None:
            refuse_other_optimizer(self._new_optimizer(), saved["optimizer"])

    def __getstate__(self) -> dict[str, Any]:
        """What a copy gets: it waits for nothing that a device computes."""
        silent = SilentPairs({"": self.pairwise})
        return {**self.__dict__, "_watches": [], "_lag_means": LagMeans(), "_silent": silent}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PenaltyLoss:
        """Moves the estimators with the model, and gives them its precision, from float32 upwards."""
        super()._apply(fn, recurse)
        mine = next((t for t in self._tensors() if t.is_floating_point()), None)
        if mine is not None and not mine.is_meta:
            moved = fn(torch.empty(0, dtype=mine.dtype, device=mine.device))
            state = None if self._optimizer is None else self._optimizer.state_dict()
            self.pairwise.to(device=moved.device, dtype=torch.promote_types(moved.dtype, torch.float32))
            self._optimizer = self._optimizer_from(state)
        return self

    def _tensors(self) -> list[Tensor]:
        return [*self.pairwise.parameters(), *self.pairwise.buffers()]

    def _optimizer_from(self, state: dict[str, Any] | None) -> Optimizer | None:
        """An optimiser of the estimators as they are now, in the given state; `None` where there is no state."""
        if state is None:
            return None
        optimizer = self._new_optimizer()
        optimizer.load_state_dict(state)
        return optimizer

    def _new_optimizer(self) -> Optimizer:
        parameters = [p for p in self.pairwise.parameters() if p.requires_grad]
        if self._make_optimizer is not None:
            optimizer = self._make_optimizer(parameters)
            refuse_closure(optimizer)
            return optimizer
        rate = FIRST_RATE if self.lr is None else self.lr
        return torch.optim.Adam(parameters, rate, fused=parameters[0].device.type in ("cpu", "cuda"))

    def _needed(self, variables: Mapping[str, Any], present: Mapping[str, Tensor] | None) -> Encoded:
        """The variables of the pairs and their presences, in at least float32."""
        refuse_other_presences(variables, present)
        rows = variables_of(self.pairwise.groups, variables)
        return Encoded(rows, presences_of(rows, present), {}).at_least_float32()

    def _learn(self, batch: Encoded) -> Learning:
        if not self.pairwise.learns:
            return Learning()
        if self._optimizer is None:
            self._optimizer = self._new_optimizer()
        learning = take_inner_steps(
            {"": self.pairwise}, self._optimizer, batch, self.inner_steps, self._lag, keep_up=self._keep_up
        )
        if self.iteration > FIRST_STEPS:
            self._lag_means.add(learning.lag)
        return learning

    def _warn(self) -> None:
        """Warns of pairs that say nothing, and of estimators that lag, as far as the calls before this one show it."""
        where = f"call {self.iteration}"
        if (values := self._silent.read()) is not None:
            for warning in self._silent.warnings(where, values):
                warnings.warn(warning, stacklevel=5)  # where the user called the penalty
        cure = "raise inner_steps" if self._keep_up is not None else "raise lr, say threefold, or inner_steps"
        warning = lag_warning(where, self._lag_means.read(), cure)
        if warning is not None and not self._warned:
            warnings.warn(warning, stacklevel=5)
            self._warned = True

    def _refuse_places(self) -> None:
        if getattr(self, "_is_replica", False):
            raise ValueError(
                "expected one process per device, got a replica of nn.DataParallel: start the program by torchrun"
            )
        if torch._C._are_functorch_transforms_active():
            raise ValueError(
                "expected a call outside of torch.func's transforms, got one within grad, vmap or another: "
                "its pairwise has values that these take, pairwise(variables)"
            )
        if torch._C._current_graph_task_id() != -1:  # within a backward pass
            raise ValueError(
                "expected a PenaltyLoss outside of code that activation checkpointing runs again, got a call within backward"
            )
        if any(t.is_meta for t in self._tensors()):
            raise ValueError(
                "expected estimators with values, got some on the meta device: "
                "make the PenaltyLoss when the model has its weights"
            )

    def _look_at(self, scalars: Mapping[str, Tensor]) -> None:
        """Raises where something is not finite; of what a device computes, on the next call."""
        self._watches.append(Watch(scalars))
        if self._watches[-1].arrived is None:
            self._raise_what_arrived()

    def _raise_what_arrived(self) -> None:
        watches, self._watches = self._watches, []
        if bad := [name for watch in watches for name in watch.nonfinite()]:
            raise NonFiniteError(f"call {self.iteration}: not finite: {', '.join(bad)}", bad)


def _read(state: Tensor) -> dict[str, Any]:
    """What `get_extra_state` wrote into a tensor."""
    expected = {"pairwise", "optimizer", "iteration", "lag"}
    try:
        saved = torch.load(BytesIO(state.cpu().numpy().tobytes()), map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ValueError("expected the state of a PenaltyLoss, got bytes that hold none") from error
    if not isinstance(saved, dict) or saved.keys() != expected:
        got = sorted(saved) if isinstance(saved, dict) else type(saved).__name__
        raise ValueError(
            f"expected the state of a PenaltyLoss of this version, {sorted(expected)}, got {got}: load it with the version "
            "that saved it"
        )
    return saved
