"""The program around a paper: reading, training, resuming, seeds, evaluating, predicting; a paper adds what is its own.

An `Experiment` holds the functions that a paper consists of. `run_program` is its command line; `open_trained` opens from
Python what it has saved.
"""

from disentangle.experiments.experiment import Experiment
from disentangle.experiments.program import run_program
from disentangle.experiments.trained import Trained, open_trained

__all__ = ["Experiment", "Trained", "open_trained", "run_program"]
