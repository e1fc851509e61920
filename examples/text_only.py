"""The baseline that a multimodal model has to beat: its own backbone on the transcripts alone, trained the same way.

    python examples/text_only.py --data FILE --backbone bert-base-uncased

Mean of the last hidden states of the words, a linear layer and the two-layer predictor of `mird_mosi.py`; the same optimiser,
schedule, logarithm of the loss, epochs and choice of the best epoch, and the same commands. It is also the shortest paper.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn

from disentangle import Masked, Model, Rows
from disentangle.experiments import TUNED, Experiment, run_program
from disentangle.nn.backbones import as_backbone
from disentangle.tasks import Task, as_task


class TextOnly(Model):
    def __init__(self, backbone: Any, sizes: dict[str, int], task: Task | dict[str, Any], *, d=64, dropout=0.0):
        super().__init__()
        self.backbone, self.task = as_backbone(backbone), as_task(task)
        self.project = nn.Linear(self.backbone.config.hidden_size, d)
        self.dropout = nn.Dropout(dropout)
        self.regressor = nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, self.task.outputs))

    def forward(self, batch) -> dict[str, Tensor]:
        ids, attended = batch.tokens["input_ids"], batch.tokens["attention_mask"]
        hidden = self.backbone(input_ids=ids, attention_mask=attended).last_hidden_state
        words = Masked(hidden, ~batch.tokens["special_tokens_mask"].bool())
        return {"L": self.project(words.mean())}

    def present(self, batch) -> dict[str, Tensor]:
        return {"L": batch.present["text"]}

    def predict(self, variables) -> Tensor:
        return self.regressor(self.dropout(variables["L"])).squeeze(1)

    def losses(self, variables, batch) -> dict[str, Rows]:
        return {"Y": self.task.loss(self.predict(variables), batch.labels, batch.labeled)}


def add_options(method) -> None:
    method.add_argument("--dropout", type=float, help="before the predictor (default: paper 0, tuned 0.1)")


EXPERIMENT = Experiment(
    build=TextOnly,
    description=__doc__,
    options=add_options,
    arguments=lambda options: {"dropout": options.dropout or 0.0},
    objective=lambda options: lambda losses, penalties: (losses["Y"].mean() + 1e-6).log(),
    tuned={**TUNED, "dropout": 0.1},
    unlabeled=False,
)
main = partial(run_program, EXPERIMENT)

if __name__ == "__main__":
    raise SystemExit(main())
