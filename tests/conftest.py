import os
import warnings
from contextlib import contextmanager

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


@pytest.fixture
def no_waiting(cuda):
    """A context in which whatever waits for the device raises."""
    x = torch.ones(2, 2, device=cuda, requires_grad=True)
    (x @ x).sum().backward()  # libraries start up here

    @contextmanager
    def context():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch calls the mode a prototype
            torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")

    return context
