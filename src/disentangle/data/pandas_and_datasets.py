"""Recordings from tables in memory: a pandas frame, or a data set of the Hugging Face library `datasets`."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from disentangle.data import expect, messages
from disentangle.data.layouts.index_rows import numbered
from disentangle.data.layouts.npy import frames_shape, read_frames
from disentangle.data.recordings import LazyFrames, Recordings
from disentangle.errors import DataError

if TYPE_CHECKING:
    import datasets
    import pandas

__all__ = ["recordings_from_datasets", "recordings_from_pandas"]


def recordings_from_pandas(
    frame: pandas.DataFrame,
    *,
    text: str | None = "text",
    label: str | None = "label",
    id: str | None = "id",
    modalities: Mapping[str, str] = {},
) -> Recordings:
    """Makes recordings of a pandas frame, one per row.

    A modality's cells are arrays `(T, D)`, or the paths of `.npy` files, which stay there until they are asked for; None
    or NaN where the modality is missing, as for text and labels.

    Arguments:
        frame: The frame.
        text: The column of the transcripts; None if there is none.
        label: The column of the labels, numbers or names of classes, of which all or none are there; None if there is none.
        id: The column of the names; None if there is none.
        modalities: The column of each other modality.

    Raises:
        DataError: If a cell cannot be used.
        ValueError: If there is no such column.

    Example:
        >>> import pandas
        >>> frame = pandas.DataFrame({"words": ["so good", None], "stars": [2.5, -1], "sound": [np.ones((4, 5)), None]})
        >>> recordings = recordings_from_pandas(
        ...     frame, text="words", label="stars", id=None, modalities={"audio": "sound"}
        ... )
        >>> recordings.labels.tolist(), recordings.missing
        ([2.5, -1.0], {'text': 1, 'audio': 1})
    """
    _check_columns(list(frame.columns), text, label, id, *modalities.values())
    columns = [None if name is None else _objects(frame[name]) for name in (text, label, id)]
    return _recordings(
        len(frame),
        columns,
        {name: _cells(column, _objects(frame[column])) for name, column in modalities.items()},
    )


def recordings_from_datasets(
    dataset: datasets.Dataset,
    *,
    text: str | None = "text",
    label: str | None = "label",
    id: str | None = "id",
    modalities: Mapping[str, str] = {},
) -> Recordings:
    """Makes recordings of a data set of `datasets`, one per row; frames stay in its memory map until they are asked for.

    A modality's cells are lists of frames, or `Array2D`, of one size; None or empty where the modality is missing.
    A `DatasetDict` has one of these data sets for each split.

    Arguments:
        dataset: The data set.
        text: The column of the transcripts; None if there is none.
        label: The column of the labels, numbers or names of classes, of which all or none are there; None if there is none.
        id: The column of the names; None if there is none.
        modalities: The column of each other modality.

    Raises:
        DataError: If a cell cannot be used. Cells of frames are looked at when they are asked for.
        ValueError: If there is no such column.

    Example:
        >>> import datasets
        >>> rows = {"id": ["a", "b"], "text": ["so good", ""], "label": [2.5, -1.0], "sound": [[[1.0, 2.0]] * 4, []]}
        >>> recordings = recordings_from_datasets(datasets.Dataset.from_dict(rows), modalities={"audio": "sound"})
        >>> recordings.sequences["audio"][0].shape, recordings.missing
        ((4, 2), {'text': 1, 'audio': 1})
    """
    _check_columns(dataset.column_names, text, label, id, *modalities.values())
    columns = [None if name is None else list(dataset[name]) for name in (text, label, id)]
    return _recordings(
        len(dataset),
        columns,
        {name: _rows(dataset, column) for name, column in modalities.items()},
    )


def _check_columns(found: Sequence[str], *wanted: str | None) -> None:
    absent = [name for name in wanted if name is not None and found.count(name) != 1]
    if absent:
        raise ValueError(
            f"expected one column {messages.listed(absent)}, got {messages.listed(found)}; text, label and id can be None"
        )


def _recordings(count: int, columns: list[list[Any] | None], sequences: dict[str, LazyFrames]) -> Recordings:
    """Recordings of the columns of texts, labels and ids, and of frames."""
    if not count:
        raise DataError("the table: no recordings")
    texts, labels, ids = columns
    given = [each for each in labels or [] if not _is_absent(each)]
    given = [int(each) if isinstance(each, bool) else each for each in given]
    if 0 < len(given) < count:
        raise DataError(f"the labels: expected one in all {count} rows or in none, got {len(given)}")
    given, names = numbered("the labels", given)
    if words := [each for each in given if isinstance(each, str)]:
        told = messages.listed(words[:1])
        raise DataError(f"the labels: expected numbers, or the names of two classes or more, got the text {told}")
    return Recordings(
        text=expect.texts("the texts", ["" if _is_absent(each) else each for each in texts or [""] * count]),
        sequences=dict(sequences),
        labels=expect.labels("the labels", given) if given else None,
        ids=[] if ids is None else expect.ids("the ids", ids),
        class_names={"label": names} if names else {},
    )


def _objects(column: Any) -> list[Any]:
    """The cells of a column of pandas; None for whatever pandas has where there is none."""
    return column.astype(object).where(column.notna(), None).tolist()


def _is_absent(cell: object) -> bool:
    return cell is None or (isinstance(cell, float) and cell != cell) or (isinstance(cell, str) and not cell.strip())


def _cells(column: str, cells: Sequence[Any]) -> LazyFrames:
    """The frames of cells that hold arrays or paths."""
    shapes = []
    for i, cell in enumerate(cells):
        is_path = isinstance(cell, str | os.PathLike)
        shape = frames_shape(str(cell)) if is_path else _frames_of_cell(f"{column}[{i}]", cell).shape
        if len(shape) != 2 and shape != (0,):
            given = messages.no_frames(np.empty(shape))
            raise DataError(f"{column}[{i}]: expected (frames, features) or a path, got {given}")
        shapes.append(shape)
    size = expect.one_size(column, {shape[1] for shape in shapes if shape[0]})
    return LazyFrames(functools.partial(_frames_of_cell, column), cells, [shape[0] for shape in shapes], size)


def _frames_of_cell(where: str, cell: Any) -> np.ndarray:
    if isinstance(cell, str | os.PathLike):
        return read_frames(str(cell))
    if _is_absent(cell):
        return np.zeros(0, np.float32)
    try:
        array = np.asarray(cell)
    except ValueError:
        raise DataError(f"{where}: expected frames of one size, got lists of several") from None
    return expect.floats(where, array)


def _rows(dataset: datasets.Dataset, column: str) -> LazyFrames:
    """The frames of a column; Arrow tells their shapes without reading them."""
    from pyarrow.compute import call_function

    rows = dataset.select_columns([column]).with_format("arrow")
    lengths: list[int] = []
    sizes: set[int] = set()
    for batch in rows.iter(batch_size=100):
        frames = _lists(column, batch)
        lengths += call_function("list_value_length", [frames]).fill_null(0).to_pylist()
        inner = frames.flatten()
        if inner.null_count:
            raise DataError(f"{column}: {inner.null_count} frames are null")
        sizes |= set(call_function("list_value_length", [inner]).unique().to_pylist())
    size = expect.one_size(column, sizes)
    return LazyFrames(functools.partial(_frames_of_row, rows, column), range(len(lengths)), lengths, size)


def _frames_of_row(rows: datasets.Dataset, column: str, index: int) -> np.ndarray:
    frames = _lists(column, rows[index]).flatten()
    values = frames.flatten().to_numpy(zero_copy_only=False)
    return expect.floats(f"{column}[{index}]", values.reshape(len(frames), -1))


def _lists(column: str, table: Any) -> Any:
    """The lists of lists of numbers that a column of an Arrow table has."""
    import pyarrow

    array = table.column(column).combine_chunks()
    if isinstance(array, pyarrow.ChunkedArray):  # of no chunks
        array = pyarrow.array([], array.type)
    if isinstance(array, pyarrow.ExtensionArray):
        array = array.storage
    kind = array.type
    for _ in range(2):
        types = pyarrow.types
        if not (types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)):
            raise DataError(f"{column}: expected lists of frames, each a list of numbers, got {array.type}")
        kind = kind.value_type
    if not (pyarrow.types.is_floating(kind) or pyarrow.types.is_integer(kind)):
        raise DataError(f"{column}: expected lists of frames, each a list of numbers, got {array.type}")
    return array
