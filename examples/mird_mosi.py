"""MIRD: mutual-information-based representation disentanglement for unaligned multimodal sequences, whole.

    python examples/mird_mosi.py                                  trains on an embedded synthetic set, in minutes on a CPU
    python examples/mird_mosi.py --data FILE.pkl --backbone bert-base-uncased
    python examples/mird_mosi.py evaluate --run RUN               the metrics of a finished run

The paper is Qian et al., "Mutual Information-based Representations Disentanglement for Unaligned Multimodal Language
Sequences"; the numbers of equations below are its own. L, A, V and S are its language, audio, visual and shared latents.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader

from disentangle import (
    AlternatingTrainer,
    CLUBEstimator,
    MAGTextEncoder,
    Masked,
    OrthogonalLoss,
    Pairwise,
    Rows,
    SequenceDecoder,
    SequenceEncoder,
    Standardize,
    sentiment_metrics,
)
from disentangle.data import (
    MixedBatchSampler,
    RecordingDataset,
    check_same_features,
    collate,
    loader,
    read_recordings,
    read_unlabeled,
    synthetic_recordings,
)
from disentangle.metrics import metrics_table
from disentangle.nn import masked_cross_entropy, masked_mse
from disentangle.nn.backbones import BackboneError, load_backbone, restore_backbone, save_backbone, tiny_backbone
from disentangle.training import Run, RunError, accelerator_for

NONVERBAL = {"A": "audio", "V": "vision"}
LATENT_PAIRS = [("V", "L"), ("V", "A"), ("L", "A"), ("V", "S"), ("L", "S"), ("A", "S")]  # (x, y): q(y|x)
INPUT_PAIRS = [("X_V", "S"), ("X_L", "S"), ("X_A", "S")]
EPS = 1e-6  # keeps the logarithm of a loss that reaches 0 finite

D, BATCH_SIZE, INNER_STEPS = 64, 32, 5
PAPER = {"lr": 1e-5, "epochs": 100, "backbone": "bert-base-uncased"}
EMBEDDED = {"lr": 1e-3, "epochs": 20, "backbone": "tiny"}  # from scratch, on the synthetic set


class MIRD(nn.Module):
    """Three private encoders, one shared encoder, three decoders and a regressor, eq. 1 to 19."""

    def __init__(
        self, backbone, sizes: dict[str, int], *, d: int = 64, inject_after: int | None = None, reconstruct=True
    ):
        super().__init__()
        words, vocabulary = backbone.config.hidden_size, backbone.config.vocab_size
        features = {"L": words, **{m: sizes[name] for m, name in NONVERBAL.items()}}
        self.standardize = nn.ModuleDict({m: Standardize(features[m]) for m in NONVERBAL})
        self.private = nn.ModuleDict({m: SequenceEncoder(features[m], d) for m in features})
        self.shared = MAGTextEncoder(backbone, {m: features[m] for m in NONVERBAL}, d, inject_after=inject_after)
        self.regressor = nn.Sequential(nn.Linear(4 * d, d), nn.ReLU(), nn.Linear(d, 1))
        outputs = {**features, "L": vocabulary} if reconstruct else {}
        self.decoders = nn.ModuleDict({m: SequenceDecoder(2 * d, outputs[m]) for m in outputs})
        self.sizes = {**dict.fromkeys("LAVS", d), **{f"X_{m}": size for m, size in features.items()}}

    def frames(self, batch) -> dict[str, Masked]:
        return {m: self.standardize[m](batch.sequences[name]) for m, name in NONVERBAL.items()}

    def forward(self, batch) -> dict[str, Tensor]:
        frames = self.frames(batch)
        inputs = {"L": Masked(self.shared.word_embeddings(batch.words.values), batch.words.mask), **frames}
        latents = {m: self.private[m](*x) for m, x in inputs.items()}  # eq. 1
        latents["S"] = self.shared(**batch.tokens, others=frames, lengths=batch.lengths)  # eq. 2 to 7
        return {**latents, **{f"X_{m}": x.detach().mean() for m, x in inputs.items()}}

    def present(self, batch) -> dict[str, Tensor]:
        has = {"L": batch.present["text"], **{m: batch.present[name] for m, name in NONVERBAL.items()}}
        return {**has, **{f"X_{m}": rows for m, rows in has.items()}, "S": has["L"] | has["A"] | has["V"]}

    def predict(self, latents) -> Tensor:
        return self.regressor(torch.cat([latents[m] for m in "VLAS"], 1)).squeeze(1)  # eq. 16 and 17

    def losses(self, latents, batch) -> dict[str, Rows]:
        error = (self.predict(latents) - batch.labels).square()
        losses = {"Y": Rows(error, batch.labeled)}  # eq. 18, on labelled rows
        frames = self.frames(batch)
        for m, decoder in self.decoders.items():  # eq. 8 and 19, on all rows that have the modality
            assert isinstance(decoder, SequenceDecoder)
            rows = batch.rows("text" if m == "L" else NONVERBAL[m])
            if not len(rows):
                continue
            z = torch.cat([latents[m], latents["S"]], 1)[rows]
            if m == "L":
                words = batch.words.select(rows)
                hidden = decoder.hidden(z, words.mask.shape[1])
                losses["recon_L"] = masked_cross_entropy(hidden, decoder.output, words)
            else:
                target = frames[m].select(rows)
                losses[f"recon_{m}"] = masked_mse(decoder(z, target.mask.shape[1]), target)
        return losses


def penalty_for(model: MIRD, kind: str, input_pairs: bool) -> Pairwise | None:
    """What must not tell about what: nine pairs for CLUB, the six of equal size for orthogonality."""
    if kind == "none":
        return None
    if kind == "orthogonal":
        return Pairwise({pair: OrthogonalLoss() for pair in LATENT_PAIRS})
    pairs = LATENT_PAIRS + INPUT_PAIRS if input_pairs else LATENT_PAIRS
    return Pairwise({(x, y): CLUBEstimator(model.sizes[x], model.sizes[y], log_variance="tanh") for x, y in pairs})


def objective_for(alpha: float):
    """Eq. 18 to 21: logarithms balance the losses; an information can be negative and has none."""

    def objective(losses: Mapping[str, Rows], penalties: Mapping[str, Tensor]) -> Tensor:
        balanced = torch.stack([(loss.mean() + EPS).log() for loss in losses.values()]).sum()
        return balanced + alpha * sum(penalties.values())

    return objective


@torch.no_grad()
def latents_of(model: MIRD, dataset: RecordingDataset) -> dict[str, Tensor]:
    """The latents of a whole split, `{name: (N, d)}`."""
    device = next(model.parameters()).device
    latents = [model(batch.to(device)) for batch in loader(dataset)]
    return {m: torch.cat([z[m] for z in latents]).float() for m in "LAVS"}


@torch.no_grad()
def metrics_of(model: MIRD, dataset: RecordingDataset) -> dict[str, float | None]:
    return sentiment_metrics(model.predict(latents_of(model, dataset)), dataset.labels)


def mean_baseline(datasets: dict[str, RecordingDataset]) -> dict[str, dict[str, float | None]]:
    """What predicting the mean training label scores."""
    mean = float(datasets["train"].labels.mean())
    labels = {name: datasets[name].labels for name in ("valid", "test")}
    return {f"{name}, training mean": sentiment_metrics([mean] * len(y), y) for name, y in labels.items()}


def warmup_then_decay(optimizer: torch.optim.Optimizer, steps: int):
    """Linear warm-up over a tenth of the steps, then linear decay."""
    from transformers import get_linear_schedule_with_warmup

    return get_linear_schedule_with_warmup(optimizer, steps // 10, steps)


def build(config: dict, backbone) -> tuple[MIRD, Pairwise | None]:
    """The model and its penalty, from a run's configuration."""
    reconstruct, input_pairs = not config["no_reconstruction"], not config["no_input_mi"]
    model = MIRD(backbone, config["sizes"], d=D, inject_after=config["inject_layer"], reconstruct=reconstruct)
    return model, penalty_for(model, config["penalty"], input_pairs)


