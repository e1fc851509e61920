import multiprocessing
import os
import platform
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from disentangle.errors import RunError, SeedsError
from disentangle.training import seeds
from disentangle.training.locks import lock
from disentangle.training.seeds import run_seeds, seed_results

START = """
import os, signal, subprocess, sys, time
from pathlib import Path
seed, folder = int(sys.argv[1]), Path(sys.argv[2])
folder.mkdir(exist_ok=True)
(folder / "starts").open("a").write("x")
"""
FINISH = """
(folder / "result.json").write_text('{"valid": {"mae": %d.5, "corr": null}, "test": {"mae": 0.25}}' % seed)
"""
WAIT = """
def stop(*_):
    (folder / "stopped").open("a").write("x")
    sys.exit(1)
signal.signal(signal.SIGINT, stop)
(folder / "pid").write_text(str(os.getpid()))
time.sleep(30)
"""
IGNORE = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
beat = "import sys, time\\nwhile True: open(sys.argv[1], 'a').write('x'); time.sleep(0.02)"
subprocess.Popen([sys.executable, "-S", "-c", beat, str(folder / "beats")])
while not (folder / "beats").exists(): time.sleep(0.01)
(folder / "pid").write_text(str(os.getpid()))
time.sleep(30)
"""


def program(code):
    return lambda seed, folder: [sys.executable, "-S", "-c", START + code, str(seed), str(folder)]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def pids(folder, seeds):
    return [int((folder / f"seed-{seed}" / "pid").read_text()) for seed in seeds]


@pytest.fixture
def send(tmp_path):
    """Sends signals to this process, one a round, when all the files named are there and not empty."""
    threads = []

    def wait_and_send(files, *signals):
        def work():
            limit = time.monotonic() + 20
            while time.monotonic() < limit and not all(f.exists() and f.stat().st_size for f in files):
                time.sleep(0.01)
            for number in signals:
                os.kill(os.getpid(), number)
                time.sleep(0.3)

        threads.append(threading.Thread(target=work))
        threads[-1].start()

    yield wait_and_send
    for thread in threads:
        thread.join()


def test_each_seed_has_its_folder_its_process_and_its_log(tmp_path):
    say = 'print("out", seed); print("err", file=sys.stderr); print(os.getpid(), os.getpgrp())' + FINISH
    folders = run_seeds(program(say), [3, 0], tmp_path / "many" / "seeds", at_once=2, progress=False)
    assert list(folders.items()) == [(seed, tmp_path / "many" / "seeds" / f"seed-{seed}") for seed in (3, 0)]
    assert names(tmp_path / "many" / "seeds") == ["seed-0", "seed-0.log", "seed-3", "seed-3.log"]
    processes = set()
    for seed in (3, 0):
        out, err, ids = (tmp_path / "many" / "seeds" / f"seed-{seed}.log").read_text().splitlines()
        assert (out, err) == (f"out {seed}", "err")
        pid, group = map(int, ids.split())
        assert pid == group != os.getpgrp()  # a terminal's Ctrl-C does not reach it
        processes.add(pid)
    assert len(processes) == 2


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_no_more_at_once_than_asked_for(tmp_path, at_once):
    log_times = "t = time.time(); time.sleep(0.2); (folder / 'times').write_text(f'{t} {time.time()}')" + FINISH
    run_seeds(program(log_times), range(5), tmp_path, at_once=at_once, progress=False)
    spans = [tuple(map(float, (tmp_path / f"seed-{n}" / "times").read_text().split())) for n in range(5)]
    assert max(sum(start <= moment < end for start, end in spans) for moment, _ in spans) <= at_once


def test_as_many_at_once_as_asked_for(tmp_path):
    meet = """
limit = time.time() + 10
while len(list(folder.parent.glob("seed-*/starts"))) < 3:
    if time.time() > limit: sys.exit("alone")
    time.sleep(0.01)
