"""One fit of a trainer: where in the training it is, its steps, reports and checkpoints, and going on from one."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader

from disentangle.errors import DataWarning, NonFiniteError, RunError, SavedModelError
from disentangle.saving import restore, save
from disentangle.training.checkpoints import Checkpoints
from disentangle.training.determinism import Epochs
from disentangle.training.guards import parameters_beside, refuse_other_optimizer
from disentangle.training.interrupts import Interrupts
from disentangle.training.keep_up import KeepUp
from disentangle.training.lag import FIRST_STEPS, lag_warning
from disentangle.training.reports import Means, Monitor, ProgressBar, loggable, summary
from disentangle.training.run import MODEL, STEP
from disentangle.training.settings import freeze_as, frozen_names, give_values, heed_settings, settings_of
from disentangle.training.silent_pairs import SilentPairs

if TYPE_CHECKING:
    from disentangle.training.trainer import AlternatingTrainer

__all__ = ["Callback", "Evaluate", "Fit", "Report"]

Report = dict[str, Any]
Evaluate = Callable[[Any], Mapping[str, float | None]]
Callback = Callable[["AlternatingTrainer", Report], object]


@dataclass
class Position:
    """Where in the training one is: steps taken, the epoch, counted from 0, its batches that are done, reports written."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    reports: int = 0
    stopped: bool = False
    due: bool = False  # whether a report is, which an error or a signal came before


