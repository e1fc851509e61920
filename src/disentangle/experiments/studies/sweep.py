"""One option at several values, each with several seeds: trained side by side, compared, and drawn against the option."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from disentangle.data.messages import listed
from disentangle.experiments.experiment import Experiment
from disentangle.experiments.studies.comparison import Comparison, compare_finished
from disentangle.experiments.studies.finished_runs import read_finished
from disentangle.experiments.studies.pictures import plot_option
from disentangle.experiments.studies.records import check_unchanged, data_files
from disentangle.experiments.studies.runs import OWN, flag_of, program_of, refuse_another, run_command, trained_by
from disentangle.experiments.studies.tables import Table
from disentangle.files import make_folder, write_file
from disentangle.text_tables import TextTable
from disentangle.training.seeds import finished, run_each

__all__ = ["Sweep", "SweepResult"]


@dataclass(frozen=True)
class SweepResult(Table):
    """The metrics at each value of an option. It prints, is written and drawn as a `Comparison`.

    Attributes:
        option: The name of the option.
        values: Its values.
        comparison: The values as systems, the first being what the others are compared with.
    """

    file_name: ClassVar[str] = "sweep"
    option: str
    values: tuple[str, ...]
    comparison: Comparison

    def tables(self) -> list[TextTable]:
        """The metrics at each value, and the differences from the first."""
        return self.comparison.tables()

    def to_csv(self) -> str:
        """A line for each value and metric; as `Comparison.to_csv`."""
        return self.comparison.to_csv()

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draws each metric against the option; the axis is logarithmic where the values are powers.

        Arguments:
            path: The file to write; its ending says the format.

        Raises:
            ImportError: Where matplotlib is missing.
        """
        table, names = self.comparison, list(self.comparison.results)
        panels = {
            metric: {value: table.values(name, metric) for value, name in zip(self.values, names, strict=True)}
            for metric in table.metrics
        }
        plot_option(panels, path, self.option)


@dataclass(frozen=True)
class Sweep:
    """A run of an experiment for each value of an option and each seed.

    Arguments:
        experiment: The experiment that its file runs, under the name `EXPERIMENT`: the file is the program of each run.
        option: The name of the option, without its dashes.
        values: Its values, all different.
        seeds: The seeds, all different.
        folder: Where the runs come to lie, `OPTION-VALUE/seed-N`, and what each printed beside it.
        arguments: More arguments for every run, such as `("--data", "FILE")`.

    Raises:
        ValueError: If values or seeds repeat or are missing, if the experiment is not the one that its file runs or refuses
            the options, if one of them is the sweep's own, or if the folder holds a sweep with other options.

    Example:
        `Sweep(EXPERIMENT, "lr", [1e-4, 1e-3], [0, 1, 2], "runs/lr").run(at_once=2)` trains six runs and returns their table.
    """

    experiment: Experiment
    option: str
    values: Sequence[object]
    seeds: Sequence[int]
    folder: str | os.PathLike[str]
    arguments: Sequence[str] = ()

    def __post_init__(self) -> None:
        for what, each in ((f"values of {self.flag}", [str(value) for value in self.values]), ("seeds", self.seeds)):
            if not each or len(set(each)) < len(each):
                raise ValueError(f"expected {what} that are all different, and at least one, got {listed(each)}")
        if len({self._place(value) for value in self.values}) < len(self.values):
            raise ValueError(f"expected values that differ in letters or digits, got {listed(self.values)}")
        if self.flag in map(flag_of, self.arguments):
            raise ValueError(f"expected options other than {', '.join(OWN)} and {self.flag}, got {self.flag}")
        refuse_another(self.experiment)
        for value in self.values:
            trained_by(self.experiment, [*self.arguments, f"{self.flag}={value}"])
        if self._record.exists() and (kept := json.loads(self._record.read_text(encoding="utf-8"))) != self._what:
            before = " ".join([kept["program"], *kept["arguments"], kept["option"]])
            raise ValueError(
                f"{self.folder}: expected a new folder, or this sweep of {before} with more values or seeds"
            )

    @property
    def flag(self) -> str:
        """The option as it stands on the command line."""
        return "--" + self.option.replace("_", "-")

    @property
    def commands(self) -> dict[Path, list[str]]:
        """The program and its arguments, by the folder of the run; a run that has begun goes on. Finished ones have none."""
        return {
            path: self._command(str(value), seed, path)
            for value in self.values
            for seed in self.seeds
            if not finished(path := self._place(value) / f"seed-{seed}")
        }

    def run(self, *, split: str = "valid", at_once: int = 1, progress: bool = True) -> SweepResult:
        """Trains what has not finished, and returns the metrics of a split at each value.

        Arguments:
            split: The split: an option is chosen on "valid"; "test" is for what has been chosen.
            at_once: How many runs are trained at a time.
            progress: Whether to show one progress bar over all runs.

        Raises:
            SeedsError: When all others have ended, if a run has failed.
            ValueError: If `at_once` is below 1, or if a data file is another than the one that earlier runs learnt from.
        """
        make_folder(Path(self.folder))
        options = [trained_by(self.experiment, [*self.arguments, f"{self.flag}={value}"]) for value in self.values]
        check_unchanged(self.folder, list(dict.fromkeys(file for each in options for file in data_files(each))))
        write_file(self._record, lambda path: path.write_text(json.dumps(self._what, indent=2) + "\n"))
        commands: dict[Path, Callable[[], Sequence[str]]] = {}
        names: dict[Path, str] = {}
        for value in self.values:
            for seed in self.seeds:
                path = self._place(value) / f"seed-{seed}"
                commands[path] = lambda value=str(value), seed=seed, path=path: self._command(value, seed, path)
                names[path] = f"{self.option} {value}, seed {seed}"
        run_each(commands, names, at_once=at_once, progress=progress)
        systems = [read_finished(f"{self.option} {value}", self._place(value), self.seeds) for value in self.values]
        table = compare_finished(systems, split=split, resamples=0)
        return SweepResult(self.option, tuple(map(str, self.values)), table)

    @property
    def _record(self) -> Path:
        return Path(self.folder) / "sweep.json"

    @property
    def _what(self) -> dict[str, object]:
        return {"program": program_of(self.experiment).name, "option": self.flag, "arguments": list(self.arguments)}

    def _place(self, value: object) -> Path:
        return Path(self.folder) / (f"{self.option}-" + re.sub(r"[^\w.+-]", "_", str(value)))

    def _command(self, value: str, seed: int, folder: Path) -> list[str]:
        return run_command(self.experiment, [*self.arguments, f"{self.flag}={value}"], seed, folder)
