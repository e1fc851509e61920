"""The tables and figures of the paper on MIRD, finished runs side by side, and one option at several values.

    python examples/study.py table1 --data FILE --backbone ./my-bert --seeds 0 1 2 3 4 --out study --at-once 2
    python examples/study.py table4 --data FILE --unlabeled MORE --backbone ./my-bert --out study --dry-run
    python examples/study.py all --preset small --out small             everything, within the hour
    python examples/study.py compare runs/text_only runs/mird --against text_only --out comparison
    python examples/study.py sweep mird_mosi --alpha 0.03 0.1 0.3 --seeds 0 1 2 --out runs/alpha -- --data FILE

A run is a folder of one run or of many seeds; NAME=FOLDER gives it another name than its folder's. Which runs a table needs is
in paper_tables.py.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import paper_pictures
import paper_tables
from paper_tables import Setting, experiment_of

from disentangle import DisentangleError
from disentangle.experiments import Study, compare_runs, cost_of, run_studies
from disentangle.experiments.studies.records import versions
from disentangle.experiments.studies.study import write_json
from disentangle.training.seeds import finished

TABLES = {
    "table1": (paper_tables.table1, "all systems side by side"),
    "table4": (paper_tables.table4, "MIRD without its parts, one more on each line"),
    "table5": (paper_tables.table5, "mutual information, orthogonality or no penalty"),
    "table6": (paper_tables.table6, "what unlabelled recordings are used for"),
    "figure4": (paper_pictures.figure4, "the latents under each penalty, by t-SNE"),
    "figure5": (
        paper_pictures.figure5,
        "the information between latents over the epochs, by the penalty and by a meter",
    ),
    "figure6": (paper_tables.figure6, "how many unlabelled recordings"),
    "figure7": (paper_tables.figure7, "the weight of the penalty"),
    "figure8": (paper_pictures.figure8, "words, truth and predictions of a few recordings"),
}
SIZES = "parameters and multiply-accumulates of all systems, at the shapes of the paper"
EVERYTHING = "all of these tables and figures, with one progress bar for all runs"
COUNTED = """\
Builds each system and counts; nothing is trained, and no data are needed. Writes table, picture and record to --out:
table2.md, .csv, .tex, .png and .json. Of the options, --systems, --preset and --out count."""
OF_UNLABELED = ("table6", "figure5", "figure6")
PAPER = """\
Trains the runs of the table that have not finished, several at a time, and writes table, picture and record to --out:
NAME.md, .csv, .tex, .png and .json. Tables with the same --out share their runs. The same command goes on after a stop. What
stands behind -- goes to every run."""
SWEEP = """\
One run for each value of one option and each seed. The option, with its values, is any one of the example's own. What has
finished is not run again; table, picture and record are written to --out: OPTION.md, .csv, .tex, .png and .json. The same
command goes on after a stop. What stands behind -- goes to every run."""


def main(arguments: list[str] | None = None) -> int:
    """Does what is asked for; 0: all went well, 1: runs failed, 2: a file or an option is wrong, 130: it was stopped."""
    given = sys.argv[1:] if arguments is None else arguments
    end = given.index("--") if "--" in given else len(given)
    parser = _parser()
    options, left = parser.parse_known_args(given[:end])
    more = given[end + 1 :]
    try:
        if options.command == "sweep":
            return _train([_sweep(options, left, more)], options, given)
        if left:
            parser.error(f"unknown option or value {left[0]}")
        if options.command == "compare":
            if end < len(given):
                parser.error(f"expected folders of runs, got {' '.join(given[end:])}")
            return _compare(options)
        setting = _setting(options, more)
        return _sizes(setting, given) if options.command == "table2" else _paper(options, setting, given)
    except (DisentangleError, ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (FileExistsError, NotADirectoryError) as error:
        print(f"error: {error.filename}: expected a folder, or a name for a new one, got a file", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on", file=sys.stderr)
        return 130


def _setting(options: argparse.Namespace, more: list[str]) -> Setting:
    """What was asked for; what was not is as `Setting` has it."""
    asked = {name: getattr(options, name, None) for name in ("seeds", "systems", "rates", "alphas", "split")}
    asked = {name: value for name, value in asked.items() if value is not None}
    backbone = ["--backbone", options.backbone] if options.backbone else []
    if options.preset == "small":
        if options.data or options.unlabeled:
            raise ValueError("expected --preset small without --data and --unlabeled, as it has data of its own")
        setting = paper_tables.small(options.out)
        return replace(setting, more=(*setting.more, *backbone, *more), **asked)
    return Setting(data=options.data, unlabeled=options.unlabeled, out=options.out, more=(*backbone, *more), **asked)


def _paper(options: argparse.Namespace, setting: Setting, given: list[str]) -> int:
    """The tables and figures that are asked for."""
    names = [options.command] if options.command != "all" else list(TABLES)
    if options.command == "all" and not setting.has_unlabeled:
        names = [name for name in names if name not in OF_UNLABELED]
        print(f"left out, as there are no unlabelled recordings: {', '.join(OF_UNLABELED)}")
    studies = [TABLES[name][0](setting) for name in names]
    if options.command == "all" and not options.dry_run:
        _sizes(setting, given)
    return _train(studies, options, given)


def _train(studies: list[Study], options: argparse.Namespace, given: list[str]) -> int:
    """Trains what is left, and writes each table; those whose runs have failed are left out, and the failures said."""
    if options.dry_run:
        return _dry_run(studies, options.at_once)
    made, failed = 0, []
    try:
        run_studies(studies, at_once=options.at_once)
    except DisentangleError as error:
        failed.append(str(error))
    for study in studies:
        if all(finished(run.folder) for run in study.runs):
            try:
                table = study.save(command=_command(given), resamples=options.resamples)
            except (DisentangleError, ValueError) as error:  # the other tables are made all the same
                failed.append(f"{study.name}: {error}")
            else:
                made += 1
                title = f": {TABLES[study.name][1]}" if study.name in TABLES else ""
                print(f"\n{study.name}{title}\n\n{table}")
    if made:
        print(f"\ntables (.md, .csv, .tex), pictures (.png) and records (.json) are in {options.out}")
    for each in failed:
        print(f"error: {each}", file=sys.stderr)
    return 1 if failed else 0


def _sizes(setting: Setting, given: list[str]) -> int:
    table = paper_pictures.table2(setting)
    table.save(setting.out, "table2")
    write_json(Path(setting.out) / "table2.json", {"command": _command(given), "versions": versions()})
    print(f"table2: {SIZES}\n\n{table}")
    return 0


def _command(given: list[str]) -> list[str]:
    return ["python", "examples/study.py", *given]


def _dry_run(studies: list[Study], at_once: int) -> int:
    for command in {path: each for study in studies for path, each in study.commands.items()}.values():
        print(shlex.join(command))
    print(cost_of(studies, at_once=at_once))
    return 0


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


def _sweep(options: argparse.Namespace, left: list[str], more: list[str]) -> Study:
    if len(left) < 2 or not left[0].startswith("--") or any(each.startswith("--") for each in left[1:]):
        raise ValueError(f"expected one option with its values, such as --lr 1e-4 1e-3, got {' '.join(left) or 'none'}")
    option = left[0].removeprefix("--").replace("-", "_")
    example, split = experiment_of(options.example), options.split
    return Study.sweep(example, option, left[1:], options.seeds, options.out, more, split=split)


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in {
        **{name: what for name, (_, what) in TABLES.items()},
        "table2": SIZES,
        "all": EVERYTHING,
    }.items():
        table = commands.add_parser(
            name,
            help=what,
            description=f"{what}.\n\n{COUNTED if name == 'table2' else PAPER}",
            formatter_class=form,
            allow_abbrev=False,
        )
        _add_paper(table, name)
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
    add("--out", required=True, metavar="FOLDER", help="where everything comes to lie")
    add("--split", choices=("valid", "test"), default="valid", help="what the table measures (default: %(default)s)")
    _add_running(sweep)
    return parser


def _add_running(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--at-once", type=int, default=1, help="how many runs are trained at a time (default: %(default)s)")
    add("--resamples", type=int, default=2000, help="of the rows of the test split; 0: none (default: %(default)s)")
    add(
        "--dry-run",
        action="store_true",
        help="print what is left to run, and how long it takes by the first steps' time",
    )


def _add_paper(parser: argparse.ArgumentParser, name: str) -> None:
    add = parser.add_argument
    add("--data", metavar="FILE", help="the data set; without it, the embedded one")
    add("--unlabeled", metavar="FILE", help="recordings without labels (default: those in --data)")
    add("--backbone", help="of every run: name, local folder, or tiny")
    add("--seeds", type=int, nargs="+", metavar="SEED", help="(default: 0)")
    add("--out", default="study", metavar="FOLDER", help="where everything comes to lie (default: %(default)s)")
    _add_running(parser)
    add(
        "--preset",
        choices=("small",),
        help="a small synthetic set, shallow systems, few epochs",
    )
    if name in ("table1", "table2", "all"):
        add("--systems", nargs="+", metavar="NAME", help="names of examples (default: all)")
    if name in ("figure6", "all"):
        add("--rates", nargs="+", metavar="RATE", help="unlabelled rows for each labelled one (default: 0 to 5)")
    if name in ("figure7", "all"):
        add("--alphas", nargs="+", metavar="ALPHA", help="(default: 0.001 0.01 0.1 1)")
    if name in ("figure6", "figure7", "all"):
        add("--split", choices=("valid", "test"), help="what is shown (default: valid)")


if __name__ == "__main__":
    raise SystemExit(main())
