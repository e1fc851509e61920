"""MIRD: mutual-information-based representation disentanglement for unaligned multimodal sequences, whole.

    python examples/mird_mosi.py                                  trains on an embedded synthetic set, in minutes on a CPU
    python examples/mird_mosi.py --data FILE --backbone bert-base-uncased
    python examples/mird_mosi.py --preset independent             latents that hardly tell about one another
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

import argparse
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any, Literal

import torch
from torch import Tensor, nn

from disentangle import (
    CKA,
    HSIC,
    CLUBEstimator,
    DistanceCorrelation,
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
from disentangle.data import draw_hidden, hide, noise_like
from disentangle.experiments import TUNED, Experiment, run_program
from disentangle.networks import TwoLayers
from disentangle.nn import NoisyLatent, masked_cross_entropy, masked_linear_mse
from disentangle.nn.backbones import as_backbone
from disentangle.tasks import SENTIMENT, Task, as_task

LATENTS = {"text": "L", "audio": "A", "vision": "V"}  # those of other modalities have the modality's name
WITHOUT_ESTIMATORS = {
    "orthogonal": OrthogonalLoss,
    "hsic": HSIC,
    "cka": CKA,
    "distance-correlation": DistanceCorrelation,
}
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
    frames = batch.labels.new_zeros(batch.labels.shape[0], 1, 1)
    return {"nothing": Masked(frames, torch.zeros_like(frames[..., 0], dtype=torch.bool))}


class WordMean(nn.Module):
    """The mean of the words' vectors, through two layers: where word order says nothing, it learns from fewer rows."""

    def __init__(self, in_features: int, out_features: int):
        super().__init__()
        self.network = TwoLayers(in_features, 2 * out_features, out_features)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        return self.network(Masked(values, mask).mean())


class SteadyDecoder(nn.Module):
    """A vector as a sequence whose steps are all alike, by three layers: all but its course, and learnt in fewer steps."""

    def __init__(self, in_features: int, out_features: int, width: int):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.output = nn.Linear(width, out_features)

    def forward(self, z: Tensor, length: int) -> Tensor:
        return self.output(self.hidden(z, length))

    def hidden(self, z: Tensor, length: int) -> Tensor:
        return self.network(z).unsqueeze(1).expand(-1, length, -1)


