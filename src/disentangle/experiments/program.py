"""The program of an experiment: the command line to what is asked for, and one line where something is wrong."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from disentangle.closed_pipe import ends_with_its_reader
from disentangle.errors import BackboneError, DisentangleError
from disentangle.experiments.card import prepare_push
from disentangle.experiments.evaluation import prepare_evaluation
from disentangle.experiments.experiment import Experiment
from disentangle.experiments.onnx_files import prepare_export
from disentangle.experiments.options import parse
from disentangle.experiments.prediction import prepare_prediction
from disentangle.experiments.training import prepare_resuming, prepare_seeds, prepare_training
from disentangle.training import Run
from disentangle.training.interrupts import STOPPED

__all__ = ["run_program"]


@ends_with_its_reader()
def run_program(experiment: Experiment, arguments: list[str] | None = None) -> int:
    """Runs an experiment with the arguments given, or those of the command line; returns the exit code.

    0: all went well; 1: it failed on the way; 2: a file or an option is wrong; 129, 130 and 143: it was stopped. It ends
    with 141 where what it prints is read no more.
    """
    options = parse(experiment, arguments)
    try:
        with _warnings_in_a_line():
            return _run(experiment, options)
    except KeyboardInterrupt:
        return _stopped(options, 130)
    except SystemExit as stop:
        if not isinstance(stop.code, int) or stop.code not in STOPPED:
            raise
        return _stopped(options, stop.code)


def _run(experiment: Experiment, options: argparse.Namespace) -> int:
    try:
        work = _prepare(experiment, options)
    except (DisentangleError, ValueError, ImportError) as error:  # ValueError: a file, an option
        more = "; or --backbone tiny, which is small and random" if isinstance(error, BackboneError) else ""
        print(f"error: {error}{more}", file=sys.stderr)
        return 2
    try:
        work()
    except (DisentangleError, ImportError) as error:  # a full disk, a file, NaN
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _prepare(experiment: Experiment, options: argparse.Namespace) -> Callable[[], None]:
    if options.command == "evaluate":
        return prepare_evaluation(experiment, options)
    if options.command == "predict":
        return prepare_prediction(experiment, options)
    if options.command == "export":
        return prepare_export(experiment, options)
    if options.command == "push":
        return prepare_push(experiment, options)
    if options.resume:
        return prepare_resuming(experiment, options)
    Run.refuse_taken(options.out)  # before the data are read, which can take long
    return prepare_seeds(experiment, options) if options.seeds else prepare_training(experiment, options)


def _stopped(options: argparse.Namespace, code: int) -> int:
    """Says how to go on, where there is something to go on from."""
    folder = options.resume or options.out if options.command is None else None
    hint = f"; what there is can be read in {folder}, and --resume {folder} goes on"
    print(f"\nstopped{hint if folder and Path(folder).exists() else ''}", file=sys.stderr)
    return code


@contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    """Shows what is to be known of data and estimators without the place in the code that says so."""
    usual = warnings.formatwarning

    def in_a_line(message, category, *where) -> str:
        return f"warning: {message}\n" if issubclass(category, DisentangleError) else usual(message, category, *where)

    warnings.formatwarning = in_a_line
    try:
        yield
    finally:
        warnings.formatwarning = usual
