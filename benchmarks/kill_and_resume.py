"""Kills a run of MIRD with SIGKILL at random moments, resumes it each time, and compares it with a run that was left alone.

    python benchmarks/kill_and_resume.py [--kills 20] [--processes 2] [--precision bf16]

Weights, states of both optimisers and of the schedule, metrics and the result must be equal bit for bit; seconds are not
compared. A checkpoint is written after every step, so that a good part of the kills comes while one is being written. The runs
are forks of this process, which has imported everything: a kill costs a second. On Linux, on the CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

import accelerate  # noqa: F401  what a run would import else, each child anew
import matplotlib.figure  # noqa: F401
import sklearn.metrics  # noqa: F401
import torch
import transformers.models.bert.modeling_bert  # noqa: F401
from safetensors.torch import load_file
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import mird_mosi

from disentangle.data import Recordings, synthetic_recordings

STEPS = 4  # per epoch


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="(default: %(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--precision", default="no", choices=("no", "bf16"), help="(default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=4, help="of 4 steps each (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        killed, differences = compare(Path(folder), options)
    print(f"{len(killed)} kills, at steps {killed} of {options.epochs * STEPS}")
    print(f"processes {options.processes}, precision {options.precision}, torch {torch.__version__}")
    print("equal bit for bit" if not differences else "\n".join(["DIFFERENT", *differences]))
    return 1 if differences or len(killed) < options.kills else 0


def compare(folder: Path, asked: argparse.Namespace) -> tuple[list[int], list[str]]:
    """The steps at which runs were killed, and what differs in the end."""
    kills, processes = asked.kills, asked.processes
    data = folder / "data.pkl"
    splits = synthetic_recordings((100, 16, 16))
    data.write_bytes(pickle.dumps({name: content(recordings) for name, recordings in splits.items()}))
    options = ["--data", data, "--recipe", "paper", "--backbone", "tiny", "--epochs", asked.epochs, "--lr", 1e-3]
    options += ["--checkpoint-every", 1, "--precision", asked.precision, "--device", "cpu"]
    log = folder / "log.txt"
    started = time.perf_counter()
    assert wait(launch(processes, log, *options, "--out", folder / "whole")) == 0, log.read_text()
    a_step = (time.perf_counter() - started) / step_of(folder / "whole")
    draw = random.Random(asked.seed)
    killed: list[int] = []
    bar = tqdm(total=kills, unit="kill", disable=None)
    while len(killed) < kills:  # one run after the other, until there were enough kills
        out = folder / "killed"
        shutil.rmtree(out, ignore_errors=True)
        while len(killed) < kills and reached(out, start(processes, log, options, out), draw, a_step):
            bar.update()
            killed.append(step_of(out))
        code = wait(start(processes, log, options, out))
        assert code == 0, log.read_text()[-3000:]
        if differences := different(folder / "whole", out):
            return killed, differences
    return killed, []


def start(processes: int, log: Path, options: list, out: Path) -> list[int]:
    """Starts a run, or resumes it where it has begun."""
    if (out / "config.json").exists():
        return launch(processes, log, "--resume", out)
    shutil.rmtree(out, ignore_errors=True)
    return launch(processes, log, *options, "--out", out)


def reached(out: Path, children: list[int], draw: random.Random, a_step: float) -> bool:
    """Kills the processes some steps from now, at any moment of a step; whether they had not ended before."""
    steps = step_of(out) + draw.randint(0, 4)
    while step_of(out) < steps and running(children):
        time.sleep(a_step / 20)
    time.sleep(draw.uniform(0, 1.5) * a_step)
    alive = running(children)
    for child in children:
        os.kill(child, signal.SIGKILL)
    wait(children)
    return alive


def running(children: list[int]) -> bool:
    """Whether none of the processes has ended; those that have stay to be waited for."""
    return all(os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None for child in children)


def content(recordings: Recordings) -> dict:
    return {
        "raw_text": recordings.text,
        "audio": list(recordings.sequences["audio"]),
        "vision": list(recordings.sequences["vision"]),
        "regression_labels": recordings.labels,
    }


def launch(processes: int, log: Path, *arguments: object) -> list[int]:
    """Starts the processes of a run; returns their numbers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(processes):
        child = os.fork()
        if child == 0:
            run(rank, processes, port, log, [str(argument) for argument in arguments])
        children.append(child)
    return children


def run(rank: int, processes: int, port: int, log: Path, arguments: list[str]) -> None:
    """What a child does, and ends with."""
    code = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if processes > 1:
            place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
            os.environ |= {name: str(value) for name, value in place.items()}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        code = mird_mosi.main(arguments)
    finally:
        sys.stderr.flush()
        os._exit(code)


def wait(children: list[int]) -> int:
    """The largest of the exit codes; that of a killed process is below 0."""
    return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)


def step_of(run: Path) -> int:
    """The last step that the run has a checkpoint of."""
    return max((int(each.name) for each in (run / "checkpoints").glob("[0-9]*")), default=0)


def different(first: Path, second: Path) -> list[str]:
    """What two finished runs differ in."""
    names: list[str] = []
    ours, theirs = (
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (first, second)
    )
    for record in ours + theirs:
        del record["seconds"]
    names += ["metrics.jsonl"] * (ours != theirs)
    names += ["result.json"] * ((first / "result.json").read_text() != (second / "result.json").read_text())
    if step_of(first) != step_of(second):
        return [*names, f"steps {step_of(first)} and {step_of(second)}"]
    folders = [run / "checkpoints" / f"{step_of(first):08d}" for run in (first, second)]
    for files in (
        [run / "model" / "model.safetensors" for run in (first, second)],
        [f / "weights.safetensors" for f in folders],
    ):
        a, b = (load_file(file) for file in files)
        names += [f"{files[0].name}: {key}" for key in a if key not in b or not torch.equal(a[key], b[key])]
    a, b = (torch.load(folder / "state.pt", weights_only=True) for folder in folders)
    return names + [f"state: {place}" for place in unequal(a, b)]


def unequal(a: object, b: object, place: str = "") -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return [found for key in a for found in unequal(a[key], b[key], f"{place}/{key}")]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        return [found for i in range(len(a)) for found in unequal(a[i], b[i], f"{place}/{i}")]
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return [] if torch.equal(a, b) else [place]
    return [] if a == b else [place]


if __name__ == "__main__":
    raise SystemExit(main())
