"""Shows what is in a data set: `python -m disentangle.data --help`."""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from disentangle.closed_pipe import ends_with_its_reader
from disentangle.data.data_warnings import collected
from disentangle.data.layouts import (
    PICKLES,
    folder,
    is_pickle,
    mag_bert,
    mmsa,
    mult,
    pickles_of,
    read_pickled,
    read_recordings,
)
from disentangle.data.pickles import load_pickle
from disentangle.data.recordings import Recordings, check_same_features
from disentangle.data.report import describe
from disentangle.data.report.figures import plot_data
from disentangle.data.report.parts import Source
from disentangle.data.split_names import keys_of_splits

DESCRIPTION = """\
Shows what is in a data set, whatever its layout: the splits, how long recordings are and on which side they
were padded, what is missing or not finite, the labels and which metrics follow from the training labels,
checksums, and recordings that two splits share.
What is wrong stands first, each line after a "!", and with it what lies there and is not read.

Reads, running nothing that is in it:
  a pickle of MMSA, MulT, MAG-BERT or MISA, or the paper's, with splits or unlabelled; a folder with one per split
  a folder of .csd files
  a .json file of dialogues
  a folder with a table of recordings (.csv) and .npy files of their frames, or a store"""

EPILOG = """\
Ends with 2 where something cannot be read or written, else with 0, whatever is wrong with the data."""

NAMES = {mmsa: "MMSA or the paper", mult: "MulT", mag_bert: "MAG-BERT or MISA"}
UNLABELED = "unlabelled pickle"


@ends_with_its_reader()
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 2 where something cannot be read or written, else 0."""
    given = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # not every terminal has bars
    try:
        with collected() as unread:
            splits, layout = _read(given.data)
        source = _source(given.data, layout)
        with _bar(sum(map(len, splits.values())), " recordings") as bar:
            report = describe(splits, source=source, unread=unread, advance=bar.update)
        sys.stdout.write(f"{report.to_json() if given.json else report}\n")
        if given.figure is not None:
            figure = given.figure or f"{given.data.resolve().stem}.png"
            plot_data(report, figure)
            sys.stderr.write(f"wrote {figure}\n")
        if given.to is not None:
            folder.write_folder(given.to, splits)
            sys.stderr.write(f"wrote {given.to}\n")
    except BrokenPipeError:
        raise
    except (ValueError, ImportError, OSError) as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m disentangle.data", description=DESCRIPTION, epilog=EPILOG, formatter_class=form
    )
    parser.add_argument("data", type=Path, metavar="FILE_OR_FOLDER", help="the data set")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--figure",
        nargs="?",
        const="",
        metavar="PNG",
        help="also draw it, by default as NAME.png in the current folder",
    )
    parser.add_argument("--to", metavar="FOLDER", help="write it as a plain folder, a new one: a table and .npy files")
    return parser


def _read(path: Path) -> tuple[dict[str, Recordings], str]:
    """The splits, and what the layout is called; an unlabelled pickle is one split, "unlabeled"."""
    if not is_pickle(path):
        return read_recordings(path), _unpickled(path)
    content: Any = load_pickle(path)
    if isinstance(content, dict) and "raw_text" in content and not keys_of_splits(path, content):
        return {"unlabeled": mmsa.read(str(path), content, labeled=False)}, UNLABELED
    splits = read_pickled(path, content)
    first = next(iter(splits))
    for name, split in splits.items():
        check_same_features(splits[first], split, f"{path}: {name}")
    told_by = content[keys_of_splits(path, content)[first]]
    layout = next(layout for layout in PICKLES if layout.matches(told_by))
    return splits, f"pickle as of {NAMES[layout]}"


def _unpickled(path: Path) -> str:
    """What the layout of a data set that is no single pickle is called."""
    if path.suffix == ".json":
        return "dialogues"
    if path.is_dir() and pickles_of(path):
        return "folder of pickles"
    if (path / "store.json").exists():
        return "store"
    return "computational sequences" if any(path.glob("*.csd")) else "plain folder"


def _source(path: Path, layout: str) -> Source:
    """The files of a data set, and their checksum: see `Source`."""
    names = [""]
    if path.is_dir():
        found = [os.path.join(parent, name) for parent, _, names in os.walk(path) for name in names]
        names = sorted(os.path.relpath(file, path) for file in found if os.path.isfile(file))
    sizes = [os.path.getsize(path / name) for name in names]
    lines = []
    with _bar(sum(sizes), "B") as bar:
        for name in names:
            digest = hashlib.sha256()
            with open(path / name, "rb") as stream:
                while chunk := stream.read(2**20):
                    digest.update(chunk)
                    bar.update(len(chunk))
            lines.append((digest.hexdigest(), name))
    checksum = lines[0][0]
    if path.is_dir():
        checksum = hashlib.sha256(os.fsencode("".join(f"{digest}  {name}\n" for digest, name in lines))).hexdigest()
    return Source(str(path), layout, len(names), sum(sizes), checksum)


def _bar(total: int, unit: str) -> tqdm:
    """A progress bar for what takes more than a second, on a terminal."""
    return tqdm(total=total, unit=unit, unit_scale=True, delay=1, disable=None, leave=False)


if __name__ == "__main__":
    raise SystemExit(main())
