"""Opening files that others wrote: what lies there is looked at first, and what goes wrong becomes one `DataError`."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from disentangle.contents import misplaced
from disentangle.errors import DataError

__all__ = ["map_array", "read_bytes", "reading"]


@contextmanager
def reading(path: str | os.PathLike[str], wanted: str) -> Iterator[None]:
    """Checks a file before a block reads it, and turns what the system says against reading it into a `DataError`.

    Arguments:
        path: The file.
        wanted: What it is to hold, for `misplaced`.

    Raises:
        DataError: If there is no regular file (a pipe or a device could block, or never end), if it cannot be read, does not
            fit into memory, or evidently holds something else. The message is one line that begins with the path.

    Example:
        >>> with reading("absent.csv", "CSV"):
        ...     print("never")
        Traceback (most recent call last):
        disentangle.errors.DataError: absent.csv: no such file
    """
    try:
        _check_what_lies_there(path, wanted)
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise DataError(f"{path}: does not fit into memory") from error


def read_bytes(path: str | os.PathLike[str], wanted: str, *, largest: int | None = None) -> bytes:
    """The content of a file.

    Arguments:
        path: The file.
        wanted: What it is to hold, for `misplaced`.
        largest: How many bytes it may have, if not any number.

    Raises:
        DataError: As `reading`, and if the file is larger than that.
    """
    with reading(path, wanted), open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if largest is not None and size > largest:
            raise DataError(f"{path}: expected {wanted} of at most {largest:,} bytes, got {size:,}")
        return file.read()


def map_array(path: str | os.PathLike[str]) -> np.ndarray:
    """The array of a `.npy` file, mapped into memory: only its head is read. NumPy checks that the file is long enough.

    Raises:
        DataError: As `reading`, and if the file is no array of NumPy, or holds Python objects.
    """
    with reading(path, "a file of NumPy (.npy)"):
        _check_head(path)
        try:
            return np.lib.format.open_memmap(path, mode="r")
        except (OSError, MemoryError):
            raise
        except Exception as error:  # whatever else a damaged head leads to
            what = " ".join(str(error).split())[:120] or type(error).__name__
            raise DataError(f"{path}: not an array of NumPy: {what}") from None


def _check_what_lies_there(path: str | os.PathLike[str], wanted: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except ValueError as error:  # a null byte in the path
        raise DataError(f"{path}: cannot be read: {error}") from error
    if stat.S_ISDIR(mode):
        raise DataError(f"{path}: expected a file, got a directory")
    if not stat.S_ISREG(mode):
        raise DataError(f"{path}: not a regular file")
    if wrong := misplaced(path, wanted):
        raise DataError(f"{path}: {wrong}")


def _check_head(path: str | os.PathLike[str]) -> None:
    """NumPy sets aside as many bytes for the head as the file says that it has, which can be 4 GiB."""
    with open(path, "rb") as file:
        start, length = file.read(12), os.fstat(file.fileno()).st_size
    declared = int.from_bytes(start[8:10] if start[6:7] == b"\1" else start[8:12], "little")
    if declared > length:
        raise DataError(f"{path}: not an array of NumPy: a head of {declared:,} bytes in a file of {length:,}")
