"""Files that users name: whether they are there, and what they say."""

from __future__ import annotations

import os

from disentangle.contents import misplaced
from disentangle.data.pickles import DataError, check_file

__all__ = ["check_file", "read_text"]


def read_text(path: str | os.PathLike[str]) -> str:
    r"""Reads a file of UTF-8, with or without a byte-order mark; lines end in "\n", whatever they end in there.

    Arguments:
        path: The file.

    Raises:
        DataError: If it cannot be read, or is not UTF-8.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     _ = file.write(b"\xef\xbb\xbfso\r\ngood")
        ...     file.flush()
        ...     read_text(file.name)
        'so\ngood'
    """
    check_file(path)
    try:
        if wrong := misplaced(path, "text"):
            raise DataError(f"{path}: {wrong}")
        with open(path, encoding="utf-8-sig", newline=None) as file:
            return file.read()
    except DataError:
        raise
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
