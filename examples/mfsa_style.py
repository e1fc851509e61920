"""MFSA-style: what is specific to each modality and what no discriminator can assign to one, from the library's parts.

    python examples/mfsa_style.py                                 trains on the embedded synthetic set
    python examples/mfsa_style.py --data FILE --backbone bert-base-uncased
    python examples/mfsa_style.py evaluate --run RUN              and every other command of mird_mosi.py

After Yang, Kuang, Huang and Zhang, "Learning Modality-Specific and -Agnostic Representations for Asynchronous Multimodal
Language Sequences" (ACM MM 2022). P_m is specific to modality m, C_m agnostic: one encoder for all modalities makes it, after
the steps of m have attended to those of the others. Rows of P_m and C_m shall be orthogonal. Of two discriminators, one
assigns vectors to modalities: P_m shall help it and C_m fool it. The other one says how much a row of C_m counts there: the
less, the surer it is of its modality. A transformer fuses all vectors.

A style, not a reproduction: there is no public code, and the paper itself was not at hand. What is known is its abstract, what
others say of it, and an unofficial code of its successor. What is known from that code alone is simplified: attention is
plain, where the code predicts attention maps from those of the layer before; it is to all other modalities at once, where
the code has three stages; no recurrence comes before it, and modalities have no weights. Sizes, depth and the weights of the
losses are a choice.

Mended: that code never trains the second discriminator, which here learns by its own cross entropy, from detached vectors.
Padding plays no part; frames are standardised by the training split; a number is learnt by its squared error.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from mult import one_after_the_other, sequences_of
from torch import Tensor, nn
from torch.nn import functional as F

from disentangle import Masked, ModalityDiscriminator, Model, OrthogonalLoss, Pairwise, Rows
from disentangle.dependence import reverse_gradient
from disentangle.experiments import Experiment, run_program, standardize_frames
from disentangle.nn import CrossModalTransformer, Standardize, TemporalConvolution, sinusoidal_positions
from disentangle.nn.backbones import as_backbone
from disentangle.tasks import Task, as_task


class MFSAStyle(Model):
    def __init__(
        self,
        backbone: Any,
        sizes: dict[str, int],
        task: Task | dict[str, Any],
        *,
        d=40,
        vector_d=64,
        layers=2,
        heads=4,
        dropout=0.1,
    ):
        super().__init__()
        self.backbone, self.task = as_backbone(backbone), as_task(task)
        widths = {"text": self.backbone.config.hidden_size, **sizes}
        self.names = list(widths)
        drops = {"dropout": dropout, "attention_dropout": dropout}
        transformer = partial(CrossModalTransformer, layers=layers, heads=heads, **drops)
        self.standardize = nn.ModuleDict({m: Standardize(size) for m, size in sizes.items()})
        self.project = nn.ModuleDict({m: TemporalConvolution(width, d, 3) for m, width in widths.items()})
        self.attend_own = nn.ModuleDict({m: transformer(d) for m in widths})
        self.attend_others = nn.ModuleDict({m: transformer(d) for m in widths})
        self.specific = nn.ModuleDict({m: two_layers(d, vector_d) for m in widths})
        self.agnostic = two_layers(d, vector_d)
        modalities = max(2, len(widths))  # with text alone there is nothing to tell apart, and nothing to learn
        self.assign = ModalityDiscriminator(vector_d, modalities)
        self.weigh = ModalityDiscriminator(vector_d, modalities)
        self.fusion = transformer(vector_d)
        self.head = nn.Sequential(
            *(nn.Linear(2 * len(widths) * vector_d, vector_d), nn.Dropout(dropout), nn.ReLU()),
            nn.Linear(vector_d, self.task.outputs),
        )

    def forward(self, batch) -> dict[str, Any]:
        read = sequences_of(self, batch)
        steps = {m: sinusoidal_positions(self.project[m](x)) for m, x in read.items()}
        variables = {}
        for m in self.names:
            rest = [steps[other] for other in self.names if other != m]
            others = one_after_the_other(rest) if rest else None  # without any, a sequence attends to itself
            variables[f"P_{m}"] = self.specific[m](self.attend_own[m](steps[m]).mean())
            variables[f"C_{m}"] = self.agnostic(self.attend_others[m](steps[m], others).mean())
        has = torch.stack([batch.present[m] for m in self.names], 1).to(batch.labels.device, non_blocking=True)
        return {**variables, "_has": has}

    def present(self, batch) -> dict[str, Tensor]:
        return {f"{kind}_{m}": batch.present[m] for m in self.names for kind in "PC"}

    def predict(self, variables) -> Tensor:
        vectors = torch.stack([variables[f"{kind}_{m}"] for kind in "PC" for m in self.names], 1)
        fused = self.fusion(Masked(vectors, variables["_has"].repeat(1, 2)))
        return self.head(fused.values.flatten(1)).squeeze(1)

    def losses(self, variables, batch) -> dict[str, Rows]:
        losses = {"Y": self.task.loss(self.predict(variables), batch.labels, batch.labeled)}
        for i, m in enumerate(self.names):
            agnostic, has = variables[f"C_{m}"], variables["_has"][:, i].float()
            second = self.weigh.network(agnostic.detach())
            counts = 1 - second.softmax(1)[:, i].detach()
            fooled = cross_entropy(self.assign.network(reverse_gradient(agnostic)), i)
            losses[f"specific_{m}"] = Rows(cross_entropy(self.assign.network(variables[f"P_{m}"]), i), has)
            losses[f"agnostic_{m}"] = Rows(counts * fooled, has)
            losses[f"counts_{m}"] = Rows(cross_entropy(second, i), has)
        return losses


def two_layers(size: int, d: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, d), nn.GELU(), nn.Linear(d, d))


def cross_entropy(logits: Tensor, name: int) -> Tensor:
    """The cross entropy of each row, `(B,)`, all of which are of the class `name`."""
    return F.cross_entropy(logits, torch.full((len(logits),), name, device=logits.device), reduction="none")


def penalty_for(model: MFSAStyle, options) -> Pairwise:
    """What is specific to a modality shall be orthogonal to what it has in common with others."""
    return Pairwise({(f"P_{m}", f"C_{m}"): OrthogonalLoss() for m in model.names})


def objective_for(options):
    def objective(losses, penalties) -> Tensor:
        adversarial = [loss.mean() for name, loss in losses.items() if name != "Y"]
        loss = losses["Y"].mean() + options.adversarial * torch.stack(adversarial).sum()
        return loss + options.orthogonal * sum(penalties.values())

    return objective


def add_options(method) -> None:
    for name, weight in (("orthogonal", 0.02), ("adversarial", 0.03)):
        text = f"weight of the {name} losses, each a sum over modalities (default: {weight:g})"
        method.add_argument(f"--{name}", type=float, default=weight, help=text)


EXPERIMENT = Experiment(
    build=MFSAStyle,
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
