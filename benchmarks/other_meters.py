"""`estimate_mutual_information` beside two other packages, on the same arrays of known mutual information.

    pip install --no-deps latentmi diffusion-mi && pip install lightning tensorboardX torchvision
    python benchmarks/other_meters.py --out runs/other_meters.jsonl
    python benchmarks/other_meters.py --out runs/other_meters.jsonl --report docs/results

`latentmi` (Gowri et al., NeurIPS 2024) learns eight latent dimensions of x and of y and counts neighbours there;
`diffusion-mi` is asked for MINDE (Franzese et al., ICLR 2024), a score-based diffusion model. Both run with their own
defaults, but for the number of MINDE's steps and its rate of learning, which have no default that ends. Values are in
nats; those of latentmi, which are in bits, are converted.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import io
import json
import math
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from known_truths.sources import multinormal, regression, sparse
from known_truths.tasks import Task, tasks
from known_truths.transforms import padded
from mutual_information import is_close

from disentangle import estimate_mutual_information
from disentangle.text_tables import markdown

ROWS, STEPS, RATE, BATCH = 2000, 4000, 1e-3, 256
NAMES = [
    "gaussian d=1 mi=2",
    "student dense 5x5 dof=3",
    "additive uniform noise 0.75 d=3",
    "spiral of sparse normal 5x5",
    "uniform margins d=5 mi=2 rotated, x 0.01, y 10",
    "product of x and noise d=3",
    "rectified 0.8 d=5",
    "independent gaussian 10x10",
]


def wide(dim: int) -> list[Task]:
    """Few columns that matter among many."""
    two = padded(multinormal(sparse(2, 2), 2), dim - 2)
    curve = padded(regression(np.square, 0.5), dim - 1)
    named = {f"2 of {dim} columns and y of 2": two, f"x² of 1 of {dim} columns": curve}
    return [Task(name, "wide", *source) for name, source in named.items()]


def ours(x: np.ndarray, y: np.ndarray) -> tuple[float, list[str]]:
    estimate = estimate_mutual_information(x, y)
    return estimate.value, list(estimate.warnings)


def latentmi(x: np.ndarray, y: np.ndarray) -> tuple[float, list[str]]:
    from latentmi import lmi  # type: ignore[import-not-found]

    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - what it draws from
    setattr(np, "NaN", np.nan)  # noqa: B010 - gone since NumPy 2
    with contextlib.redirect_stdout(io.StringIO()):
        values, _, _ = lmi.estimate(x, y)
    return float(np.nanmean(values)) * math.log(2), []


def minde(x: np.ndarray, y: np.ndarray) -> tuple[float, list[str]]:
    import dmi  # type: ignore[import-not-found]

    half = len(x) // 2
    with contextlib.redirect_stdout(io.StringIO()):
        model = dmi.estimators.MINDEEstimator(learning_rate=RATE, batch_size=BATCH, max_n_steps=STEPS)
        model.fit(x[:half], y[:half])
        return float(model.estimate(x[half:], y[half:])), []


METERS: dict[str, Callable[[np.ndarray, np.ndarray], tuple[float, list[str]]]] = {
    "disentangle": ours,
    "latentmi": latentmi,
    "diffusion-mi": minde,
}


def measure(task: Task, name: str) -> dict:
    x, y = task.sample(ROWS, np.random.default_rng([0, zlib.crc32(task.name.encode())]))
    started = time.process_time()
    value, warnings = METERS[name](x, y)
    record = {"task": task.name, "truth": task.mi, "meter": name, "value": value, "warnings": warnings}
    return record | {"cpu_seconds": time.process_time() - started, "version": importlib.metadata.version(name)}


def report(records: list[dict]) -> str:
    names = list(dict.fromkeys(r["meter"] for r in records))
    by_task = Counter(r["task"] for r in records)
    records = [r for r in records if by_task[r["task"]] == len(names)]  # those that all of them have measured
    versions = ", ".join(sorted({f"{r['meter']} {r['version']}" for r in records}))
    heading = f"{ROWS} rows; {versions}. ✗: not within max(0.1, 20 %) of the truth; ⚠: with a warning."
    table = [["task", "truth", *names]]
    for task in dict.fromkeys(r["task"] for r in records):
        of_task = {r["meter"]: r for r in records if r["task"] == task}
        truth = next(iter(of_task.values()))["truth"]
        cells = [cell(of_task[name]) if name in of_task else "" for name in names]
        table.append([task, f"{truth:z.3f}", *cells])
    close = [f"{sum(is_close(r) for r in records if r['meter'] == name)}" for name in names]
    times = {name: [r["cpu_seconds"] for r in records if r["meter"] == name and "cpu_seconds" in r] for name in names}
    table.append(["**close**", "", *close])
    table.append(["**median CPU time**", "", *(f"{np.median(each):.0f} s" for each in times.values())])
    return f"{heading}\n\n{markdown(table, ['task'])}\n"


def cell(record: dict) -> str:
    return f"{record['value']:z.3f}{'' if is_close(record) else ' ✗'}{' ⚠' if record['warnings'] else ''}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the file of measurements, a JSON line each")
    parser.add_argument("--meters", nargs="+", default=list(METERS), choices=METERS, help="(default: all)")
    parser.add_argument("--report", type=Path, help="write the table of what is measured to this folder, and stop")
    options = parser.parse_args()
    records = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    if options.report:
        (options.report / "other_meters_tables.md").write_text(report(records), encoding="utf-8")
        print(report(records))
        return
    done = {(r["task"], r["meter"]) for r in records}
    known = {task.name: task for task in tasks()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("a") as file:
        for task in (*wide(500), *wide(1000), *(known[name] for name in NAMES)):
            for name in options.meters:
                if (task.name, name) not in done:
                    file.write(json.dumps(measure(task, name)) + "\n")
                    file.flush()


if __name__ == "__main__":
    main()
