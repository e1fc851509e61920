"""Alternating training: one step in plain torch, a trainer around it, and the folder that a run leaves."""

from disentangle.errors import EstimatorWarning, NonFiniteError, RunError, SeedsError
from disentangle.training.accelerators import accelerator_for
from disentangle.training.dial import Dial
from disentangle.training.guards import frozen
from disentangle.training.keep_up import KeepUp
from disentangle.training.penalty_loss import PenaltyLoss
from disentangle.training.processes import DistributedProcesses
from disentangle.training.reports import StepRecord
from disentangle.training.run import Run
from disentangle.training.seeds import run_seeds, seed_results
from disentangle.training.step import AlternatingStep
from disentangle.training.trainer import AlternatingTrainer

__all__ = [
    "AlternatingStep",
    "AlternatingTrainer",
    "Dial",
    "DistributedProcesses",
    "EstimatorWarning",
    "KeepUp",
    "NonFiniteError",
    "PenaltyLoss",
    "Run",
    "RunError",
    "SeedsError",
    "StepRecord",
    "accelerator_for",
    "frozen",
    "run_seeds",
    "seed_results",
]
