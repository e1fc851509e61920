"""Training an experiment's model, going on from where it stopped, with one seed or with many, and its metrics."""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import ConcatDataset, DataLoader

from disentangle.data import MixedBatchSampler, RecordingDataset, Recordings, collate, loader
from disentangle.data.messages import listed
from disentangle.experiments.card import PROVENANCE, provenance, write_card
from disentangle.experiments.evaluation import baselines, labelled_ids, metrics_of, outcomes_of
from disentangle.experiments.experiment import Experiment, naming_what_there_is
from disentangle.experiments.options import method_defaults, of_each_seed
from disentangle.experiments.reading import labeled_splits, labels_of, read, task_for
from disentangle.experiments.studies.records import (
    CHECKSUMS,
    PROGRAM,
    PROGRAM_CHECKSUM,
    checksum,
    data_files,
    refuse_changed,
    refuse_elsewhere,
)
from disentangle.experiments.studies.runs import program_of, run_command
from disentangle.experiments.trained import DATA, arguments_of
from disentangle.files import make_folder, write_file
from disentangle.hub import CONFIG
from disentangle.inference import encode
from disentangle.metrics import metrics_table, seeds_summary, seeds_table
from disentangle.nn.backbones import backbone_config, load_backbone, tiny_backbone
from disentangle.saving import read_config, refuse_what_json_lacks
from disentangle.tasks import Task, as_task
from disentangle.tasks.task import Metrics
from disentangle.training import AlternatingStep, AlternatingTrainer, Run, accelerator_for, run_seeds, seed_results
from disentangle.training.run import MODEL

__all__ = ["prepare_resuming", "prepare_seeds", "prepare_training"]


