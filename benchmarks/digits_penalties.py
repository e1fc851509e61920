"""What a penalty leaves of the digit in the style of handwritten digits, and what it costs: several seeds.

    python benchmarks/digits_penalties.py --out runs/digits_penalties
    python benchmarks/digits_penalties.py --out runs/digits_penalties --report docs/results

Each run is `examples/digits.py`; the first command goes on with what has not finished, with --report it writes the table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

from disentangle.text_tables import markdown

EXAMPLE = Path(__file__).parents[1] / "examples" / "digits.py"
SETTINGS = {
    "none": ["--penalty", "none"],
    "HSIC": ["--penalty", "hsic"],
    "CLUB": ["--penalty", "club"],
    "none, noise 0.3": ["--penalty", "none", "--noise", "0.3"],
    "HSIC, noise 0.3": ["--penalty", "hsic", "--noise", "0.3"],
}


def result_of(folder: Path) -> Path:
    return folder / "result.json"


def folder_of(out: Path, setting: str) -> Path:
    return out / setting.replace(", ", "_").replace(" ", "_")


def run(out: Path, setting: str, seed: int) -> None:
    folder = folder_of(out, setting) / f"seed-{seed}"
    if result_of(folder).exists():
        return
    command = [sys.executable, str(EXAMPLE), *SETTINGS[setting], "--seed", str(seed), "--out", str(folder)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    result_of(folder).write_text(printed.splitlines()[-1] + "\n")


def spread(values: list[float], form: str) -> str:
    return f"{fmean(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def table(out: Path) -> str:
    columns: dict[str, Callable[[dict[str, float]], float]] = {
        "linear probe": lambda r: r["linear"],
        "neural probe": lambda r: r["mlp"],
        "neural probe, ten draws": lambda r: r["mlp_draws"],
        "error / error without penalty": lambda r: r["error"] / r["error_without_penalty"],
    }
    rows = [["penalty", *columns, "error", "seeds"]]
    for setting in SETTINGS:
        folders = sorted(folder_of(out, setting).glob("seed-*"))
        found = [json.loads(result_of(folder).read_text()) for folder in folders if result_of(folder).exists()]
        if found:
            cells = [spread([of(each) for each in found], ".2f") for of in columns.values()]
            error = spread([each["error"] for each in found], ".4f")
            rows.append([setting, *cells, error, " ".join(f.name.removeprefix("seed-") for f in folders)])
    return markdown(rows, ["penalty"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the runs are")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--report", type=Path, help="write the table of the finished runs to this folder")
    options = parser.parse_args()
    if options.report:
        (options.report / "digits_tables.md").write_text(table(options.out) + "\n", encoding="utf-8")
        print(table(options.out))
        return
    for seed in options.seeds:
        for setting in SETTINGS:
            run(options.out, setting, seed)


if __name__ == "__main__":
    main()
