"""What the vectors of a codebook tell of the speaker, by the direction of CLUB: q(speaker | content) or q(content | speaker).

    python benchmarks/codebook.py            eight minutes on a CPU
    python benchmarks/codebook.py --seeds 0  half of that

A frame is one of 16 sounds by one of 8 speakers, both drawn independently. An encoder maps it to the nearest of 32 vectors,
straight through, and a decoder that knows the speaker rebuilds it. Each cell has a number per seed, in nats, on 40,000 fresh
frames: what the codes tell of the speaker, of at most 2.08, and of the sound, of at most 2.77.
"""

from __future__ import annotations

import argparse
import warnings

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from disentangle import CategoricalConditional, CLUBEstimator, Pairwise, PenaltyLoss
from disentangle.errors import EstimatorWarning
from disentangle.text_tables import markdown

SOUNDS, SPEAKERS, CODES, DIM, SIZE, ROWS, STEPS = 16, 8, 32, 8, 24, 256, 600
KINDS = {
    "none": None,
    "q(speaker | content), classes": lambda: (
        ("content", "speaker"),
        CLUBEstimator(DIM, 1, conditional=CategoricalConditional(DIM, SPEAKERS)),
    ),
    "q(speaker | content), embeddings": lambda: (("content", "embedding"), CLUBEstimator(DIM, 4)),
    "q(speaker | content), one-hot": lambda: (("content", "one-hot"), CLUBEstimator(DIM, SPEAKERS)),
    "q(content | speaker), one-hot": lambda: (("one-hot", "content"), CLUBEstimator(SPEAKERS, DIM)),
}


class Coded(nn.Module):
    """An encoder to a codebook, and a decoder of codes and speakers."""

    def __init__(self):
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(SIZE, 64), nn.ReLU(), nn.Linear(64, DIM))
        self.decode = nn.Sequential(nn.Linear(DIM + SPEAKERS, 64), nn.ReLU(), nn.Linear(64, SIZE))
        self.book = nn.Parameter(torch.randn(CODES, DIM))

    def forward(self, x: Tensor, speaker: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The codes' vectors, their numbers, and the loss."""
        z = self.encode(x)
        numbers = torch.cdist(z, self.book).argmin(1)
        code = self.book[numbers]
        content = z + (code - z).detach()
        error = (self.decode(torch.cat([content, one_hot(speaker, SPEAKERS).float()], 1)) - x).square().mean()
        kept = (code - z.detach()).square().mean() + 0.25 * (code.detach() - z).square().mean()
        return content, numbers, error + kept


def information(a: Tensor, b: Tensor) -> float:
    """Between classes, in nats, from their counts."""
    joint = torch.zeros(int(a.max()) + 1, int(b.max()) + 1).index_put_((a, b), torch.ones(len(a)), accumulate=True)
    joint = joint / joint.sum()
    return float(torch.xlogy(joint, joint / (joint.sum(1, keepdim=True) * joint.sum(0)).clamp(min=1e-12)).sum())


def told(kind: str, weight: float, seed: int) -> tuple[float, float]:
    """What the codes tell of the speaker and of the sound after training."""
    torch.manual_seed(seed)
    sounds, voices, embeddings = torch.randn(SOUNDS, SIZE), torch.randn(SPEAKERS, SIZE), torch.randn(SPEAKERS, 4)

    def draw(n: int) -> tuple[Tensor, Tensor, Tensor]:
        sound, speaker = torch.randint(SOUNDS, (n,)), torch.randint(SPEAKERS, (n,))
        return sounds[sound] + voices[speaker] + 0.3 * torch.randn(n, SIZE), sound, speaker

    model, make = Coded(), KINDS[kind]
    penalty = None if make is None else PenaltyLoss(Pairwise(dict([make()])), weight=weight)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(STEPS):
        x, _, speaker = draw(ROWS)
        content, _, loss = model(x, speaker)
        if penalty is not None:
            forms = {
                "speaker": speaker,
                "embedding": embeddings[speaker],
                "one-hot": one_hot(speaker, SPEAKERS).float(),
            }
            loss = loss + penalty({"content": content, **forms})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, sound, speaker = draw(40_000)
    with torch.no_grad():
        numbers = model(x, speaker)[1]
    return information(numbers, speaker), information(numbers, sound)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    seeds = parser.parse_args().seeds
    warnings.simplefilter("ignore", EstimatorWarning)  # of estimators that have died, which is what is shown
    rows = [["CLUB", "weight", "of the speaker", "of the sound"]]
    for kind, make in KINDS.items():
        for weight in (0.1, 0.3) if make else (0.0,):
            speaker, sound = zip(*(told(kind, weight, seed) for seed in seeds), strict=True)
            cells = [", ".join(f"{value:.3f}" for value in speaker), ", ".join(f"{value:.2f}" for value in sound)]
            rows.append([kind, f"{weight:g}" if make else "", *cells])
    print(markdown(rows, ["CLUB"]))


if __name__ == "__main__":
    main()
