"""DLF: shared and private parts, and words whose private part attends to that of each modality, from the library's parts.

    python examples/dlf.py                                        trains on the embedded synthetic set
    python examples/dlf.py --data FILE --backbone bert-base-uncased
    python examples/dlf.py evaluate --run RUN                     and every other command of mird_mosi.py

The paper is Wang et al., "DLF: Disentangled-Language-Focused Multimodal Sentiment Analysis" (AAAI 2025). Each modality has a
private encoder, and one encoder is shared by all. Four regularisers keep them apart: both together rebuild the sequence; what
is rebuilt has the private part of the original; steps of the two do not point in one direction; and shared vectors of one
label are closer than those of others. P_text is of words that attend to themselves, P_m of words that attend to the frames
of m, S_m what is shared. There is a prediction from all of them, and one from each P_m and from what is shared.

Where this differs from the published code: private and shared part are compared step by step, where the code compares rows
of a fixed width, cut from sequences of fixed length; padding plays no part; S_m is a mean over steps; the margin loss is
taken over pairs of modalities in the rows that have both, since a row may lack one. Without words there is no P_m, and the
prediction is made from what is shared. Attention that the code declares and does not use is not there. Frames are
standardised by the training split; a number is learnt by its squared error, not the absolute one.
"""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import Any

import torch
from mult import ResidualHead, sequences_of
from torch import Tensor, nn
from torch.nn import functional as F

from disentangle import Masked, Model, Pairwise, Rows
from disentangle.dependence import CosineMarginLoss
from disentangle.experiments import Experiment, run_program, standardize_frames
from disentangle.nn import (
    CrossModalTransformer,
    Standardize,
    TemporalConvolution,
    last_step,
    masked_mse,
    sinusoidal_positions,
)
from disentangle.nn.backbones import as_backbone
from disentangle.tasks import Classes, Task, as_task


