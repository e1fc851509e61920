"""Checkpoints: all that a run needs to go on, written so that there is always a whole one.

    checkpoints/00000400/weights.safetensors   the weights
    checkpoints/00000400/state.pt              everything else: optimisers, schedulers, counters
    checkpoints/00000400/manifest.json         the sizes and checksums of both, and its own

A checkpoint is written in a folder of another name, which is renamed once everything is on the disk; older ones are deleted
after that. So a process may be killed, or the disk may be full, at any moment. The checksums show what happened to the files
later: a disk lost a block, a copy stopped half-way.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from disentangle.errors import RunError
from disentangle.files import make_folder, remove_leftovers, write_folder, writing
from disentangle.weights import load_weights, write_weights

__all__ = ["Checkpoints"]

FORMAT = 3
WEIGHTS, STATE, MANIFEST = "weights.safetensors", "state.pt", "manifest.json"


class Checkpoints:
    """The checkpoints in a folder, by step.

    Arguments:
        folder: Where they are; made when the first one is saved.
        keep: How many are kept. There is room for one more while one is being written.

    Example:
        >>> import tempfile
        >>> checkpoints = Checkpoints(Path(tempfile.mkdtemp()) / "checkpoints")
        >>> model = nn.Linear(2, 1)
        >>> optimizer = torch.optim.Adam(model.parameters())
        >>> for step in (100, 200, 300):
        ...     path = checkpoints.save(step, {"model": model}, {"optimizer": optimizer.state_dict(), "step": step})
        >>> checkpoints.steps()
        [200, 300]
        >>> checkpoints.load({"model": model})["step"]
        300
    """

    def __init__(self, folder: str | os.PathLike[str], keep: int = 2):
        if keep < 1:
            raise ValueError(f"expected to keep at least 1 checkpoint, got {keep}")
        self.folder, self.keep = Path(folder), keep

    def save(self, step: int, modules: Mapping[str, nn.Module], state: Mapping[str, Any]) -> Path:
        """Writes the checkpoint of a step, and deletes older ones beyond the number to keep.

        A checkpoint of the same step is replaced. Checkpoints of later steps are deleted too: they belong to a continuation
        that was given up when the run went back to an earlier step.

        Arguments:
            step: The number of steps taken.
            modules: What has weights, by name.
            state: Everything else: dicts, lists, tuples, strings, numbers, `None` and tensors, nested.

        Returns:
            The folder of the checkpoint.

        Raises:
            RunError: If the system refuses, say for want of space; the checkpoints before are then as they were.
            ValueError: If `state` holds anything else, which could be saved and not be loaded.
        """
        target = self.folder / f"{step:08d}"

        def write(part: Path) -> None:
            write_weights(part / WEIGHTS, nn.ModuleDict(dict(modules)))
            _write_state(part / STATE, state)
            (part / MANIFEST).write_text(_seal({"format": FORMAT, "step": step, "files": _files(part)}))

        with writing(self.folder, RunError):
            make_folder(self.folder)
            remove_leftovers(self.folder)
            write_folder(target, write)
        self._prune(step)
        return target

    def load(self, modules: Mapping[str, nn.Module], step: int | None = None) -> dict[str, Any] | None:
        """Reads the newest checkpoint that is whole into `modules`; warns of each that is not.

        Arguments:
            modules: As they were saved. They change only if there is a checkpoint that is whole and fits.
            step: Reads the checkpoint of this step instead.

        Returns:
            The state that was saved, its tensors on the CPU; `None` where there are no checkpoints.

        Raises:
            RunError: If no checkpoint is whole, if there is none of `step`, or if the newest one that is whole was saved
                from modules of other names, shapes or dtypes.
        """
        found = [path for number, path in self._found() if step in (None, number)]
        if not found and step is None:
            return None
        if not found:
            raise RunError(f"{self.folder}: expected a checkpoint of step {step}, got those of {self.steps()}")
        reasons = []
        for path in found:
            try:
                state, tensors = _read(path)
            except _Torn as torn:
                reasons.append(f"{path.name}: {torn}")
                warnings.warn(f"{path}: this checkpoint is not whole and is not used: {torn}", stacklevel=2)
            else:
                _fill(nn.ModuleDict(dict(modules)), path, tensors)
                return state
        raise RunError(f"{self.folder}: no checkpoint is whole: {'; '.join(reasons)}")

    def steps(self) -> list[int]:
        """The steps there are checkpoints of, whole or not, in order."""
        return sorted({step for step, _ in self._found()})

    def newest(self) -> int | None:
        """The last of the steps; `None` where there is none."""
        return max(self.steps(), default=None)

    def _found(self) -> list[tuple[int, Path]]:
        """Steps and folders, in the order in which they are tried."""
        paths = self.folder.iterdir() if self.folder.is_dir() else ()
        found = [(int(match[1]), path) for path in paths if (match := re.fullmatch(r"(\d{8,})(\.old)?", path.name))]
        return sorted(found, key=lambda each: (-each[0], each[1].name))

    def _prune(self, step: int) -> None:
        kept = [each for each in self.steps() if each <= step][-self.keep :]
        for number, path in self._found():
            if number not in kept or path.suffix == ".old":
                shutil.rmtree(path, ignore_errors=True)


def _fill(module: nn.Module, path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Loads the weights of a checkpoint, all or, where they do not fit, none."""
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    try:
        load_weights(module, tensors)
    except ValueError as error:
        module.load_state_dict(before)
        raise RunError(f"{path}: cannot be loaded: of other modules: {error}") from error


