"""The weights of a module as a safetensors file, with what tensors share written once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

__all__ = ["load_weights", "write_weights"]


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
    both = [(name, own[name], tensors[name]) for name in sorted(own.keys() & tensors.keys())]
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
