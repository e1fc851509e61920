"""Pairs that say nothing are named: those without rows, and those whose estimator says the same of every row."""

import warnings

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from disentangle import HSIC, AlternatingTrainer, CLUBEstimator, Model, Pairwise, PenaltyLoss, Rows
from disentangle.errors import EstimatorWarning
from disentangle.training.lag import FIRST_STEPS


def clubs():
    return Pairwise({("a", "b"): CLUBEstimator(2, 2), ("a", "c"): CLUBEstimator(2, 2)})


def warned(loss, calls, present=None):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(calls):
            loss({name: torch.randn(16, 2, requires_grad=True) for name in "abc"}, present)
    return [str(each.message) for each in caught]


def test_a_pair_that_never_has_rows_is_named_once():
    apart = {"a": torch.arange(16) < 8, "c": torch.arange(16) >= 8}
    (message,) = warned(PenaltyLoss(clubs(), inner_steps=1), 3 * FIRST_STEPS, apart)
    assert message.startswith("call 25: CLUB(a;c): no batch so far had rows enough with all its variables")


def test_a_pair_that_had_rows_before_is_not_named():
    loss, absent = PenaltyLoss(Pairwise({("a", "b"): HSIC()})), {"a": torch.zeros(16, dtype=torch.bool)}
    assert not warned(loss, 1)
    assert not warned(loss, 3 * FIRST_STEPS, absent)


def test_an_estimator_that_says_the_same_of_every_row_is_named_once_and_goes_on():
    dead = CLUBEstimator(2, 2)
    with torch.no_grad():
        dead.conditional.network[0].bias.fill_(-100.0)  # no unit answers any x
    loss = PenaltyLoss(Pairwise({("a", "b"): dead, ("a", "c"): CLUBEstimator(2, 2)}), inner_steps=1)
    (message,) = warned(loss, 3 * FIRST_STEPS)
    assert message.startswith("call 25: CLUB(a;b): 0 for some time: the estimator says the same of every row")


class Three(Model):
    """Three latents of one input; no row has both b and c."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleDict({name: nn.Linear(4, 2) for name in "abc"})

    def forward(self, batch):
        return {name: layer(batch) for name, layer in self.layers.items()}

    def present(self, batch):
        rows = torch.arange(len(batch)) % 2 == 0
        return {"b": rows, "c": ~rows}

    def losses(self, variables, batch):
        return {"size": Rows.unweighted(variables["a"].square().mean(1))}


def test_a_trainer_names_it_after_an_epoch():
    model = Three()
    pairs = Pairwise({("a", "b"): HSIC(), ("b", "c"): HSIC()})
    trainer = AlternatingTrainer(
        model,
        nn.ModuleDict({"apart": pairs}),
        objective=lambda losses, penalties: losses["size"].mean() + sum(penalties["apart"].values()),
        optimizer=torch.optim.Adam(model.parameters()),
        device="cpu",
        progress=False,
    )
    with pytest.warns(EstimatorWarning, match=r"step 2: apart/HSIC\(b;c\): no batch so far had rows enough") as caught:
        trainer.fit(DataLoader(torch.randn(32, 4), batch_size=16), 3)
    assert len([each for each in caught if issubclass(each.category, EstimatorWarning)]) == 1
