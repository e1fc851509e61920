"""Writes a table of text cells in four notations: aligned for a terminal, Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

__all__ = ["Shown", "TextTable", "aligned", "comma_separated", "latex", "markdown"]

Table = Sequence[Sequence[str]]

LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "^": r"\textasciicircum{}",
    "²": "$^2$",
    "→": r"$\to$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "–": "--",
    "ρ": r"$\rho$",
}


class TextTable(NamedTuple):
    """The cells of each line, the header first; which columns stand to the left, by their headers; what is said below."""

    lines: Table
    left: Collection[str] = ()
    notes: Sequence[str] = ()


class Shown(ABC):
    """What is shown as tables: aligned where it is printed, as Markdown in a notebook, as LaTeX in a paper."""

    @abstractmethod
    def tables(self) -> Sequence[TextTable]:
        """Its tables."""

    def __str__(self) -> str:
        return self._written(aligned)

    def to_markdown(self) -> str:
        """The tables in Markdown, with what is said below them."""
        return self._written(markdown)

    _repr_markdown_ = to_markdown  # what a notebook shows

    def to_latex(self) -> str:
        r"""The tables in LaTeX, with what is said below them. Needs `\usepackage{booktabs}`."""
        return self._written(latex)

    def _written(self, write: Callable[[Table, Collection[str], Sequence[str]], str]) -> str:
        return "\n\n".join(write(*table) for table in self.tables())


def aligned(table: Table, left: Collection[str] = (), notes: Sequence[str] = (), *, rule: bool = True) -> str:
    """Aligns the columns for a terminal: those whose header is in `left` to the left, the others to the right.

    Arguments:
        table: The cells of each line, the header first, all lines of the same length.
        left: The headers of the columns to align to the left.
        notes: What is said below the table, a line each.
        rule: Whether to draw a line below the header.

    Returns:
        The text, without a newline at its end.

    Example:
        >>> print(aligned([["name", "value"], ["a", "1.5"], ["b", "10"]], ["name"]))
        name  value
        ────  ─────
        a       1.5
        b        10
    """
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if name in left else cell.rjust(width)
            for cell, width, name in zip(line, widths, table[0], strict=True)
        ).rstrip()
        for line in table
    ]
    if rule:
        lines.insert(1, "  ".join("─" * width for width in widths))
    return "\n".join([*lines, *([""] if notes else []), *notes])


def markdown(table: Table, left: Collection[str] = (), notes: Sequence[str] = ()) -> str:
    """Writes the table in Markdown with pipes, and the notes below it as a list; arguments as of `aligned`.

    Example:
        >>> print(markdown([["name", "value"], ["|x|", "1.5"]], ["name"]))
        | name | value |
        | :-- | --: |
        | \\|x\\| | 1.5 |
    """
    header, *body = [[cell.replace("|", r"\|") for cell in line] for line in table]
    rule = [":--" if name in left else "--:" for name in table[0]]
    lines = ["| " + " | ".join(line) + " |" for line in (header, rule, *body)]
    return "\n".join([*lines, *([""] if notes else []), *(f"- {note}" for note in notes)])


def comma_separated(lines: Iterable[Iterable[object]]) -> str:
    """Writes the cells of each line in CSV; what is `None` is left empty.

    Example:
        >>> print(comma_separated([["name", "value"], ["a, b", 1.5], ["c", None]]), end="")
        name,value
        "a, b",1.5
        c,
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def latex(table: Table, left: Collection[str] = (), notes: Sequence[str] = ()) -> str:
    r"""Writes the table as a tabular with the rules of booktabs, and the notes below it in small type.

    Example:
        >>> print(latex([["name", "R²"], ["a_b", "0.5"]], ["name"]))
        \begin{tabular}{lr}
        \toprule
        name & R$^2$ \\
        \midrule
        a\_b & 0.5 \\
        \bottomrule
        \end{tabular}
    """
    columns = "".join("l" if name in left else "r" for name in table[0])
    header, *body = [_started(" & ".join(_escaped(cell) for cell in line)) + r" \\" for line in table]
    small = " \\\\\n".join(_started(_escaped(note)) for note in notes)
    below = [r"\par\smallskip", f"{{\\footnotesize\n{small}\\par}}"] if notes else []
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            header,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            *below,
        ]
    )


def _started(line: str) -> str:
    """A line of a table behind the end of another, which would take a bracket or an asterisk for its own."""
    return f"{{}}{line}" if line[:1] in ("[", "*") else line


def _escaped(text: str) -> str:
    text = re.sub(r"(?<![\w.])-(?=\d)", "−", text)  # a minus, not a hyphen
    return "".join(LATEX.get(c, c) for c in text)
