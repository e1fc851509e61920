"""Finished runs side by side, and one option at several values.

    python examples/study.py compare runs/text_only runs/mird --against text_only --out comparison
    python examples/study.py sweep mird_mosi --alpha 0.03 0.1 0.3 --seeds 0 1 2 --out runs/alpha -- --data FILE

A run is a folder of one run or of many seeds; NAME=FOLDER gives it another name than its folder's.
"""

from __future__ import annotations

import argparse
import importlib
import shlex
import sys
from pathlib import Path

from disentangle import DisentangleError
from disentangle.experiments import Sweep, compare_runs

SWEEP = """\
One run for each value of one option and each seed; what has finished is not run again, and what was stopped goes on. The
option, with its values, is any one of the example's own; what stands behind -- goes to every run."""


def main(arguments: list[str] | None = None) -> int:
    """Does what is asked for; 0: all went well, 1: runs failed, 2: a file or an option is wrong, 130: it was stopped."""
    given = sys.argv[1:] if arguments is None else arguments
    end = given.index("--") if "--" in given else len(given)
    parser = _parser()
    options, left = parser.parse_known_args(given[:end])
    try:
        if options.command == "compare":
            if left or end < len(given):
                parser.error(f"expected folders of runs, got {' '.join([*left, *given[end:]])}")
            return _compare(options)
        return _sweep(options, left, given[end + 1 :])
    except (DisentangleError, ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on", file=sys.stderr)
        return 130


def _compare(options: argparse.Namespace) -> int:
    runs = dict(_named(each) for each in options.runs)
    if len(runs) < len(options.runs):
        raise ValueError("expected runs of different names, got one name twice; NAME=FOLDER gives another")
    table = compare_runs(runs, against=options.against, resamples=options.resamples, progress=True)
    print(table)
    if options.out:
        table.save(options.out)
        print(f"\ncomparison.md, .csv, .tex and .png are in {options.out}")
    return 0


def _named(run: str) -> tuple[str, str]:
    name, equals, folder = run.partition("=")
    return (name, folder) if equals and not Path(run).exists() else (Path(run).resolve().name, run)


def _sweep(options: argparse.Namespace, left: list[str], more: list[str]) -> int:
    if len(left) < 2 or not left[0].startswith("--") or any(each.startswith("--") for each in left[1:]):
        raise ValueError(f"expected one option with its values, such as --lr 1e-4 1e-3, got {' '.join(left) or 'none'}")
    option = left[0].removeprefix("--").replace("-", "_")
    sweep = Sweep(_experiment(options.example), option, left[1:], options.seeds, options.out, more)
    if options.dry_run:
        commands = sweep.commands
        for command in commands.values():
            print(shlex.join(command))
        print(f"{len(commands)} of {len(sweep.values) * len(sweep.seeds)} runs are left")
        return 0
    try:
        table = sweep.run(split=options.split, at_once=options.at_once)
    except DisentangleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(table)
    table.save(options.out)
    print(f"\nsweep.md, .csv, .tex and .png are in {options.out}")
    return 0


def _experiment(name: str):
    module = importlib.import_module(name) if (Path(__file__).parent / f"{name}.py").exists() else None
    if not hasattr(module, "EXPERIMENT"):
        raise ValueError(f"expected the name of an example with an experiment, such as mird_mosi, got {name}")
    return module.EXPERIMENT  # type: ignore[union-attr]  # just looked at


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    compare = commands.add_parser("compare", help="finished runs side by side", allow_abbrev=False)
    add = compare.add_argument
    add("runs", nargs="+", metavar="RUN", help="folder of a run or of many seeds, or NAME=FOLDER")
    add("--against", metavar="NAME", help="what the others are compared with (default: the first)")
    add("--resamples", type=int, default=2000, help="of the rows of the test split; 0: none (default: %(default)s)")
    add("--out", metavar="FOLDER", help="also write Markdown, CSV, LaTeX and a picture there")
    sweep = commands.add_parser(
        "sweep",
        help="one option at several values",
        description=SWEEP,
        formatter_class=form,
        allow_abbrev=False,
        usage="%(prog)s EXAMPLE --OPTION VALUE ... --out FOLDER [--seeds SEED ...] [--at-once N] [--dry-run] [-- MORE]",
    )
    add = sweep.add_argument
    add("example", metavar="EXAMPLE", help="mird_mosi, misa, text_only or another example with an experiment")
    add("--seeds", type=int, nargs="+", default=[0], metavar="SEED", help="(default: 0)")
    add("--out", required=True, metavar="FOLDER", help="where the runs, the table and the picture come to lie")
    add("--split", choices=("valid", "test"), default="valid", help="what the table measures (default: %(default)s)")
    add("--at-once", type=int, default=1, help="how many runs are trained at a time (default: %(default)s)")
    add("--dry-run", action="store_true", help="print the commands that are left, and how many they are")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
