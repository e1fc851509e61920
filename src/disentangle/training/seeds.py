"""The same run with many seeds, or any runs side by side: each in a process and a folder of its own.

seed-0/    whatever the run with seed 0 leaves; its result.json says that it has finished
seed-0.log what that run printed
seed-1/ ...
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from disentangle.errors import SeedsError
from disentangle.training.guards import refuse_other_than_counts
from disentangle.training.interrupts import Interrupts
from disentangle.training.locks import alone_in, lock

__all__ = ["finished", "run_each", "run_seeds", "seed_results"]

PATIENCE = 60.0  # seconds from SIGINT to SIGKILL: a step, and the weights that a run saves when stopped
POLL = 0.05  # seconds
STILL_RUNS = "expected a log that no process writes, got one that a process of an earlier start still writes"


def run_seeds(
    command: Callable[[int, Path], Sequence[str]],
    seeds: Sequence[int],
    folder: str | os.PathLike[str],
    *,
    at_once: int = 1,
    progress: bool = True,
) -> dict[int, Path]:
    """Runs a program once per seed, each time in its own process; called again, it runs what has not finished.

    A run has finished when its folder holds a `result.json`, which the program writes last. A run that fails does not stop the
    others. Ctrl-C, SIGTERM and the end of a terminal stop all: each run gets SIGINT, once, and SIGKILL where it has not ended
    a minute later, or at a second Ctrl-C. For POSIX systems.

    The cores are shared out among the runs by `OMP_NUM_THREADS`, unless that is set. All runs see the same devices.

    Arguments:
        command: Maps a seed and its folder to the program and its arguments. The folder may hold what an interrupted run left.
        seeds: The seeds, all different.
        folder: Where the folder of each run, `seed-<n>`, and what it printed, `seed-<n>.log`, come to lie.
        at_once: How many run at a time, at most.
        progress: Whether to show a progress bar over seeds.

    Returns:
        The folder of each seed.

    Raises:
        ValueError: If a seed is given twice, or `at_once` is below 1.
        RunError: If another process runs seeds in the folder.
        SeedsError: When all others have ended, if a run has failed: its exit code is not 0, or it left no `result.json`.

    Example:
        >>> import tempfile
        >>> program = "import sys, json, pathlib; folder = pathlib.Path(sys.argv[2]); folder.mkdir(); " \\
        ...     "(folder / 'result.json').write_text(json.dumps({'test': {'mae': float(sys.argv[1]) / 4}}))"
        >>> command = lambda seed, folder: [sys.executable, "-c", program, str(seed), str(folder)]
        >>> folder = tempfile.mkdtemp()
        >>> [path.name for path in run_seeds(command, [1, 2], folder, at_once=2, progress=False).values()]
        ['seed-1', 'seed-2']
        >>> seed_results(folder)
        {1: {'test': {'mae': 0.25}}, 2: {'test': {'mae': 0.5}}}
    """
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"expected seeds that are all different, got {list(seeds)}")
    folder = Path(folder)
    folders = {seed: folder / f"seed-{seed}" for seed in seeds}
    commands = {path: lambda seed=seed, path=path: command(seed, path) for seed, path in folders.items()}
    names = {path: str(seed) for seed, path in folders.items()}
    run_each(commands, names, unit="seed", at_once=at_once, progress=progress)
    return folders


def run_each(
    commands: Mapping[Path, Callable[[], Sequence[str]]],
    names: Mapping[Path, str],
    *,
    unit: str = "run",
    at_once: int = 1,
    progress: bool = True,
) -> None:
    """Runs a program for each of many folders, as `run_seeds` does for each seed, with one progress bar for all.

    Arguments:
        commands: What makes the program and its arguments, by the run's folder; called when the run starts.
        names: What the run is called in the progress bar and in errors, by its folder.
        unit: What a run is called.
        at_once: How many run at a time, at most.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: If `at_once` is below 1.
        RunError: If another process starts runs in one of the folders that these lie in.
        SeedsError: When all others have ended, if a run has failed.
    """
    from tqdm.auto import tqdm

    refuse_other_than_counts(at_once=at_once)
    for folder in commands:
        folder.parent.mkdir(parents=True, exist_ok=True)
    left = [folder for folder in commands if not finished(folder)]
    running: dict[Path, subprocess.Popen[bytes]] = {}
    failures: list[str] = []
    environment = {"OMP_NUM_THREADS": str(max(1, cores() // at_once)), **os.environ}
    total, done = len(commands), len(commands) - len(left)
    with (
        _alone_in_all({folder.parent for folder in left}),
        tqdm(total=total, initial=done, unit=unit, disable=not progress, dynamic_ncols=True) as bar,
        Interrupts() as interrupts,
    ):
        try:
            while left or running:
                while left and len(running) < at_once:
                    folder = left.pop(0)
                    if (child := _start(commands[folder], _log(folder), environment)) is None:
                        failures.append(f"{unit} {names[folder]}, {STILL_RUNS} ({_log(folder)})")
                        bar.update()
                        continue
                    running[folder] = child
                    bar.set_postfix_str(_state([names[each] for each in running], failures))
                time.sleep(POLL)
                for folder in [folder for folder, child in running.items() if child.poll() is not None]:
                    code = running.pop(folder).returncode
                    if code != 0 or not finished(folder):
                        failures.append(f"{unit} {names[folder]}, {_failure(code, folder)}")
                    bar.set_postfix_str(_state([names[each] for each in running], failures), refresh=False)
                    bar.update()
                if interrupts.heard is not None:
                    interrupts.raise_it()
        finally:
            _end(list(running.values()))
    if failures:
        raise SeedsError(f"{len(failures)} of {len(commands)} {unit}s failed: {'; '.join(failures)}")


def seed_results(folder: str | os.PathLike[str]) -> dict[int, dict[str, dict[str, float | None]]]:
    """The metrics of each split by seed, from every `seed-<n>/result.json` in a folder; see `seeds_table`.

    Arguments:
        folder: What was given to `run_seeds`.

    Returns:
        The metrics by seed, in rising order, then by split and by name; seeds that have not finished are absent.

    Raises:
        SeedsError: If a `result.json` cannot be read.
    """
    results = {}
    for path in Path(folder).glob("seed-*/result.json"):
        seed = re.fullmatch(r"seed-(-?\d+)", path.parent.name)
        if seed is None:
            continue
        try:
            results[int(seed[1])] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SeedsError(f"{path}: cannot be read: {error}") from error
    return dict(sorted(results.items()))


def finished(folder: Path) -> bool:
    """Whether the run in a folder has finished."""
    return (folder / "result.json").exists()


@contextmanager
def _alone_in_all(folders: Iterable[Path]) -> Iterator[None]:
    """Keeps others from starting runs in these folders."""
    with ExitStack() as alone:
        for folder in sorted(folders):
            alone.enter_context(alone_in(folder))
        yield


def _log(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.log")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _start(
    command: Callable[[], Sequence[str]], log: Path, environment: dict[str, str]
) -> subprocess.Popen[bytes] | None:
    """Starts a run in a process group of its own, so that a terminal's Ctrl-C reaches it only once, through us.

    The run has its log locked, as what it prints to, until it ends: one that has outlived its parent is not started again.
    `None` where there is one.
    """
    with log.open("ab") as file:
        if not lock(file.fileno()):
            return None
        file.truncate(0)
        return subprocess.Popen(
            list(command()),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**environment, "PYTHONUNBUFFERED": "1"},  # else what was printed comes after the error that followed
            process_group=0,
        )


def _state(running: Iterable[str], failures: Sequence[str]) -> str:
    failed = f", {len(failures)} failed" if failures else ""
    return f"running {', '.join(running) or 'none'}{failed}"


def _failure(code: int, folder: Path) -> str:
    log = _log(folder)
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    missing = "" if code else " without a result.json"
    return f"exit code {code}{missing}, {lines[-1] if lines else 'printed nothing'} ({log})"


def _end(children: Sequence[subprocess.Popen[bytes]]) -> None:
    """Asks all to stop, waits, and kills the rest with whatever they have started."""
    deadline = time.monotonic() + PATIENCE
    try:
        _signal(children, signal.SIGINT)
        for child in children:
            child.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        pass
    finally:  # the second Ctrl-C comes here at once
        _signal(children, signal.SIGKILL)
        for child in children:
            child.wait()


def _signal(children: Sequence[subprocess.Popen[bytes]], number: signal.Signals) -> None:
    for child in children:
        if child.poll() is None:
            os.killpg(child.pid, number)