class MIRD(Model):
    """A private encoder and a decoder per modality, one shared encoder, and a predictor, eq. 1 to 19.

    `sizes` are those of the frames of each modality beside text, by name. What a row lacks is masked everywhere.

    The paper has latents of one size, as wide as the networks, without noise, and S sees all. Otherwise `shared_d` is the size
    of S, `width` that of the networks' hidden layers, and `noise` what the latents carry beside a standard deviation of 1. In
    training, S does not see one of the modalities in as large a part of the rows as `hiding` says, and that modality is decoded
    from noise and S: cross-prediction, the losses `cross_m`. If `orderless`, z^L is computed from the mean of the words, and
    all steps of a modality are decoded alike. The prediction reads the latents with `dropout`; if `inject_from_zero`, words
    are not moved at first. Rows without a label serve the penalty and reconstruction, or one of them, as `unlabeled_for` says.
    """

    def __init__(
        self,
        backbone: Any,
        sizes: dict[str, int],
        task: Task | dict[str, Any] = SENTIMENT,
        *,
        d=64,
        shared_d: int | None = None,
        inject_after: int | None = None,
        reconstruct=True,
        width: int | None = None,
        orderless=False,
        noise: float | None = None,
        hiding=0.0,
        dropout=0.0,
        inject_from_zero=False,
        unlabeled_for: Literal["both", "penalty", "reconstruction"] = "both",
    ):
        super().__init__()
        backbone, self.task = as_backbone(backbone), as_task(task)
        words, vocabulary = backbone.config.hidden_size, backbone.config.vocab_size
        self.others = {latent_of(name): name for name in sizes}
        self.modalities = {"L": "text", **self.others}
        features = {"L": words, **{m: sizes[name] for m, name in self.others.items()}}
        frames = {m: features[m] for m in self.others}
        self.standardize = nn.ModuleDict({m: Standardize(frames[m]) for m in frames})
        self.private = nn.ModuleDict({m: SequenceEncoder(features[m], d, width) for m in features})
        if orderless:
            self.private["L"] = WordMean(words, d)
        shared_d = d if shared_d is None else shared_d
        injected = frames or {"nothing": 1}
        self.shared = MAGTextEncoder(
            backbone, injected, shared_d, inject_after=inject_after, from_zero=inject_from_zero
        )
        self.dropout = nn.Dropout(dropout)
        joint, hidden = len(features) * d + shared_d, width or d
        self.regressor = nn.Sequential(nn.Linear(joint, hidden), nn.ReLU(), nn.Linear(hidden, self.task.outputs))
        outputs = {**features, "L": vocabulary} if reconstruct else {}
        start = d + shared_d
        decoder = partial(SteadyDecoder, width=hidden) if orderless else SequenceDecoder
        self.decoders = nn.ModuleDict({m: decoder(start, out_features=outputs[m]) for m in outputs})
        sizes_of_latents = {**dict.fromkeys(features, d), "S": shared_d}
        self.sizes = {**sizes_of_latents, **{f"X_{m}": size for m, size in features.items()}}
        self.hiding, self.unlabeled_for = hiding, unlabeled_for
        self.noisy = nn.ModuleDict(
            {m: NoisyLatent(size, noise) for m, size in sizes_of_latents.items()} if noise else {}
        )
        self.order = in_order(features)

    def forward(self, batch) -> dict[str, Any]:
        frames = {m: self.standardize[m](batch.sequences[name]) for m, name in self.others.items()}
        inputs = {"L": Masked(self.shared.word_embeddings(batch.words.values), batch.words.mask), **frames}
        latents = {m: self.private[m](*x) for m, x in inputs.items()}  # eq. 1
        hidden = draw_hidden(batch.present, self.hiding) if self.training and self.hiding else {}
        seen = hide(batch, hidden)
        others = {m: Masked(x.values, seen.sequences[self.others[m]].mask) for m, x in frames.items()}
        latents["S"] = self.shared(**seen.tokens, others=others or nothing(batch), lengths=seen.lengths)  # eq. 2 to 7
        if self.noisy:
            present = self.has(batch)
            latents = {m: self.with_noise(m, z, present[m]) for m, z in latents.items()}
        means = {f"X_{m}": x.detach().mean() for m, x in inputs.items()}
        return {**latents, **means, "_frames": frames, "_hidden": hidden}

    def with_noise(self, m: str, z: Tensor, present: Tensor) -> Tensor:
        """A latent at a fixed scale, with noise, in the rows that have the modality: in training, if there are two or more."""
        rows = present.nonzero().squeeze(1).to(z.device, non_blocking=True)
        if self.training and len(rows) < 2:
            return torch.zeros_like(z)
        return torch.zeros_like(z).index_copy(0, rows, self.noisy[m](z[rows]))

    def present(self, batch) -> dict[str, Tensor]:
        if self.unlabeled_for != "reconstruction":
            return self.has(batch)
        serve = self.serving("penalty", batch)
        return {m: rows & serve for m, rows in self.has(batch).items()}

    def serving(self, what: str, batch) -> Tensor:
        """Which rows serve the penalty, or reconstruction: in training, perhaps only labelled ones; `(N,)` bool on the CPU."""
        labeled = self.training and self.unlabeled_for not in ("both", what)
        return batch.has_label if labeled else torch.ones_like(batch.has_label)

    def has(self, batch) -> dict[str, Tensor]:
        """Which rows have which variable."""
        has = {m: batch.present[name] for m, name in self.modalities.items()}
        return {**has, **{f"X_{m}": rows for m, rows in has.items()}, "S": torch.stack([*has.values()]).any(0)}

    def predict(self, variables) -> Tensor:
        latents = torch.cat([variables[m] for m in (*self.order, "S")], 1)
        return self.regressor(self.dropout(latents)).squeeze(1)  # eq. 16 and 17

    def losses(self, variables, batch) -> dict[str, Rows]:
        losses = {"Y": self.task.loss(self.predict(variables), batch.labels, batch.labeled)}  # eq. 18, on labelled rows
        for m in self.decoders:  # eq. 8 and 19, on all rows that have the modality
            has, z = batch.present[self.modalities[m]], variables[m]
            if self.unlabeled_for == "penalty":
                has = has & self.serving("reconstruction", batch)
            hidden = variables["_hidden"].get(self.modalities[m], torch.zeros_like(has))
            losses |= self.decoded(f"recon_{m}", m, z, has & ~hidden, variables, batch)
            if hidden.any():  # S knows it from the others alone, and z tells nothing
                losses |= self.decoded(
                    f"cross_{m}", m, noise_like(z, batch.present[self.modalities[m]]), hidden, variables, batch
                )
        return losses

    def decoded(self, name: str, m: str, z: Tensor, which: Tensor, variables, batch) -> dict[str, Rows]:
        """The error of a modality decoded from z and S in some rows, `which: (N,)` bool on the CPU; of no rows none."""
        if not which.any():
            return {}
        start, target = torch.cat([z, variables["S"]], 1), batch.words if m == "L" else variables["_frames"][m]
        if not which.all():
            rows = which.nonzero().squeeze(1).to(z.device, non_blocking=True)
            start, target = start[rows], target.select(rows)
        decoder: Any = self.decoders[m]
        loss = masked_cross_entropy if m == "L" else masked_linear_mse
        return {name: loss(decoder.hidden(start, target.mask.shape[1]), decoder.output, target)}


