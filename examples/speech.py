"""Who speaks and what is said, apart: two latents of short recordings, and what each tells of the other's factor.

    python examples/speech.py --data FOLDER                        trains, measures and draws, in minutes on a CPU
    python examples/speech.py --data FOLDER --penalty club         hsic, club, orthogonal, adversary, leace or none
    python examples/speech.py --data FOLDER --names "{speaker}-{content}" --seconds 2
    python examples/speech.py --data FOLDER --unseen s5 s6 --seed 1 --out runs/unseen    s5 and s6 are not trained on

FOLDER holds recordings named by both factors, as those of the Free Spoken Digit Dataset are: `7_jackson_32.wav`. Two
encoders read log-mel frames; a decoder rebuilds each frame from both latents and its place in the recording. Labels
are known in training: each latent is to tell its own factor to a linear map. The penalty forbids `content` to tell the
speaker, by label and by the latent `speaker`, and forbids `speaker` to tell the content by its label; LEACE erases the
labels afterwards instead. Of the takes of each content by each speaker the last fifth, in the order of their names, is
held out for the probes.

The last line printed is JSON: for each latent (`content_latent`, `speaker_latent`) and factor (`content`, `speaker`)
the accuracies of probes, `linear` and `neural` (with its 95 % `interval`), beside `chance`, and of a neural probe that
learns from ten draws of the latents' noise, `neural_draws`, which reads more; `unseen`, the same of the content of
speakers who were not trained on, or null; `error`, of reconstruction. The folder `--out` gets `matrix.png`,
`conversion.png` (one speaker's words in the voice of another) and `latents.npz`: `train_content_latent`,
`train_speaker_latent`, `train_content_label`, `train_speaker_label`, and the same with `test_` and, if there are any,
`unseen_`. Needs `pip install ".[audio,plots]"`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speech_folder import MELS, Speech, read_folder, split
from speech_measures import FACTORS, Latents, as_table, draw_conversion, draw_matrix, measure
from torch import Tensor, nn
from torch.nn import functional as F

from disentangle import (
    HSIC,
    CategoricalConditional,
    CLUBEstimator,
    DisentangleError,
    FeatureCorrelation,
    Masked,
    Pairwise,
    PenaltyLoss,
    Standardize,
    class_numbers,
)
from disentangle.dependence import BarberAgakovEstimator, TotalCorrelationEstimator
from disentangle.erasure import LEACE
from disentangle.experiments.options import COUNT, SEED, number
from disentangle.nn import NoisyLatent, masked_mse

CONTENT, SPEAKER, NOISE, WIDTH, WAVES = 16, 8, 0.5, 48, 8  # sizes of the latents, their noise, sizes of the networks
BATCH_SIZE, LEARNING_RATE, TELL = 600, 2e-3, 1.0  # TELL: weight of what each latent is to tell
ESTIMATOR_RATE = 1e-2
PAIRS = (("content", "speaker_label"), ("speaker", "content_label"), ("content", "speaker"))
DRAWS = 10  # of the latents' noise, for the strongest probe
WEIGHTS = {"hsic": 2000.0, "club": 0.2, "orthogonal": 1000.0, "adversary": 1.0}


def places(mask: Tensor) -> Tensor:
    """Where frames are in their recording, from 0 to 1, `(N, T)`."""
    return ((torch.arange(mask.shape[1]) + 0.5) / mask.sum(1, keepdim=True)).clamp(max=1.0)


class Encoder(nn.Module):
    """Two convolutions over the frames, averaged over each quarter of a recording, and a noisy latent of fixed scale."""

    def __init__(self, d: int):
        super().__init__()
        self.every_second = nn.Conv1d(MELS, WIDTH, 5, stride=2, padding=2)
        self.convolve = nn.Conv1d(WIDTH, WIDTH, 5, padding=2)
        self.latent = nn.Sequential(nn.Linear(4 * WIDTH, d), NoisyLatent(d, NOISE))

    def forward(self, frames: Masked) -> Tensor:
        real = frames.mask[:, ::2, None]
        quarters = F.one_hot((4 * places(frames.mask)[:, ::2]).long().clamp(max=3), 4) * real.float()
        hidden = self.every_second(frames.values.mT).relu() * real.mT
        total = self.convolve(hidden).relu() @ quarters
        return self.latent((total / quarters.sum(1, keepdim=True).clamp(min=1)).flatten(1))


class Voices(nn.Module):
    """Two encoders, and a decoder that draws each frame from both latents and its place."""

    def __init__(self) -> None:
        super().__init__()
        self.standardize = Standardize(MELS)
        self.content, self.speaker = Encoder(CONTENT), Encoder(SPEAKER)
        self.latents, self.place = nn.Linear(CONTENT + SPEAKER, 2 * WIDTH), nn.Linear(WAVES, 2 * WIDTH)
        self.draw = nn.Sequential(nn.ReLU(), nn.Linear(2 * WIDTH, 2 * WIDTH), nn.ReLU(), nn.Linear(2 * WIDTH, MELS))

    def forward(self, frames: Masked) -> dict[str, Tensor]:
        frames = self.standardize(frames)
        return {"content": self.content(frames), "speaker": self.speaker(frames)}

    def decode(self, latents: dict[str, Tensor], mask: Tensor) -> Tensor:
        waves = torch.cos(math.pi * places(mask)[..., None] * torch.arange(1, WAVES + 1))
        return self.draw(
            self.latents(torch.cat([latents["content"], latents["speaker"]], 1))[:, None] + self.place(waves)
        )

    def error(self, latents: dict[str, Tensor], frames: Masked) -> Tensor:
        return masked_mse(self.decode(latents, frames.mask), self.standardize(frames)).mean()


def penalty_for(kind: str, contents: int, speakers: int) -> Pairwise | None:
    """What must not tell of what. Adversaries are classifiers: of the label, and of which rows of the latents match."""
    who, what = CategoricalConditional(CONTENT, speakers, 64), CategoricalConditional(SPEAKER, contents, 64)
    dependences = {
        "hsic": [HSIC(kernel="laplace", scales=(0.5,)) for _ in PAIRS],
        "orthogonal": [FeatureCorrelation() for _ in PAIRS],
        "club": [
            CLUBEstimator(CONTENT, 1, conditional=who),
            CLUBEstimator(SPEAKER, 1, conditional=what),
            CLUBEstimator(CONTENT, SPEAKER),
        ],
        "adversary": [
            BarberAgakovEstimator(CONTENT, 1, entropy=math.log(speakers), conditional=who),
            BarberAgakovEstimator(SPEAKER, 1, entropy=math.log(contents), conditional=what),
            TotalCorrelationEstimator(CONTENT, SPEAKER),
        ],
    }
    return Pairwise(dict(zip(PAIRS, dependences[kind], strict=True))) if kind in dependences else None


def train(speech: Speech, kind: str, steps: int, seed: int) -> Voices:
    torch.manual_seed(seed)
    (content, contents), (speaker, speakers) = class_numbers(speech.content), class_numbers(speech.speaker)
    model, penalty = Voices(), penalty_for(kind, len(contents), len(speakers))
    model.standardize.fit(values[mask] for values, mask in zip(*speech.frames, strict=True))
    apart = PenaltyLoss(penalty, weight=WEIGHTS[kind], lr=ESTIMATOR_RATE, seed=seed) if penalty else None
    tell = nn.ModuleList([nn.Linear(CONTENT, len(contents)), nn.Linear(SPEAKER, len(speakers))])
    optimizer = torch.optim.Adam([*model.parameters(), *tell.parameters()], LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        rows = torch.randperm(len(content))[:BATCH_SIZE]
        frames = speech.frames.select(rows)
        latents = model(frames)
        labels = {"content_label": content[rows], "speaker_label": speaker[rows]}
        told = sum(F.cross_entropy(f(z), y) for f, z, y in zip(tell, latents.values(), labels.values(), strict=True))
        loss = model.error(latents, frames).log() + TELL * told
        if apart:
            apart.weight = WEIGHTS[kind] * min(1.0, 2 * step / steps)  # first learn what to say, then what not to
            loss = loss + apart({**latents, **labels})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def erase(latents: Latents, parts: dict[str, Speech]) -> None:
    """Takes from each latent what a linear map can read of the other's factor in training, by LEACE in closed form."""
    for latent, labels in (("content", parts["train"].speaker), ("speaker", parts["train"].content)):
        without = LEACE(latents["train"][latent], labels)
        for of in latents.values():
            of[latent] = torch.as_tensor(without(of[latent]))


