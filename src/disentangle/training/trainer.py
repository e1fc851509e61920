"""`AlternatingTrainer`: epochs around `AlternatingStep`, with devices, precision, validation and checkpoints.

Devices, mixed precision and trackers are Accelerate's. The trainer knows nothing of what a model is made of, nor of its
task: `evaluate` says how good it is, `objective` what it minimises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.utils.data import DataLoader

from disentangle.inference import evaluating
from disentangle.pairwise import Pairwise
from disentangle.saving import bare, refuse_what_json_lacks
from disentangle.training.accelerators import accelerator_for
from disentangle.training.determinism import noise_at
from disentangle.training.fit import Callback, Evaluate, Fit, Report
from disentangle.training.guards import (
    refuse_other_plateaus,
    refuse_other_schedulers,
    refuse_other_than_counts,
    refuse_schedulers,
)
from disentangle.training.keep_up import KeepUp
from disentangle.training.processes import all_processes
from disentangle.training.reports import Monitor, loggable
from disentangle.training.run import Run
from disentangle.training.step import AlternatingStep, Objective

__all__ = ["AlternatingTrainer"]


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
        schedulers: Learning rate schedulers of either; each takes a step per iteration, but a `ReduceLROnPlateau` one per
            evaluation, by the metric that `fit` monitors.
        inner_steps: How many steps the estimators take for one of the model.
        keep_up: Adapts the learning rate of `penalty_optimizer`, which reports then have as `penalty_lr`; without it the rate
            stays what it is.
        accumulation: How many batches of the loader make one step: the gradients are those of one large batch, the memory is
            that of a small one, the model encodes each batch twice.
        clip_norm: The norm to which the model's gradients are clipped.
        nonfinite: What to do where something is not finite: `"stop"` raises, and leaves a snapshot; `"skip"` leaves the step
            out and counts.
        seed: Together with the epoch and the step, it decides the order of batches and the noise.
        run: Where to leave logs, checkpoints and the best model; without it nothing is written.
        config: The keyword arguments that build the model, saved with the best one; see `disentangle.save`.
        tokenizer: The model's tokenizer of `transformers`, saved with the best one.
        device: `"auto"` takes the accelerator if there is one.
        precision: `"no"`, `"bf16"` or `"fp16"`, Accelerate's mixed precision. A CPU without instructions for bfloat16 takes
            twice as long with it.
        trackers: What else to log to, by Accelerate: `"tensorboard"`, `"wandb"`, `"mlflow"`, ... or trackers of one's own.
        progress: Whether to show a progress bar; in a log file, it is a line per report.

    Raises:
        ValueError: If the device, precision or a tracker asked for is not there, if something in `config` is not JSON, and what
            `AlternatingStep` raises.

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
        keep_up: KeepUp | None = None,
        accumulation: int = 1,
        clip_norm: float | None = None,
        nonfinite: Literal["stop", "skip"] = "stop",
        seed: int = 0,
        run: Run | None = None,
        config: Mapping[str, Any] | None = None,
        tokenizer: Any = None,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        precision: Literal["no", "bf16", "fp16"] = "no",
        trackers: Sequence[Any] = (),
        progress: bool = True,
    ):
        if clip_norm is not None and not clip_norm > 0:
            raise ValueError(f"expected a clip_norm above 0, got {clip_norm}")
        refuse_other_than_counts(accumulation=accumulation)
        refuse_other_schedulers(schedulers, optimizer, penalty_optimizer)
        if keep_up is not None:
            refuse_schedulers(schedulers, penalty_optimizer)
        self.plateaus = [each for each in schedulers if isinstance(each, ReduceLROnPlateau)]
        refuse_what_json_lacks(dict(config or {}), "config")
        self.precision = precision
        self.accelerator = accelerator_for(device, precision, trackers, None if run is None else run.folder)
        self.model: Any = model.to(self.accelerator.device)
        self.penalty = None if penalty is None else penalty.to(self.accelerator.device)
        self.modules: dict[str, nn.Module] = {"model": bare(self.model)}
        if self.penalty is not None:
            self.modules["penalty"] = self.penalty
        self.processes = all_processes()
        self.run, self.config, self.tokenizer = run, dict(config or {}), tokenizer
        self.seed, self.accumulation = seed, accumulation
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
            schedulers=[each for each in schedulers if each not in self.plateaus],
            inner_steps=inner_steps,
            keep_up=keep_up,
            clip=None if clip_norm is None else lambda parameters: clip_to(parameters, clip_norm),
            nonfinite=nonfinite,
            seed=seed,
            backward=self.accelerator.backward if scaled else Tensor.backward,
            processes=self.processes,
        )
        if trackers:
            name = "disentangle" if run is None else run.folder.name
            self.accelerator.init_trackers(name, config=None if run is None else loggable(run.config))

    def fit(
        self,
        batches: DataLoader[Any],
        epochs: int,
        *,
        evaluate: Evaluate | None = None,
        monitor: str | None = None,
        mode: Literal["min", "max"] = "min",
        patience: int | None = None,
        evaluate_every: int | None = None,
        checkpoint_every: int | None = None,
        callbacks: Sequence[Callback] = (),
        resume: bool = False,
    ) -> list[Report]:
        """Trains for `epochs` passes over `batches`; with a run and a metric to monitor, the model ends with its best weights.

        A report is written at the end of each epoch, or every `evaluate_every` steps: the means since the last one, what
        `evaluate` says, and whether it is the best so far. The best model is saved in the run's folder `model`, from which
        `disentangle.load` brings it back; the penalty keeps its last state.

        A run that goes on keeps what it was started with: it refuses data in another order, as by another seed, accumulation,
        sampler or number of rows, and warns of rates and other values of optimisers and schedulers that differ from those
        saved, which count. What is set anew, such as `inner_steps`, `keep_up` or `clip_norm`, holds from there on.

        Each call counts epochs and steps from 0, and so has the order and the noise of a first one: to train longer, resume a
        run with more epochs.

        Arguments:
            batches: What to train on. If its sampler or batch sampler has a `set_epoch`, that is called with 0, 1, ...
            epochs: How many passes.
            evaluate: Called with the model, in evaluation mode and without gradients: the metrics on the validation split.
            monitor: The metric that decides which report is best; `None` values never win.
            mode: Whether the best is the smallest or the largest.
            patience: After how many reports in a row without a new best training ends.
            evaluate_every: How many steps there are between reports, instead of an epoch.
            checkpoint_every: How many steps there are between checkpoints, instead of one with each report; with a best model
                there is one in any case.
            callbacks: Functions of the trainer and the report, called after each; training ends if one returns `True`.
            resume: Whether to go on from the newest checkpoint of the run; one without any starts from the beginning. A
                training that a callback ended goes on where no callbacks are given.

        Returns:
            The reports, which are the lines of `metrics.jsonl`.

        Raises:
            ValueError: If a number is out of range or the metric to monitor is not evaluated.
            RunError: If the run has checkpoints and is not to be resumed, if none of its checkpoints can be used, if it is
                resumed with other data or another order of them, optimisers, schedulers or another metric, or if the disk is
                full; what was saved before is kept.
            NonFiniteError: If something is not finite. The model is as it was before the step, but for gradients on a CUDA
                device, see `AlternatingStep`; with a run, a snapshot of everything is in its folder `nonfinite`.
            KeyboardInterrupt: As it came, after a step's end and a checkpoint.
        """
        refuse_other_than_counts(epochs=epochs, evaluate_every=evaluate_every, checkpoint_every=checkpoint_every)
        if not isinstance(callbacks, Sequence):
            raise TypeError(f"expected callbacks as a list, got {type(callbacks).__name__}: put it into one")
        if monitor is not None and evaluate is None:
            raise ValueError(f"expected a function that evaluates {monitor!r}, got none")
        if others := [each for each in callbacks if not callable(each)]:
            raise TypeError(
                f"expected callbacks as functions of the trainer and a report, got a {type(others[0]).__name__}"
            )
        refuse_other_plateaus(self.plateaus, monitor, mode)
        self._refuse_other_precision()
        return Fit(
            self,
            batches,
            epochs,
            evaluate=evaluate,
            monitor=Monitor(monitor, mode, patience),
            evaluate_every=evaluate_every,
            checkpoint_every=checkpoint_every,
            callbacks=callbacks,
        ).train(resume)

    def evaluate(self, evaluate: Evaluate) -> dict[str, float | None]:
        """Evaluates the model as `fit` does: in evaluation mode, without gradients, in the same precision.

        What noise latents carry is the same each time, so that epochs are compared by the same draws of it; for a mean over
        draws, draw them within `evaluate`. After `fit` with a
        run and a metric to monitor, it returns exactly what the best report has.
        """
        self._refuse_other_precision()
        noise = noise_at(self.seed, "evaluation")
        with noise, evaluating(self.model), torch.no_grad(), self.accelerator.autocast():
            metrics = evaluate(self.model)
            if not isinstance(metrics, Mapping):
                raise TypeError(f"expected evaluate(model) to return metrics by name, got {type(metrics).__name__}")
            return {name: _number(name, value) for name, value in metrics.items()}

    def _refuse_other_precision(self) -> None:
        """Refuses to compute where another trainer has changed the precision, which Accelerate keeps once per process."""
        if self.accelerator.mixed_precision != self.precision:
            raise ValueError(
                f"expected precision {self.precision!r}, which this trainer was made with, got "
                f"{self.accelerator.mixed_precision!r}, that of one made since: make this one again"
            )


def _number(name: str, value: object) -> float | None:
    """A metric as JSON takes it, whatever kind of number it is."""
    try:
        return None if value is None else float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"expected the metric {name} as a number or None, got {value!r}") from None
