"""What comes of a study, whatever it compares: a table that prints, draws and exports."""

from __future__ import annotations

import os
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from disentangle.files import make_folder, write_file
from disentangle.text_tables import Shown

__all__ = ["Table"]


class Table(Shown):
    """A table, with its numbers and a picture of them."""

    file_name: ClassVar[str]  # without its ending

    @abstractmethod
    def to_csv(self) -> str:
        """Its numbers in full precision."""

    @abstractmethod
    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draws it into a file, whose ending says the format.

        Raises:
            ImportError: Where matplotlib is missing.
        """

    def save(self, folder: str | os.PathLike[str], name: str | None = None) -> None:
        """Writes `NAME.md`, `.csv`, `.tex` and `.png` into a folder, which is made where it is not there.

        Raises:
            ImportError: Where matplotlib is missing.
        """
        folder, name = Path(folder), name or self.file_name
        make_folder(folder)
        for ending, content in {"md": self.to_markdown(), "csv": self.to_csv(), "tex": self.to_latex()}.items():
            text = content.rstrip("\n") + "\n"
            write_file(folder / f"{name}.{ending}", lambda path, text=text: path.write_text(text, encoding="utf-8"))
        write_file(folder / f"{name}.png", self.plot)
