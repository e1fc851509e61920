"""Damaged files of every layout, read in a child process: how many are read and refused, and whether any does harm.

python benchmarks/fuzz_pickles.py --files 100000 --seed 0

Half of the pickles have their bytes damaged, half hold a value that is not in order; other files have their bytes damaged. A
data set is made from the seed and its number alone. Status 1: a crash, a hang, an exception other than `DataError`, or
anything that was run, imported, or opened elsewhere.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import pickle
import random
import resource
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from disentangle.data import DataError, read_recordings, read_unlabeled
from disentangle.data.store import write_store

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.data.layouts import text_writers, writers
from tests.data.mutations import alter, layouts, mutate, pickles, samples

Files = dict[str, bytes]  # a data set, by paths in its folder

FOLDER_OF_PICKLES, STORE = "folder of pickles", "store"
LAYOUTS = [*layouts(), *writers.LAYOUTS, FOLDER_OF_PICKLES, *text_writers.LAYOUTS, STORE]
OUTCOMES = ["read", "refused", "other exception", "did something", "crashed", "hung"]
PATIENCE = 60.0  # seconds for one data set, and for the start of a child
# What Python reports of a program that does more than read; and a pickle that would.
SUSPICIOUS = {"exec", "import", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.remove", "os.rename"}
SUSPICIOUS |= {"pickle.find_class", "ctypes.dlopen", "marshal.loads", "socket.connect", "subprocess.Popen"}
HOSTILE = b"cos\nsystem\n(S'true'\ntR."


class Case(NamedTuple):
    """What became of one data set."""

    number: int
    outcome: str
    detail: str = ""
    size: int = 0
    seconds: float = 0.0
    peak: int = 0
    grown: int = 0  # by how many KiB the process grew, libraries in C included


class Watch:
    """What the interpreter is told to do while something is read, beside reading it."""

    def __init__(self, folder: str):
        self.folder, self.on, self.seen = folder, False, [""]
        sys.addaudithook(self.hear)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        elsewhere = event == "open" and not os.fspath(arguments[0]).startswith(self.folder)
        if elsewhere or event in SUSPICIOUS:
            self.seen.append(f"{event} {arguments}"[:200])


def valid_files() -> dict[str, list[Files]]:
    """Data sets that are in order, by layout."""
    found = {name: [{"data.pkl": data} for data in samples(name)] for name in layouts()}
    for name, layout in writers.LAYOUTS.items():
        split, _ = layout.write(random.Random(0), writers.example())
        found[name] = [{"data.pkl": data} for data in pickles(dict.fromkeys(("train", "dev", "test"), split))]
        if name == "misa":
            found[FOLDER_OF_PICKLES] = [
                {f"{key}.pkl": data for key in ("train", "dev", "test")} for data in pickles(split)
            ]
    return found | {name: [text_writers.example(name)] for name in text_writers.LAYOUTS} | {STORE: [store_files()]}


def store_files() -> Files:
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "store")
        write_store(store, {name: writers.example() for name in ("train", "valid")})
        paths = sorted(path for path in store.rglob("*") if path.is_file())
        return {str(path.relative_to(store)): path.read_bytes() for path in reversed(paths)}


def damaged(draw: random.Random, files: Files, every: list[bytes]) -> Files:
    """A data set with accidents in one of its files."""
    name = draw.choice(list(files))
    if name.endswith(".pkl") and draw.random() < 0.5:
        content = alter(draw, pickle.loads(files[name]))  # one of our own
        return {**files, name: pickle.dumps(content, draw.randrange(pickle.HIGHEST_PROTOCOL + 1))}
    return {**files, name: mutate(draw, files[name], draw.choice(every))}


def write(folder: Path, files: Files) -> Path:
    """Writes a data set; gives the path that it is read from."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    first = next(iter(files))
    return folder / first if len(files) == 1 or first.endswith(".json") else folder


def read(layout: str, path: Path) -> None:
    """Reads a data set, the frames that stay in their files included."""
    splits = [read_unlabeled(path)] if layout == "unlabelled" else read_recordings(path).values()
    for split in splits:
        split.nonfinite  # noqa: B018


def read_valid(folder: Path) -> None:
    """Reads what is in order; also so that what is imported when it is needed is there before anything is watched."""
    for layout, each in valid_files().items():
        if layout != "others":
            read(layout, write(folder / layout, each[0]))


def measure(number: int, layout: str, path: Path, size: int, watch: Watch) -> Case:
    """Reads the data set twice: tracing memory would slow the timed run down."""
    outcome, detail = "read", ""
    watch.seen.clear()
    watch.on = True
    before, started = largest_size(), time.process_time()
    try:
        read(layout, path)
    except DataError as error:
        outcome = "refused"
        if "\n" in str(error):
            outcome, detail = "other exception", f"more than a line: {str(error)!r}"[:200]
    except Exception as error:
        outcome, detail = "other exception", repr(error)[:200]
    seconds = time.process_time() - started
    watch.on = False
    grown = largest_size() - before  # before memory is traced, which takes some for good
    if watch.seen:
        outcome, detail = "did something", ", ".join(watch.seen)
    tracemalloc.start()
    try:
        read(layout, path)
    except Exception:  # the same as before
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return Case(number, outcome, detail, size, seconds, peak, grown)


def largest_size() -> int:
    """The most memory that the process has had, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def read_all(connection: Connection, folder: str, seed: int, numbers: range) -> None:
    """The child: makes and reads the data sets, and tells of each."""
    valid = valid_files()
    every = [HOSTILE, *(data for each in valid.values() for files in each for data in files.values())]
    read_valid(Path(folder))
    warnings.simplefilter("ignore")  # showing one opens the source that it comes from
    watch = Watch(folder)
    for number in numbers:
        draw = random.Random(f"{seed} {number}")
        layout = LAYOUTS[number % len(LAYOUTS)]
        files = damaged(draw, draw.choice(valid[layout]), every)
        path = write(Path(folder, layout), files)
        connection.send(measure(number, layout, path, sum(map(len, files.values())), watch))


def cases(files: int, seed: int) -> Iterator[Case]:
    """What became of each data set; a new child takes over after one that ended or hung."""
    context = multiprocessing.get_context("spawn")
    following = 0
    with tempfile.TemporaryDirectory() as folder:
        read_valid(Path(folder))
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
    grown = 0
    failures = 0
    for case in cases(arguments.files, arguments.seed):
        name = LAYOUTS[case.number % len(LAYOUTS)]
        counts[name][case.outcome] += 1
        slowest = max(slowest, case, key=lambda each: each.seconds)
        largest = max(largest, case, key=lambda each: each.peak)
        grown = max(grown, case.grown)
        if case.outcome not in ("read", "refused"):
            failures += 1
            print(f"file {case.number} ({name}): {case.outcome} {case.detail}", flush=True)

    print(f"{'layout':20}" + "".join(f"{column:>16}" for column in ["files", *OUTCOMES]))
    for name, count in [*counts.items(), ("all", sum(counts.values(), Counter()))]:
        print(f"{name:20}" + "".join(f"{number:16,}" for number in [count.total(), *(count[key] for key in OUTCOMES)]))
    print(f"peak memory  {largest.peak / 2**20:.2f} MiB, file {largest.number} of {largest.size:,} bytes")
    print(f"growth       {grown / 2**10:.2f} MiB of the process by one file, at most")
    print(f"slowest      {slowest.seconds * 1e3:.1f} ms, file {slowest.number} of {slowest.size:,} bytes")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
