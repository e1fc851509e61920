import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from disentangle import CLUBEstimator, Pairwise
from disentangle.training import RunError
from disentangle.training.checkpoints import Checkpoints

from .failing import files_up_to, hidden, line, loads, saved, value

BITS = st.integers(0, 7)
FILES = ["weights.safetensors", "state.pt", "manifest.json"]


class Tied(nn.Module):
    """A shared table, numbers of half the size, and a buffer of integers."""

    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
        self.out.weight = self.table.weight
        self.narrow = nn.Linear(5, 4, dtype=torch.bfloat16)
        self.register_buffer("count", torch.tensor(3))

    def forward(self, rows):
        return self.narrow(self.out(self.table(rows)).bfloat16()).float()


class Training:
    """A model and stacked estimators in training."""

    def __init__(self, optimizer, **options):
        self.model = Tied()
        self.penalty = Pairwise({(a, b): CLUBEstimator(4, 4) for a, b in [("L", "S"), ("A", "S"), ("S", "A")]})
        self.modules = {"model": self.model, "penalty": self.penalty}
        self.optimizers = [optimizer(module.parameters(), 0.01, **options) for module in self.modules.values()]
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizers[0], lambda step: 0.9**step)
        self.parts = [*self.optimizers, self.scheduler]

    def step(self, seed):
        torch.manual_seed(seed)
        latent = self.model(torch.randint(5, (8,)))
        noise = {name: torch.randn(8, 4) for name in "LA"}
        loss = latent.square().mean() + self.penalty.learning_loss({"S": latent.detach(), **noise})
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        for part in self.parts:
            part.step()

    def state(self):
        return {"parts": [part.state_dict() for part in self.parts], "place": (1, None, True, 0.5, "é", float("nan"))}


def equal(first, second):
    """Whether two nested states are the same, bit for bit."""
    if isinstance(first, torch.Tensor):
        same = first.dtype == second.dtype and first.shape == second.shape
        return same and torch.equal(*(t.contiguous().flatten().view(torch.uint8) for t in (first, second)))
    if isinstance(first, dict):
        return list(first) == list(second) and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return type(first) is type(second) and len(first) == len(second) and all(map(equal, first, second))
    return type(first) is type(second) and repr(first) == repr(second)


def weights(modules):
    return {name: tensor.clone() for name, tensor in nn.ModuleDict(modules).state_dict().items()}


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [(torch.optim.Adam, {}), (torch.optim.AdamW, {"fused": True}), (torch.optim.SGD, {"momentum": 0.9})],
)
def test_what_goes_on_from_a_checkpoint_is_equal_bit_for_bit(tmp_path, optimizer, options):
    first, second = Training(optimizer, **options), Training(optimizer, **options)
    first.step(0)
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(1, first.modules, first.state())
    state = checkpoints.load(second.modules)
    assert equal(state, first.state())
    for part, saved_part in zip(second.parts, state["parts"], strict=True):
        part.load_state_dict(saved_part)
    for training in (first, second):
        training.step(1)
    assert equal(weights(second.modules), weights(first.modules))
    assert equal(second.state(), first.state())
    assert second.model.out.weight is second.model.table.weight


def test_the_newest_are_kept_and_each_can_be_read(tmp_path):
    checkpoints = saved(tmp_path / "checkpoints", 5, 20, 100)
    assert checkpoints.steps() == [20, 100]
    assert checkpoints.newest() == 100
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["00000020", "00000100"]
    assert sorted(path.name for path in (checkpoints.folder / "00000100").iterdir()) == sorted(FILES)
    modules = line(-1)
    assert checkpoints.load(modules, 20)["step"] == 20
    assert value(modules) == 20
    with pytest.raises(RunError, match=re.escape("expected a checkpoint of step 5, got those of [20, 100]")):
        checkpoints.load(modules, 5)


