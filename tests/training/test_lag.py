"""Estimators that lag behind the latents are told from those that keep up, on a problem where it is known which do."""

import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from disentangle import AlternatingTrainer, CLUBEstimator, Model, Pairwise, PenaltyLoss, Rows
from disentangle.conditionals import CategoricalConditional
from disentangle.nn import NoisyLatent
from disentangle.training import EstimatorWarning
from disentangle.training.lag import LAGS, Lag


class Digits(Model):
    """A latent of a digit's picture that must not tell the digit, and a decoder that is told it."""

    def __init__(self):
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 8), NoisyLatent(8, 0.3))
        self.decode = nn.Sequential(nn.Linear(18, 128), nn.ReLU(), nn.Linear(128, 64))

    def forward(self, batch):
        return {"z": self.encode(batch[0]), "digit": batch[1]}

    def losses(self, variables, batch):
        told = F.one_hot(variables["digit"], 10).float()
        error = self.decode(torch.cat([variables["z"], told], 1)) - batch[0]
        return {"recon": Rows.unweighted(error.square().mean(1))}


def trained(rate, epochs):
    """The reports. By fresh probes a neural network reads the digit at 0.35 after a rate of 1e-4, and 0.2 after 1e-2."""
    torch.manual_seed(0)
    data = load_digits()
    rows = TensorDataset(torch.tensor(data.data / 16, dtype=torch.float32), torch.tensor(data.target))
    club = CLUBEstimator(8, 1, conditional=CategoricalConditional(8, classes=10))
    model, pairs = Digits(), Pairwise({("z", "digit"): club})
    trainer = AlternatingTrainer(
        model,
        pairs,
        objective=lambda losses, penalties: losses["recon"].mean().log() + sum(penalties.values()),
        optimizer=torch.optim.Adam(model.parameters(), 2e-3),
        penalty_optimizer=torch.optim.Adam(pairs.parameters(), rate, fused=True),
        device="cpu",
    )
    return trainer.fit(DataLoader(rows, batch_size=128, shuffle=True, drop_last=True), epochs)


def test_slow_estimators_lag_and_it_is_said_once(capsys):
    with pytest.warns(
        EstimatorWarning, match=r"the estimators lag, by 0\.\d\d of 1: .* raise the learning rate"
    ) as caught:
        history = trained(1e-4, epochs=4)
    assert len([each for each in caught if each.category is EstimatorWarning]) == 1
    assert [report.get("lags", False) for report in history] == [False, True, True, True]
    lines = capsys.readouterr().err.splitlines()
    assert ["estimators lag (0." in line for line in lines if line.startswith("step")] == [False, True, True, True]


def test_estimators_that_keep_up_do_not():
    with warnings.catch_warnings():
        warnings.simplefilter("error", EstimatorWarning)
        history = trained(1e-2, epochs=8)
    assert not any("lags" in report for report in history)
    assert sum(report["lag"] for report in history[4:]) / 4 < LAGS / 2
    assert all(report["held_out"] < report["likelihood"] for report in history)


def test_it_is_the_cosine_of_the_last_steps_and_the_new_batchs_gradient():
    pairs = Pairwise({("a", "b"): CLUBEstimator(2, 2)})
    loss = PenaltyLoss(pairs, inner_steps=3, optimizer=lambda parameters: torch.optim.SGD(parameters, 0.1))
    first, second = ({name: torch.randn(12, 2, requires_grad=True) for name in "ab"} for _ in range(2))
    before = [p.detach().clone() for p in pairs.parameters()]
    loss(first)
    assert loss.lag is None
    moved = torch.cat([(p.detach() - q).flatten() for p, q in zip(pairs.parameters(), before, strict=True)])
    expected = pairs.learning_loss({name: each.detach() for name, each in second.items()})
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(expected, list(pairs.parameters()))])
    loss(second)
    torch.testing.assert_close(loss.lag, -(moved @ gradient) / (moved.norm() * gradient.norm()))
    torch.testing.assert_close(loss.held_out, -expected.detach())
    assert loss.held_out < loss.likelihood


def test_a_loss_whose_estimators_lag_says_so_once():
    torch.manual_seed(0)
    slow = PenaltyLoss(Pairwise({("a", "b"): CLUBEstimator(2, 2)}), lr=1e-5)
    given = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(130):
            a = torch.randn(64, 2, requires_grad=True)
            slow({"a": a, "b": a + 0.1 * torch.randn(64, 2)})
            given.append(len(caught))
    expected = r"call 75: the estimators lag, by 0\.\d\d of 1: .*: raise lr, say threefold, or inner_steps"
    assert [each.category for each in caught] == [EstimatorWarning]
    assert re.fullmatch(expected, str(caught[0].message))
    assert given.index(1) == 75  # what was measured by call 75 is looked at by the next


def test_a_loss_that_adapts_does_not_lag():
    torch.manual_seed(0)
    loss = PenaltyLoss(Pairwise({("a", "b"): CLUBEstimator(2, 2)}))
    with warnings.catch_warnings():
        warnings.simplefilter("error", EstimatorWarning)
        for _ in range(130):
            a = torch.randn(64, 2, requires_grad=True)
            loss({"a": a, "b": a + 0.1 * torch.randn(64, 2)})


def test_parameters_without_a_gradient_do_not_count():
    lag = Lag()
    lag.note([torch.zeros(1), torch.zeros(1)], [torch.ones(1), torch.ones(1)])
    used, unused = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    used.grad = torch.tensor([2.0])
    assert lag.read([used, unused]) == -1


def test_warnings_point_to_the_line_that_called_the_library(tmp_path):
    command = [sys.executable, str(Path(__file__).with_name("warned.py")), str(tmp_path / "run")]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found = [line.split(" | ") for line in shown]
    wanted = ["lag", "goes on with; lag", "goes on with; lag", "lag; never finite", "lag; never finite", "lag"]
    assert [place for place, _ in found] == wanted, shown
    assert "lr 0.001 of Adam, got 0.01" in found[1][1]
