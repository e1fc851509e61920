"""Finished runs side by side: `compare_runs`, and the table that comes of it."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from disentangle.data.messages import listed
from disentangle.experiments.studies.finished_runs import FinishedRuns, check_comparable, read_finished, warn_of_edited
from disentangle.experiments.studies.paired import interval_of, less, over_seeds, resampled
from disentangle.experiments.studies.pictures import plot_option, plot_systems
from disentangle.experiments.studies.tables import Table
from disentangle.numbers_as_text import for_readers
from disentangle.text_tables import TextTable, comma_separated

__all__ = ["Comparison", "Difference", "compare_finished", "compare_runs"]

LEFT = ("system", "metric")
COLUMNS = (  # of the CSV file
    *("system", "metric", "mean", "sd", "seeds", "difference", "difference_low", "difference_high"),
    *("p_t", "p_wilcoxon", "rows_low", "rows_high", "common_seeds"),
)
Interval = tuple[float, float]


@dataclass(frozen=True)
class Difference:
    """A metric of a system less that of the system it is compared with.

    Attributes:
        system: The name of the system.
        metric: The name of the metric.
        seeds: How many seeds both have a value for.
        mean: The mean of the differences over these seeds.
        interval: Its 95 % interval by Student's t; `None` for one seed.
        p_t: The p-value of the paired t test; `None` for one seed, or where the differences are all the same.
        p_wilcoxon: The p-value of Wilcoxon's signed-rank test, in the same way.
        rows_interval: The 95 % interval of the mean by a paired bootstrap over the rows of the test split, or over the videos
            that they are of, these seeds being given; `None` where predictions were not kept.
    """

    system: str
    metric: str
    seeds: int
    mean: float
    interval: Interval | None
    p_t: float | None
    p_wilcoxon: float | None
    rows_interval: Interval | None


@dataclass(frozen=True)
class Comparison(Table):
    """The metrics of several systems, and how each differs from one of them. It prints as text.

    Attributes:
        split: The split that was measured.
        against: The name of the system that the others are compared with.
        results: The metrics by system and seed.
        differences: One for each other system and metric, where both have a value for a seed.
        resamples: How many resamples of rows were drawn.
        rows: How many rows these are drawn from; 0 where there is no bootstrap.
        videos: How many videos they are of, by their names: these are drawn, each with all its rows; 0 where rows are.
        option: The name of the option whose values the names of the systems are, if they are; pictures are against it.
    """

    file_name: ClassVar[str] = "comparison"
    split: str
    against: str
    results: dict[str, dict[int, dict[str, float | None]]]
    differences: tuple[Difference, ...]
    resamples: int
    rows: int
    videos: int = 0
    option: str | None = None

    def to_csv(self) -> str:
        """A line for each system and metric, in full precision: mean, standard deviation, seeds, difference, tests."""
        differences = {(each.system, each.metric): each for each in self.differences}
        lines: list[Sequence[object]] = [COLUMNS]
        for system in self.results:
            for metric in self.metrics:
                values = self.values(system, metric)
                mean = statistics.fmean(values) if values else None
                line = [system, metric, mean, statistics.stdev(values) if len(values) > 1 else None, len(values)]
                if found := differences.get((system, metric)):
                    low_high = (*(found.interval or (None, None)), found.p_t, found.p_wilcoxon)
                    line += [found.mean, *low_high, *(found.rows_interval or (None, None)), found.seeds]
                lines.append(line + [None] * (len(COLUMNS) - len(line)))
        return comma_separated(lines)

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draws a panel for each metric: mean and standard deviation of each system, and a dot for each seed.

        The values of an option are on an axis, which is logarithmic where they are powers.

        Arguments:
            path: The file to write; its ending says the format.

        Raises:
            ImportError: Where matplotlib is missing.
        """
        panels = {metric: {name: self.values(name, metric) for name in self.results} for metric in self.metrics}
        if self.option is None:
            plot_systems(panels, path)
        else:
            plot_option(panels, path, self.option)

    @property
    def metrics(self) -> list[str]:
        """The names of the metrics, in the order in which they are first met."""
        return list(dict.fromkeys(name for runs in self.results.values() for of in runs.values() for name in of))

    def values(self, system: str, metric: str) -> list[float]:
        """The values of a metric over the seeds of a system that have one."""
        return [value for of in self.results[system].values() if (value := of.get(metric)) is not None]

    def tables(self) -> list[TextTable]:
        """The metrics, and the differences with what their columns mean."""
        notes = [
            f"{name} {metric}: over the {n} of {len(runs)} seeds that have a value"
            for name, runs in self.results.items()
            for metric in self.metrics
            if 0 < (n := len(self.values(name, metric))) < len(runs)
        ]
        means = TextTable(
            self._means(), LEFT, [f"the {self.split} split: mean ± standard deviation over seeds", *notes]
        )
        return [means, *([TextTable(self._differences(), LEFT, self._legend())] if self.differences else [])]

    def _means(self) -> list[list[str]]:
        lines = [
            [name, str(len(runs)), *(_spread(self.values(name, metric)) for metric in self.metrics)]
            for name, runs in self.results.items()
        ]
        return [[self.option or "system", "seeds", *self.metrics], *lines]

    def _differences(self) -> list[list[str]]:
        """The cells, the header first; without what no line has, such as p-values of a single seed."""
        header = [
            self.option or "system",
            "metric",
            "difference",
            "seeds",
            "95 % (seeds)",
            "p (t)",
            "p (Wilcoxon)",
            "95 % (rows)",
        ]
        lines = [
            [
                each.system,
                each.metric,
                for_readers(each.mean, signed=True),
                str(each.seeds),
                _interval(each.interval),
                _p(each.p_t),
                _p(each.p_wilcoxon),
                _interval(each.rows_interval),
            ]
            for each in self.differences
        ]
        keep = [i for i, column in enumerate(zip(*lines, strict=True)) if set(column) != {"–"}]
        return [[line[i] for i in keep] for line in [header, *lines]]

    def _legend(self) -> list[str]:
        tested = [each.seeds for each in self.differences if each.p_wilcoxon is not None]
        lines = [f"difference: each less {self.against}, the mean over the seeds that both have"]
        if any(each.interval for each in self.differences):
            lines.append("95 % (seeds): the interval by Student's t, what other seeds might give on these rows")
        if tested:
            lines.append(
                "p: paired t test and Wilcoxon's signed-rank test over seeds, not adjusted for the number of comparisons; "
                f"of {min(tested)} seeds, Wilcoxon's cannot be below {2.0 ** (1 - min(tested)):.2g}"
            )
        if any(each.rows_interval for each in self.differences):
            drawn, what = f"{self.rows} rows", "rows"
            if self.videos:
                drawn, what = f"{self.videos} videos of the {drawn}", "videos"
            lines.append(
                f"95 % (rows): paired bootstrap over the {drawn} of the {self.split} split, {self.resamples} resamples, "
                f"what other {what} might give with these seeds"
            )
        return lines


