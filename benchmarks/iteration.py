"""The share of a training iteration of MIRD that is spent on everything MI: nine estimators, five steps each, and their bound.

python benchmarks/iteration.py [--backbone FOLDER_OR_NAME] [--device cpu|cuda]

The same model on the same batch, an iteration with the penalty and one without in turn; the share is 1 - without / with.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

import torch
from timing import interleaved, machine, spread

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from mird_mosi import BATCH_SIZE, INNER_STEPS, MIRD, objective_for, penalty_for

from disentangle import AlternatingStep
from disentangle.data import RecordingDataset, collate, synthetic_recordings
from disentangle.nn.backbones import load_backbone, tiny_backbone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="tiny", help="(default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="(default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=30, help="(default: %(default)s)")
    options = parser.parse_args()
    torch.manual_seed(0)
    train = synthetic_recordings((BATCH_SIZE, 1, 1))["train"]
    pretrained = options.backbone != "tiny"
    backbone, tokenizer = load_backbone(options.backbone) if pretrained else tiny_backbone(train.text)
    dataset = RecordingDataset(train, tokenizer)
    batch = collate([dataset[i] for i in range(BATCH_SIZE)]).to(options.device)
    model = MIRD(backbone, train.feature_sizes).to(options.device).train()

    def step(kind: str) -> AlternatingStep:
        penalty = penalty_for(model, kind, input_pairs=True)
        return AlternatingStep(
            model,
            None if penalty is None else penalty.to(options.device),
            objective=objective_for(0.1),
            optimizer=torch.optim.AdamW(model.parameters(), 1e-5),
            penalty_optimizer=None if penalty is None else torch.optim.Adam(penalty.parameters(), 1e-3, fused=True),
            inner_steps=INNER_STEPS,
        )

    steps = {"with MI": step("club"), "without": step("none")}
    t = interleaved({name: (lambda s=s: s(batch)) for name, s in steps.items()}, options.repeats)
    print(f"{machine()}; backbone {options.backbone}, batch {BATCH_SIZE}; milliseconds, median [min, max]")
    for name, values in t.items():
        print(f"{name:8} {spread(values)}")
    shares = [1 - b / a for a, b in zip(t["with MI"], t["without"], strict=True)]
    share = 1 - statistics.median(t["without"]) / statistics.median(t["with MI"])
    quartiles = statistics.quantiles(shares, n=4)
    print(f"share of MI in an iteration: {share:.0%}, quartiles run by run [{quartiles[0]:.0%}, {quartiles[2]:.0%}]")


if __name__ == "__main__":
    main()
