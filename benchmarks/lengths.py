"""What padding costs: an epoch of MIRD padded to the longest row of the set, of each batch, and with batches by length.

    python benchmarks/lengths.py [--like videos digits] [--rows 256] [--rounds 3] [--device cpu|cuda]

The lengths are drawn like those of real sets, log-normal with their median and spread:

    videos   people who review films: 364 word pieces, and 2 to 20 segments of sound and of faces; four layers of 256
    digits   single spoken digits: a few words, 0.42 s of 33 features of sound at 100 per second; the tiny backbone

Beside the times stand the steps that are computed for each real one: what no padding at all could save at most.

Sequences that are padded otherwise have the same losses and gradients: the largest difference of a gradient between the first
and the second way is printed beside the largest gradient, in float64.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from iteration import step_of
from timing import interleaved, machine, ratios, spread
from torch import Tensor
from torch.nn import functional as F
from transformers import BertConfig, BertModel

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from mird_mosi import BATCH_SIZE, MIRD, objective_for, penalty_for

from disentangle import Masked
from disentangle.data import Batch, MixedBatchSampler, RecordingDataset, Recordings, collate
from disentangle.nn.backbones import tiny_backbone

WORDS = ("so", "good", "that", "one", "could", "cry", "but", "the", "film", "was", "far", "too", "long")
LIKE = {  # of words and frames: median, spread of the logarithm, at most; and how many features
    "videos": {"text": (364, 0.30, 510, 0), "audio": (12, 0.45, 20, 43), "vision": (12, 0.45, 20, 41)},
    "digits": {"text": (3, 0.3, 6, 0), "audio": (42, 0.32, 228, 33)},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--like", nargs="+", choices=LIKE, default=list(LIKE), help="(default: all)")
    parser.add_argument("--rows", type=int, default=256, help="of an epoch (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="(default: %(default)s)")
    options = parser.parse_args()
    print(f"{machine()}, batch {BATCH_SIZE}, {options.rows} rows")
    for like in options.like:
        measure(like, options)


def measure(like: str, options: argparse.Namespace) -> None:
    train = recordings(like, options.rows)
    tiny, tokenizer = tiny_backbone(train.text)
    dataset = RecordingDataset(train, tokenizer, max_words=max(most for *_, most, _ in LIKE[like].values()))
    torch.manual_seed(0)
    backbone = four_layers(len(tokenizer)) if like == "videos" else tiny
    model = MIRD(backbone, train.feature_sizes)
    step = step_of(model.to(options.device).train(), options.device)
    random, alike = (
        list(MixedBatchSampler(options.rows, batch_size=BATCH_SIZE, lengths=lengths))
        for lengths in (None, dataset.lengths)
    )
    longest = collate([dataset[i] for i in range(options.rows)])

    def batches_of(places: list[list[int]], pad: bool) -> list[Batch]:
        ready = [collate([dataset[i] for i in rows]) for rows in places]
        return [(padded(batch, longest) if pad else batch).to(options.device) for batch in ready]

    def epoch(batches: list[Batch]) -> Callable[[], object]:
        return lambda: [step(batch) for batch in batches]

    ways = {
        "set": batches_of(random, True),
        "batch": batches_of(random, False),
        "by length": batches_of(alike, False),
    }
    t = interleaved({name: epoch(batches) for name, batches in ways.items()}, options.rounds)
    print(f"\n{like}: padded to the longest row of the set, of the batch, of batches by length; ms per iteration")
    for name, seconds in t.items():
        print(
            f"{name:10} {spread(seconds, 1e3 / len(random))} {ratios(t['set'], seconds)} as fast; "
            f"steps per real one: {steps_per_real_one(ways[name])}"
        )
    batch = collate([dataset[i] for i in random[0]])
    a, b = (gradients_of(model, one) for one in (padded(batch, longest), batch))
    size = max(float(of_b.abs().max()) for of_b in b)
    difference = max(float((of_a - of_b).abs().max()) for of_a, of_b in zip(a, b, strict=True))
    print(f"gradients of the first two differ by {difference / size:.0e} of the largest, in float64")


def steps_per_real_one(batches: list[Batch]) -> str:
    """Of words and of each sequence, how many steps are computed for each that exists."""
    masks = [{"text": batch.words.mask, **{name: s.mask for name, s in batch.sequences.items()}} for batch in batches]
    totals = {
        name: [sum(count(each[name]) for each in masks) for count in (Tensor.numel, Tensor.sum)] for name in masks[0]
    }
    return ", ".join(f"{name} {computed / float(real):.2f}" for name, (computed, real) in totals.items())


def recordings(like: str, rows: int) -> Recordings:
    draw = np.random.default_rng(0)

    def lengths(name: str) -> np.ndarray:
        median, spread, most, _ = LIKE[like][name]
        return np.clip(median * np.exp(spread * draw.normal(size=rows)), 2, most).astype(int)

    return Recordings(
        text=[" ".join(WORDS[word] for word in draw.integers(len(WORDS), size=n)) for n in lengths("text")],
        sequences={
            name: [draw.normal(size=(n, size)).astype(np.float32) for n in lengths(name)]
            for name, (*_, size) in LIKE[like].items()
            if size
        },
        labels=draw.normal(size=rows).astype(np.float32),
    )


def four_layers(vocabulary: int) -> BertModel:
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=1024,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return BertModel(config, add_pooling_layer=False)


def padded(batch: Batch, like: Batch) -> Batch:
    """The batch, as wide as another."""

    def wider(sequence: Masked, other: Masked) -> Masked:
        more = other.mask.shape[1] - sequence.mask.shape[1]
        sides = (0, more) if sequence.values.ndim == 2 else (0, 0, 0, more)
        return Masked(F.pad(sequence.values, sides), F.pad(sequence.mask, (0, more)))

    more = like.tokens["input_ids"].shape[1] - batch.tokens["input_ids"].shape[1]
    return replace(
        batch,
        tokens={
            name: F.pad(ids, (0, more), value=int(name == "special_tokens_mask")) for name, ids in batch.tokens.items()
        },
        words=wider(batch.words, like.words),
        sequences={name: wider(sequence, like.sequences[name]) for name, sequence in batch.sequences.items()},
    )


def gradients_of(model: MIRD, batch: Batch) -> list[torch.Tensor]:
    """Of the whole objective, in float64."""
    model = copy.deepcopy(model).double().cpu()
    torch.manual_seed(0)
    penalty = penalty_for(model, "club", input_pairs=True)
    assert penalty is not None
    batch = batch._with(lambda t: t.double() if t.is_floating_point() else t)
    variables = model(batch)
    objective = objective_for(0.1)(model.losses(variables, batch), penalty.double()(variables, model.present(batch)))
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [g for g in torch.autograd.grad(objective, parameters, allow_unused=True) if g is not None]


if __name__ == "__main__":
    main()
