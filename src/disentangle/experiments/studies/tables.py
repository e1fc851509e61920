"""What comes of a study, whatever it compares: a table that prints, draws and exports."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol, runtime_checkable

from disentangle.files import make_folder, write_file

__all__ = ["Table", "save_table"]


@runtime_checkable
class Table(Protocol):
    """A table, with a picture of it."""

    def to_markdown(self) -> str:
        """As Markdown."""
        ...

    def to_latex(self) -> str:
        """As LaTeX, for booktabs."""
        ...

    def to_csv(self) -> str:
        """Its numbers in full precision."""
        ...

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draws it."""
        ...

    def save(self, folder: str | os.PathLike[str], name: str) -> None:
        """Writes all of these into a folder."""
        ...


def save_table(folder: str | os.PathLike[str], name: str, table: Table) -> None:
    """Writes `NAME.md`, `.csv`, `.tex` and `.png` into a folder, which is made where it is not there."""
    folder = Path(folder)
    make_folder(folder)
    for ending, text in {"md": table.to_markdown(), "csv": table.to_csv(), "tex": table.to_latex()}.items():
        write_file(folder / f"{name}.{ending}", lambda path, text=text: path.write_text(text.rstrip("\n") + "\n"))
    write_file(folder / f"{name}.png", table.plot)
