"""Finished runs as one reads them from their folders, and whether their numbers can be compared."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from disentangle.data.data_warnings import warn
from disentangle.data.messages import listed
from disentangle.errors import RunError
from disentangle.experiments.studies.records import CHECKSUMS, PROGRAM, PROGRAM_CHECKSUM
from disentangle.tasks import Task, as_task
from disentangle.tasks.task import Metrics
from disentangle.training import Run

__all__ = ["FinishedRuns", "Predictions", "check_comparable", "read_finished", "warn_of_edited"]

# Clip 3 of video v as the CMU-SDK, MMSA, and MulT (with its start and end) call it: v[3], v$_$3, v_1.5_4.25
OF_VIDEO = re.compile(r"(.+?)(?:\[\d+\]|\$_\$\d+|_\d+\.\d+_\d+\.\d+)")


@dataclass(frozen=True)
class Predictions:
    """What a run's model says of the labelled rows of the test split, and what these are."""

    task: Task
    outcomes: np.ndarray  # (N, K)
    labels: np.ndarray  # (N,) or (N, K)
    ids: tuple[str, ...] = ()  # N; none in runs of earlier versions

    @property
    def videos(self) -> np.ndarray | None:
        """The number of the video that each row is of, `(N,)`; `None` where not all names tell, or each row has its own."""
        found = [match[1] for name in self.ids if (match := OF_VIDEO.fullmatch(name))]
        numbers = {video: k for k, video in enumerate(dict.fromkeys(found))}
        if len(found) < len(self.labels) or not 1 < len(numbers) < len(found):
            return None
        return np.array([numbers[video] for video in found])


@dataclass(frozen=True)
class FinishedRuns:
    """The finished runs of one system: one run, or one per seed.

    What the folders do not tell is not in `data` and `predictions`.
    """

    name: str
    results: dict[int, dict[str, Metrics]]  # by seed, then by split
    data: dict[int, dict[str, str]]  # what was learnt from, by seed: the name of the file, the label, the task
    predictions: dict[int, Predictions]  # by seed
    checksums: dict[int, str] = field(default_factory=dict)  # of what was learnt from, by seed
    programs: dict[int, tuple[str, str]] = field(default_factory=dict)  # by seed: the name of the program, its checksum

    def metrics(self, split: str) -> list[str]:
        """The names of the metrics on a split."""
        return list(dict.fromkeys(name for result in self.results.values() for name in result[split]))


def read_finished(name: str, folder: str | os.PathLike[str], seeds: Sequence[int] | None = None) -> FinishedRuns:
    """The finished runs in a folder: of one run, or of many seeds, of which `seeds` names those to read.

    Raises `RunError` where there are none, where one has not finished, or where a file cannot be read.
    """
    folders = _folders(Path(folder), seeds)
    results = {seed: _result(place) for seed, place in folders.items()}
    configs = {seed: Run.open(place).config for seed, place in folders.items() if (place / "config.json").exists()}
    checksums = {seed: config.get(CHECKSUMS, {}).get(config.get("data")) for seed, config in configs.items()}
    kept = {seed: place / "predictions.json" for seed, place in folders.items()}
    return FinishedRuns(
        name,
        results,
        data={seed: _data(config) for seed, config in configs.items()},
        predictions={seed: _predictions(path) for seed, path in kept.items() if path.exists()},
        checksums={seed: digest for seed, digest in checksums.items() if digest},
        programs={
            seed: (config[PROGRAM], config[PROGRAM_CHECKSUM])
            for seed, config in configs.items()
            if config.get(PROGRAM_CHECKSUM)
        },
    )


def check_comparable(systems: Sequence[FinishedRuns], split: str) -> None:
    """Refuses runs that learnt from other data or labels, that were tested on others, or that have other metrics.

    Data are the same by the checksums that runs have noted; where one of two has none, by the name of the file.
    """
    runs = [(system, seed) for system in systems for seed, own in system.data.items() if own]
    for (one, first), (other, second) in combinations(runs, 2):
        _refuse_other_data(one, first, other, second)
    first = systems[0]
    for system in systems:
        if set(system.metrics(split)) != set(first.metrics(split)):
            wanted, given = listed(first.metrics(split)), listed(system.metrics(split))
            raise ValueError(f"expected the metrics of {first.name}, {wanted}, got {given} in {system.name}")
    _refuse_other_rows(systems)


