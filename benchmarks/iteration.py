"""What an iteration of MIRD costs: beside its floor, beside the schedule of published code, and how much of it is MI.

python benchmarks/iteration.py [--shape short middle base] [--device cpu|cuda] [--repeats 5] [--compile] [--memory]

The shapes, of 32 rows of which each has all its words and frames:

    short   a backbone of 6 layers of 384, 20 words, 20 x 43 audio, 20 x 41 vision
    middle  4 layers of 256, 50 words, 375 x 33 audio, 500 x 709 vision
    base    12 layers of 768, and the same sequences
    tiny    the embedded set and its backbone

The floor is the time of the iteration's matrix products at the rate of a large one, and of the optimiser's traffic, seven
numbers per parameter, at the rate of a large copy. MI is by clocks inside the step: the estimators' phase, the penalties, and
their gradients by the variables. `bf16` is the same step under autocast; with `--compile` there is one with compiled layers as
well. With `--memory`, the peak above the loaded model, each in a process of its own.
"""

from __future__ import annotations

import argparse
import gc
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import torch
from timing import interleaved, machine, ratios, spread
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from mird_mosi import BATCH_SIZE, INNER_STEPS, MIRD, objective_for, penalty_for
from public_schedule import batch_of_ones_own, public_schedule

from disentangle import AlternatingStep
from disentangle.data import RecordingDataset, collate, synthetic_recordings
from disentangle.nn.backbones import tiny_backbone
from disentangle.nn.sequence import WIDE

