"""Several processes, and pieces, have the gradients of one process with the whole batch."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from . import worker

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    worker.main(folder, pieces=1)
    return torch.load(folder / "seen.pt")


@pytest.mark.parametrize(("processes", "pieces"), [(1, 3), (2, 1), (3, 2)])
def test_gradients_are_those_of_one_process_with_the_whole_batch(alone, tmp_path, processes, pieces):
    """Uneven batches, one smaller than the number of processes; rows without label, audio, vision or text."""
    if processes == 1:
        worker.main(tmp_path, pieces)
    else:
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        command = [*launch, str(Path(worker.__file__)), str(tmp_path), str(pieces)]
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr[-3000:]
    together = torch.load(tmp_path / "seen.pt")
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