class _Torn(Exception):
    """Raised where a checkpoint is not as it was written."""


def _write_state(path: Path, state: Mapping[str, Any]) -> None:
    with path.open("wb") as file:  # not the path: torch would not say what the system said
        torch.save(dict(state), file)
    if refused := torch.serialization.get_unsafe_globals_in_checkpoint(path):
        raise ValueError(
            "expected a state of dicts, lists, tuples, strings, numbers, None and tensors, "
            f"got one with {', '.join(sorted(refused))}"
        )


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The state and the weights in the folder of a checkpoint, once everything is known to be whole."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        manifest = _unseal((folder / MANIFEST).read_text(errors="replace"))
    except OSError as error:
        raise _Torn(str(error)) from error
    if manifest is None:
        raise _Torn(f"{MANIFEST}: not as it was written")
    if manifest["format"] != FORMAT:
        other = "an earlier" if manifest["format"] < FORMAT else "a later"
        raise RunError(
            f"{folder}: expected a checkpoint of format {FORMAT}, got one of {other} version of disentangle, "
            "which can be resumed by that version alone"
        )
    try:
        for name, wanted in manifest["files"].items():
            size = (folder / name).stat().st_size
            if size != wanted["bytes"]:
                raise _Torn(f"{name}: expected {wanted['bytes']} bytes, got {size}")
        for name, given in _files(folder).items():
            if given != manifest["files"][name]:
                raise _Torn(f"{name}: its checksum is not the one it was written with")
        state = torch.load(folder / STATE, map_location="cpu", weights_only=True)
        return state, load_file(folder / WEIGHTS)
    except (OSError, RuntimeError, UnpicklingError, SafetensorError) as error:
        raise _Torn(str(error).splitlines()[0]) from error


def _files(folder: Path) -> dict[str, dict[str, Any]]:
    """The sizes and checksums of the files beside the manifest."""
    result = {}
    for name in (WEIGHTS, STATE):
        with (folder / name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            result[name] = {"bytes": file.tell(), "sha256": digest}
    return result


def _seal(content: Mapping[str, Any]) -> str:
    """JSON with a checksum of its own."""
    checksum = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return json.dumps({**content, "sha256": checksum}, indent=2) + "\n"


def _unseal(text: str) -> dict[str, Any] | None:
    """What was sealed; `None` where the text is not as `_seal` made it."""
    try:
        content = json.loads(text)
    except ValueError:
        return None
    if not isinstance(content, dict):
        return None
    content.pop("sha256", None)
    return content if _seal(content) == text else None
