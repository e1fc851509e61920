"""What a trained model says of one's own recordings, and what each modality contributes: `mird_mosi.py predict`."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mird_data import FEATURES, Clip, read_clip, recordings_of, with_modalities
from mird_labels import known_scale
from mird_options import recording_of
from torch import nn
from tqdm import tqdm

from disentangle import load, predict
from disentangle.data import DataError, RecordingDataset, Recordings, loader, read_recordings
from disentangle.data.computed_by import check_computed_alike
from disentangle.data.text_files import csv_rows, read_text
from disentangle.metrics import LabelScale
from disentangle.training import Run, accelerator_for

AT_ONCE = 32  # recordings

EXPLANATION = """\
contribution: the prediction from everything given, less the one where this modality is missing;
alone: the prediction from this modality only. Contributions need not add up to the prediction."""


@dataclass(frozen=True)
class Predictor:
    """A trained model and how transcripts become its tokens; `sizes` are those of its modalities' frames, beside text."""

    model: nn.Module
    tokenizer: Any
    max_words: int
    sizes: dict[str, int]

    def predict(self, recordings: Recordings, *modalities: str) -> list[float]:
        """The predictions from some of the modalities; the others are missing, as they would be in a file."""
        none = {name: [np.zeros((0, size), np.float32)] * len(recordings) for name, size in self.sizes.items()}
        kept = replace(
            recordings,
            text=recordings.text if "text" in modalities else [""] * len(recordings),
            sequences={m: recordings.sequences[m] if m in modalities else none[m] for m in self.sizes},
            padding={},
        )
        return predict(self.model, loader(RecordingDataset(kept, self.tokenizer, max_words=self.max_words))).tolist()

    def explain(self, recordings: Recordings) -> tuple[list[float], dict[str, list[float | None]]]:
        """The predictions, and what each modality contributes to each of them: None where it is missing."""
        modalities = ("text", *self.sizes)
        whole = self.predict(recordings, *modalities)
        contributions: dict[str, list[float | None]] = {}
        for m in modalities:
            has = map(len, recordings.text if m == "text" else recordings.sequences[m])
            without = self.predict(recordings, *(other for other in modalities if other != m))
            contributions[m] = [a - b if n else None for a, b, n in zip(whole, without, has, strict=True)]
        return whole, contributions


class Chunk(NamedTuple):
    """Recordings that are predicted together, and the first cells of their rows in the output."""

    cells: list[list[str]]
    recordings: Recordings


class Unread(NamedTuple):
    """A row of a table that could not be read."""

    id: str
    reason: str


def prepare_prediction(options: argparse.Namespace, build: Callable[..., nn.Module]) -> Callable[[], None]:
    """Reads and checks what can be before anything is computed for long, and returns what is left to do."""
    clip = recording_of(options)
    model, config, tokenizer = open_model(options, build)
    predictor = Predictor(model, tokenizer, config["max_words"], config["sizes"])
    computed_by = config["computed_by"]
    if options.like:
        check_computed_alike("--like", {"audio": options.like}, computed_by)
        computed_by = {**computed_by, "audio": options.like}
    if clip:
        check_modalities(clip.keys() - {"text", "transcript"}, predictor.sizes)
        recording = recordings_of([read_clip(clip, predictor.sizes, computed_by)])
        scale = known_scale(config)
        return lambda: show(predictor, recording, scale, as_json=options.json)
    if Path(options.out).exists():
        raise ValueError(f"{options.out}: exists; give the name of a new file")
    if options.csv:
        table = Path(options.csv)
        names, rows = read_table(table, predictor.sizes)
        clips = read_clips(names, rows, table.parent, predictor.sizes, computed_by)
        return lambda: write(predictor, options.out, ["id"], clips)
    splits = read_recordings(options.data)
    if unused := sorted({m for split in splits.values() for m in split.sequences} - predictor.sizes.keys()):
        print(f"the run has no {', '.join(unused)}: not used", file=sys.stderr)
    splits = {
        name: with_modalities(split, predictor.sizes, options.data, computed_by) for name, split in splits.items()
    }
    return lambda: write(predictor, options.out, ["id", "split", "label"], chunks_of(splits))


def open_model(options: argparse.Namespace, build: Callable[..., nn.Module]) -> tuple[Any, dict[str, Any], Any]:
    """The model of a run's folder, or of the model folder in it, which suffices; its configuration, and its tokenizer."""
    given = Path(options.run)
    folder = given / "model" if (given / "model").is_dir() else given
    if not (folder / "model.safetensors").exists():
        run = Run.open(given)  # or says that it is none
        raise ValueError(f"{run.folder}: expected a model in it, got none: the run's first epoch has not ended")
    model, config, tokenizer = load(folder, build, device=accelerator_for(options.device).device)
    # Models that were saved earlier do not say themselves to how many word pieces transcripts are cut.
    max_words = config.get("max_words") or Run.open(folder.parent).config["max_words"]
    return model, {**config, "max_words": max_words, "computed_by": config.get("computed_by") or {}}, tokenizer


