"""How far `estimate_mutual_information` is from the truth, on tasks whose mutual information is known.

    python benchmarks/mutual_information.py --out runs/known_truths.jsonl
    python benchmarks/mutual_information.py --out runs/known_truths.jsonl --report docs/results

The first command measures, a line per task (it leaves out what the file has already); the second one writes the tables. The
settings of the library were chosen on the tuning half of the tasks; the halves were drawn once, by seed 0, see
`known_truths.tasks.halves`. `--methods infonce nwj mine` measures others.

    python benchmarks/mutual_information.py --out runs/mine.jsonl --estimator mine.py:estimate \\
        --beside docs/results/known_truths.jsonl

measures a function of your own, from x and y, `(rows, dim)` float64 or `(rows,)` classes as whole numbers, to nats, and ranks
it beside what was measured before of the same tasks.

A value counts as close within max(0.1, 20 %) of the truth.
"""

from __future__ import annotations

import argparse
import json
import platform
import runpy
import statistics
import time
import zlib
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from known_truths.tasks import Task, halves, tasks
from tqdm.auto import tqdm

from disentangle import estimate_mutual_information
from disentangle.dependence import Bound
from disentangle.information import METHODS, MutualInformation
from disentangle.text_tables import markdown

SUMMARY = [
    "method",
    "half",
    "tasks",
    "failed",
    "median error",
    "close",
    "largest where 0",
    "seconds, median",
    "longest",
]
UNKNOWN = Bound("neither", "nothing is known of it")
TEXT = ("method", "half", "family", "task", "dimensions", "value", "by")


Meter = Callable[[np.ndarray, np.ndarray], Any]  # from x and y to nats, a number or a `MutualInformation`


def meter_of(place: str) -> Meter:
    """The function that is called `NAME` in a file, `FILE.py:NAME`."""
    path, _, name = place.rpartition(":")
    try:
        return runpy.run_path(path)[name]
    except (OSError, KeyError) as error:
        raise SystemExit(f"expected FILE.py:FUNCTION, got {place!r}: {type(error).__name__} {error}") from None


def measure(task: Task, half: str, method: str, meter: Meter, rows: int, seed: int) -> dict:
    rng, rows = np.random.default_rng([seed, zlib.crc32(task.name.encode())]), task.rows or rows
    x, y = task.sample(rows, rng)
    entropies = [entropy(side) for side in (x, y) if side.dtype.kind == "i"]
    started = time.perf_counter()
    record = {"task": task.name, "family": task.family, "half": half, "method": method, "rows": rows, "seed": seed}
    record |= {"dims": f"{task.x_dim}x{task.y_dim}", "truth": task.mi, "entropy": min(entropies, default=None)}
    try:
        estimate = meter(x, y)
    except ValueError as error:
        return record | {"failed": str(error)}
    if not isinstance(estimate, MutualInformation):
        estimate = MutualInformation(float(estimate), 0.0, method, UNKNOWN, rows, rows)
    record |= {"value": estimate.value, "standard_error": estimate.standard_error, "by": estimate.method}
    record |= {"side": estimate.bound.side, "seconds": time.perf_counter() - started}
    return record | {"warnings": list(estimate.warnings)}


def entropy(classes: np.ndarray) -> float:
    """Of the frequencies of the classes, in nats."""
    shares = np.unique(classes, return_counts=True)[1] / len(classes)
    return float(-(shares * np.log(shares)).sum())


def error(record: dict) -> float:
    return abs(record["value"] - record["truth"])


def is_close(record: dict) -> bool:
    return "value" in record and error(record) <= max(0.1, 0.2 * record["truth"])


def share_close(records: list[dict]) -> float:
    return sum(map(is_close, records)) / len(records)


def summary(records: list[dict]) -> list[str]:
    """The cells of a method: every task counts, one that failed as far off."""
    done = [r for r in records if "value" in r and np.isfinite(r["value"])]
    nothing = [abs(r["value"]) for r in done if r["truth"] == 0]
    errors = [error(r) for r in done] + [float("inf")] * (len(records) - len(done))
    seconds = [r["seconds"] for r in done]
    counts = [
        str(len(records)),
        str(len(records) - len(done)),
        f"{statistics.median(errors):.3f}",
        f"{share_close(records):.0%}",
    ]
    largest = f"{max(nothing, default=float('nan')):.3f}"
    return [*counts, largest, f"{statistics.median(seconds):.1f}", f"{max(seconds):.1f}"]


