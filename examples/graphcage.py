"""GraphCAGE: sequences gathered to the vertices of graphs by capsules, from the library's parts.

    python examples/graphcage.py                                  trains on the embedded synthetic set
    python examples/graphcage.py --data FILE --backbone bert-base-uncased
    python examples/graphcage.py evaluate --run RUN               and every other command of mird_mosi.py

The paper is Wu, Mai and Hu, "Graph Capsule Aggregation for Unaligned Multimodal Sequences" (ICMI 2021). The steps of each
modality attend to those of each other one, as in MulT. What they found is routed to a few capsules, however long the sequence
is: the vertices of a graph, whose edges are similarities. Two graph convolutions follow, the same for all modalities; after
each, a capsule reads the vertices as one vector.

Where this differs from the published code: the votes of steps have a map in common, to which positions are added, where there
is a map for each step, with 35 million numbers or more in all and for sequences of a fixed length; so their norm is no term of
the loss. Routing is normalized by the length of the sequence, see `dynamic_routing`. Padding is neither attended nor routed.
Where a row lacks the other modality, the steps themselves, normalized, stand for what they would have found. The best epoch is
chosen on the validation split, where that code takes the accuracy on the test split. Scores are not multiplied by 10. Words are
those of a text encoder that learns too, where they have fixed vectors; frames are standardised by the training split; a number
is learnt by its squared error, not the absolute one, and by AdamW as in all files here, not by RMSprop.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from mult import Reinforce, steps_of
from torch import Tensor, nn

from disentangle import Masked, Model, Rows
from disentangle.experiments import Experiment, run_program, standardize_frames
from disentangle.nn import (
    CapsuleReadout,
    CrossModalTransformer,
    GraphConvolution,
    SequenceCapsules,
    SimilarityAdjacency,
    Standardize,
    TemporalConvolution,
)
from disentangle.nn.backbones import as_backbone
from disentangle.tasks import Task, as_task


class GraphCAGE(Model):
    def __init__(
        self,
        backbone: Any,
        sizes: dict[str, int],
        task: Task | dict[str, Any],
        *,
        d=30,
        layers=5,
        heads=5,
        vertices=20,
        vertex_d=32,
        rounds=2,
        dropout=0.1,
        step_dropout=0.25,
    ):
        super().__init__()
        self.backbone, self.task = as_backbone(backbone), as_task(task)
        self.standardize = nn.ModuleDict({m: Standardize(size) for m, size in sizes.items()})
        widths = {"text": self.backbone.config.hidden_size, **sizes}
        self.steps = nn.ModuleDict({m: TemporalConvolution(size, d) for m, size in widths.items()})
        self.step_dropout = nn.Dropout(step_dropout)
        transformer = partial(CrossModalTransformer, d, layers, heads, dropout=dropout, attention_dropout=dropout)
        self.reinforce = nn.ModuleDict({m: Reinforce(m, widths, transformer) for m in widths})
        reinforced = max(1, len(sizes)) * d
        self.vertices = nn.ModuleDict({m: SequenceCapsules(reinforced, vertices, vertex_d, rounds) for m in widths})
        self.edges = nn.ModuleDict({m: SimilarityAdjacency(vertex_d) for m in widths})
        self.graph = nn.ModuleList(GraphConvolution(vertex_d, vertex_d) for _ in range(2))
        self.readouts = nn.ModuleList(CapsuleReadout(vertices, vertex_d, vertex_d, rounds) for _ in self.graph)
        read = len(widths) * len(self.graph) * vertex_d
        self.head = nn.Sequential(nn.Linear(read, 2 * vertex_d), nn.Tanh(), nn.Linear(2 * vertex_d, self.task.outputs))

    def forward(self, batch) -> dict[str, Any]:
        steps = steps_of(self, batch)
        return {m: self.read_graph(m, self.reinforce[m](target, steps)) for m, target in steps.items()}

    def read_graph(self, m: str, steps: Masked) -> Tensor:
        """The vector of a modality's graph, `(B, 2 d)`: a part after each convolution, zeros in rows that lack it."""
        vertices = self.vertices[m](steps)
        vertices = Masked(vertices, steps.mask.any(1, keepdim=True).expand(vertices.shape[:2]))
        adjacency, read = self.edges[m](vertices), []
        for convolve, readout in zip(self.graph, self.readouts, strict=True):
            vertices = Masked(convolve(vertices, adjacency).values.tanh(), vertices.mask)
            read.append(readout(vertices.values))
        return torch.cat(read, 1)

    def present(self, batch) -> dict[str, Tensor]:
        return {m: batch.present[m] for m in self.steps}

    def predict(self, variables) -> Tensor:
        return self.head(torch.cat([variables[m] for m in self.steps], 1)).squeeze(1)

    def losses(self, variables, batch) -> dict[str, Rows]:
        return {"Y": self.task.loss(self.predict(variables), batch.labels, batch.labeled)}


def add_options(method) -> None:
    add = method.add_argument
    add("--layers", type=int, default=5, help="of each transformer (default: %(default)s)")
    add("--vertices", type=int, default=20, help="of each graph (default: %(default)s)")
    add("--vertex-d", type=int, default=32, help="features of each (default: %(default)s)")
    add("--rounds", type=int, default=2, help="of routing (default: %(default)s)")
    add("--dropout", type=float, default=0.1, help="within the transformers (default: %(default)s)")
    add("--step-dropout", type=float, default=0.25, help="of the steps that they get (default: %(default)s)")


EXPERIMENT = Experiment(
    build=GraphCAGE,
    description=__doc__,
    options=add_options,
    arguments=lambda options: {
        name: getattr(options, name) for name in ("layers", "vertices", "vertex_d", "rounds", "dropout", "step_dropout")
    },
    prepare=standardize_frames,
    objective=lambda options: lambda losses, penalties: losses["Y"].mean(),
    defaults={"lr": 1e-4, "epochs": 40, "backbone": "bert-base-uncased"},
    unlabeled=False,
)
main = partial(run_program, EXPERIMENT)

if __name__ == "__main__":
    raise SystemExit(main())
