"""Alternating training: one step in plain torch, a trainer around it, and the folder that a run leaves."""

from disentangle.training.run import Run, RunError
from disentangle.training.step import AlternatingStep, Model, StepRecord, frozen
from disentangle.training.trainer import AlternatingTrainer, accelerator_for

__all__ = [
    "AlternatingStep",
    "AlternatingTrainer",
    "Model",
    "Run",
    "RunError",
    "StepRecord",
    "accelerator_for",
    "frozen",
]