def warn_of_edited(systems: Sequence[FinishedRuns]) -> None:
    """Warns where runs are of several versions of one program, which a table would take for one.

    Versions are told by the program's file alone, and not by what it imports. Runs that have noted no checksum, as those of
    earlier versions of the library, are taken as they are.
    """
    versions: dict[str, dict[str, list[str]]] = {}  # by program: its checksums, and the runs of each
    for system in systems:
        for seed, (program, digest) in system.programs.items():
            versions.setdefault(program, {}).setdefault(digest, []).append(_at(system, seed))
    for program, runs in versions.items():
        if len(runs) > 1:
            each = "; ".join(f"SHA-256 {digest[:12]}…: {listed(names)}" for digest, names in runs.items())
            warn(
                f"{program}: expected runs of one version of this file, got {len(runs)}, or programs of one name: {each}. A "
                "run whose folder is removed is trained anew"
            )


def _refuse_other_data(one: FinishedRuns, first: int, other: FinishedRuns, second: int) -> None:
    """Refuses the run of a seed of `other` whose data, label or task are not those of the run of `one`."""
    a, b = one.checksums.get(first), other.checksums.get(second)
    for what, wanted in one.data[first].items():
        given = other.data[second][what]
        same = given == wanted
        if what == "data" and a and b:
            same, wanted, given = a == b, f"{wanted}, SHA-256 {a[:12]}…", f"{given}, SHA-256 {b[:12]}…"
        if not same:
            raise ValueError(f"expected the {what} of {_at(one, first)}, {wanted}, got {given} in {_at(other, second)}")


def _refuse_other_rows(systems: Sequence[FinishedRuns]) -> None:
    """Refuses runs whose test split has other labels, or, where it has noted them, other names of its rows."""
    for what in ("labels", "ids"):
        kept = [(s, seed, getattr(own, what)) for s in systems for seed, own in s.predictions.items()]
        kept = [each for each in kept if len(each[2])]
        for system, seed, own in kept:
            first, _, wanted = kept[0]
            if not np.array_equal(own, wanted):
                raise ValueError(
                    f"expected the {len(wanted)} {what} of the test split of {first.name}, got {len(own)} that differ from "
                    f"these in {_at(system, seed)}"
                )


def _at(system: FinishedRuns, seed: int) -> str:
    return f"{system.name}, seed {seed}" if len(system.results) > 1 else system.name


def _folders(folder: Path, wanted: Sequence[int] | None) -> dict[int, Path]:
    """The folder of each seed, all of them finished; of a single run, its own."""
    found = {
        int(match[1]): path for path in folder.glob("seed-*") if (match := re.fullmatch(r"seed-(-?\d+)", path.name))
    }
    if not found and not (folder / "config.json").exists() and not (folder / "result.json").exists():
        raise RunError(f"{folder}: expected the folder of a finished run, or of many seeds, got none")
    config = Run.open(folder).config if (folder / "config.json").exists() else {}
    seeds = config.get("seeds") or []
    if not found and not seeds:
        found = {config.get("seed", 0): folder}
    if wanted is None:
        wanted = sorted({*found, *seeds})
    unfinished = [seed for seed in wanted if seed not in found or not (found[seed] / "result.json").exists()]
    if unfinished:
        which = (
            "without a result.json"
            if list(found.values()) == [folder]
            else f"with seeds unfinished: {listed(unfinished)}"
        )
        raise RunError(f"{folder}: expected a finished run, got one {which}")
    return {seed: found[seed] for seed in wanted}


def _result(folder: Path) -> dict[str, Metrics]:
    path = folder / "result.json"
    result = _json(path)
    if not all(isinstance(each, dict) for each in result.values()):
        raise RunError(f"{path}: expected metrics by split, got {listed(result)}")
    return {split: {name: finite(value) for name, value in of.items()} for split, of in result.items()}


def finite(value: Any) -> Any:
    """None for NaN and infinities, which Python's JSON can hold: a metric without a value."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _data(config: Mapping[str, Any]) -> dict[str, str]:
    """What a run learnt from, as far as its configuration says it."""
    if "data" not in config:
        return {}
    data = config["data"]
    return {
        "data": Path(data).name if data else "the embedded set",
        "label": listed(config.get("label") or ["the main one"]),
        "task": config.get("task") or "told from the labels",
    }


def _predictions(path: Path) -> Predictions:
    kept = _json(path)
    try:
        outcomes, labels = (np.array(kept[name], dtype=float) for name in ("outcomes", "labels"))
        ids = tuple(map(str, kept.get("ids", ())))
        if outcomes.ndim != 2 or len({len(outcomes), len(labels), len(ids) or len(labels)}) > 1:
            raise ValueError(f"outcomes {outcomes.shape}, labels {labels.shape}, {len(ids)} ids")
        return Predictions(as_task(kept["task"]), outcomes, labels, ids)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{path}: expected task, outcomes (N, K) and labels of N rows, got {error}") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise RunError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content
