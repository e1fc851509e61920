"""709 features of each frame of a face: what OpenFace 2.0 finds in a video.

They are the paper's visual features: 288 of gaze, 6 of the pose of the head, 340 of landmarks, 40 of the face's shape and 35
of its action units. OpenFace is a separate program, https://github.com/TadasBaltrusaitis/OpenFace; its
`FeatureExtraction` writes a CSV file per video, which is read here:

    FeatureExtraction -f VIDEO.mp4 -out_dir FOLDER -gaze -pose -2Dfp -3Dfp -pdmparams -aus

A frame in which it lost the face (`success` is 0) keeps its place in time, and its features are NaN: OpenFace writes zeros or
the last face there. `Standardize` replaces them by the mean of the training data.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from disentangle.data.opening import reading
from disentangle.data.text_files import csv_rows, read_text
from disentangle.errors import DataError

__all__ = ["OPENFACE_FEATURES", "openface_features"]

VIDEOS = {".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp"}


def _points(names: Iterable[str], number: int) -> list[str]:
    """`x_0`, `x_1`, ..., `y_0`, ...: the coordinates of so many points, in OpenFace's order."""
    return [f"{name}_{i}" for name in names for i in range(number)]


UNITS = ("01", "02", "04", "05", "06", "07", "09", "10", "12", "14", "15", "17", "20", "23", "25", "26", "28", "45")

# By the option of FeatureExtraction that makes it write them; without any of these options it writes all.
GROUPS = {
    "-gaze": [
        *(f"gaze_{eye}_{axis}" for eye in (0, 1) for axis in "xyz"),
        *("gaze_angle_x", "gaze_angle_y"),
        *_points(("eye_lmk_x", "eye_lmk_y", "eye_lmk_X", "eye_lmk_Y", "eye_lmk_Z"), 56),
    ],
    "-pose": [f"pose_{kind}{axis}" for kind in "TR" for axis in "xyz"],
    "-2Dfp": _points("xy", 68),
    "-3Dfp": _points("XYZ", 68),
    "-pdmparams": ["p_scale", "p_rx", "p_ry", "p_rz", "p_tx", "p_ty", *_points("p", 34)],
    "-aus": [
        *(f"AU{unit}_r" for unit in UNITS if unit != "28"),  # for lip suck, OpenFace only tells whether it is there
        *(f"AU{unit}_c" for unit in UNITS),
    ],
}

OPENFACE_FEATURES = tuple(name for names in GROUPS.values() for name in names)
"""The names of the 709 columns, as in OpenFace's own files and in their order."""

WANTED = ("frame", "success", *OPENFACE_FEATURES)


