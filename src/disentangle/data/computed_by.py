"""What features were computed by: a record beside the arrays, compared before recordings are used together.

    audio/computed_by.json      {"computed_by": "mmsa", "columns": ["zero_crossing_rate", ...]}

Features of one size can be of many kinds, and a model that was trained on one kind also predicts something from another.
Without a record nothing is compared.

The numbers of 33 acoustic features tell which of two kinds they are. The paper's begin with log F0, MMSA's and CH-SIMS' with
the zero-crossing rate; twenty cepstral coefficients and a chromagram follow in both: see `disentangle.features.audio`. What
was normalised, averaged or computed otherwise is neither.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from disentangle.data import expect, messages
from disentangle.data.text_files import load_json
from disentangle.errors import DataError

__all__ = ["RECORD", "SIZE", "Looks", "check_computed_alike", "looks_like", "read_record", "read_records", "record"]

RECORD = "computed_by.json"
PLAIN = re.compile(r"[\w][\w .:+-]{0,59}", re.ASCII)
SIZE = 33
LOWEST, HIGHEST = np.log(50), np.log(1000)  # of a voice, in log Hz
WINDOW = 2048  # samples in which zero crossings are counted, so that a rate is a whole number of its parts


def record(computed_by: str, columns: Iterable[str] = ()) -> str:
    """What the file of a record holds.

    Arguments:
        computed_by: What the features beside it were computed by: "paper", "mmsa", "openface", or a name of your own.
        columns: The names of the features, where they are known.
    """
    return json.dumps({"computed_by": computed_by, "columns": list(columns)}) + "\n"


def read_record(folder: Path) -> str | None:
    """What the features in a folder were computed by; None where there is no record.

    Raises:
        DataError: If the record cannot be read.
    """
    path = folder / RECORD
    if not path.exists():
        return None
    content = expect.dictionary(path, load_json(path))
    name = expect.text(f"{path}: computed_by", content.get("computed_by"))
    if not PLAIN.fullmatch(name):
        raise DataError(f"{path}: computed_by: expected a short name, got {messages.listed([name])}")
    return name


def read_records(folder: Path, modalities: Iterable[str]) -> dict[str, str]:
    """The records of modalities in the folders of their names; those without one are left out."""
    found = {name: read_record(folder / name) for name in modalities}
    return {name: computed_by for name, computed_by in found.items() if computed_by is not None}


def check_computed_alike(where: object, got: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Checks that features were computed in the same way as the training data, where both are recorded.

    Arguments:
        where: Where the features come from, for messages.
        got: What each modality was computed by.
        wanted: What each modality of the training data was computed by.

    Raises:
        DataError: If a modality was computed by something else.

    Example:
        >>> check_computed_alike("new.npy", {"audio": "mmsa"}, {"audio": "paper"})
        Traceback (most recent call last):
        disentangle.errors.DataError: new.npy: expected audio features computed by paper, as in the training data, got
        those by mmsa: compute them anew
    """
    for name in wanted:
        if name in got and got[name] != wanted[name]:
            raise DataError(
                f"{where}: expected {name} features computed by {wanted[name]}, as in the training data, got those by "
                f"{got[name]}: compute them anew"
            )


class Looks:
    """What the frames of recordings look like, seen one recording after another.

    Example:
        >>> chroma = np.eye(12, dtype=np.float32)[[0, 3]]
        >>> frames = np.hstack([[[0.125], [0.0625]], np.full((2, 20), -300), chroma])
        >>> looks = Looks()
        >>> looks.see(frames)
        >>> looks.told
        'mmsa'
    """

    def __init__(self) -> None:
        self._possible, self._seen = {"paper", "mmsa"}, set[str]()

    def see(self, frames: np.ndarray) -> None:
        """Looks at the frames of a recording, `(T, 33)`; raises ValueError where they have another shape."""
        if frames.ndim != 2 or frames.shape[1] != SIZE:
            raise ValueError(f"expected frames (T, {SIZE}), got {frames.shape}")
        if not len(frames) or not self._possible:
            return
        first, cepstrum, chroma = np.split(frames.astype(np.float64), [1, 21], axis=1)
        top = chroma.max(1)
        # Each frame of a chromagram has its largest value at 1, or is silent; the first coefficient is of decibels.
        others = (
            chroma.min() >= 0
            and np.isfinite(cepstrum).all()
            and bool(((np.abs(top - 1) < 1e-3) | (top < 1e-6)).all())
            and np.abs(cepstrum[:, 0]).max() > 10
        )
        voiced = (first >= LOWEST) & (first <= HIGHEST)
        counts = first * WINDOW
        rates = (first >= 0) & (first < 1) & (counts == np.round(counts))
        absent = np.isnan(first) | np.isneginf(first) | (first == 0)
        if not (others and (voiced | absent).all()):
            self._possible -= {"paper"}
        if not (others and rates.all()):
            self._possible -= {"mmsa"}
        self._seen |= {"paper"} if voiced.any() else set()
        self._seen |= {"mmsa"} if len(np.unique(first[rates & (first > 0)])) > 1 else set()

    @property
    def told(self) -> str | None:
        """ "paper" or "mmsa"; None where the numbers do not tell, or are of neither."""
        told = self._possible & self._seen
        return told.pop() if len(told) == 1 else None


def looks_like(frames: np.ndarray) -> str | None:
    """What the acoustic features of one recording, `(T, 33)`, look like: "paper", "mmsa", or None where it is not told."""
    looks = Looks()
    looks.see(frames)
    return looks.told
