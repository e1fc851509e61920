"""What is wrong with a data set: recordings that two splits share, and other things to look at before training."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from disentangle.data import messages
from disentangle.data.recordings import Recordings
from disentangle.data.report.parts import Leak, Modality, Split
from disentangle.data.writing_systems import join_words, letters_and_digits
from disentangle.metrics import LabelScale, disagreements
from disentangle.numbers_as_text import told_apart

__all__ = ["find_leaks", "leak_line", "normalized", "repeated_lines", "warnings"]

EXAMPLES = 3
# A label is out of range if it lies outside the training labels by more than this part of their range.
BEYOND = 0.25
# With fewer labels than this, no range is known.
FEW = 10


def normalized(text: str) -> str:
    """The words of a transcript, without case and punctuation, nor blanks in scripts that have none between words.

    Example:
        >>> normalized("So  GOOD!"), normalized("( ... )"), normalized("我喜欢， 但是…")
        ('so good', '', '我喜欢但是')
    """
    return join_words(letters_and_digits(unicodedata.normalize("NFKC", text).casefold()))


def find_leaks(ids: Mapping[str, Sequence[str]], keys: Mapping[str, Mapping[str, Sequence[str]]]) -> tuple[Leak, ...]:
    """Finds the recordings that any two splits share.

    Arguments:
        ids: The ids of each split's recordings.
        keys: For each split and each kind of thing, one key per recording; "" equals nothing.
    """
    leaks = []
    for other, split in combinations(ids, 2):
        by: dict[str, int] = {}
        pairs: dict[int, int] = {}  # each recording that is shared, and the first that it equals
        for kind in [kind for kind in keys[split] if kind in keys[other]]:
            first: dict[str, int] = {}
            for i, key in enumerate(keys[other][kind]):
                first.setdefault(key, i)
            shared = {i: first[key] for i, key in enumerate(keys[split][kind]) if key and key in first}
            if shared:
                by[kind] = len(shared)
                pairs = shared | pairs
        if pairs:
            examples = tuple((ids[split][i], ids[other][j]) for i, j in sorted(pairs.items())[:EXAMPLES])
            leaks.append(Leak(split, other, len(pairs), by, examples))
    return tuple(leaks)


def warnings(
    splits: Mapping[str, Split],
    leaks: Sequence[Leak],
    labels: Mapping[str, np.ndarray],
    scale: LabelScale | None,
    names: Sequence[str] = (),
) -> tuple[str, ...]:
    """What is wrong, the worst first, one line each.

    Arguments:
        splits: The splits.
        leaks: What they share.
        labels: The labels of each split, as many as it has.
        scale: What the labels of train are; None if there are none, or all are the same.
        names: Of the classes, where labels are their places among them.
    """
    lines = [leak_line(leak, splits[leak.split].recordings) for leak in leaks]
    for name, split in splits.items():
        if split.duplicate_ids:
            which = messages.listed(split.duplicate_ids[:EXAMPLES])
            lines.append(
                f"{name}: {_count(len(split.duplicate_ids), 'id comes', 'ids come')} more than once; for example {which}"
            )
    modalities = dict.fromkeys(modality for split in splits.values() for modality in split.modalities)
    have = {m: {name: each.modalities[m] for name, each in splits.items() if m in each.modalities} for m in modalities}
    missing = {"text": {name: split.missing_text for name, split in splits.items()}}
    for modality, of in have.items():
        lines += _computed_otherwise(modality, of)
        lines += _nonfinite(modality, of)
        missing[modality] = {name: each.missing for name, each in of.items()}
    for modality, counts in missing.items():
        shares = {name: count / max(splits[name].recordings, 1) for name, count in counts.items()}
        much = [f"{name} {share:.0%}" for name, share in shares.items() if share > 0.5]
        if much:
            lines.append(f"{modality}: missing in more than half: {', '.join(much)}")
    lines += _all_the_same(labels.get("train", np.zeros(0)), names)
    out_of_range = [] if names else _out_of_range(labels)
    lines += out_of_range or ([] if scale is None else disagreements(scale, labels, dict(enumerate(names))))
    for modality, of in have.items():
        lines += _zero_ends(modality, of)
    return tuple(lines)


def repeated_lines(splits: Mapping[str, Recordings]) -> list[str]:
    """Which recordings two splits share by id and transcript together, one line for each two splits; no frames are read."""
    ids = {name: each.ids for name, each in splits.items()}
    keys = {
        name: {
            "id and transcript": [
                f"{i}\n{text}" if (text := normalized(t)) else "" for i, t in zip(each.ids, each.text, strict=True)
            ]
        }
        for name, each in splits.items()
    }
    return [leak_line(leak, len(ids[leak.split])) for leak in find_leaks(ids, keys)]


def leak_line(leak: Leak, recordings: int) -> str:
    """What two splits share, in a line."""
    by = ", ".join(f"same {kind} {count}" for kind, count in leak.by.items())
    examples = ", ".join(f"{messages.listed([own])} = {messages.listed([other])}" for own, other in leak.examples)
    return (
        f"{leak.split}: {leak.recordings} of {_count(recordings, 'recording')} "
        f"{'is' if leak.recordings == 1 else 'are'} also in {leak.other}: {by}; for example {examples}"
    )


def _nonfinite(modality: str, of: Mapping[str, Modality]) -> list[str]:
    values = sum(each.nan + each.infinite for each in of.values())
    found = {name: each.nonfinite_recordings for name, each in of.items()}
    what = _count(values, "value is", "values are")
    return [f"{modality}: {what} NaN or infinite, in {_recordings(found)}"] if values else []


def _computed_otherwise(modality: str, of: Mapping[str, Modality]) -> list[str]:
    """Features that are not what their record says, or differ in kind between splits."""
    lines = [
        f"{name}: {modality}: recorded as computed by {each.computed_by}, and looks like {each.looks_like}"
        for name, each in of.items()
        if each.computed_by in ("paper", "mmsa") and each.looks_like not in (None, each.computed_by)
    ]
    kinds = {name: each.computed_by or each.looks_like for name, each in of.items()}
    if len(set(kinds.values()) - {None}) > 1:
        lines.append(
            f"{modality}: of different kinds: {', '.join(f'{name} {kind}' for name, kind in kinds.items() if kind)}"
        )
    return lines


def _zero_ends(modality: str, of: Mapping[str, Modality]) -> list[str]:
    found = {name: each.zero_ends for name, each in of.items()}
    what = f"{modality}: frames of zeros, which count as data, begin or end {_recordings(found)}"
    return [what] if any(found.values()) else []


def _out_of_range(labels: Mapping[str, np.ndarray]) -> list[str]:
    """Labels of other splits outside the training labels, and labels of any split far from all others."""
    lines = []
    train = labels.get("train", np.zeros(0))
    for name, values in labels.items():
        if name == "train" or len(train) < FEW:
            continue
        low, high = train.min(), train.max()
        beyond = values[(values < low - BEYOND * (high - low)) | (values > high + BEYOND * (high - low))]
        if len(beyond):
            wanted = f"{' to '.join(told_apart((low, high)))}, those of train"
            lines.append(f"{name}: {_labels(beyond)} out of the range of the others, {wanted}")
    everything = np.sort(np.concatenate([np.zeros(0), *labels.values()]))
    if len(everything) > FEW and not lines:
        at = int(np.diff(everything).argmax()) + 1
        few, most = sorted((everything[:at], everything[at:]), key=len)
        gap, span = everything[at] - everything[at - 1], np.ptp(most)
        if len(most) >= FEW and gap > span > 0:
            where = ", ".join(name for name, values in labels.items() if np.isin(values, few).any())
            lines.append(
                f"{where}: {_labels(few)} out of the range of the others, {' to '.join(told_apart(most[[0, -1]]))}"
            )
    return lines


def _all_the_same(train: np.ndarray, names: Sequence[str]) -> list[str]:
    if len(train) < FEW or np.ptp(train) > 0:
        return []
    label = names[int(train[0])] if names else f"{train[0]:g}"
    return [f"train: every label is {label}, which leaves nothing to learn"]


def _labels(values: np.ndarray) -> str:
    shown = " to ".join(told_apart(sorted({values.min(), values.max()})))
    return f"{_count(len(values), 'label')} ({shown})"


def _recordings(found: Mapping[str, int]) -> str:
    """How many recordings, and of which splits."""
    of = ", ".join(f"{name} {count}" for name, count in found.items() if count)
    return f"{_count(sum(found.values()), 'recording')} ({of})"


def _count(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"
