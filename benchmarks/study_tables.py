"""The tables of docs/results/study.md, from what `examples/study.py` has written into its folders.

    python examples/study.py all --preset small --at-once 2 --out small
    python examples/study.py table1 --data pom_unaligned.pkl ... --out pom
    python benchmarks/study_tables.py --small small --pom pom --report docs/results

Each of the two is written where it is given. Each table stands between two comments, by which the page includes it.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from disentangle.text_tables import markdown

NAMES = {"mae": "MAE", "corr": "Corr", "acc2_has0": "Acc2", "acc2_non0": "Acc2 (non0)", "acc7": "Acc7"}
SMALL, REAL = ("mae", "corr", "acc2_has0"), ("mae", "corr", "acc2_non0", "acc7")
Rows = dict[str, dict[str, dict[str, str]]]  # of the CSV file, by system and metric


def read(path: Path) -> Rows:
    systems: Rows = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            systems.setdefault(row["system"], {})[row["metric"]] = row
    return systems


def side_by_side(systems: Rows, metrics: tuple[str, ...]) -> str:
    """A line for each system: mean ± standard deviation over seeds."""
    lines = [[name, *(mean_and_sd(of[metric]) for metric in metrics)] for name, of in systems.items()]
    return markdown([["", *(NAMES[metric] for metric in metrics)], *lines], [""])


def difference(systems: Rows, name: str, against: str, metrics: tuple[str, ...]) -> str:
    """One system beside the one that it is compared with."""
    own = [systems[name][metric] for metric in metrics]
    lines = [
        [against, *(mean_and_sd(systems[against][metric]) for metric in metrics)],
        [name, *map(mean_and_sd, own)],
        ["difference", *(f"{float(row['difference']):+z.3f}" for row in own)],
        ["95 %, other seeds (paired t)", *(interval(row, "difference") for row in own)],
        ["95 %, other rows (bootstrap)", *(interval(row, "rows") for row in own)],
    ]
    return markdown([["", *(NAMES[metric] for metric in metrics)], *lines], [""])


def mean_and_sd(row: dict[str, str]) -> str:
    return f"{float(row['mean']):z.3f}" + (f" ± {float(row['sd']):.3f}" if row["sd"] else "")


def interval(row: dict[str, str], of: str) -> str:
    low, high = row[f"{of}_low"], row[f"{of}_high"]
    return f"{float(low):z.3f} to {float(high):z.3f}" if low else "–"


def write(path: Path, tables: dict[str, str]) -> None:
    path.write_text(
        "\n".join(f"<!-- {name} -->\n\n{table}\n\n<!-- end of {name} -->\n" for name, table in tables.items()),
        encoding="utf-8",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=Path, help="the folder of `study.py all --preset small`")
    parser.add_argument("--pom", type=Path, help="the folder of `study.py table1` on POM")
    parser.add_argument("--report", type=Path, required=True, help="the folder to write to")
    options = parser.parse_args()
    if options.small:
        names = ("table1", "table4", "table5", "table6")
        tables = {name: side_by_side(read(options.small / f"{name}.csv"), SMALL) for name in names}
        tables["table2"] = (options.small / "table2.md").read_text(encoding="utf-8").strip()
        write(options.report / "study_tables.md", tables)
    if options.pom:
        real = read(options.pom / "table1.csv")
        two = difference(real, "MIRD", "text_only", REAL)
        write(options.report / "pom_tables.md", {"systems": side_by_side(real, REAL), "difference": two})


if __name__ == "__main__":
    main()
