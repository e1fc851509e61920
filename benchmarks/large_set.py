"""How long a large set takes, computed from what other benchmarks measured: nothing is timed here.

    python benchmarks/large_set.py [--rows 16326] [--unlabeled-rate 5] [--batch-size 32] [--epochs 30]

One iteration of 32 rows of `base` is in `iteration.txt` (a CPU in float32 and in bfloat16) and in `gpu.txt`. A step has the
rows of a batch, and so many more per row without a label. On a CPU the time grows with the rows. On a GPU it lies between that
of one iteration, if starting kernels is all that takes time, and that of as many as there are rows. The rows are those of
CMU-MOSEI's training split unless said otherwise.
"""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path

from disentangle.text_tables import markdown

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "speed"
MEASURED_ROWS, GPUS = 32, 8
FAST, SLOW = 300e9, 25e9 / 8  # bytes per second between machines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=16_326, help="with a label (default: %(default)s)")
    parser.add_argument(
        "--unlabeled-rate", type=float, default=5, help="rows without per row with (default: %(default)s)"
    )
    parser.add_argument("--batch-size", type=int, default=32, help="rows with a label per step (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=30, help="(default: %(default)s)")
    options = parser.parse_args()
    base = (RESULTS / "iteration.txt").read_text(encoding="utf-8").split("\nbase:")[1]
    of_gpu = (RESULTS / "gpu.txt").read_text(encoding="utf-8").split("bert-base's shape")[1]
    operations, parameters = 1e9 * before("GFLOP", base), 1e6 * before("M parameters", base)
    ours, bf16, one = (after(name, text) / 1e3 for name, text in (("ours", base), ("bf16", base), ("with MI", of_gpu)))
    rows = options.batch_size * (1 + options.unlabeled_rate)
    steps, times = math.ceil(options.rows / options.batch_size), rows / MEASURED_ROWS
    print(
        f"{steps} steps per epoch, of {rows:.0f} rows and {times * operations / 1e12:.1f} TFLOP each, computed from "
        f"iterations of {MEASURED_ROWS} rows:\n"
    )
    table = [["on", "a step", "an epoch", f"{options.epochs} epochs", "what bounds it"]]

    def add(on: str, least: float, most: float, bound: str) -> None:
        spans = (1, steps, steps * options.epochs)
        cells = (duration(least * span) + f" to {duration(most * span)}" * (most > least) for span in spans)
        table.append([on, *cells, bound])

    add("two cores of a CPU, float32", times * ours, times * ours, "arithmetic")
    add("the same, bfloat16", times * bf16, times * bf16, "arithmetic")
    add("one H200", one, times * one, "starting kernels, or arithmetic")
    add(f"{GPUS} H200 in one machine", one, max(one, times * one / GPUS), "starting kernels")
    print(markdown(table, ["on", "what bounds it"]))
    size = 4 * parameters  # each machine sends and receives about as much
    print(
        f"\nSeveral machines take as long as one, and exchange {size / 1e6:.0f} MB of gradients per step, there and back: "
        f"{duration(2 * size / FAST)} at 300 GB/s, {duration(2 * size / SLOW)} at 25 Gbit/s."
    )


def before(unit: str, text: str) -> float:
    """The first number that stands before a unit."""
    return float(re.findall(r"([\d.]+) " + unit, text)[0])


def after(name: str, text: str) -> float:
    """The first number of the first line that begins with a name."""
    return float(re.findall(rf"^{name} +([\d.]+)", text, re.MULTILINE)[0])


def duration(seconds: float) -> str:
    """In the largest unit of which there are two, with two digits."""
    for name, size in (("days", 86_400), ("h", 3600), ("min", 60), ("s", 1), ("ms", 1e-3)):
        if seconds >= 2 * size or name == "ms":
            count = seconds / size
            return f"{count:.0f} {name}" if count >= 10 else f"{count:.1f} {name}"
    raise AssertionError


if __name__ == "__main__":
    main()
