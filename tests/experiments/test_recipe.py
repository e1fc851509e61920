"""Which parameters learn at which rate and decay, and which recipe a run has where nothing is said."""

from argparse import Namespace

import pytest
import torch
from torch import nn

from disentangle.experiments import Experiment, adamw
from disentangle.experiments.options import of_each_seed, parse
from disentangle.nn import NonverbalInjection, SequenceEncoder


class Small(nn.Module):
    """A backbone somewhere inside, a norm, and a matrix with a rate of its own."""

    def __init__(self):
        super().__init__()
        self.read = nn.ModuleDict({"backbone": nn.Sequential(nn.Embedding(5, 4), nn.LayerNorm(4), nn.Linear(4, 4))})
        self.own = nn.Linear(4, 4)
        self.head = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 1))


def moved(model, options, rates=None):
    """The factor of each parameter over a step without a gradient: 1 less rate times decay."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    adamw(model, options, rates).step()
    return {name: (p.detach() / before[name]).flatten()[-1].item() for name, p in model.named_parameters()}


def test_matrices_decay_at_their_own_rate_and_biases_and_norms_do_not():
    options = Namespace(lr=0.1, backbone_lr=0.01, weight_decay=0.5)
    factors = moved(filled(Small()), options, {"own.": 0.2})
    weights = {
        "read.backbone.0.weight": 0.995,
        "read.backbone.2.weight": 0.995,
        "own.weight": 0.9,
        "head.1.weight": 0.95,
    }
    assert factors == pytest.approx({name: weights.get(name, 1.0) for name in factors})


def filled(model):
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(1.0)
    return model


@pytest.mark.parametrize("options", [Namespace(lr=0.1), Namespace(lr=0.1, backbone_lr=None, weight_decay=None)])
def test_without_the_options_it_is_adamw_on_everything_and_earlier_checkpoints_fit(options):
    model = filled(Small())
    earlier = torch.optim.AdamW(model.parameters(), 0.1)
    for p in model.parameters():
        p.grad = torch.rand_like(p)
    earlier.step()
    optimizer = adamw(model, options)
    optimizer.load_state_dict(earlier.state_dict())
    for p in model.parameters():
        torch.testing.assert_close(optimizer.state[p]["exp_avg"], earlier.state[p]["exp_avg"])
    assert moved(filled(model), options) == pytest.approx({name: 0.999 for name, _ in model.named_parameters()})


def test_earlier_checkpoints_with_two_rates_fit():
    model, options = Small(), Namespace(lr=0.1, backbone_lr=0.1)
    backbone = list(model.read.parameters())
    others = [*model.own.parameters(), *model.head.parameters()]
    shapes = [[tuple(p.shape) for p in group] for group in (others, backbone)]
    assert [[tuple(p.shape) for p in group["params"]] for group in adamw(model, options).param_groups] == shapes


def experiment_of(build=None, **settings):
    def reads(backbone, sizes, task):
        raise AssertionError

    build = build or reads
    return Experiment(build=build, objective=lambda options: lambda losses, penalties: losses["Y"].mean(), **settings)


def parsed(*arguments, **settings):
    return parse(experiment_of(**settings), [str(each) for each in arguments])


def test_a_recipe_is_the_options_that_are_not_given():
    paper = parsed("--data", "x", "--recipe", "paper")
    assert (paper.lr, paper.backbone_lr, paper.weight_decay, paper.epochs) == (1e-5, None, None, 100)
    own = {"lr": 0.5, "backbone_lr": 0.25, "weight_decay": 0.125, "epochs": 3}
    tuned = parsed("--data", "x", "--recipe", "tuned", "--epochs", 7, tuned=own)
    assert (tuned.lr, tuned.backbone_lr, tuned.weight_decay, tuned.epochs) == (0.5, 0.25, 0.125, 7)


def test_data_of_ones_own_is_learnt_by_the_tuned_recipe_and_the_synthetic_set_by_the_papers():
    assert parsed("--data", "x").recipe == "tuned"
    assert parsed().recipe == "paper"


def test_a_backbone_of_random_weights_learns_as_fast_as_the_rest():
    assert parsed("--data", "x", "--recipe", "tuned", "--backbone", "tiny").backbone_lr is None
    slow = {"lr": 1.0, "epochs": 1, "backbone_lr": 0.1, "encoder_lr": 0.1}
    assert parsed("--data", "x", "--recipe", "tuned", "--backbone", "tiny", tuned=slow).encoder_lr is None
    given = parsed("--data", "x", "--recipe", "tuned", "--backbone", "tiny", "--backbone-lr", 0.5)
    assert given.backbone_lr == 0.5


def test_encoders_have_their_rate_and_what_moves_the_words_of_a_backbone_has_the_backbones():
    parts = {"inject": NonverbalInjection(4, {"audio": 3}), "read": SequenceEncoder(3, 2), "head": nn.Linear(4, 1)}
    groups = adamw(nn.ModuleDict(parts), Namespace(lr=0.1, encoder_lr=0.02, backbone_lr=0.01)).param_groups
    assert [group["lr"] for group in groups] == [0.1, 0.02, 0.01]
    assert [group["params"] for group in groups] == [list(parts[m].parameters()) for m in ("head", "read", "inject")]


def test_defaults_that_would_not_count_are_refused_by_name(capsys):
    def refused(message, *arguments, **settings):
        with pytest.raises(SystemExit, match="2"):
            parsed(*arguments, **settings)
        assert capsys.readouterr().err.splitlines()[-1].endswith(f"error: {message}")

    whole = {"lr": 1.0, "epochs": 1, "backbone": "tiny"}
    for place in ("defaults", "tuned", "embedded"):
        none = f"expected names of options in the experiment's {place}, got alhpa, which is none"
        refused(none, "--data", "x", **{place: {**whole, "alhpa": 0.1}})
        own = f"expected options without a default in the experiment's {place}, got batch_size, whose own is 32"
        refused(own, **{place: {**whole, "batch_size": 8}})
    for name in whole:
        less = {key: value for key, value in whole.items() if key != name}
        refused(f"expected --{name}, or {name} in the experiment's embedded, got neither", embedded=less)
        refused(
            f"expected --{name}, or {name} in the experiment's defaults, got neither",
            "--data",
            "x",
            defaults=less,
            tuned={},
        )
        assert getattr(parsed(f"--{name}={whole[name]}", embedded=less), name) == whole[name]
    assert parsed("--resume", "run", embedded={}).resume == "run"  # a run goes on by its own


def test_without_text_the_shared_defaults_hold_but_for_the_backbone():
    def build(sizes, task):
        raise AssertionError

    options = parsed("--data", "x", build=build)
    assert (options.lr, options.epochs) == (1e-3, 30)
    assert not hasattr(options, "backbone")
    assert not hasattr(options, "backbone_lr")


@pytest.mark.parametrize("recipe", ["paper", "tuned"])
def test_each_of_several_seeds_has_the_recipe(recipe):
    options = parsed("--data", "x", "--recipe", recipe, "--seeds", 0, 1)
    again = parsed(*of_each_seed(experiment_of(), options), "--seed", 1)
    same = ("recipe", "lr", "backbone_lr", "weight_decay", "epochs")
    assert [getattr(again, name) for name in same] == [getattr(options, name) for name in same]
