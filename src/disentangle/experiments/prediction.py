"""What a trained model says of one's own recordings, and what each modality contributes: printed, or as a table."""

from __future__ import annotations

import argparse
import csv
import functools
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from disentangle.data import DataError, Recordings, read_recordings
from disentangle.data.computed_by import check_computed_alike
from disentangle.data.text_files import csv_rows, read_text
from disentangle.experiments.clips import FEATURES, Clip, read_clip, recordings_of
from disentangle.experiments.experiment import Experiment
from disentangle.experiments.options import recording_of
from disentangle.experiments.reading import has_labels, refuse_names, with_modalities
from disentangle.experiments.trained import Trained, explained, open_trained
from disentangle.files import write_file
from disentangle.numbers_as_text import for_programs, for_readers
from disentangle.tasks import Regression, Task
from disentangle.text_tables import aligned
from disentangle.training import accelerator_for

__all__ = ["prepare_prediction"]

AT_ONCE = 32  # recordings

EXPLANATION = """\
contribution: the prediction from everything given, less the one where this modality is missing;
alone: the prediction from this modality only. Contributions need not add up to the prediction."""

NOT_FINITE = "the model predicts no finite number: its features, or its weights, are not finite, or much too large"


class Chunk(NamedTuple):
    """Recordings that are predicted together, and the first cells of their rows in the output."""

    cells: list[list[str]]
    recordings: Recordings


class Unread(NamedTuple):
    """A row of a table that could not be read."""

    id: str
    reason: str


def prepare_prediction(experiment: Experiment, options: argparse.Namespace) -> Callable[[], None]:
    """Reads and checks what can be before anything is computed for long, and returns what is left to do."""
    clip = recording_of(options)
    trained = open_trained(options.run, experiment.build, device=accelerator_for(options.device).device)
    computed_by = trained.computed_by
    if options.like:
        check_computed_alike("--like", {"audio": options.like}, computed_by)
        computed_by = {**computed_by, "audio": options.like}
    if clip:
        given = {"text" if name == "transcript" else name for name in clip}
        check_modalities(given, trained.modalities)
        recording = recordings_of([read_clip(clip, trained.sizes, computed_by)])
        return lambda: show(trained, recording, as_json=options.json)
    if Path(options.out).exists():
        raise ValueError(f"{options.out}: exists; give the name of a new file")
    if options.csv:
        table = Path(options.csv)
        names, rows = read_table(table, trained.modalities)
        clips = read_clips(names, rows, table.parent, trained.sizes, computed_by)
        return lambda: write(trained, options.out, ["id"], clips)
    splits = read_recordings(options.data)
    if trained.label:
        for split in splits.values():
            refuse_names(split, trained.label, options.data)
        splits = {
            name: each.with_labels(*trained.label) if has_labels(each, trained.label) else replace(each, labels=None)
            for name, each in splits.items()
        }
    if unused := sorted({m for split in splits.values() for m in split.sequences} - trained.sizes.keys()):
        print(f"the run has no {', '.join(unused)}: not used", file=sys.stderr)
    splits = {name: with_modalities(split, trained.sizes, options.data, computed_by) for name, split in splits.items()}
    return lambda: write(trained, options.out, ["id", "split", "label"], chunks_of(splits))


def check_modalities(given: set[str], known: tuple[str, ...]) -> None:
    """Refuses what a model was not built for."""
    if unknown := sorted(given - set(known)):
        raise ValueError(f"expected the modalities that the run was trained on, {', '.join(known)}, got {unknown[0]}")


def meaning(outcomes: np.ndarray, task: Task) -> str:
    """What the outcomes of one recording, `(K,)`, say, in a line."""
    (said,) = task.said(outcomes[None])
    if not isinstance(task, Regression):
        shown = ", ".join(f"{name} {p:.2f}" for name, p in zip(task.names, outcomes, strict=True))
        return f"prediction {said}; {shown}"
    number, scale = float(outcomes[0]), task.scale
    if scale.discrete:
        (nearest,) = scale.nearest([number])
        return f"prediction {_shown(number, task)}, which counts as {nearest:g} (of {scale.shown})"
    of = "sentiment" if scale.kind in ("sentiment", "sims") else "prediction"
    return f"{of} {_shown(number, task)}, on the scale of the labels that the run was trained on"


def _shown(value: float, task: Task) -> str:
    """A number beside the labels of training, or a probability: on a small scale with more decimals."""
    largest = max(map(abs, task.scale.values)) if isinstance(task, Regression) else 1.0
    return for_readers(value, 2, beside=largest, signed=True)


def show(trained: Trained, recording: Recordings, *, as_json: bool) -> None:
    """Prints the prediction for one recording."""
    whole, contributions = trained.explain(recording)
    if not np.isfinite(whole).all():
        raise DataError(NOT_FINITE)
    (about,) = explained(whole)
    parts = {
        m: {"contribution": value, "alone": float(trained.outcomes(recording, [m])[0, about])}
        for m, (value,) in contributions.items()
        if value is not None
    }
    from_nothing = float(trained.outcomes(recording, [])[0, about])
    numbers = isinstance(trained.task, Regression)
    if as_json:
        (said,) = trained.task.said(whole)
        of_classes = {} if numbers else dict(zip(trained.task.names, whole[0].tolist(), strict=True))
        prediction = {
            "prediction": float(whole[0, 0]) if numbers else said,
            **({"outcomes": of_classes} if of_classes else {}),
        }
        print(json.dumps({**prediction, "modalities": parts, "nothing": from_nothing}, indent=2))
        return
    print(f"{meaning(whole[0], trained.task)}\n")
    if not numbers:
        print(f"Of the {trained.task.names[about]}:")
    shown = functools.partial(_shown, task=trained.task)
    lines = [["", "contribution", "alone"]]
    lines += [
        [m, shown(parts[m]["contribution"]), shown(parts[m]["alone"])] if m in parts else [m, "missing", ""]
        for m in contributions
    ]
    print(aligned(lines, [""], rule=False))
    print(f"\n{EXPLANATION}\nFrom nothing at all, this model predicts {shown(from_nothing)}.")