FIELD = {"audio": (375, 33), "vision": (500, 709)}
SHAPES = {  # layers, width, words, frames
    "short": (6, 384, 20, {"audio": (20, 43), "vision": (20, 41)}),
    "middle": (4, 256, 50, FIELD),
    "base": (12, 768, 50, FIELD),
}
VOCABULARY = 30_522


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = (*SHAPES, "tiny")
    parser.add_argument("--shape", nargs="+", choices=names, default=names, help="(default: all)")
    parser.add_argument("--device", default="cpu", help="(default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--compile", action="store_true", help="time the step with compiled layers too; a minute more")
    parser.add_argument("--memory", action="store_true", help="the peak of memory instead of times")
    parser.add_argument("--peak-of", choices=("ours", "public"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_of:
        print(peak(options.shape[0], options.device, options.peak_of))
        return
    print(f"{machine()}, batch {BATCH_SIZE}")
    for shape in options.shape:
        (memory if options.memory else times)(shape, options)


def built(shape: str, device: str) -> tuple[MIRD, Any]:
    """The model of a shape, and a batch."""
    torch.manual_seed(0)
    if shape == "tiny":
        train = synthetic_recordings((BATCH_SIZE, 1, 1))["train"]
        backbone, tokenizer = tiny_backbone(train.text)
        dataset = RecordingDataset(train, tokenizer)
        batch, sizes = collate([dataset[i] for i in range(BATCH_SIZE)]), train.feature_sizes
    else:
        layers, width, words, frames = SHAPES[shape]
        config = BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=12 if width > 256 else 4,
            intermediate_size=4 * width,
        )
        backbone, sizes = BertModel(config, add_pooling_layer=False), {m: size for m, (_, size) in frames.items()}
        batch = batch_of_ones_own(words, VOCABULARY, frames, BATCH_SIZE)
    return MIRD(backbone, sizes).to(device).train(), batch.to(device)


def step_of(model: MIRD, device: str) -> AlternatingStep:
    penalty = penalty_for(model, "club", input_pairs=True)
    assert penalty is not None
    penalty.to(device)
    return AlternatingStep(
        model,
        penalty,
        objective=objective_for(0.1),
        optimizer=torch.optim.AdamW(model.parameters(), 1e-5, fused=True),
        penalty_optimizer=torch.optim.Adam(penalty.parameters(), 1e-3, fused=True),
        inner_steps=INNER_STEPS,
    )


def with_compiled_layers(model: MIRD) -> MIRD:
    """Its layers and the injection compiled, which keeps the names of the parameters."""
    encoder: Any = model.shared
    for part in (*encoder.backbone.encoder.layer, encoder.inject):
        part.compile()
    return model


class Clock:
    """Adds up the seconds that the parts of a step take which it is told of."""

    def __init__(self, step: AlternatingStep):
        self.seconds, self.running = 0.0, False
        for name in ("_fit", "_values", "backward"):  # the graph of the objective ends at the variables and losses
            setattr(step, name, self.timed(getattr(step, name)))

    def timed(self, call):
        def run(*given, **named):
            if self.running:
                return call(*given, **named)
            self.running, started = True, now()
            result = call(*given, **named)
            self.seconds, self.running = self.seconds + now() - started, False
            return result

        return run


def now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def times(shape: str, options: argparse.Namespace) -> None:
    model, batch = built(shape, options.device)
    ours, public = step_of(model, options.device), public_schedule(model, batch)
    clocked = step_of(model, options.device)
    clock, shares = Clock(clocked), []

    def with_clock() -> None:
        clock.seconds, started = 0.0, now()
        clocked(batch)
        shares.append(clock.seconds / (now() - started))

    def in_bf16() -> None:
        with torch.autocast(options.device, torch.bfloat16):
            ours(batch)

    steps = {"ours": lambda: ours(batch), "clocked": with_clock, "bf16": in_bf16, "public": public}
    if options.compile:
        compiled = step_of(with_compiled_layers(built(shape, options.device)[0]), options.device)
        steps["compiled"] = lambda: compiled(batch)
    with FlopCounterMode(display=False) as counter:
        ours(batch)
    products = counter.get_total_flops() + lstm_operations(model, batch)
    parameters = sum(p.numel() for p in model.parameters())
    t = interleaved(steps, options.repeats)
    multiply, copy = rates(options.device)
    floor = products / multiply + 7 * 4 * parameters / copy
    print(
        f"\n{shape}: {products / 1e9:.0f} GFLOP, {parameters / 1e6:.0f} M parameters; milliseconds, median [min, max]"
    )
    print(f"ours      {spread(t['ours'])}")
    print(f"public    {spread(t['public'])}  {ratios(t['public'], t['ours'])} ours")
    for name in [name for name in ("bf16", "compiled") if name in t]:
        print(f"{name:9} {spread(t[name])}  {ratios(t['ours'], t[name])} as fast as ours")
    print(f"floor     {floor * 1e3:9.3f}  ours is {statistics.median(t['ours']) / floor:.2f} times it")
    print(f"MI        {statistics.median(shares[1:]):9.1%} of ours [{min(shares[1:]):.1%}, {max(shares[1:]):.1%}]")


def lstm_operations(model: MIRD, batch) -> int:
    """Of all recurrences, forward and backward, which torch does not count: of the states three products of each gate's
    matrix, of the input, which needs no gradient, two. Where an encoder maps wide input itself, torch counts these."""
    total = 0
    for m, name in model.modalities.items():
        steps = batch.words.mask.shape[1] if name == "text" else batch.sequences[name].mask.shape[1]
        encoder, decoder = cast(Any, model.private[m]).lstm, cast(Any, model.decoders[m]).lstm
        counted = batch.labels.device.type == "cpu" and encoder.input_size > WIDE * encoder.hidden_size
        reads = 0 if counted else 2 * encoder.hidden_size * encoder.input_size
        reads += 3 * (encoder.hidden_size**2 + decoder.hidden_size**2)
        total += 2 * 4 * reads * steps * len(batch)
    return total


def rates(device: str) -> tuple[float, float]:
    """Operations per second of a large matrix product, and bytes per second of a large copy; the best of some."""
    n = 1024 if device == "cpu" else 8192
    a, b, large = (torch.randn(size, device=device) for size in ((n, n), (n, n), (2**26,)))
    target = torch.empty_like(large)
    t = interleaved({"product": lambda: a @ b, "copy": lambda: target.copy_(large)}, 10)
    return 2 * n**3 / min(t["product"]), 2 * 4 * len(large) / min(t["copy"])


def memory(shape: str, options: argparse.Namespace) -> None:
    command = [sys.executable, __file__, "--shape", shape, "--device", options.device, "--peak-of"]
    ours, public = (
        int(subprocess.run([*command, which], check=True, capture_output=True, text=True).stdout)
        for which in ("ours", "public")
    )
    print(f"{shape:8} ours {ours / 2**20:7.0f} MiB, public {public / 2**20:7.0f} MiB: {ours / public:.2f}")


def peak(shape: str, device: str, which: str) -> int:
    """Bytes above the loaded model, its gradients and optimisers, while it iterates."""
    model, batch = built(shape, device)
    step = step_of(model, device) if which == "ours" else None
    iterate = public_schedule(model, batch) if step is None else lambda: step(batch)
    if device != "cpu":
        iterate()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        iterate()
        return torch.cuda.max_memory_allocated() - before
    gc.collect()
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    iterate()
    # Gradients and the optimiser's state came with the first iteration.
    state = 3 * 4 * sum(p.numel() for p in model.parameters())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before - state


if __name__ == "__main__":
    main()
