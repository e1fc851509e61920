"""A program whose reader has gone, as `| head` goes, ends quietly."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ends_with_its_reader"]

GONE = 141  # the exit code that shells have for a program whose reader is gone: 128 and the number of SIGPIPE


@contextmanager
def ends_with_its_reader() -> Iterator[None]:
    """Within the block, and when what it has printed is written behind it, a reader of the output who is gone ends the program.

    Of another pipe that breaks the error is raised as it is.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _is_gone():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python itself writes what is left, at its end
        raise SystemExit(GONE) from None


def _is_gone() -> bool:
    """Whether nobody reads the output, which a blank line tells."""
    try:
        sys.stdout.write("\n")
        sys.stdout.flush()
    except BrokenPipeError:
        return True
    return False
