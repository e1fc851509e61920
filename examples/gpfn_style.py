"""GPFN-style: graphs of steps, pooled to fewer and fewer nodes by soft assignment, from the library's parts.

    python examples/gpfn_style.py                                 trains on the embedded synthetic set
    python examples/gpfn_style.py --data FILE --backbone bert-base-uncased --edges similarity
    python examples/gpfn_style.py evaluate --run RUN              and every other command of mird_mosi.py

In the style of Mai, Xing, He, Zeng and Hu, "Analyzing Unaligned Multimodal Sequence via Graph Convolution and Graph Pooling
Fusion" (2020). No code of it was found, and only its abstract was read, so two stages are known: graph convolutions over the
steps of each modality, without recurrence, and a graph pooling fusion network, which pools the nodes of all modalities to a
joint vector. The rest is chosen here. A node becomes the mean of its neighbors, and `--edges` says which these are; nodes of
all modalities are neighbors where they are similar; and each is assigned to clusters by shares that are learnt, as in DiffPool
(Ying et al., NeurIPS 2018). So the results are no reproduction of the numbers in that paper.

Words are those of a text encoder that learns too; frames are standardised by the training split; padding belongs to no graph.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import torch
from mult import one_after_the_other, sequences_of
from torch import Tensor, nn

from disentangle import Masked, Model, Rows
from disentangle.experiments import Experiment, run_program, standardize_frames
from disentangle.nn import (
    GraphConvolution,
    SimilarityAdjacency,
    Standardize,
    TemporalConvolution,
    band_adjacency,
    mean_adjacency,
)
from disentangle.nn.backbones import as_backbone
from disentangle.tasks import Task, as_task


class GPFNStyle(Model):
    def __init__(
        self,
        backbone: Any,
        sizes: dict[str, int],
        task: Task | dict[str, Any],
        *,
        d=64,
        layers=2,
        edges: Literal["band", "similarity"] = "band",
        width=2,
        clusters=(16, 4),
        dropout=0.1,
    ):
        super().__init__()
        self.backbone, self.task = as_backbone(backbone), as_task(task)
        self.standardize = nn.ModuleDict({m: Standardize(size) for m, size in sizes.items()})
        widths = {"text": self.backbone.config.hidden_size, **sizes}
        self.nodes = nn.ModuleDict({m: TemporalConvolution(size, d) for m, size in widths.items()})
        self.dropout = nn.Dropout(dropout)
        self.graphs = nn.ModuleDict({m: StepGraph(d, layers, edges, width) for m in widths})
        self.joint_edges = SimilarityAdjacency(d)
        self.pools = nn.ModuleList(SoftAssignment(d, n) for n in clusters)
        self.head = nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Dropout(dropout), nn.Linear(d, self.task.outputs))

    def forward(self, batch) -> dict[str, Tensor]:
        graphs = []
        for m, sequence in sequences_of(self, batch).items():
            nodes = self.nodes[m](sequence)
            graphs.append(self.graphs[m](Masked(self.dropout(nodes.values), nodes.mask)))
        nodes = one_after_the_other(graphs)
        adjacency = self.joint_edges(nodes)
        for pool in self.pools:
            nodes, adjacency = pool(nodes, adjacency)
        return {"joint": nodes.mean()}

    def present(self, batch) -> dict[str, Tensor]:
        return {"joint": torch.stack([batch.present[m] for m in self.nodes]).any(0)}

    def predict(self, variables) -> Tensor:
        return self.head(variables["joint"]).squeeze(1)

    def losses(self, variables, batch) -> dict[str, Rows]:
        return {"Y": self.task.loss(self.predict(variables), batch.labels, batch.labeled)}


class StepGraph(nn.Module):
    """The steps of a modality after graph convolutions among themselves."""

    def __init__(self, d: int, layers: int, edges: Literal["band", "similarity"], width: int):
        super().__init__()
        self.width, self.similarity = width, SimilarityAdjacency(d) if edges == "similarity" else None
        self.layers = nn.ModuleList(GraphLayer(d) for _ in range(layers))

    def forward(self, nodes: Masked) -> Masked:
        adjacency = self.similarity(nodes) if self.similarity else band_adjacency(nodes, self.width)
        mean = mean_adjacency(adjacency)
        for layer in self.layers:
            nodes = layer(nodes, mean)
        return nodes


class GraphLayer(nn.Module):
    def __init__(self, d: int):
        super().__init__()
        self.convolution, self.norm = GraphConvolution(d, d), nn.LayerNorm(d)

    def forward(self, nodes: Masked, adjacency: Tensor) -> Masked:
        return Masked(self.norm(self.convolution(nodes, adjacency).values).relu(), nodes.mask)


class SoftAssignment(nn.Module):
    """A graph as one of fewer nodes, clusters: each node belongs to each of them by a share that is learnt."""

    def __init__(self, d: int, clusters: int):
        super().__init__()
        self.assign, self.layer = GraphConvolution(d, clusters), GraphLayer(d)

    def forward(self, nodes: Masked, adjacency: Tensor) -> tuple[Masked, Tensor]:
        """The clusters `(B, K, d)` after a convolution, all of them real, and their adjacency `(B, K, K)`."""
        scores = self.assign(nodes, mean_adjacency(adjacency)).values
        shares = torch.where(nodes.mask.unsqueeze(2), scores.softmax(2), 0)
        pooled, adjacency = shares.mT @ nodes.values, shares.mT @ adjacency @ shares
        every = torch.ones(pooled.shape[:2], dtype=torch.bool, device=pooled.device)
        return self.layer(Masked(pooled, every), mean_adjacency(adjacency)), adjacency


def add_options(method) -> None:
    add = method.add_argument
    add("--layers", type=int, default=2, help="of the graph of each modality (default: %(default)s)")
    add(
        "--edges",
        choices=("band", "similarity"),
        default="band",
        help="whether the steps nearby are neighbors, or those that are alike (default: %(default)s)",
    )
    add("--width", type=int, default=2, help="how far a neighbor is at most, in steps (default: %(default)s)")
    add("--dropout", type=float, default=0.1, help="of nodes, and before the last layer (default: %(default)s)")


EXPERIMENT = Experiment(
    build=GPFNStyle,
    description=__doc__,
    options=add_options,
    arguments=lambda options: {name: getattr(options, name) for name in ("layers", "edges", "width", "dropout")},
    prepare=standardize_frames,
    objective=lambda options: lambda losses, penalties: losses["Y"].mean(),
    defaults={"lr": 1e-4, "epochs": 40, "backbone": "bert-base-uncased"},
    unlabeled=False,
)
main = partial(run_program, EXPERIMENT)

if __name__ == "__main__":
    raise SystemExit(main())
