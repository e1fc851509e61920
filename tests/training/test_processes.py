"""Several processes, and pieces, have the gradients of one process with the whole batch."""

import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
from torch import nn

from disentangle.training.processes import DistributedProcesses

from . import worker

pytestmark = pytest.mark.slow

PROCESSES = 3  # of which one has no row of the smallest batch


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("here")
    for pieces in (1, 3):
        worker.main(folder, pieces)
    return folder


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """The steps of several processes."""
    folder = tmp_path_factory.mktemp("there")
    command = [sys.executable, worker.__file__, str(folder), str(PROCESSES), "1", "2"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    return folder


@pytest.mark.parametrize(("place", "pieces"), [("here", 3), ("there", 1), ("there", 2)])
def test_gradients_are_those_of_one_process_with_the_whole_batch(here, request, place, pieces):
    """Uneven batches, one smaller than the number of processes; rows without label, audio, vision or text."""
    alone = torch.load(here / "pieces-1.pt")
    together = torch.load(request.getfixturevalue(place) / f"pieces-{pieces}.pt")
    assert len(together) == len(alone) == 3
    for ours, expected in zip(together, alone, strict=True):
        assert ours["penalties"].keys() == expected["penalties"].keys()
        for name, value in expected["penalties"].items():
            torch.testing.assert_close(ours["penalties"][name], value, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(ours["objective"], expected["objective"], rtol=1e-9, atol=1e-12)
        largest = max(gradient.abs().max() for gradient in expected["gradients"].values())
        assert largest > 1e-3
        for name, gradient in expected["gradients"].items():
            torch.testing.assert_close(ours["gradients"][name], gradient, rtol=1e-6, atol=1e-10, msg=name)


@pytest.fixture
def group():
    """A group of this process alone, whose backend sends what it can send."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield DistributedProcesses()
    dist.destroy_process_group()


@pytest.mark.parametrize("dtype", [torch.bool, torch.int16, torch.uint16, torch.int64, torch.bfloat16, torch.float64])
def test_whole_numbers_of_any_size_travel(group, dtype):
    sent = torch.tensor([1, 0, 1]).to(dtype)
    [[received]] = group._gather([sent], [([([(("variable", "c"), (3,), dtype)], None)], "cpu")])
    buffer = sent.clone()
    group.copy_from_first([buffer])
    assert received.dtype == dtype
    assert torch.equal(received, sent)
    assert torch.equal(buffer, sent)


def test_sparse_gradients_are_refused_by_name(group):
    layer = nn.Embedding(5, 2, sparse=True)
    layer(torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match=r"expected dense gradients, .* of a parameter \(5, 2\): .* sparse=False"):
        group.add_gradients(layer.parameters())