def compare_runs(
    runs: Mapping[str, str | os.PathLike[str]],
    *,
    against: str | None = None,
    split: str = "test",
    resamples: int = 2000,
    seed: int = 0,
    progress: bool = False,
) -> Comparison:
    """Compares finished runs: mean and standard deviation over seeds, and how each system differs from one of them.

    Differences are taken seed by seed, over the seeds that both have. The bootstrap draws rows of the test split, the same
    for all systems and seeds, from the predictions that a run keeps; where their names say which video rows are of, such as
    "v[3]", "v$_$3" or "v_1.5_4.25", it draws videos, since clips of one video are alike. It computes the metrics anew for each
    resample, which takes about a millisecond for each run.

    A `DataWarning` says where runs are of several versions of one program, by its file alone: what the file imports is not
    looked at.

    Arguments:
        runs: The folder of each system by its name: a single run, or many seeds, as `run_seeds` leaves them.
        against: The name of the system that the others are compared with; the first by default.
        split: The split whose metrics are compared, "test" or "valid"; of others than "test" there is no bootstrap.
        resamples: How many resamples of rows are drawn; 0 for no bootstrap.
        seed: What these are drawn by.
        progress: Whether to show a progress bar of the bootstrap.

    Returns:
        The metrics and the differences, as a table that prints, is written as LaTeX and CSV, and is drawn.

    Raises:
        RunError: If a folder holds no finished run, or cannot be read.
        ValueError: If the runs learnt from other data, labels or tasks, have other metrics, or no seed in common.

    Example:
        >>> import json, pathlib, tempfile
        >>> root = pathlib.Path(tempfile.mkdtemp())
        >>> for name, errors in {"ours": (0.70, 0.72), "theirs": (0.80, 0.81)}.items():
        ...     for n, mae in enumerate(errors):
        ...         (root / name / f"seed-{n}").mkdir(parents=True)
        ...         _ = (root / name / f"seed-{n}" / "result.json").write_text(json.dumps({"test": {"mae": mae}}))
        >>> table = compare_runs({"theirs": root / "theirs", "ours": root / "ours"})
        >>> print(table.to_markdown().partition("\\n\\n")[0])
        | system | seeds | mae |
        | :-- | --: | --: |
        | theirs | 2 | 0.805 ± 0.007 |
        | ours | 2 | 0.710 ± 0.014 |
        >>> f"{table.differences[0].mean:.3f}"
        '-0.095'
    """
    if not runs:
        raise ValueError("expected at least 1 run, got 0")
    systems = [read_finished(name, folder) for name, folder in runs.items()]
    return compare_finished(systems, against=against, split=split, resamples=resamples, seed=seed, progress=progress)


