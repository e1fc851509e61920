"""Two processes that train under `DistributedDataParallel` with a `PenaltyLoss`, forks of one that has imported everything.

Takes a folder; every process writes there the gradients and values of each step, and its estimators at the end.
"""

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import start_processes
from torch.nn.parallel import DistributedDataParallel

from disentangle import CLUBEstimator, Pairwise, PenaltyLoss, SampledCLUBEstimator, ScaleInvariant

# Rows of each batch that the first of two processes has, of 16; the others are the second one's.
FIRST = [8, 3, 15, 8]


def pairs_of_all_kinds():
    """Stacked, single and noisy estimators of three latents: a and b of 2 numbers, c of 3."""
    return Pairwise(
        {
            ("a", "b"): CLUBEstimator(2, 2),
            ("c", "b"): CLUBEstimator(3, 2),
            ("b", "c"): SampledCLUBEstimator(2, 3),
            ("a", "c"): ScaleInvariant(CLUBEstimator(2, 3), 2, 3),
        }
    )


class Encoders(nn.Module):
    """Three latents, of which `c` is only in a penalty."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 2), nn.Linear(6, 2), nn.Linear(6, 3)
        self.penalty = PenaltyLoss(pairs_of_all_kinds(), weight=0.3)

    def forward(self, x, has_c, rows, processes):
        latents = {"a": self.a(x), "b": self.b(x).tanh(), "c": self.c(x)}
        own = latents["a"].square().sum() / rows * processes  # what averaging makes the mean over all rows
        return own + self.penalty(latents, {"c": has_c})


def started() -> dict[str, Any]:
    """The state of a model that has been trained for some steps, by one process."""
    torch.manual_seed(5)
    model = Encoders().double()
    for _ in range(3):
        model(torch.randn(16, 6).double(), torch.ones(16, dtype=torch.bool), rows=16, processes=1)
    return model.state_dict()


def main(folder: Path, state: dict[str, Any]) -> None:
    """The first process goes on from `state`; the second one starts anew."""
    rank, size = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    torch.manual_seed(rank)  # processes that start from different weights
    model = Encoders().double()
    if not rank:
        model.load_state_dict(state)
    wrapped = DistributedDataParallel(model) if size > 1 else model
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    batches = torch.randn(len(FIRST), 16, 6, generator=torch.Generator().manual_seed(7)).double()
    seen = []
    for first, batch in zip(FIRST, batches, strict=True):
        mine = slice(None) if size == 1 else (slice(first), slice(first, None))[rank]
        has_c = (torch.arange(16) % 3 != 0) & (torch.arange(16) < 15)  # none of the second process's in one batch
        optimizer.zero_grad()
        wrapped(batch[mine], has_c[mine], rows=16, processes=size).backward()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
        seen.append({"gradients": gradients, "values": model.penalty.values, "likelihood": model.penalty.likelihood})
        optimizer.step()
        torch.rand(rank)  # generators that are not alike
    torch.save({"seen": seen, "estimators": model.penalty.pairwise.state_dict()}, folder / f"{rank}.pt")


def one_of_two(rank: int, folder: Path, state: dict[str, Any]) -> None:
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    main(folder, state)


if __name__ == "__main__":
    start_processes(one_of_two, (Path(sys.argv[1]), started()), 2, start_method="fork")
