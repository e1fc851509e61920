"""A run's folder: what was asked for, what happened, what came out, and the weights.

    config.json         the configuration, as given
    metrics.jsonl       a line per report, such as an epoch
    model/              the model that was best on the validation split, as `disentangle.save` writes it
    checkpoints/        all that is needed to go on, of the last few times it was written
    predictions.json    what the model says of the test split, its labels and names, where an experiment's program wrote it
    result.json         the metrics at the end
    curves.png          metrics.jsonl, drawn
    .trained_by         which process trains in the folder, while one does

Every file is written under another name first, and renamed once it is on the disk; `metrics.jsonl` grows by whole lines.
Whenever a run stops, its folder can be read.
"""

from __future__ import annotations

import errno
import json
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from disentangle.contents import misplaced
from disentangle.errors import RunError, SavedModelError
from disentangle.files import PREFIX, append_line, make_folder, remove_leftovers, write_file, write_new_file, writing
from disentangle.saving import read_config, refuse_what_json_lacks
from disentangle.training.checkpoints import Checkpoints
from disentangle.training.locks import alone_in

__all__ = ["MODEL", "STEP", "Run"]

MODEL = "model"  # the folder of the best model, in that of the run
STEP = "_step"  # the note in its configuration that says which step it is of


class Run:
    """A run's folder. Make one with `Run.create`, come back to one with `Run.open`.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "first"
        >>> run = Run.create(folder, {"alpha": 0.1})
        >>> run.log({"epoch": 1, "losses": {"Y": 0.5}})
        >>> sorted(path.name for path in folder.iterdir())
        ['config.json', 'metrics.jsonl']
        >>> Run.open(folder).config
        {'alpha': 0.1}
    """

    def __init__(self, folder: Path, config: dict[str, Any]):
        self.folder, self.config = folder, config

    @classmethod
    def create(cls, folder: str | os.PathLike[str], config: Mapping[str, Any]) -> Run:
        """A new folder with its `config.json`.

        Raises:
            RunError: If the folder exists and holds anything, or cannot be written.
            ValueError: If something in `config` is not JSON, such as a path or a number that is not finite.
        """
        refuse_what_json_lacks(dict(config), "config")
        folder = Path(folder)
        cls.refuse_taken(folder)
        try:
            make_folder(folder)
            remove_leftovers(folder)
        except OSError as error:
            raise _cannot_be_made(folder, error) from error
        run = cls(folder, dict(config))
        with writing(folder, RunError):
            try:
                write_new_file(folder / "config.json", _as_json(run.config))
            except FileExistsError:  # another process was first
                raise _taken(folder) from None
        return run

    @staticmethod
    def refuse_taken(folder: str | os.PathLike[str]) -> None:
        """Raises `RunError` where a folder cannot be that of a new run; makes and changes nothing."""
        folder = Path(folder)
        try:
            there = next(each for each in (folder, *folder.absolute().parents) if os.path.lexists(each))
            held = [path for path in there.iterdir() if not path.name.startswith(PREFIX)] if there == folder else []
            if not os.access(there, os.W_OK | os.X_OK) or not there.is_dir():
                code = errno.EACCES if there.is_dir() else errno.ENOTDIR
                raise OSError(code, os.strerror(code))
        except OSError as error:
            raise _cannot_be_made(folder, error) from error
        if held:
            raise _taken(folder)

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Run:
        """The run in an existing folder; raises `RunError` where there is none."""
        folder = Path(folder)
        path = folder / "config.json"
        if path.is_file() and (wrong := misplaced(path, "JSON")):
            raise RunError(f"{path}: {wrong}")
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"{folder}: expected the folder of a run, with its config.json: {error}") from error
        if not isinstance(config, dict):
            raise RunError(f"{path}: expected an object with the configuration of a run, got {type(config).__name__}")
        return cls(folder, config)

    def alone(self) -> AbstractContextManager[None]:
        """Keeps others from training in the folder within a block; raises `RunError` where another process does."""
        return alone_in(self.folder)

    @property
    def history(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl`, without what a killed process left of one."""
        records = []
        for number, line in enumerate(self._lines(), 1):
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            if not isinstance(record, dict):
                given = line.decode(errors="replace").strip()[:40]
                raise RunError(f"{self._metrics}: expected a JSON object in line {number}, got {given!r}")
            records.append(record)
        return records

    def refuted_model(self, history: Sequence[Mapping[str, Any]] | None = None) -> str | None:
        """What is wrong with the model in `model` where it is not that of the best report; `None` where nothing is known to be.

        So it is where a run went on from an older checkpoint than the one that was written with its model.

        Arguments:
            history: The reports, in place of those that are written.
        """
        if history is None and not self._metrics.exists():  # a model's folder that was taken elsewhere
            return None
        try:
            noted = read_config(self.folder / MODEL / "config.json").get(STEP)
            reports = self.history if history is None else history
        except (SavedModelError, RunError):
            return None
        best = next((f"that of step {each['step']}" for each in reversed(reports) if each.get("best")), "none")
        if noted is None or best == f"that of step {noted}":
            return None
        got = f"that of step {noted}, which was given up"
        return f"{self.folder / MODEL}: expected {best}, by the reports of the run, got {got}"

    @property
    def checkpoints(self) -> Checkpoints:
        """The checkpoints, in the folder of that name."""
        return Checkpoints(self.folder / "checkpoints")

    def log(self, record: Mapping[str, Any]) -> None:
        """Adds a line to `metrics.jsonl`; a value that is not finite becomes `null`."""
        line = json.dumps(_finite(record), allow_nan=False)
        with writing(self.folder, RunError):
            append_line(self._metrics, line)

    def truncate(self, records: int) -> None:
        """Cuts `metrics.jsonl` to its first lines, to go on from there; warns where there are fewer."""
        lines = self._lines()
        if len(lines) < records:
            warnings.warn(f"{self._metrics}: expected at least {records} lines, got {len(lines)}", stacklevel=2)
        if self._metrics.exists():
            self._write("metrics.jsonl", lambda path: path.write_bytes(b"".join(lines[:records])))

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """Writes a JSON file; a value that is not finite becomes `null`."""
        self._write(name, lambda path: path.write_text(_as_json(content)))

    def draw(self) -> None:
        """Draws `curves.png` from `metrics.jsonl`, where there is anything to draw; warns where that cannot be done."""
        from disentangle.plots import plot_curves

        try:
            if history := [record for record in self.history if "epoch" in record]:
                self._write("curves.png", lambda path: plot_curves(history, path))
        except (ImportError, RunError) as error:  # no reason to lose a run
            warnings.warn(f"no curves.png: {error}", stacklevel=2)

    def _write(self, name: str, write: Callable[[Path], object]) -> None:
        with writing(self.folder, RunError):
            write_file(self.folder / name, write)

    @property
    def _metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    def _lines(self) -> list[bytes]:
        content = self._metrics.read_bytes() if self._metrics.exists() else b""
        return [line + b"\n" for line in content.split(b"\n")[:-1]]


def _taken(folder: Path) -> RunError:
    return RunError(f"{folder}: exists and is not empty; nothing in it was touched. Give another folder")


def _cannot_be_made(folder: Path, error: OSError) -> RunError:
    return RunError(f"{folder}: cannot be made into an output folder: {error.strerror}")


def _as_json(content: Mapping[str, Any]) -> str:
    return json.dumps(_finite(content), indent=2, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