"""
    run_seeds(program(meet + FINISH), range(3), tmp_path, at_once=3, progress=False)
    assert len(seed_results(tmp_path)) == 3


@pytest.mark.parametrize("at_once", [1, 2, 1000])
def test_cores_are_shared_out(tmp_path, monkeypatch, at_once):
    say = 'print(os.environ["OMP_NUM_THREADS"])' + FINISH
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    run_seeds(program(say), [0], tmp_path / "shared", at_once=at_once, progress=False)
    cores = int(subprocess.run(["nproc"], capture_output=True, text=True, check=True).stdout)
    assert int((tmp_path / "shared" / "seed-0.log").read_text()) == max(1, cores // at_once)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    run_seeds(program(say), [0], tmp_path / "set", at_once=at_once, progress=False)
    assert int((tmp_path / "set" / "seed-0.log").read_text()) == 7


def test_a_failure_leaves_the_others_and_is_run_again(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # so that the error would come before what was printed
    fail = 'print("reading")\nif seed == 1 and not (folder / "repaired").exists(): raise ValueError("no such thing")'
    with pytest.raises(SeedsError) as caught:
        run_seeds(program(fail + FINISH), [0, 1, 2], tmp_path, progress=False)
    log = tmp_path / "seed-1.log"
    assert str(caught.value) == f"1 of 3 seeds failed: seed 1, exit code 1, ValueError: no such thing ({log})"
    assert log.read_text().startswith("reading\nTraceback")
    assert list(seed_results(tmp_path)) == [0, 2]

    (tmp_path / "seed-1" / "repaired").touch()
    run_seeds(program(fail + FINISH), [0, 1, 2], tmp_path, progress=False)
    assert list(seed_results(tmp_path)) == [0, 1, 2]
    assert [(tmp_path / f"seed-{n}" / "starts").read_text() for n in range(3)] == ["x", "xx", "x"]
    assert log.read_text() == "reading\n"


def test_every_failure_is_named(tmp_path):
    codes = "if seed == 0: sys.exit(3)\nif seed == 1: os.kill(os.getpid(), signal.SIGKILL)\nprint('a\\rb\\n')"
    with pytest.raises(SeedsError) as caught:
        run_seeds(program(codes), [0, 1, 2], tmp_path, at_once=3, progress=False)
    message = str(caught.value)
    assert message.startswith("3 of 3 seeds failed: ")
    assert "\n" not in message
    assert set(message.removeprefix("3 of 3 seeds failed: ").split("; ")) == {
        f"seed 0, exit code 3, printed nothing ({tmp_path / 'seed-0.log'})",
        f"seed 1, exit code -9, printed nothing ({tmp_path / 'seed-1.log'})",
        f"seed 2, exit code 0 without a result.json, b ({tmp_path / 'seed-2.log'})",
    }


def test_what_has_finished_is_not_started(tmp_path):
    (tmp_path / "seed-4").mkdir()
    (tmp_path / "seed-4" / "result.json").write_text("{}")

    def refuse(seed, folder):
        raise AssertionError(f"started {seed}")

    assert run_seeds(refuse, [4], tmp_path, progress=False) == {4: tmp_path / "seed-4"}
    assert run_seeds(refuse, [], tmp_path, progress=False) == {}


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_stops_every_run_once(tmp_path, send, number, error):
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    send([tmp_path / f"seed-{seed}" / "pid" for seed in (0, 1)], number)
    started = time.monotonic()
    with pytest.raises(error) as caught:
        run_seeds(program(WAIT), [0, 1, 2], tmp_path, at_once=2, progress=False)
    assert time.monotonic() - started < 10
    assert error is KeyboardInterrupt or caught.value.code == 128 + signal.SIGTERM  # type: ignore[attr-defined]
    assert not any(map(alive, pids(tmp_path, (0, 1))))
    assert [(tmp_path / f"seed-{seed}" / "stopped").read_text() for seed in (0, 1)] == ["x", "x"]
    assert not (tmp_path / "seed-2").exists()
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers


@pytest.fixture
def elsewhere(tmp_path):
    """Runs seeds 0 and 1 of `WAIT` by another process; returns it once seed 0 has begun."""
    runs = multiprocessing.get_context("fork").Process(
        target=run_seeds, args=(program(WAIT), [0, 1], tmp_path), kwargs={"progress": False}
    )
    runs.start()
    limit = time.monotonic() + 20
    while time.monotonic() < limit and not ((pid := tmp_path / "seed-0" / "pid").exists() and pid.stat().st_size):
        time.sleep(0.01)
    yield runs
    runs.kill()
    runs.join()
    with suppress(ProcessLookupError):
        os.kill(pids(tmp_path, [0])[0], signal.SIGKILL)


def test_two_programs_do_not_run_the_seeds_of_one_folder(tmp_path, elsewhere):
    who = f"process {elsewhere.pid} on {platform.node()}"
    with pytest.raises(RunError, match=f"^{tmp_path}: expected no process that trains in it, got {who}$"):
        run_seeds(program(FINISH), [1, 2], tmp_path, progress=False)
    assert names(tmp_path) == [".trained_by", "seed-0", "seed-0.log"]


def test_a_run_that_outlives_its_killed_parent_is_named_and_not_started_again(tmp_path, elsewhere):
    elsewhere.kill()
    elsewhere.join()
    (tmp_path / "seed-0.log").write_text("epoch 3")
    with pytest.raises(SeedsError, match=r"^1 of 2 seeds failed: seed 0, expected a log that no process writes, got"):
        run_seeds(program(FINISH), [0, 1], tmp_path, progress=False)
    assert (tmp_path / "seed-0.log").read_text() == "epoch 3"
    assert (tmp_path / "seed-0" / "starts").read_text() == "x"
    assert list(seed_results(tmp_path)) == [1]

    os.kill(pids(tmp_path, [0])[0], signal.SIGKILL)
    with (tmp_path / "seed-0.log").open() as log:
        while not lock(log.fileno()):  # until it has ended
            time.sleep(0.01)
    run_seeds(program(FINISH), [0, 1], tmp_path, progress=False)
    assert [(tmp_path / f"seed-{n}" / "starts").read_text() for n in (0, 1)] == ["xx", "x"]
    assert names(tmp_path) == ["seed-0", "seed-0.log", "seed-1", "seed-1.log"]


def still(path):
    before = path.stat().st_size
    time.sleep(0.3)
    return path.stat().st_size == before


def test_a_run_that_does_not_stop_is_killed_with_what_it_started(tmp_path, send, monkeypatch):
    monkeypatch.setattr(seeds, "PATIENCE", 0.5)
    send([tmp_path / "seed-0" / "pid"], signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_seeds(program(IGNORE), [0], tmp_path, progress=False)
    assert not any(map(alive, pids(tmp_path, [0])))
    assert still(tmp_path / "seed-0" / "beats")


def test_a_second_signal_kills_at_once(tmp_path, send):
    send([tmp_path / "seed-0" / "pid"], signal.SIGINT, signal.SIGINT)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_seeds(program(IGNORE), [0], tmp_path, progress=False)
    assert time.monotonic() - started < seeds.PATIENCE / 2
    assert not any(map(alive, pids(tmp_path, [0])))
    assert still(tmp_path / "seed-0" / "beats")


def test_a_command_that_cannot_start_ends_the_others(tmp_path):
    def command(seed, folder):
        if seed == 0:
            return program(WAIT)(seed, folder)
        while not ((folder.parent / "seed-0" / "pid").exists() and pids(folder.parent, [0])):
            time.sleep(0.01)
        return ["no-such-program"]

    with pytest.raises(FileNotFoundError, match="no-such-program"):
        run_seeds(command, [0, 1], tmp_path, at_once=2, progress=False)
    assert not any(map(alive, pids(tmp_path, [0])))


def test_the_bar_counts_seeds(tmp_path, capfd):
    run_seeds(program(FINISH), [0, 1], tmp_path, progress=False)
    assert capfd.readouterr() == ("", "")
    run_seeds(program(FINISH), [0, 1, 2], tmp_path)
    shown = capfd.readouterr().err
    assert "2/3" in shown
    assert "running 2" in shown
    assert "3/3" in shown


@pytest.mark.parametrize(
    ("given", "at_once", "message"),
    [
        ([0, 1, 0], 1, "expected seeds that are all different, got [0, 1, 0]"),
        ([0, 1], 0, "expected at_once as a whole number of at least 1, got 0"),
    ],
)
def test_refuses(tmp_path, given, at_once, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        run_seeds(program(FINISH), given, tmp_path / "seeds", at_once=at_once)
    assert not (tmp_path / "seeds").exists()


def test_results_come_by_rising_seed_and_only_those_of_seeds(tmp_path):
    run_seeds(program(FINISH), [10, 2, -1], tmp_path, at_once=3, progress=False)
    for other in ("seed-3", "seed-best", "baseline"):
        (tmp_path / other).mkdir()
    (tmp_path / "seed-best" / "result.json").write_text("torn")
    results = seed_results(tmp_path)
    assert list(results) == [-1, 2, 10]
    assert results[10] == {"valid": {"mae": 10.5, "corr": None}, "test": {"mae": 0.25}}
    assert seed_results(tmp_path / "nothing") == {}


def test_a_torn_result_is_named(tmp_path):
    path = Path(tmp_path / "seed-0" / "result.json")
    path.parent.mkdir()
    path.write_text("{")
    with pytest.raises(SeedsError, match=f"^{re.escape(str(path))}: cannot be read: Expecting") as caught:
        seed_results(tmp_path)
    assert "\n" not in str(caught.value)