def test_where_there_are_none_there_is_nothing_to_load(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.load(line(0)) is None
    assert checkpoints.newest() is None
    assert checkpoints.steps() == []
    with pytest.raises(ValueError, match="expected to keep at least 1 checkpoint, got 0"):
        Checkpoints(tmp_path, keep=0)


def test_a_step_can_be_saved_again(tmp_path):
    checkpoints = saved(tmp_path / "checkpoints", 1, 2)
    checkpoints.save(2, line(7), {"again": True})
    modules = line(-1)
    assert checkpoints.load(modules) == {"again": True}
    assert value(modules) == 7
    assert checkpoints.steps() == [1, 2]
    assert hidden(checkpoints.folder) == []


def test_what_goes_back_to_an_earlier_step_gives_up_the_later_ones(tmp_path):
    checkpoints = saved(tmp_path / "checkpoints", 10, 20, 30, keep=3)
    checkpoints.save(15, line(15), {"step": 15, "moments": torch.full((4,), 15.0)})
    assert checkpoints.steps() == [10, 15]
    assert loads(checkpoints) == 15


def test_what_a_killed_process_left_is_removed(tmp_path):
    checkpoints = saved(tmp_path / "checkpoints", 1)
    left = checkpoints.folder / ".part.00000002"
    left.mkdir()
    (left / "weights.safetensors").write_bytes(b"half of")
    assert loads(checkpoints) == 1
    saved(checkpoints.folder, 3)
    assert hidden(checkpoints.folder) == []


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("two") / "checkpoints", 1, 2).folder


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(FILES),
    how=st.sampled_from(["cut", "flip", "longer"]),
    where=st.floats(0, 1),
    bit=st.integers(0, 7),
)
def test_instead_of_a_torn_checkpoint_the_one_before_is_used(two, name, how, where, bit):
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(shutil.copytree(two, Path(folder) / "checkpoints"))
        path = checkpoints.folder / "00000002" / name
        content = bytearray(path.read_bytes())
        place = int(where * (len(content) - 1))
        if how == "flip":
            content[place] ^= 1 << bit
        path.write_bytes({"cut": content[:place], "flip": content, "longer": content + b"\n"}[how])
        with pytest.warns(
            UserWarning, match=rf"00000002: this checkpoint is not whole and is not used: .*{name}"
        ) as warned:
            assert loads(checkpoints) == 1
        assert len(warned) == 1


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_a_torn_checkpoint(two, name, tmp_path):
    checkpoints = Checkpoints(shutil.copytree(two, tmp_path / "checkpoints"))
    (checkpoints.folder / "00000002" / name).unlink()
    with pytest.warns(UserWarning, match=f"00000002: .*{name}"):
        assert loads(checkpoints) == 1
    saved(checkpoints.folder, 3)
    assert loads(checkpoints) == 3


def test_files_of_two_checkpoints_are_not_mixed(two, tmp_path):
    checkpoints = Checkpoints(shutil.copytree(two, tmp_path / "checkpoints"))
    shutil.copy(checkpoints.folder / "00000001" / FILES[0], checkpoints.folder / "00000002" / FILES[0])
    with pytest.warns(UserWarning, match=r"weights\.safetensors: its checksum is not the one it was written with"):
        assert loads(checkpoints) == 1


def test_where_no_checkpoint_is_whole_nothing_is_loaded(two, tmp_path):
    checkpoints = Checkpoints(shutil.copytree(two, tmp_path / "checkpoints"))
    (checkpoints.folder / "00000001" / "state.pt").write_bytes(b"")
    (checkpoints.folder / "00000002" / "manifest.json").write_text("{}")
    modules = line(-1)
    message = r"no checkpoint is whole: 00000002: manifest.json: .*; 00000001: state.pt: expected \d+ bytes, got 0$"
    with pytest.warns(UserWarning, match="not whole"), pytest.raises(RunError, match=message):
        checkpoints.load(modules)
    assert value(modules) == -1


class Untied(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
        self.narrow = nn.Linear(5, 4, dtype=torch.bfloat16)
        self.register_buffer("count", torch.tensor(3))


@pytest.mark.parametrize(
    ("given", "wanted", "difference"),
    [
        (nn.Linear(3, 2), nn.Linear(4, 2), "model.weight: expected float32 (2, 4), got float32 (2, 3)"),
        (nn.Linear(3, 2), nn.Linear(3, 2, bias=False), "model.bias: expected none, got it"),
        (nn.Linear(3, 2, bias=False), nn.Linear(3, 2), "model.bias: expected it, got none"),
        (
            nn.Linear(3, 2),
            nn.Linear(3, 2).double(),
            "model.bias: expected float64 (2,), got float32 (2,); model.weight: ",
        ),
        (Tied(), Untied(), "model.table.weight: expected it, got none"),
        (Untied(), Tied(), "model.table.weight: expected the same tensor as model.out.weight, got one of its own"),
        (nn.LSTM(2, 2), nn.GRU(2, 2), "; and 1 more"),
    ],
)
def test_a_foreign_checkpoint_is_refused_and_modules_stay_as_they_are(tmp_path, given, wanted, difference):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(1, {"model": given}, {})
    modules = {"model": wanted}
    before = weights(modules)
    with pytest.raises(RunError, match=re.escape(difference)) as refused:
        checkpoints.load(modules)
    assert "\n" not in str(refused.value)
    assert equal(weights(modules), before)


@pytest.mark.parametrize(("number", "which"), [(2, "an earlier"), (4, "a later")])
def test_a_checkpoint_of_another_format_is_refused(tmp_path, number, which):
    checkpoints = saved(tmp_path / "checkpoints", 1)
    reseal(checkpoints.folder / "00000001", format=number)
    message = (
        f"expected a checkpoint of format 3, got one of {which} version of disentangle, "
        "which can be resumed by that version alone"
    )
    with pytest.raises(RunError, match=f"{message}$"):
        checkpoints.load(line(0))


def reseal(folder, **changes):
    """Writes a manifest that agrees with the files as they are now."""
    content = json.loads((folder / "manifest.json").read_text()) | changes
    del content["sha256"]
    for name, described in content["files"].items():
        file = (folder / name).read_bytes()
        described |= {"bytes": len(file), "sha256": hashlib.sha256(file).hexdigest()}
    checksum = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps({**content, "sha256": checksum}, indent=2) + "\n")


