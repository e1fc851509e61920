import multiprocessing
import os
import platform
import signal
import time

import pytest

from disentangle.errors import RunError
from disentangle.training import Run
from disentangle.training.locks import alone_in

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def other():
    """Runs a function of a pipe's end in a forked process; returns the process and the other end."""
    started = []

    def start(work):
        ours, theirs = FORK.Pipe()
        started.append(FORK.Process(target=work, args=(theirs,)))
        started[-1].start()
        return started[-1], ours

    yield start
    for process in started:
        process.kill()
        process.join()


def test_the_second_is_told_who_trains(tmp_path, other):
    def second(pipe):
        try:
            with alone_in(tmp_path):
                pipe.send("trains")
        except RunError as error:
            pipe.send(str(error))

    with alone_in(tmp_path):
        refused = other(second)[1].recv()
    assert (
        refused == f"{tmp_path}: expected no process that trains in it, got process {os.getpid()} on {platform.node()}"
    )
    assert other(second)[1].recv() == "trains"


def test_of_one_process_too_one_block_at_a_time_trains(tmp_path):
    run = Run.create(tmp_path / "run", {})
    with run.alone(), pytest.raises(RunError, match=f"got process {os.getpid()} on "), run.alone():
        pass
    with pytest.raises(ZeroDivisionError), run.alone():
        _ = 1 / 0
    with run.alone():
        pass
    assert [path.name for path in run.folder.iterdir()] == ["config.json"]


def test_a_killed_process_leaves_no_lock_though_its_workers_live(tmp_path, other):
    def train(pipe):
        with alone_in(tmp_path):
            if (worker := os.fork()) == 0:
                time.sleep(30)
                os._exit(0)
            pipe.send(worker)
            time.sleep(30)

    process, pipe = other(train)
    worker = pipe.recv()
    process.kill()
    process.join()
    assert (tmp_path / ".trained_by").read_text() == f"process {process.pid} on {platform.node()}"
    with alone_in(tmp_path):
        os.kill(worker, 0)  # it lives
    assert list(tmp_path.iterdir()) == []
    os.kill(worker, signal.SIGKILL)


def test_a_fork_that_leaves_the_block_leaves_the_folder_locked(tmp_path):
    block = alone_in(tmp_path)
    block.__enter__()
    if (child := os.fork()) == 0:
        block.__exit__(None, None, None)
        os._exit(0)
    os.waitpid(child, 0)
    with pytest.raises(RunError, match=f"got process {os.getpid()}"), alone_in(tmp_path):
        pass
    block.__exit__(None, None, None)


def test_where_there_is_no_folder_it_is_said(tmp_path):
    with pytest.raises(RunError, match="expected a folder to train in: No such file"), alone_in(tmp_path / "none"):
        pass
