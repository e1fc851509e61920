"""709 features of each frame of a face: what OpenFace 2.0 finds in a video.

They are the paper's visual features: 288 of gaze, 6 of the pose of the head, 340 of landmarks, 40 of the face's shape and 35
of its action units. OpenFace is a program of its own, from https://github.com/TadasBaltrusaitis/OpenFace; its
`FeatureExtraction` writes a CSV file a video, which is read here:

    FeatureExtraction -f VIDEO.mp4 -out_dir FOLDER -gaze -pose -2Dfp -3Dfp -pdmparams -aus

A frame in which it lost the face (`success` is 0) keeps its place in time, and its features are NaN: what OpenFace writes there
is zeros or remains of the last face. `Standardize` replaces them by the mean of the training data.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from disentangle.data import DataError
from disentangle.features.files import check_file, read_text

__all__ = ["OPENFACE_FEATURES", "openface_features"]

VIDEOS = {".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp"}


def _points(names: Iterable[str], number: int) -> list[str]:
    """`x_0`, `x_1`, ..., `y_0`, ...: the coordinates of so many points, in OpenFace's order."""
    return [f"{name}_{i}" for name in names for i in range(number)]


UNITS = ("01", "02", "04", "05", "06", "07", "09", "10", "12", "14", "15", "17", "20", "23", "25", "26", "28", "45")

# By the option of FeatureExtraction that makes it write them; with none of these options it writes them all.
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
        *(f"AU{unit}_r" for unit in UNITS if unit != "28"),  # of lip suck OpenFace only tells whether it is there
        *(f"AU{unit}_c" for unit in UNITS),
    ],
}

OPENFACE_FEATURES = tuple(name for names in GROUPS.values() for name in names)
"""The names of the 709 columns, as in OpenFace's own files and in their order."""


def openface_features(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads the 709 features of each frame from a CSV file of OpenFace's FeatureExtraction.

    Columns are found by name, in any order, and other columns ignored.

    Arguments:
        path: The CSV file.

    Returns:
        `(T, 709)` float32, columns as in `OPENFACE_FEATURES`; rows of NaN where the face was lost.

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
    text = _read(path)
    header, _, rows = text.partition("\n")
    columns = _columns(path, header)
    if not rows.strip():
        raise DataError(f"{path}: no frames, only a header")
    values = _values(path, rows, len(header.split(",")))
    frame, success = values[:, columns["frame"]], values[:, columns["success"]]
    repeated = np.flatnonzero(np.diff(frame) <= 0)
    if len(repeated):
        number = frame[repeated[0] + 1]
        raise DataError(
            f"{path}: frame {number:.0f} after frame {frame[repeated[0]]:.0f}, expected one face and frames in order"
        )
    features = values[:, [columns[name] for name in OPENFACE_FEATURES]]
    features[success != 1] = np.nan
    if not (success == 1).any():
        raise DataError(f"{path}: no face in any of its {len(values)} frames (success is 0)")
    return features


def _read(path: str | os.PathLike[str]) -> str:
    check_file(path)
    if Path(path).suffix.lower() in VIDEOS:
        raise DataError(
            f"{path}: a video, expected the CSV file that OpenFace 2.0 writes for it: run its FeatureExtraction first "
            "(https://github.com/TadasBaltrusaitis/OpenFace)"
        )
    text = read_text(path)
    if not text.strip():
        raise DataError(f"{path}: empty, expected a CSV file of OpenFace")
    return text


def _columns(path: str | os.PathLike[str], header: str) -> dict[str, int]:
    """Where each column stands, by name."""
    names = [name.strip() for name in header.split(",")]
    columns = {name: i for i, name in enumerate(names)}
    wanted = ("frame", "success", *OPENFACE_FEATURES)
    missing = [name for name in wanted if name not in columns]
    if "frame" in missing or "success" in missing:
        raise DataError(f"{path}: not a CSV file of OpenFace's FeatureExtraction: no {missing[0]} among its columns")
    if missing:
        options = " ".join(option for option, group in GROUPS.items() if set(group) & set(missing))
        first = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise DataError(
            f"{path}: {len(missing)} of 709 columns are missing ({first}); run FeatureExtraction with {options} as well"
        )
    twice = [name for name in wanted if names.count(name) > 1]
    if twice:
        raise DataError(f"{path}: two columns {twice[0]}")
    return columns


def _values(path: str | os.PathLike[str], rows: str, columns: int) -> np.ndarray:
    """The numbers, `(T, columns)` float32."""
    if "nan(" in rows:  # what Windows writes
        rows = re.sub(r"nan\([a-z]*\)", "nan", rows)
    try:
        values = np.loadtxt(io.StringIO(rows), delimiter=",", dtype=np.float32, ndmin=2, comments=None)
    except ValueError:
        raise DataError(f"{path}: {_first_fault(rows, columns)}") from None
    if values.shape[1] != columns:
        raise DataError(f"{path}: line 2: {values.shape[1]} values, expected {columns} as in the header")
    return values


def _first_fault(rows: str, columns: int) -> str:
    """What keeps the rows from being a table; NumPy's own words count rows from a start that is not the file's."""
    for number, row in enumerate(rows.split("\n"), start=2):
        cells = row.split(",")
        if row.strip() and len(cells) != columns:
            return f"line {number}: {len(cells)} values, expected {columns} as in the header"
        for cell in cells if row.strip() else []:
            try:
                float(cell)
            except ValueError:
                return f"line {number}: {ascii(cell.strip())[:40]} is not a number"
    return "not a table of numbers"
