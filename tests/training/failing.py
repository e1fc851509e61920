"""Checkpoints that show which one was loaded, and systems that fail; as a program, processes that are killed while saving."""

import os
import shutil
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from disentangle.training.checkpoints import Checkpoints


def line(value):
    """Modules that hold one number over and over, and so show which checkpoint they were loaded from."""
    layer = nn.Linear(3, 2)
    for parameter in layer.parameters():
        nn.init.constant_(parameter, value)
    return {"model": layer}


def value(modules):
    values = torch.cat([p.flatten() for p in modules["model"].parameters()])
    assert (values == values[0]).all(), "parts of different checkpoints"
    return values[0].item()


def saved(folder, *steps, keep=2):
    checkpoints = Checkpoints(folder, keep)
    for step in steps:
        checkpoints.save(step, line(step), {"step": step, "moments": torch.full((4,), float(step))})
    return checkpoints


def loads(checkpoints):
    """The step of what is loaded, which must be of one checkpoint."""
    modules = line(-1)
    state = checkpoints.load(modules)
    assert value(modules) == state["step"] == state["moments"][3]
    return state["step"]


def hidden(folder):
    return [path.name for path in folder.iterdir() if not path.name.isdigit()]


@contextmanager
def files_up_to(size):
    """A real refusal of the system to write beyond a size; Python ignores the signal that comes with it."""
    resource = pytest.importorskip("resource", reason="limits on files are those of POSIX")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def save_and_die(checkpoints, step, last):
    """Saves, but is killed when it asks something of the system for the time after the `last`."""
    events = 0

    def count(event, arguments):  # opening, renaming, removing, ...
        nonlocal events
        if event != "os.kill" and event.startswith(("open", "os.", "shutil.")):
            events += 1
            if events > last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    checkpoints.save(step, line(9), {"step": 9, "moments": torch.full((4,), 9.0)})
    os._exit(0)


def outcomes(root, before, step, keep):
    """What is loaded after each moment of saving `step` at which the process is killed, and after none."""
    saved(root / "start", before, keep=keep)
    for last in range(10_000):
        checkpoints = saved(shutil.copytree(root / "start", root / str(last)), keep=keep)
        child = os.fork()
        if child == 0:
            save_and_die(checkpoints, step, last)
        status = os.waitpid(child, 0)[1]
        yield loads(checkpoints)
        if status == 0:
            return
        assert os.WTERMSIG(status) == signal.SIGKILL
        saved(checkpoints.folder, step + 1, keep=keep)  # goes on
        assert checkpoints.newest() == step + 1
        assert all(path.name.isdigit() for path in checkpoints.folder.iterdir()), list(checkpoints.folder.iterdir())


if __name__ == "__main__":
    torch.set_num_threads(1)
    for number, (before, step, keep) in enumerate([(1, 2, 1), (1, 2, 2), (2, 2, 1)]):
        loaded = [before, *outcomes(Path(sys.argv[1]) / str(number), before, step, keep)]
        sys.stdout.write(" ".join(map(str, loaded)) + "\n")
