"""What the two latents of speech tell of who speaks and of what is said, by penalty: `examples/speech.py` on a folder.

    python benchmarks/speech_penalties.py --data FOLDER --out runs/speech_penalties
    python benchmarks/speech_penalties.py --data FOLDER --out runs/speech_penalties --unseen s5 s6 --seeds 0
    python benchmarks/speech_penalties.py --out runs/speech_penalties --report docs/results

The first commands train, with all speakers and without some (they skip what has finished); with --report the tables of all that
has finished are written, and the picture of a conversion with HSIC.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import speech
from speech_folder import read_folder, split

from disentangle.text_tables import markdown

SETTINGS = {
    "none": "none",
    "leace": "none, then LEACE",
    "orthogonal": "orthogonality",
    "hsic": "HSIC",
    "club": "CLUB",
    "adversary": "adversary",
}
CELLS = {
    "speaker from content": ("content_latent", "speaker"),
    "digit from speaker": ("speaker_latent", "content"),
    "digit from content": ("content_latent", "content"),
    "speaker from speaker": ("speaker_latent", "speaker"),
}


def train(data: Path, unseen: list[str], out: Path, settings: list[str], seeds: list[int], steps: int) -> None:
    parts = None
    for seed in seeds:
        model = None
        for kind in settings:
            folder = out / ("unseen" if unseen else "all") / kind / f"seed-{seed}"
            if (folder / "result.json").exists():
                continue
            parts = parts or split(read_folder(data, "{content}_{speaker}_{take}", 0.8), unseen)
            model = model if model and kind == "leace" else speech.train(parts["train"], kind, steps, seed)
            result = speech.write(model, parts, kind, seed, folder)
            model = model if kind == "none" else None  # which LEACE erases from
            (folder / "result.json").write_text(json.dumps({"unseen_speakers": unseen, **result}) + "\n")
            print(f"{folder}\n{speech.as_table(result)}", flush=True)


def finished(out: Path, kind: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((out / kind).glob("seed-*/result.json"))]


def cell(probes: list[dict[str, float]]) -> str:
    """Linear / neural / neural from ten draws: means over the seeds."""
    return " / ".join(f"{fmean(probe[kind] for probe in probes):.2f}" for kind in ("linear", "neural", "neural_draws"))


def table(out: Path) -> list[str]:
    """The lines of a table of the runs of a folder, the mean over seeds in each cell; none where nothing has finished."""
    runs = {setting: finished(out, setting) for setting in SETTINGS}
    runs = {setting: found for setting, found in runs.items() if found}
    if not runs:
        return []
    first = next(iter(runs.values()))[0]
    unseen = first["unseen_speakers"]
    chance = [f"{first[latent][factor]['chance']:.2f}" for latent, factor in CELLS.values()]
    cells = [["", *CELLS, *(["digit of unseen speakers from content"] if unseen else []), "error", "seeds"]]
    cells.append(["chance", *chance, *([f"{first['unseen']['chance']:.2f}"] if unseen else []), "", ""])
    for setting, found in runs.items():
        read = [cell([run[latent][factor] for run in found]) for latent, factor in CELLS.values()]
        read += [cell([run["unseen"] for run in found])] if unseen else []
        error = f"{fmean(run['error'] for run in found):.2f}"
        cells.append([SETTINGS[setting], *read, error, " ".join(str(run["seed"]) for run in found)])
    title = f"**Trained without {', '.join(unseen)}**" if unseen else "**Trained on all speakers**"
    return [
        f"{title}: linear / neural probe / neural probe of ten draws, the mean over the seeds.",
        "",
        markdown(cells, [""]),
        "",
    ]


def report(out: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    lines = "\n".join(table(out / "all") + table(out / "unseen"))
    (target / "speech_tables.md").write_text(lines, encoding="utf-8")
    for picture in sorted((out / "all" / "hsic").glob("seed-*/conversion.png"))[:1]:
        shutil.copyfile(picture, target / "speech_conversion.png")
    print(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder of recordings, as of the Free Spoken Digit Dataset")
    parser.add_argument("--unseen", nargs="+", default=[], metavar="SPEAKER", help="speakers to leave out of training")
    parser.add_argument("--out", type=Path, required=True, help="where the runs are")
    parser.add_argument("--penalties", nargs="+", choices=SETTINGS, default=list(SETTINGS), help="(default: all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=500, help="of training (default: %(default)s)")
    parser.add_argument("--report", type=Path, help="write the tables of the finished runs to this folder")
    options = parser.parse_args()
    if options.report:
        report(options.out, options.report)
    elif options.data:
        train(options.data, options.unseen, options.out, options.penalties, options.seeds, options.steps)
    else:
        parser.error("expected --data to train, or --report, got neither")


if __name__ == "__main__":
    main()
