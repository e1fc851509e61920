"""Epochs around `AlternatingStep`: devices, processes, precision, progress, validation, checkpoints, and going on from one.

Devices, mixed precision and trackers are Accelerate's. The trainer knows nothing of what a model is made of, nor of its
task: `evaluate` says how good it is, `objective` what it minimises.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader

from disentangle.errors import NonFiniteError, RunError
from disentangle.inference import evaluating
from disentangle.pairwise import Pairwise
from disentangle.training.accelerators import accelerator_for
from disentangle.training.bar import Bar
from disentangle.training.checkpoints import Checkpoints
from disentangle.training.epochs import Epochs
from disentangle.training.interrupts import Interrupts
from disentangle.training.means import Means
from disentangle.training.monitor import Monitor
from disentangle.training.processes import Alone, Group
from disentangle.training.records import Position, moved, plain, short
from disentangle.training.run import Run
from disentangle.training.step import AlternatingStep, Objective

__all__ = ["AlternatingTrainer"]

Record = dict[str, Any]


class AlternatingTrainer:
    """Trains a model against pairwise penalties, epoch by epoch.

    **Several processes**, started by `accelerate launch` or `torchrun`, share each batch of the loader, and the objective
    sees all of its rows: estimators, logarithms of losses and penalties are those of one process with the whole batch, and so
    are the gradients, to rounding. The estimators learn in every process alike. Noise such as dropout differs from that of one
    process.

    **Going on.** With a run, checkpoints are written; `fit(..., resume=True)` goes on from the newest one, and ends with the
    weights, the optimisers' states and the metrics that the run would have had, bit for bit on a CPU.

    Arguments:
        model: The model, see `disentangle.Model`.
        penalty: What must not depend on what, a `Pairwise`, or an `nn.ModuleDict` of some; `None` for no penalty.
        objective: Maps losses and penalties to the scalar that the model minimises.
        optimizer: The optimiser of the model, in any number of groups.
        penalty_optimizer: The optimiser of the penalty's estimators, where it has any.
        schedulers: Learning rate schedulers of either; each takes a step an iteration.
        inner_steps: How many steps the estimators take for one of the model.
        accumulation: How many batches of the loader make one step: the gradients are those of one large batch, the memory is
            that of a small one, the model encodes each batch twice.
        clip_norm: The norm to which the model's gradients are clipped.
        nonfinite: What to do where something is not finite: `"stop"` raises, and leaves a snapshot; `"skip"` leaves the step
            out and counts.
        seed: What the order of batches and the noise are functions of, with the epoch and the step.
        run: Where to leave logs and checkpoints; without it nothing is written.
        device: `"auto"` takes the accelerator if there is one.
        precision: `"no"`, `"bf16"` or `"fp16"`, Accelerate's mixed precision.
        trackers: What else to log to, by Accelerate: `"tensorboard"`, `"wandb"`, `"mlflow"`, ... or trackers of one's own.
        progress: Whether to show a progress bar; where nobody watches, it is a line a report.

    Raises:
        ValueError: If the device, precision or a tracker asked for is not there, and what `AlternatingStep` raises.

    Example:
        >>> from torch.utils.data import TensorDataset
        >>> from disentangle import CLUBEstimator, Model, Rows
        >>> class Two(Model):  # one latent predicts, the other must not know it
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.a, self.b = nn.Linear(4, 1), nn.Linear(4, 2)
        ...     def forward(self, batch):
        ...         return {"a": self.a(batch[0]), "b": self.b(batch[0])}
        ...     def losses(self, variables, batch):
        ...         return {"Y": Rows.unweighted((variables["a"].squeeze(1) - batch[1]).square())}
        >>> x = torch.randn(64, 4)
        >>> model, penalty = Two(), Pairwise({("b", "a"): CLUBEstimator(2, 1)})
        >>> trainer = AlternatingTrainer(
        ...     model,
        ...     penalty,
        ...     objective=lambda losses, penalties: losses["Y"].mean() + 0.1 * sum(penalties.values()),
        ...     optimizer=torch.optim.Adam(model.parameters(), 1e-2),
        ...     penalty_optimizer=torch.optim.Adam(penalty.parameters(), 1e-3),
        ...     device="cpu",
        ...     progress=False,
        ... )
        >>> batches = DataLoader(TensorDataset(x, x.sum(1)), batch_size=16, shuffle=True)
        >>> mae = lambda model: {"mae": (model.a(x).squeeze(1) - x.sum(1)).abs().mean().item()}
        >>> history = trainer.fit(batches, epochs=2, evaluate=mae, monitor="mae")
        >>> sorted(history[-1]["penalties"]), history[-1]["epoch"], history[-1]["step"]
        (['CLUB(b;a)'], 2, 8)
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
        accumulation: int = 1,
        clip_norm: float | None = None,
        nonfinite: Literal["stop", "skip"] = "stop",
        seed: int = 0,
        run: Run | None = None,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        precision: Literal["no", "bf16", "fp16"] = "no",
        trackers: Sequence[Any] = (),
        progress: bool = True,
    ):
        if accumulation < 1:
            raise ValueError(f"expected an accumulation of at least 1, got {accumulation}")
        self.accelerator = accelerator_for(device, precision, trackers, None if run is None else run.folder)
        self.model: Any = model.to(self.accelerator.device)
        self.penalty = None if penalty is None else penalty.to(self.accelerator.device)
        self.processes = Group() if dist.is_initialized() and dist.get_world_size() > 1 else Alone()
        self.run, self.seed, self.accumulation = run, seed, accumulation
        self.progress = progress and self.accelerator.is_main_process
        # Only scaled gradients need Accelerate's own optimisers and backward, which look for packages at every call.
        scaled = self.accelerator.scaler is not None
        prepare = self.accelerator.prepare if scaled else lambda part: part
        clip_to = self.accelerator.clip_grad_norm_ if scaled else nn.utils.clip_grad_norm_
        self.step = AlternatingStep(
            self.model,
            self.penalty,
            objective=objective,
            optimizer=prepare(optimizer),
            penalty_optimizer=None if penalty_optimizer is None else prepare(penalty_optimizer),
            schedulers=schedulers,
            inner_steps=inner_steps,
            clip=None if clip_norm is None else lambda parameters: clip_to(parameters, clip_norm),
            nonfinite=nonfinite,
            seed=seed,
            backward=self.accelerator.backward if scaled else Tensor.backward,
            processes=self.processes,
        )
        if trackers:
            name = "disentangle" if run is None else run.folder.name
            self.accelerator.init_trackers(name, config=None if run is None else plain(run.config))

    def fit(
        self,
        batches: DataLoader[Any],
        epochs: int,
        *,
        evaluate: Callable[[Any], Mapping[str, float | None]] | None = None,
        monitor: str | None = None,
        mode: Literal["min", "max"] = "min",
        patience: int | None = None,
        evaluate_every: int | None = None,
        checkpoint_every: int | None = None,
        callbacks: Sequence[Callable[[AlternatingTrainer, Record], object]] = (),
        resume: bool = False,
    ) -> list[Record]:
        """Trains for `epochs` passes over `batches`; with a run and a metric to monitor, ends with the best weights.

        A report is written at the end of each epoch, or every `evaluate_every` steps: the means since the last one, what
        `evaluate` says, and whether it is the best so far.

        Arguments:
            batches: What to train on. If its sampler or batch sampler has a `set_epoch`, that is called with 0, 1, ...
            epochs: How many passes.
            evaluate: Called with the model, in evaluation mode and without gradients: the metrics on the validation split.
            monitor: The metric that decides which report is best; `None` values never win.
            mode: Whether the best is the smallest or the largest.
            patience: After how many reports in a row without a new best training ends.
            evaluate_every: How many steps there are between reports, instead of an epoch.
            checkpoint_every: How many steps there are between checkpoints, instead of one with each report.
            callbacks: Functions of the trainer and the report, called after each; training ends if one returns `True`.
            resume: Whether to go on from the newest checkpoint of the run; one without any starts from the beginning.

        Returns:
            The reports: the lines of `metrics.jsonl`.

        Raises:
            ValueError: If a number is out of range or the metric to monitor is not evaluated.
            RunError: If the run has checkpoints and is not to be resumed, if none of its checkpoints can be used, or if
                the disk is full; what was saved before is kept.
            NonFiniteError: If something is not finite. The model is as it was before the step; with a run, a snapshot of
                everything is in its folder `nonfinite`.
            KeyboardInterrupt: As it came, after a step's end and a checkpoint.
        """
        for name, value in {
            "epochs": epochs,
            "evaluate_every": evaluate_every,
            "checkpoint_every": checkpoint_every,
        }.items():
            if value is not None and value < 1:
                raise ValueError(f"expected {name} of at least 1, got {value}")
        if monitor is not None and evaluate is None:
            raise ValueError(f"expected a function that evaluates {monitor!r}, got none")
        self._epochs = Epochs(batches, self.seed, self.processes.rank, self.processes.size)
        self._means, self._monitor, self._position = Means(), Monitor(monitor, mode, patience), Position()
        self._saved: int | None = None  # the step of the last checkpoint
        history = self._restore() if resume else self._start()
        self.model.train()
        bar = Bar(epochs * -(-len(self._epochs) // self.accumulation), self._position.step, shown=self.progress)
        started = time.perf_counter()
        try:
            with Interrupts() as interrupts:
                for ended in self._steps(epochs, interrupts):
                    bar.update()
                    position = self._position
                    due = ended if evaluate_every is None else position.step % evaluate_every == 0
                    if due := due or position.epoch == epochs:
                        report = self._report(evaluate, time.perf_counter() - started)
                        started = time.perf_counter()
                        history.append(report)
                        self._log(report)
                        bar.report(self._summary(report))
                        position.stopped = self._called(callbacks, report) or self._monitor.exhausted
                    if due if checkpoint_every is None else position.step % checkpoint_every == 0:
                        self._save()
        except NonFiniteError as error:
            raise self._snapshot(error) from error
        finally:
            bar.close()
            if self._writes and self.run is not None:
                self.run.draw()
        self._finish(history)
        return history

    def _steps(self, epochs: int, interrupts: Interrupts) -> Iterator[bool]:
        """Takes the steps that are left, and says after each whether it ended an epoch."""
        from accelerate.utils import send_to_device

        position = self._position
        while position.epoch < epochs and not position.stopped:
            loader = self._epochs.start(position.epoch, position.batch)
            while group := list(islice(loader, self.accumulation)):
                pieces = [
                    send_to_device(batch, self.accelerator.device, non_blocking=True)
                    for batch in group
                    if batch is not None
                ]
                self.step.iteration = position.step
                with self.accelerator.autocast():
                    self._means.add(self.step(*pieces))
                position.step += 1
                position.batch += len(group)
                ended = position.batch >= len(self._epochs)
                if ended:
                    position.epoch, position.batch = position.epoch + 1, 0
                yield ended
                if self.processes.any(interrupts.heard is not None):
                    self._save()
                    interrupts.raise_it()
                if position.stopped:
                    break

    def _report(self, evaluate: Callable[[Any], Mapping[str, float | None]] | None, seconds: float) -> Record:
        position = self._position
        epoch = position.epoch + (position.batch > 0)
        rates = [group["lr"] for group in self.step.optimizer.param_groups]
        record = {"epoch": epoch, "step": position.step, **self._means.read(), "lr": float(rates[0])}
        if evaluate is not None:
            self._copy_buffers()
            record["valid"] = self.processes.from_first(self.evaluate(evaluate))
            if self._monitor.improves(record["valid"]):
                record["best"] = True
        record["seconds"] = round(seconds, 3)
        position.reports += 1
        return record

    def evaluate(self, evaluate: Callable[[Any], Mapping[str, float | None]]) -> dict[str, float | None]:
        """What `evaluate` says of the model, as during `fit`: in evaluation mode, without gradients, in the same precision."""
        with evaluating(self.model), torch.no_grad(), self.accelerator.autocast():
            return dict(evaluate(self.model))

    def _called(self, callbacks: Sequence[Callable[[AlternatingTrainer, Record], object]], report: Record) -> bool:
        answers = [callback(self, report) for callback in callbacks]
        return self.processes.any(any(answer is True for answer in answers))

    def _summary(self, report: Record) -> str:
        parts = [f"epoch {report['epoch']}"]
        if (metric := self._monitor.metric) is not None:
            parts += [f"valid {metric} {short(report['valid'][metric])}", f"best {short(self._monitor.best)}"]
        elif (objective := report.get("objective")) is not None:
            parts.append(f"objective {short(objective)}")
        if skipped := report.get("skipped"):
            parts.append(f"{skipped} steps skipped")
        return ", ".join(parts)

    def _log(self, report: Record) -> None:
        if self.accelerator.trackers:
            self.accelerator.log(plain(report), step=report["step"])
        if self._writes and self.run is not None:
            self.run.log(report)
            if report.get("best"):
                self.run.save("best", self._modules())

    @property
    def _writes(self) -> bool:
        return self.run is not None and self.accelerator.is_main_process

    def _start(self) -> list[Record]:
        """A first start: everything as it is, in all processes as in the first."""
        if self.run is not None and self.processes.from_first(self.run.checkpoints.newest()) is not None:
            raise RunError(
                f"{self.run.folder}: holds checkpoints: fit(..., resume=True) goes on, or give another folder"
            )
        if self._writes and self.run is not None:
            self.run.truncate(0)
        for module in self._modules().values():
            self.processes.copy_from_first([*module.parameters(), *module.buffers()])
        return []

    def _restore(self) -> list[Record]:
        """Goes on from the newest checkpoint that is whole."""
        if self.run is None:
            raise RunError("expected a run to resume, got none")
        state = self.run.checkpoints.load(self._modules()) if self.processes.rank == 0 else None
        step = self.processes.from_first(None if state is None else state["position"]["step"])
        if step is None:
            return self._start()
        if self.processes.rank:
            state = self.run.checkpoints.load(self._modules(), step)
        assert state is not None
        if state["batches"] != len(self._epochs):
            raise RunError(
                f"{self.run.folder}: expected the data it was started on, {state['batches']} batches an epoch, "
                f"got {len(self._epochs)}"
            )
        self._position = Position(**state["position"])
        for part, saved in zip(self._parts(), state["parts"], strict=True):
            part.load_state_dict(saved)
        self._saved = self._position.step
        self._means.load_state_dict(moved(self.accelerator.device, state["means"]))
        if self._writes:
            self.run.truncate(self._position.reports)
        return self.run.history[: self._position.reports]

    def _parts(self) -> list[Any]:
        """What has a state beside the weights."""
        optimizers = [self.step.optimizer, self.step.penalty_optimizer]
        parts = [optimizer for optimizer in optimizers if optimizer is not None]
        return [*parts, *self.step.schedulers, *filter(None, [self.accelerator.scaler]), self._monitor]

    def _state(self) -> dict[str, Any]:
        return {
            "position": asdict(self._position),
            "parts": [part.state_dict() for part in self._parts()],
            "means": self._means.state_dict(),
            "batches": len(self._epochs),
        }

    def _save(self) -> None:
        self._saved = self._position.step
        self._copy_buffers()
        if self._writes and self.run is not None:
            self.run.checkpoints.save(self._position.step, self._modules(), self._state())

    def _copy_buffers(self) -> None:
        """Running statistics are those of a process's own rows: the first one's count."""
        self.processes.copy_from_first(self.model.buffers())

    def _snapshot(self, error: NonFiniteError) -> NonFiniteError:
        """Keeps what there was before the step that failed; returns the error with where that is."""
        position = self._position
        where = f"step {position.step + 1}, epoch {position.epoch + 1}, batch {position.batch + 1}"
        kept = ""
        if self._writes and self.run is not None:
            folder = self.run.folder / "nonfinite"
            rows = [self._epochs.rows(position.batch + i) for i in range(self.accumulation)]
            snapshot = {**self._state(), "names": error.names, "rows": rows}
            Checkpoints(folder).save(position.step, self._modules(), snapshot)
            self.run.log({"step": position.step + 1, "nonfinite": error.names})
            kept = f"; a snapshot of the state before it is in {folder}, the checkpoints before it are kept"
        return NonFiniteError(f"{where}: not finite: {', '.join(error.names)}{kept}", error.names)

    def _finish(self, history: list[Record]) -> None:
        if self.run is None:
            return
        if self._saved != self._position.step:
            self._save()
        self.processes.from_first(None)  # has written
        if self._monitor.best is not None:
            self.run.load("best", self._modules())

    def _modules(self) -> dict[str, nn.Module]:
        return {"model": self.model} if self.penalty is None else {"model": self.model, "penalty": self.penalty}
