"""MulT: the multimodal transformer, each modality reinforced by each other one, from the library's parts.

    python examples/mult.py                                       trains on the embedded synthetic set
    python examples/mult.py --data FILE --backbone bert-base-uncased
    python examples/mult.py evaluate --run RUN                    and every other command of mird_mosi.py

The paper is Tsai, Bai, Liang, Kolter, Morency and Salakhutdinov, "Multimodal Transformer for Unaligned Multimodal Language
Sequences" (ACL 2019). A convolution maps the steps of each modality to d features. For each ordered pair of modalities there
is a transformer in which the steps of one attend to those of the other, so words and frames need not be aligned. What the steps
of a modality found in each other one, side by side, goes through a transformer of its own, whose last step is read.

Where this differs from the published code: nothing attends to padding, and the step that is read is the last real one, where
that code reads padding if a sequence is short. Steps attend to later ones too: the mask that forbids it there is left out,
since an utterance is known as a whole, and since that mask depends on how far the batch is padded. Where a row lacks the other
modality, the steps themselves, normalized, stand for what they would have found. Words are those of a text encoder that learns
too, where they have fixed vectors; frames are standardised by the training split; a number is learnt by its squared error, not
the absolute one; one rate of dropout holds within all transformers; what goes over the steps side by side has as many layers as
the others, where that code has at least 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from disentangle import Masked, Model, Rows
from disentangle.experiments import Experiment, run_program, standardize_frames
from disentangle.nn import CrossModalTransformer, Standardize, TemporalConvolution, last_step, sinusoidal_positions
from disentangle.nn.backbones import as_backbone
from disentangle.tasks import Task, as_task


class MulT(Model):
    def __init__(
        self,
        backbone: Any,
        sizes: dict[str, int],
        task: Task | dict[str, Any],
        *,
        d=30,
        layers=5,
        heads=5,
        kernel=1,
        dropout=0.1,
        step_dropout=0.25,
    ):
        super().__init__()
        self.backbone, self.task = as_backbone(backbone), as_task(task)
        self.standardize = nn.ModuleDict({m: Standardize(size) for m, size in sizes.items()})
        widths = {"text": self.backbone.config.hidden_size, **sizes}
        self.steps = nn.ModuleDict({m: TemporalConvolution(size, d, kernel) for m, size in widths.items()})
        self.step_dropout = nn.Dropout(step_dropout)
        transformer = partial(
            CrossModalTransformer, layers=layers, heads=heads, dropout=dropout, attention_dropout=dropout
        )
        self.reinforce = nn.ModuleDict({m: Reinforce(m, widths, lambda: transformer(d)) for m in widths})
        width = max(1, len(sizes)) * d
        self.gather = nn.ModuleDict({m: transformer(width) for m in widths})
        self.head = ResidualHead(len(widths) * width, self.task.outputs)

    def forward(self, batch) -> dict[str, Any]:
        steps = steps_of(self, batch)
        found = {m: sinusoidal_positions(self.reinforce[m](target, steps)) for m, target in steps.items()}
        return {m: last_step(self.gather[m](sequence)) for m, sequence in found.items()}

    def present(self, batch) -> dict[str, Tensor]:
        return {m: batch.present[m] for m in self.steps}

    def predict(self, variables) -> Tensor:
        return self.head(torch.cat([variables[m] for m in self.steps], 1)).squeeze(1)

    def losses(self, variables, batch) -> dict[str, Rows]:
        return {"Y": self.task.loss(self.predict(variables), batch.labels, batch.labeled)}


class Reinforce(nn.Module):
    """The steps of a modality after they attended to those of each other one, side by side; alone, to its own."""

    def __init__(self, modality: str, modalities: Iterable[str], transformer: Callable[[], CrossModalTransformer]):
        super().__init__()
        others = [m for m in modalities if m != modality] or [modality]
        self.by = nn.ModuleDict({m: transformer() for m in others})

    def forward(self, target: Masked, steps: dict[str, Masked]) -> Masked:
        """The target, `(B, T, d)`, as `(B, T, d * others)`."""
        alone = F.layer_norm(target.values, target.values.shape[2:])
        found = []
        for source, transformer in self.by.items():
            has = steps[source].mask.any(1)[:, None, None]
            found.append(torch.where(has, transformer(target, steps[source]).values, alone))
        return Masked(torch.cat(found, 2), target.mask)


class ResidualHead(nn.Module):
    """Scores of a vector after two layers have added to it."""

    def __init__(self, d: int, outputs: int, dropout: float = 0.0):
        super().__init__()
        self.change = nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Dropout(dropout), nn.Linear(d, d))
        self.output = nn.Linear(d, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(x + self.change(x))


def sequences_of(model: Any, batch) -> dict[str, Masked]:
    """The words as the backbone has them, and the standardised frames of each other modality."""
    ids, attended = batch.tokens["input_ids"], batch.tokens["attention_mask"]
    hidden = model.backbone(input_ids=ids, attention_mask=attended).last_hidden_state
    words = Masked(hidden, ~batch.tokens["special_tokens_mask"].bool())
    return {"text": words, **{m: standardize(batch.sequences[m]) for m, standardize in model.standardize.items()}}


def steps_of(model: Any, batch) -> dict[str, Masked]:
    """The steps of each modality, `(B, T, d)`, with their positions; in training some of their features are dropped."""
    placed = {m: sinusoidal_positions(model.steps[m](x)) for m, x in sequences_of(model, batch).items()}
    return {m: Masked(model.step_dropout(x.values), x.mask) for m, x in placed.items()}


def one_after_the_other(sequences: Iterable[Masked]) -> Masked:
    """The steps of all sequences of a row as one sequence, with the padding in between."""
    return Masked(*(torch.cat(parts, 1) for parts in zip(*sequences, strict=True)))


def add_options(method) -> None:
    add = method.add_argument
    add("--layers", type=int, default=5, help="of each transformer (default: %(default)s)")
    add("--kernel", type=int, default=1, help="frames that a step of a modality sees (default: %(default)s)")
    add("--dropout", type=float, default=0.1, help="within the transformers (default: %(default)s)")
    add("--step-dropout", type=float, default=0.25, help="of the steps that they get (default: %(default)s)")


EXPERIMENT = Experiment(
    build=MulT,
    description=__doc__,
    options=add_options,
    arguments=lambda options: {
        name: getattr(options, name) for name in ("layers", "kernel", "dropout", "step_dropout")
    },
    prepare=standardize_frames,
    objective=lambda options: lambda losses, penalties: losses["Y"].mean(),
    defaults={"lr": 1e-4, "epochs": 40, "backbone": "bert-base-uncased"},
    unlabeled=False,
)
main = partial(run_program, EXPERIMENT)

if __name__ == "__main__":
    raise SystemExit(main())