def restore(run: Run) -> tuple[MIRD, Any]:
    """The model of a finished run at its best epoch, in evaluation mode, and its tokenizer."""
    backbone, tokenizer = restore_backbone(run.folder / "backbone")
    model, penalty = build(run.config, backbone)
    run.load("best", {"model": model, **({"penalty": penalty} if penalty else {})})
    return model.eval(), tokenizer


def prepare_training(options: argparse.Namespace) -> Callable[[], None]:
    """Reads and builds everything that a run needs, so that whatever is wrong with it is said before it starts."""
    splits = read_recordings(options.data) if options.data else synthetic_recordings()
    sources = {**splits}
    if options.unlabeled:
        sources["unlabeled"] = read_unlabeled(options.unlabeled)
        check_same_features(splits["train"], sources["unlabeled"], options.unlabeled)
    for name, recordings in sources.items():
        missing, nonfinite = recordings.missing, recordings.nonfinite
        print(f"{name:9} {len(recordings)} recordings; missing {missing}; values not finite {nonfinite}")

    torch.manual_seed(options.seed)
    tiny = options.backbone == "tiny"
    print(
        "backbone  tiny: random weights, vocabulary of the training text" if tiny else f"backbone  {options.backbone}"
    )
    backbone, tokenizer = tiny_backbone(splits["train"].text) if tiny else load_backbone(options.backbone)
    datasets = {name: RecordingDataset(r, tokenizer, max_words=options.max_words) for name, r in sources.items()}
    rows = [datasets[name] for name in ("train", "unlabeled") if name in datasets]
    rate = options.unlabeled_rate if options.unlabeled else 0.0
    sampler = MixedBatchSampler(*map(len, rows), batch_size=BATCH_SIZE, unlabeled_rate=rate, seed=options.seed)
    batches = DataLoader(ConcatDataset(rows), batch_sampler=sampler, collate_fn=collate)

    config = {**vars(options), "sizes": splits["train"].feature_sizes}
    model, penalty = build(config, backbone)
    for layer, name in zip(model.standardize.values(), NONVERBAL.values(), strict=True):
        assert isinstance(layer, Standardize)
        layer.fit(splits["train"].sequences[name])
    optimizer = torch.optim.AdamW(model.parameters(), options.lr)
    learns = penalty is not None and penalty.learns
    run = Run.create(options.out, config)
    save_backbone(run.folder / "backbone", backbone, tokenizer)
    trainer = AlternatingTrainer(
        model,
        penalty,
        objective=objective_for(options.alpha),
        optimizer=optimizer,
        penalty_optimizer=torch.optim.Adam(penalty.parameters(), 1e-3, fused=True) if penalty and learns else None,
        scheduler=warmup_then_decay(optimizer, options.epochs * len(batches)),
        inner_steps=INNER_STEPS,
        run=run,
        device=options.device,
    )
    return lambda: train(trainer, batches, datasets, run)


