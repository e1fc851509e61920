"""The command line that all experiments share; each adds the options of its own method."""

from __future__ import annotations

import argparse
import math
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from disentangle.experiments.experiment import Experiment
from disentangle.experiments.recipe import recipe_defaults
from disentangle.tasks import TASKS

__all__ = ["as_arguments", "method_defaults", "one_seed", "parse", "recording_of"]

PREDICT = """\
What a run's model, at its best epoch, says of your own recordings, and what each modality contributes: the prediction
from everything given, less the one from everything but this modality, which is then masked in all of the model, as it
is in recordings that lack it. Any of the run's modalities can be left out.

One recording is printed. --csv takes a table of them, with columns id, text or transcript, audio, vision (or whichever
modalities the run has), blank where there is none; paths are relative to the table's folder. --data takes a data set,
in any layout that can be trained on. Both write a table to --out; rows that cannot be read are at its end, with the
reason in the column error."""


def parse(experiment: Experiment, arguments: list[str] | None) -> argparse.Namespace:
    """The options of an experiment's program."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=experiment.description, formatter_class=form, exit_on_error=False)
    _add_data(parser, experiment)
    method = parser.add_argument_group("method")
    if experiment.reads_text:
        method.add_argument(
            "--backbone", help="name, local folder, or 'tiny' (small, random; its vocabulary is learnt from the data)"
        )
    experiment.options(method)
    _add_training(parser, experiment)
    commands = parser.add_subparsers(dest="command", title="instead of training")
    again = commands.add_parser(
        "evaluate",
        help="the metrics of a run",
        description="The metrics of a run, at its best epoch so far: those that fit the labels that it was trained on.",
    )
    again.add_argument("--data", metavar="FILE", help="evaluate on this file, not on the run's own")
    own = commands.add_parser(
        "predict", help="predictions for your own recordings", description=PREDICT, formatter_class=form
    )
    _add_prediction(own)
    written = commands.add_parser(
        "export",
        help="a run's model as an ONNX file",
        description="A run's model, at its best epoch, as a file for ONNX Runtime: see docs/deploying.md.",
    )
    written.add_argument("--out", required=True, metavar="FILE.onnx", help="the file to write, a new one")
    written.add_argument("--int8", action="store_true", help="store and multiply matrices in 8 bits")
    pushed = commands.add_parser(
        "push",
        help="a run's model to the Hugging Face Hub",
        description="Uploads a run's model, at its best epoch, with its card: see docs/deploying.md.",
    )
    pushed.add_argument("--repo", required=True, metavar="USER/NAME", help="the repository, made where there is none")
    pushed.add_argument("--private", action="store_true", help="make a new repository a private one")
    for command in (again, own, written, pushed):
        command.add_argument(
            "--run",
            required=True,
            metavar="FOLDER",
            help="the run's folder, the model folder in it, or USER/NAME on the Hub",
        )
    for command in (again, own):
        command.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default: %(default)s)")
    options = _parse_or_say_what_is_left_over(parser, sys.argv[1:] if arguments is None else arguments)
    if options.command is None:
        _refuse_beside_resume(parser, options, sys.argv[1:] if arguments is None else arguments)
        _take_defaults(parser, experiment, options)
        options.out = options.out or f"runs/{time.strftime('%Y-%m-%d_%H-%M-%S')}"
    return options


def method_defaults(experiment: Experiment) -> dict[str, Any]:
    """The defaults of the options that an experiment has of its own."""
    parser = argparse.ArgumentParser()
    experiment.options(parser)
    return vars(parser.parse_args([]))


def one_seed(options: argparse.Namespace, seed: int, folder: Path) -> list[str]:
    """The arguments of the run with one of several seeds."""
    own = {"seed": seed, "out": folder, "seeds": None, "at_once": None, "command": None}
    return as_arguments({**vars(options), **own})


def as_arguments(options: Mapping[str, Any]) -> list[str]:
    """Options by name as the command line has them."""
    arguments: list[str] = []
    for name, value in options.items():
        option = "--" + name.replace("_", "-")
        if value is True:
            arguments.append(option)
        elif isinstance(value, list):
            arguments += [part for each in value for part in (option, each)]
        elif value is not None and value is not False:
            arguments += [option, str(value)]
    return arguments


def recording_of(options: argparse.Namespace) -> dict[str, str]:
    """The one recording of `predict`: its text, or files by name; empty where there is a table or a data set instead."""
    given = {name: value for name in ("text", "transcript", "audio", "vision") if (value := getattr(options, name))}
    for item in options.features:
        name, equals, path = item.partition("=")
        if not equals or name in given:
            raise ValueError(f"expected --features NAME=FILE.npy, and each modality once, got {item}")
        given[name] = path
    if [bool(given), bool(options.csv), bool(options.data)].count(True) != 1:
        raise ValueError("expected a recording (--text, --transcript, --audio, --vision, --features), --csv or --data")
    if bool(options.out) == bool(given):
        raise ValueError("expected --out FILE.csv with --csv or --data, and not with a single recording")
    if options.json and not given:
        raise ValueError("expected --json with a single recording; --csv and --data write a table to --out")
    return given


def _parse_or_say_what_is_left_over(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """The options; of a value that no option takes, argparse itself would say that it is no command."""
    defaults = {"--" + name.replace("_", "-"): value for name, value in vars(parser.parse_args([])).items()}
    try:
        options, left = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        value = re.match(r"invalid choice: '(.*?)' \(", error.message)
        blamed = value[1] if error.argument_name == "command" and value else None
        parser.error(_left_over(arguments, blamed, defaults) if blamed is not None else str(error))
    if options.command is not None and arguments[0] != options.command:
        parser.error(f"expected the options of {options.command} behind it, got {arguments[0]} before it")
    if left:
        unknown = left[0].startswith("--")
        parser.error(f"unknown option {left[0]}" if unknown else _left_over(arguments, left[0], defaults))
    return options


def _refuse_beside_resume(parser: argparse.ArgumentParser, options: argparse.Namespace, arguments: list[str]) -> None:
    """Refuses options that would not count: a run goes on by its own."""
    if options.resume:
        given = [each.partition("=")[0] for each in arguments if each.startswith("--")]
        if more := [each for each in given if each not in ("--resume", "--preset")]:
            parser.error(f"expected --resume alone, by whose own options the run goes on, got {more[0]} as well")


def _take_defaults(parser: argparse.ArgumentParser, experiment: Experiment, options: argparse.Namespace) -> None:
    """Gives options that are not given the values that the experiment has for the recipe and the data."""
    _refuse_names_that_do_not_count(parser, experiment, options)
    if options.recipe is None:
        options.recipe = "tuned" if options.data else "paper"
    place = "defaults" if options.data else "embedded"
    for name, value in recipe_defaults(getattr(experiment, place), options, experiment.tuned).items():
        if getattr(options, name, value) is None:
            setattr(options, name, value)
    for name in ("lr", "epochs", *(("backbone",) if experiment.reads_text else ())):
        if getattr(options, name) is None and not options.resume:
            parser.error(f"expected --{name}, or {name} in the experiment's {place}, got neither")


def _refuse_names_that_do_not_count(
    parser: argparse.ArgumentParser, experiment: Experiment, options: argparse.Namespace
) -> None:
    """Refuses names in an experiment's defaults that are of no option, or of one that has a default of its own."""
    unread = () if experiment.reads_text else ("backbone", "backbone_lr")  # what the shared defaults name all the same
    for place in ("defaults", "tuned", "embedded"):
        for name in getattr(experiment, place):
            if name not in options and name not in unread:
                parser.error(f"expected names of options in the experiment's {place}, got {name}, which is none")
            if (own := parser.get_default(name)) is not None:
                parser.error(
                    f"expected options without a default in the experiment's {place}, got {name}, whose own is {own}"
                )


def _left_over(arguments: list[str], value: str, defaults: dict[str, object]) -> str:
    """What is wrong with a value that no option takes: which option it stands behind."""
    flags = {"--json", *(option for option, default in defaults.items() if default is False)}
    places = [i for i, each in enumerate(arguments) if each == value]
    place = next(
        (i for i in places if not i or not arguments[i - 1].startswith("--") or arguments[i - 1] in flags), None
    )
    if place is None:  # so that the option before it is none that takes one
        return f"unknown option {arguments[places[0] - 1]}"
    before = [i for i in range(place) if arguments[i].startswith("--")]
    if not before:
        return f"expected options, or evaluate, predict, export or push, got {value}"
    option, given = arguments[before[-1]], arguments[before[-1] + 1 : place + 1]
    wanted = "no value" if option in flags else "one value"
    quoted = f'; as one, "{" ".join(given)}"' if option in ("--text", "--data", "--out", "--run") else ""
    return f"expected {wanted} after {option}, got {' '.join(given)}{quoted}"


def _number(least: int, kind: Callable[[str], float] = int, *, above: bool = False) -> Callable[[str], Any]:
    """What reads an option that is a number of at least, or `above`, some value."""
    what = f"a {'whole ' * (kind is int)}number {'above' if above else 'of at least'} {least:g}"

    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (value > least if above else value >= least) or math.isinf(value):
            raise argparse.ArgumentTypeError(f"expected {what}, got {text}")
        return value

    return read


COUNT = _number(1)


