"""What the latents of MIRD know when the truth is known: the synthetic set, several penalties, several seeds.

    python benchmarks/known_factors.py --out runs/known_factors --jobs 2
    python benchmarks/known_factors.py --out runs/known_factors --report docs/results

The first command trains (it leaves out runs that are finished); with --report it writes the tables and the figures.
Each run is `examples/mird_mosi.py` on its embedded default. R² is that of ridge regression on held-out halves of the test
split; MI is the Gaussian mutual information of the test split's latents, in nats.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

EXAMPLES = Path(__file__).parents[1] / "examples"
SETTINGS = {
    "none": ["--penalty", "none"],
    "orthogonal": ["--penalty", "orthogonal"],
    "CLUB, nine terms": ["--penalty", "club"],
    "CLUB, six terms": ["--penalty", "club", "--no-input-mi"],
}
FACTORS = {"shared": "u", "text": "p_L", "audio": "p_A", "vision": "p_V"}
LATENTS = ("S", "L", "A", "V")
TRUE_CELLS = {("shared", "S"), ("text", "L"), ("audio", "A"), ("vision", "V")}


def folder(out: Path, setting: str, seed: int) -> Path:
    return out / f"{setting.replace(', ', '_').replace(' ', '_')}-{seed}"


def train(out: Path, setting: str, seed: int, more: list[str]) -> None:
    run = folder(out, setting, seed)
    if (run / "result.json").exists():
        return
    run.parent.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        str(EXAMPLES / "mird_mosi.py"),
        *SETTINGS[setting],
        "--seed",
        str(seed),
        "--out",
        str(run),
    ]
    with run.with_suffix(".log").open("w") as log:
        subprocess.run([*command, *more], stdout=log, stderr=subprocess.STDOUT, check=True)


def measure(run_folder: Path) -> dict:
    """The matrix of R², the MI of the pairs and the metrics of a finished run, on the test split."""
    sys.path.insert(0, str(EXAMPLES))
    from mird_mosi import LATENT_PAIRS, MIRD, latents_of

    from disentangle import linear_decodability, load
    from disentangle.data import RecordingDataset, synthetic_recordings
    from disentangle.information import gaussian_mutual_information
    from disentangle.training import Run

    run = Run.open(run_folder)
    model, _, tokenizer = load(run.folder / "model", MIRD)
    test = synthetic_recordings()["test"]
    z = latents_of(model, RecordingDataset(test, tokenizer, max_words=run.config["max_words"]))
    return {
        "r2": {f: {m: linear_decodability(z[m], test.factors[f]) for m in LATENTS} for f in FACTORS},
        "mi": {f"{x};{y}": gaussian_mutual_information(z[x], z[y]) for x, y in LATENT_PAIRS},
        "rms": {m: float(z[m].square().mean().sqrt()) for m in LATENTS},
        "result": json.loads((run_folder / "result.json").read_text()),
        "epoch": max(line["epoch"] for line in run.history if line.get("best")),
    }


def mean_and_spread(values: list[float]) -> str:
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1) if len(values) > 1 else 0:.2f}"


def report(out: Path, seeds: list[int], target: Path) -> None:
    from disentangle.plots import plot_matrix

    target.mkdir(parents=True, exist_ok=True)
    found = {s: [measure(folder(out, s, seed)) for seed in seeds] for s in SETTINGS}
    (target / "known_factors.json").write_text(json.dumps(found, indent=1) + "\n")
    lines = [
        "| setting | R² where it should be 1 | R² where it should be 0 | sum of MI over six pairs | test MAE | test Corr |",
        "|---|---|---|---|---|---|",
    ]
    for setting, runs in found.items():
        true = [np.mean([r["r2"][f][m] for f, m in TRUE_CELLS]) for r in runs]
        off = [np.mean([r["r2"][f][m] for f in FACTORS for m in LATENTS if (f, m) not in TRUE_CELLS]) for r in runs]
        columns = [true, off, [sum(r["mi"].values()) for r in runs]]
        columns += [[r["result"]["test"][metric] for r in runs] for metric in ("mae", "corr")]
        lines.append(f"| {setting} | " + " | ".join(map(mean_and_spread, columns)) + " |")
    for setting, runs in found.items():
        lines += ["", f"**{setting}**, R² of each factor from each latent, {len(runs)} seeds:", ""]
        lines += ["| factor | " + " | ".join(LATENTS) + " |", "|---|---|---|---|---|"]
        for f, symbol in FACTORS.items():
            cells = [mean_and_spread([r["r2"][f][m] for r in runs]) for m in LATENTS]
            lines.append(f"| {f} ({symbol}) | " + " | ".join(cells) + " |")
        rms = ", ".join(f"{m} {np.mean([r['rms'][m] for r in runs]):.2f}" for m in LATENTS)
        pairs = ", ".join(f"({p}) {mean_and_spread([r['mi'][p] for r in runs])}" for p in runs[0]["mi"])
        lines += ["", f"MI in nats: {pairs}. Root mean squares: {rms}."]
        matrix = np.array([[np.mean([r["r2"][f][m] for r in runs]) for m in LATENTS] for f in FACTORS])
        name = folder(Path(), setting, 0).name.removesuffix("-0")
        plot_matrix(
            matrix, list(FACTORS), list(LATENTS), target / f"{name}.png", f"{setting}: R² of factors", maximum=1.0
        )
    (target / "known_factors_tables.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the runs are")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--jobs", type=int, default=1, help="how many runs at once (default: %(default)s)")
    parser.add_argument("--report", type=Path, help="write tables and figures of the finished runs to this folder")
    options, more = parser.parse_known_args()
    if options.report:
        report(options.out, options.seeds, options.report)
        return
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // options.jobs)))
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        work = [pool.submit(train, options.out, s, seed, more) for seed in options.seeds for s in SETTINGS]
        for done in concurrent.futures.as_completed(work):
            done.result()


if __name__ == "__main__":
    main()
