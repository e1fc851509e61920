"""A data set's report as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from disentangle.data.computed_by import SIZE
from disentangle.data.report.parts import Histogram, Labels, Lengths, Modality, Padding, Source, Split
from disentangle.numbers_as_text import for_readers, told_apart
from disentangle.text_tables import aligned

__all__ = ["render"]

BARS = " ▁▂▃▄▅▆▇█"
NONE = "–"
KINDS = {
    "paper": "looks like the paper's 33 features, which log F0 begins",
    "mmsa": "looks like the 33 features of CH-SIMS and MMSA, which the zero-crossing rate begins",
    None: "looks neither like the paper's 33 features nor like those of CH-SIMS and MMSA",
}
NOTE = """
front, behind: frames of padding that were cut from a recording, the mean and the most
NaN, inf: values; in: recordings that have any; constant: features that never change
words: what stands between blanks; of scripts without blanks, such as Chinese and Thai, each letter"""


def render(
    source: Source | None,
    warnings: Sequence[str],
    splits: Mapping[str, Split],
    task: str = "",
) -> str:
    """The report: warnings first, then tables of the splits, the modalities, and the labels.

    Arguments:
        source: Where the data set lies.
        warnings: What is wrong with it.
        splits: What is in its splits.
        task: What the labels of train are, and the metrics that follow.
    """
    blocks = [
        _source(source),
        _warnings(warnings),
        _table(_splits(splits)),
        _table(_modalities(splits)) + NOTE,
        _computed(splits),
    ]
    if any(split.labels or split.more_labels for split in splits.values()):
        blocks.append(_table(_labels(splits)))
    if task:
        blocks.append(f"labels: {_printable(task)}")
    return "\n\n".join(block for block in blocks if block)


def _source(source: Source | None) -> str:
    if source is None:
        return ""
    files = f"{source.files:,} files, " if source.files > 1 else ""
    return f"{_printable(source.path)}\n{source.layout}; {files}{_bytes(source.bytes)}; sha256 {source.sha256}"


def _warnings(warnings: Sequence[str]) -> str:
    return "\n".join(f"! {_printable(line)}" for line in warnings) or "No warnings."


def _splits(splits: Mapping[str, Split]) -> Iterator[Sequence[str]]:
    yield "split", "recordings", "unlabelled", "ids twice", "sha256 of content"
    for name, split in splits.items():
        yield name, f"{split.recordings:,}", f"{split.unlabeled:,}", f"{len(split.duplicate_ids):,}", split.sha256


def _modalities(splits: Mapping[str, Split]) -> Iterator[Sequence[str]]:
    yield (
        *("modality", "split", "size", "missing", "shortest", "median", "longest"),
        *("padding", "front", "behind", "NaN", "inf", "in", "constant"),
    )
    title = "text"
    for name, split in splits.items():
        missing = _missing(split.missing_text, split.recordings)
        yield title, name, "words", missing, *_lengths(split.words), *[""] * 7
        title = ""
    for modality in dict.fromkeys(m for split in splits.values() for m in split.modalities):
        title = modality
        for name, split in splits.items():
            if modality in split.modalities:
                yield title, name, *_modality(split.modalities[modality], split.recordings)
                title = ""


def _computed(splits: Mapping[str, Split]) -> str:
    """What features were computed by, as is recorded or as they look."""
    lines = []
    for modality in dict.fromkeys(m for split in splits.values() for m in split.modalities):
        of = [split.modalities[modality] for split in splits.values() if modality in split.modalities]
        recorded = dict.fromkeys(each.computed_by for each in of if each.computed_by)
        looks = dict.fromkeys(each.looks_like for each in of if each.lengths)
        if recorded:
            lines.append(f"{modality}: computed by {', '.join(recorded)}, as is recorded")
        elif modality == "audio" and of[0].size == SIZE:
            lines.append(f"{modality}: {' and '.join(KINDS[each] for each in looks)}; what computed it is not recorded")
    return "\n".join(lines)


def _modality(modality: Modality, recordings: int) -> Iterator[str]:
    yield str(modality.size)
    yield _missing(modality.missing, recordings)
    yield from _lengths(modality.lengths)
    yield from _padding(modality.padding, recordings - modality.missing)
    for count in (modality.nan, modality.infinite, modality.nonfinite_recordings, len(modality.constant)):
        yield f"{count:,}"


def _missing(count: int, recordings: int) -> str:
    return f"{count:,} ({count / max(recordings, 1):.0%})"


def _lengths(lengths: Lengths | None) -> list[str]:
    if lengths is None:
        return [NONE] * 3
    return [f"{lengths.min:,}", f"{lengths.median:,.1f}".removesuffix(".0"), f"{lengths.max:,}"]


def _padding(padding: Padding | None, recordings: int) -> list[str]:
    """The side, and on each the mean and the most."""
    if padding is None:
        return ["not known" if recordings else NONE, "", ""]
    sides = (padding.front, padding.front_max), (padding.back, padding.back_max)
    return [padding.side, *(f"{total / recordings:.1f} ≤ {most}" if most else "0" for total, most in sides)]


def _labels(splits: Mapping[str, Split]) -> Iterator[Sequence[str]]:
    found: dict[str, dict[str, Labels]] = {}
    for name, split in splits.items():
        for label, labels in {"label": split.labels, **split.more_labels}.items():
            if labels is not None:
                found.setdefault(label, {})[name] = labels
    yield "label", "split", "labelled", "mean", "sd", "min", "max", "zeros", "histogram"
    for label, of in found.items():
        title = label
        for name, each in of.items():
            top = max(abs(each.min), abs(each.max))
            numbers = (each.mean, each.sd, each.min, each.max)
            spread = (for_readers(value, 2, beside=top).replace("-", "−") for value in numbers)
            yield title, name, f"{each.count:,}", *spread, f"{each.zeros:,}", _bars(each.histogram)
            title = ""


def _bars(histogram: Histogram) -> str:
    """A bar per bin, from the least to the largest label of all splits; a bin that holds anything shows."""
    top = max(histogram.counts)
    bars = "".join(BARS[-(-8 * count // top)] for count in histogram.counts)
    low, high = (edge.replace("-", "−") for edge in told_apart((histogram.edges[0], histogram.edges[-1])))
    return f"{low} │{bars}│ {high}"


def _table(lines: Iterator[Sequence[str]]) -> str:
    """A table: names and text are aligned to the left, numbers to the right."""
    table = [[_printable(cell) for cell in line] for line in lines]
    left = {"split", "modality", "label", "padding", "histogram", "sha256 of content"}
    rows = aligned(table, left, rule=False).split("\n")
    rows.insert(1, "─" * max(map(len, rows)))
    return "\n".join(rows)


def _printable(text: str) -> str:
    """Without what a terminal would obey: names come from files."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _bytes(count: int) -> str:
    size, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:,.1f}".removesuffix(".0") + f" {unit}"
