"""The trainer's parts: the order of batches, the metric that is followed, means, signals, the bar."""

import math
import signal
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from disentangle import Rows
from disentangle.data import MixedBatchSampler
from disentangle.training.determinism import Epochs, seed_at
from disentangle.training.interrupts import Interrupts
from disentangle.training.reports import Means, Monitor, ProgressBar, StepRecord


class Miscounted:
    """A batch sampler that says three batches, whatever it yields."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter([[i] for i in range(self.batches)])

    def __len__(self):
        return 3


class Noisy(Dataset):
    """Items that carry a random number, as augmented data would."""

    def __len__(self):
        return 11

    def __getitem__(self, index):
        return torch.tensor([index, torch.rand(()).item()])


LOADERS = {
    "shuffled": lambda: DataLoader(Noisy(), batch_size=3, shuffle=True),
    "in order": lambda: DataLoader(Noisy(), batch_size=3),
    "drop last": lambda: DataLoader(Noisy(), batch_size=3, shuffle=True, drop_last=True),
    "generator": lambda: DataLoader(Noisy(), batch_size=3, shuffle=True, generator=torch.Generator()),
    "sampler with a generator": lambda: DataLoader(
        Noisy(), batch_size=3, sampler=RandomSampler(Noisy(), generator=torch.Generator())
    ),
    "batch sampler with a generator": lambda: DataLoader(
        Noisy(),
        batch_sampler=BatchSampler(WeightedRandomSampler([1.0] * 11, 11, generator=torch.Generator()), 3, False),
    ),
    "batch sampler": lambda: DataLoader(
        Noisy(), batch_sampler=MixedBatchSampler(7, 4, batch_size=2, unlabeled_rate=1.0)
    ),
}


@pytest.mark.parametrize("loader", LOADERS.values(), ids=LOADERS)
@given(seed=st.integers(0, 3), epoch=st.integers(0, 3), skip=st.integers(0, 4))
@settings(max_examples=15, deadline=None)
def test_an_epoch_can_start_anywhere_and_depends_on_nothing_else(loader, seed, epoch, skip):
    whole = list(Epochs(loader(), seed).start(epoch))
    epochs = Epochs(loader(), seed)
    torch.rand(skip)
    list(epochs.start(epoch + 1))
    rest = list(epochs.start(epoch, skip))
    assert len(whole) == len(epochs)
    assert len(rest) == max(0, len(whole) - skip)
    assert all(torch.equal(a, b) for a, b in zip(rest, whole[skip:], strict=True))


def test_other_epochs_and_seeds_have_other_orders():
    epochs = {
        (seed, epoch): Epochs(LOADERS["shuffled"](), seed).start(epoch) for seed in range(3) for epoch in range(3)
    }
    orders = {tuple(torch.cat(list(batches))[:, 0].tolist()) for batches in epochs.values()}
    assert len(orders) == 9


@pytest.mark.parametrize("size", [2, 3, 5])
def test_processes_share_every_batch(size):
    whole = list(Epochs(LOADERS["shuffled"](), 0).start(1))
    shares = [list(Epochs(LOADERS["shuffled"](), 0, rank, size).start(1)) for rank in range(size)]
    for i, batch in enumerate(whole):
        parts = [share[i] for share in shares]
        together = torch.cat([part for part in parts if part is not None])
        assert together[:, 0].tolist() == batch[:, 0].tolist()
        counts = [0 if part is None else len(part) for part in parts]
        assert max(counts) - min(counts) <= 1


@pytest.mark.slow
def test_worker_processes_read_the_same_batches():
    torch.manual_seed(0)
    loader = DataLoader(
        TensorDataset(torch.arange(20)), batch_size=3, shuffle=True, num_workers=2, persistent_workers=True
    )
    epochs = Epochs(loader, 0)
    alone = Epochs(DataLoader(TensorDataset(torch.arange(20)), batch_size=3, shuffle=True), 0)
    for epoch in (0, 1):
        expected = [batch[0].tolist() for batch in alone.start(epoch, 2)]
        assert [batch[0].tolist() for batch in epochs.start(epoch, 2)] == expected


def test_a_loader_that_makes_its_own_batches_is_read_as_it_comes_and_cannot_be_shared():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(torch.arange(5))

        def __len__(self):
            return 5

    loader = DataLoader(Stream(), batch_size=None)
    assert [int(x) for x in Epochs(loader, 0).start(0, skip=3)] == [3, 4]
    batched = Epochs(DataLoader(Stream(), batch_size=2), 0)
    assert [x.tolist() for x in batched.start(0, skip=1)] == [[2, 3], [4]]
    assert len(batched) == 3
    with pytest.raises(ValueError, match="whose batches 2 processes can share, got one over Stream"):
        Epochs(loader, 0, 0, 2)

    class Shuffled(Stream):
        def __iter__(self):
            return (x + 10 * torch.randint(100, ()) for x in super().__iter__())

    epochs = Epochs(DataLoader(Shuffled(), batch_size=2), 0)
    whole = []
    for batch in epochs.start(0):
        whole.append(batch.tolist())
        torch.rand(3)  # as a model's noise
    assert [batch.tolist() for batch in epochs.start(0, skip=1)] == whole[1:]

    class Endless(IterableDataset):
        def __iter__(self):
            return iter(range(10**9))

    with pytest.raises(ValueError, match="expected a loader that knows its length, got one over Endless"):
        Epochs(DataLoader(Endless(), batch_size=2), 0)


def test_a_loader_that_miscounts_or_has_nothing_is_refused():
    for batches in (2, 4):
        epochs = Epochs(DataLoader(torch.arange(9), batch_sampler=Miscounted(batches)), 0)
        with pytest.raises(ValueError, match=f"expected 3 batches in an epoch, the length .* says, got {batches}"):
            list(epochs.start(0))
    with pytest.raises(ValueError, match="expected a loader of at least one batch, got none"):
        Epochs(DataLoader(torch.arange(6), batch_size=8, drop_last=True), 0)


def test_a_sampler_that_has_shared_rows_out_is_refused_where_processes_share_batches():
    sampler = DistributedSampler(torch.arange(8), num_replicas=2, rank=0)
    loader = DataLoader(torch.arange(8), batch_size=2, sampler=sampler)
    with pytest.raises(
        ValueError, match="got a sampler that has shared them out already: leave the DistributedSampler"
    ):
        Epochs(loader, 0, 0, 2)
    assert len(Epochs(loader, 0)) == 2


def test_the_rows_of_a_batch_are_known():
    epochs = Epochs(DataLoader(torch.arange(10) * 10, batch_size=4, shuffle=True), 0)
    batches = list(epochs.start(0, skip=1))
    assert [10 * i for i in epochs.rows(1)] == batches[0].tolist()
    assert epochs.rows(0) == epochs.rows(3) == []


@given(
    st.lists(st.one_of(st.none(), st.just(math.nan), st.floats(-5, 5)), min_size=1, max_size=12),
    st.sampled_from(["min", "max"]),
)
def test_the_best_is_the_first_smallest_or_largest(scores, mode):
    monitor = Monitor("m", mode)
    improved = [i for i, score in enumerate(scores) if monitor.improves({"m": score})]
    known = [score for score in scores if score is not None and not math.isnan(score)]
    if not known:
        assert improved == []
        return
    best = min(known) if mode == "min" else max(known)
    assert improved[-1] == scores.index(best)
    assert monitor.best == best


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12), st.integers(1, 4), st.integers(0, 12))
def test_patience_counts_reports_without_a_best_also_across_a_stop(scores, patience, cut):
    monitor = Monitor("m", "min", patience)
    for i, score in enumerate(scores):
        if i == cut:
            state, monitor = monitor.state_dict(), Monitor("m", "min", patience)
            monitor.load_state_dict(state)
        monitor.improves({"m": score})
        best = scores.index(min(scores[: i + 1]))
        assert monitor.exhausted == (i - best >= patience)


def test_a_monitor_says_what_it_wants():
    with pytest.raises(ValueError, match=r"expected the metric 'mse' among those evaluated, got \['corr', 'mae'\]"):
        Monitor("mse").improves({"mae": 1.0, "corr": 0.5})
    with pytest.raises(ValueError, match="expected patience as a whole number of at least 1, got 0"):
        Monitor("mae", patience=0)
    with pytest.raises(ValueError, match="expected a metric to monitor"):
        Monitor(None, patience=1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_means_of_half_precision_lose_nothing(dtype):
    means, ones = Means(), Rows.unweighted(torch.ones(32, dtype=dtype))
    for _ in range(3000):
        means.add(StepRecord(None, {"r": ones}, {}, {}, None))
    assert means.read()["losses"] == {"r": 1.0}


def test_a_weight_below_0_counts_in_no_mean():
    rows, means = Rows(torch.tensor([2.0, 5.0]), torch.tensor([1.0, -3.0])), Means()
    means.add(StepRecord(None, {"Y": rows}, {}, {}, None))
    assert means.read()["losses"] == {"Y": rows.mean().item()} == {"Y": 2.0}


def test_means_go_on_from_a_saved_state():
    def record(i):
        rows = Rows(torch.tensor([i, 9.0]), torch.tensor([1.0, 0.0]))
        return StepRecord(
            torch.tensor(i), {"Y": rows}, {"CLUB(a;b)": torch.tensor(-i)}, {"a": torch.tensor(2 * i)}, None
        )

    straight, first, second = Means(), Means(), Means()
    for i in (1.0, 2.0, 6.0):
        straight.add(record(i))
    left_out = record(0.0)._replace(nonfinite=("Y",))
    straight.add(left_out)
    first.add(record(1.0))
    first.add(left_out)
    second.load_state_dict(first.state_dict())
    for i in (2.0, 6.0):
        second.add(record(i))
    expected = {
        "losses": {"Y": 3.0},
        "penalties": {"CLUB(a;b)": -3.0},
        "rms": {"a": 6.0},
        "objective": 3.0,
        "skipped": 1,
    }
    assert straight.read() == second.read() == expected
    assert straight.read() == {"losses": {}, "penalties": {}, "rms": {}}


def twice():
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
        assert interrupts.heard == signal.SIGINT
        signal.raise_signal(signal.SIGINT)


def terminated():
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGTERM)
        interrupts.raise_it()


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no terminals that end")
def test_the_end_of_a_terminal_is_heard_unless_it_is_ignored():
    before = signal.getsignal(signal.SIGHUP)
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        with Interrupts() as interrupts:
            signal.raise_signal(signal.SIGHUP)
        assert interrupts.heard is None
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with Interrupts() as interrupts:
            signal.raise_signal(signal.SIGHUP)
        with pytest.raises(SystemExit, match="129"):
            interrupts.raise_it()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_second_signal_raises_and_handlers_come_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        twice()
    with pytest.raises(SystemExit, match="143"):
        terminated()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_log_file_gets_a_line_a_report(capsys):
    bar = ProgressBar(10, 2)
    bar.update()
    bar.report("epoch 1")
    bar.close()
    assert capsys.readouterr().err == "step 3/10, epoch 1\n"


def test_a_terminal_gets_one_bar():
    code = (
        "import fcntl, struct, termios; from disentangle.training.reports import ProgressBar\n"
        "fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 120, 0, 0)); bar = ProgressBar(3)\n"
        "for _ in range(3): bar.update()\nbar.report('epoch 1, valid mae 0.5'); bar.bar.refresh(); bar.close()"
    )
    command = [sys.executable, "-c", f"import pty; pty.spawn([{sys.executable!r}, '-c', {code!r}])"]
    shown = subprocess.run(command, capture_output=True, text=True).stdout
    assert "3/3" in shown
    assert "epoch 1, valid mae 0.5" in shown
    assert "step 3/3," not in shown


@given(st.integers(0, 2**40), st.integers(0, 2**31), st.integers(0, 2**31))
def test_places_have_seeds_of_their_own(seed, i, j):
    assert 0 <= seed_at(seed, i, "a") < 2**63
    assert (seed_at(seed, i, "a") == seed_at(seed, j, "a")) == (i == j)
    assert seed_at(seed, i, "a") != seed_at(seed, i, "b")
