"""Damaged pickles of every layout, read in a child process: how many are read and refused, and whether any does harm.

python benchmarks/fuzz_pickles.py --files 100000 --seed 0

A file is made from the seed and its number alone. Status 1: a crash, a hang, or an exception other than `DataError`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from disentangle.data import DataError, load_pickle

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.data.mutations import layouts, mutate, samples

LAYOUTS = list(layouts())
OUTCOMES = ["read", "refused", "other exception", "crashed", "hung"]
PATIENCE = 60.0  # seconds for one file, and for the start of a child


class Case(NamedTuple):
    """What became of one file."""

    number: int
    outcome: str
    detail: str = ""
    size: int = 0
    seconds: float = 0.0
    peak: int = 0


def measure(number: int, path: Path, data: bytes) -> Case:
    """Reads the file twice: tracing memory would slow the timed run down."""
    path.write_bytes(data)
    outcome, detail = "read", ""
    started = time.process_time()
    try:
        load_pickle(path)
    except DataError:
        outcome = "refused"
    except Exception as error:
        outcome, detail = "other exception", repr(error)[:200]
    seconds = time.process_time() - started
    tracemalloc.start()
    try:
        load_pickle(path)
    except Exception:  # the same as before
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return Case(number, outcome, detail, len(data), seconds, peak)


def read_all(connection: Connection, folder: str, seed: int, numbers: range) -> None:
    """The child: makes and reads the files, and tells of each."""
    pickles = {name: samples(name) for name in LAYOUTS}
    every = [data for each in pickles.values() for data in each]
    for number in numbers:
        draw = random.Random(f"{seed} {number}")
        own = pickles[LAYOUTS[number % len(LAYOUTS)]]
        data = mutate(draw, draw.choice(own), draw.choice(every))
        connection.send(measure(number, Path(folder, "file.pkl"), data))


def cases(files: int, seed: int) -> Iterator[Case]:
    """What became of each file; a new child takes over after one that ended or hung."""
    context = multiprocessing.get_context("spawn")
    following = 0
    with tempfile.TemporaryDirectory() as folder:
        while following < files:
            receiver, sender = context.Pipe(duplex=False)
            child = context.Process(target=read_all, args=(sender, folder, seed, range(following, files)))
            child.start()
            sender.close()
            while following < files:
                try:
                    case = receiver.recv() if receiver.poll(PATIENCE) else Case(following, "hung")
                except EOFError:
                    child.join()
                    case = Case(following, "crashed", f"exit code {child.exitcode}")
                yield case
                following += 1
                if case.outcome in ("hung", "crashed"):
                    break
            child.kill()
            child.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    counts = {name: Counter[str]() for name in LAYOUTS}
    slowest = largest = Case(0, "read")
    failures = 0
    for case in cases(arguments.files, arguments.seed):
        name = LAYOUTS[case.number % len(LAYOUTS)]
        counts[name][case.outcome] += 1
        slowest = max(slowest, case, key=lambda each: each.seconds)
        largest = max(largest, case, key=lambda each: each.peak)
        if case.outcome not in ("read", "refused"):
            failures += 1
            print(f"file {case.number} ({name}): {case.outcome} {case.detail}", flush=True)

    print(f"{'layout':12}" + "".join(f"{column:>16}" for column in ["files", *OUTCOMES]))
    for name, count in [*counts.items(), ("all", sum(counts.values(), Counter()))]:
        print(f"{name:12}" + "".join(f"{number:16,}" for number in [count.total(), *(count[key] for key in OUTCOMES)]))
    print(f"peak memory  {largest.peak / 2**20:.2f} MiB, file {largest.number} of {largest.size:,} bytes")
    print(f"slowest      {slowest.seconds * 1e3:.1f} ms, file {slowest.number} of {slowest.size:,} bytes")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
