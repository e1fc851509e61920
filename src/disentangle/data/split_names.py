"""The names of splits: one list of them, for every reader."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from disentangle.data import messages
from disentangle.errors import DataError

__all__ = ["LABELED", "SPLITS", "keys_of_splits", "split_of"]

NAMES = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "validation", "dev", "devel", "development"),
    "test": ("test", "testing"),
    "unlabeled": ("unlabeled", "unlabelled"),
}
SPLITS = tuple(NAMES)
LABELED = "train, valid (or val, validation, dev, ...) and test"
OF_NAME = {name: split for split, names in NAMES.items() for name in names}


def split_of(name: object) -> str | None:
    """The split that a name stands for, in upper or lower case; None if it stands for none.

    Example:
        >>> split_of("dev"), split_of("Validation"), split_of("fold 1"), split_of(3)
        ('valid', 'valid', None, None)
    """
    return OF_NAME.get(name.strip().lower()) if isinstance(name, str) else None


def keys_of_splits(where: object, keys: Iterable[Any]) -> dict[str, Any]:
    """The key of each split that is there, in the order of `SPLITS`; of two, "train", "valid" and so on count first.

    Arguments:
        where: The file, for messages.
        keys: What there is; what names no split is left out.

    Raises:
        DataError: If two keys stand for one split, and neither is its own name.

    Example:
        >>> keys_of_splits("data.pkl", ["dev", "training", "notes"])
        {'train': 'training', 'valid': 'dev'}
    """
    found: dict[str, list[Any]] = {}
    for key in keys:
        if split := split_of(key):
            found.setdefault(split, []).append(key)
    result = {}
    for split in (split for split in SPLITS if split in found):
        if len(found[split]) > 1 and split not in found[split]:
            raise DataError(f"{where}: expected one {split} split, got {messages.listed(found[split])}")
        result[split] = split if split in found[split] else found[split][0]
    return result
