"""What fields of a data file are expected to be: each function returns one as it is used, or says in a line what it got.

`where` begins each message: the file, and the place of the field in it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from disentangle.data import messages
from disentangle.errors import DataError

__all__ = [
    "column",
    "dictionary",
    "floats",
    "frames",
    "ids",
    "in_float32",
    "labels",
    "one_size",
    "same_length",
    "span",
    "text",
    "texts",
]

Column = Sequence[Any] | np.ndarray


def dictionary(where: str | os.PathLike[str], content: object) -> dict[Any, Any]:
    """A dictionary, unchanged."""
    if not isinstance(content, dict):
        raise DataError(f"{where}: expected a dictionary, got {messages.kind(content)}")
    return content


def column(where: str, value: object) -> Column:
    """A list, a tuple or an array, with one item per recording, unchanged."""
    if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0):
        return value
    raise DataError(f"{where}: expected a list or an array, got {messages.kind(value)}")


def same_length(where: str, columns: Mapping[str, Column]) -> None:
    """Checks that all columns have the same number of recordings, and at least one."""
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
        raise DataError(f"{where}: expected text, got {messages.kind(value)}")
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
    """The frames of each recording without padding, copies `(T_i, D)` in float32, and how many each end lost, `(N, 2)`."""
    if isinstance(values, np.ndarray) and values.ndim not in (1, 3):
        cure = "; of features of whole utterances x[:, None] makes one frame each" if values.ndim == 2 else ""
        raise DataError(f"{where}: expected (recordings, frames, features), got {messages.kind(values)}{cure}")
    arrays = []
    for i, value in enumerate(values):
        array = floats(f"{where}[{i}]", value)
        if array.shape != (0,) and array.ndim != 2:
            raise DataError(f"{where}[{i}]: expected (frames, features), got {messages.no_frames(array)}")
        arrays.append(array)
    # An array of no frames often has no features either.
    size = one_size(where, {array.shape[1] for array in arrays if array.ndim == 2})
    arrays = [array.reshape(-1, size) for array in arrays]
    spans = [span(array) for array in arrays]
    cut = [(start, len(array) - stop) for array, (start, stop) in zip(arrays, spans, strict=True)]
    real = [array[start:stop].copy() for array, (start, stop) in zip(arrays, spans, strict=True)]
    return real, np.array(cut, np.int64).reshape(-1, 2)


def one_size(where: str | os.PathLike[str], sizes: Collection[int], what: str = "frames") -> int:
    """The size of all frames, of which there is one alone, above 0."""
    if len(sizes) != 1 or 0 in sizes:
        raise DataError(f"{where}: expected {what} of one size, got sizes {sorted(sizes)[:12]}")
    return next(iter(sizes))


def span(array: np.ndarray) -> tuple[int, int]:
    """Where frames begin and end without those at either end that are all zero; NaN is not zero, and -0.0 is."""
    (real,) = np.nonzero((array != 0).any(1))
    return (int(real[0]), int(real[-1]) + 1) if len(real) else (0, 0)


def labels(where: str, values: Column, *, absent: bool = False) -> np.ndarray:
    """One number per recording, `(N,)` float32; NaN, for a missing label, only if `absent` allows it."""
    if not isinstance(values, np.ndarray):
        values = np.fromiter(values, dtype=object, count=len(values))
    array = floats(where, values, np.float64)
    if array.size != len(array):
        raise DataError(f"{where}: expected one label per recording, got {messages.kind(array)}")
    result = in_float32(where, array.reshape(-1))
    wrong = np.isinf(result) if absent else ~np.isfinite(result)
    if wrong.any():
        raise DataError(
            f"{where}: {int(wrong.sum())} of {len(result)} labels are {'' if absent else 'NaN or '}infinite"
        )
    return result


def in_float32(where: str, labels: np.ndarray) -> np.ndarray:
    """Labels in float32, as models learn them; refuses such as would be other labels then, as many become one.

    These are labels that differ by more than a ten-thousandth of the range of all of them, and not in float32. Less than that
    is how a number was computed: means of three ratings differ in their last digit.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        result = labels.astype(np.float32)
    given = np.unique(labels[np.isfinite(result)])
    kept = given.astype(np.float32)
    if len(given) and ((np.diff(given) > 1e-4 * np.ptp(given)) & (np.diff(kept) == 0)).any():
        raise DataError(
            f"{where}: {len(given)} different labels become {len(np.unique(kept))} in float32: subtract an offset, or divide "
            "by a unit"
        )
    return result


def floats(where: str, value: object, kind: type[np.floating] = np.float32) -> np.ndarray:
    """A numeric array as float32, or another kind; what is too large for it becomes infinite."""
    if not isinstance(value, np.ndarray):
        raise DataError(f"{where}: expected a numeric array, got {messages.kind(value)}")
    if value.dtype == object:
        # Equal arrays in an array of objects become one array of numbers that are objects.
        for each in value.flat:
            if isinstance(each, bool) or not isinstance(each, int | float | np.floating | np.integer):
                raise DataError(f"{where}: expected numbers, got {messages.kind(each)}")
    elif value.dtype.kind not in "fiu":
        raise DataError(f"{where}: expected a numeric array, got {messages.kind(value)}")
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # a signalling NaN is a NaN
            return value.astype(kind)
    except OverflowError:
        raise DataError(f"{where}: a whole number too large for a float") from None
