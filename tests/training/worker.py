"""Processes that train MIRD in float64 together, forks of one that has imported everything.

Takes a folder, how many processes, and numbers of pieces; for each of these, process 0 writes there the gradients and the
losses of each step.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import start_processes

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "examples"), str(ROOT)]

import mird_mosi  # noqa: E402

from disentangle import AlternatingStep, CLUBEstimator, Pairwise, SampledCLUBEstimator  # noqa: E402
from disentangle.data import RecordingDataset, Recordings, collate  # noqa: E402
from disentangle.nn.backbones import tiny_backbone  # noqa: E402
from disentangle.training import DistributedProcesses  # noqa: E402
from tests.examples.conftest import content  # noqa: E402
from tests.examples.test_mird_mosi import double, read_split  # noqa: E402

# Rows of three batches: an even one, an uneven one, and one with fewer rows than processes. Rows of the second half of the
# data have no label.
BATCHES = [list(range(12)), [0, 3, 13, 17, 5, 21, 9], [2, 14]]


def main(folder: Path, pieces: int) -> None:
    torch.manual_seed(0)
    backbone, tokenizer = tiny_backbone(["good bad film so not very"] * 5, hidden_size=8, layers=2, heads=2)
    model = mird_mosi.MIRD(backbone, {"audio": 5, "vision": 4}, d=4).double().eval()
    clubs = {
        (x, y): CLUBEstimator(model.sizes[x], model.sizes[y]) for x, y in mird_mosi.LATENT_PAIRS + mird_mosi.INPUT_PAIRS
    }
    penalty = Pairwise({**clubs, ("A", "V"): SampledCLUBEstimator(4, 4)}).double()
    labelled = read_split(content(12, 0))
    without = Recordings(text=labelled.text, sequences=labelled.sequences)
    rows = [data[i] for data in (RecordingDataset(r, tokenizer) for r in (labelled, without)) for i in range(12)]
    group = DistributedProcesses() if dist.is_initialized() else None
    rank, size = (group.rank, group.size) if group else (0, 1)
    with torch.no_grad():  # the other processes start from other weights
        for parameter in [*model.parameters(), *penalty.parameters()]:
            parameter += rank
    step = AlternatingStep(
        model,
        penalty,
        objective=mird_mosi.objective_for(0.1),
        optimizer=torch.optim.SGD(model.parameters(), 0.01),
        penalty_optimizer=torch.optim.Adam(penalty.parameters(), 1e-2),
        seed=0,
        processes=group,
    )
    seen = []
    for batch in BATCHES:
        mine = batch[len(batch) * rank // size : len(batch) * (rank + 1) // size]
        parts = [mine[len(mine) * i // pieces : len(mine) * (i + 1) // pieces] for i in range(pieces)]
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        record = step(*(double(collate([rows[i] for i in part])) for part in parts if part))
        moved = {name: (before[name] - p.detach()) / 0.01 for name, p in model.named_parameters()}
        seen.append({"gradients": moved, "objective": record.objective, "penalties": record.penalties})
    if rank == 0:
        torch.save(seen, folder / f"pieces-{pieces}.pt")


def one_of(rank: int, processes: int, folder: Path, numbers: list[str]) -> None:
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=processes)
    for number in numbers:
        main(folder, int(number))


if __name__ == "__main__":
    where, how_many, *pieces = sys.argv[1:]
    start_processes(one_of, (int(how_many), Path(where), pieces), int(how_many), start_method="fork")
