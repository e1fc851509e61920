"""Ctrl-C and a scheduler's request to stop, heard at once and heeded between two steps."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType

__all__ = ["Interrupts"]


class Interrupts:
    """Within the block, the first SIGINT or SIGTERM only sets `heard`, and the second raises at once.

    So a step is never cut in two. In a thread other than the main one, signals do what they did before.

    Example:
        >>> with Interrupts() as interrupts:
        ...     signal.raise_signal(signal.SIGINT)
        ...     interrupts.heard
        <Signals.SIGINT: 2>
    """

    def __init__(self) -> None:
        self.heard: signal.Signals | None = None
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]
        self._before = {}

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.heard is not None:
            self.raise_it()
        self.heard = signal.Signals(number)
        if child := getattr(signal, "SIGCHLD", None):  # workers that the signal ended as well must not break the step
            self._before.setdefault(child, signal.signal(child, lambda *_: None) or signal.SIG_DFL)

    def raise_it(self) -> None:
        """Raises what the signal means: `KeyboardInterrupt`, or `SystemExit` for SIGTERM."""
        if self.heard == signal.SIGTERM:
            sys.exit(128 + signal.SIGTERM)
        raise KeyboardInterrupt