def bounds(records: list[dict]) -> str:
    """Of a bound's values, how many lie on its side of the truth, within two standard errors."""
    sign = {"lower": 1, "upper": -1}
    kept = [r for r in records if r.get("side") in sign]
    held = [sign[r["side"]] * (r["value"] - r["truth"]) <= 2 * r["standard_error"] for r in kept]
    return f"{sum(held)} of {len(held)}" if held else "–"


def below_entropy(records: list[dict]) -> str:
    """Of the values with classes on a side, how many do not exceed the entropy of these."""
    kept = [r for r in records if r.get("entropy") is not None and "value" in r]
    held = [r["value"] <= r["entropy"] + 1e-9 for r in kept]
    return f"{sum(held)} of {len(held)}" if held else "–"


def by_family(group: list[dict]) -> list[list[str]]:
    """The cells of each family: how many values are close, and how many of the others come with a warning."""
    families = defaultdict(list)
    for record in group:
        families[record["family"]].append(record)
    rows = []
    for family, of_family in families.items():
        far = [r for r in of_family if not is_close(r)]
        warned = sum(bool(r.get("warnings")) for r in far)
        rows.append([family, str(len(of_family)), str(len(of_family) - len(far)), f"{warned} of {len(far)}"])
    return rows


def report(records: list[dict]) -> str:
    groups = defaultdict(list)
    for record in records:
        groups[record["method"], record["half"]].append(record)
    ranked = sorted(groups.items(), key=lambda each: (each[0][1], -share_close(each[1])))
    rows = [[method, half, *summary(group)] for (method, half), group in ranked]
    lines = [markdown([SUMMARY, *rows], TEXT)]
    lines += ["", "Values on their side of the truth, within two standard errors:", ""]
    lines += [f"- {method}, {half}: {bounds(group)}" for (method, half), group in groups.items()]
    lines += ["", "Values with classes on a side that do not exceed their entropy:", ""]
    lines += [f"- {method}, {half}: {below_entropy(group)}" for (method, half), group in groups.items()]
    for (method, half), group in groups.items():
        table = markdown([["family", "tasks", "close", "others with a warning"], *by_family(group)], TEXT)
        lines += ["", f"Families, {method}, {half} half:", "", table]
    for (method, half), group in groups.items():
        rows = [["family", "task", "dimensions", "truth", "value", "by"]]
        for r in group:
            value = f"{r['value']:z.3f} ± {r['standard_error']:z.3f}" if "value" in r else f"failed: {r['failed']}"
            mark = "" if is_close(r) else " **✗**"
            rows.append([r["family"], r["task"], r["dims"], f"{r['truth']:z.3f}", value + mark, r.get("by", "")])
        lines += ["", f"**{method}, {half} half**", "", markdown(rows, TEXT)]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the file of measurements, a JSON line each")
    parser.add_argument("--methods", nargs="+", default=["auto"], choices=METHODS, help="(default: auto)")
    parser.add_argument("--estimator", metavar="FILE.py:FUNCTION", help="a function of your own instead of methods")
    parser.add_argument("--beside", type=Path, help="a file of measurements to rank it beside")
    parser.add_argument("--rows", type=int, default=4000, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of samples and estimates (default: %(default)s)")
    parser.add_argument("--half", choices=("tuning", "held-out"), help="only this half")
    parser.add_argument("--every", type=int, default=1, help="only every so many-th task (default: all)")
    parser.add_argument("--report", type=Path, help="write the tables of what is measured to this folder, and stop")
    options = parser.parse_args()
    records = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    if options.report:
        (options.report / "known_truths_tables.md").write_text(report(records), encoding="utf-8")
        print(report(records))
        return
    if options.estimator:
        meters = {options.estimator: meter_of(options.estimator)}
    else:
        meters = {m: partial(estimate_mutual_information, method=m, seed=options.seed) for m in options.methods}
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, Python {platform.python_version()}")
    done = {(r["task"], r["method"], r["rows"], r["seed"]) for r in records}
    tuning, held_out = halves(tasks())
    work = [
        (task, half, method)
        for method in meters
        for half, part in (("tuning", tuning), ("held-out", held_out))
        for task in part[:: options.every]
        if options.half in (None, half) and (task.name, method, task.rows or options.rows, options.seed) not in done
    ]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("a") as file:
        for task, half, method in tqdm(work, unit="task"):
            records.append(measure(task, half, method, meters[method], options.rows, options.seed))
            file.write(json.dumps(records[-1]) + "\n")
            file.flush()
    if options.beside:
        measured = {(r["task"], r["rows"]) for r in records}
        others = map(json.loads, options.beside.read_text().splitlines())
        records += [r for r in others if (r["task"], r["rows"]) in measured]
    print(report(records).split("\n\n**")[0])


if __name__ == "__main__":
    main()
