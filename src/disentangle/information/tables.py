"""A table of text cells, the header first, in three notations."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["aligned", "latex", "markdown"]

Table = Sequence[Sequence[str]]

LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
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


def aligned(table: Table, left: Sequence[str], notes: Sequence[str]) -> str:
    """For the terminal; the columns whose header is in `left` are aligned to the left."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if name in left else cell.rjust(width)
            for cell, width, name in zip(line, widths, table[0], strict=True)
        ).rstrip()
        for line in table
    ]
    lines.insert(1, "  ".join("─" * width for width in widths))
    return "\n".join([*lines, "", *notes])


def markdown(table: Table, left: Sequence[str], notes: Sequence[str]) -> str:
    """Markdown with pipes, and the notes as a list."""
    header, *body = [[cell.replace("|", r"\|") for cell in line] for line in table]
    rule = [":--" if name in left else "--:" for name in table[0]]
    lines = ["| " + " | ".join(line) + " |" for line in (header, rule, *body)]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)])


def latex(table: Table, left: Sequence[str], notes: Sequence[str]) -> str:
    """A tabular with the rules of booktabs, and the notes in small type."""
    columns = "".join("l" if name in left else "r" for name in table[0])
    header, *body = [" & ".join(_escaped(cell) for cell in line) + r" \\" for line in table]
    small = " \\\\\n".join(_escaped(note) for note in notes)
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            header,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\par\smallskip",
            f"{{\\footnotesize\n{small}\\par}}",
        ]
    )


def _escaped(text: str) -> str:
    text = re.sub(r"(?<![\w.])-(?=\d)", "−", text)  # a minus, not a hyphen
    return "".join(LATEX.get(c, c) for c in text)