def prepare_training(experiment: Experiment, options: argparse.Namespace, run: Run | None = None) -> Callable[[], None]:
    """Reads and builds everything that a run needs, so that whatever is wrong with it is said before it starts."""
    resume = run is not None
    accelerator = accelerator_for(
        options.device, options.precision, options.tracker
    )  # or says what is wrong with these
    first, say = accelerator.is_main_process, accelerator.print  # of several processes, the first talks and writes
    if run is not None:
        say_if_edited(experiment, run, say)
    sources = read(options, experiment.data, say, resumed=resume)
    labels = labels_of(sources)
    task = task_for(options, labels, class_names(sources["train"], options), say, learnt_by(run))
    torch.manual_seed(options.seed)
    model, config, tokenizer = built(experiment, options, sources["train"], task, say)
    guesses = task.baselines(labels["train"])
    config[DATA]["baselines"] = {name: guess.tolist() for name, guess in guesses.items()}
    known = baselines(experiment, task, guesses, labels)
    digests = digests_of(options, run) if first or resume else {}
    if first:
        config[PROVENANCE] = provenance(options, sources, labels, known, digests)
    experiment.prepare(model, sources["train"])
    datasets = datasets_of(sources, tokenizer, config, task)
    say_what_is_cut(datasets["train"], tokenizer, config[DATA]["max_words"], say)
    batches = batches_of(datasets, options)
    parts = parts_of(experiment, options, model, options.epochs * -(-len(batches) // options.accumulation))
    run = run or create_run(experiment, options, digests)
    trainer = trainer_for(options, model, parts, {"run": run, "config": config, "tokenizer": tokenizer})
    say_what_stays(model, trainer.step.optimizer, say)

    def metrics_on(name: str) -> Callable[[nn.Module], Metrics]:
        return lambda model: metrics_of(experiment, model, datasets[name], task)

    def keep_test(model: nn.Module) -> Metrics:
        """The metrics on the test split; what the model says of its rows stays in the run's folder."""
        outcomes, labels = outcomes_of(model, datasets["test"], task)
        kept = {"task": task.to_dict(), "outcomes": outcomes.tolist(), "labels": labels.tolist()}
        run.write("predictions.json", {**kept, "ids": labelled_ids(datasets["test"])})
        return experiment.metrics(task, outcomes, labels)

    def train() -> None:
        monitor, mode = task.monitor
        trainer.fit(
            batches,
            options.epochs,
            evaluate=metrics_on("valid"),
            monitor=monitor,
            mode=mode,
            patience=options.patience,
            checkpoint_every=options.checkpoint_every,
            callbacks=[keep_variables(run, datasets["valid"])] if options.keep_variables and first else [],
            resume=resume,
        )
        if first:
            result = {"valid": trainer.evaluate(metrics_on("valid")), "test": trainer.evaluate(keep_test)}
            run.write("result.json", result)
            keep_card(experiment, run.folder)
            print(metrics_table({**result, **known}))
            print(f"everything is in {run.folder}")
        trainer.accelerator.end_training()  # ends trackers, and the processes' group, which may abort what ends without

    return train


def learnt_by(run: Run | None) -> Task | None:
    """The task of a run's model, which is what it goes on with; `None` before its first epoch has ended."""
    place = None if run is None else run.folder / MODEL / CONFIG
    if place is None or not place.exists():
        return None
    return as_task(arguments_of(read_config(place))["task"])


def datasets_of(
    sources: Mapping[str, Recordings], tokenizer: Any, config: Mapping[str, Any], task: Task
) -> dict[str, RecordingDataset]:
    """The recordings of each split as what a model of this configuration is given."""
    words = config[DATA]["max_words"]
    made = partial(RecordingDataset, tokenizer=tokenizer, max_words=words, scaled=task.scaled)
    return {name: made(each) for name, each in sources.items()}


def keep_card(experiment: Experiment, folder: Path) -> None:
    """Writes the card of a run's model; a metric that never had a value has left none."""
    if (folder / MODEL).exists():
        write_card(experiment, folder)


def say_what_is_cut(train: RecordingDataset, tokenizer: Any, max_words: int, say: Callable[[str], None]) -> None:
    """Says how many transcripts of training are read in part: what is cut may be where the verdict is."""
    if train.full:
        right = tokenizer.truncation_side == "right"
        say(
            f"words     {train.full} of {len(train)} transcripts fill the {max_words} word pieces that are read; of longer "
            f"ones the {'first' if right else 'last'} are kept (--truncation-side {'left' if right else 'right'} keeps the "
            f"{'last' if right else 'first'})"
        )


def say_what_stays(model: nn.Module, optimizer: Optimizer, say: Callable[[str], None]) -> None:
    """Says how many parameters of a model could learn and are held by no optimizer."""
    held = {parameter for group in optimizer.param_groups for parameter in group["params"]}
    left = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad and p not in held}
    if left:
        say(f"optimizer {sum(left.values())} parameters that could learn are in no optimizer, and stay: {listed(left)}")


def keep_variables(run: Run, dataset: RecordingDataset) -> Callable[[AlternatingTrainer, dict[str, Any]], None]:
    """What keeps the variables of a split as they are at each report: `variables/epoch-0001.npz` in the run's folder."""

    def keep(trainer: AlternatingTrainer, report: dict[str, Any]) -> None:
        variables = {name: value.numpy() for name, value in encode(trainer.model, loader(dataset)).items()}
        make_folder(run.folder / "variables")
        path = run.folder / "variables" / f"epoch-{report['epoch']:04d}.npz"
        write_file(path, lambda part: part.write_bytes(zipped(variables)))

    return keep


def zipped(arrays: dict[str, np.ndarray]) -> bytes:
    """The content of an `.npz` file."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # pyright: ignore[reportArgumentType]  # names are no options of its own
    return stream.getvalue()


def parts_of(experiment: Experiment, options: argparse.Namespace, model: Any, steps: int) -> dict[str, Any]:
    """What an experiment trains a model by: its penalty, its objective, their optimisers."""
    penalty = experiment.penalty(model, options)
    learns = penalty is not None and any(p.requires_grad for p in penalty.parameters())
    optimizer = experiment.optimizer(model, options)
    parts: dict[str, Any] = {
        "penalty": penalty,
        "objective": naming_what_there_is(experiment.objective(options)),
        "optimizer": optimizer,
        "penalty_optimizer": experiment.penalty_optimizer(penalty, options) if learns else None,
        "schedulers": [experiment.schedule(optimizer, steps)],
        "inner_steps": experiment.inner_steps,
    }
    AlternatingStep(model, **parts)  # or says what is wrong with these
    return parts


def trainer_for(
    options: argparse.Namespace, model: Any, parts: dict[str, Any], saved: dict[str, Any]
) -> AlternatingTrainer:
    """The trainer of a model by the parts of an experiment; `saved` is where and how it saves what."""
    return AlternatingTrainer(
        model,
        **parts,
        accumulation=options.accumulation,
        clip_norm=options.clip_norm,
        seed=options.seed,
        device=options.device,
        precision=options.precision,
        trackers=options.tracker,
        **saved,
    )


def built(
    experiment: Experiment, options: argparse.Namespace, train: Recordings, task: Task, say: Callable[[str], None]
) -> tuple[Any, dict[str, Any], Any]:
    """The model for the training data, the configuration that builds it again, and its tokenizer."""
    check_modalities(train.feature_sizes)
    words = getattr(options, "max_words", 256)
    data = {"max_words": words, "computed_by": train.computed_by, "label": options.label}
    if options.modalities and "text" not in options.modalities:
        data["hears_words"] = False
    config = {"sizes": train.feature_sizes, "task": task.to_dict(), **experiment.arguments(options), DATA: data}
    refuse_what_json_lacks(config, "config")
    arguments = {name: value for name, value in config.items() if name != DATA}
    if not experiment.reads_text:
        return experiment.build(**arguments), config, None
    tiny = options.backbone == "tiny"
    say(f"backbone  {'tiny: random weights, vocabulary of the training text' if tiny else options.backbone}")
    backbone, tokenizer = tiny_backbone(train.text) if tiny else load_backbone(options.backbone)
    if side := getattr(options, "truncation_side", None):  # runs of earlier versions have none
        tokenizer.truncation_side = side  # it is saved with the tokenizer
    return (
        experiment.build(backbone=backbone, **arguments),
        {"backbone": backbone_config(backbone), **config},
        tokenizer,
    )


def check_modalities(names: Iterable[str]) -> None:
    """Refuses names of modalities that a model could not have parts of."""
    for name in names:
        if not name or "." in name or name[0] == "_" or name in ("text", *dir(nn.ModuleDict())):
            raise ValueError(
                f"expected a modality's name without '.', not beginning with '_', and none that torch itself uses (type, "
                f"values, ...), nor text, got {name!r}"
            )


def batches_of(datasets: dict[str, RecordingDataset], options: argparse.Namespace) -> DataLoader[Any]:
    """Labelled rows, with unlabelled ones at the given rate, in pieces of a batch if asked."""
    batch_size = options.batch_size
    unlabeled = "unlabeled" in datasets
    rows = [datasets["train"], *([datasets["unlabeled"]] if unlabeled else [])]
    if batch_size % options.accumulation:
        raise ValueError(f"expected an accumulation that divides the batch of {batch_size}, got {options.accumulation}")
    piece, rate = batch_size // options.accumulation, options.unlabeled_rate if unlabeled else 0.0
    if options.accumulation * round(rate * piece) != round(rate * batch_size):
        raise ValueError(
            f"expected an accumulation that divides the {round(rate * batch_size)} unlabelled rows of a batch as well, "
            f"got {options.accumulation}"
        )
    sampler = MixedBatchSampler(
        *map(len, rows),
        batch_size=piece,
        unlabeled_rate=rate,
        lengths=np.concatenate([each.lengths for each in rows]) if options.group_by_length else None,
        seed=options.seed,
    )
    return DataLoader(ConcatDataset(rows), batch_sampler=sampler, collate_fn=collate)


def class_names(train: Recordings, options: argparse.Namespace) -> list[str]:
    """The names of the labels that are learnt at once, or of the classes of the one."""
    return list(options.label) if options.label and len(options.label) > 1 else train.class_names.get("label", [])


def create_run(experiment: Experiment, options: argparse.Namespace, digests: dict[str, str]) -> Run:
    """The folder of a new run; of several processes, the first makes it."""
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    options.out = broadcast_object_list([options.out])[0]
    run = Run.create(options.out, config_of(experiment, options, digests)) if PartialState().is_main_process else None
    broadcast_object_list([None])  # the others wait until it is there; Accelerate's own barrier wants a device for each
    return run or Run.open(options.out)


def prepare_resuming(experiment: Experiment, options: argparse.Namespace) -> Callable[[], None]:
    """Goes on with a run, or with the runs of many seeds, by the options that it was started with."""
    run = Run.open(options.resume)
    config = dict(run.config)
    if "seeds" not in config:
        raise ValueError(
            f"{run.folder}: expected the folder of a run, got one whose config.json has no options of a run"
        )
    own, path = config.get(PROGRAM), file_of(experiment)
    if own is not None and path is not None and own != path.name:
        raise ValueError(f"{run.folder}: expected a run of {path.name}, got one of {own}")
    started = {name: value for name, value in config.items() if name not in (PROGRAM, PROGRAM_CHECKSUM, CHECKSUMS)}
    options = argparse.Namespace(**{**earlier(experiment), **started})
    refuse_elsewhere(data_files(options), run)
    prepare = prepare_seeds if options.seeds else prepare_training
    return prepare(experiment, options, run)


def config_of(experiment: Experiment, options: argparse.Namespace, digests: dict[str, str]) -> dict[str, Any]:
    """What a run notes of how it was started: its options, its program and its data, with their checksums."""
    path = file_of(experiment)
    program = {PROGRAM: path and path.name, PROGRAM_CHECKSUM: path and checksum(path)}
    return {**vars(options), **program, CHECKSUMS: digests}


def say_if_edited(experiment: Experiment, run: Run, say: Callable[[str], None]) -> None:
    """Says where a run goes on by another version of its program; what the program's file imports is not looked at."""
    path, known = file_of(experiment), run.config.get(PROGRAM_CHECKSUM)
    if path is not None and known is not None and (own := checksum(path)) != known:
        say(
            f"program   {path.name}: not the version that the run was started with, SHA-256 {known[:12]}…, but {own[:12]}…; "
            "the run goes on by this one"
        )


def digests_of(options: argparse.Namespace, run: Run | None) -> dict[str, str]:
    """The checksums of a run's data; raises `ValueError` where one that goes on learnt from others."""
    digests = {path: checksum(path) for path in data_files(options)}
    if run is not None:
        refuse_changed(run.config.get(CHECKSUMS, {}), digests, f"the data that the run in {run.folder} learnt from")
    return digests


def file_of(experiment: Experiment) -> Path | None:
    """The file of an experiment's program; `None` for one that is in no file, as of a notebook."""
    try:
        path = program_of(experiment)
    except (OSError, TypeError):
        return None
    return path if path.is_file() else None


def earlier(experiment: Experiment) -> dict[str, Any]:
    """The options that runs of earlier versions did not have, and what was done then."""
    return {
        **method_defaults(experiment),
        "label": None,
        "task": None,
        "modalities": None,
        "batch_size": experiment.batch_size,
        "keep_variables": False,
        "recipe": "paper",
    }


def prepare_seeds(experiment: Experiment, options: argparse.Namespace, run: Run | None = None) -> Callable[[], None]:
    """One run per seed, each a process of its own."""
    if options.tracker:
        raise ValueError("expected --tracker with a single run, got --seeds")
    if len(set(options.seeds)) < len(options.seeds):
        raise ValueError(f"expected seeds that are all different, got {', '.join(map(str, options.seeds))}")
    sources = labeled_splits(options.data, experiment.data, options.label)
    labels = labels_of(sources)
    task = task_for(options, labels, class_names(sources["train"], options), print)
    digests, arguments = digests_of(options, run), of_each_seed(experiment, options)
    if run is not None:
        say_if_edited(experiment, run, print)
    run = run or Run.create(options.out, config_of(experiment, options, digests))

    def command(seed: int, folder: Path) -> list[str]:
        return run_command(experiment, arguments, seed, folder)

    def train() -> None:
        run_seeds(command, options.seeds, run.folder, at_once=options.at_once)
        results = seed_results(run.folder)
        run.write("result.json", seeds_summary(results))
        for seed in results:
            keep_card(experiment, run.folder / f"seed-{seed}")
        print(seeds_table(results))
        print(f"\n{metrics_table(baselines(experiment, task, task.baselines(labels['train']), labels))}")
        print(f"everything is in {run.folder}")

    return train