def penalty_for(
    model: MIRD, kind: str, input_pairs: bool, log_variance: Literal["free", "tanh"] = "tanh"
) -> Pairwise | None:
    """What must not tell about what: the paper's nine pairs, or, for orthogonality, the six of equal size, eq. 9 to 15."""
    latents, inputs = pairs_of(model.order)
    if kind == "none":
        return None
    pairs = latents + inputs if input_pairs and kind != "orthogonal" else latents
    if kind in WITHOUT_ESTIMATORS:
        return Pairwise({pair: WITHOUT_ESTIMATORS[kind]() for pair in pairs})
    return Pairwise(
        {(x, y): CLUBEstimator(model.sizes[x], model.sizes[y], log_variance=log_variance) for x, y in pairs}
    )


def objective_for(alpha: float, words: float = 1.0):
    """Eq. 18 to 22: logarithms balance the losses; an information can be negative and has none.

    `words` weighs those of the words, which the paper does not: most of such a loss is the words' own entropy, so that its
    logarithm hardly moves whatever a latent tells, and the latent of text learns little.
    """

    def objective(losses, penalties) -> Tensor:
        weighed = [(words if name.endswith("_L") else 1.0) * (loss.mean() + EPS).log() for name, loss in losses.items()]
        return torch.stack(weighed).sum() + alpha * sum(penalties.values())

    return objective


def standardize(model: MIRD, train) -> None:
    """Fits the statistics of frames to the training split."""
    for m, layer in model.standardize.items():
        assert isinstance(layer, Standardize)
        layer.fit(train.sequences[model.modalities[m]])


WORDS = 10.0  # weight of the words' losses in the preset independent
INDEPENDENT = {"d": 16, "shared_d": 8, "width": 64, "orderless": True, "noise": 0.3, "hiding": 0.5}


def is_paper(options: argparse.Namespace) -> bool:
    """Whether a run is by the paper's preset."""
    return options.preset == "paper"


