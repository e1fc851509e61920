"""The weights of a module as a safetensors file, with what tensors share written once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

__all__ = ["CHECKSUM", "checksum", "load_weights", "write_checked_weights", "write_weights"]

CHECKSUM = "sha256"  # its key in the header of a file; files of other writers have none


def write_weights(path: Path, module: nn.Module, metadata: Mapping[str, str] | None = None) -> dict[str, Tensor]:
    """Writes weights and buffers as a safetensors file, on the CPU, to a file that whoever can read the folder can read.

    What is a part of something larger is written by itself: on a CUDA device all weights of an LSTM lie in one memory.

    Returns:
        What the file holds.

    Raises:
        ValueError: If elements of a tensor share their place, as those of an expanded one: it could not be loaded.
    """
    from safetensors.torch import save_file

    path.touch()
    mode = path.stat().st_mode  # safetensors makes a file that only its owner can read
    state = module.state_dict()
    if expanded := [name for name, t in state.items() if 0 in t.stride() and t.numel() > 1 and not _is_whole(t)]:
        raise ValueError(f"expected tensors with a place for each element, got {expanded[0]!r} of strides 0")
    groups = _same(state)
    tensors = {names[0]: state[names[0]].detach().cpu().contiguous() for names in groups}
    written = {name: t if _is_whole(t) else t.clone() for name, t in tensors.items()}
    left_out = {name: names[0] for names in groups for name in names[1:]}  # as safetensors' own `save_model` notes it
    save_file(written, path, {**left_out, **(metadata or {})})
    path.chmod(mode)
    return written


def write_checked_weights(path: Path, module: nn.Module) -> None:
    """Writes weights and buffers as `write_weights` does, with the checksum of what was written in the header.

    Raises:
        ValueError: As `write_weights`.
    """
    key, blank = f'"{CHECKSUM}":"', "0" * 64
    written = checksum(write_weights(path, module, {"format": "pt", CHECKSUM: blank}))
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


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Loads what a file of `write_weights` holds: all of it into all of the module.

    Arguments:
        module: Where the weights go, of the same names, shapes and dtypes, with the same tensors shared.
        tensors: What the file holds, by name.

    Raises:
        ValueError: If anything differs; the message names the first few differences in one line.
    """
    own = module.state_dict()
    kept = {name: names for names in _same(own) for name in names if name in tensors}
    # What a module packs into an extra state, it reads itself, whatever its size.
    both = [(name, own[name], tensors[name]) for name in sorted(kept) if not name.endswith("_extra_state")]
    differing = [
        f"{name}: expected {_kind(mine)}, got {_kind(given)}"
        for name, mine, given in both
        if _kind(mine) != _kind(given)
    ]
    missing = [names[0] for names in _same(own) if not tensors.keys() & names]
    twice = [names for names in _same(own) if len(tensors.keys() & names) > 1]
    differing += [f"{name}: expected it, got none" for name in missing]
    differing += [f"{name}: expected none, got it" for name in sorted(tensors.keys() - own.keys())]
    differing += [f"{names[-1]}: expected the same tensor as {names[0]}, got one of its own" for names in twice]
    if differing:
        more = f"; and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise ValueError("; ".join(differing[:3]) + more)
    module.load_state_dict({name: tensors[given] for given, names in kept.items() for name in names})


def _same(state: Mapping[str, Tensor]) -> list[list[str]]:
    """The names of a state, those of one and the same tensor together, in alphabetical order."""
    together: dict[object, list[str]] = {}
    for name, t in sorted(state.items()):
        alike = (t.device, t.dtype, t.data_ptr(), t.shape, t.stride()) if t.numel() and not t.is_meta else name
        together.setdefault(alike, []).append(name)
    return list(together.values())


def _is_whole(tensor: Tensor) -> bool:
    return tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
