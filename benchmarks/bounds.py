"""Bounds in closed form against all pairs written out, as published code has them: forward and backward, time and memory.

python benchmarks/bounds.py

What stands for published code repeats rows to (N, N, d) or (N, N, C) tensors. All values agree; the script checks it first.
"""

from __future__ import annotations

import argparse
import math
import resource
import subprocess
import sys
from collections.abc import Callable

import torch
import torch.nn.functional as F
from timing import interleaved, machine, ratios, spread
from torch import Tensor
from torch.distributions import Independent, Normal

from disentangle import functional

D = 64  # features of y
CLASSES = 64
LARGE = 65_536
REPEATS = {32: 200, 128: 100, 512: 15}
Bound = Callable[..., Tensor]


def club_of_all_pairs(mean: Tensor, scale: Tensor, y: Tensor) -> Tensor:
    """CLUB from all pairs in one tensor; constants of the density cancel."""
    positive = -0.5 * ((y - mean) / scale).square()
    negative = -0.5 * ((y[None] - mean[:, None]) / scale[:, None]).square()
    return (positive - negative.mean(1)).sum(1).mean()


def classes_of_all_pairs(logits: Tensor, y: Tensor) -> Tensor:
    """CLUB of classes from all pairs of a row's logits and another's class."""
    n, classes = len(y), logits.shape[-1]
    positive = -F.cross_entropy(logits[:, 0], y[:, 0])
    repeated = logits[:, 0][:, None].expand(n, n, classes).reshape(-1, classes)
    return positive + F.cross_entropy(repeated, y[:, 0].repeat(n))


def leave_one_out_of_all_pairs(mean: Tensor, scale: Tensor, y: Tensor) -> Tensor:
    """Leave-one-out from all pairs in one tensor, without the published slip in its shapes."""
    n = len(y)
    log_q = (-0.5 * ((y[None] - mean[:, None]) / scale[:, None]).square() - scale.log()[:, None]).sum(2)
    masked = log_q + torch.diag(torch.full((n,), -math.inf))
    return (log_q.diagonal() - masked.logsumexp(0) + math.log(n - 1)).mean()


def leave_one_out(mean: Tensor, scale: Tensor, y: Tensor) -> Tensor:
    q = Independent(Normal(mean, scale, validate_args=False), 1, validate_args=False)
    return functional.leave_one_out(functional.log_likelihoods(q, y))


def gaussians(n: int) -> list[Tensor]:
    """Mean and scale of q, and y."""
    inputs = [torch.randn(n, D), torch.rand(n, D) + 0.5, torch.randn(n, D)]
    return [t.requires_grad_() for t in inputs]


def classes(n: int) -> list[Tensor]:
    """Logits of q, and y."""
    return [torch.randn(n, 1, CLASSES).requires_grad_(), torch.randint(CLASSES, (n, 1))]


CASES: dict[str, tuple[Bound, Bound, Callable[[int], list[Tensor]]]] = {
    "CLUB, Gaussian": (functional.club_gaussian, club_of_all_pairs, gaussians),
    "CLUB, classes": (functional.club_categorical, classes_of_all_pairs, classes),
    "leave-one-out": (leave_one_out, leave_one_out_of_all_pairs, gaussians),
}


def hsic(x: Tensor, y: Tensor) -> Tensor:
    return functional.hsic(x, y, kernel="laplace", scales=(0.5,))


def call(bound: Bound, inputs: list[Tensor]) -> Callable[[], object]:
    learning = [t for t in inputs if t.requires_grad]
    return lambda: torch.autograd.grad(bound(*inputs), learning)


def peak() -> float:
    """The most memory this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def report_memory() -> None:
    """The first thing a process does, since a peak does not come down again."""
    call(functional.club_gaussian, gaussians(64))()  # load what is loaded on first use
    before = peak()
    call(functional.club_gaussian, gaussians(LARGE))()
    more, held = peak() - before, 6 * LARGE * D * 4 / 2**20
    print(
        f"CLUB at N = {LARGE}: {more:.0f} MiB more at the peak, of which inputs and their gradients are {held:.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", action="store_true", help="only the peak memory, in this process")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if options.memory:
        report_memory()
        return
    # A child's peak starts from its parent's, so this comes before anything large.
    subprocess.run([sys.executable, __file__, "--memory"], check=True)
    print(f"{machine()}; d = {D}, {CLASSES} classes, float32, forward + backward; milliseconds, median [min, max]")
    for name, (closed, pairs, draw) in CASES.items():
        print(f"\n{name}\n{'N':>6}  {'closed':>30}  {'all pairs':>32}  ratio of medians [run by run]")
        for n, repeats in REPEATS.items():
            inputs = draw(n)
            torch.testing.assert_close(closed(*inputs), pairs(*inputs), rtol=1e-3, atol=1e-3)
            t = interleaved({"closed": call(closed, inputs), "pairs": call(pairs, inputs)}, repeats)
            print(f"{n:6}  {spread(t['closed']):>30}  {spread(t['pairs']):>32}  {ratios(t['pairs'], t['closed'])}")
    large = interleaved({"closed": call(functional.club_gaussian, gaussians(LARGE))}, 5)["closed"]
    print(f"\nCLUB at N = {LARGE}: {spread(large).strip()} ms; all pairs: {4 * LARGE**2 * D / 2**40:.0f} TiB a tensor")
    print("HSIC of 8 and 8 columns, the kernel of `docs/independent.md`, which takes all pairs:")
    for n in (128, 512, 2048):
        t = interleaved({"hsic": call(hsic, [torch.randn(n, 8).requires_grad_() for _ in range(2)])}, 15)["hsic"]
        print(f"{n:6}  {spread(t)}")


if __name__ == "__main__":
    main()
