"""The folder of a data set that is written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from disentangle.errors import DataError
from disentangle.files import make_folder, write_folder

__all__ = ["write_new_folder"]


def write_new_folder(folder: str | os.PathLike[str], write: Callable[[Path], object]) -> None:
    """Writes a folder whole, where there is none or an empty one; raises `DataError` where it cannot."""
    folder = Path(folder).absolute()
    try:
        if folder.exists() and any(folder.iterdir()):
            raise DataError(f"{folder}: expected a new folder, got one that is not empty")
        make_folder(folder.parent)
        write_folder(folder, write)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from error
