"""TSD-style: subspaces for what all modalities share, what two of them share, and what one has alone, from the library's parts.

    python examples/tsd_style.py                                  trains on the embedded synthetic set
    python examples/tsd_style.py --data FILE --backbone bert-base-uncased
    python examples/tsd_style.py evaluate --run RUN               and every other command of mird_mosi.py

After Meng et al., "Tri-Subspaces Disentanglement" (CVPR 2026, arXiv 2602.19585). C_m is what modality m has in common with
all, by one encoder for all; S_m_n what it shares with modality n, by one encoder for each pair; P_m is its own. A supervisor,
with which the encoders cooperate, tells from a vector which of the three kinds it is of. What is common, or shared by two,
shall be alike in its modalities; private vectors shall be independent of one another (HSIC), and the three kinds of each
modality uncorrelated. Each subspace attends to all others, and a gate weighs them, row by row, for the prediction.

A style, not a reproduction: what is known is the abstract and a third party's note on the paper; no code was found. Chosen
here are the encoders (a convolution, its mean over time, two layers), one classifier of three kinds as the supervisor, the
mean of S_m_n and S_n_m as the vector of a pair, distances as means over features, all sizes, and the weights of the losses,
which the paper tunes on validation data and does not give.

Rows without a modality are in none of its losses, and pairs take part in the fusion where a row has both. Frames are
standardised by the training split; a number is learnt by its squared error.
"""

from __future__ import annotations

from functools import partial
from itertools import combinations, permutations
from typing import Any

import torch
from mfsa_style import cross_entropy
from mult import sequences_of
from torch import Tensor, nn

from disentangle import HSIC, FeatureCorrelation, Masked, Model, Pairwise, Rows
from disentangle.experiments import Experiment, run_program, standardize_frames
from disentangle.nn import Standardize, TemporalConvolution
from disentangle.nn.backbones import as_backbone
from disentangle.tasks import Task, as_task


class TSDStyle(Model):
    def __init__(
        self, backbone: Any, sizes: dict[str, int], task: Task | dict[str, Any], *, d=64, heads=4, dropout=0.1
    ):
        super().__init__()
        self.backbone, self.task = as_backbone(backbone), as_task(task)
        widths = {"text": self.backbone.config.hidden_size, **sizes}
        self.names, self.pairs = list(widths), list(combinations(widths, 2))
        self.standardize = nn.ModuleDict({m: Standardize(size) for m, size in sizes.items()})
        self.project = nn.ModuleDict({m: TemporalConvolution(width, d, 3) for m, width in widths.items()})
        self.common = two_layers(d, d)
        self.shared = nn.ModuleDict({f"{a}_{b}": two_layers(d, d) for a, b in self.pairs})
        self.private = nn.ModuleDict({m: two_layers(d, d) for m in widths})
        self.supervisor = two_layers(d, 3)
        self.fusion = GatedCrossAttention(d, heads, dropout)
        self.head = nn.Sequential(nn.Dropout(dropout), two_layers(d, self.task.outputs))

    def forward(self, batch) -> dict[str, Any]:
        read = sequences_of(self, batch)
        steps = {m: self.project[m](read[m]) for m in self.names}
        means = {m: Masked(x.values.relu(), x.mask).mean() for m, x in steps.items()}
        variables = {f"C_{m}": self.common(means[m]) for m in self.names}
        variables |= {f"P_{m}": self.private[m](means[m]) for m in self.names}
        for a, b in self.pairs:
            encoder = self.shared[f"{a}_{b}"]
            variables |= {f"S_{a}_{b}": encoder(means[a]), f"S_{b}_{a}": encoder(means[b])}
        has = {m: batch.present[m].to(batch.labels.device, non_blocking=True) for m in self.names}
        return {**variables, "_has": has}

    def present(self, batch) -> dict[str, Tensor]:
        shared = {f"S_{m}_{other}": batch.present[m] for m, other in permutations(self.names, 2)}
        return {f"{kind}_{m}": batch.present[m] for m in self.names for kind in "CP"} | shared

    def predict(self, variables) -> Tensor:
        has, vectors = variables["_has"], [variables[f"{kind}_{m}"] for kind in "CP" for m in self.names]
        vectors += [(variables[f"S_{a}_{b}"] + variables[f"S_{b}_{a}"]) / 2 for a, b in self.pairs]
        there = [has[m] for _ in "CP" for m in self.names] + [has[a] & has[b] for a, b in self.pairs]
        return self.head(self.fusion(torch.stack(vectors, 1), torch.stack(there, 1))).squeeze(1)

    def losses(self, variables, batch) -> dict[str, Rows]:
        losses, has = {"Y": self.task.loss(self.predict(variables), batch.labels, batch.labeled)}, variables["_has"]
        for m in self.names:
            shared = [f"S_{m}_{other}" for other in self.names if other != m]
            kinds = [(f"C_{m}", 0), *((name, 1) for name in shared), (f"P_{m}", 2)]
            wrong = [cross_entropy(self.supervisor(variables[name]), kind) for name, kind in kinds]
            losses[f"kind_{m}"] = Rows(torch.stack(wrong).sum(0), has[m].float())
        for a, b in self.pairs:
            common, shared = (f"C_{a}", f"C_{b}"), (f"S_{a}_{b}", f"S_{b}_{a}")
            apart = [(variables[x] - variables[y]).float().square().mean(1) for x, y in (common, shared)]
            losses[f"alike_{a}_{b}"] = Rows(torch.stack(apart).sum(0), (has[a] & has[b]).float())
        return losses