def compare_finished(
    systems: Sequence[FinishedRuns],
    *,
    against: str | None = None,
    split: str = "test",
    resamples: int = 2000,
    seed: int = 0,
    progress: bool = False,
) -> Comparison:
    """Compares finished runs that have been read; as `compare_runs`."""
    by_name = {system.name: system for system in systems}
    first = systems[0].name if against is None else against
    if first not in by_name:
        raise ValueError(f"expected one of {listed(by_name)} to compare against, got {first!r}")
    for system in systems:
        for each in system.results.values():
            if split not in each:
                raise ValueError(f"expected metrics of {split!r} in {system.name}, got those of {listed(each)}")
    check_comparable(systems, split)
    warn_of_edited(systems)
    base = by_name[first]
    common = {each.name: [n for n in each.results if n in base.results] for each in systems if each is not base}
    for name, seeds in common.items():
        if not seeds:
            theirs = listed(by_name[name].results)
            raise ValueError(f"expected a seed of {first}, {listed(base.results)}, in {name}, got {theirs}")
    wanted = resamples if split == "test" else 0
    drawn, videos = _bootstrap(base, by_name, common, wanted, seed, progress)
    differences = []
    for name, seeds in common.items():
        for metric in base.metrics(split):
            pairs = {
                n: (by_name[name].results[n][split].get(metric), base.results[n][split].get(metric)) for n in seeds
            }
            known = {n: (a, b) for n, (a, b) in pairs.items() if a is not None and b is not None}
            if known:
                test = over_seeds(*zip(*known.values(), strict=True))
                rows = _over_rows(drawn, name, first, metric, list(known))
                differences.append(Difference(name, metric, len(known), *test, rows))
    results = {each.name: {n: of[split] for n, of in each.results.items()} for each in systems}
    rows = len(next(iter(base.predictions.values())).labels) if drawn else 0
    return Comparison(split, first, results, tuple(differences), resamples, rows, videos)


Drawn = dict[tuple[str, int], dict[str, np.ndarray]]  # by system and seed, then by metric: its value on each resample


def _bootstrap(
    base: FinishedRuns,
    systems: Mapping[str, FinishedRuns],
    common: Mapping[str, Sequence[int]],
    resamples: int,
    seed: int,
    progress: bool,
) -> tuple[Drawn, int]:
    """The metrics on resamples, of all runs that some difference needs whose two have kept predictions.

    Beside it, how many videos were drawn from; 0 where rows were.
    """
    both = [(name, n) for name, seeds in common.items() for n in seeds if n in base.predictions]
    keys = {(each, n) for name, n in both if n in systems[name].predictions for each in (name, base.name)}
    kept = {(name, n): systems[name].predictions[n] for name, n in sorted(keys)}
    if not kept or not resamples:
        return {}, 0
    one = max(kept.values(), key=lambda each: len(each.ids))  # with names, if any run has noted them
    outcomes = {key: each.outcomes for key, each in kept.items()}
    videos = one.videos
    drawn = resampled(
        one.task.metrics, outcomes, one.labels, groups=videos, resamples=resamples, seed=seed, progress=progress
    )
    for (name, n), found in drawn.items():  # an experiment may have metrics of its own: these are not drawn
        again, result = one.task.metrics(outcomes[name, n], one.labels), systems[name].results[n]["test"]
        for metric in [each for each in found if not _same(again.get(each), result.get(each))]:
            del found[metric]
    return drawn, 0 if videos is None else int(videos.max()) + 1


def _same(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and bool(np.isclose(a, b, rtol=1e-5, atol=1e-6))


def _over_rows(drawn: Drawn, name: str, first: str, metric: str, seeds: Sequence[int]) -> Interval | None:
    """The interval of the mean difference over seeds, where each of them was drawn for both."""
    if not all(metric in drawn.get((each, n), {}) for each in (name, first) for n in seeds):
        return None
    own, others = (np.mean([drawn[each, n][metric] for n in seeds], axis=0) for each in (name, first))
    return interval_of(less(own, others))


def _spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return for_readers(values[0]) if values else "–"
    mean, sd = statistics.fmean(values), statistics.stdev(values)
    return f"{for_readers(mean, beside=sd)} ± {for_readers(sd, beside=mean)}"


def _interval(interval: Interval | None) -> str:
    return "–" if interval is None else f"[{for_readers(interval[0])}, {for_readers(interval[1])}]"


def _p(value: float | None) -> str:
    return "–" if value is None else f"{value:.2g}"
