"""PMR: modalities that reinforce one another through a common message, in cycles, from the library's parts.

    python examples/pmr.py                                        trains on the embedded synthetic set
    python examples/pmr.py --data FILE --backbone bert-base-uncased
    python examples/pmr.py evaluate --run RUN                     and every other command of mird_mosi.py

The paper is Lv, Chen, Huang, Duan and Lin, "Progressive Modality Reinforcement for Human Multimodal Emotion Recognition from
Unaligned Multimodal Sequences" (CVPR 2021). A message hub holds the steps of all modalities, one modality after the other. In
each cycle, the steps of each modality attend to the hub; then the hub attends to each modality, and becomes a weighted sum of
what it found. A transformer reads the hub and the modalities after the last cycle, and its last step is read.

The authors published no code. What is open is decided here: each direction of each cycle has a unit with weights of its own,
a cross-modal transformer of one layer without a further gate; the hub weighs a modality by the mean over its real steps; the
last transformer has as many layers as there are cycles. Where this differs from codes of others: one makes the layers that
weigh the modalities anew in each step, so that they stay random, and shares one unit between all directions and cycles; the
weights there need sequences of one fixed length. Nothing attends to padding, the last real step is read, and a modality that a
row lacks has no weight in its hub. Words are those of a text encoder that learns too, where others have fixed vectors; frames
are standardised by the training split; a number is learnt by its squared error, not the absolute one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from mult import ResidualHead, one_after_the_other, steps_of
from torch import Tensor, nn

from disentangle import Masked, Model, Rows
from disentangle.experiments import Experiment, run_program, standardize_frames
from disentangle.nn import CrossModalTransformer, Standardize, TemporalConvolution, last_step
from disentangle.nn.backbones import as_backbone
from disentangle.tasks import Task, as_task


class PMR(Model):
    def __init__(
        self,
        backbone: Any,
        sizes: dict[str, int],
        task: Task | dict[str, Any],
        *,
        d=40,
        cycles=5,
        heads=10,
        kernel=3,
        dropout=0.1,
        attention_dropout=0.2,
        step_dropout=0.2,
    ):
        super().__init__()
        self.backbone, self.task = as_backbone(backbone), as_task(task)
        self.standardize = nn.ModuleDict({m: Standardize(size) for m, size in sizes.items()})
        widths = {"text": self.backbone.config.hidden_size, **sizes}
        self.steps = nn.ModuleDict({m: TemporalConvolution(size, d, kernel) for m, size in widths.items()})
        self.step_dropout = nn.Dropout(step_dropout)
        unit = partial(CrossModalTransformer, d, heads=heads, dropout=dropout, attention_dropout=attention_dropout)
        self.cycles = nn.ModuleList(Cycle(widths, d, partial(unit, 1), dropout) for _ in range(cycles))
        self.gather = unit(cycles)
        self.head = ResidualHead(d, self.task.outputs, dropout)

    def forward(self, batch) -> dict[str, Any]:
        steps = steps_of(self, batch)
        hub = one_after_the_other(steps.values())
        for cycle in self.cycles:
            hub, steps = cycle(hub, steps)
        return {"joint": last_step(self.gather(one_after_the_other([hub, *steps.values()])))}

    def present(self, batch) -> dict[str, Tensor]:
        return {"joint": torch.stack([batch.present[m] for m in self.steps]).any(0)}

    def predict(self, variables) -> Tensor:
        return self.head(variables["joint"]).squeeze(1)

    def losses(self, variables, batch) -> dict[str, Rows]:
        return {"Y": self.task.loss(self.predict(variables), batch.labels, batch.labeled)}


class Cycle(nn.Module):
    """The hub sends its message to each modality, and collects one from each."""

    def __init__(self, names: Iterable[str], d: int, unit: Callable[[], CrossModalTransformer], dropout: float):
        super().__init__()
        self.send = nn.ModuleDict({m: unit() for m in names})
        self.collect = nn.ModuleDict({m: unit() for m in names})
        self.update = MessageUpdate(d, dropout)

    def forward(self, hub: Masked, steps: dict[str, Masked]) -> tuple[Masked, dict[str, Masked]]:
        steps = {m: self.send[m](steps[m], hub) for m in steps}
        has = torch.stack([steps[m].mask.any(1) for m in steps], 1)
        return self.update([self.collect[m](hub, steps[m]) for m in steps], has), steps


class MessageUpdate(nn.Module):
    """The messages of all modalities as one: a weighted sum, to which two layers add."""

    def __init__(self, d: int, dropout: float):
        super().__init__()
        self.score = nn.Sequential(nn.Linear(d, d), nn.Tanh(), nn.Linear(d, 1, bias=False))
        self.change = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 4 * d), nn.ReLU(), nn.Dropout(dropout))
        self.change.append(nn.Linear(4 * d, d))

    def forward(self, messages: list[Masked], has: Tensor) -> Masked:
        """One message, `(B, T, d)`, of the messages of M modalities; `has`, `(B, M)`, is which of them a row has."""
        scores = torch.cat([self.score(message.mean()) for message in messages], 1)
        weights = scores.masked_fill(~has, torch.finfo(scores.dtype).min).softmax(1)
        x = sum(w[:, None, None] * message.values for w, message in zip(weights.unbind(1), messages, strict=True))
        mask = messages[0].mask
        return Masked(torch.where(mask.unsqueeze(2), x + self.change(x), 0), mask)


def add_options(method) -> None:
    add = method.add_argument
    add("--cycles", type=int, default=5, help="of sending and collecting messages (default: %(default)s)")
    add("--dropout", type=float, default=0.1, help="within the units and the last layers (default: %(default)s)")
    add("--step-dropout", type=float, default=0.2, help="of the modalities' steps (default: %(default)s)")


EXPERIMENT = Experiment(
    build=PMR,
    description=__doc__,
    options=add_options,
    arguments=lambda options: {name: getattr(options, name) for name in ("cycles", "dropout", "step_dropout")},
    prepare=standardize_frames,
    objective=lambda options: lambda losses, penalties: losses["Y"].mean(),
    defaults={"lr": 1e-4, "epochs": 100, "backbone": "bert-base-uncased"},
    unlabeled=False,
)
main = partial(run_program, EXPERIMENT)

if __name__ == "__main__":
    raise SystemExit(main())