def check_modalities(given: set[str], sizes: Mapping[str, int]) -> None:
    """Refuses what a model was not built for."""
    if unknown := sorted(given - sizes.keys()):
        raise ValueError(
            f"expected the modalities that the run was trained on, {', '.join(('text', *sizes))}, got {unknown[0]}"
        )


def meaning(prediction: float, scale: LabelScale | None) -> str:
    """What a predicted number says, on the scale of the labels that it was learnt from."""
    if scale is not None and scale.discrete:
        (nearest,) = scale.nearest([prediction])
        return f"prediction {prediction:+z.2f}, which counts as {nearest:g} (of {scale.shown})"
    of = "sentiment" if scale is None or scale.kind in ("sentiment", "sims") else "prediction"
    return f"{of} {prediction:+z.2f}, on the scale of the labels that the run was trained on"


def show(predictor: Predictor, recording: Recordings, scale: LabelScale | None, *, as_json: bool) -> None:
    """Prints the prediction for one recording."""
    (prediction,), contributions = predictor.explain(recording)
    parts = {
        m: {"contribution": value, "alone": predictor.predict(recording, m)[0]}
        for m, (value,) in contributions.items()
        if value is not None
    }
    (from_nothing,) = predictor.predict(recording)
    if as_json:
        print(json.dumps({"prediction": prediction, "modalities": parts, "nothing": from_nothing}, indent=2))
        return
    print(f"{meaning(prediction, scale)}\n")
    width = max(map(len, contributions))
    print(f"{'':{width}}  contribution   alone")
    for m in contributions:
        if m in parts:
            print(f"{m:{width}}  {parts[m]['contribution']:+z12.2f}  {parts[m]['alone']:+z6.2f}")
        else:
            print(f"{m:{width}}       missing")
    print(f"\n{EXPLANATION}\nFrom nothing at all, this model predicts {from_nothing:+z.2f}.")


def read_table(path: Path, sizes: Mapping[str, int]) -> tuple[list[str], list[list[str]]]:
    """The columns of a CSV of recordings, and its rows."""
    try:
        names, *rows = [row for _, row in csv_rows(read_text(path), ["id"])] or [[]]
    except csv.Error as error:
        raise DataError(f"{path}: {error}") from None
    known = ["text", "transcript", *sizes]
    if "id" not in names or not set(known) & set(names) or len(set(names)) < len(names):
        found = ", ".join(names) or "nothing"
        raise DataError(f"{path}: expected columns id and some of {', '.join(known)}, once each, got {found}")
    check_modalities(set(FEATURES) & set(names), sizes)
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
            labels = [""] * len(split) if split.labels is None else [f"{label:.6g}" for label in split.labels]
            for start in range(0, len(split), AT_ONCE):
                rows = range(start, min(start + AT_ONCE, len(split)))
                chunk = split.select(rows)
                read = {m: list(frames) for m, frames in chunk.sequences.items()}  # once, and not for each prediction
                yield Chunk([[split.ids[i], name, labels[i]] for i in rows], replace(chunk, sequences=read))
                bar.update(len(rows))


def write(
    predictor: Predictor, path: str, first: list[str], source: Iterator[Chunk] | Iterator[Chunk | Unread]
) -> None:
    """Writes a CSV of predictions and contributions, and behind them the rows that could not be read."""
    modalities = ["text", *predictor.sizes]
    columns = [*first, "prediction", *(f"contribution_{m}" for m in modalities), "error"]
    count, failed = 0, []
    try:
        with open(path, "x", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(columns)
            for item in source:
                if isinstance(item, Unread):
                    failed.append(item)
                    continue
                predictions, contributions = predictor.explain(item.recordings)
                for i, cells in enumerate(item.cells):
                    values = [predictions[i], *(contributions[m][i] for m in modalities)]
                    table.writerow([*cells, *("" if value is None else f"{value:z.4f}" for value in values), ""])
                file.flush()
                count += len(item.cells)
            for name, reason in failed:
                table.writerow([name, *[""] * (len(columns) - 2), reason])
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error
    for name, reason in failed:
        print(f"failed: {name}: {reason}", file=sys.stderr)
    print(f"{path}: {count} predictions; {len(failed)} rows could not be read")
