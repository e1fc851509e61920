"""Prints which lines of this file the library's warnings point to; without the checks of types, whose frames would count."""

import sys
import warnings
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from disentangle import AlternatingTrainer, CLUBEstimator, Model, Pairwise, PenaltyLoss, Rows
from disentangle.errors import EstimatorWarning
from disentangle.training import Run, fit, penalty_loss


class Two(Model):
    def __init__(self):
        super().__init__()
        self.a, self.b = torch.nn.Linear(4, 2), torch.nn.Linear(4, 2)

    def forward(self, batch):
        return {"a": self.a(batch), "b": self.b(batch)}

    def losses(self, variables, batch):
        return {"size": Rows.unweighted(variables["a"].square().mean(1))}


def trainer(run, lr):
    model, penalty = Two(), Pairwise({("a", "b"): CLUBEstimator(2, 2)})
    return AlternatingTrainer(
        model,
        penalty,
        objective=lambda losses, penalties: losses["size"].mean() + sum(penalties.values()),
        optimizer=torch.optim.Adam(model.parameters(), lr),
        penalty_optimizer=torch.optim.Adam(penalty.parameters(), 1e-3),
        run=run,
        device="cpu",
        progress=False,
    )


if __name__ == "__main__":
    for module in (fit, penalty_loss):
        module.lag_warning = lambda *given: EstimatorWarning("the estimators lag")
    fit.FIRST_STEPS = 0
    folder = Path(sys.argv[1])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        batches = DataLoader(torch.randn(16, 4), batch_size=8)
        trainer(Run.create(folder, {}), 1e-3).fit(batches, 1)  # lag
        trainer(Run.open(folder), 1e-2).fit(batches, 2, resume=True)  # goes on with; lag
        trainer(None, 0.0).fit(batches, 1, evaluate=lambda model: {"mae": None}, monitor="mae")  # lag; never finite
        penalty = PenaltyLoss(Pairwise({("a", "b"): CLUBEstimator(2, 2)}))
        latents = dict(zip("ab", torch.randn(2, 8, 2, requires_grad=True), strict=True))
        penalty(latents)  # lag
    lines = Path(__file__).read_text().splitlines()
    for each in caught:
        if any(said in str(each.message) for said in ("estimators lag", "goes on with", "expected a finite value")):
            place = lines[each.lineno - 1].partition("#")[2].strip() if each.filename == __file__ else each.filename
            sys.stdout.write(f"{place} | {each.message}\n")