def train(trainer: AlternatingTrainer, batches: DataLoader, datasets: dict[str, RecordingDataset], run: Run) -> None:
    valid, test = datasets["valid"], datasets["test"]
    trainer.fit(batches, run.config["epochs"], evaluate=lambda model: metrics_of(model, valid), monitor="mae")
    model = trainer.model.eval()
    run.write("result.json", result := {"valid": metrics_of(model, valid), "test": metrics_of(model, test)})
    print(metrics_table({**result, **mean_baseline(datasets)}))
    print(f"everything is in {run.folder}")


def prepare_evaluation(options: argparse.Namespace) -> Callable[[], None]:
    run = Run.open(options.run)
    data = options.data or run.config["data"]
    splits = read_recordings(data) if data else synthetic_recordings()
    model, tokenizer = restore(run)
    model.to(accelerator_for(options.device).device)
    datasets = {name: RecordingDataset(r, tokenizer, max_words=run.config["max_words"]) for name, r in splits.items()}
    return lambda: evaluate(model, datasets)


def evaluate(model: MIRD, datasets: dict[str, RecordingDataset]) -> None:
    result = {name: metrics_of(model, datasets[name]) for name in ("valid", "test")}
    print(metrics_table({**result, **mean_baseline(datasets)}))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", metavar="FILE", help="pickle of {train,valid,test} recordings; without it, the synthetic set")
    add("--unlabeled", metavar="FILE", help="pickle of recordings without labels, for reconstruction and MI")
    add("--unlabeled-rate", type=float, default=1.0, help="unlabelled rows a labelled one (default: %(default)s)")
    add("--backbone", help="name, local folder, or 'tiny' (small, random; its vocabulary is learnt from the data)")
    add(
        "--inject-layer", type=int, help="inject audio and vision after this layer; 0: embeddings (default: the middle)"
    )
    add("--penalty", choices=("club", "orthogonal", "none"), default="club", help="(default: %(default)s)")
    add("--alpha", type=float, default=0.1, help="weight of the penalty (default: %(default)s)")
    add("--no-reconstruction", action="store_true", help="leave out the decoders")
    add("--no-input-mi", action="store_true", help="leave out the three (X^m, S) terms of the penalty")
    add(
        "--lr", type=float, help="learning rate of the model (default: 1e-5 as in the paper; 1e-3 on the synthetic set)"
    )
    add("--epochs", type=int, help="(default: 100 as in the paper; 20 on the synthetic set)")
    add("--seed", type=int, default=0, help="(default: %(default)s)")
    add("--max-words", type=int, default=256, help="word pieces kept of a transcript (default: %(default)s)")
    add("--out", metavar="FOLDER", help="the run's folder, new (default: runs/<date and time>)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default: %(default)s)")
    commands = parser.add_subparsers(dest="command", title="instead of training")
    again = commands.add_parser(
        "evaluate", help="the metrics of a finished run", description="The metrics of a finished run."
    )
    again.add_argument("--run", required=True, metavar="FOLDER", help="the run's folder")
    again.add_argument("--data", metavar="FILE", help="evaluate on this file, not on the run's own")
    again.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.command is None:
        for name, value in (PAPER if options.data else EMBEDDED).items():
            if getattr(options, name) is None:
                setattr(options, name, value)
        options.out = options.out or f"runs/{time.strftime('%Y-%m-%d_%H-%M-%S')}"
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    try:
        work = prepare_evaluation(options) if options.command == "evaluate" else prepare_training(options)
    except (ValueError, BackboneError, RunError) as error:  # ValueError: a file, an option
        more = "; or --backbone tiny, which is small and random" if isinstance(error, BackboneError) else ""
        print(f"error: {error}{more}", file=sys.stderr)
        return 2
    try:
        work()
    except KeyboardInterrupt:
        print(f"\nstopped; what there is can be read in {options.out}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