class Code:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_code_in_a_state_is_not_run(tmp_path):
    checkpoints = saved(tmp_path / "checkpoints", 1, 2)
    newest = checkpoints.folder / "00000002"
    torch.save({"step": Code(tmp_path / "ran")}, newest / "state.pt")
    reseal(newest)
    with pytest.warns(UserWarning, match="00000002: .*not used: Weights only load failed"):
        assert loads(checkpoints) == 1
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("thing", "named"), [(np.float64(0.5), "numpy"), (Path("a"), "pathlib"), (Code("a"), "mkdir")])
def test_a_state_that_could_not_be_loaded_is_not_saved(tmp_path, thing, named):
    checkpoints = saved(tmp_path / "checkpoints", 1)
    with pytest.raises(ValueError, match=f"^expected a state of dicts, .* and tensors, got one with .*{named}"):
        checkpoints.save(2, line(2), {"best": thing})
    assert checkpoints.steps() == [1]
    assert hidden(checkpoints.folder) == []


def test_weights_can_be_read_by_whom_other_files_can(tmp_path):
    checkpoints = saved(tmp_path / "checkpoints", 1)
    assert len({(checkpoints.folder / "00000001" / name).stat().st_mode for name in FILES}) == 1


@settings(max_examples=30, deadline=None)
@given(numbers=st.tuples(st.integers(1, 3000), st.integers(1, 3000)), where=st.floats(0, 0.999))
def test_a_write_that_fails_anywhere_leaves_what_there_was(numbers, where):
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = saved(Path(folder) / "checkpoints", 1)
        modules, state = {"model": nn.Linear(1, numbers[0])}, {"moments": torch.zeros(numbers[1])}
        whole = Checkpoints(Path(folder) / "whole").save(2, modules, state)
        largest = max(path.stat().st_size for path in whole.iterdir())
        with files_up_to(int(where * largest)), pytest.raises(RunError) as failed:
            checkpoints.save(2, modules, state)
        wanted = f"{checkpoints.folder}: cannot be written: File too large; what was saved before is intact"
        assert str(failed.value) == wanted
        assert hidden(checkpoints.folder) == []
        assert loads(checkpoints) == 1
        checkpoints.save(2, modules, state)
        assert checkpoints.load(modules)["moments"].equal(state["moments"])


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("a file system of a given size cannot be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_leaves_what_there_was(small_disk):
    checkpoints = saved(small_disk / "checkpoints", 1)
    filler = small_disk / "filler"
    for left in (0, 4096, 8192, 16384, 40960):
        free = shutil.disk_usage(small_disk).free
        filler.write_bytes(bytes(free - left))
        with pytest.raises(
            RunError, match="cannot be written: No space left on device; what was saved before is intact"
        ):
            checkpoints.save(2, {"model": nn.Linear(100, 100)}, {"moments": torch.zeros(5000)})
        assert hidden(checkpoints.folder) == []
        assert loads(checkpoints) == 1
        filler.unlink()
    saved(checkpoints.folder, 2)
    assert loads(checkpoints) == 2


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="the processes that are killed are forked")
def test_a_process_may_be_killed_at_any_moment(tmp_path):
    command = [sys.executable, "-m", "tests.training.failing", str(tmp_path)]
    run = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    lines = [text.split() for text in run.stdout.splitlines()]
    assert len(lines) == 3
    for before, *outcomes in lines:
        assert len(outcomes) > 15
        assert outcomes == sorted(outcomes), "the old one up to some moment, the new one from then on"
        assert (outcomes[0], outcomes[-1]) == (before, "9")
