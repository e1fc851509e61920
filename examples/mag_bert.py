"""MAG-BERT: a text encoder whose words are moved by what was heard and seen with them, from the library's parts.

    python examples/mag_bert.py                                   trains on the embedded synthetic set
    python examples/mag_bert.py --data FILE --backbone bert-base-uncased
    python examples/mag_bert.py evaluate --run RUN                and every other command of mird_mosi.py

The paper is Rahman, Hasan, Lee, Zadeh, Mao, Morency and Hoque, "Integrating Multimodal Information in Large Pretrained
Transformers" (ACL 2020). Right after the embeddings, a gate moves each word by what is heard and seen with it, at most by the
word's own length.

Where this differs from the published code: that needs a frame of audio and vision for each word. Here frames need not be
aligned: each word finds its own by sparse attention, as in WSA-BERT. The gates are sigmoids, not ReLUs; no layer norm and no
dropout follow them; the words' mean is read, not [CLS]; frames are standardised by the training split; and the best epoch is
chosen on the validation split, where the published driver takes the best of the test split.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from disentangle import Model, Rows
from disentangle.experiments import TUNED, Experiment, run_program, standardize_frames
from disentangle.nn import MAGTextEncoder, Standardize
from disentangle.nn.backbones import as_backbone
from disentangle.tasks import Task, as_task


class MAGBERT(Model):
    def __init__(
        self,
        backbone: Any,
        sizes: dict[str, int],
        task: Task | dict[str, Any],
        *,
        inject_after=0,
        epsilon=1.0,
        dropout=0.1,
        from_zero=False,
    ):
        super().__init__()
        if not sizes:
            raise ValueError(
                "expected audio, vision or another modality, by which words are moved, got text alone: examples/text_only.py "
                "is a model of it"
            )
        backbone, self.task = as_backbone(backbone), as_task(task)
        self.names, width = list(sizes), backbone.config.hidden_size
        self.standardize = nn.ModuleDict({m: Standardize(size) for m, size in sizes.items()})
        self.words = MAGTextEncoder(
            backbone, sizes, width, inject_after=inject_after, epsilon=epsilon, from_zero=from_zero
        )
        self.head = nn.Sequential(nn.Tanh(), nn.Dropout(dropout), nn.Linear(width, self.task.outputs))

    def forward(self, batch) -> dict[str, Tensor]:
        others = {m: self.standardize[m](batch.sequences[m]) for m in self.names}
        return {"words": self.words(**batch.tokens, others=others, lengths=batch.lengths)}

    def present(self, batch) -> dict[str, Tensor]:
        return {"words": torch.stack([batch.present[m] for m in ("text", *self.names)]).any(0)}

    def predict(self, variables) -> Tensor:
        return self.head(variables["words"]).squeeze(1)

    def losses(self, variables, batch) -> dict[str, Rows]:
        return {"Y": self.task.loss(self.predict(variables), batch.labels, batch.labeled)}


def add_options(method) -> None:
    add = method.add_argument
    add("--inject-layer", type=int, default=0, help="move the words after this layer (default: 0, the embeddings)")
    add("--inject-from", choices=("random", "zero"), help="at first (default: paper random, tuned zero)")
    add("--epsilon", type=float, default=1.0, help="how far, in lengths of the word, at most (default: %(default)s)")
    add("--dropout", type=float, default=0.1, help="before the last layer (default: %(default)s)")


EXPERIMENT = Experiment(
    build=MAGBERT,
    description=__doc__,
    options=add_options,
    arguments=lambda options: {
        "inject_after": options.inject_layer,
        "epsilon": options.epsilon,
        "dropout": options.dropout,
        "from_zero": options.inject_from == "zero",
    },
    prepare=standardize_frames,
    objective=lambda options: lambda losses, penalties: losses["Y"].mean(),
    defaults={"lr": 1e-5, "epochs": 40, "backbone": "bert-base-uncased"},
    tuned={**TUNED, "inject_from": "zero"},
    batch_size=48,
    unlabeled=False,
)
main = partial(run_program, EXPERIMENT)

if __name__ == "__main__":
    raise SystemExit(main())
