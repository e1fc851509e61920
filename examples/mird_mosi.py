"""MIRD: mutual-information-based representation disentanglement for unaligned multimodal sequences, whole.

    python examples/mird_mosi.py                                  trains on an embedded synthetic set, in minutes on a CPU
    python examples/mird_mosi.py --data FILE --backbone bert-base-uncased
    python examples/mird_mosi.py --resume RUN                     goes on where a run stopped, for whatever reason
    python examples/mird_mosi.py --seeds 0 1 2 3 4 --at-once 2    a run a seed, and their mean ± standard deviation
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
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mird_data import labeled_splits, read, with_modalities
from mird_labels import baselines, known_scale, labels_of, scale_of
from mird_options import one_seed, parse
from mird_predict import open_model, prepare_prediction
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
    encode,
    predict,
)
from disentangle.data import (
    DataError,
    DataWarning,
    MixedBatchSampler,
    RecordingDataset,
    collate,
    loader,
)
from disentangle.metrics import LabelScale, metrics_table, seeds_summary, seeds_table
from disentangle.nn import masked_cross_entropy, masked_mse
from disentangle.nn.backbones import (
    BackboneError,
    backbone_config,
    backbone_from_config,
    load_backbone,
    tiny_backbone,
)
from disentangle.saving import SavedModelError
from disentangle.training import Run, RunError, SeedsError, accelerator_for, run_seeds, seed_results

LATENTS = {"text": "L", "audio": "A", "vision": "V"}  # those of other modalities have the modality's name


def in_order(latents: Iterable[str]) -> list[str]:
    """The paper's order: V, L, A; and others behind them."""
    latents = list(latents)
    return [m for m in ("V", "L", "A") if m in latents] + [m for m in latents if m not in ("V", "L", "A")]


