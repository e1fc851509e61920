"""CLUB's closed form against the N x N x d tensor of the definition: forward and backward, time and memory.

python benchmarks/club.py
"""

from __future__ import annotations

import resource
import sys

import torch
from timing import interleaved, machine, ratios, spread
from torch import Tensor

from disentangle.functional import club_gaussian

D = 64


def definition(mean: Tensor, scale: Tensor, y: Tensor) -> Tensor:
    """Eq. 12 with all pairs in one tensor, as published code computes it; constants of the density cancel."""
    positive = -0.5 * ((y - mean) / scale).square()
    negative = -0.5 * ((y[None] - mean[:, None]) / scale[:, None]).square()
    return (positive - negative.mean(1)).sum(1).mean()


def call(function, n: int):
    inputs = [
        torch.randn(n, D).requires_grad_(),
        (torch.rand(n, D) + 0.5).requires_grad_(),
        torch.randn(n, D).requires_grad_(),
    ]

    def run() -> None:
        torch.autograd.grad(function(*inputs), inputs)

    return run


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{machine()}; d = {D}, float32, forward + backward; milliseconds, median [min, max]")
    n, unit = 65_536, 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    large = interleaved({"closed": call(club_gaussian, n)}, 5)["closed"]
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit / 2**20
    print(f"{'N':>6}  {'closed form':>30}  {'pairwise tensor':>30}  ratio")
    for rows, repeats in ((32, 200), (128, 100), (512, 20), (1024, 5)):
        t = interleaved({"closed": call(club_gaussian, rows), "pairwise": call(definition, rows)}, repeats)
        print(f"{rows:6}  {spread(t['closed']):>30}  {spread(t['pairwise']):>30}  {ratios(t['pairwise'], t['closed'])}")
    print(f"{n:6}  {spread(large):>30}  {'a tensor of 1 TiB':>30}")
    inputs = 6 * n * D * 4 / 2**20
    print(f"peak memory at N = {n}: {more:.0f} MiB more, of which inputs and their gradients are {inputs:.0f} MiB")


if __name__ == "__main__":
    main()
