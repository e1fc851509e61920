"""The program around a paper: reading, training, resuming, seeds, evaluating, predicting; a paper adds what is its own.

An `Experiment` holds the functions that a paper consists of. `run_program` is its command line; `open_trained` opens from
Python what it has saved. `compare_runs` puts finished runs side by side, and `Study` trains what a table
needs, such as one at several values of an option.
"""

from disentangle.experiments.card import write_card
from disentangle.experiments.experiment import Experiment, standardize_frames
from disentangle.experiments.onnx_files import export_onnx
from disentangle.experiments.program import run_program
from disentangle.experiments.recipe import TUNED, adamw
from disentangle.experiments.studies.comparison import Comparison, Difference, compare_runs
from disentangle.experiments.studies.costs import Cost, cost_of
from disentangle.experiments.studies.study import PlannedRun, Study, Variant, run_studies
from disentangle.experiments.trained import Trained, open_trained

__all__ = [
    "TUNED",
    "Comparison",
    "Cost",
    "Difference",
    "Experiment",
    "PlannedRun",
    "Study",
    "Trained",
    "Variant",
    "adamw",
    "compare_runs",
    "cost_of",
    "export_onnx",
    "open_trained",
    "run_program",
    "run_studies",
    "standardize_frames",
    "write_card",
]
