"""One progress bar for a run, or, where nobody watches, one line a report."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["Bar"]


class Bar:
    """A progress bar on a terminal and in a notebook; in a log file, a line for each report.

    Arguments:
        total: How many steps there are.
        done: How many of them are already done.
        shown: Whether to show anything.
    """

    def __init__(self, total: int, done: int = 0, *, shown: bool = True):
        from tqdm.auto import tqdm

        self.total, self.done = total, done
        watched = sys.stderr.isatty() or "ipykernel" in sys.modules
        self.lines = shown and not watched
        self.bar: Any = tqdm(
            total=total,
            initial=done,
            unit="step",
            disable=not (shown and watched),
            dynamic_ncols=True,
            mininterval=0.5,
        )

    def update(self) -> None:
        """One step more."""
        self.done += 1
        self.bar.update()

    def report(self, text: str) -> None:
        """Says how it goes."""
        self.bar.set_postfix_str(text, refresh=False)
        if self.lines:
            sys.stderr.write(f"step {self.done}/{self.total}, {text}\n")
            sys.stderr.flush()

    def close(self) -> None:
        """Ends the bar."""
        self.bar.close()
