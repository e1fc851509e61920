"""Options of an experiment's own: runs of many seeds, and the card's command, have the values that were given."""

import json
from argparse import BooleanOptionalAction, Namespace

import pytest

from disentangle.experiments import Experiment
from disentangle.experiments.options import as_arguments, of_each_seed, parse


def build(sizes, task):
    raise AssertionError


def own(group):
    group.add_argument("--names", nargs="+")
    group.add_argument("--sizes", nargs=2, type=int, default=[1, 2])
    group.add_argument("--parts", action="append", type=int)
    group.add_argument("--skip", action=BooleanOptionalAction, default=True)
    group.add_argument("--no-bias", dest="bias", action="store_false")
    group.add_argument("--deep", dest="layers", action="store_const", const=4, default=1)
    group.add_argument("--shift", type=float, default=0.0)
    group.add_argument("--pair", type=lambda text: text.split(","))


PAPER = Experiment(build=build, objective=lambda options: lambda losses, penalties: losses["Y"].mean(), options=own)


@pytest.mark.parametrize(
    ("given", "again"),
    [
        (["--names", "a", "b"], {"names": ["a", "b"]}),
        (["--sizes", "3", "4"], {"sizes": [3, 4]}),
        (["--parts", "1", "--parts", "2"], {"parts": [1, 2]}),
        (["--no-skip"], {"skip": False}),
        (["--skip"], {"skip": True}),
        (["--no-bias"], {"bias": False}),
        (["--deep"], {"layers": 4}),
        (["--shift=-1e-5"], {"shift": -1e-5}),
        (["--label", "x", "--label", "y"], {"label": ["x", "y"]}),
        (["--modalities", "text", "audio"], {"modalities": ["text", "audio"]}),
        ([], {"names": None, "sizes": [1, 2], "skip": True, "bias": True, "layers": 1}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_each_of_several_seeds_has_what_was_given(given, again):
    started = parse(PAPER, [*given, "--seeds", "1", "2", "--at-once", "2"])
    of_config = Namespace(**json.loads(json.dumps(vars(started))))  # as seeds that go on have them
    for options in (started, of_config):
        arguments = of_each_seed(PAPER, options)
        assert all(isinstance(each, str) for each in arguments)
        one = {**vars(parse(PAPER, [*arguments, "--seed", "2"])), "out": None}
        assert one == {**vars(started), "seed": 2, "seeds": None, "at_once": 1, "out": None}
        assert again.items() <= one.items()


def test_what_is_as_it_is_anyway_is_not_said():
    assert as_arguments(PAPER, {"skip": True, "sizes": [1, 2], "seed": 0, "lr": 0.1}) == ["--lr", "0.1"]


def test_seeds_refuse_an_option_that_arguments_do_not_say():
    options = parse(PAPER, ["--pair", "a,b", "--seeds", "1", "2"])
    with pytest.raises(ValueError, match=r"to each of several seeds, got pair \['a', 'b'\], which .* makes \['b'\]"):
        of_each_seed(PAPER, options)


@pytest.mark.parametrize("arguments", [["--shif", "0.5"], ["--res", "run"], ["predict", "--run", "r", "--tex", "so"]])
def test_options_are_not_shortened(arguments, capsys):
    with pytest.raises(SystemExit):
        parse(PAPER, arguments)
    short = next(each for each in arguments if each in ("--shif", "--res", "--tex"))
    assert f"unknown option {short}\n" in capsys.readouterr().err
