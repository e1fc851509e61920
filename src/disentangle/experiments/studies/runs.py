"""A run of an experiment as a process: its program, its arguments, its folder; and what is refused before it starts."""

from __future__ import annotations

import argparse
import inspect
import io
import re
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from hashlib import sha256
from pathlib import Path

from disentangle.experiments.experiment import Experiment
from disentangle.experiments.options import parse

__all__ = ["OWN", "flag_of", "folder_name", "program_of", "refuse_another", "run_command", "trained_by"]

OWN = ("--seed", "--seeds", "--at-once", "--out", "--resume")  # options that are set for each run, and cannot be given
FILES = ("--data", "--unlabeled", "--backbone")  # options whose values do not stand in the name of a folder
LONGEST = 60  # letters of a folder's name, without its digest


def program_of(experiment: Experiment) -> Path:
    """The file that is run."""
    return Path(inspect.getfile(experiment.build))


def refuse_another(experiment: Experiment) -> None:
    """Raises `ValueError` for an experiment that is not the one its file runs, which would be trained in its place."""
    module = experiment.build.__module__
    if experiment is not getattr(sys.modules.get(module), "EXPERIMENT", None):
        raise ValueError(
            f"{module}: expected its EXPERIMENT, by which name its file has to have what it runs, got another experiment with "
            "a build of it: make what differs an option of that file, or write a file with a build and an EXPERIMENT of its own"
        )


def run_command(experiment: Experiment, arguments: Sequence[str], seed: int, folder: Path) -> list[str]:
    """The program and its arguments; a run that has begun goes on."""
    program = [sys.executable, str(program_of(experiment))]
    if (folder / "config.json").exists():
        return [*program, "--resume", str(folder)]
    return [*program, *arguments, "--seed", str(seed), "--out", str(folder)]


def trained_by(experiment: Experiment, arguments: Sequence[str]) -> argparse.Namespace:
    """The options of training that the arguments give; raises `ValueError` for what the experiment's program refuses."""
    taken = [each for each in map(flag_of, arguments) if each in OWN]
    if taken:
        raise ValueError(f"expected options other than {', '.join(OWN)}, got {taken[0]}")
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            options = parse(experiment, list(arguments))
    except SystemExit:
        reason = said.getvalue().strip().splitlines()[-1].partition("error: ")[2]
        raise ValueError(f"{program_of(experiment).name}: {reason}") from None
    if options.command is not None:
        raise ValueError(f"expected options of training, got {options.command}")
    return options


def flag_of(argument: str) -> str:
    """The option of an argument such as `--lr` or `--lr=0.1`."""
    return argument.partition("=")[0]


def folder_name(arguments: Sequence[str]) -> str:
    """A name for the folder of all runs with these arguments: what one can read of them, and a digest of them all.

    The order of the options makes no difference, but among several of one name, of which the last holds.

    Example:
        >>> folder_name(["--data", "FILE", "--alpha", "0.3", "--no-input-mi"])
        'alpha-0.3_no-input-mi-4e99fd7e'
        >>> folder_name([])
        'default-4f53cda1'
    """
    options: list[list[str]] = []
    for part in arguments:
        flag, equals, value = part.partition("=") if part.startswith("--") else ("", "", part)
        if flag:
            options.append([flag, value] if equals else [flag])
        elif options:
            options[-1].append(part)
    options.sort(key=lambda option: option[0])
    words = ["-".join([option[0].removeprefix("--"), *option[1:]]) for option in options if option[0] not in FILES]
    readable = re.sub(r"[^\w.+-]", "_", "_".join(words))[:LONGEST] or "default"
    return f"{readable}-{sha256(repr(options).encode()).hexdigest()[:8]}"
