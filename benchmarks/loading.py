"""What loading costs: time, against the time of training on what is loaded, and memory, against the size of the set.

python benchmarks/loading.py [speed|memory] [--clips 80000] [--folder FOLDER]

speed: rows a second of the loader alone and of training the smallest configuration of MIRD, in turn, without worker processes.
memory: a set of clips with 709 features a frame of vision and 33 of audio is written as a store, each clip made when it is
asked for, and read once by another process, in random order. The peak is the system's, of the whole process.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Nothing large at the top: a process starts with the peak of the one that started it.
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

SIZES = {"vision": 709, "audio": 33}
FRAMES = (5, 15)  # least and most
BATCH_SIZE = 32


def speed(repeats: int) -> None:
    import torch
    from mird_mosi import INNER_STEPS, MIRD, objective_for, penalty_for
    from timing import interleaved, machine
    from torch.utils.data import DataLoader

    from disentangle import AlternatingStep
    from disentangle.data import RecordingDataset, collate, synthetic_recordings
    from disentangle.data.samplers import MixedBatchSampler
    from disentangle.nn.backbones import tiny_backbone

    torch.manual_seed(0)
    train = synthetic_recordings()["train"]
    backbone, tokenizer = tiny_backbone(train.text)
    dataset = RecordingDataset(train, tokenizer)
    sampler = MixedBatchSampler(len(dataset), batch_size=BATCH_SIZE)
    batches = DataLoader(dataset, batch_sampler=sampler, collate_fn=collate)
    model = MIRD(backbone, train.feature_sizes).train()
    penalty = penalty_for(model, "club", input_pairs=True)
    assert penalty is not None
    step = AlternatingStep(
        model,
        penalty,
        objective=objective_for(0.1),
        optimizer=torch.optim.AdamW(model.parameters(), 1e-5),
        penalty_optimizer=torch.optim.Adam(penalty.parameters(), 1e-3, fused=True),
        inner_steps=INNER_STEPS,
    )
    loaded = list(batches)[:10]
    seconds = interleaved({"loading": lambda: list(batches), "training": lambda: list(map(step, loaded))}, repeats)
    print(f"{machine()}; batches of {BATCH_SIZE}; rows a second, median [min, max]")
    counts = {"loading": len(dataset), "training": sum(map(len, loaded))}
    rates = {name: sorted(counts[name] / each for each in seconds[name]) for name in counts}
    for name, each in rates.items():
        print(f"{name:8} {statistics.median(each):9.0f} [{each[0]:.0f}, {each[-1]:.0f}]")
    pairs = [rates_of(counts, a, b) for a, b in zip(seconds["loading"], seconds["training"], strict=True)]
    print(f"loading against training: {statistics.median(pairs):.0f}x [{min(pairs):.0f}, {max(pairs):.0f}]")


def rates_of(counts: dict[str, int], loading: float, training: float) -> float:
    return (counts["loading"] / loading) / (counts["training"] / training)


def memory(clips: int, parent: str | None) -> None:
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        store = f"{folder}/store"
        for task in ("write", "read"):
            command = [sys.executable, __file__, task, "--clips", str(clips), "--folder", store]
            result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            size = sum(path.stat().st_size for path in Path(store).rglob("*.npy")) / 2**20
            start, peak = result["start"], result["peak"]
            print(
                f"{task:5} {clips} clips, {size:.0f} MiB on disk, in {result['seconds']:.0f} s: peak {peak:.0f} MiB, "
                f"{peak - start:.0f} more than before; the set is {size / (peak - start):.0f}x that"
            )


def write(clips: int, folder: str) -> None:
    from disentangle.data import LazyFrames, Recordings
    from disentangle.data.store import write_store

    started = time.perf_counter()
    draw = np.random.default_rng(0)
    words = np.array([f"word{i}" for i in range(200)])
    text = [" ".join(draw.choice(words, draw.integers(12, 29))) for _ in range(clips)]
    frames = {}
    for name, size in SIZES.items():
        lengths = draw.integers(FRAMES[0], FRAMES[1] + 1, clips).tolist()

        def clip(i: int, lengths: list[int] = lengths, size: int = size) -> np.ndarray:
            return np.random.default_rng(i).standard_normal((lengths[i], size), np.float32)

        frames[name] = LazyFrames(clip, range(clips), lengths, size)
    recordings = Recordings(text, frames, draw.normal(size=clips).astype(np.float32))
    start = peak()
    write_store(folder, {"train": recordings})
    report(start, started)


def read(folder: str) -> None:
    from torch.utils.data import DataLoader

    from disentangle.data import RecordingDataset, collate
    from disentangle.data.samplers import MixedBatchSampler
    from disentangle.data.store import open_store
    from disentangle.nn.backbones import tiny_backbone

    _, tokenizer = tiny_backbone([" ".join(f"word{i}" for i in range(200))])
    start, started = peak(), time.perf_counter()
    dataset = RecordingDataset(open_store(folder)["train"], tokenizer)
    sampler = MixedBatchSampler(len(dataset), batch_size=BATCH_SIZE, lengths=dataset.lengths)
    rows = sum(len(batch) for batch in DataLoader(dataset, batch_sampler=sampler, collate_fn=collate))
    assert rows == len(dataset)
    report(start, started)


def peak() -> float:
    """MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def report(start: float, started: float) -> None:
    print(json.dumps({"start": start, "peak": peak(), "seconds": time.perf_counter() - started}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("both", "speed", "memory", "write", "read"), default="both")
    parser.add_argument("--repeats", type=int, default=7, help="(default: %(default)s)")
    parser.add_argument("--clips", type=int, default=80_000, help="(default: %(default)s)")
    parser.add_argument("--folder", help="where the set is written (default: where temporary files are)")
    options = parser.parse_args()
    if options.what in ("memory", "both"):
        memory(options.clips, options.folder)
    if options.what in ("speed", "both"):
        speed(options.repeats)
    if options.what == "write":
        write(options.clips, options.folder)
    if options.what == "read":
        read(options.folder)


if __name__ == "__main__":
    main()