def arguments_of(options: argparse.Namespace) -> dict[str, Any]:
    """The model's arguments; raises `ValueError` where orthogonality is asked of latents of two sizes."""
    own = {
        "inject_after": options.inject_layer,
        "reconstruct": not options.no_reconstruction,
        "dropout": options.dropout or 0.0,
        "inject_from_zero": options.inject_from == "zero",
    }
    if not is_paper(options):
        own |= INDEPENDENT
    own["unlabeled_for"] = options.unlabeled_for
    if options.latent_size is not None:
        own["d"] = options.latent_size
    if options.penalty == "orthogonal" and (shared := own.get("shared_d")) not in (None, own.get("d")):
        raise ValueError(
            f"expected latents of one size for --penalty orthogonal, got S of {shared} and the others of {own['d']}: "
            f"--latent-size {shared} makes them alike"
        )
    return own


def penalty_of(model: MIRD, options: argparse.Namespace) -> Pairwise | None:
    """The preset's pairs: the paper's, or those of the latents alone, with estimators that may be as sure as they are."""
    if is_paper(options):
        return penalty_for(model, options.penalty, not options.no_input_mi)
    return penalty_for(model, options.penalty, input_pairs=False, log_variance="free")


def add_options(method) -> None:
    add = method.add_argument
    add(
        "--preset",
        choices=("paper", "independent"),
        default="paper",
        help="the paper's model, or small noisy latents, a shared encoder that does not see all, and the latents' pairs "
        "(default: %(default)s)",
    )
    add(
        "--inject-layer", type=int, help="inject other modalities after this layer; 0: embeddings (default: the middle)"
    )
    add(
        "--inject-from",
        choices=("random", "zero"),
        help="whether an injection of random weights moves words from the start, or nothing does (default: paper random, "
        "tuned zero)",
    )
    add("--dropout", type=float, help="of the latents before the prediction (default: paper 0, tuned 0.1)")
    penalties = ("club", *WITHOUT_ESTIMATORS, "none")
    add("--penalty", choices=penalties, default="club", help="what must be small of each pair (default: %(default)s)")
    add("--alpha", type=float, help="weight of the penalty (default: 0.1; of the preset independent 0.3)")
    add(
        "--latent-size",
        type=int,
        metavar="SIZE",
        help="of each latent (default: 64; of the preset independent 16, S 8)",
    )
    add(
        "--unlabeled-for",
        choices=("both", "penalty", "reconstruction"),
        default="both",
        help="what rows without a label are used for (default: %(default)s)",
    )
    add("--no-reconstruction", action="store_true", help="leave out the decoders")
    add("--no-input-mi", action="store_true", help="leave out the (X^m, S) terms of the penalty")


EXPERIMENT = Experiment(
    build=MIRD,
    description=__doc__,
    options=add_options,
    arguments=arguments_of,
    prepare=standardize,
    penalty=penalty_of,
    objective=lambda options: objective_for(options.alpha, 1.0 if is_paper(options) else WORDS),
    defaults={"lr": 1e-5, "epochs": 100, "backbone": "bert-base-uncased", "alpha": 0.1},
    tuned={**TUNED, "encoder_lr": 5e-5, "dropout": 0.1, "inject_from": "zero"},
    embedded={"lr": 1e-3, "epochs": 20, "backbone": "tiny", "alpha": 0.1},
    batch_size=BATCH_SIZE,
    inner_steps=INNER_STEPS,
)
PRESETS = {  # they differ in what is the default; all else follows from the options, so that a run goes on by either
    "paper": EXPERIMENT,
    "independent": replace(
        EXPERIMENT,
        defaults={**EXPERIMENT.defaults, "alpha": 0.3},
        embedded={**EXPERIMENT.embedded, "alpha": 0.3, "lr": 2e-3, "epochs": 30},
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Runs what is asked for, with the defaults of the preset that is named."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset")
    return run_program(PRESETS.get(parser.parse_known_args(arguments)[0].preset, EXPERIMENT), arguments)


if __name__ == "__main__":
    raise SystemExit(main())
