"""Ctrl-C, a scheduler's request to stop and a terminal that is gone: heard at once, heeded between two steps."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

__all__ = ["STOPPED", "Interrupts"]

T = TypeVar("T")
SIGNALS = [number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None))]
STOPPED = [128 + number for number in SIGNALS]  # the exit codes of programs that they have stopped


class Interrupts:
    """Within the block, the first SIGINT, SIGTERM or SIGHUP only sets `heard`, and the second raises at once.

    So a step is never cut in two. In a thread other than the main one, signals do what they did before; a SIGHUP that is
    ignored, as under `nohup`, stays so.

    Example:
        >>> with Interrupts() as interrupts:
        ...     signal.raise_signal(signal.SIGINT)
        ...     interrupts.heard
        <Signals.SIGINT: 2>
    """

    def __init__(self) -> None:
        self.heard: signal.Signals | None = None
        self._waits = True  # whether the first signal waits to be heeded
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if number in (signal.SIGINT, signal.SIGTERM) or signal.getsignal(number) is signal.SIG_DFL:
                    self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]
        self._before = {}

    def unless_heard(self, work: Callable[[], T]) -> T | None:
        """What `work` returns; `None` where a signal came before it or breaks it off, since it can be done another time."""
        try:
            self._waits = False
            result = work() if self.heard is None else None
            self._waits = True  # a signal from here on does not cost the result
            return result
        except (KeyboardInterrupt, SystemExit):
            if self.heard is None:  # the work's own
                raise
            return None
        finally:
            self._waits = True

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.heard is not None:
            self.raise_it()
        self.heard = signal.Signals(number)
        if child := getattr(signal, "SIGCHLD", None):  # workers that the signal ended as well must not break the step
            self._before.setdefault(child, signal.signal(child, lambda *_: None) or signal.SIG_DFL)
        if not self._waits:
            self.raise_it()

    def raise_it(self) -> None:
        """Raises what the signal means: `KeyboardInterrupt`, or `SystemExit` for the others."""
        if self.heard in (None, signal.SIGINT):
            raise KeyboardInterrupt
        sys.exit(128 + self.heard)
