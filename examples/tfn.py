"""TFN: the tensor fusion network, a prediction from all products of the modalities' features, from the library's parts.

    python examples/tfn.py                                        trains on the embedded synthetic set
    python examples/tfn.py --data FILE --backbone bert-base-uncased
    python examples/tfn.py evaluate --run RUN                     and every other command of mird_mosi.py

The paper is Zadeh, Chen, Poria, Cambria and Morency, "Tensor Fusion Network for Multimodal Sentiment Analysis" (EMNLP 2017).
Frames are averaged over time; an LSTM reads the words. The fused vector is large: a product of the sizes, of 70785 numbers with
two modalities beside text.

Where this differs from the published codes: words are those of a text encoder that learns too, where they have fixed vectors;
frames are averaged over those that are real, where others count padding; they are standardised by the training split, not
by a batch norm, which mixes the rows of a batch; a number is learnt by its squared error, not the absolute one, and kept within
the range of the labels only by `--bounded`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn

from disentangle import Model, Rows
from disentangle.experiments import Experiment, run_program, standardize_frames
from disentangle.nn import SequenceEncoder, Standardize, TensorFusion
from disentangle.nn.backbones import as_backbone
from disentangle.tasks import Regression, Task, as_task

MOST_WEIGHTS = 10**9  # which take 16 GB in training: text and three other modalities have 1.5e8, with a fourth 4.9e9


class TFN(Model):
    def __init__(
        self,
        backbone: Any,
        sizes: dict[str, int],
        task: Task | dict[str, Any],
        *,
        d=32,
        text_d=64,
        width=64,
        dropout=0.2,
        bounded=False,
    ):
        super().__init__()
        self.backbone, self.task = as_backbone(backbone), as_task(task)
        self.range = range_of(self.task) if bounded else None
        self.standardize = nn.ModuleDict({m: Standardize(size) for m, size in sizes.items()})
        text = SequenceEncoder(self.backbone.config.hidden_size, text_d, 2 * text_d)
        self.read = nn.ModuleDict({"text": text, **{m: three_layers(size, d, dropout) for m, size in sizes.items()}})
        self.fusion = TensorFusion({"text": text_d, **dict.fromkeys(sizes, d)})
        if (weights := self.fusion.out_features * width) > MOST_WEIGHTS:
            raise ValueError(
                f"expected a few modalities, whose products take at most {MOST_WEIGHTS:.0e} weights, got text and {len(sizes)} "
                f"others, {weights:.1e} weights: lmf.py has the same products at low rank"
            )
        self.head = nn.Sequential(
            *(nn.Dropout(dropout), nn.Linear(self.fusion.out_features, width), nn.ReLU()),
            *(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, self.task.outputs)),
        )

    def forward(self, batch) -> dict[str, Any]:
        return vectors_of(self, batch)

    def present(self, batch) -> dict[str, Tensor]:
        return {m: batch.present[m] for m in self.read}

    def predict(self, variables) -> Tensor:
        scores = self.head(self.fusion({m: variables[m] for m in self.read}, variables["_has"])).squeeze(1)
        if self.range is None:
            return scores
        least, most = self.range
        return least + (most - least) * scores.sigmoid()

    def losses(self, variables, batch) -> dict[str, Rows]:
        return {"Y": self.task.loss(self.predict(variables), batch.labels, batch.labeled)}


def range_of(task: Task) -> tuple[float, float]:
    """The least and the largest label, as scores."""
    if not isinstance(task, Regression):
        raise ValueError(f"expected task regression where predictions are bounded, got {task.kind}")
    least, *_, most = task.scaled(np.array(task.scale.values))
    return float(least), float(most)


def vectors_of(model: Any, batch) -> dict[str, Any]:
    """A vector of the words by an LSTM, and of each modality's mean frame; `_has` says which rows have which."""
    ids, attended = batch.tokens["input_ids"], batch.tokens["attention_mask"]
    hidden = model.backbone(input_ids=ids, attention_mask=attended).last_hidden_state
    latents = {"text": model.read["text"](hidden, attended.bool())}
    for m, standardize in model.standardize.items():
        latents[m] = model.read[m](standardize(batch.sequences[m]).mean())
    has = {m: batch.present[m].to(hidden.device, non_blocking=True) for m in latents}
    return {**latents, "_has": has}


def three_layers(size: int, d: int, dropout: float) -> nn.Sequential:
    layers = [part for start in (size, d, d) for part in (nn.Linear(start, d), nn.ReLU())]
    return nn.Sequential(nn.Dropout(dropout), *layers)


def add_options(method) -> None:
    add = method.add_argument
    add("--dropout", type=float, default=0.2, help="of frames and of the fused vector (default: %(default)s)")
    add(
        "--bounded",
        action="store_true",
        help="no number beyond the least and the largest label, by a sigmoid, as published",
    )


EXPERIMENT = Experiment(
    build=TFN,
    description=__doc__,
    options=add_options,
    arguments=lambda options: {"dropout": options.dropout, "bounded": options.bounded},
    prepare=standardize_frames,
    objective=lambda options: lambda losses, penalties: losses["Y"].mean(),
    defaults={"lr": 1e-4, "epochs": 100, "backbone": "bert-base-uncased"},
    unlabeled=False,
)
main = partial(run_program, EXPERIMENT)

if __name__ == "__main__":
    raise SystemExit(main())