def read_table(path: Path, modalities: tuple[str, ...]) -> tuple[list[str], list[list[str]]]:
    """The columns of a CSV of recordings, and its rows."""
    try:
        names, *rows = [row for _, row in csv_rows(read_text(path), ["id"])] or [[]]
    except csv.Error as error:
        raise DataError(f"{path}: {error}") from None
    known = [each for m in modalities for each in (("text", "transcript") if m == "text" else (m,))]
    if "id" not in names or not set(known) & set(names) or len(set(names)) < len(names):
        found = ", ".join(names) or "nothing"
        raise DataError(f"{path}: expected columns id and some of {', '.join(known)}, once each, got {found}")
    check_modalities(set(FEATURES) & set(names), modalities)
    if unread := [name for name in names if name not in ("id", *known)]:
        if meant := [name for name in unread if name.lower() in known]:
            raise DataError(f"{path}: expected column names in lower case, got {', '.join(meant)}")
        print(f"columns that are not read: {', '.join(unread)}", file=sys.stderr)
    return names, rows


def read_clips(
    names: list[str], rows: list[list[str]], folder: Path, sizes: Mapping[str, int], computed_by: Mapping[str, str]
) -> Iterator[Chunk | Unread]:
    """The recordings of a CSV, whose paths are relative to its folder."""
    ids: list[list[str]] = []
    clips: list[Clip] = []
    for row in tqdm(rows, unit="recording"):
        given = {name: cell.strip() for name, cell in zip(names, row, strict=False) if cell.strip()}
        name = given.pop("id", "")
        try:
            if len(row) != len(names):
                raise DataError(f"expected {len(names)} cells as in the header, got {len(row)}")
            paths = {m: cell if m == "text" else str(folder / cell) for m, cell in given.items()}
            clips.append(read_clip(paths, sizes, computed_by))
            ids.append([name])
        except ImportError:  # of no row's making
            raise
        except Exception as error:  # whatever a damaged file leads to, in libraries too
            yield Unread(name, " ".join(str(error).split())[:300])
        if len(clips) == AT_ONCE:
            yield Chunk(ids, recordings_of(clips))
            ids, clips = [], []
    if clips:
        yield Chunk(ids, recordings_of(clips))


def chunks_of(splits: Mapping[str, Recordings]) -> Iterator[Chunk]:
    """The recordings of a data set, split by split."""
    with tqdm(total=sum(map(len, splits.values())), unit="recording") as bar:
        for name, split in splits.items():
            names = split.class_names.get("label", [])
            given = [] if split.labels is None else np.asarray(split.labels)
            labels = [_cell(label, names) for label in given] or [""] * len(split)
            for start in range(0, len(split), AT_ONCE):
                rows = range(start, min(start + AT_ONCE, len(split)))
                chunk = split.select(rows)
                read = {m: list(frames) for m, frames in chunk.sequences.items()}  # once, and not for each prediction
                yield Chunk([[split.ids[i], name, labels[i]] for i in rows], replace(chunk, sequences=read))
                bar.update(len(rows))


def _cell(label: np.ndarray | np.floating, names: list[str]) -> str:
    """A label as its file has it: its number or numbers, or the name of its class."""
    values = ["" if np.isnan(v) else names[int(v)] if names else for_programs(v) for v in np.atleast_1d(label)]
    return " ".join(values)


def write(trained: Trained, path: str, first: list[str], source: Iterator[Chunk] | Iterator[Chunk | Unread]) -> None:
    """Writes a CSV of predictions and contributions, and behind them the rows that could not be read; whole or not at all."""
    modalities, task = trained.modalities, trained.task
    outcomes = () if isinstance(task, Regression) else task.names
    columns = [*first, "prediction", *outcomes, *(f"contribution_{m}" for m in modalities), "error"]
    count, failed = 0, []

    def write_rows(part: Path) -> None:
        nonlocal count
        with open(part, "w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(columns)
            for item in source:
                if isinstance(item, Unread):
                    failed.append(item)
                    continue
                whole, contributions = trained.explain(item.recordings)
                said = task.said(whole)
                for i, cells in enumerate(item.cells):
                    if not np.isfinite(whole[i]).all():
                        failed.append(Unread(cells[0], NOT_FINITE))
                        continue
                    count += 1
                    values = [*(whole[i] if outcomes else ()), *(contributions[m][i] for m in modalities)]
                    shown = ["" if value is None else f"{value:z.9g}" for value in values]
                    table.writerow([*cells, said[i], *shown, ""])
            for name, reason in failed:
                table.writerow([name, *[""] * (len(columns) - 2), reason])

    try:
        write_file(Path(path), write_rows)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error
    for name, reason in failed:
        print(f"failed: {name}: {reason}", file=sys.stderr)
    print(f"{path}: {count} predictions; {len(failed)} rows have none")