class Fit:
    """What exists while a trainer trains. The arguments are those of `AlternatingTrainer.fit`.

    Raises:
        ValueError: If an epoch of `batches` has no length, or they cannot be shared by several processes.
    """

    def __init__(
        self,
        trainer: AlternatingTrainer,
        batches: DataLoader[Any],
        epochs: int,
        *,
        evaluate: Evaluate | None,
        monitor: Monitor,
        evaluate_every: int | None,
        checkpoint_every: int | None,
        callbacks: Sequence[Callback],
    ):
        self.trainer, self.epochs, self.evaluate, self.monitor = trainer, epochs, evaluate, monitor
        self.evaluate_every, self.checkpoint_every, self.callbacks = evaluate_every, checkpoint_every, callbacks
        self.processes, self.run = trainer.processes, trainer.run
        self.written_run = trainer.run if trainer.accelerator.is_main_process else None  # by the first process alone
        self.loader = Epochs(batches, trainer.seed, self.processes.rank, self.processes.size)
        self.means, self.position = Means(), Position()
        self.warned = False  # that estimators lag
        self.silent = SilentPairs(trainer.step.kinds)
        self.started = 0.0  # when the report under way was begun
        self.saved: Position | None = None  # where the last checkpoint was written
        self.settings: dict[str, Any] | None = None  # what the run was started with
        if self.run is not None:
            self.settings = settings_of(trainer.seed, trainer.accumulation, batches, self._changing())
        self.history: list[Report] = []

    def train(self, resume: bool) -> list[Report]:
        """Takes all steps that are left, and returns all reports."""
        with self.written_run.alone() if self.written_run is not None else nullcontext():
            return self._train(resume)

    def _train(self, resume: bool) -> list[Report]:
        if resume:
            self._resume()
        else:
            self._start()
        self.trainer.model.train()
        steps = self.epochs * -(-len(self.loader) // self.trainer.accumulation)
        bar = ProgressBar(steps, self.position.step, shown=self.trainer.progress)
        self.started = time.perf_counter()
        position = self.position
        try:
            with Interrupts() as interrupts:
                if position.due:
                    self._report_on(bar, interrupts)
                for ended in self._steps(interrupts):
                    bar.update()
                    due = ended if self.evaluate_every is None else position.step % self.evaluate_every == 0
                    if due := due or position.epoch == self.epochs:
                        self._report_on(bar, interrupts)
                    wanted = due if self.checkpoint_every is None else position.step % self.checkpoint_every == 0
                    if wanted and self.saved != position:
                        self._save()
        except NonFiniteError as error:
            raise self._snapshot(error) from error
        finally:
            bar.close()
            if self.written_run is not None:
                self.written_run.draw()
        self._finish()
        return self.history

    def _report_on(self, bar: ProgressBar, interrupts: Interrupts) -> None:
        """A report, and what the callbacks make of it. What a signal or an error cuts short is due where the run goes on."""
        position = self.position
        position.due = True
        try:
            valid = self._evaluated(interrupts)
            report = self._report(valid, time.perf_counter() - self.started)
            self.started = time.perf_counter()
            bar.report(summary(report, self.monitor))
            position.stopped = self._called(report) or self.monitor.exhausted
        except Exception:
            if self.processes.size == 1:  # else the others would have to save, too
                self._save()
            raise

    def _evaluated(self, interrupts: Interrupts) -> dict[str, float | None] | None:
        """The metrics, as the first process has them; a signal does not wait for them, and breaks the training off."""
        valid, evaluate = None, self.evaluate
        if evaluate is not None:
            self._copy_buffers()
            valid = interrupts.unless_heard(lambda: self.trainer.evaluate(evaluate))
        self._heed(interrupts)
        return self.processes.from_first(valid)

    def _heed(self, interrupts: Interrupts) -> None:
        """Ends the training, by a checkpoint, where any process has heard a signal."""
        if self.processes.any(interrupts.heard is not None):
            self._save()
            interrupts.raise_it()

    def _steps(self, interrupts: Interrupts) -> Iterator[bool]:
        """Takes the steps that are left, and says after each whether it ended an epoch."""
        from accelerate.utils import send_to_device

        position, trainer = self.position, self.trainer
        while position.epoch < self.epochs and not position.stopped:
            batches = self.loader.start(position.epoch, position.batch)
            while group := self._next(batches, interrupts):
                pieces = [
                    send_to_device(batch, trainer.accelerator.device, non_blocking=True)
                    for batch in group
                    if batch is not None
                ]
                trainer.step.iteration = position.step
                with trainer.accelerator.autocast():
                    self.means.add(trainer.step(*pieces))
                position.step += 1
                position.batch += len(group)
                ended = position.batch >= len(self.loader)
                if ended:
                    position.epoch, position.batch = position.epoch + 1, 0
                yield ended
                self._heed(interrupts)
                if position.stopped:
                    break

    def _next(self, batches: Iterator[Any], interrupts: Interrupts) -> list[Any]:
        """The batches of a step; none at the end of an epoch. Where a signal ended the workers too, it writes a checkpoint."""
        try:
            return list(islice(batches, self.trainer.accumulation))
        except RuntimeError:
            if interrupts.heard is None or self.processes.size > 1:
                raise
            self._save()
            interrupts.raise_it()
            raise

    def _report(self, valid: dict[str, float | None] | None, seconds: float) -> Report:
        """Reads the means, and writes them and the metrics down."""
        position = self.position
        epoch = position.epoch + (position.batch > 0)
        rates = [group["lr"] for group in self.trainer.step.optimizer.param_groups]
        best = valid is not None and self._judge(valid)
        position.due = False
        report = {"epoch": epoch, "step": position.step, **self.means.read()}
        report["lr"] = None if rates[0] is None else float(rates[0])  # some find their rate themselves
        if self.trainer.step.keep_up is not None and self.trainer.step.penalty_optimizer is not None:
            report["penalty_lr"] = KeepUp.rate(self.trainer.step.penalty_optimizer).item()
        if valid is not None:
            report |= {"valid": valid, **({"best": True} if best else {})}
        self._warn_of_lag(report)
        if position.epoch or position.step >= FIRST_STEPS:
            for warning in self.silent.warnings(f"step {position.step}", report["penalties"]):
                warnings.warn(warning, stacklevel=6)  # where the user called fit
        report["seconds"] = round(seconds, 3)
        if self.written_run is not None:
            self.written_run.log(report)
        position.reports += 1
        self.history.append(report)
        if self.trainer.accelerator.trackers:  # last: one that is down does not cost the line
            self.trainer.accelerator.log(loggable(report), step=report["step"])
        if report.get("best"):
            self._save()  # before the model: what goes on from here is never older than the best model
            self._save_best()
        return report

    def _judge(self, valid: Mapping[str, float | None]) -> bool:
        """Whether these metrics are the best so far; rates that follow the metric hear of it."""
        best = self.monitor.improves(valid)
        for plateau in self.trainer.plateaus:
            score = valid[str(self.monitor.metric)]
            plateau.step(math.nan if score is None else score)  # which is no better than any
        return best

    def _warn_of_lag(self, report: Report) -> None:
        """Says in the report where estimators lag in two reports in a row, and warns the first time."""
        lags = [each.get("lag", 0.0) for each in (*self.history[-1:], report)]
        rate = "raise the learning rate of the penalty_optimizer, say threefold, or inner_steps"
        cure = rate if self.trainer.step.keep_up is None else "raise inner_steps"
        warning = lag_warning(f"step {report['step']}", lags, cure)
        if report["step"] < FIRST_STEPS or warning is None:
            return
        if not self.warned:
            warnings.warn(warning, stacklevel=7)  # where the user called fit
        report["lags"] = self.warned = True

    def _save_best(self) -> None:
        trainer = self.trainer
        if self.written_run is None:
            return
        try:
            config = {**trainer.config, STEP: self.position.step}
            save(self.written_run.folder / MODEL, trainer.model, config, tokenizer=trainer.tokenizer)
        except SavedModelError as error:
            raise RunError(str(error)) from error

    def _called(self, report: Report) -> bool:
        """Whether a callback, in any process, ends the training."""
        answers = [callback(self.trainer, report) for callback in self.callbacks]
        return self.processes.any(any(_is_true(answer) for answer in answers))

    def _start(self) -> None:
        """A first start; the first step gives all processes the first one's weights."""
        if self.run is not None and self.processes.from_first(self.run.checkpoints.newest()) is not None:
            raise RunError(
                f"{self.run.folder}: holds checkpoints: fit(..., resume=True) goes on, or give another folder"
            )
        if self.written_run is not None:
            self.written_run.truncate(0)

    def _resume(self) -> None:
        """Goes on from the newest checkpoint that is whole."""
        from accelerate.utils import send_to_device

        if self.run is None:
            raise RunError("expected a run to resume, got none")
        modules = self.trainer.modules
        state = self.run.checkpoints.load(modules) if self.processes.rank == 0 else None
        step = self.processes.from_first(None if state is None else state["position"]["step"])
        if step is None:
            self._start()
            return
        if self.processes.rank:
            state = self.run.checkpoints.load(modules, step)
        assert state is not None
        if state["batches"] != len(self.loader):
            raise RunError(
                f"{self.run.folder}: expected the data it was started on, {state['batches']} batches per epoch, "
                f"got {len(self.loader)}"
            )
        assert self.settings is not None
        heed_settings(state.get("settings"), self.settings, self.run.folder)
        self.settings = state.get("settings")
        self.position = Position(**state["position"])
        self._load_parts(state["parts"])
        give_values(self._beside(), state.get("beside", []), self.run.folder)
        freeze_as(state.get("frozen"), modules["model"], self.run.folder)
        self.saved = replace(self.position)
        means: Any = send_to_device(state["means"], self.trainer.accelerator.device)
        self.means.load_state_dict(means)
        if self.written_run is not None:
            self.written_run.truncate(self.position.reports)
        self.history = self.run.history[: self.position.reports]
        self.silent.seen.update(label for report in self.history for label in report["penalties"])
        if self.history and self.history[-1].get("best") and self.history[-1]["step"] == self.position.step:
            self._save_best()  # it may have been stopped between the two
        elif wrong := self.run.refuted_model(self.history):
            warnings.warn(DataWarning(f"{wrong}: the next evaluation counts as the best so far"), stacklevel=5)
            self.monitor.best = None

    def _load_parts(self, states: list[Any]) -> None:
        """Gives what has a state beside the weights the state it had; refuses other optimisers, schedulers or metrics."""
        assert self.run is not None
        parts = self._parts()
        if len(parts) != len(states):
            raise RunError(
                f"{self.run.folder}: expected the optimisers and schedulers that it was started with, {len(states)} states, "
                f"got {len(parts)}"
            )
        for part, saved in zip(parts, states, strict=True):
            try:
                if "param_groups" in saved:
                    refuse_other_optimizer(part, saved)
                part.load_state_dict(saved)
            except (ValueError, KeyError) as error:
                raise RunError(f"{self.run.folder}: {type(part).__name__}: {error}") from error
        by_patience = states[-1].get("exhausted", False)
        if not self.monitor.exhausted and (by_patience or not self.callbacks):  # a larger one, or no callback any more
            self.position.stopped = False

    def _beside(self) -> list[torch.nn.Parameter]:
        return parameters_beside(self.trainer.model, self.trainer.step.optimizer)

    def _changing(self) -> list[Any]:
        """The optimisers and schedulers."""
        step = self.trainer.step
        optimizers = [each for each in (step.optimizer, step.penalty_optimizer) if each is not None]
        return [*optimizers, *step.schedulers, *self.trainer.plateaus]

    def _parts(self) -> list[Any]:
        """What has a state beside the weights."""
        scaler = self.trainer.accelerator.scaler
        return [self.trainer.step.lag, *self._changing(), *filter(None, [scaler]), self.monitor]

    def _state(self) -> dict[str, Any]:
        return {
            "position": asdict(self.position),
            "parts": [part.state_dict() for part in self._parts()],
            "means": self.means.state_dict(),
            "batches": len(self.loader),
            "settings": self.settings,
            "beside": [p.detach() for p in self._beside()],
            "frozen": frozen_names(self.trainer.modules["model"]),
        }

    def _save(self) -> None:
        """Writes a checkpoint, where there is a run."""
        self.saved = replace(self.position)
        self._copy_buffers()
        if self.written_run is not None:
            self.written_run.checkpoints.save(self.position.step, self.trainer.modules, self._state())

    def _copy_buffers(self) -> None:
        """Gives all processes the first one's buffers: running statistics are computed from a process's own rows."""
        self.processes.copy_from_first(self.trainer.model.buffers())

    def _snapshot(self, error: NonFiniteError) -> NonFiniteError:
        """Keeps what there was before the step that failed; returns the error with where that is."""
        position = self.position
        where = f"step {position.step + 1}, epoch {position.epoch + 1}, batch {position.batch + 1}"
        kept = ""
        if self.written_run is not None:
            folder = self.written_run.folder / "nonfinite"
            rows = [self.loader.rows(position.batch + i) for i in range(self.trainer.accumulation)]
            snapshot = {**self._state(), "names": error.names, "rows": rows}
            Checkpoints(folder).save(position.step, self.trainer.modules, snapshot)
            self.written_run.log({"step": position.step + 1, "nonfinite": error.names})
            kept = f"; a snapshot of the state is in {folder}"
            if (newest := self.written_run.checkpoints.newest()) is not None:
                kept += f", and the run goes on from its checkpoint of step {newest}"
        return NonFiniteError(f"{where}: not finite: {', '.join(error.names)}{kept}", error.names)

    def _finish(self) -> None:
        """Writes the last checkpoint, and brings the model's best weights back; warns where there are none."""
        if self.monitor.metric is not None and self.monitor.best is None:
            warnings.warn(
                f"expected a finite value of {self.monitor.metric}, got none in any evaluation: no weights are the best, the "
                "model has its last ones; those of a run are in its last checkpoint alone",
                stacklevel=5,  # where the user called fit
            )
        if self.run is None:
            return
        if self.saved != self.position:
            self._save()
        self.processes.from_first(None)  # waits until it has written
        if self.monitor.best is not None:
            try:
                restore(self.run.folder / MODEL, self.trainer.model)
            except SavedModelError as error:
                raise RunError(str(error)) from error


def _is_true(answer: object) -> bool:
    """Whether a callback says `True`, be it by a boolean of NumPy or torch; anything else that it may return says nothing."""
    return answer is True or (str(getattr(answer, "dtype", "")) in ("bool", "torch.bool") and bool(answer))
