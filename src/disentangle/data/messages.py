"""How values and names are put into a message of one line."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

__all__ = ["kind", "listed"]


def kind(value: object) -> str:
    """What a value is, for a message."""
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def listed(names: Iterable[object]) -> str:
    """The first names, short enough for a message of one line."""
    names = list(names)
    shown = [ascii(name)[:40].strip("'") for name in names[:12]]
    return ", ".join([*shown, "..."] if len(names) > 12 else shown) or "nothing"
