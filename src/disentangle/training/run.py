"""A run's folder: what was asked for, what happened, what came out, and the weights.

    config.json         the configuration, as given
    metrics.jsonl       a line an epoch
    best.safetensors    the weights of the best epoch on the validation split
    last.safetensors    the weights of the last epoch
    result.json         the metrics at the end
    curves.png          metrics.jsonl, drawn

Every file is written under another name first and then renamed, and `metrics.jsonl` grows by whole lines: whenever a run
stops, its folder can be read.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

__all__ = ["Run", "RunError"]


class RunError(RuntimeError):
    """A run's folder cannot be used; the message says why, in a line."""


class Run:
    """A run's folder. Make one with `Run.create`, come back to one with `Run.open`.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "first"
        >>> run = Run.create(folder, {"alpha": 0.1})
        >>> run.log({"epoch": 1, "losses": {"Y": 0.5}})
        >>> run.save("last", {"model": nn.Linear(2, 1)})
        >>> sorted(path.name for path in folder.iterdir())
        ['config.json', 'last.safetensors', 'metrics.jsonl']
        >>> Run.open(folder).config
        {'alpha': 0.1}
    """

    def __init__(self, folder: Path, config: dict[str, Any]):
        self.folder, self.config = folder, config

    @classmethod
    def create(cls, folder: str | os.PathLike[str], config: Mapping[str, Any]) -> Run:
        """A new folder with its `config.json`; raises `RunError` where the folder exists and holds anything."""
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            taken = any(folder.iterdir())
        except OSError as error:
            raise RunError(f"{folder}: cannot be made into an output folder: {error.strerror}") from error
        if taken:
            raise RunError(f"{folder}: exists and is not empty; nothing in it was touched. Give another folder")
        run = cls(folder, dict(config))
        run.write("config.json", run.config)
        return run

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Run:
        """The run in an existing folder; raises `RunError` where there is none."""
        folder = Path(folder)
        try:
            return cls(folder, json.loads((folder / "config.json").read_text()))
        except (OSError, ValueError) as error:
            raise RunError(f"{folder}: expected the folder of a run, with its config.json: {error}") from error

    @property
    def history(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl`."""
        path = self.folder / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def log(self, record: Mapping[str, Any]) -> None:
        """Adds a line to `metrics.jsonl`; a value that is not finite becomes `null`."""
        with (self.folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(_finite(record), allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """Writes a JSON file; a value that is not finite becomes `null`."""
        text = json.dumps(_finite(content), indent=2, allow_nan=False) + "\n"
        temporary = self.folder / f".{name}.part"
        temporary.write_text(text)
        temporary.replace(self.folder / name)

    def save(self, name: str, modules: Mapping[str, nn.Module]) -> None:
        """Writes the weights of `modules` to `name.safetensors`."""
        from safetensors.torch import save_model

        temporary = self.folder / f".{name}.safetensors.part"
        save_model(nn.ModuleDict(dict(modules)), str(temporary))
        temporary.replace(self.folder / f"{name}.safetensors")

    def load(self, name: str, modules: Mapping[str, nn.Module]) -> None:
        """Reads `name.safetensors` into `modules`, whole; raises `RunError` where it is absent, torn or does not fit."""
        from safetensors import SafetensorError
        from safetensors.torch import load_model

        path = self.folder / f"{name}.safetensors"
        try:
            load_model(nn.ModuleDict(dict(modules)), str(path))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise RunError(f"{path}: cannot be loaded: {str(error).splitlines()[0]}") from error

    def draw(self) -> None:
        """Draws `curves.png` from `metrics.jsonl`, where there is anything to draw; warns where matplotlib is missing."""
        from disentangle.plots import plot_curves

        if history := self.history:
            temporary = self.folder / ".curves.part.png"
            try:
                plot_curves(history, temporary)
            except ImportError as error:  # no reason to lose a run
                warnings.warn(f"no curves.png: {error}", stacklevel=2)
            else:
                temporary.replace(self.folder / "curves.png")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
