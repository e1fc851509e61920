"""Data sets as they lie in files: each layout is a module, and what a file or folder holds tells which one it is.

- A pickle: a dictionary of three splits, and perhaps an unlabelled one; or a folder of one pickle for each, `train.pkl`,
  `dev.pkl` and `test.pkl`. A split has the layout of `mmsa` (also the paper's), `mult` or `mag_bert`.
- A folder of `.csd` files: `csd`.
- A folder with a `.csv` table and `.npy` files: `folder`.
- A store: `disentangle.data.store`.
- A `.json` file: `dialogues`.

Splits have their usual names in all of them: "valid" may be called "val", "validation", "dev", and so on, see
`disentangle.data.split_names`. What lies there and is not read is named in a `DataWarning`.

Padding is cut in pickles, and only there: frames `(N, T, D)` are padded with zeros at the front, at the end, or both, by a
different amount for each recording and modality. A recording's frames are those between its first and its last frame that is
not all zero: zeros at either end are padding, zeros inside are data. A recording without frames lacks that modality.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from disentangle.data import expect, messages
from disentangle.data.data_warnings import warn_of_fields, warn_of_files
from disentangle.data.layouts import csd, dialogues, folder, mag_bert, mmsa, mult
from disentangle.data.pickles import load_pickle
from disentangle.data.recordings import Recordings, check_same_features
from disentangle.data.split_names import LABELED, keys_of_splits
from disentangle.data.store import open_store
from disentangle.errors import DataError

__all__ = ["is_pickle", "pickles_of", "read_pickled", "read_recordings", "read_unlabeled"]

PICKLES = (mmsa, mult, mag_bert)


def read_recordings(path: str | os.PathLike[str]) -> dict[str, Recordings]:
    """Reads a data set, `{"train", "valid", "test"}`, in any layout of the field; see `disentangle.data.layouts`.

    Any of the splits may be absent, and there may be "unlabeled". What is there and is not read is named in a
    `DataWarning`. Text is stripped; blank text is missing. Frames are float32; values that are NaN or
    infinite, or become so, stay and are counted in `Recordings.nonfinite`: standardisation can replace them, and a reader
    should not hide them.

    Arguments:
        path: The file or folder. Nothing in it is run.

    Raises:
        DataError: If it is no such data set.
        ImportError: If it needs a package that is not installed.

    Example:
        >>> import pickle, tempfile
        >>> import numpy as np
        >>> audio, video = np.zeros((2, 6, 5)), np.ones((2, 3, 4))
        >>> audio[0, 2:] = 1  # two frames of padding; the second recording has no audio
        >>> split = {"raw_text": ["so good", " "], "audio": audio, "video": video, "labels": [2.5, -1.0]}
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     pickle.dump({"train": split, "valid": split, "test": split}, file)
        ...     file.flush()
        ...     train = read_recordings(file.name)["train"]
        >>> [len(frames) for frames in train.sequences["audio"]], train.missing
        ([4, 0], {'text': 1, 'audio': 1, 'vision': 0})
        >>> train.padding["audio"].tolist()
        [[2, 0], [0, 6]]
    """
    splits = _read(Path(path))
    if not splits:
        raise DataError(f"{path}: no splits")
    first = next(iter(splits.values()))
    for name, split in splits.items():
        check_same_features(first, split, f"{path}: {name}")
    return splits


def read_unlabeled(path: str | os.PathLike[str]) -> Recordings:
    """Reads recordings without labels: the flat layout `{raw_text, audio, video}`, or the "unlabeled" split of another.

    Arguments:
        path: The file or folder. Nothing in it is run.

    Raises:
        DataError: If it holds no such recordings.
        ImportError: If it needs a package that is not installed.

    Example:
        >>> import pickle, tempfile
        >>> import numpy as np
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     pickle.dump({"raw_text": [""], "audio": np.ones((1, 6, 5)), "video": np.ones((1, 3, 4))}, file)
        ...     file.flush()
        ...     recordings = read_unlabeled(file.name)
        >>> len(recordings), recordings.labels, recordings.feature_sizes
        (1, None, {'audio': 5, 'vision': 4})
    """
    path = Path(path)
    if is_pickle(path):
        content = expect.dictionary(path, load_pickle(path))
        if not (keys := keys_of_splits(path, content)):
            return mmsa.read(str(path), content, labeled=False)
        if "unlabeled" not in keys:
            raise DataError(
                f"{path}: expected an unlabelled file, or a split unlabeled, got a data set with splits "
                f"({messages.listed(content)})"
            )
        told_by = _telling(keys)
        layout = _layout(f"{path}: {told_by}", content[keys[told_by]])
        return layout.read(f"{path}: unlabeled", content[keys["unlabeled"]], labeled=False)
    splits = _read(path)
    if "unlabeled" not in splits:
        raise DataError(f"{path}: expected recordings of a split unlabeled, got {messages.listed(splits)}")
    return splits["unlabeled"]


def _read(path: Path) -> dict[str, Recordings]:
    if is_pickle(path):
        return read_pickled(path, load_pickle(path))
    if path.is_dir():
        return _read_folder(path)
    if path.suffix == ".csd":
        raise DataError(f"{path}: expected the folder of a data set's .csd files, got one of them")
    return dialogues.read(path) if path.suffix == ".json" else folder.read(path)


def _read_folder(path: Path) -> dict[str, Recordings]:
    if pickles := pickles_of(path):
        warn_of_files(path, pickles.values())
        return read_pickled(path, {split: load_pickle(file) for split, file in pickles.items()})
    if (path / "store.json").exists():
        splits = open_store(path)
        ours = {key: split for split, key in keys_of_splits(path, splits).items()}
        return {ours.get(name, name): split for name, split in splits.items()}
    if any(path.glob("*.csd")):
        return csd.read(path)
    if any(path.glob("*.csv")):
        return folder.read(path)
    found = messages.listed(sorted(file.name for file in path.glob("*")))
    raise DataError(f"{path}: expected train.pkl, dev.pkl and test.pkl, .csd files, or a .csv table, got {found}")


def pickles_of(path: Path) -> dict[str, Path]:
    """Finds the pickle of each split in a folder."""
    files = {file.stem: file for file in sorted(path.iterdir()) if file.suffix in (".pickle", ".pkl")}
    return {split: files[stem] for split, stem in keys_of_splits(path, files).items()}


def is_pickle(path: Path) -> bool:
    """Whether a path is read as a pickle: whatever is no folder and has no ending of another layout."""
    return not path.is_dir() and path.suffix not in (".csd", ".csv", ".json")


def read_pickled(path: Path, content: object) -> dict[str, Recordings]:
    """The splits that a pickle holds, or a folder of pickles."""
    if isinstance(content, list | tuple):
        raise DataError(f"{path}: expected {LABELED}, or a folder of the three, got a list, perhaps one split")
    content = expect.dictionary(path, content)
    keys = keys_of_splits(path, content)
    if not keys and "raw_text" in content:
        raise DataError(f"{path}: expected a data set with {LABELED}, got an unlabelled file")
    if not keys:
        raise DataError(f"{path}: expected {LABELED}, got {messages.listed(content)}")
    warn_of_fields(path, content, keys.values())
    told_by = _telling(keys)
    layout = _layout(f"{path}: {told_by}", content[keys[told_by]])
    return {
        name: layout.read(f"{path}: {name}", content[key], labeled=name != "unlabeled") for name, key in keys.items()
    }


def _telling(keys: Mapping[str, object]) -> str:
    """The split of a pickle that tells its layout: train, or else the first."""
    return "train" if "train" in keys else next(iter(keys))


def _layout(where: str, split: object) -> ModuleType:
    """The module of the layout that a split of a pickle has."""
    layout = next((layout for layout in PICKLES if layout.matches(split)), None)
    if layout is None:
        found = messages.listed(split) if isinstance(split, dict) else messages.kind(split)
        raise DataError(f"{where}: expected {' or '.join(layout.CONTENT for layout in PICKLES)}, got {found}")
    return layout
