"""Epochs around `AlternatingStep`: device, precision, progress, validation, checkpoints.

Devices and mixed precision are Accelerate's. The trainer knows nothing of what a model is made of, nor of its task:
`evaluate` says how good it is, `objective` what it minimises.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader

from disentangle.pairwise import Pairwise
from disentangle.training.run import Run
from disentangle.training.step import AlternatingStep, Objective, StepRecord
from disentangle.variables import Rows

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["AlternatingTrainer", "accelerator_for"]


class AlternatingTrainer:
    """Trains a model against pairwise penalties, epoch by epoch.

    Arguments:
        model: The model, see `disentangle.training.Model`.
        penalty: What must not depend on what; `None` for no penalty.
        objective: Maps losses and penalties to the scalar that the model minimises.
        optimizer: The optimiser of the model.
        penalty_optimizer: The optimiser of the penalty's estimators, where it has any.
        scheduler: Steps once an iteration.
        inner_steps: How many steps the estimators take for one of the model.
        run: Where to leave logs and checkpoints; without it nothing is written.
        device: `"auto"` takes the accelerator if there is one.
        precision: `"no"`, `"bf16"` or `"fp16"`, Accelerate's mixed precision.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: If the device asked for is not there, and what `AlternatingStep` raises.

    Example:
        >>> from torch.utils.data import TensorDataset
        >>> from disentangle import CLUBEstimator
        >>> class Two(nn.Module):  # one latent predicts, the other must not know it
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.a, self.b = nn.Linear(4, 1), nn.Linear(4, 2)
        ...     def forward(self, batch):
        ...         return {"a": self.a(batch[0]), "b": self.b(batch[0])}
        ...     def present(self, batch):
        ...         return None
        ...     def losses(self, variables, batch):
        ...         return {"Y": Rows((variables["a"].squeeze(1) - batch[1]).square(), torch.ones_like(batch[1]))}
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
        >>> sorted(history[-1]["pairs"]), history[-1]["epoch"]
        (['CLUB(b;a)'], 2)
    """

    def __init__(
        self,
        model: nn.Module,
        penalty: Pairwise | None,
        *,
        objective: Objective,
        optimizer: Optimizer,
        penalty_optimizer: Optimizer | None = None,
        scheduler: LRScheduler | None = None,
        inner_steps: int = 5,
        run: Run | None = None,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        precision: Literal["no", "bf16", "fp16"] = "no",
        progress: bool = True,
    ):
        self.accelerator = accelerator_for(device, precision)
        model = self.accelerator.prepare(model)
        self.model: Any = self.accelerator.unwrap_model(model)
        self.penalty = None if penalty is None else penalty.to(self.accelerator.device)
        self.scheduler, self.run, self.progress = scheduler, run, progress
        self.step = AlternatingStep(
            model,
            self.penalty,
            objective=objective,
            optimizer=self.accelerator.prepare(optimizer),
            penalty_optimizer=None if penalty_optimizer is None else self.accelerator.prepare(penalty_optimizer),
            inner_steps=inner_steps,
            backward=self.accelerator.backward,
        )

    def fit(
        self,
        batches: DataLoader[Any],
        epochs: int,
        *,
        evaluate: Callable[[Any], Mapping[str, float | None]],
        monitor: str,
        mode: Literal["min", "max"] = "min",
    ) -> list[dict[str, Any]]:
        """Trains for `epochs` passes over `batches`; with a run, ends with the weights of the best one.

        Arguments:
            batches: What to train on. If its batch sampler has a `set_epoch`, that is called with 0, 1, ...
            epochs: How many passes.
            evaluate: Called after each epoch with the model, in evaluation mode and without gradients: the metrics on the
                validation split.
            monitor: The metric that decides which epoch is best; `None` values never win.
            mode: Whether the best is the smallest or the largest.

        Returns:
            A record an epoch: the lines of `metrics.jsonl`.

        Raises:
            FloatingPointError: If a loss is not finite at the end of an epoch; the checkpoints before it are kept.
            KeyboardInterrupt: As it came, after the weights at hand were saved as `last`.
        """
        from tqdm.auto import tqdm

        history: list[dict[str, Any]] = []
        best = None
        bar = tqdm(
            total=epochs * len(batches), unit="step", disable=not self.progress, dynamic_ncols=True, mininterval=0.5
        )
        try:
            for epoch in range(1, epochs + 1):
                started = time.perf_counter()
                set_epoch = getattr(batches.batch_sampler, "set_epoch", None)
                if set_epoch is not None:
                    set_epoch(epoch - 1)
                record = {"epoch": epoch, **self._epoch(batches, bar)}
                self._refuse_nonfinite(record)
                record["valid"] = self._evaluate(evaluate)
                record["seconds"] = round(time.perf_counter() - started, 3)
                score = record["valid"][monitor]
                if score is not None and (best is None or (score < best if mode == "min" else score > best)):
                    best, record["best"] = score, True
                history.append(record)
                bar.set_postfix_str(f"epoch {epoch}, valid {monitor} {_short(score)}, best {_short(best)}")
                self._keep(record)
        except KeyboardInterrupt:
            self._save("last")
            raise
        finally:
            bar.close()
            if self.run is not None:
                self.run.draw()
        if self.run is not None and best is not None:
            self.run.load("best", self._modules())
        return history

    def _epoch(self, batches: Iterable[Any], bar: Any) -> dict[str, Any]:
        from accelerate.utils import send_to_device

        means = _Means()
        self.step.model.train()
        for batch in batches:
            batch = send_to_device(batch, self.accelerator.device, non_blocking=True)
            with self.accelerator.autocast():
                means.add(self.step(batch))
            if self.scheduler is not None:
                self.scheduler.step()
            bar.update()
        return means.read()

    def _evaluate(self, evaluate: Callable[[Any], Mapping[str, float | None]]) -> dict[str, float | None]:
        self.model.eval()
        with torch.no_grad(), self.accelerator.autocast():
            return dict(evaluate(self.model))

    def _refuse_nonfinite(self, record: dict[str, Any]) -> None:
        values = {"objective": record["objective"], **record["losses"], **record["pairs"]}
        bad = [name for name, value in values.items() if value is not None and not math.isfinite(value)]
        if bad:
            if self.run is not None:
                self.run.log(record)
            raise FloatingPointError(
                f"epoch {record['epoch']}: not finite: {', '.join(bad)}; the checkpoints of earlier epochs are kept"
            )

    def _keep(self, record: dict[str, Any]) -> None:
        if self.run is not None:
            self.run.log(record)
            self._save("last")
            if record.get("best"):
                self._save("best")

    def _save(self, name: str) -> None:
        if self.run is not None:
            self.run.save(name, self._modules())

    def _modules(self) -> dict[str, nn.Module]:
        return {"model": self.model} if self.penalty is None else {"model": self.model, "penalty": self.penalty}


class _Means:
    """The means of what the steps of an epoch saw, kept on the device until they are read."""

    def __init__(self) -> None:
        self.scalars: dict[tuple[str, str], Tensor] = {}
        self.counts: dict[tuple[str, str], int] = defaultdict(int)
        self.rows: dict[str, Rows] = {}

    def add(self, record: StepRecord) -> None:
        self._add("", "objective", record.objective)
        if record.likelihood is not None:
            self._add("", "likelihood", record.likelihood)
        for section, values in (("pairs", record.penalties), ("rms", record.rms)):
            for name, value in values.items():
                self._add(section, name, value)
        for name, rows in record.losses.items():
            total, weight = rows.total(), rows.weights.sum()
            if name in self.rows:
                total, weight = total + self.rows[name].values, weight + self.rows[name].weights
            self.rows[name] = Rows(total, weight)

    def _add(self, section: str, name: str, value: Tensor) -> None:
        key = (section, name)
        self.scalars[key] = self.scalars[key] + value if key in self.scalars else value
        self.counts[key] += 1

    def read(self) -> dict[str, Any]:
        result: dict[str, Any] = {"losses": {}, "pairs": {}, "rms": {}}
        for (section, name), value in self.scalars.items():
            (result[section] if section else result)[name] = value.item() / self.counts[section, name]
        for name, (total, weight) in self.rows.items():
            result["losses"][name] = total.item() / weight.item() if weight > 0 else None
        return result


def accelerator_for(device: Literal["auto", "cpu", "cuda"], precision: str = "no") -> Accelerator:
    """An `Accelerator` on the device asked for; raises `ValueError` where there is none such.

    Example:
        >>> accelerator_for("cpu").device
        device(type='cpu')
    """
    from accelerate import Accelerator

    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"expected device 'auto', 'cpu' or 'cuda', got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("expected a CUDA device, found none: use device 'auto' or 'cpu'")
    return Accelerator(cpu=device == "cpu", mixed_precision=precision)


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
