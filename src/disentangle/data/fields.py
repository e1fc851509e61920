"""The fields of a data file, checked: what is wrong with one is said in a line that names the file and the place.

`where` opens each message: the file, and the way to the field within it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from disentangle.errors import DataError

__all__ = [
    "column",
    "dictionary",
    "floats",
    "frames",
    "ids",
    "kind",
    "labels",
    "listed",
    "same_length",
    "span",
    "text",
    "texts",
    "trim",
]

Column = Sequence[Any] | np.ndarray


def dictionary(where: str | os.PathLike[str], content: object) -> dict[Any, Any]:
    """A dictionary, as it is."""
    if not isinstance(content, dict):
        raise DataError(f"{where}: expected a dictionary, got {kind(content)}")
    return content


def column(where: str, value: object) -> Column:
    """A list, a tuple or an array, of one item a recording, as it is."""
    if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0):
        return value
    raise DataError(f"{where}: expected a list or an array, got {kind(value)}")


def same_length(where: str, columns: Mapping[str, Column]) -> None:
    """Checks that all have as many recordings, and at least one."""
    counts = {name: len(each) for name, each in columns.items()}
    if len(set(counts.values())) > 1:
        got = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise DataError(f"{where}: expected as many recordings in every field, got {got}")
    if not any(counts.values()):
        raise DataError(f"{where}: no recordings")


def text(where: str, value: object) -> str:
    """Text or UTF-8, stripped."""
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            raise DataError(f"{where}: expected UTF-8") from None
    if not isinstance(value, str):
        raise DataError(f"{where}: expected text, got {kind(value)}")
    return str(value.strip())


def texts(where: str, values: Column) -> list[str]:
    """The text of each item."""
    return [text(f"{where}[{i}]", value) for i, value in enumerate(values)]


def ids(where: str, values: Column) -> list[str]:
    """The name of each item: text, a whole number, or a row of parts (the video, the start, the end), joined by "_"."""
    names = []
    for i, value in enumerate(values):
        parts = value if isinstance(value, np.ndarray) and value.ndim == 1 else [value]
        numbers = (int, float, np.integer, np.floating) if len(parts) > 1 else (int, np.integer)
        names.append("_".join(str(p) if isinstance(p, numbers) else text(f"{where}[{i}]", p) for p in parts))
    return names


def frames(where: str, values: Column) -> tuple[list[np.ndarray], np.ndarray]:
    """The frames of each recording, trimmed, `(T_i, D)` float32, each with memory of its own, and what was cut, `(N, 2)`."""
    if isinstance(values, np.ndarray) and values.ndim not in (1, 3):
        raise DataError(f"{where}: expected (recordings, frames, features), got {kind(values)}")
    arrays = []
    for i, value in enumerate(values):
        array = floats(f"{where}[{i}]", value)
        if array.shape != (0,) and array.ndim != 2:
            raise DataError(f"{where}[{i}]: expected (frames, features), got {kind(array)}")
        arrays.append(array)
    # An array of no frames often has no features either.
    sizes = {array.shape[1] for array in arrays if array.ndim == 2}
    if len(sizes) != 1 or 0 in sizes:
        raise DataError(f"{where}: expected frames of one size, got sizes {sorted(sizes)[:12]}")
    (size,) = sizes
    arrays = [array.reshape(-1, size) for array in arrays]
    spans = [span(array) for array in arrays]
    cut = [(start, len(array) - stop) for array, (start, stop) in zip(arrays, spans, strict=True)]
    real = [array[start:stop].copy() for array, (start, stop) in zip(arrays, spans, strict=True)]
    return real, np.array(cut, np.int64).reshape(-1, 2)


def span(array: np.ndarray) -> tuple[int, int]:
    """Where the frames begin and end that `trim` keeps."""
    (real,) = np.nonzero((array != 0).any(1))
    return (int(real[0]), int(real[-1]) + 1) if len(real) else (0, 0)


def trim(frames: np.ndarray) -> np.ndarray:
    """The frames between the first and the last one that is not all zero, as a view.

    Arguments:
        frames: Frames with padding, `(T, D)`. A NaN is not zero, and -0.0 is.

    Returns:
        `(T', D)`; `(0, D)` if all are zero.

    Example:
        >>> trim(np.array([[0.0], [1.0], [0.0], [2.0], [0.0]])).tolist()
        [[1.0], [0.0], [2.0]]
    """
    start, stop = span(frames)
    return frames[start:stop]


def labels(where: str, values: Column, *, absent: bool = False) -> np.ndarray:
    """One number a recording, `(N,)` float32; NaN, for a label that is `absent`, only where that is allowed."""
    if not isinstance(values, np.ndarray):
        values = np.fromiter(values, dtype=object, count=len(values))
    array = floats(where, values)
    if array.size != len(array):
        raise DataError(f"{where}: expected one label a recording, got {kind(array)}")
    wrong = np.isinf(array) if absent else ~np.isfinite(array)
    if wrong.any():
        raise DataError(f"{where}: {int(wrong.sum())} of {len(array)} labels are {'' if absent else 'NaN or '}infinite")
    return array.reshape(-1)


def floats(where: str, value: object) -> np.ndarray:
    """A numeric array as float32; what is too large for it becomes infinite."""
    if not isinstance(value, np.ndarray):
        raise DataError(f"{where}: expected a numeric array, got {kind(value)}")
    if value.dtype == object:
        # Equal arrays in an array of objects become one array of numbers that are objects.
        for each in value.flat:
            if isinstance(each, bool) or not isinstance(each, int | float | np.floating | np.integer):
                raise DataError(f"{where}: expected numbers, got {kind(each)}")
    elif value.dtype.kind not in "fiu":
        raise DataError(f"{where}: expected a numeric array, got {kind(value)}")
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # a signalling NaN is a NaN
            return value.astype(np.float32)
    except OverflowError:
        raise DataError(f"{where}: a whole number too large for a float") from None


def kind(value: object) -> str:
    """What a value is, for a message."""
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def listed(names: Iterable[object]) -> str:
    """The first names, short enough for a message of one line."""
    names = list(names)
    shown = [ascii(name)[:40].strip("'") for name in names[:12]]
    return ", ".join([*shown, "..."] if len(names) > 12 else shown) or "nothing"
