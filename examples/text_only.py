"""The baseline that a multimodal model has to beat: its own backbone on the transcripts alone, trained the same way.

    python examples/text_only.py --data FILE.pkl --backbone bert-base-uncased

Mean of the last hidden states of the words, a linear layer and the two-layer regressor of `mird_mosi.py`; the same optimiser,
schedule, logarithm of the squared error, epochs and choice of the best epoch. It is also the shortest use of the trainer.
"""

from __future__ import annotations

import argparse
import sys

import torch
from mird_data import labeled_splits
from mird_labels import baselines, labels_of, scale_of
from mird_mosi import BATCH_SIZE, D, objective_for, warmup_then_decay
from torch import Tensor, nn
from torch.utils.data import DataLoader

from disentangle import AlternatingTrainer, Masked, Rows, predict
from disentangle.data import MixedBatchSampler, RecordingDataset, collate, loader
from disentangle.metrics import LabelScale, metrics_table
from disentangle.nn.backbones import BackboneError, backbone_config, load_backbone
from disentangle.training import Run, RunError


class TextOnly(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.project = nn.Linear(backbone.config.hidden_size, D)
        self.regressor = nn.Sequential(nn.Linear(D, D), nn.ReLU(), nn.Linear(D, 1))

    def forward(self, batch) -> dict[str, Tensor]:
        ids, attended = batch.tokens["input_ids"], batch.tokens["attention_mask"]
        hidden = self.backbone(input_ids=ids, attention_mask=attended).last_hidden_state
        words = Masked(hidden, ~batch.tokens["special_tokens_mask"].bool())
        return {"L": self.project(words.mean())}

    def present(self, batch) -> dict[str, Tensor]:
        return {"L": batch.present["text"]}

    def predict(self, latents) -> Tensor:
        return self.regressor(latents["L"]).squeeze(1)

    def losses(self, latents, batch) -> dict[str, Rows]:
        return {"Y": Rows((self.predict(latents) - batch.labels).square(), batch.labeled)}


def metrics_of(model: TextOnly, dataset: RecordingDataset, scale: LabelScale) -> dict[str, float | None]:
    return scale.metrics(predict(model, loader(dataset)), dataset.labels)


def train(options: argparse.Namespace) -> None:
    splits = labeled_splits(options.data)
    labels = labels_of(splits)
    scale = scale_of(labels, print)
    torch.manual_seed(options.seed)
    backbone, tokenizer = load_backbone(options.backbone)
    datasets = {name: RecordingDataset(r, tokenizer, max_words=options.max_words) for name, r in splits.items()}
    sampler = MixedBatchSampler(len(datasets["train"]), batch_size=BATCH_SIZE, seed=options.seed)
    batches = DataLoader(datasets["train"], batch_sampler=sampler, collate_fn=collate)
    model = TextOnly(backbone)
    optimizer = torch.optim.AdamW(model.parameters(), options.lr)
    run = Run.create(options.out, vars(options))
    trainer = AlternatingTrainer(
        model,
        None,
        objective=objective_for(0.0),
        optimizer=optimizer,
        schedulers=[warmup_then_decay(optimizer, options.epochs * len(batches))],
        seed=options.seed,
        run=run,
        config={"backbone": backbone_config(backbone)},
        tokenizer=tokenizer,
        device=options.device,
    )
    monitor, mode = scale.monitor
    trainer.fit(
        batches,
        options.epochs,
        evaluate=lambda model: metrics_of(model, datasets["valid"], scale),
        monitor=monitor,
        mode=mode,
    )
    result = {name: metrics_of(model.eval(), datasets[name], scale) for name in ("valid", "test")}
    run.write("result.json", result)
    print(metrics_table({**result, **baselines(scale, labels)}))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", required=True, metavar="FILE", help="pickle of {train,valid,test} recordings")
    add("--backbone", required=True, help="name or local folder")
    add("--lr", type=float, default=1e-5, help="learning rate (default: %(default)s)")
    add("--epochs", type=int, default=100, help="(default: %(default)s)")
    add("--seed", type=int, default=0, help="(default: %(default)s)")
    add("--max-words", type=int, default=256, help="word pieces kept of a transcript (default: %(default)s)")
    add("--out", required=True, metavar="FOLDER", help="the run's folder, new")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default: %(default)s)")
    try:
        train(parser.parse_args(arguments))
    except (ValueError, BackboneError, RunError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
