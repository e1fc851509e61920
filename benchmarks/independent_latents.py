"""Are MIRD's latents independent, and what does it cost? Both presets with and without their penalty, on the synthetic set.

    python benchmarks/independent_latents.py --out runs/independent --seeds 0 1 2
    python benchmarks/independent_latents.py --out runs/independent --sets two four --settings independent
    python benchmarks/independent_latents.py --out runs/independent --report docs/results

The first commands train (they go on with what has not finished), and train the encoder of each latent on its factor alone:
what a latent could know of it. With --report the tables of all seeds that have finished are written. Each run is
`examples/mird_mosi.py` as on its embedded set; options that are not named here go to it. R² is that of ridge regression and
of a small neural network on held-out halves of the test split, at the noise that the latents carry, and of a network that
learns from ten draws of each recording's noise and is asked about ten, which reads more.

The sets: `three` modalities, the embedded one; `two` (text and audio) and `four` (motion beside them); `dependent`, where each
private factor has a correlation of 0.5 with the shared one, and a private latent is to know only the part that is its own;
`rows`, with four times the recordings to train on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import mird_mosi
import numpy as np
import torch
from known_factors import folder_of, train
from mird_mosi import INDEPENDENT, MIRD, PRESETS, latent_of
from torch import nn

from disentangle import Masked
from disentangle.data import RecordingDataset, Recordings, collate, loader, synthetic_recordings, write_store
from disentangle.experiments import open_trained
from disentangle.experiments.recipe import warmup_then_decay
from disentangle.information import probe_numbers
from disentangle.metrics import seeds_summary
from disentangle.nn.backbones import tiny_backbone
from disentangle.text_tables import markdown
from disentangle.training import seed_results

SETTINGS = {
    "paper, no penalty": ["--penalty", "none"],
    "paper": [],
    "independent, no penalty": ["--preset", "independent", "--penalty", "none"],
    "independent": ["--preset", "independent"],
}
SETS: dict[str, dict[str, Any]] = {
    "three": {},
    "two": {"features": {"audio": 16}},
    "four": {"features": {"audio": 16, "vision": 24, "motion": 12}},
    "dependent": {"dependence": 0.5},
    "rows": {"sizes": (4 * 1284, 229, 686)},
}
TITLES = {
    "three": "Three modalities",
    "two": "Two modalities",
    "four": "Four modalities",
    "dependent": "Private factors that depend on the shared one",
    "rows": "Four times the recordings",
}
PROBES = ("ridge", "neural", "ten draws")
DRAWS = 10


def known_by(test: Recordings) -> dict[str, str]:
    """Which latent is to know a factor, where all others are not to. Of factors that depend on others it is their own part."""
    modalities = {"text": "L", **{name: latent_of(name) for name in test.sequences}}
    own = {f"own {name}": m for name, m in modalities.items() if f"own {name}" in test.factors}
    return {"shared": "S", **(own or modalities)}


def read(draws: list[torch.Tensor], truth: np.ndarray) -> dict[str, float]:
    """R² of a factor from a latent: from its first draw by ridge and by a network, and by a network from all others."""
    one = {"ridge": probe_numbers(draws[0], truth, kind="linear").r2, "neural": probe_numbers(draws[0], truth).r2}
    if torch.equal(draws[1], draws[2]):  # a latent without noise
        return {**one, "ten draws": one["neural"]}
    return {**one, "ten draws": probe_numbers(torch.stack(draws[1:]), truth).r2}


@torch.no_grad()
def measure(folder: Path, test: Recordings) -> dict[str, Any]:
    """What a finished run's latents tell of the factors of the test split, and what it rebuilds of the modalities."""
    trained = open_trained(folder / "model", MIRD)
    torch.manual_seed(0)  # the latents carry noise
    draws = [trained.encode(test) for _ in range(1 + DRAWS)]
    sums: dict[str, list[float]] = {}
    for batch in loader(trained.dataset(test), 64):
        for name, rows in trained.model.losses(trained.model(batch), batch).items():
            total = sums.setdefault(name, [0.0, 0.0])
            total[0] += float((rows.values * rows.weights).sum())
            total[1] += float(rows.weights.sum())
    mae = json.loads((folder / "result.json").read_text())["test"]["mae"]
    latents = known_by(test).values()
    r2 = {f: {m: read([z[m] for z in draws], truth) for m in latents} for f, truth in test.factors.items()}
    return {"r2": r2, "losses": {name: total / n for name, (total, n) in sums.items()}, "mae": mae}