def openface_features(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads the 709 features of each frame from a CSV file of OpenFace's FeatureExtraction.

    Columns are found by name, in any order, with or without quotes; other columns are ignored, whatever they hold. A file is
    one person: rows of several faces (`face_id`) or of several videos are refused.

    Arguments:
        path: The CSV file.

    Returns:
        `(T, 709)` float32, columns as in `OPENFACE_FEATURES`, one row per frame from the file's first to its last one: of NaN
        where the face was lost, or the frame is not there.

    Raises:
        DataError: If the file is no such CSV, lacks columns, holds several faces, or no frame has a face.

    Example:
        >>> import tempfile
        >>> names = ["frame", "success", *OPENFACE_FEATURES]
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     print(*names, sep=", ", file=file)
        ...     print(1, 1, *range(709), sep=", ", file=file)
        ...     print(2, 0, *range(709), sep=", ", file=file, flush=True)
        ...     features = openface_features(file.name)
        >>> features.shape, features[:, 1].tolist()
        ((2, 709), [1.0, nan])
    """
    table = _table(path)
    if not table.faces:
        raise DataError(f"{path}: no frames, only a header")
    success = table.values[:, 1] == 1
    if not success.any():
        raise DataError(f"{path}: no face in any of its {len(success)} frames (success is 0)")
    faces = list(dict.fromkeys(face for face, found in zip(table.faces, success, strict=True) if found))
    if len(faces) > 1:
        raise DataError(
            f"{path}: expected one face, got {len(faces)} (face_id {', '.join(faces[:4])}{', ...' * (len(faces) > 4)}); "
            "write the rows of each face to a separate file"
        )
    frame = table.values[:, 0]
    repeated = np.flatnonzero(np.diff(frame) <= 0)
    if len(repeated):
        number = frame[repeated[0] + 1]
        raise DataError(
            f"{path}: expected one face and frames in order, got frame {number:.0f} after frame {frame[repeated[0]]:.0f}"
        )
    places = (frame - frame[0]).astype(int)
    features = np.full((places[-1] + 1, table.values.shape[1] - 2), np.nan, table.values.dtype)
    features[places[success]] = table.values[success, 2:]
    return features


class _Table(NamedTuple):
    """Per row, the values of frame, success and the features, and the face_id as it is written, or blank."""

    values: np.ndarray
    faces: list[str]


def _table(path: str | os.PathLike[str]) -> _Table:
    rows = csv_rows(_read(path), WANTED[:2])
    numbers: list[int] = []
    lines: list[str] = []
    faces: list[str] = []
    try:
        _, names = next(rows)
        columns = _columns(path, names)
        wanted = itemgetter(*(columns[name] for name in WANTED))
        for number, row in rows:
            if not any(map(str.strip, row)):
                continue
            if len(row) != len(names):
                raise DataError(f"{path}: line {number}: expected {len(names)} values as in the header, got {len(row)}")
            numbers.append(number)
            lines.append(",".join(wanted(row)))
            faces.append(row[columns["face_id"]].strip() if "face_id" in columns else "")
    except csv.Error as error:
        raise DataError(f"{path}: {error}") from None
    return _Table(_values(path, numbers, lines), faces)


def _values(path: str | os.PathLike[str], numbers: Sequence[int], lines: Sequence[str]) -> np.ndarray:
    """The values on lines of these numbers, float32."""
    if not lines:
        return np.zeros((0, len(WANTED)), np.float32)
    try:
        return np.loadtxt(lines, delimiter=",", dtype=np.float32, ndmin=2, comments=None)
    except ValueError:
        fault = next((fault for each in zip(numbers, lines, strict=True) if (fault := _fault(*each))), "not a table")
        raise DataError(f"{path}: {fault}") from None


def _fault(number: int, line: str) -> str | None:
    """Which value of a line is no number. NumPy's own message would count lines from another start."""
    for cell in line.split(","):
        try:
            float(cell)
        except ValueError:
            return f"line {number}: {ascii(cell.strip())[:40]} is not a number"
    return None


def _read(path: str | os.PathLike[str]) -> str:
    with reading(path, "text"):
        if Path(path).suffix.lower() in VIDEOS:
            raise DataError(
                f"{path}: expected the CSV file that OpenFace 2.0 writes for a video, got the video: run FeatureExtraction "
                "first (https://github.com/TadasBaltrusaitis/OpenFace)"
            )
    text = read_text(path)
    if not text.strip():
        raise DataError(f"{path}: expected a CSV file of OpenFace, got an empty one")
    return re.sub(r"nan\([a-z]*\)", "nan", text) if "nan(" in text else text  # what Windows writes


def _columns(path: str | os.PathLike[str], names: Sequence[str]) -> dict[str, int]:
    """Where each column stands, by name."""
    columns = {name: i for i, name in enumerate(names)}
    missing = [name for name in WANTED if name not in columns]
    if "frame" in missing or "success" in missing:
        raise DataError(f"{path}: not a CSV file of OpenFace's FeatureExtraction: no {missing[0]} among its columns")
    if missing:
        options = " ".join(option for option, group in GROUPS.items() if set(group) & set(missing))
        first = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise DataError(
            f"{path}: {len(missing)} of 709 columns are missing ({first}); run FeatureExtraction with {options} as well"
        )
    twice = [name for name in (*WANTED, "face_id") if list(names).count(name) > 1]
    if twice:
        raise DataError(f"{path}: two columns {twice[0]}")
    return columns
