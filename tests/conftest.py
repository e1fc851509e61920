import os
import typing
import warnings
from collections import Counter
from contextlib import contextmanager
from functools import partial, wraps
from inspect import isfunction
from types import FunctionType

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test needs the network, and one that asks it waits
if "PYTEST_XDIST_WORKER" in os.environ:  # the cores are shared out among the workers: torch's threads would spin
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import jaxtyping
import pytest
import torch
from beartype import BeartypeConf, beartype
from hypothesis import settings

settings.register_profile("no deadline", deadline=None)  # how long a test takes says how busy the machine is
settings.load_profile("no deadline")

with_shapes = jaxtyping.jaxtyped
by_types = beartype(conf=BeartypeConf(violation_type=TypeError))  # `jaxtyped` raises one, too


CALLS = 5  # of each function in each test have their types checked: the thousands of a training are alike
calls = Counter()


def checked(function, typechecker):
    """By `jaxtyped` where shapes are annotated, else by beartype alone, in a tenth of the time."""
    if not isfunction(function):
        return with_shapes(function, typechecker=typechecker)
    own = _with_types(function, typechecker)
    if own is function:  # nothing is to be checked
        return function

    def unchecked(
        *args, **kwargs
    ):  # a frame, as checking takes: where a warning points to does not change in the sixth call
        return function(*args, **kwargs)

    @wraps(function)
    def either(*args, **kwargs):
        calls[own] += 1
        few = calls[own] <= CALLS and not jaxtyping.config.jaxtyping_disable
        return (own if few else unchecked)(*args, **kwargs)

    return either


def _with_types(function, typechecker):
    try:
        types = typing.get_type_hints(function)
    except Exception:  # something has no value yet, or only for type checkers: `jaxtyped` leaves out that alone
        types = None
    if types is None or "jaxtyping." in str(types):
        return with_shapes(function, typechecker=typechecker)
    types_alone = by_types(function)
    if types_alone is function:
        return function
    # Beartype's frame, like one of `jaxtyped`, is no place in the library that a warning could come from.
    own = FunctionType(types_alone.__code__, {"__name__": "beartype"}, function.__name__, types_alone.__defaults__)
    own.__kwdefaults__ = types_alone.__kwdefaults__
    return own


# Shapes and types of every annotated function are checked at run time in the tests.
jaxtyping.jaxtyped = lambda typechecker: partial(checked, typechecker=typechecker)
jaxtyping.install_import_hook("disentangle", "beartype.beartype")

LONG = {"test_tutorials", "test_mird_mosi", "test_every_example", "test_processes", "test_docs"}


def pytest_collection_modifyitems(items):
    """The modules that take long first, so that no process waits for another at the end."""
    items.sort(key=lambda item: item.path.stem not in LONG)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
    calls.clear()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub in a folder, which stands in for the real one."""
    import huggingface_hub

    from .local_hub import LocalHub

    monkeypatch.setattr(LocalHub, "cache", tmp_path / "hub", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(LocalHub.cache))
    return LocalHub()


@pytest.fixture
def cuda() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device("cuda")


@pytest.fixture
def no_values(monkeypatch):
    """A device on which tensors have shapes and no values: whatever makes the host wait for one raises. No device is needed."""
    from contextlib import nullcontext

    from disentangle.training.watch import Arriving

    autocast, enabled, read = torch.autocast, torch.is_autocast_enabled, Arriving.read

    def arrived(arriving):  # what a later call reads, when it has long arrived
        return torch.ones_like(arriving.tensor, device="cpu") if arriving.tensor.is_meta else read(arriving)

    # of autocasting, it knows nothing
    monkeypatch.setattr(
        torch, "autocast", lambda kind, *a, **k: nullcontext() if kind == "meta" else autocast(kind, *a, **k)
    )
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *kind: kind != ("meta",) and enabled(*kind))
    monkeypatch.setattr(Arriving, "read", arrived)
    # Whether a row is padded, transformers asks the device itself: all else is ours.
    monkeypatch.setattr("transformers.masking_utils._ignore_bidirectional_mask_sdpa", lambda *_: False, raising=False)
    return torch.device("meta")


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
