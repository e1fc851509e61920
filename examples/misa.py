"""MISA: modality-invariant and modality-specific representations, from the library's parts.

    python examples/misa.py                                       trains on the embedded synthetic set
    python examples/misa.py --data FILE --backbone bert-base-uncased
    python examples/misa.py evaluate --run RUN                    and every other command of mird_mosi.py

The paper is Hazarika, Zimmermann and Poria, "MISA: Modality-Invariant and -Specific Representations for Multimodal Sentiment
Analysis" (ACM MM 2020). S_m is what modality m shares, P_m what is its own. Two kinds of penalties: shared ones shall be
alike in distribution, and what is apart shall not correlate, feature by feature.

Where this differs from the published code: sequences are read by this library's LSTM, not by two stacked bidirectional ones;
the hidden layer of the fusion's transformer has 4 d units, 512, and not 2048, torch's default; dropout is 0.1 everywhere,
where the head has 0.5 there; the difference loss is divided by N², so its weight does not depend on the batch: 300 is 0.3 N²
at N = 32, and its gradient goes through the lengths that rows are divided by, which are constants there.
"""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from disentangle import CentralMomentDiscrepancy, FeatureCorrelation, Masked, Model, Pairwise, Rows
from disentangle.experiments import Experiment, run_program, standardize_frames
from disentangle.nn import SequenceEncoder, Standardize
from disentangle.nn.backbones import as_backbone
from disentangle.tasks import Task, as_task


class MISA(Model):
    def __init__(self, backbone: Any, sizes: dict[str, int], task: Task | dict[str, Any], *, d=128, dropout=0.1):
        super().__init__()
        self.backbone, self.task = as_backbone(backbone), as_task(task)
        self.names = ["text", *sizes]
        self.standardize = nn.ModuleDict({m: Standardize(size) for m, size in sizes.items()})
        self.read = nn.ModuleDict({m: SequenceEncoder(size, d) for m, size in sizes.items()})
        widths = {"text": self.backbone.config.hidden_size, **dict.fromkeys(sizes, d)}
        projections = {m: nn.Sequential(nn.Linear(widths[m], d), nn.ReLU(), nn.LayerNorm(d)) for m in widths}
        self.project = nn.ModuleDict(projections)
        self.shared = nn.Sequential(nn.Linear(d, d), nn.Sigmoid())
        self.private = nn.ModuleDict({m: nn.Sequential(nn.Linear(d, d), nn.Sigmoid()) for m in self.names})
        self.rebuild = nn.ModuleDict({m: nn.Linear(d, d) for m in self.names})
        self.fusion = nn.TransformerEncoderLayer(d, 2, 4 * d, dropout, batch_first=True)
        width, half = 2 * len(self.names) * d, len(self.names) * d
        self.head = nn.Sequential(
            nn.Linear(width, half), nn.Dropout(dropout), nn.ReLU(), nn.Linear(half, self.task.outputs)
        )

    def forward(self, batch) -> dict[str, Any]:
        ids, attended = batch.tokens["input_ids"], batch.tokens["attention_mask"]
        hidden = self.backbone(input_ids=ids, attention_mask=attended).last_hidden_state
        read = {"text": Masked(hidden, ~batch.tokens["special_tokens_mask"].bool()).mean()}
        for m in self.names[1:]:
            read[m] = self.read[m](*self.standardize[m](batch.sequences[m]))
        utterance = {m: self.project[m](read[m]) for m in self.names}
        shared = {f"S_{m}": self.shared(utterance[m]) for m in self.names}
        private = {f"P_{m}": self.private[m](utterance[m]) for m in self.names}
        has = torch.stack([batch.present[m] for m in self.names], 1).to(read["text"].device, non_blocking=True)
        return {**shared, **private, "_utterance": utterance, "_has": has}

    def present(self, batch) -> dict[str, Tensor]:
        return {f"{kind}_{m}": batch.present[m] for m in self.names for kind in "SP"}

    def predict(self, variables) -> Tensor:
        tokens = torch.stack([variables[f"{kind}_{m}"] for kind in "PS" for m in self.names], 1)
        has = variables["_has"].repeat(1, 2)
        lonely = ~has.any(1, keepdim=True)  # a row without any modality attends to what there is: nothing but biases
        fused = self.fusion(tokens * has.unsqueeze(2), src_key_padding_mask=~(has | lonely))
        return self.head((fused * has.unsqueeze(2)).flatten(1)).squeeze(1)

    def losses(self, variables, batch) -> dict[str, Rows]:
        losses = {"Y": self.task.loss(self.predict(variables), batch.labels, batch.labeled)}
        for i, m in enumerate(self.names):
            rebuilt = self.rebuild[m](variables[f"S_{m}"] + variables[f"P_{m}"])
            error = F.mse_loss(rebuilt, variables["_utterance"][m], reduction="none").float().mean(1)
            losses[f"recon_{m}"] = Rows(error, variables["_has"][:, i].float())
        return losses


def penalty_for(model: MISA, options) -> nn.ModuleDict:
    """What is shared shall be alike, in distribution; what is private apart from it, and from what else is private."""
    pairs = list(combinations(model.names, 2))
    apart = [*((f"S_{m}", f"P_{m}") for m in model.names), *((f"P_{a}", f"P_{b}") for a, b in pairs)]
    kinds = {"apart": Pairwise({pair: FeatureCorrelation() for pair in apart})}
    if pairs:
        kinds["alike"] = Pairwise({(f"S_{a}", f"S_{b}"): CentralMomentDiscrepancy(width=1.0) for a, b in pairs})
    return nn.ModuleDict(kinds)


def objective_for(options):
    def objective(losses, penalties) -> Tensor:
        rebuilt = [loss.mean() for name, loss in losses.items() if name != "Y"]
        alike, apart = penalties.get("alike", {}), penalties["apart"]
        similarity = sum(alike.values()) / max(len(alike), 1)
        difference = sum(apart.values())
        loss = losses["Y"].mean() + options.reconstruction * torch.stack(rebuilt).mean()
        return loss + options.similarity * similarity + options.difference * difference

    return objective


def add_options(method) -> None:
    for name, weight in (("similarity", 1.0), ("difference", 300.0), ("reconstruction", 1.0)):
        method.add_argument(
            f"--{name}", type=float, default=weight, help=f"weight of the {name} loss (default: {weight:g})"
        )


EXPERIMENT = Experiment(
    build=MISA,
    description=__doc__,
    options=add_options,
    prepare=standardize_frames,
    penalty=penalty_for,
    objective=objective_for,
    defaults={"lr": 1e-4, "epochs": 100, "backbone": "bert-base-uncased"},
)
main = partial(run_program, EXPERIMENT)

if __name__ == "__main__":
    raise SystemExit(main())
