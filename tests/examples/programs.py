"""Programs in processes of their own: forks of a server that has imported everything, which takes ten seconds, once."""

import importlib
import os
import signal
import sys
from multiprocessing import forkserver, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).parents[2]


def start(name: str, arguments: list, log: Path) -> BaseProcess:
    """Starts `main(arguments)` of a module: an example, a benchmark, a launcher. Both outputs go to `log`."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["kill_and_resume"])
    paths = os.pathsep.join([str(ROOT / "benchmarks"), *sys.path])
    with patch.dict(os.environ, {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}):
        forkserver.ensure_running()
    process = context.Process(target=_run, args=(name, [str(each) for each in arguments], log))
    process.start()
    return process


def run(name: str, arguments: list, log: Path) -> str:
    """What such a program prints, which has to end well."""
    process = start(name, arguments, log)
    process.join()
    assert process.exitcode == 0, log.read_text()[-3000:]
    return log.read_text()


def _run(name: str, arguments: list[str], log: Path) -> None:
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts with it ignored
    sys.exit(importlib.import_module(name).main(arguments))