def encoder_alone(splits: dict[str, Recordings], factor: str, seed: int, epochs: int = 20) -> dict[str, float]:
    """R² of a factor from the encoder of its latent, noise included, which was trained on nothing but this factor."""
    latent = known_by(splits["test"])[factor]
    torch.manual_seed(seed)
    backbone, tokenizer = tiny_backbone(splits["train"].text)
    model = MIRD(backbone, splits["train"].feature_sizes, **INDEPENDENT)
    mird_mosi.standardize(model, splits["train"])
    head = nn.Linear(model.sizes[latent], 2)

    def encoded(batch) -> torch.Tensor:
        frames: Any = {m: model.standardize[m](batch.sequences[name]) for m, name in model.others.items()}
        if latent == "S":
            z = model.shared(**batch.tokens, others=frames, lengths=batch.lengths)
        else:
            words = Masked(model.shared.word_embeddings(batch.words.values), batch.words.mask)
            z = model.private[latent](*(words if latent == "L" else frames[latent]))
        return model.noisy[latent](z)

    data = RecordingDataset(splits["train"], tokenizer)
    truth = torch.from_numpy(splits["train"].factors[factor])
    optimizer = torch.optim.AdamW([*model.parameters(), *head.parameters()], 2e-3)
    schedule = warmup_then_decay(optimizer, epochs * (len(data) // 32))
    for _ in range(epochs):
        for rows in torch.randperm(len(data)).split(32)[: len(data) // 32]:
            optimizer.zero_grad()
            (head(encoded(collate([data[int(i)] for i in rows]))) - truth[rows]).square().mean().backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.no_grad():
        batches = [*loader(RecordingDataset(splits["test"], tokenizer), 64)]
        draws = [torch.cat([encoded(batch) for batch in batches]) for _ in range(1 + DRAWS)]
    return read(draws, splits["test"].factors[factor])


def options_of(name: str, setting: str, out: Path) -> list[str]:
    """What the program is given; other sets than its own are written to a store for it, with what it would take for its own."""
    options = SETTINGS[setting]
    if not SETS[name]:
        return options
    if not (out / "data").exists():
        write_store(out / "data", synthetic_recordings(**SETS[name]))
    preset = PRESETS["independent" if "independent" in options else "paper"]
    given = {"data": out / "data", **{option: preset.embedded[option] for option in ("lr", "epochs", "backbone")}}
    return [*options, *(word for option, value in given.items() for word in (f"--{option}", str(value)))]


def train_all(name: str, out: Path, settings: list[str], seeds: list[int], at_once: int, more: list[str]) -> None:
    """Trains what is asked for on one set, and the encoders alone; what has finished it leaves."""
    out.mkdir(parents=True, exist_ok=True)
    for setting in settings:
        train(folder_of(out, setting), [*options_of(name, setting, out), *more], seeds, at_once)
    path = out / "alone.json"
    if not path.exists():
        splits = synthetic_recordings(**SETS[name])
        alone = {f: encoder_alone(splits, f, seeds[0]) for f in known_by(splits["test"])}
        path.write_text(json.dumps(alone) + "\n")


def summary(run: dict[str, Any], known: dict[str, str]) -> dict[str, float]:
    """One run as a row of the first table; an R² below 0, which is none, counts as 0."""
    cells: dict[str, float] = {}
    r2 = run["r2"]
    for probe in PROBES:
        cells[f"R² off, {probe}"] = fmean(max(0.0, r2[f][m][probe]) for f in known for m in r2[f] if m != known[f])
    for probe in PROBES:
        cells[f"on, {probe}"] = fmean(r2[f][m][probe] for f, m in known.items())
    recon = {loss: value for loss, value in run["losses"].items() if loss.startswith("recon_")}
    return {**cells, "test MAE": run["mae"], **recon}


def mean_and_sd(of: Any, digits: int = 2) -> str:
    return f"{of['mean']:z.{digits}f}" + ("" if of["sd"] is None else f" ± {of['sd']:.{digits}f}")


def in_a_cell(r2: Mapping[str, float | None]) -> str:
    return " / ".join(f"{r2[probe]:z.2f}" for probe in PROBES)


def measured(out: Path, test: Recordings) -> dict[str, dict[int, dict]]:
    """The finished runs of each setting by their seeds, measured once."""
    found: dict[str, dict[int, dict]] = {}
    for setting in SETTINGS:
        for seed in seed_results(folder_of(out, setting)) if folder_of(out, setting).exists() else ():
            folder = folder_of(out, setting) / f"seed-{seed}"
            path = folder / "measured.json"
            if not path.exists():
                path.write_text(json.dumps(measure(folder, test)) + "\n")
            found.setdefault(setting, {})[seed] = json.loads(path.read_text())
    return found


def table(name: str, out: Path) -> tuple[list[str], dict[str, Any]]:
    """The lines of a set's tables, and all that was measured."""
    test = synthetic_recordings(**SETS[name])["test"]
    known, found, path = known_by(test), measured(out, test), out / "alone.json"
    alone = json.loads(path.read_text()) if path.exists() else {}
    rows = {s: seeds_summary({n: {s: summary(run, known)} for n, run in runs.items()})[s] for s, runs in found.items()}
    header = ["preset", "seeds", *next(iter(rows.values()))]
    cells = [
        [s, str(len(found[s])), *(mean_and_sd(of, 3 if "off" in cell else 2) for cell, of in row.items())]
        for s, row in rows.items()
    ]
    lines = [f"### {TITLES[name]}", "", markdown([header, *cells], ["preset"]), ""]
    if alone:
        each = (f"{f} from {known[f]} {in_a_cell(r2)}" for f, r2 in alone.items())
        lines += [f"An encoder trained on its factor alone, R² ({' / '.join(PROBES)}): {', '.join(each)}.", ""]
    for setting, runs in found.items():
        by_factor = {f: seeds_summary({n: run["r2"][f] for n, run in runs.items()}) for f in test.factors}
        means = [
            [f, *(in_a_cell({probe: r2[m][probe]["mean"] for probe in PROBES}) for m in known.values())]
            for f, r2 in by_factor.items()
        ]
        title = (
            f"**{setting}**, R² of each factor from each latent ({' / '.join(PROBES)}), mean over {len(runs)} seeds:"
        )
        lines += [title, "", markdown([["factor", *known.values()], *means], ["factor"]), ""]
    return lines, {"alone": alone, **{s: list(runs.values()) for s, runs in found.items()}}


def report(out: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    tables = {name: table(name, out / name) for name in SETS if [*(out / name).glob("*/seed-*/result.json")]}
    text = "\n".join(line for lines, _ in tables.values() for line in lines)
    (target / "independent_latents.json").write_text(json.dumps({n: runs for n, (_, runs) in tables.items()}) + "\n")
    (target / "independent_latents_tables.md").write_text(text, encoding="utf-8")
    print(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the runs are")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=["three"], help="(default: three)")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS), help="(default: all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--at-once", type=int, default=1, help="how many seeds at a time (default: %(default)s)")
    parser.add_argument("--report", type=Path, help="write tables of the finished runs to this folder")
    options, more = parser.parse_known_args()
    if options.report:
        report(options.out, options.report)
        return
    for name in options.sets:
        train_all(name, options.out / name, options.settings, options.seeds, options.at_once, more)


if __name__ == "__main__":
    main()