@torch.no_grad()
def write(model: Voices, parts: dict[str, Speech], kind: str, seed: int, out: Path) -> dict[str, Any]:
    """Measures a trained model and fills the folder; what it returns is the last line printed."""
    torch.manual_seed(seed)
    latents, *draws = [{name: model(part.frames) for name, part in parts.items()} for _ in range(1 + DRAWS)]
    if kind == "leace":
        for each in (latents, *draws):
            erase(each, parts)
    error = model.error(latents["test"], parts["test"].frames).item()
    found = measure(latents, draws, parts, seed)
    out.mkdir(parents=True, exist_ok=True)
    arrays = {f"{part}_{name}_latent": z.numpy() for part, of in latents.items() for name, z in of.items()}
    labels = {f"{part}_{name}_label": getattr(of, name) for part, of in parts.items() for name in FACTORS}
    np.savez(out / "latents.npz", allow_pickle=False, **arrays, **labels)
    draw_matrix(found, out / "matrix.png", f"penalty: {kind}")
    draw_conversion(model, latents, parts, out / "conversion.png")
    return {"penalty": kind, "seed": seed, **found, "error": error}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="recordings, *.wav")
    parser.add_argument("--names", default="{content}_{speaker}_{take}", help="what names say (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=number(0, float, above=True), default=0.8, help="what is longer is cut (default: %(default)s)"
    )
    parser.add_argument("--unseen", nargs="+", default=[], metavar="SPEAKER", help="speakers to leave out of training")
    parser.add_argument("--penalty", choices=(*WEIGHTS, "leace", "none"), default="hsic", help="(default: %(default)s)")
    parser.add_argument("--steps", type=COUNT, default=500, help="(default: %(default)s)")
    parser.add_argument("--seed", type=SEED, default=0, help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/speech"), help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        parts = split(read_folder(options.data, options.names, options.seconds), options.unseen)
        model = train(parts["train"], options.penalty, options.steps, options.seed)
        result = write(model, parts, options.penalty, options.seed, options.out)
    except (DisentangleError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(as_table(result))
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
