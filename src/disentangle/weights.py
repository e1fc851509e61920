"""The weights of a module as a safetensors file, with what tensors share written once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

__all__ = ["CHECKSUM", "checksum", "load_weights", "write_checked_weights", "write_weights"]

CHECKSUM = "sha256"  # its key in the header of a file; files of other writers have none


def write_weights(path: Path, module: nn.Module, metadata: Mapping[str, str] | None = None) -> None:
    """Writes weights and buffers by `safetensors.torch.save_model`, to a file that whoever can read the folder can read.

    Raises:
        ValueError: If tensors are views of something larger that the module does not have: it would be written with them.
    """
    from safetensors.torch import save_model

    path.touch()
    mode = path.stat().st_mode  # safetensors makes a file that only its owner can read
    try:
        save_model(module, str(path), dict(metadata or {}))
    except RuntimeError as error:
        if "no suitable name to keep" not in str(error):
            raise
        raise ValueError(f"expected tensors that are no views of a part of others, got {_line(error)}") from error
    path.chmod(mode)


def write_checked_weights(path: Path, module: nn.Module) -> None:
    """Writes weights and buffers as `write_weights` does, with the checksum of what was written in the header.

    `save_model` decides which of shared tensors are written. So the header has a blank at first, and it is filled in later.

    Raises:
        ValueError: As `write_weights`.
    """
    from safetensors.torch import load_file

    key, blank = f'"{CHECKSUM}":"', "0" * 64
    write_weights(path, module, {"format": "pt", CHECKSUM: blank})
    written = checksum(load_file(path))
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = file.read(size)
        file.seek(8 + header.index((key + blank).encode()) + len(key))
        file.write(written.encode())


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """The checksum of names, dtypes, shapes and bytes: the format itself does not notice a changed weight."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_weights(path: Path, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Loads a file of `write_weights` by `safetensors.torch.load_model`: all of the file into all of the module.

    Arguments:
        path: The file.
        module: Where the weights go, of the same names, shapes and dtypes, with the same tensors shared.
        tensors: What the file holds, by name.

    Raises:
        ValueError: If anything differs; the message names the first few differences in one line.
    """
    from safetensors.torch import load_model

    own = module.state_dict()
    # What a module packs into an extra state, it reads itself, whatever its size.
    both = [
        (name, own[name], tensors[name])
        for name in sorted(own.keys() & tensors.keys())
        if not name.endswith("_extra_state")
    ]
    differing = [
        f"{name}: expected {_kind(mine)}, got {_kind(given)}"
        for name, mine, given in both
        if _kind(mine) != _kind(given)
    ]
    if differing:
        more = f"; and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise ValueError("; ".join(differing[:3]) + more)
    try:
        load_model(module, path)
    except RuntimeError as error:
        raise ValueError(_line(error)) from error


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