def _add_data(parser: argparse.ArgumentParser, experiment: Experiment) -> None:
    add = parser.add_argument_group("data").add_argument
    add("--data", metavar="FILE", help="file or folder of train, valid, test recordings; without it, the synthetic set")
    add(
        "--label",
        action="append",
        metavar="NAME",
        help="which of several labels of the data to learn; repeated, all of them at once (default: the main one)",
    )
    add(
        "--modalities",
        nargs="+",
        action="extend",
        metavar="NAME",
        help="use these alone, such as text audio; without text the words are hidden (default: all)",
    )
    add("--task", choices=TASKS, help="what the labels are (default: told from those of training, and printed)")
    if experiment.unlabeled:
        add(
            "--unlabeled",
            metavar="FILE",
            help="file or folder of recordings without labels to learn from as well (default: those in --data)",
        )
        add(
            "--unlabeled-rate",
            type=_number(0, float),
            default=1.0,
            help="unlabelled rows per labelled one (default: %(default)s)",
        )
    add("--group-by-length", action="store_true", help="batches of rows of like length: less padding, less chance")
    if experiment.reads_text:
        add("--max-words", type=int, default=256, help="word pieces kept of a transcript (default: %(default)s)")
        add(
            "--truncation-side",
            choices=("right", "left"),
            help="where longer transcripts are cut: at their end (right), or at their beginning (left), which keeps what is "
            "said last (default: the tokenizer's, mostly right)",
        )


def _add_training(parser: argparse.ArgumentParser, experiment: Experiment) -> None:
    add = parser.add_argument_group("training").add_argument
    add(
        "--recipe",
        choices=("paper", "tuned"),
        help="rates, decay and epochs: the paper's, or tuned on validation data (default: tuned; paper on the synthetic set)",
    )
    rates = {"lr": "learning rate of the model", "backbone_lr": "of the backbone, and of what injects into it"}
    rates["encoder_lr"] = "of encoders of sequences"
    rates["weight_decay"] = "of all but biases and norms; by the recipe paper 0.01 of everything"
    for name, what in rates.items():
        if name != "backbone_lr" or experiment.reads_text:
            add(
                "--" + name.replace("_", "-"),
                type=_number(0, float),
                help=f"{what} (default: {_defaults(experiment, name)})",
            )
    add("--epochs", type=COUNT, help=f"(default: {_defaults(experiment, 'epochs')})")
    add("--patience", type=COUNT, help="stop after this many epochs without a better one (default: never)")
    add(
        "--clip-norm",
        type=_number(0, float, above=True),
        help="clip the norm of the model's gradients (default: as they are)",
    )
    add(
        "--batch-size",
        type=COUNT,
        default=experiment.batch_size,
        help="labelled rows in a batch (default: %(default)s)",
    )
    add(
        "--accumulation",
        type=COUNT,
        default=1,
        help="in how many pieces a batch is computed: less memory, more time (default: %(default)s)",
    )
    add("--precision", choices=("no", "bf16", "fp16"), default="no", help="mixed precision (default: %(default)s)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default: %(default)s)")
    add("--seed", type=_number(0), default=0, help="(default: %(default)s)")
    add(
        "--seeds",
        type=_number(0),
        nargs="+",
        metavar="SEED",
        help="train once per seed, and print mean ± standard deviation",
    )
    add("--at-once", type=COUNT, default=1, help="how many of the seeds are trained at a time (default: %(default)s)")
    add("--out", metavar="FOLDER", help="the run's folder, new (default: runs/<date and time>)")
    add("--resume", metavar="RUN", help="go on where this run, or these seeds, stopped; its own options count")
    add("--checkpoint-every", type=COUNT, metavar="STEPS", help="(default: once per epoch)")
    add(
        "--keep-variables",
        action="store_true",
        help="after each epoch, keep what the model makes of the validation split, in the run's folder variables",
    )
    add("--tracker", action="append", default=[], help="also log to tensorboard, wandb, mlflow, ...; may be repeated")


def _defaults(experiment: Experiment, name: str) -> str:
    """What an option is where it is not given, by recipe and data."""
    places = {"paper": experiment.defaults, "tuned": experiment.tuned, "synthetic set": experiment.embedded}
    known = [f"{place} {values[name]:g}" for place, values in places.items() if name in values]
    return ", ".join(known) or "--lr"


def _add_prediction(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("one recording").add_argument
    add("--text", help="what is said")
    add("--transcript", metavar="FILE", help="what is said: .txt, .srt, .vtt, .json or .csv")
    add("--audio", metavar="FILE", help="sound or video, or features (frames, features) as .npy")
    add("--vision", metavar="FILE", help="the .csv that OpenFace wrote of a video, or features as .npy")
    add("--features", action="append", default=[], metavar="NAME=FILE.npy", help="another modality; may be repeated")
    add(
        "--like",
        choices=("paper", "mmsa"),
        help="what the run's audio features were computed by, where neither a record nor their numbers tell",
    )
    add("--json", action="store_true", help="print JSON")
    add = parser.add_argument_group("many recordings").add_argument
    add("--csv", metavar="FILE", help="a table of recordings")
    add("--data", metavar="FILE", help="a data set, a file or a folder")
    add("--out", metavar="FILE.csv", help="where to write the predictions, a new file")
