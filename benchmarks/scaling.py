"""How the time grows with what there is more of: exponents, fitted to doublings on a logarithmic scale.

    python benchmarks/scaling.py [--of rows words frames modalities pairs meter] [--repeats 3] [--device cpu|cuda]

An exponent of 1 means twice as long for twice as much. Everything but what is named stays as it is:

    rows        of a batch, from 16 to 128: one iteration of MIRD
    words       of a sentence, from 32 to 256; attention alone grows with the square
    frames      of audio and of vision, from 100 to 800
    modalities  beside text, from 2 to 16, each with a latent and a decoder; the number of pairs grows with the square
    pairs       of latents of 64 numbers, from 8 to 64: five steps of their estimators, the penalty and its gradient
    meter       rows of `estimate_mutual_information`, from 1000 to 8000, 2 + 2 dimensions
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from iteration import step_of
from timing import interleaved, machine
from transformers import BertConfig, BertModel

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from mird_mosi import INNER_STEPS, MIRD
from public_schedule import batch_of_ones_own

from disentangle import CLUBEstimator, Pairwise, estimate_mutual_information
from disentangle.training import frozen

WORDS, ROWS, VOCABULARY = 32, 32, 5000
FRAMES = {"audio": (100, 33), "vision": (100, 64)}
SIZES = {
    "rows": (16, 32, 64, 128),
    "words": (32, 64, 128, 256),
    "frames": (100, 200, 400, 800),
    "modalities": (2, 4, 8, 16),
    "pairs": (8, 16, 32, 64),
    "meter": (1000, 2000, 4000, 8000),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--of", nargs="+", choices=SIZES, default=list(SIZES), help="(default: all)")
    parser.add_argument("--repeats", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="(default: %(default)s)")
    options = parser.parse_args()
    print(f"{machine()}; seconds, the fastest of {options.repeats}")
    for what in options.of:
        calls = {str(size): call_of(what, size, options.device) for size in SIZES[what]}
        seconds = [min(times) for times in interleaved(calls, options.repeats).values()]
        exponent = np.polyfit(np.log(SIZES[what]), np.log(seconds), 1)[0]
        last = np.log2(seconds[-1] / seconds[-2])
        row = "  ".join(f"{size}: {t:.3f}" for size, t in zip(SIZES[what], seconds, strict=True))
        print(f"{what:11} exponent {exponent:.2f}, of the last doubling {last:.2f};  {row}")


def call_of(what: str, size: int, device: str) -> Callable[[], object]:
    """What takes the time, at one size."""
    if what == "pairs":
        return penalty_of(size, device)
    if what == "meter":
        x = torch.randn(size, 2, generator=torch.Generator().manual_seed(0))
        return lambda: estimate_mutual_information(x, x + x.flip(0))
    words, rows = (size if what == name else usual for name, usual in (("words", WORDS), ("rows", ROWS)))
    frames = {name: (size, width) for name, (_, width) in FRAMES.items()} if what == "frames" else FRAMES
    if what == "modalities":
        frames = {f"m{i}": (100, 33) for i in range(size)}
    return iteration_of(words, rows, frames, device)


def iteration_of(words: int, rows: int, frames: dict[str, tuple[int, int]], device: str) -> Callable[[], object]:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCABULARY, hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=512
    )
    sizes = {name: width for name, (_, width) in frames.items()}
    model = MIRD(BertModel(config, add_pooling_layer=False), sizes).to(device).train()
    step, batch = step_of(model, device), batch_of_ones_own(words, VOCABULARY, frames, rows).to(device)
    return lambda: step(batch)


def penalty_of(count: int, device: str) -> Callable[[], object]:
    names = [f"z{i}" for i in range(12)]
    pairs = list(combinations(names, 2))[:count]
    penalty = Pairwise({pair: CLUBEstimator(64, 64) for pair in pairs}).to(device)
    optimizer = torch.optim.Adam(penalty.parameters(), 1e-3, fused=True)
    latents = {name: torch.randn(ROWS, 64, device=device, requires_grad=True) for name in names}
    detached = {name: z.detach() for name, z in latents.items()}

    def run() -> None:
        for _ in range(INNER_STEPS):
            loss = penalty.learning_loss(detached)
            assert loss is not None
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with frozen(penalty):
            torch.stack(list(penalty(latents).values())).sum().backward()

    return run


if __name__ == "__main__":
    main()
