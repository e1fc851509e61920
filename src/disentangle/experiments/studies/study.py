"""The runs that a table or a figure consists of: trained side by side, shared with other tables, compared, recorded."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from disentangle.data.messages import listed
from disentangle.experiments.experiment import Experiment
from disentangle.experiments.studies.comparison import compare_finished
from disentangle.experiments.studies.finished_runs import read_finished, warn_of_edited
from disentangle.experiments.studies.records import (
    PROGRAM_CHECKSUM,
    check_unchanged,
    data_files,
    machine,
    pinned,
    versions,
)
from disentangle.experiments.studies.runs import (
    OWN,
    flag_of,
    folder_name,
    program_of,
    refuse_another,
    run_command,
    trained_by,
)
from disentangle.experiments.studies.tables import Table
from disentangle.files import make_folder, write_file
from disentangle.training import Run
from disentangle.training.seeds import finished, run_each

__all__ = ["PlannedRun", "Study", "Variant", "run_studies", "write_json"]


@dataclass(frozen=True)
class Variant:
    """A line of a table: an experiment, and the options that it is trained with.

    Arguments:
        experiment: The experiment that its file runs, under the name `EXPERIMENT`: the file is the program of each run.
        arguments: Its options, such as `("--alpha", "0.3")`.
    """

    experiment: Experiment
    arguments: Sequence[str] = ()


@dataclass(frozen=True)
class PlannedRun:
    """One run of a study: what it is called, what it is trained with, and where it comes to lie."""

    name: str
    variant: Variant
    arguments: tuple[str, ...]
    seed: int
    folder: Path

    @property
    def command(self) -> list[str]:
        """The program and its arguments; of a run that has begun, those by which it goes on."""
        return run_command(self.variant.experiment, self.arguments, self.seed, self.folder)


@dataclass(frozen=True)
class Study:
    """Several variants with several seeds each: the runs of one table or figure.

    The runs of a variant come to lie in `FOLDER/runs/EXAMPLE/OPTIONS/seed-N`, so that studies with the same folder share what
    they have in common. What has finished is not run again, and what was stopped goes on.

    Arguments:
        name: What the files of the table are called.
        systems: The variants by the names that they have in the table.
        seeds: The seeds, all different.
        folder: Where runs, tables, pictures and records come to lie.
        arguments: More arguments for every run, such as `("--data", "FILE")`.
        against: The name of the system that the others are compared with; the first by default.
        split: The split that the table is of, "test" or "valid".
        option: The name of an option whose values the systems' names are, where the picture is to be against it;
            `Study.sweep` makes such a study.
        make: Makes something else of the finished runs than a comparison of their metrics.

    Raises:
        ValueError: If there are no systems, if seeds repeat or are missing, if an experiment is not the one that its file runs
            or refuses the options, if one of them is the study's own, or if two variants have the same runs.

    Example:
        `Study("table", {"a": Variant(ONE), "b": Variant(OTHER, ["--lr", "1e-4"])}, [0, 1], "study").run(at_once=2)` trains
        four runs and returns their `Comparison`.
    """

    name: str
    systems: Mapping[str, Variant]
    seeds: Sequence[int]
    folder: str | os.PathLike[str]
    arguments: Sequence[str] = ()
    against: str | None = None
    split: str = "test"
    option: str | None = None
    make: Callable[[Study], Table] | None = None

    def __post_init__(self) -> None:
        if not self.systems:
            raise ValueError("expected at least 1 system, got 0")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"expected seeds that are all different, and at least one, got {listed(self.seeds)}")
        folders: dict[Path, str] = {}
        for name, variant in self.systems.items():
            refuse_another(variant.experiment)
            trained_by(variant.experiment, self.all_arguments(variant))
            if (first := folders.setdefault(self.folder_of(name), name)) != name:
                raise ValueError(
                    f"expected variants that differ in their file's name or their options, got {first} and {name} with "
                    f"the same runs, {self.folder_of(name)}"
                )

    @classmethod
    def sweep(
        cls,
        experiment: Experiment,
        option: str,
        values: Sequence[object],
        seeds: Sequence[int],
        folder: str | os.PathLike[str],
        arguments: Sequence[str] = (),
        *,
        split: str = "valid",
    ) -> Study:
        """One option at several values: a study of that name, whose systems are the values.

        Arguments:
            experiment: The experiment that its file runs, under the name `EXPERIMENT`.
            option: The name of the option, without its dashes.
            values: Its values, all different.
            seeds: The seeds, all different.
            folder: Where runs, table, picture and record come to lie.
            arguments: More arguments for every run, such as `("--data", "FILE")`.
            split: The split: an option is chosen on "valid"; "test" is for what has been chosen.

        Raises:
            ValueError: As of a study, and if values repeat or are missing, or if `arguments` give the option too.

        Example:
            `Study.sweep(EXPERIMENT, "lr", [1e-4, 1e-3], [0, 1, 2], "runs/lr").run(at_once=2)` trains six runs and returns
            their `Comparison`, which is drawn against the option.
        """
        flag, names = "--" + option.replace("_", "-"), [str(value) for value in values]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"expected values of {flag} that are all different, and at least one, got {listed(names)}")
        if flag in map(flag_of, arguments):
            raise ValueError(f"expected options other than {', '.join(OWN)} and {flag}, got {flag}")
        systems = {name: Variant(experiment, (f"{flag}={name}",)) for name in names}
        return cls(option, systems, seeds, folder, arguments, split=split, option=option)

    def all_arguments(self, variant: Variant) -> tuple[str, ...]:
        """The options of a variant, with those of all runs of the study."""
        return (*self.arguments, *variant.arguments)

    def folder_of(self, system: str) -> Path:
        """Where the runs of a system lie, a folder for each seed."""
        variant = self.systems[system]
        runs = Path(self.folder) / "runs" / program_of(variant.experiment).stem
        return runs / folder_name(self.all_arguments(variant))

    @property
    def runs(self) -> Iterator[PlannedRun]:
        """All runs, whether they have finished or not."""
        for system, variant in self.systems.items():
            name = system if self.option is None else f"{self.option} {system}"
            for seed in self.seeds:
                folder = self.folder_of(system) / f"seed-{seed}"
                yield PlannedRun(name, variant, self.all_arguments(variant), seed, folder)

    @property
    def commands(self) -> dict[Path, list[str]]:
        """The program and its arguments, by the folder of the run, of the runs that have not finished."""
        return {each.folder: each.command for each in self.runs if not finished(each.folder)}

    def run(self, *, at_once: int = 1, resamples: int = 2000, progress: bool = True) -> Table:
        """Trains what has not finished, writes table, picture and record into the folder, and returns the table.

        Arguments:
            at_once: How many runs are trained at a time.
            resamples: How many resamples of the rows of the test split are drawn; 0 for no bootstrap.
            progress: Whether to show one progress bar over all runs.

        Raises:
            SeedsError: When all others have ended, if a run has failed.
            ValueError: If `at_once` is below 1, or if the data file is another than the one that earlier runs learnt from.
        """
        run_studies([self], at_once=at_once, progress=progress)
        return self.save(resamples=resamples)

    def table(self, *, resamples: int = 2000) -> Table:
        """The table of the runs, all of them finished; raises `RunError` where one is not.

        A `DataWarning` says where they are of several versions of one program's file, as where it was edited between two runs.
        """
        systems = [read_finished(name, self.folder_of(name), self.seeds) for name in self.systems]
        if self.make is not None:
            warn_of_edited(systems)
            return self.make(self)
        table = compare_finished(systems, against=self.against, split=self.split, resamples=resamples)
        return replace(table, option=self.option)

    def save(self, *, command: Sequence[str] | None = None, resamples: int = 2000) -> Table:
        """Writes table, picture and record into the folder, `NAME.md`, `.csv`, `.tex`, `.png`, `.json`; returns the table."""
        table = self.table(resamples=resamples)
        table.save(self.folder, self.name)
        write_json(Path(self.folder) / f"{self.name}.json", self.record(command))
        return table

    def record(self, command: Sequence[str] | None = None) -> dict[str, Any]:
        """How the table came about: the command, checksums of data files, versions, and each run with its wall time.

        Of the program of a run there is its file's checksum, without what the file imports.

        Arguments:
            command: The command line that asked for it; by default none, as in a program of one's own.
        """
        runs = [
            {
                "system": each.name,
                "seed": each.seed,
                "folder": each.folder.relative_to(self.folder).as_posix(),
                "program": program_of(each.variant.experiment).name,
                "program_sha256": version_of(each.folder),
                "arguments": list(each.arguments),
                "seconds": seconds_of(each.folder),
            }
            for each in self.runs
        ]
        return {
            "name": self.name,
            "command": None if command is None else list(command),
            "split": self.split,
            "seeds": list(self.seeds),
            "data": pinned(self.folder),
            "versions": versions(),
            "machine": machine(),
            "runs": runs,
        }


def run_studies(studies: Sequence[Study], *, at_once: int = 1, progress: bool = True) -> None:
    """Trains what has not finished of several studies, with one progress bar; runs that they share are trained once.

    Arguments:
        studies: The studies.
        at_once: How many runs are trained at a time.
        progress: Whether to show the progress bar.

    Raises:
        SeedsError: When all others have ended, if a run has failed.
        ValueError: If `at_once` is below 1, or if a data file is another than the one that earlier runs learnt from.
    """
    runs = {each.folder: each for study in studies for each in study.runs}
    for study in studies:
        check_unchanged(study.folder, files_of(study))
    commands: dict[Path, Callable[[], Sequence[str]]] = {
        path: lambda each=each: each.command for path, each in runs.items()
    }
    names = {path: f"{each.name}, seed {each.seed}" for path, each in runs.items()}
    run_each(commands, names, at_once=at_once, progress=progress)


def files_of(study: Study) -> list[str]:
    """The files and folders that the runs of a study learn from."""
    options = [trained_by(each.experiment, study.all_arguments(each)) for each in study.systems.values()]
    return list(dict.fromkeys(path for each in options for path in data_files(each)))


def seconds_of(folder: Path) -> float | None:
    """How long the epochs of a run took, validation included; `None` where it has none."""
    history = Run.open(folder).history if (folder / "config.json").exists() else []
    seconds = [record["seconds"] for record in history if record.get("seconds") is not None]
    return round(sum(seconds), 3) if seconds else None


def version_of(folder: Path) -> str | None:
    """The SHA-256 of the file that a run was started by; `None` where it has noted none, or has not begun."""
    return Run.open(folder).config.get(PROGRAM_CHECKSUM) if (folder / "config.json").exists() else None


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON file whole."""
    make_folder(path.parent)
    write_file(path, lambda part: part.write_text(json.dumps(content, indent=2) + "\n"))
