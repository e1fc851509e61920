"""Self-MM: heads for single modalities, with labels of their own that are generated in training, from the library's parts.

    python examples/self_mm.py                                    trains on the embedded synthetic set
    python examples/self_mm.py --data FILE --backbone bert-base-uncased
    python examples/self_mm.py evaluate --run RUN                 and every other command of mird_mosi.py

The paper is Yu, Xu, Yuan and Wu, "Learning Modality-Specific Representations with Self-Supervised Multi-Task Learning for
Multimodal Sentiment Analysis" (AAAI 2021). Beside the prediction from all modalities there is one from each alone. Its label is
at first that of the row and moves to where the modality's features stand among those of all rows; the more the two labels
differ, the more its error counts. `LabelMemory` generates them; it is saved with the model, and a run goes on with it.

Where this differs from the published code: labels neither explode nor become NaN, see `LabelMemory`; how far a label moves
depends on how often its row was seen, which is the number of the epoch there too; a modality that a row lacks has no label in
it and is in no centroid; frames are standardised by the training split; a number is learnt by its squared error, not the
absolute one; what reads frames learns at the rate of the heads, and audio has 32 features as vision has, where it has 16 there.
Of other tasks than regression no labels are generated: each modality learns those of the row.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from disentangle import Model, Rows
from disentangle.experiments import Experiment, run_program, standardize_frames
from disentangle.nn import LabelMemory, SequenceEncoder, Standardize
from disentangle.nn.backbones import as_backbone
from disentangle.tasks import Regression, Task, as_task


class SelfMM(Model):
    def __init__(
        self,
        backbone: Any,
        sizes: dict[str, int],
        task: Task | dict[str, Any],
        *,
        d=32,
        text_d=64,
        joint_d=128,
        dropout=0.1,
    ):
        super().__init__()
        self.backbone, self.task = as_backbone(backbone), as_task(task)
        words = self.backbone.config.hidden_size
        self.standardize = nn.ModuleDict({m: Standardize(size) for m, size in sizes.items()})
        self.read = nn.ModuleDict({m: SequenceEncoder(size, d, 2 * d) for m, size in sizes.items()})
        read, features = {"text": words, **dict.fromkeys(sizes, d)}, {"text": text_d, **dict.fromkeys(sizes, d)}
        self.features = nn.ModuleDict({m: layer(read[m], features[m], dropout) for m in read})
        self.heads = nn.ModuleDict({m: head(features[m], self.task.outputs) for m in read})
        self.joint_features = layer(sum(read.values()), joint_d, dropout)
        self.joint_head = head(joint_d, self.task.outputs)
        self.memory = LabelMemory(joint_d, features) if isinstance(self.task, Regression) else None

    def forward(self, batch) -> dict[str, Any]:
        ids, attended = batch.tokens["input_ids"], batch.tokens["attention_mask"]
        first = self.backbone(input_ids=ids, attention_mask=attended).last_hidden_state[:, 0]  # [CLS]
        has = {m: batch.present[m].to(first.device, non_blocking=True) for m in self.heads}
        read = {"text": torch.where(has["text"].unsqueeze(1), first, 0)}
        for m, standardize in self.standardize.items():
            read[m] = self.read[m](*standardize(batch.sequences[m]))
        joint = self.joint_features(torch.cat([*read.values()], 1))
        return {m: self.features[m](read[m]) for m in read} | {"_joint": joint, "_has": has}

    def present(self, batch) -> dict[str, Tensor]:
        return {m: batch.present[m] for m in self.heads}

    def predict(self, variables) -> Tensor:
        return self.joint_head(variables["_joint"]).squeeze(1)

    def losses(self, variables, batch) -> dict[str, Rows]:
        losses = {"Y": self.task.loss(self.predict(variables), batch.labels, batch.labeled)}
        if not self.training:  # the rows of other splits are not in the memory
            return losses
        for m, predicts in self.heads.items():
            scores, weights = predicts(variables[m]).squeeze(1), batch.labeled * variables["_has"][m]
            labels, strength = batch.labels, 1.0
            if self.memory is not None:
                labels = self.memory.labels(m, batch.index).to(batch.labels.dtype)
                strength = (labels - batch.labels).abs().tanh()
            losses[f"Y_{m}"] = Rows(strength * self.task.terms(scores, labels), weights)
        if self.memory is not None and torch.is_grad_enabled():  # of pieces, all are seen once without a gradient first
            own = {m: variables[m] for m in self.heads}
            self.memory.update(batch.index, variables["_joint"], own, variables["_has"])
        return losses


def layer(size: int, d: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Dropout(dropout), nn.Linear(size, d), nn.ReLU())


def head(d: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, outputs))


def prepare(model: SelfMM, train) -> None:
    """Fits the statistics of frames to the training split, and starts the memory with its labels."""
    standardize_frames(model, train)
    if model.memory is not None:
        if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
            raise ValueError(
                f"expected one process, whose memory sees all rows, got {torch.distributed.get_world_size()}"
            )
        model.memory.start(model.task.scaled(torch.from_numpy(train.labels)))


def add_options(method) -> None:
    method.add_argument("--dropout", type=float, default=0.1, help="before the features (default: %(default)s)")


EXPERIMENT = Experiment(
    build=SelfMM,
    description=__doc__,
    options=add_options,
    arguments=lambda options: {"dropout": options.dropout},
    prepare=prepare,
    objective=lambda options: lambda losses, penalties: torch.stack([loss.mean() for loss in losses.values()]).sum(),
    defaults={"lr": 1e-3, "backbone_lr": 5e-5, "epochs": 100, "backbone": "bert-base-uncased"},
    embedded={"lr": 1e-3, "backbone_lr": 1e-3, "epochs": 20, "backbone": "tiny"},
    unlabeled=False,
)
main = partial(run_program, EXPERIMENT)

if __name__ == "__main__":
    raise SystemExit(main())
