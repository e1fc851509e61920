"""Files that survive: whatever stops the writing of one, it is as it was before or as it was meant to be."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from disentangle.errors import RunError

__all__ = [
    "append_line",
    "load_weights",
    "make_folder",
    "read_weights",
    "scratch",
    "shared_tensors",
    "sync",
    "write_file",
    "write_weights",
    "writing",
]


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a file elsewhere, waits until it is on the disk, and only then gives it its name.

    Arguments:
        path: The file, in an existing folder. One that exists is replaced.
        write: Writes to the path it is given, of the same name in another folder.

    Raises:
        RunError: If the system refuses; `path` is then as it was.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "alpha.txt"
        >>> write_file(path, lambda temporary: temporary.write_text("0.1"))
        >>> path.read_text()
        '0.1'
    """
    with writing(path.parent), scratch(path) as folder:
        temporary = folder / path.name
        write(temporary)
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)


def append_line(path: Path, line: str) -> None:
    """Adds a line to a file, whole or not at all; what a killed process left of one is cut off first.

    Raises:
        RunError: If the system refuses; the lines before are then as they were.
    """
    with writing(path.parent):
        end = _end(path)
        try:
            with path.open("ab") as file:
                file.truncate(end)
                file.write(line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError:
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
def scratch(path: Path) -> Iterator[Path]:
    """An empty folder beside `path` to write in, removed at the end with whatever is in it then.

    Some libraries write under names of their own: a folder holds those too, and the next one takes a killed process's place.
    """
    folder = path.with_name(f".part.{path.name}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Makes a `RunError` of what the system says against writing in `folder`."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = _reason(error)
        if reason is None or isinstance(error, RunError):
            raise
        raise RunError(f"{folder}: cannot be written: {reason}; what was saved before is intact") from error


def _reason(error: BaseException) -> str | None:
    """What the system said, if an error goes back to that: `torch.save` hides it behind one about positions in a file."""
    if match := re.search(r"I/O error: (.+?)(?: \(os error \d+\))?$", str(error)):  # of safetensors
        return match[1]
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__context__
    return None if cause is None else cause.strerror or str(cause)


def sync(path: Path) -> None:
    """Waits until a file's content, or a folder's list of names, is on the disk."""
    folder = path.is_dir()
    if folder and os.name == "nt":  # has no such thing
        return
    descriptor = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not folder or error.errno not in (
            errno.EINVAL,
            errno.ENOTSUP,
        ):  # some network file systems have it for files only
            raise
    finally:
        os.close(descriptor)


def write_weights(path: Path, modules: Mapping[str, nn.Module]) -> None:
    """Writes the weights of `modules` as safetensors, as its `save_model` does: what is shared once, with its other names."""
    from safetensors.torch import save_file

    tensors = nn.ModuleDict(dict(modules)).state_dict()
    shared = shared_tensors(tensors)
    path.touch()
    mode = path.stat().st_mode  # as any other file's: safetensors makes one that only its owner can read
    once = {name: tensor.contiguous() for name, tensor in tensors.items() if name not in shared}
    save_file(once, path, metadata=shared or None)
    path.chmod(mode)


def read_weights(path: Path) -> dict[str, Tensor]:
    """What `write_weights` wrote, under all names."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        shared = file.metadata() or {}
    return tensors | {name: tensors[owner] for name, owner in shared.items() if owner in tensors}


def load_weights(modules: Mapping[str, nn.Module], tensors: Mapping[str, Tensor], source: Path) -> None:
    """Copies `tensors` into `modules`, all or, where they do not fit, none.

    Raises:
        RunError: If names, shapes, dtypes or what is shared differ; says where `tensors` came from, and the first few.
    """
    module = nn.ModuleDict(dict(modules))
    wanted, given = _describe(module.state_dict()), _describe(tensors)
    differing = [name for name in sorted(wanted | given) if wanted.get(name) != given.get(name)]
    if differing:
        first = [
            f"{name}: expected {wanted.get(name, 'none')}, got {given.get(name, 'none')}" for name in differing[:3]
        ]
        more = f"; and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise RunError(f"{source}: cannot be loaded: of other modules: {'; '.join(first)}{more}")
    module.load_state_dict(dict(tensors))


def _describe(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    shared = shared_tensors(tensors)
    return {
        name: f"the same as {shared[name]}" if name in shared else f"{str(t.dtype).split('.')[1]} {tuple(t.shape)}"
        for name, t in tensors.items()
    }


def shared_tensors(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """The names of tensors that are there under another name already, and which."""
    owners: dict[Any, str] = {}
    for name, tensor in sorted(tensors.items()):
        if tensor.numel():
            owners.setdefault(_place(tensor), name)
    return {
        name: owners[_place(tensor)]
        for name, tensor in tensors.items()
        if tensor.numel() and owners[_place(tensor)] != name
    }


def _place(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype
