"""Writes the features of many files: `python -m disentangle.features --help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from disentangle.features.extract import extract_audio, extract_vision

DESCRIPTION = """\
Writes the features of recordings, one array (frames, features) for each file, as FOLDER/NAME.npy.
Files whose features are there already are skipped, so an interrupted run continues where it stopped. A record
beside them, FOLDER/computed_by.json, says what computed them: a model trained on other features refuses them."""

AUDIO = """\
33 features of sound, 43 frames per second. Like the paper's: log F0 (NaN where there is no voice), 20 MFCC,
12 chroma. As in CH-SIMS and MMSA: zero-crossing rate, 20 MFCC by HTK's formula, 12 chroma.
Reads WAV, FLAC, OGG and MP3; videos and anything else where ffmpeg is installed."""

VISION = """\
709 features of faces, from the CSV files that OpenFace 2.0 writes: gaze, head pose, landmarks, shape and
action units; NaN in frames where it lost the face. Get OpenFace from
https://github.com/TadasBaltrusaitis/OpenFace and run, for each video:

  FeatureExtraction -f VIDEO.mp4 -out_dir CSVS -gaze -pose -2Dfp -3Dfp -pdmparams -aus"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 1 where a file failed, else 0."""
    given = _parser().parse_args(arguments)
    try:
        options = {"like": given.like} if "like" in given else {}
        failed = given.extract(given.files, given.out, at_once=given.at_once, **options)
    except (ValueError, ImportError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    for file, reason in failed:
        sys.stderr.write(f"failed: {file}: {reason}\n")
    if failed:
        sys.stderr.write(f"{len(failed)} of {len(set(given.files))} files failed\n")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m disentangle.features", description=DESCRIPTION, formatter_class=form)
    kinds = parser.add_subparsers(title="features", required=True, metavar="KIND")
    for name, extract, summary, description, files in (
        ("audio", extract_audio, "of sound", AUDIO, "files of sound, or videos"),
        ("vision", extract_vision, "of faces, from OpenFace's CSV files", VISION, "CSV files of OpenFace"),
    ):
        kind = kinds.add_parser(name, help=summary, description=description, formatter_class=form)
        kind.add_argument("files", nargs="+", metavar="FILE", help=files)
        kind.add_argument("--out", required=True, metavar="FOLDER", help="where to write NAME.npy for each file")
        kind.add_argument("--at-once", type=int, default=1, metavar="N", help="how many files at a time (default: 1)")
        kind.set_defaults(extract=extract)
        if name == "audio":
            like = "whose features to compute (default: paper)"
            kind.add_argument("--like", choices=("paper", "mmsa"), default="paper", help=like)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
