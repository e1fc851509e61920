"""The command line that all experiments share; each adds the options of its own method."""

from __future__ import annotations

import argparse
import functools
import math
import re
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from disentangle.experiments.experiment import Experiment
from disentangle.experiments.recipe import recipe_defaults
from disentangle.tasks import TASKS

__all__ = ["COUNT", "SEED", "as_arguments", "method_defaults", "number", "of_each_seed", "parse", "recording_of"]

OF_ONE_RUN = ("seed", "seeds", "at_once", "out", "resume", "command")  # options in which runs of several seeds differ
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
    given = sys.argv[1:] if arguments is None else arguments
    parser = _parser(experiment)
    options = _parse_or_say_what_is_left_over(parser, given)
    if options.command is None:
        _refuse_beside_resume(parser, options, given)
        _take_defaults(parser, experiment, options)
        options.out = options.out or f"runs/{time.strftime('%Y-%m-%d_%H-%M-%S')}"
    return options


def _parser(experiment: Experiment) -> argparse.ArgumentParser:
    """The command line. Options go by their full names alone: whatever looks for one among arguments knows no other."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        description=experiment.description, formatter_class=form, exit_on_error=False, allow_abbrev=False
    )
    _add_data(parser, experiment)
    method = parser.add_argument_group("method")
    if experiment.reads_text:
        method.add_argument(
            "--backbone", help="name, local folder, or 'tiny' (small, random; its vocabulary is learnt from the data)"
        )
    experiment.options(method)
    _add_training(parser, experiment)
    commands = parser.add_subparsers(dest="command", title="instead of training")
    add_command = functools.partial(commands.add_parser, formatter_class=form, allow_abbrev=False)
    again = add_command(
        "evaluate",
        help="the metrics of a run",
        description="The metrics of a run, at its best epoch so far: those that fit the labels that it was trained on.",
    )
    again.add_argument("--data", metavar="FILE", help="evaluate on this file, not on the run's own")
    own = add_command("predict", help="predictions for your own recordings", description=PREDICT)
    _add_prediction(own)
    written = add_command(
        "export",
        help="a run's model as an ONNX file",
        description="A run's model, at its best epoch, as a file for ONNX Runtime: see docs/deploying.md.",
    )
    written.add_argument("--out", required=True, metavar="FILE.onnx", help="the file to write, a new one")
    written.add_argument("--int8", action="store_true", help="store and multiply matrices in 8 bits")
    pushed = add_command(
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
    return parser


def method_defaults(experiment: Experiment) -> dict[str, Any]:
    """The defaults of the options that an experiment has of its own."""
    parser = argparse.ArgumentParser()
    experiment.options(parser)
    return vars(parser.parse_args([]))


def of_each_seed(experiment: Experiment, options: argparse.Namespace) -> list[str]:
    """What the runs with several seeds have in common, as arguments; raises `ValueError` where these would not say it."""
    shared = {name: value for name, value in vars(options).items() if name not in OF_ONE_RUN}
    arguments = as_arguments(experiment, shared)
    read = vars(parse(experiment, arguments))
    for name, value in shared.items():
        if name in read and read[name] != value:
            raise ValueError(
                f"expected options that arguments can give to each of several seeds, got {name} {value!r}, which "
                f"{shlex.join(arguments)} makes {read[name]!r}"
            )
    return arguments


def as_arguments(experiment: Experiment, options: Mapping[str, Any]) -> list[str]:
    """Options by name as the command line has them; those that have a value which they have by themselves are left out."""
    actions = [each for each in _parser(experiment)._actions if each.dest in options]
    return [part for action in actions for part in _given(action, options[action.dest])]


def _given(action: argparse.Action, value: Any) -> list[str]:
    """The arguments that give an option a value."""
    if value is None or value == action.default:
        return []
    if action.nargs == 0:
        return [option for option in action.option_strings if _value_of(action, option) == value][:1]
    option = next((each for each in action.option_strings if each.startswith("--")), action.option_strings[0])
    if action.nargs not in (None, "?"):
        return [option, *map(str, value)]
    values = map(str, value if isinstance(value, list) else [value])
    return [part for each in values for part in ([f"{option}={each}"] if each.startswith("-") else [option, each])]


def _value_of(action: argparse.Action, option: str) -> Any:
    """What an option that takes no value stands for, such as `--skip` or `--no-skip`."""
    options = argparse.Namespace()
    action(argparse.ArgumentParser(), options, [], option)
    return getattr(options, action.dest)


def recording_of(options: argparse.Namespace) -> dict[str, str]:
    """The one recording of `predict`: its text, or files by name; empty where there is a table or a data set instead."""
    names = ("text", "transcript", "audio", "vision")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
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
    flags = {"--json", *(option for each in parser._actions if each.nargs == 0 for option in each.option_strings)}
    try:
        options, left = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        value = re.match(r"invalid choice: '(.*?)' \(", error.message)
        blamed = value[1] if error.argument_name == "command" and value else None
        parser.error(_left_over(arguments, blamed, flags) if blamed is not None else str(error))
    if options.command is not None and arguments[0] != options.command:
        parser.error(f"expected the options of {options.command} behind it, got {arguments[0]} before it")
    if left:
        unknown = left[0].startswith("--")
        parser.error(f"unknown option {left[0]}" if unknown else _left_over(arguments, left[0], flags))
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


def _left_over(arguments: list[str], value: str, flags: set[str]) -> str:
    """What is wrong with a value that no option takes: which option it stands behind; `flags` are those that take none."""
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


def number(
    least: int, kind: Callable[[str], float] = int, *, above: bool = False, most: float = math.inf
) -> Callable[[str], Any]:
    """What reads an option that is a number of at least, or `above`, some value, and perhaps at most another."""
    between = f"from {least:g} to {most:.0f}" if most < math.inf else f"{'above' if above else 'of at least'} {least:g}"

    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (least < value <= most if above else least <= value <= most) or math.isinf(value):
            raise argparse.ArgumentTypeError(f"expected a {'whole ' * (kind is int)}number {between}, got {text}")
        return value

    return read


COUNT = number(1)
SEED = number(0, most=2.0**32 - 1)  # what NumPy takes; torch takes more


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
            type=number(0, float),
            default=1.0,
            help="unlabelled rows per labelled one (default: %(default)s)",
        )
    add("--group-by-length", action="store_true", help="batches of rows of like length: less padding, less chance")
    if experiment.reads_text:
        add("--max-words", type=COUNT, default=256, help="word pieces kept of a transcript (default: %(default)s)")
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
                type=number(0, float),
                help=f"{what} (default: {_defaults(experiment, name)})",
            )
    add("--epochs", type=COUNT, help=f"(default: {_defaults(experiment, 'epochs')})")
    add("--patience", type=COUNT, help="stop after this many epochs without a better one (default: never)")
    add(
        "--clip-norm",
        type=number(0, float, above=True),
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
    precision = (
        "mixed precision; a CPU without instructions for bf16 takes twice as long with it (default: %(default)s)"
    )
    add("--precision", choices=("no", "bf16", "fp16"), default="no", help=precision)
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default: %(default)s)")
    add("--seed", type=SEED, default=0, help="(default: %(default)s)")
    add(
        "--seeds",
        type=SEED,
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
