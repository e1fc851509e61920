"""Files and folders that are written whole: whatever stops the writing of one, it is as it was, or as it was meant to be.

Everything is written under another name, brought to the disk, and renamed. What the system says against it is
raised as it is, unless within `writing`.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

__all__ = [
    "append_line",
    "make_folder",
    "remove_leftovers",
    "staged",
    "sync",
    "sync_tree",
    "write_file",
    "write_folder",
    "write_new_file",
    "writing",
]

PREFIX = ".part."  # of the name that something has while it is written
LONGEST = 240  # bytes of a name that has room for it


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a file, or replaces it, whole; what is written beside it gets its place beside it before.

    Arguments:
        path: The file, in an existing folder.
        write: Writes to the path it is given, of the same name in another folder.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "alpha.txt"
        >>> write_file(path, lambda staged: staged.write_text("0.1"))
        >>> path.read_text()
        '0.1'
    """
    part = _staging_of(path)
    with staged(part):
        write(part / path.name)
        written = sorted(part.iterdir(), key=lambda each: each.name == path.name)
        for each in written:
            sync(each)
        for each in written:
            each.replace(path.with_name(each.name))
    part.rmdir()
    sync(path.parent)


def write_new_file(path: Path, text: str) -> None:
    """Writes a file whole where there is none.

    Raises:
        FileExistsError: If there is one; of several processes that write it at once, in all but the first.

    Example:
        >>> path = Path(tempfile.mkdtemp()) / "alpha.txt"
        >>> write_new_file(path, "0.1")
        >>> path.read_text()
        '0.1'
    """
    part = Path(tempfile.mkdtemp(prefix=PREFIX, dir=path.parent))
    try:
        new = part / path.name
        new.write_text(text)
        sync(new)
        try:
            os.link(new, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            if path.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
            new.replace(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    sync(path.parent)


def write_folder(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a folder, or replaces it, whole. Until the new one has its name, an old one is `path` or `path.old`.

    Arguments:
        path: The folder, in an existing one.
        write: Writes into the folder it is given.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "run"
        >>> write_folder(path, lambda staged: (staged / "alpha.txt").write_text("0.1"))
        >>> (path / "alpha.txt").read_text()
        '0.1'
    """
    part, old = _staging_of(path), path.with_name(f"{path.name}.old")
    with staged(part):
        write(part)
        sync_tree(part)
        if path.exists():  # a folder cannot take the place of another that holds anything
            part.chmod(path.stat().st_mode)
            shutil.rmtree(old, ignore_errors=True)
            path.rename(old)
        part.rename(path)
    sync(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def _staging_of(path: Path) -> Path:
    """Where something is written before it has its name, which may be as long as names can be."""
    name = path.name if len(os.fsencode(path.name)) <= LONGEST else sha256(os.fsencode(path.name)).hexdigest()
    return path.with_name(PREFIX + name)


@contextmanager
def staged(folder: Path) -> Iterator[None]:
    """Makes an empty folder to write in, and removes it with all that it holds if the block raises.

    What a killed process left there goes first. Some libraries write under names of their own: the folder holds those too.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def remove_leftovers(folder: Path) -> None:
    """Removes from a folder what killed processes left there of their writing."""
    for left in folder.glob(f"{PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)


def append_line(path: Path, line: str) -> None:
    """Adds a line to a file, whole or not at all; what a killed process left of one is cut off first."""
    end = _end(path)
    try:
        with path.open("ab") as file:
            file.truncate(end)
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        with suppress(OSError):  # where the file could not even be opened
            os.truncate(path, end)
        raise
    sync(path.parent)


def _end(path: Path) -> int:
    """Where the last whole line of a file ends."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        if file.read() in (b"", b"\n"):
            return size
        file.seek(0)
        return file.read().rfind(b"\n") + 1


def make_folder(folder: Path) -> None:
    """Makes a folder, and those above it, where there is none."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        sync(folder.parent)


@contextmanager
def writing(folder: Path, error: type[Exception]) -> Iterator[None]:
    """Within the block, what the system says against writing in `folder` is raised as `error`.

    Libraries hide it in errors of their own; whatever does not go back to the system is raised as it is.

    Example:
        >>> with writing(Path("runs"), RuntimeError):
        ...     raise OSError(28, "No space left on device")
        Traceback (most recent call last):
        RuntimeError: runs: cannot be written: No space left on device; what was saved before is intact
    """
    try:
        yield
    except Exception as given:
        reason = _reason(given)
        if reason is None or isinstance(given, error):
            raise
        raise error(f"{folder}: cannot be written: {reason}; what was saved before is intact") from given


def _reason(error: BaseException) -> str | None:
    """What the system said, if an error goes back to that."""
    if match := re.fullmatch(r"(?:.*I/O error: )?(.+) \(os error \d+\)|.*I/O error: (.+)", str(error)):
        return match[1] or match[2]  # as libraries written in Rust say it
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__context__  # torch.save hides it behind an error about positions in a file
    return None if cause is None else cause.strerror or str(cause)


def sync_tree(folder: Path) -> None:
    """Waits until a folder, and all that is in it, is on the disk."""
    for path in [*folder.rglob("*"), folder]:
        sync(path)


def sync(path: Path) -> None:
    """Waits until a file's content, or a folder's list of names, is on the disk."""
    folder = path.is_dir()
    if folder and os.name == "nt":  # has no such thing
        return
    descriptor = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems have it for files only.
        if not folder or error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
