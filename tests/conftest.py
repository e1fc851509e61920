import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test needs the network, and one that asks it waits
if "PYTEST_XDIST_WORKER" in os.environ:  # the cores are shared out among the workers: torch's threads would spin
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from jaxtyping import install_import_hook

# Shapes and types of every annotated function are checked at run time in the tests.
install_import_hook("disentangle", "beartype.beartype")

LONG = {"test_own_model", "test_mird_mosi", "test_every_example", "test_processes", "test_docs"}


def pytest_collection_modifyitems(items):
    """The modules that take long first, so that no process waits for another at the end."""
    items.sort(key=lambda item: item.path.stem not in LONG)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def cuda() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device("cuda")