class GatedCrossAttention(nn.Module):
    """Vectors `(B, K, d)` to one, `(B, d)`: each attends to all others, and the sum is weighted by a gate, row by row.

    Those that a row does not have, by `has: (B, K)`, take no part; a row that has none is 0.
    """

    def __init__(self, d: int, heads: int, dropout: float):
        super().__init__()
        self.attention = nn.MultiheadAttention(d, heads, dropout, batch_first=True)
        self.norm, self.gate = nn.LayerNorm(d), nn.Linear(d, 1)

    def forward(self, vectors: Tensor, has: Tensor) -> Tensor:
        x = torch.where(has.unsqueeze(2), vectors, 0)
        others = has.unsqueeze(1) & ~torch.eye(has.shape[1], dtype=torch.bool, device=has.device)
        some = others.any(2, keepdim=True)
        # Where there is no other, all take part, since the softmax of none is NaN; what they give is dropped.
        blocked = (~others & some).repeat_interleave(self.attention.num_heads, 0)
        found, _ = self.attention(x, x, x, attn_mask=blocked, need_weights=False)
        x = self.norm(x + torch.where(some, found, 0))
        scores = self.gate(x).squeeze(2)
        weights = scores.masked_fill(~has, torch.finfo(scores.dtype).min).softmax(1) * has
        return (weights.unsqueeze(2) * x).sum(1)


def two_layers(size: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, out))


def penalty_for(model: TSDStyle, options) -> nn.ModuleDict:
    """Private vectors shall be independent of one another; what a modality has of the three kinds uncorrelated."""
    apart = [(f"C_{m}", f"P_{m}") for m in model.names]
    for m, other in permutations(model.names, 2):
        apart += [(f"C_{m}", f"S_{m}_{other}"), (f"S_{m}_{other}", f"P_{m}")]
    kinds = {"apart": Pairwise({pair: FeatureCorrelation() for pair in apart})}
    if model.pairs:
        kinds["independent"] = Pairwise({(f"P_{a}", f"P_{b}"): HSIC() for a, b in model.pairs})
    return nn.ModuleDict(kinds)


def objective_for(options):
    def objective(losses, penalties) -> Tensor:
        kind, alike = ([loss.mean() for name, loss in losses.items() if name.startswith(k)] for k in ("kind", "alike"))
        loss = losses["Y"].mean() + options.supervisor * torch.stack(kind).mean() + options.alike * sum(alike)
        for name in penalties:
            loss = loss + getattr(options, name) * sum(penalties[name].values())
        return loss

    return objective


def add_options(method) -> None:
    weights = {
        "supervisor": (0.1, "the supervisor's error"),
        "alike": (0.1, "the distances within a subspace"),
        "independent": (1.0, "HSIC between private vectors"),
        "apart": (1.0, "the correlation of subspaces"),
    }
    for name, (weight, what) in weights.items():
        method.add_argument(f"--{name}", type=float, default=weight, help=f"weight of {what} (default: {weight:g})")


EXPERIMENT = Experiment(
    build=TSDStyle,
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
