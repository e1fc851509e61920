"""One iteration of alternating training, in plain torch: the estimators learn, then the model learns against them.

The paper's Algorithm 1, for any model and any pairwise penalty:

1. `variables = model(batch)` and its losses, once, with gradient;
2. `inner_steps` times: one step of the estimators on the detached variables;
3. with the estimators frozen: the objective of losses and penalties of the same variables, one step of the model.

Penalties and logarithms of losses are functions of a whole batch. A batch may come in pieces, and its pieces may be with
several processes: the objective sees all rows, and its gradients are those of one process with the whole batch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from disentangle.errors import NonFiniteError
from disentangle.pairwise import Pairwise
from disentangle.pairwise.samples import presences_of
from disentangle.training.determinism import seed_noise, seed_torch
from disentangle.training.dial import Dial
from disentangle.training.encoded import Encoded, join
from disentangle.training.guards import (
    frozen,
    kinds_of,
    parameters_beside,
    put_back,
    refuse_dead_pairs,
    refuse_frozen,
    refuse_losses,
    refuse_optimizers,
    refuse_other_schedulers,
    refuse_other_than_counts,
    refuse_other_than_names,
    refuse_other_values,
    refuse_plateaus,
    refuse_schedulers,
    refuse_seed,
    refuse_tensor_rates,
    refuse_unregistered,
    too_few_rows,
)
from disentangle.training.inner_steps import Learning, take_inner_steps
from disentangle.training.keep_up import KeepUp
from disentangle.training.lag import Lag
from disentangle.training.processes import DistributedProcesses, SingleProcess
from disentangle.training.reports import StepRecord, flat
from disentangle.training.watch import Watch, gradients_of
from disentangle.variables import Rows, as_rows

__all__ = ["AlternatingStep", "Objective"]

Objective = Callable[[Mapping[str, Rows], Mapping[str, Any]], Tensor]
SKIPS = 10  # steps left out in a row after which it is no accident


class AlternatingStep:
    """One iteration of alternating training; call it with a batch, or with several that are one batch in pieces.

    Losses and penalties are raw values; their weights and logarithms live in `objective` and nowhere else.
    In the estimators' phase the model's gradients are left as they are; in the model's phase the estimators are frozen and
    in evaluation mode, their gradients stay `None`, and their flags are restored, also when something raises.

    **Pieces.** `step(first, second)` has the gradients of `step(both)` at the memory of one: the model encodes the pieces
    without a graph, the objective is differentiated with respect to what came out, and the model encodes them again, with the
    same noise from torch's generators, to take that gradient back. It costs one more forward pass. What layers compute over
    their batch, as batch normalisation does, is computed over a piece.

    **Too few rows.** A batch of one row, as the last of an epoch may be, says nothing of a pair: its step has no penalty, and
    a warning says so once.

    **Precision.** Whatever the model's precision, also under autocast, estimators and penalties are computed in at least
    float32, and so are penalties as the objective gets them.

    **Not finite.** Before the model's step it is known whether the sizes of the variables, the losses, the objective, the
    penalties, the estimators' likelihood and the norm of the gradients are finite. On a CUDA device the host waits for the
    forward pass alone, while the backward one is queued, and the norm of the gradients is checked an iteration later.

    References:
        Qian et al., MIRD, Algorithm 1; Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup,
        for the pieces

    Arguments:
        model: The model to train, see `disentangle.Model`.
        penalty: What must not depend on what, or, of several kinds that weigh differently, an `nn.ModuleDict` of a `Pairwise`
            per kind, `{"apart": Pairwise(...), "alike": Pairwise(...)}`; `None` for no penalty.
        objective: Maps `losses: {name: Rows}` and `penalties: {"CLUB(x;y)": ()}` to the scalar that the model minimises. Of
            several kinds the penalties are `{"apart": {"CLUB(x;y)": ()}, "alike": ...}`. It may call the `Dial` of a penalty,
            which adapts with each call: once per step.
        optimizer: The optimiser of the model's parameters, in any number of groups.
        penalty_optimizer: The optimiser of the estimators' parameters; needed where the penalty learns.
        schedulers: Learning rate schedulers of either optimiser; each takes a step at the end of each iteration.
        inner_steps: How many steps the estimators take for one of the model, T' in the paper.
        keep_up: Adapts the learning rate of `penalty_optimizer`; without it the rate stays what it is.
        clip: Called with the model's parameters once they have their gradients; returns their norm. For example
            `lambda parameters: torch.nn.utils.clip_grad_norm_(parameters, 1.0)`.
        nonfinite: What to do where something is not finite: `"stop"` raises; `"skip"` leaves the step out, unless ten in a
            row had to be, and on a CUDA device waits for the forward pass once more.
        seed: With a seed, noise is a function of it and of `iteration`, which counts the calls and may be set; without one,
            torch's generators go their way.
        backward: What is called with the scalar to differentiate; an `Accelerator`'s `backward` fits.
        processes: The processes that hold other rows of the same batch, a `DistributedProcesses`. At the first call all get
            the first one's weights and buffers, of the model and the penalty. Needs a `seed`.

    Raises:
        ValueError: If the penalty learns and there is no optimiser for it or `inner_steps` is below 1; if parts of it cannot
            learn; if the optimiser of one side holds parameters of the other, or the penalty's lacks some of its own;
            if `keep_up` and a scheduler would both set its rate; if a scheduler is of another optimiser; if there are several
            processes and no `seed`; on a call, if a pair is given what it does not take or has no variable with a gradient,
            if the objective is no scalar with a gradient, or if the model encodes a piece otherwise the second time, as with
            noise of NumPy.
        TypeError: If the penalty is something else; on a call, if a variable is no tensor.
        NonFiniteError: On a call, where something is not finite; the model is as it was before, and the estimators may have
            taken their steps. On a CUDA device, where all but the gradients was finite, it is raised a call later, after
            the model has moved.

    Example:
        >>> from disentangle import CLUBEstimator, Model
        >>> class Halves(Model):  # two latents of one input, that rebuild it together and must share nothing
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.a, self.b, self.decode = nn.Linear(6, 2), nn.Linear(6, 2), nn.Linear(4, 6)
        ...     def forward(self, batch):
        ...         return {"a": self.a(batch), "b": self.b(batch)}
        ...     def losses(self, variables, batch):
        ...         error = self.decode(torch.cat([variables["a"], variables["b"]], 1)) - batch
        ...         return {"recon": Rows.unweighted(error.square().mean(1))}
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
        penalty: Pairwise | nn.ModuleDict | None,
        *,
        objective: Objective,
        optimizer: Optimizer,
        penalty_optimizer: Optimizer | None = None,
        schedulers: Sequence[LRScheduler] = (),
        inner_steps: int = 5,
        keep_up: KeepUp | None = None,
        clip: Callable[[list[nn.Parameter]], Tensor | None] | None = None,
        nonfinite: Literal["stop", "skip"] = "stop",
        seed: int | None = None,
        backward: Callable[[Tensor], None] = Tensor.backward,
        processes: SingleProcess | DistributedProcesses | None = None,
    ):
        if nonfinite not in ("stop", "skip"):
            raise ValueError(f"expected nonfinite to be 'stop' or 'skip', got {nonfinite!r}")
        kinds = kinds_of(penalty)
        learns = any(kind.learns for kind in kinds.values())
        if learns and penalty_optimizer is None:
            raise ValueError("expected a penalty_optimizer for a penalty with parameters, got None")
        if learns:
            refuse_other_than_counts(inner_steps=inner_steps)
        for kind in kinds.values():
            refuse_frozen(kind)
        refuse_optimizers(model, penalty, optimizer, penalty_optimizer)
        refuse_other_schedulers(schedulers, optimizer, penalty_optimizer)
        refuse_plateaus(schedulers)
        if keep_up is not None:
            refuse_schedulers(schedulers, penalty_optimizer)
            refuse_tensor_rates(penalty_optimizer)
        refuse_seed(seed)
        self.model: Any = model
        self.penalty, self.kinds, self.learns = penalty, kinds, learns
        dials = {name: getattr(kind, "dial", None) for name, kind in kinds.items()}
        self.dials = {name: dial for name, dial in dials.items() if isinstance(dial, Dial)}
        self.objective = objective
        self.optimizer, self.penalty_optimizer = optimizer, penalty_optimizer
        self.schedulers = schedulers
        self.inner_steps, self.keep_up = inner_steps, keep_up
        self.clip, self.nonfinite = clip, nonfinite
        self.seed, self.iteration = seed, 0
        self.backward = backward
        self.processes = SingleProcess() if processes is None else processes
        if self.processes.size > 1 and seed is None:
            raise ValueError(
                f"expected a seed where {self.processes.size} processes train, got None: the noise inside the "
                "penalty has to be the same in all of them"
            )
        self.lag = Lag()
        self._alike = False  # whether all processes have the first one's weights
        self._repeats = False  # whether the model was seen to encode a piece twice alike
        self._warned = False  # that there are too few rows to compare
        self._skips = 0
        self._gradients: Watch | None = None  # of the iteration before, on a device that is not waited for

    def __call__(self, *batches: Any) -> StepRecord:
        """Takes one step.

        Arguments:
            batches: A batch, or the pieces of one; none for a process that has no rows of it.
        """
        if starting := not self._alike:
            self._start_alike()
        self.iteration += 1
        # such as statistics that follow the batches, which a step that is left out leaves alone
        buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        seeds = self._seeds(len(batches))
        whole = len(batches) <= 1
        encoded = [self._encode(piece, seed, graph=whole) for piece, seed in zip(batches, seeds, strict=True)]
        leaves = [piece.leaf(of_graph=whole) for piece in encoded]
        batch = join(self.processes.exchange(leaves))
        rms, values = batch.root_mean_squares(), batch.detach()
        record = StepRecord(None, dict(values.losses), {}, rms, None)
        totals = {name: rows.total() for name, rows in record.losses.items()}
        watch = Watch({**{f"variable {name}": size for name, size in rms.items()}, **totals})
        known = self.nonfinite == "skip" or watch.arrived is None
        if known and (bad := watch.nonfinite()):
            return self._leave_out(record, bad, buffers)
        self._seed("penalty")
        single = self._single(batch)
        learning = self._fit(values.absent(single).at_least_float32()) if self.learns else Learning()
        record = record._replace(**learning._asdict())
        record = self._differentiate(batch.absent(single), record, has_rows=bool(batches))
        idle = [p for p in parameters_beside(self.model, self.optimizer) if p.grad is None] if starting else []
        shares = [leaf.differentiable() for leaf in leaves]
        if whole:
            for each, share in zip(encoded, shares, strict=True):
                self._pull(each, share)
        else:
            put_back(self.model, buffers)  # the batch is to count once in what follows it
            for piece, seed, first, share in zip(batches, seeds, encoded, shares, strict=True):
                again = self._encode(piece, seed, graph=True)
                if not self._repeats:
                    refuse_other_values(first, again)
                self._pull(again, share)
            self._repeats = True
        refuse_unregistered(idle)
        return self._move(record, watch, buffers)

    def _start_alike(self) -> None:
        """Gives all processes the first one's weights before the first step: later only gradients travel."""
        modules = [self.model] if self.penalty is None else [self.model, self.penalty]
        self.processes.copy_from_first(t for module in modules for t in (*module.parameters(), *module.buffers()))
        self.processes.copy_from_first(parameters_beside(self.model, self.optimizer))
        self._alike = True

    def _encode(self, batch: Any, seed: int | None, graph: bool) -> Encoded:
        if seed is not None:
            seed_torch(seed)
        with torch.set_grad_enabled(graph):
            computed = self.model(batch)
            refuse_other_than_names(computed, "model(batch)", "variables")
            losses = self.model.losses(computed, batch)
            refuse_losses(losses)
        if not graph:
            torch.clear_autocast_cache()  # of casts without a graph, which the second encoding must not take
        variables = {name: as_rows(variable, name) for name, variable in computed.items() if name[:1] != "_"}
        present = self.model.present(batch)
        if present is not None:
            present = {**present, **presences_of(variables, present)}
        if graph:
            for kind in self.kinds.values():
                refuse_dead_pairs(kind, variables, present)
        return Encoded(variables, present, losses)

    def _single(self, batch: Encoded) -> list[str]:
        """The variables of pairs that have fewer than two rows, in which nothing can be told apart; warns the first time."""
        paired = {name for kind in self.kinds.values() for names in kind.pairs for name in names}
        single = [name for name in batch.single() if name in paired]
        if single and not self._warned:
            self._warned = True
            warning = too_few_rows(f"iteration {self.iteration}", single)
            warnings.warn(warning, stacklevel=3)  # where the step was called
        return single

    def _fit(self, batch: Encoded) -> Learning:
        """The estimators' phase."""
        assert self.penalty_optimizer is not None
        return take_inner_steps(
            self.kinds, self.penalty_optimizer, batch, self.inner_steps, self.lag, self.backward, self.keep_up
        )

    def _differentiate(self, batch: Encoded, record: StepRecord, has_rows: bool) -> StepRecord:
        """The objective of all rows, and its gradients in the leaves that were joined to them."""
        self.optimizer.zero_grad(set_to_none=True)
        self.model.zero_grad(set_to_none=True)  # of parameters that no optimiser holds, gradients would add up
        with frozen(self.penalty):
            for dial in self.dials.values():
                dial.train()
            values = self._values(batch.at_least_float32())
            penalties = values if isinstance(self.penalty, nn.ModuleDict) else values.get("", {})
            objective = self.objective(batch.losses, penalties)
            if not isinstance(objective, Tensor) or objective.dim() or (has_rows and not objective.requires_grad):
                raise ValueError(f"expected the objective to be a scalar with a gradient, got {objective!r}")
            if objective.requires_grad:
                self.backward(objective)
        # What the objective holds itself has the same gradient in every process: it counts once.
        if self.processes.rank:
            self.optimizer.zero_grad(set_to_none=True)
        weights = {name: dial.weights for name, dial in self.dials.items()}
        return record._replace(
            objective=objective.detach(),
            penalties=_outside_the_graph(penalties),
            weights=weights if isinstance(self.penalty, nn.ModuleDict) else weights.get("", {}),
        )

    def _values(self, batch: Encoded) -> dict[str, dict[str, Tensor]]:
        """The penalty of each kind, in the estimators' precision."""
        if not self.kinds:
            return {}
        with torch.autocast(batch.device.type, enabled=False):
            return {name: kind(batch.variables, batch.present) for name, kind in self.kinds.items()}

    def _pull(self, piece: Encoded, leaves: list[Tensor]) -> None:
        """Takes the gradients of the leaves back through the model."""
        pairs = [
            (tensor, leaf.grad)
            for tensor, leaf in zip(piece.differentiable(), leaves, strict=True)
            if tensor.requires_grad and leaf.grad is not None
        ]
        if pairs:
            torch.autograd.backward([tensor for tensor, _ in pairs], [gradient for _, gradient in pairs])

    def _move(self, record: StepRecord, encoded: Watch, buffers: Mapping[str, Tensor]) -> StepRecord:
        """The model's step, unless something is not finite, be it what was `encoded`."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.processes.add_gradients(parameters)
        norm = None if self.clip is None else self.clip(parameters)
        norm = torch.tensor(norm) if isinstance(norm, float) else norm
        values = {"objective": record.objective, **flat(record.penalties), "likelihood": record.likelihood}
        watch = Watch({name: value for name, value in values.items() if value is not None})
        bad = encoded.nonfinite() + watch.nonfinite()
        bad += self._gradients.nonfinite() if self._gradients else []
        self._gradients = None
        scaler = getattr(self.optimizer, "scaler", None)
        if not bad and scaler is None:  # a scaler looks for infinite gradients itself
            norm = get_total_norm(gradients_of(parameters)) if norm is None else norm
            self._gradients = Watch({"gradients": norm})
            if self._gradients.arrived is None or self.nonfinite == "skip":  # which has waited already
                bad, self._gradients = self._gradients.nonfinite(), None
        if bad:
            if scaler is not None and norm is not None:
                scaler.update()  # the clipping has unscaled, and the next one would be refused
            return self._leave_out(record, bad, buffers)
        self._skips = 0
        self.optimizer.step()
        torch.clear_autocast_cache()  # of casts of the weights as they were, where autocast is on around several steps
        if not getattr(self.optimizer, "step_was_skipped", False):  # by a scaler
            for scheduler in self.schedulers:
                scheduler.step()
        return record

    def _leave_out(self, record: StepRecord, bad: list[str], buffers: Mapping[str, Tensor]) -> StepRecord:
        self.optimizer.zero_grad(set_to_none=True)
        put_back(self.model, buffers)
        self._gradients = None
        self._skips += 1
        if self.nonfinite == "stop" or self._skips >= SKIPS:
            times = f", {self._skips} times in a row" if self._skips > 1 else ""
            raise NonFiniteError(f"iteration {self.iteration}: not finite: {', '.join(bad)}{times}", bad)
        return record._replace(nonfinite=tuple(bad))

    def _seeds(self, pieces: int) -> list[int | None]:
        """A seed for each piece: where it is encoded twice, the noise has to be the same."""
        if self.seed is not None:
            self._seed("model", self.processes.rank)
        elif pieces <= 1:
            return [None] * pieces
        return torch.randint(2**62, (pieces,)).tolist()

    def _seed(self, *purpose: int | str) -> None:
        if self.seed is not None:
            seed_noise(self.seed, self.iteration, *purpose)


def _outside_the_graph(penalties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.detach() if isinstance(value, Tensor) else _outside_the_graph(value)
        for name, value in penalties.items()
    }
