"""MIRD: mutual-information-based representation disentanglement for unaligned multimodal sequences, whole.

    python examples/mird_mosi.py                                  trains on an embedded synthetic set, in minutes on a CPU
    python examples/mird_mosi.py --data FILE --backbone bert-base-uncased
    python examples/mird_mosi.py --resume RUN                     goes on where a run stopped, for whatever reason
    python examples/mird_mosi.py --seeds 0 1 2 3 4 --at-once 2    one run per seed, and their mean ± standard deviation
    python examples/mird_mosi.py evaluate --run RUN               the metrics of a run
    python examples/mird_mosi.py predict --run RUN --text "…"     what it says of one's own recordings, and why
    torchrun --nproc-per-node 2 examples/mird_mosi.py             the same training by two processes, which share each batch

The paper is Qian et al., "Mutual Information-based Representations Disentanglement for Unaligned Multimodal Language
Sequences"; the numbers of equations below are its own. L, A, V and S are its language, audio, visual and shared latents.
A data set may as well have no audio, no vision, or others beside them: each modality has a latent of its own.
What the training labels are (sentiment in [-3, 3] or [-1, 1], two classes, ...) decides on the metrics; both are printed first.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from disentangle import (
    CLUBEstimator,
    MAGTextEncoder,
    Masked,
    Model,
    OrthogonalLoss,
    Pairwise,
    Rows,
    SequenceDecoder,
    SequenceEncoder,
    Standardize,
)
from disentangle.experiments import Experiment, run_program
from disentangle.nn import masked_cross_entropy, masked_mse
from disentangle.nn.backbones import as_backbone
from disentangle.tasks import SENTIMENT, Task, as_task

LATENTS = {"text": "L", "audio": "A", "vision": "V"}  # those of other modalities have the modality's name
EPS = 1e-6  # keeps the logarithm of a loss that reaches 0 finite
BATCH_SIZE, INNER_STEPS = 32, 5


def in_order(latents: Iterable[str]) -> list[str]:
    """The paper's order: V, L, A; and others behind them."""
    latents = list(latents)
    return [m for m in ("V", "L", "A") if m in latents] + [m for m in latents if m not in ("V", "L", "A")]