def pairs_of(order: list[str]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Which latents must not tell about one another, and which inputs about S; (x, y): q(y|x)."""
    return [*combinations(order, 2), *((m, "S") for m in order)], [(f"X_{m}", "S") for m in order]


LATENT_PAIRS, INPUT_PAIRS = pairs_of(["V", "L", "A"])  # (V,L) (V,A) (L,A) (V,S) (L,S) (A,S); (X_V,S) (X_L,S) (X_A,S)
EPS = 1e-6  # keeps the logarithm of a loss that reaches 0 finite

D, BATCH_SIZE, INNER_STEPS = 64, 32, 5


def latent_of(modality: str) -> str:
    """The name of a modality's latent."""
    taken = modality in ("text", "L", "A", "V", "S", "Y") or modality.startswith("X_")
    if not modality or taken or set(modality) & set(".;()") or modality in dir(nn.ModuleDict()):
        raise ValueError(
            "expected a modality's name without any of '. ; ( )', other than text, L, A, V, S, Y, X_... and what torch uses "
            f"itself (type, values, ...), got {modality!r}"
        )
    return LATENTS.get(modality, modality)


def nothing(batch) -> dict[str, Masked]:
    """What is injected where text is the only modality: one that no row has."""
    frames = batch.labels.new_zeros(len(batch), 1, 1)
    return {"nothing": Masked(frames, torch.zeros_like(frames[..., 0], dtype=torch.bool))}


class MIRD(nn.Module):
    """A private encoder and a decoder a modality, one shared encoder, and a regressor, eq. 1 to 19.

    `sizes` are those of the frames of each modality beside text, by name. What a row lacks is masked everywhere. To how many
    word pieces transcripts are cut, what computed the features of a modality, and what the labels were, is kept for those
    who use the model.
    """

    def __init__(
        self,
        backbone: Any,
        sizes: dict[str, int],
        *,
        d=64,
        inject_after: int | None = None,
        reconstruct=True,
        max_words: int | None = None,
        computed_by: dict[str, str] | None = None,
        labels: dict[str, Any] | None = None,
    ):
        super().__init__()
        if isinstance(backbone, dict):  # the configuration of one, as a saved model keeps it
            backbone = backbone_from_config(backbone)
        self.max_words, self.computed_by, self.labels = max_words, computed_by or {}, labels
        words, vocabulary = backbone.config.hidden_size, backbone.config.vocab_size
        self.others = {latent_of(name): name for name in sizes}
        self.modalities = {"L": "text", **self.others}
        features = {"L": words, **{m: sizes[name] for m, name in self.others.items()}}
        frames = {m: features[m] for m in self.others}
        self.standardize = nn.ModuleDict({m: Standardize(frames[m]) for m in frames})
        self.private = nn.ModuleDict({m: SequenceEncoder(features[m], d) for m in features})
        self.shared = MAGTextEncoder(backbone, frames or {"nothing": 1}, d, inject_after=inject_after)
        self.regressor = nn.Sequential(nn.Linear((len(features) + 1) * d, d), nn.ReLU(), nn.Linear(d, 1))
        outputs = {**features, "L": vocabulary} if reconstruct else {}
        self.decoders = nn.ModuleDict({m: SequenceDecoder(2 * d, outputs[m]) for m in outputs})
        self.sizes = {**dict.fromkeys((*features, "S"), d), **{f"X_{m}": size for m, size in features.items()}}
        self.order = in_order(features)

    def frames(self, batch) -> dict[str, Masked]:
        return {m: self.standardize[m](batch.sequences[name]) for m, name in self.others.items()}

    def forward(self, batch) -> dict[str, Tensor]:
        frames = self.frames(batch)
        inputs = {"L": Masked(self.shared.word_embeddings(batch.words.values), batch.words.mask), **frames}
        latents = {m: self.private[m](*x) for m, x in inputs.items()}  # eq. 1
        latents["S"] = self.shared(**batch.tokens, others=frames or nothing(batch), lengths=batch.lengths)  # eq. 2 to 7
        return {**latents, **{f"X_{m}": x.detach().mean() for m, x in inputs.items()}}

    def present(self, batch) -> dict[str, Tensor]:
        has = {m: batch.present[name] for m, name in self.modalities.items()}
        return {**has, **{f"X_{m}": rows for m, rows in has.items()}, "S": torch.stack([*has.values()]).any(0)}

    def predict(self, latents) -> Tensor:
        return self.regressor(torch.cat([latents[m] for m in (*self.order, "S")], 1)).squeeze(1)  # eq. 16 and 17

    def losses(self, latents, batch) -> dict[str, Rows]:
        error = (self.predict(latents) - batch.labels).square()
        losses = {"Y": Rows(error, batch.labeled)}  # eq. 18, on labelled rows
        frames = self.frames(batch)
        for m, decoder in self.decoders.items():  # eq. 8 and 19, on all rows that have the modality
            assert isinstance(decoder, SequenceDecoder)
            rows = batch.rows(self.modalities[m])
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
    """What must not tell about what: the paper's nine pairs for CLUB, the six of equal size for orthogonality."""
    if kind == "none":
        return None
    latents, inputs = pairs_of(model.order)
    if kind == "orthogonal":
        return Pairwise({pair: OrthogonalLoss() for pair in latents})
    pairs = latents + inputs if input_pairs else latents
    return Pairwise({(x, y): CLUBEstimator(model.sizes[x], model.sizes[y], log_variance="tanh") for x, y in pairs})


def objective_for(alpha: float):
    """Eq. 18 to 21: logarithms balance the losses; an information can be negative and has none."""

    def objective(losses: Mapping[str, Rows], penalties: Mapping[str, Tensor]) -> Tensor:
        balanced = torch.stack([(loss.mean() + EPS).log() for loss in losses.values()]).sum()
        return balanced + alpha * sum(penalties.values())

    return objective


def metrics_of(model: MIRD, dataset: RecordingDataset, scale: LabelScale) -> dict[str, float | None]:
    return scale.metrics(predict(model, loader(dataset)), dataset.labels)


def latents_of(model: MIRD, dataset: RecordingDataset) -> dict[str, Tensor]:
    """The latents of a whole split, `{name: (N, d)}`."""
    return {m: z for m, z in encode(model, loader(dataset)).items() if m in (*model.order, "S")}


def warmup_then_decay(optimizer: torch.optim.Optimizer, steps: int):
    """Linear warm-up over a tenth of the steps, then linear decay."""
    from transformers import get_linear_schedule_with_warmup

    return get_linear_schedule_with_warmup(optimizer, steps // 10, steps)


def prepare_training(options: argparse.Namespace, run: Run | None = None) -> Callable[[], None]:
    """Reads and builds everything that a run needs, so that whatever is wrong with it is said before it starts."""
    resume = run is not None
    accelerator = accelerator_for(options.device)
    first, say = accelerator.is_main_process, accelerator.print  # of several processes, the first talks and writes
    sources = read(options, say)
    labels = labels_of(sources)
    scale = scale_of(labels, say)
    torch.manual_seed(options.seed)
    tiny = options.backbone == "tiny"
    say(f"backbone  {'tiny: random weights, vocabulary of the training text' if tiny else options.backbone}")
    backbone, tokenizer = tiny_backbone(sources["train"].text) if tiny else load_backbone(options.backbone)
    datasets = {name: RecordingDataset(r, tokenizer, max_words=options.max_words) for name, r in sources.items()}
    batches = batches_of(datasets, options)

    config = {
        "backbone": backbone_config(backbone),
        "sizes": sources["train"].feature_sizes,
        "d": D,
        "inject_after": options.inject_layer,
        "reconstruct": not options.no_reconstruction,
        "max_words": options.max_words,
        "computed_by": sources["train"].computed_by,
        "labels": asdict(scale),
    }
    model = MIRD(**{**config, "backbone": backbone})
    for m, layer in model.standardize.items():
        assert isinstance(layer, Standardize)
        layer.fit(sources["train"].sequences[model.modalities[m]])
    penalty = penalty_for(model, options.penalty, not options.no_input_mi)
    optimizer = torch.optim.AdamW(model.parameters(), options.lr)
    learns = penalty is not None and penalty.learns
    run = run or create_run(options)
    trainer = AlternatingTrainer(
        model,
        penalty,
        objective=objective_for(options.alpha),
        optimizer=optimizer,
        penalty_optimizer=torch.optim.Adam(penalty.parameters(), 1e-3, fused=True) if penalty and learns else None,
        schedulers=[warmup_then_decay(optimizer, options.epochs * -(-len(batches) // options.accumulation))],
        inner_steps=INNER_STEPS,
        accumulation=options.accumulation,
        clip_norm=options.clip_norm,
        seed=options.seed,
        run=run,
        config=config,
        tokenizer=tokenizer,
        device=options.device,
        precision=options.precision,
        trackers=options.tracker,
    )

    def train() -> None:
        monitor, mode = scale.monitor
        trainer.fit(
            batches,
            options.epochs,
            evaluate=lambda model: metrics_of(model, datasets["valid"], scale),
            monitor=monitor,
            mode=mode,
            patience=options.patience,
            checkpoint_every=options.checkpoint_every,
            resume=resume,
        )
        if first:
            result = {name: metrics_of(trainer.model, datasets[name], scale) for name in ("valid", "test")}
            run.write("result.json", result)
            print(metrics_table({**result, **baselines(scale, labels)}))
            print(f"everything is in {run.folder}")

    return train


def batches_of(datasets: dict[str, RecordingDataset], options: argparse.Namespace) -> DataLoader:
    """Labelled rows, with unlabelled ones at the given rate, in pieces of a batch if asked."""
    rows = [datasets[name] for name in ("train", "unlabeled") if name in datasets]
    if BATCH_SIZE % options.accumulation:
        raise ValueError(f"expected an accumulation that divides the batch of {BATCH_SIZE}, got {options.accumulation}")
    sampler = MixedBatchSampler(
        *map(len, rows),
        batch_size=BATCH_SIZE // options.accumulation,
        unlabeled_rate=options.unlabeled_rate if "unlabeled" in datasets else 0.0,
        lengths=np.concatenate([each.lengths for each in rows]) if options.group_by_length else None,
        seed=options.seed,
    )
    return DataLoader(ConcatDataset(rows), batch_sampler=sampler, collate_fn=collate)


def create_run(options: argparse.Namespace) -> Run:
    """The folder of a new run; of several processes, the first makes it."""
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    options.out = broadcast_object_list([options.out])[0]
    processes = PartialState()
    with processes.main_process_first():
        return Run.create(options.out, vars(options)) if processes.is_main_process else Run.open(options.out)


def prepare_resuming(options: argparse.Namespace) -> Callable[[], None]:
    run = Run.open(options.resume)
    options = argparse.Namespace(**run.config)
    return prepare_seeds(options, run) if options.seeds else prepare_training(options, run)


def prepare_seeds(options: argparse.Namespace, run: Run | None = None) -> Callable[[], None]:
    """A run a seed, each in its own process and folder; called again, it finishes what is left."""
    labels = labels_of(labeled_splits(options.data))
    scale = scale_of(labels, print)
    run = run or Run.create(options.out, vars(options))

    def command(seed: int, folder: Path) -> list[str]:
        started = (folder / "config.json").exists()
        return [sys.executable, __file__, *(["--resume", str(folder)] if started else one_seed(options, seed, folder))]

    def train() -> None:
        run_seeds(command, options.seeds, run.folder, at_once=options.at_once)
        results = seed_results(run.folder)
        run.write("result.json", seeds_summary(results))
        print(seeds_table(results))
        print(f"\n{metrics_table(baselines(scale, labels))}")
        print(f"everything is in {run.folder}")

    return train


def prepare_evaluation(options: argparse.Namespace) -> Callable[[], None]:
    model, config, tokenizer = open_model(options, MIRD)
    data = options.data
    if not data:
        run = Run.open(options.run)
        if "data" not in run.config:
            raise ValueError(
                f"{run.folder}: expected --data FILE, as a model's folder does not say what it was trained on"
            )
        data = run.config["data"]
    splits = labeled_splits(data)
    labels = labels_of(splits)
    scale = scale_of(labels, print, known_scale(config))
    datasets = {
        name: RecordingDataset(
            with_modalities(splits[name], config["sizes"], data, config["computed_by"]),
            tokenizer,
            max_words=config["max_words"],
        )
        for name in ("valid", "test")
    }

    def evaluate() -> None:
        result = {name: metrics_of(model, dataset, scale) for name, dataset in datasets.items()}
        print(metrics_table({**result, **baselines(scale, labels)}))

    return evaluate


def prepare(options: argparse.Namespace) -> Callable[[], None]:
    if options.command == "evaluate":
        return prepare_evaluation(options)
    if options.command == "predict":
        return prepare_prediction(options, MIRD)
    if options.resume:
        return prepare_resuming(options)
    return prepare_seeds(options) if options.seeds else prepare_training(options)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments, __doc__)
    try:
        with warnings_in_a_line():
            return prepare_and_work(options)
    except KeyboardInterrupt:
        return stopped(options, 130)
    except SystemExit as stop:
        if stop.code != 128 + signal.SIGTERM:  # what a scheduler's request becomes, see disentangle.training.interrupts
            raise
        return stopped(options, 128 + signal.SIGTERM)


def stopped(options: argparse.Namespace, code: int) -> int:
    """Says how to go on, where there is something to go on from."""
    folder = options.resume or options.out if options.command is None else None
    hint = f"; what there is can be read in {folder}, and --resume {folder} goes on"
    print(f"\nstopped{hint if folder and Path(folder).exists() else ''}", file=sys.stderr)
    return code


@contextmanager
def warnings_in_a_line() -> Iterator[None]:
    """Shows what is to be known of the data without the place in the code that says so."""
    usual = warnings.formatwarning

    def in_a_line(message, category, *where) -> str:
        return f"warning: {message}\n" if issubclass(category, DataWarning) else usual(message, category, *where)

    warnings.formatwarning = in_a_line
    try:
        yield
    finally:
        warnings.formatwarning = usual


def prepare_and_work(options: argparse.Namespace) -> int:
    try:
        work = prepare(options)
    except (
        ValueError,
        BackboneError,
        RunError,
        SavedModelError,
        ImportError,
    ) as error:  # ValueError: a file, an option
        more = "; or --backbone tiny, which is small and random" if isinstance(error, BackboneError) else ""
        print(f"error: {error}{more}", file=sys.stderr)
        return 2
    try:
        work()
    except (RunError, SeedsError, DataError, ImportError, FloatingPointError) as error:  # a full disk, a file, NaN
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
