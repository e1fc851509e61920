"""LMF: low-rank multimodal fusion, a linear map of all products of the modalities' features, from the library's parts.

    python examples/lmf.py                                        trains on the embedded synthetic set
    python examples/lmf.py --data FILE --backbone bert-base-uncased --rank 4
    python examples/lmf.py evaluate --run RUN                     and every other command of mird_mosi.py

The paper is Liu, Shen, Lakshminarasimhan, Liang, Zadeh and Morency, "Efficient Low-rank Multimodal Fusion with
Modality-Specific Factors" (ACL 2018). Modalities are read as by TFN, no product is computed, and what the fusion gives is the
prediction itself. The factors have a learning rate of their own.

Where this differs from the published codes: all that can learn does, where one of them leaves the fusion's weights and bias out
of the optimiser; a batch of one row is predicted as any other. Words are those of a text encoder that learns too, where they
have fixed vectors; frames are averaged over those that are real and standardised by the training split; a number is learnt by
its squared error, not the absolute one.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from tfn import three_layers, vectors_of
from torch import Tensor, nn

from disentangle import Model, Rows
from disentangle.experiments import Experiment, adamw, run_program, standardize_frames
from disentangle.nn import LowRankFusion, SequenceEncoder, Standardize
from disentangle.nn.backbones import as_backbone
from disentangle.tasks import Task, as_task


class LMF(Model):
    def __init__(
        self,
        backbone: Any,
        sizes: dict[str, int],
        task: Task | dict[str, Any],
        *,
        d=16,
        text_d=64,
        rank=4,
        dropout=0.2,
    ):
        super().__init__()
        self.backbone, self.task = as_backbone(backbone), as_task(task)
        self.standardize = nn.ModuleDict({m: Standardize(size) for m, size in sizes.items()})
        text = SequenceEncoder(self.backbone.config.hidden_size, text_d, 2 * text_d)
        self.read = nn.ModuleDict({"text": text, **{m: three_layers(size, d, dropout) for m, size in sizes.items()}})
        self.fusion = LowRankFusion({"text": text_d, **dict.fromkeys(sizes, d)}, self.task.outputs, rank)

    def forward(self, batch) -> dict[str, Any]:
        return vectors_of(self, batch)

    def present(self, batch) -> dict[str, Tensor]:
        return {m: batch.present[m] for m in self.read}

    def predict(self, variables) -> Tensor:
        return self.fusion({m: variables[m] for m in self.read}, variables["_has"]).squeeze(1)

    def losses(self, variables, batch) -> dict[str, Rows]:
        return {"Y": self.task.loss(self.predict(variables), batch.labels, batch.labeled)}


def add_options(method) -> None:
    add = method.add_argument
    add("--rank", type=int, default=4, help="of the fusion (default: %(default)s)")
    add("--factor-lr", type=float, help="learning rate of its factors (default: 1e-3; on the synthetic set 3e-3)")
    add("--dropout", type=float, default=0.2, help="of frames (default: %(default)s)")


EXPERIMENT = Experiment(
    build=LMF,
    description=__doc__,
    options=add_options,
    arguments=lambda options: {"rank": options.rank, "dropout": options.dropout},
    prepare=standardize_frames,
    optimizer=lambda model, options: adamw(model, options, {"fusion.factors.": options.factor_lr}),
    objective=lambda options: lambda losses, penalties: losses["Y"].mean(),
    defaults={"lr": 1e-4, "factor_lr": 1e-3, "epochs": 100, "backbone": "bert-base-uncased"},
    embedded={"lr": 1e-3, "factor_lr": 3e-3, "epochs": 20, "backbone": "tiny"},
    unlabeled=False,
)
main = partial(run_program, EXPERIMENT)

if __name__ == "__main__":
    raise SystemExit(main())