def pairs_of(order: list[str]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Which latents must not tell about one another, and which inputs about S; (x, y): q(y|x)."""
    return [*combinations(order, 2), *((m, "S") for m in order)], [(f"X_{m}", "S") for m in order]


LATENT_PAIRS, INPUT_PAIRS = pairs_of(["V", "L", "A"])  # (V,L) (V,A) (L,A) (V,S) (L,S) (A,S); (X_V,S) (X_L,S) (X_A,S)


def latent_of(modality: str) -> str:
    """The name of a modality's latent."""
    taken = modality in ("text", "L", "A", "V", "S", "Y") or modality.startswith(("X_", "_"))
    if not modality or taken or set(modality) & set(".;()") or modality in dir(nn.ModuleDict()):
        raise ValueError(
            "expected a modality's name without any of '. ; ( )', other than text, L, A, V, S, Y, X_..., _... and what torch "
            f"uses itself (type, values, ...), got {modality!r}"
        )
    return LATENTS.get(modality, modality)


def nothing(batch) -> dict[str, Masked]:
    """What is injected where text is the only modality: one that no row has."""
    frames = batch.labels.new_zeros(len(batch), 1, 1)
    return {"nothing": Masked(frames, torch.zeros_like(frames[..., 0], dtype=torch.bool))}


class MIRD(Model):
    """A private encoder and a decoder per modality, one shared encoder, and a predictor, eq. 1 to 19.

    `sizes` are those of the frames of each modality beside text, by name. What a row lacks is masked everywhere.
    """

    def __init__(
        self,
        backbone: Any,
        sizes: dict[str, int],
        task: Task | dict[str, Any] = SENTIMENT,
        *,
        d=64,
        inject_after: int | None = None,
        reconstruct=True,
    ):
        super().__init__()
        backbone, self.task = as_backbone(backbone), as_task(task)
        words, vocabulary = backbone.config.hidden_size, backbone.config.vocab_size
        self.others = {latent_of(name): name for name in sizes}
        self.modalities = {"L": "text", **self.others}
        features = {"L": words, **{m: sizes[name] for m, name in self.others.items()}}
        frames = {m: features[m] for m in self.others}
        self.standardize = nn.ModuleDict({m: Standardize(frames[m]) for m in frames})
        self.private = nn.ModuleDict({m: SequenceEncoder(features[m], d) for m in features})
        self.shared = MAGTextEncoder(backbone, frames or {"nothing": 1}, d, inject_after=inject_after)
        width = (len(features) + 1) * d
        self.regressor = nn.Sequential(nn.Linear(width, d), nn.ReLU(), nn.Linear(d, self.task.outputs))
        outputs = {**features, "L": vocabulary} if reconstruct else {}
        self.decoders = nn.ModuleDict({m: SequenceDecoder(2 * d, outputs[m]) for m in outputs})
        self.sizes = {**dict.fromkeys((*features, "S"), d), **{f"X_{m}": size for m, size in features.items()}}
        self.order = in_order(features)

    def forward(self, batch) -> dict[str, Any]:
        frames = {m: self.standardize[m](batch.sequences[name]) for m, name in self.others.items()}
        inputs = {"L": Masked(self.shared.word_embeddings(batch.words.values), batch.words.mask), **frames}
        latents = {m: self.private[m](*x) for m, x in inputs.items()}  # eq. 1
        latents["S"] = self.shared(**batch.tokens, others=frames or nothing(batch), lengths=batch.lengths)  # eq. 2 to 7
        return {**latents, **{f"X_{m}": x.detach().mean() for m, x in inputs.items()}, "_frames": frames}

    def present(self, batch) -> dict[str, Tensor]:
        has = {m: batch.present[name] for m, name in self.modalities.items()}
        return {**has, **{f"X_{m}": rows for m, rows in has.items()}, "S": torch.stack([*has.values()]).any(0)}

    def predict(self, variables) -> Tensor:
        return self.regressor(torch.cat([variables[m] for m in (*self.order, "S")], 1)).squeeze(1)  # eq. 16 and 17

    def losses(self, variables, batch) -> dict[str, Rows]:
        losses = {"Y": self.task.loss(self.predict(variables), batch.labels, batch.labeled)}  # eq. 18, on labelled rows
        for m, decoder in self.decoders.items():  # eq. 8 and 19, on all rows that have the modality
            assert isinstance(decoder, SequenceDecoder)
            rows = batch.rows(self.modalities[m])
            if not len(rows):
                continue
            z = torch.cat([variables[m], variables["S"]], 1)[rows]
            if m == "L":
                words = batch.words.select(rows)
                hidden = decoder.hidden(z, words.mask.shape[1])
                losses["recon_L"] = masked_cross_entropy(hidden, decoder.output, words)
            else:
                target = variables["_frames"][m].select(rows)
                losses[f"recon_{m}"] = masked_mse(decoder(z, target.mask.shape[1]), target)
        return losses


def penalty_for(model: MIRD, kind: str, input_pairs: bool) -> Pairwise | None:
    """What must not tell about what: the paper's nine pairs for CLUB, the six of equal size for orthogonality, eq. 9 to 15."""
    latents, inputs = pairs_of(model.order)
    if kind == "none":
        return None
    if kind == "orthogonal":
        return Pairwise({pair: OrthogonalLoss() for pair in latents})
    pairs = latents + inputs if input_pairs else latents
    return Pairwise({(x, y): CLUBEstimator(model.sizes[x], model.sizes[y], log_variance="tanh") for x, y in pairs})


def objective_for(alpha: float):
    """Eq. 18 to 22: logarithms balance the losses; an information can be negative and has none."""

    def objective(losses, penalties) -> Tensor:
        balanced = torch.stack([(loss.mean() + EPS).log() for loss in losses.values()]).sum()
        return balanced + alpha * sum(penalties.values())

    return objective


def standardize(model: MIRD, train) -> None:
    """Fits the statistics of frames to the training split."""
    for m, layer in model.standardize.items():
        assert isinstance(layer, Standardize)
        layer.fit(train.sequences[model.modalities[m]])


def add_options(method) -> None:
    add = method.add_argument
    add(
        "--inject-layer", type=int, help="inject other modalities after this layer; 0: embeddings (default: the middle)"
    )
    add("--penalty", choices=("club", "orthogonal", "none"), default="club", help="(default: %(default)s)")
    add("--alpha", type=float, default=0.1, help="weight of the penalty (default: %(default)s)")
    add("--no-reconstruction", action="store_true", help="leave out the decoders")
    add("--no-input-mi", action="store_true", help="leave out the (X^m, S) terms of the penalty")


EXPERIMENT = Experiment(
    build=MIRD,
    description=__doc__,
    options=add_options,
    arguments=lambda options: {"inject_after": options.inject_layer, "reconstruct": not options.no_reconstruction},
    prepare=standardize,
    penalty=lambda model, options: penalty_for(model, options.penalty, not options.no_input_mi),
    objective=lambda options: objective_for(options.alpha),
    batch_size=BATCH_SIZE,
    inner_steps=INNER_STEPS,
)
main = partial(run_program, EXPERIMENT)

if __name__ == "__main__":
    raise SystemExit(main())