class DLF(Model):
    def __init__(
        self,
        backbone: Any,
        sizes: dict[str, int],
        task: Task | dict[str, Any],
        *,
        d=50,
        layers=2,
        heads=10,
        dropout=0.1,
    ):
        super().__init__()
        self.backbone, self.task = as_backbone(backbone), as_task(task)
        widths = {"text": self.backbone.config.hidden_size, **sizes}
        drops = {"dropout": dropout, "attention_dropout": dropout}
        transformer = partial(CrossModalTransformer, d, layers, heads, **drops)
        self.names, outputs = list(widths), self.task.outputs
        self.standardize = nn.ModuleDict({m: Standardize(size) for m, size in sizes.items()})
        self.project = nn.ModuleDict({m: TemporalConvolution(width, d, 5) for m, width in widths.items()})
        self.private = nn.ModuleDict({m: transformer() for m in widths})
        self.shared = transformer()
        self.rebuild = nn.ModuleDict({m: TemporalConvolution(2 * d, d) for m in widths})
        self.focus = nn.ModuleDict({m: transformer() for m in widths})
        self.gate = nn.ModuleDict({m: nn.Sequential(nn.Linear(d, d), nn.Sigmoid()) for m in widths})
        self.heads = nn.ModuleDict({m: ResidualHead(d, outputs, dropout) for m in widths})
        self.shared_head = ResidualHead(len(widths) * d, outputs, dropout)
        self.head = ResidualHead(2 * len(widths) * d, outputs, dropout)

    def forward(self, batch) -> dict[str, Any]:
        read = sequences_of(self, batch)
        steps = {m: self.project[m](read[m]) for m in self.names}
        private = {m: self.private[m](sinusoidal_positions(steps[m])) for m in self.names}
        shared = {m: self.shared(sinusoidal_positions(steps[m])) for m in self.names}
        placed = {m: sinusoidal_positions(private[m]) for m in self.names}
        words = {m: self.focus[m](placed["text"], None if m == "text" else placed[m]) for m in self.names}
        has = {name: there.to(batch.labels.device, non_blocking=True) for name, there in self.present(batch).items()}
        latents = {f"P_{m}": last_step(words[m]) for m in self.names} | {f"S_{m}": shared[m].mean() for m in self.names}
        latents = {name: torch.where(has[name].unsqueeze(1), latent, 0) for name, latent in latents.items()}
        label = batch.labels.long() if isinstance(self.task, Classes) else batch.labels
        return {**latents, "label": label, "_steps": steps, "_private": private, "_shared": shared, "_has": has}

    def present(self, batch) -> dict[str, Tensor]:
        has = batch.present
        own = {f"P_{m}": has["text"] & has[m] for m in self.names} | {f"S_{m}": has[m] for m in self.names}
        return {**own, "label": batch.has_label}

    def predict(self, variables) -> Tensor:
        gated = [self.gate[m](variables[f"P_{m}"]) * variables["_has"][f"P_{m}"].unsqueeze(1) for m in self.names]
        return self.head(torch.cat([*gated, self.all_shared(variables)], 1)).squeeze(1)

    def all_shared(self, variables) -> Tensor:
        return torch.cat([variables[f"S_{m}"] for m in self.names], 1)

    def losses(self, variables, batch) -> dict[str, Rows]:
        labels, labeled = batch.labels, batch.labeled
        losses = {"Y": self.task.loss(self.predict(variables), labels, labeled)}
        losses["Y_shared"] = self.task.loss(self.shared_head(self.all_shared(variables)).squeeze(1), labels, labeled)
        for m in self.names:
            steps, private, shared = (variables[kind][m] for kind in ("_steps", "_private", "_shared"))
            scores, has = self.heads[m](variables[f"P_{m}"]).squeeze(1), variables["_has"]
            losses[f"Y_{m}"] = self.task.loss(scores, labels, labeled * has[f"P_{m}"])
            rebuilt = self.rebuild[m](Masked(torch.cat([private.values, shared.values], 2), steps.mask))
            again = self.private[m](sinusoidal_positions(rebuilt))
            losses[f"recon_{m}"] = masked_mse(rebuilt.values, steps)
            losses[f"private_{m}"] = masked_mse(again.values, private)
            overlap = Masked(
                F.cosine_similarity(private.values.float(), shared.values.float(), dim=2).relu(), steps.mask
            )
            losses[f"apart_{m}"] = Rows(overlap.mean(), has[f"S_{m}"].float())
        return losses


def penalty_for(model: DLF, options) -> Pairwise:
    """What is shared shall tell by its direction what the label is, whichever modality it is of."""
    groups = list(combinations(model.names, 2)) or [("text",)]
    return Pairwise({(*(f"S_{m}" for m in group), "label"): CosineMarginLoss() for group in groups})


def objective_for(options):
    def objective(losses, penalties) -> Tensor:
        def total(*kinds: str) -> Tensor:
            return torch.stack([loss.mean() for name, loss in losses.items() if name.split("_")[0] in kinds]).sum()

        margin = sum(penalties.values()) / max(len(penalties), 1)
        apart = total("recon", "private") + 0.1 * (margin + total("apart"))
        return total("Y") + (options.text - 1) * losses["Y_text"].mean() + options.regularization * apart

    return objective


def add_options(method) -> None:
    add = method.add_argument
    add("--text", type=float, default=3.0, help="weight of the prediction from P_text (default: %(default)s)")
    add("--regularization", type=float, default=0.1, help="weight of the four regularisers (default: %(default)s)")


EXPERIMENT = Experiment(
    build=DLF,
    description=__doc__,
    options=add_options,
    prepare=standardize_frames,
    penalty=penalty_for,
    objective=objective_for,
    defaults={"lr": 1e-4, "epochs": 100, "backbone": "bert-base-uncased"},
    unlabeled=False,
)
main = partial(run_program, EXPERIMENT)

if __name__ == "__main__":
    raise SystemExit(main())
