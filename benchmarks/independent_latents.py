"""Are MIRD's latents independent, and what does it cost? Both presets with and without their penalty, on the synthetic set.

    python benchmarks/independent_latents.py --out runs/independent --seeds 0 1 2
    python benchmarks/independent_latents.py --out runs/independent --report docs/results

The first command trains (it goes on with what has not finished), and trains the encoder of each latent on its factor alone:
what a latent could know of it. With --report it writes the tables of all seeds that have finished. Each run is
`examples/mird_mosi.py` on its embedded default; options that are not named here go to it. R² is that of ridge regression and
of a small neural network on held-out halves of the test split, at the noise that the latents carry.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import mird_mosi
import torch
from known_factors import folder_of, train
from mird_mosi import INDEPENDENT, MIRD
from torch import nn

from disentangle import Masked
from disentangle.data import RecordingDataset, collate, loader, synthetic_recordings
from disentangle.experiments import open_trained
from disentangle.experiments.experiment import warmup_then_decay
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
FACTORS = {
    "shared": "S",
    "text": "L",
    "audio": "A",
    "vision": "V",
}  # and the latent where R² should be high; elsewhere 0
KINDS = ("linear", "neural")


def read(latents: dict[str, torch.Tensor], factors: dict[str, Any]) -> dict[str, dict]:
    """R² of each factor from each latent, by both kinds of probe."""
    return {
        kind: {f: {m: probe_numbers(z, factors[f], kind=kind).r2 for m, z in latents.items()} for f in FACTORS}
        for kind in KINDS
    }


@torch.no_grad()
def measure(folder: Path) -> dict[str, Any]:
    """What a finished run's latents tell of the factors of the test split, and what it rebuilds of the modalities."""
    trained, test = open_trained(folder / "model", MIRD), synthetic_recordings()["test"]
    torch.manual_seed(0)  # the latents carry noise
    latents = {m: z for m, z in trained.encode(test).items() if m in FACTORS.values()}
    sums: dict[str, list[float]] = {}
    for batch in loader(trained.dataset(test), 64):
        for name, rows in trained.model.losses(trained.model(batch), batch).items():
            total = sums.setdefault(name, [0.0, 0.0])
            total[0] += float((rows.values * rows.weights).sum())
            total[1] += float(rows.weights.sum())
    return {"r2": read(latents, test.factors), "losses": {name: total / n for name, (total, n) in sums.items()}}


def encoder_alone(latent: str, factor: str, seed: int, epochs: int = 20) -> dict[str, float]:
    """R² of a factor from the encoder of one latent, noise included, which was trained on nothing but this factor."""
    splits = synthetic_recordings()
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
        z = torch.cat([encoded(batch) for batch in loader(RecordingDataset(splits["test"], tokenizer), 64)])
    return {kind: probe_numbers(z, splits["test"].factors[factor], kind=kind).r2 for kind in KINDS}


def summary(run: dict[str, Any]) -> dict[str, float]:
    """One run as a row of the first table; an R² below 0, which is none, counts as 0."""
    cells: dict[str, float] = {}
    for kind, name in (("linear", "ridge"), ("neural", "neural")):
        r2 = run["r2"][kind]
        cells[f"R² off, {name}"] = fmean(max(0.0, r2[f][m]) for f in FACTORS for m in r2[f] if m != FACTORS[f])
        cells[f"on, {name}"] = fmean(r2[f][m] for f, m in FACTORS.items())
    return {**cells, "test MAE": run["mae"], **{n: run["losses"][n] for n in ("recon_L", "recon_A", "recon_V")}}


def mean_and_sd(of: Any, digits: int = 2) -> str:
    return f"{of['mean']:z.{digits}f}" + ("" if of["sd"] is None else f" ± {of['sd']:.{digits}f}")


def report(out: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[int, dict]] = {}
    for setting in SETTINGS:
        folder = folder_of(out, setting)
        if folder.exists() and (results := seed_results(folder)):
            found[setting] = {n: {**measure(folder / f"seed-{n}"), "mae": r["test"]["mae"]} for n, r in results.items()}
    path = out / "alone.json"
    alone = json.loads(path.read_text()) if path.exists() else {}
    rows = {s: seeds_summary({n: {s: summary(run)} for n, run in runs.items()})[s] for s, runs in found.items()}
    header = ["preset", "seeds", *next(iter(rows.values()))]
    cells = [
        [s, str(len(found[s])), *(mean_and_sd(of, 3 if "off" in name else 2) for name, of in row.items())]
        for s, row in rows.items()
    ]
    lines = [markdown([header, *cells], ["preset"])]
    if alone:
        read_alone = ", ".join(
            f"{f} from {FACTORS[f]} {r2['linear']:.2f} / {r2['neural']:.2f}" for f, r2 in alone.items()
        )
        lines += ["", f"An encoder trained on its factor alone, R² (ridge / neural): {read_alone}."]
    for setting, runs in found.items():
        by_kind = {kind: seeds_summary({n: run["r2"][kind] for n, run in runs.items()}) for kind in KINDS}
        table = [
            [f, *(" / ".join(f"{by_kind[kind][f][m]['mean']:z.2f}" for kind in KINDS) for m in FACTORS.values())]
            for f in FACTORS
        ]
        lines += [
            "",
            f"**{setting}**, R² of each factor from each latent (ridge / neural), mean of {len(runs)} seeds:",
            "",
        ]
        lines += [markdown([["factor", *FACTORS.values()], *table], ["factor"])]
    (target / "independent_latents.json").write_text(
        json.dumps({"alone": alone, **{s: list(runs.values()) for s, runs in found.items()}}, indent=1) + "\n"
    )
    (target / "independent_latents_tables.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the runs are")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS), help="(default: all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--at-once", type=int, default=1, help="how many seeds at a time (default: %(default)s)")
    parser.add_argument("--report", type=Path, help="write tables of the finished runs to this folder")
    options, more = parser.parse_known_args()
    if options.report:
        report(options.out, options.report)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    for setting in options.settings:
        train(folder_of(options.out, setting), [*SETTINGS[setting], *more], options.seeds, options.at_once)
    path = options.out / "alone.json"
    if not path.exists():
        path.write_text(json.dumps({f: encoder_alone(m, f, options.seeds[0]) for f, m in FACTORS.items()}) + "\n")


if __name__ == "__main__":
    main()
