"""What a user waits for: imports, the first step of a run, one prediction, and the meters.

    OMP_NUM_THREADS=1 python benchmarks/waiting.py [--repeats 3]

Processes are beside one that imports torch, or torch and a transformers model, and nothing else; a permutation test is beside
one that sums the permuted kernels order by order. The run is the tiny backbone's on the embedded set.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from timing import interleaved, machine, ratios, spread

from disentangle import dependence_report, estimate_mutual_information, permutation_test
from disentangle.functional.kernels import double_centered, radial_kernel

PERMUTATIONS = 1000
MIRD = str(Path(__file__).parents[1] / "examples" / "mird_mosi.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="(default: %(default)s)")
    options = parser.parse_args()
    print(f"{machine()}; seconds, median [min, max]")
    for name, call in meters().items():
        seconds = interleaved({name: call}, options.repeats)[name]
        print(f"{name:62} {spread(seconds, 1)}", flush=True)
    tests(options.repeats)
    processes(options.repeats)


def meters() -> dict[str, Callable[[], object]]:
    generator = torch.Generator().manual_seed(0)

    def normal(rows: int, columns: int) -> torch.Tensor:
        return torch.randn(rows, columns, generator=generator)

    x, noise = normal(4000, 4), normal(4000, 4)
    curves = torch.cat([x[:, :2].square() + noise[:, :2], noise[:, 2:]], 1)
    shared = normal(1000, 4)
    six = {name: normal(1000, 4) + (shared if name in "SLA" else 0) for name in "SLAVWX"}
    rotation = torch.linalg.qr(normal(4, 4)).Q
    rotated = (2 * x @ rotation).sin() @ rotation + 0.5 * noise  # no column of x tells much of one of y
    curve, line, nothing = x[:, :1].square() + noise[:, :1], x + noise, noise
    return {
        "estimate_mutual_information, 4000 rows, 1 + 1, a curve": lambda: estimate_mutual_information(x[:, :1], curve),
        "the same, 4 + 4, a line in each": lambda: estimate_mutual_information(x, line),
        "the same, 4 + 4, nothing": lambda: estimate_mutual_information(x, nothing),
        "the same, 4 + 4, curves of columns": lambda: estimate_mutual_information(x, curves),
        "the same, 4 + 4, rotated curves, which a critic finds": lambda: estimate_mutual_information(x, rotated),
        "dependence_report of six variables, 1000 rows of 4": lambda: dependence_report(six, progress=False),
    }


def tests(repeats: int) -> None:
    for rows in (250, 1000, 2000):
        x, y = torch.randn(2, rows, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        ours = partial(permutation_test, x, y, permutations=PERMUTATIONS)
        seconds = interleaved({"ours": ours, "in turn": partial(in_turn, x, y)}, repeats)
        name = f"permutation_test, {rows} rows, {PERMUTATIONS} permutations"
        ratio = ratios(seconds["in turn"], seconds["ours"])
        print(f"{name:62} {spread(seconds['ours'], 1)}; in turn {ratio} as long", flush=True)


def in_turn(x: torch.Tensor, y: torch.Tensor) -> list[float]:
    """The statistics of as many orders of y, each summed by itself; the kernels are computed once."""
    k, m = (double_centered(radial_kernel(side, None, kernel="laplace"), False).float() for side in (x, y))
    orders = (torch.randperm(len(x)) for _ in range(PERMUTATIONS))
    return [float((k * m[order][:, order]).mean()) for order in orders]


def processes(repeats: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = f"{folder}/run"
        subprocess.run([sys.executable, MIRD, "--epochs", "1", "--out", run], check=True, capture_output=True)
        calls: dict[str, Callable[[], float]] = {
            "import torch": lambda: started("-c", "import torch"),
            "import disentangle": lambda: started("-c", "import disentangle"),
            "import torch, and BertModel of transformers": lambda: started(
                "-c", "import torch; from transformers import BertModel"
            ),
            "one prediction": lambda: started(MIRD, "predict", "--run", run, "--text", "a fine day"),
            "the first step of a run": lambda: started(
                MIRD, "--out", tempfile.mkdtemp(dir=folder), until=r"\b[1-9]\d*/\d+ "
            ),
        }
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for i in range(repeats + 1):
            for name, call in calls.items():
                taken = call()
                if i:
                    seconds[name].append(taken)
    for name, values in seconds.items():
        print(f"{name:62} {spread(values, 1)}")
    bare = statistics.median(seconds["import torch"])
    print(
        f"disentangle beyond torch: {statistics.median(seconds['import disentangle']) / bare - 1:.2f} of torch's import"
    )
    backbone = statistics.median(seconds["import torch, and BertModel of transformers"])
    for name in list(calls)[3:]:
        print(f"{name}, beyond torch and BertModel: {statistics.median(seconds[name]) - backbone:.1f} s")


def started(*arguments: str, until: str | None = None) -> float:
    """The seconds from the start of Python to its end, or to what a terminal shows."""
    begin = time.perf_counter()
    if until is None:
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        return time.perf_counter() - begin
    terminal, its_end = os.openpty()
    termios.tcsetwinsize(its_end, (24, 120))
    with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=its_end) as process:
        os.close(its_end)
        shown = ""
        while not re.search(until, shown):
            shown += os.read(terminal, 1024).decode(errors="replace")
        seconds = time.perf_counter() - begin
        process.kill()
    os.close(terminal)
    return seconds


if __name__ == "__main__":
    main()
