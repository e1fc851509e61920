"""What the latents of MIRD know when the truth is known: the synthetic set, several penalties, several seeds.

    python benchmarks/known_factors.py --out runs/known_factors --at-once 2
    python benchmarks/known_factors.py --out runs/known_factors --report docs/results

The first command trains (it goes on with what has not finished); with --report it writes the tables and the figures of all
seeds that have finished. Each run is `examples/mird_mosi.py` on its embedded default; options that are not named here go to
it. R² is that of ridge regression on held-out halves of the test split; MI is the Gaussian mutual information of the test
split's latents, in nats: `dependence_report` measures both.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import mird_mosi
from mird_mosi import LATENT_PAIRS, MIRD
from torch.utils.data import DataLoader

from disentangle import dependence_report, encode, load
from disentangle.data import RecordingDataset, collate, synthetic_recordings
from disentangle.metrics import Spread, seeds_summary
from disentangle.plots import plot_matrix
from disentangle.text_tables import markdown
from disentangle.training import Run, run_seeds, seed_results

SETTINGS = {
    "none": ["--penalty", "none"],
    "orthogonal": ["--penalty", "orthogonal"],
    "CLUB, nine terms": ["--penalty", "club"],
    "CLUB, six terms": ["--penalty", "club", "--no-input-mi"],
}
FACTORS = {"shared": "u", "text": "p_L", "audio": "p_A", "vision": "p_V"}
LATENTS = ("S", "L", "A", "V")
KNOWN_BY = {"shared": "S", "text": "L", "audio": "A", "vision": "V"}  # where R² should be 1; elsewhere 0


def folder_of(out: Path, setting: str) -> Path:
    return out / setting.replace(", ", "_").replace(" ", "_")


def train(folder: Path, options: list[str], seeds: list[int], at_once: int) -> None:
    """Trains MIRD with each seed, or goes on with what has not finished."""

    def command(seed: int, folder: Path) -> list[str]:
        started = (folder / "config.json").exists()
        new = [*options, "--seed", str(seed), "--out", str(folder)]
        return [sys.executable, mird_mosi.__file__, *(["--resume", str(folder)] if started else new)]

    run_seeds(command, seeds, folder, at_once=at_once)


def measure(folder: Path) -> dict[str, dict]:
    """R² of each factor from each latent, MI of the pairs of latents, and their sizes, on the test split of a finished run."""
    run = Run.open(folder)
    model, _, tokenizer = load(folder / "model", MIRD)
    test = synthetic_recordings()["test"]
    batches = DataLoader(RecordingDataset(test, tokenizer, max_words=run.config["max_words"]), 64, collate_fn=collate)
    variables = encode(model, batches)
    report = dependence_report(
        {m: variables[m] for m in LATENTS},
        factors={f: test.factors[f] for f in FACTORS},
        pairs=[*LATENT_PAIRS, *itertools.product(LATENTS, FACTORS)],
        method="gaussian",
        permutations=1,  # the tables have no p-values
        progress=False,
    )
    rows = {(row.x, row.y): row for row in report.rows}
    return {
        "r2": {f: {m: rows[m, f].x_to_y for m in LATENTS} for f in FACTORS},
        "mi": {f"{x};{y}": row.information and row.information.value for (x, y), row in rows.items() if y in LATENTS},
        "rms": {m: report.root_mean_squares[m] for m in LATENTS},
    }


def mean_and_sd(of: Spread) -> str:
    return f"{of['mean']:z.2f}" if of["sd"] is None else f"{of['mean']:z.2f} ± {of['sd']:z.2f}"


def summary(run: Mapping[str, dict]) -> dict[str, float]:
    """One run in five numbers: the columns of the first table."""
    r2 = run["r2"]
    return {
        "R² where it should be 1": fmean(r2[f][m] for f, m in KNOWN_BY.items()),
        "R² where it should be 0": fmean(r2[f][m] for f in FACTORS for m in LATENTS if m != KNOWN_BY[f]),
        "sum of MI over six pairs": sum(run["mi"].values()),
        "test MAE": run["result"]["test"]["mae"],
        "test Corr": run["result"]["test"]["corr"],
    }


def report(out: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[int, dict]] = {}
    for setting in SETTINGS:
        folder = folder_of(out, setting)
        results = seed_results(folder)
        found[setting] = {n: measure(folder / f"seed-{n}") | {"result": result} for n, result in results.items()}
    (target / "known_factors.json").write_text(
        json.dumps({setting: list(runs.values()) for setting, runs in found.items()}, indent=1) + "\n"
    )
    rows = {s: seeds_summary({n: {s: summary(run)} for n, run in runs.items()})[s] for s, runs in found.items()}
    cells = [[setting, *map(mean_and_sd, row.values())] for setting, row in rows.items()]
    lines = [markdown([["setting", *rows["none"]], *cells], ["setting"])]
    for setting, runs in found.items():
        r2 = seeds_summary({n: run["r2"] for n, run in runs.items()})
        rest = seeds_summary({n: {"mi": run["mi"], "rms": run["rms"]} for n, run in runs.items()})
        cells = [[f"{f} ({symbol})", *(mean_and_sd(r2[f][m]) for m in LATENTS)] for f, symbol in FACTORS.items()]
        lines += ["", f"**{setting}**, R² of each factor from each latent, {len(runs)} seeds:", ""]
        lines += [markdown([["factor", *LATENTS], *cells], ["factor"])]
        pairs = ", ".join(f"({pair}) {mean_and_sd(of)}" for pair, of in rest["mi"].items())
        sizes = ", ".join(f"{m} {of['mean']:.2f}" for m, of in rest["rms"].items())
        lines += ["", f"MI in nats: {pairs}. Root mean squares: {sizes}."]
        matrix = [[r2[f][m]["mean"] for m in LATENTS] for f in FACTORS]
        path = target / f"{folder_of(out, setting).name}.png"
        plot_matrix(matrix, list(FACTORS), list(LATENTS), path, f"{setting}: R² of factors", maximum=1.0)
    (target / "known_factors_tables.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the runs are")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--at-once", type=int, default=1, help="how many seeds at a time (default: %(default)s)")
    parser.add_argument("--report", type=Path, help="write tables and figures of the finished runs to this folder")
    options, more = parser.parse_known_args()
    if options.report:
        report(options.out, options.report)
        return
    for setting in SETTINGS:
        train(folder_of(options.out, setting), [*SETTINGS[setting], *more], options.seeds, options.at_once)


if __name__ == "__main__":
    main()
