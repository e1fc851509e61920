"""`PenaltyLoss` under `DistributedDataParallel` has the gradients of one process with the whole batch."""

import subprocess
import sys

import pytest
import torch

from . import penalty_worker

pytestmark = pytest.mark.slow


def test_two_processes_are_one_with_the_whole_batch(tmp_path):
    """The first goes on from a state, the other starts anew; shares are uneven, and may have none of a variable's rows."""
    penalty_worker.main(tmp_path, penalty_worker.started())
    alone = torch.load(tmp_path / "0.pt")
    command = [sys.executable, penalty_worker.__file__, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for name, estimator in first["estimators"].items():
        assert torch.equal(estimator, second["estimators"][name]), name
    assert len(alone["seen"]) == len(penalty_worker.FIRST)
    for expected, *ours in zip(alone["seen"], first["seen"], second["seen"], strict=True):
        for each in ours:
            for kind in ("gradients", "values"):
                assert each[kind].keys() == expected[kind].keys()
                for name, value in expected[kind].items():
                    torch.testing.assert_close(each[kind][name], value, rtol=1e-12, atol=1e-12, msg=name)
            torch.testing.assert_close(each["likelihood"], expected["likelihood"], rtol=1e-12, atol=1e-12)
        assert max(gradient.abs().max() for gradient in expected["gradients"].values()) > 1e-3
