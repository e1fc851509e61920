"""Whether a rate that adapts keeps estimators up with latents that move, from any start, beside fixed rates.

    python benchmarks/keep_up.py            six minutes on a CPU
    python benchmarks/keep_up.py --seeds 0  half of that

Two latents of two Gaussian numbers depend on each other by a rotation that turns once in 600 steps, and by a correlation
between 0.05 and 0.85 that comes and goes as often, so CLUB and the information are known at each step. Each cell is the root
mean square error of the estimator's value on 512 fresh rows, every fifth step from the hundredth to the thousandth, over seeds.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import torch
from torch import Tensor

from disentangle import CLUBEstimator, Dependence, InfoNCEEstimator, Pairwise, PenaltyLoss
from disentangle.critics import SeparableCritic
from disentangle.text_tables import markdown

D, ROWS, STEPS, PERIOD = 2, 128, 1000, 600
STARTS = (1e-4, 1e-3, 1e-2, 1e-1)
Made = Callable[[], Dependence]
ESTIMATORS: dict[str, tuple[Made, Callable[[float], float]]] = {
    "CLUB": (lambda: CLUBEstimator(D, D), lambda rho: D * rho**2 / (1 - rho**2)),
    "InfoNCE": (
        lambda: InfoNCEEstimator(D, D, critic=SeparableCritic(D, D)),
        lambda rho: -D / 2 * math.log(1 - rho**2),
    ),
}


class StartingAt(PenaltyLoss):
    """A penalty whose estimators start at a rate, which adapts or does not."""

    def __init__(self, penalty: Pairwise, rate: float, adapts: bool):
        super().__init__(penalty, lr=None if adapts else rate)
        self._optimizer = torch.optim.Adam(penalty.parameters(), rate, fused=True)


def latents(step: int, rows: int) -> tuple[float, dict[str, Tensor]]:
    """The correlation at a step, and rows."""
    angle = 2 * math.pi * step / PERIOD
    turned = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    rho = 0.45 + 0.4 * math.sin(angle)
    a = torch.randn(rows, D, requires_grad=True)
    return rho, {"a": a, "b": rho * a @ turned + math.sqrt(1 - rho**2) * torch.randn(rows, D)}


def square_error(name: str, start: float, adapts: bool, seed: int) -> tuple[float, float]:
    """The mean square error over time, and the rate at the end."""
    torch.manual_seed(seed)
    made, truth = ESTIMATORS[name]
    loss, squares = StartingAt(Pairwise({("a", "b"): made()}), start, adapts), []
    for step in range(STEPS):
        loss.train()(latents(step, ROWS)[1])
        if step >= 100 and step % 5 == 0:
            rho, fresh = latents(step, 512)
            with torch.no_grad():
                squares.append((loss.eval()(fresh).item() - truth(rho)) ** 2)
    assert loss.rate is not None
    return sum(squares) / len(squares), loss.rate.item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    options = parser.parse_args()
    rows = [["estimator", "rate", *(f"{start:g}" for start in STARTS)]]
    for name in ESTIMATORS:
        for adapts in (False, True):
            cells = []
            for start in STARTS:
                found = [square_error(name, start, adapts, seed) for seed in options.seeds]
                error = math.sqrt(sum(square for square, _ in found) / len(found))
                cells.append(f"{error:.3f}" + (f" (ends at {found[0][1]:.0e})" if adapts else ""))
            rows.append([name, "adapts from" if adapts else "fixed at", *cells])
    print(markdown(rows, ["estimator", "rate"]))


if __name__ == "__main__":
    main()
