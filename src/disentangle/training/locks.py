"""One process at a time trains in a folder, that of a run or that of many."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from disentangle.errors import RunError

__all__ = ["alone_in", "lock"]

HOLDER = ".trained_by"  # the file that says which process trains in the folder
_held: set[int] = set()  # the descriptors that locks are on


@contextmanager
def alone_in(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Keeps others from training in a folder within the block.

    The lock is the operating system's, on the folder, and ends with the block or the process, however that ends: no process
    that is started or forked within the block has it, as those that load data. Where there are no locks, nothing is kept.

    Raises:
        RunError: If another process, or another block of this one, has the folder, or there is none.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> with alone_in(folder):
        ...     os.listdir(folder)
        ['.trained_by']
        >>> os.listdir(folder)
        []
    """
    if os.name == "nt":  # has no such locks
        yield
        return
    holder = Path(folder) / HOLDER
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise RunError(f"{folder}: expected a folder to train in: {error.strerror}") from error
    _held.add(descriptor)
    try:
        if not lock(descriptor):
            raise RunError(f"{folder}: expected no process that trains in it, got {_said_by(holder)}")
        with suppress(OSError):  # a full disk
            holder.write_text(f"process {os.getpid()} on {platform.node()}")
        try:
            yield
        finally:
            if descriptor in _held:
                holder.unlink(missing_ok=True)
    finally:
        _let_go(descriptor)


def lock(descriptor: int) -> bool:
    """Locks an open file or folder, until it is closed; whether that can be: another may have it. Without locks, it can."""
    if os.name == "nt":
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _said_by(holder: Path) -> str:
    """Who trains, as it says itself; it says so a moment after it has the folder."""
    with suppress(OSError):
        return holder.read_text(errors="replace") or "another process"
    return "another process"


def _let_go(*descriptors: int) -> None:
    """Closes what this process has not closed yet."""
    for descriptor in _held.intersection(descriptors):
        _held.remove(descriptor)
        os.close(descriptor)


if hasattr(os, "register_at_fork"):  # a fork has the descriptors too, and would keep the folder from all others
    os.register_at_fork(after_in_child=lambda: _let_go(*_held))
