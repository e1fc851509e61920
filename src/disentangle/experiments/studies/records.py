"""What a table is of, for a reader who wants to run it again: checksums of data files, versions, the machine."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Mapping
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import torch

from disentangle.files import make_folder, write_file
from disentangle.training.run import Run
from disentangle.training.seeds import cores

__all__ = [
    "CHECKSUMS",
    "PROGRAM",
    "PROGRAM_CHECKSUM",
    "check_unchanged",
    "checksum",
    "data_files",
    "machine",
    "pinned",
    "refuse_changed",
    "versions",
]

PACKAGES = ("torch", "transformers", "accelerate", "numpy", "scipy", "scikit-learn")
# Entries of a run's config.json that are no options
CHECKSUMS = "_checksums"  # of its data
PROGRAM = "_program"  # the name of its program
PROGRAM_CHECKSUM = "_program_checksum"  # of its program's file, and of nothing that the file imports
RECORD = "data.json"  # the checksums of the files that the runs in a folder learn from


def checksum(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file; of a folder, that of the names and checksums of all of its files.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "a").write_text("one")
        >>> checksum(folder / "a")[:12], checksum(folder)[:12]
        ('7692c3ad3540', '3fb431a9a7a5')
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(each for each in path.rglob("*") if each.is_file())
        lines = [f"{each.relative_to(path).as_posix()} {checksum(each)}\n" for each in files]
        return sha256("".join(lines).encode()).hexdigest()
    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def check_unchanged(folder: str | os.PathLike[str], files: Iterable[str]) -> None:
    """Notes the checksums of data files in a folder of runs; raises `ValueError` where one was noted otherwise before."""
    known = pinned(folder)
    there = {path: checksum(path) for path in files if Path(path).exists()}  # what is absent, the runs themselves say
    refuse_changed(known, there, f"the file that the runs in {folder} learnt from", "; another --out starts anew")
    if there.keys() - known.keys():
        make_folder(Path(folder))
        text = json.dumps({**known, **there}, indent=2) + "\n"
        write_file(Path(folder) / RECORD, lambda part: part.write_text(text))


def refuse_changed(known: Mapping[str, str], found: Mapping[str, str], what: str, cure: str = "") -> None:
    """Raises `ValueError` where the checksum of a file is not the one that is known of it."""
    for path, digest in found.items():
        if known.get(path, digest) != digest:
            raise ValueError(f"{path}: expected {what}, SHA-256 {known[path][:12]}…, got {digest[:12]}…{cure}")


def data_files(options: argparse.Namespace) -> list[str]:
    """The files and folders that a run with these options learns from."""
    return [path for path in (options.data, getattr(options, "unlabeled", None)) if path]


def refuse_elsewhere(files: Iterable[str], run: Run) -> None:
    """Refuses files that are not where a run was given them: by a path from another folder than this one, or moved since."""
    for path in files:
        if not Path(path).exists():
            way = (
                "put it back, or a link to it"
                if Path(path).is_absolute()
                else "go to the folder that it was started in"
            )
            raise ValueError(
                f"{path}: expected what the run in {run.folder} was given by this path, got nothing here: {way}; evaluate also "
                "takes --data FILE"
            )


def pinned(folder: str | os.PathLike[str]) -> dict[str, str]:
    """The checksums of the files that the runs in a folder learn from; empty where they learn from the embedded set."""
    path = Path(folder) / RECORD
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def versions() -> dict[str, str]:
    """The versions of Python, of this library, and of the packages that decide on numbers."""
    import disentangle

    found = {"python": platform.python_version(), "disentangle": disentangle.__version__}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """The cores that runs can use, and the accelerator, if there is one."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"system": platform.system(), "processor": platform.machine(), "cores": cores(), "device": device}
