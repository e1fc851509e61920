"""What the trainer costs over a bare loop, an iteration of MIRD; and what checkpoints cost beside their write.

    python benchmarks/trainer.py [--backbone FOLDER_OR_NAME] [--device cpu|cuda]

The bare loop is Algorithm 1 written out: no seeds, no checks of what is finite, no means, no clipping. Both train the same
model on the same batches, in turn; a round is `--steps` iterations.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import torch
from timing import interleaved, machine, spread
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from mird_mosi import BATCH_SIZE, INNER_STEPS, MIRD, objective_for, penalty_for

from disentangle import AlternatingTrainer
from disentangle.data import MixedBatchSampler, RecordingDataset, collate, synthetic_recordings
from disentangle.nn.backbones import load_backbone, tiny_backbone
from disentangle.pairwise.samples import variables_of
from disentangle.training import Run, frozen
from disentangle.training.checkpoints import Checkpoints


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="tiny", help="(default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="(default: %(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="iterations of a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=15, help="(default: %(default)s)")
    options = parser.parse_args()
    torch.manual_seed(0)
    train = synthetic_recordings((BATCH_SIZE * options.steps, 1, 1))["train"]
    pretrained = options.backbone != "tiny"
    backbone, tokenizer = load_backbone(options.backbone) if pretrained else tiny_backbone(train.text)
    dataset = RecordingDataset(train, tokenizer)
    sampler = MixedBatchSampler(len(dataset), batch_size=BATCH_SIZE)
    batches = DataLoader(dataset, batch_sampler=sampler, collate_fn=collate)
    model = MIRD(backbone, train.feature_sizes)

    bare = bare_loop(copy.deepcopy(model).to(options.device), batches, options.device)
    trainer = trainer_for(copy.deepcopy(model), options.device)
    rounds = {"bare loop": bare, "trainer": lambda: trainer.fit(batches, 1)}
    t = interleaved(rounds, options.rounds)
    print(f"{machine()}; backbone {options.backbone}, batch {BATCH_SIZE}; milliseconds an iteration, median [min, max]")
    for name, values in t.items():
        print(f"{name:10} {spread(values, 1e3 / options.steps)}")
    over = [b / a - 1 for a, b in zip(t["bare loop"], t["trainer"], strict=True)]
    quartiles = statistics.quantiles(over, n=4)
    ratio = statistics.median(t["trainer"]) / statistics.median(t["bare loop"]) - 1
    print(
        f"the trainer over the bare loop: {ratio:+.1%}, quartiles round by round [{quartiles[0]:+.1%}, {quartiles[2]:+.1%}]"
    )
    checkpoints(model, batches, options)


def bare_loop(model: MIRD, batches: DataLoader, device: str):
    penalty = penalty_for(model, "club", input_pairs=True)
    assert penalty is not None
    penalty.to(device)
    objective = objective_for(0.1)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-5)
    estimators = torch.optim.Adam(penalty.parameters(), 1e-3, fused=True)

    def run() -> None:
        model.train()
        for batch in batches:
            batch = batch.to(device)
            variables, present = model(batch), model.present(batch)
            detached = {name: x.detach() for name, x in variables_of(penalty.groups, variables).items()}
            for _ in range(INNER_STEPS):
                loss = penalty.learning_loss(detached, present)
                assert loss is not None
                estimators.zero_grad()
                loss.backward()
                estimators.step()
            estimators.zero_grad()
            with frozen(penalty):
                value = objective(model.losses(variables, batch), penalty(variables, present))
                optimizer.zero_grad()
                value.backward()
            optimizer.step()

    return run


def trainer_for(model: MIRD, device, run: Run | None = None) -> AlternatingTrainer:
    penalty = penalty_for(model, "club", input_pairs=True)
    assert penalty is not None
    return AlternatingTrainer(
        model,
        penalty,
        objective=objective_for(0.1),
        optimizer=torch.optim.AdamW(model.parameters(), 1e-5),
        penalty_optimizer=torch.optim.Adam(penalty.parameters(), 1e-3, fused=True),
        inner_steps=INNER_STEPS,
        run=run,
        device=device,
        progress=False,
    )


def checkpoints(model: MIRD, batches: DataLoader, options: argparse.Namespace) -> None:
    """Trains with a checkpoint every fifth step and without, and times the writes inside."""
    writes: list[float] = []

    def train(every: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            run = Run.create(Path(folder) / "run", {})
            run.draw = lambda: None
            trainer = trainer_for(copy.deepcopy(model), options.device, run)
            save = Checkpoints.save

            def timed(*arguments):
                started = time.perf_counter()
                result = save(*arguments)
                writes.append(time.perf_counter() - started)
                return result

            with mock.patch.object(Checkpoints, "save", timed):
                started = time.perf_counter()
                trainer.fit(batches, 2, checkpoint_every=every)
                return time.perf_counter() - started

    train(5)
    differences: list[float] = []
    for _ in range(options.rounds // 3):
        without = train(10**6) - writes[-1]  # the last one is always written
        writes.clear()
        differences.append((train(5) - without) / sum(writes))
    print(f"a checkpoint is written in {1e3 * statistics.median(writes):.0f} ms")
    print(
        f"what it delays training by, over its write: {statistics.median(differences):.2f}x "
        f"[{min(differences):.2f}, {max(differences):.2f}]"
    )


if __name__ == "__main__":
    main()
