"""Files of the layouts that are no pickles, valid ones: for the tests and for fuzzing."""

import csv
import io
import json
from pathlib import Path

import numpy as np

from tests.data.mutations import mutate

# The files of `example`, by layout, that `mutated` damages.
LAYOUTS = ("csd", "folder", "dialogues")


def csd_bytes(root: str, entries: dict[str, tuple[np.ndarray, np.ndarray]], **storage) -> bytes:
    """A computational sequence as the SDK writes it; `storage`, compression for example, is h5py's."""
    import h5py

    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        for name, (features, intervals) in entries.items():
            entry = file.create_group(f"{root}/data/{name}")
            entry.create_dataset("features", data=features, **storage)
            entry.create_dataset("intervals", data=intervals, **storage)
        metadata = file.create_group(f"{root}/metadata")
        metadata.create_dataset("root name", (1,), h5py.string_dtype())[0] = json.dumps(root)
    return memory.getvalue()


def npy_bytes(array: np.ndarray, version: tuple[int, int] | None = None) -> bytes:
    memory = io.BytesIO()
    np.lib.format.write_array(memory, array, version)
    return memory.getvalue()


def csv_bytes(*rows: list) -> bytes:
    memory = io.StringIO(newline="")
    csv.writer(memory).writerows(rows)
    return memory.getvalue().encode()


def example(layout: str) -> dict[str, bytes]:
    """The files of a small data set, by their paths in its folder; the set is read from the path that comes first."""
    frames = np.arange(12, dtype=np.float32).reshape(4, 3)
    seconds = np.stack([np.arange(4), np.arange(1, 5)], 1).astype(float)
    if layout == "csd":
        words = np.array([[b"so"], [b"sp"], [b"good"], [b"really"]], "S32")
        labels = np.array([[1.5], [-2.0]]), np.array([[0.0, 3.0], [3.0, 4.0]])
        return {
            "labels.csd": csd_bytes("Opinion Segment Labels", {"a": labels, "b": labels}, compression="gzip"),
            "words.csd": csd_bytes("words", {"a": (words, seconds), "b": (words[::-1], seconds)}),
            "COVAREP.csd": csd_bytes("COVAREP", {"a": (frames, seconds)}, compression="gzip", shuffle=True),
            "FACET.csd": csd_bytes("FACET 4.2", {"b": (frames.astype(">f8"), seconds)}, chunks=(2, 1)),
            "splits.json": json.dumps({"a": "train", "b[0]": "valid", "b[1]": "test"}).encode(),
        }
    arrays = {
        "audio/1_60.npy": npy_bytes(frames),
        "audio/1_70.npy": npy_bytes(np.asfortranarray(frames).astype(">f8"), (2, 0)),
        "vision/1_60.npy": npy_bytes(frames.astype(np.int16)),
    }
    if layout == "folder":
        header = ["id", "text", "label", "label_T", "split"]
        rows = [["1_60", 'so "good"', 2.5, 1, "train"], ["1_70", "é\n,", "-1", "", "dev"], ["c", "", "", "", ""]]
        return {"index.csv": csv_bytes(header, *rows), **arrays}
    utterance = {"speaker": "A", "context": ["Hello?"], "context_speakers": ["B"], "show": "S"}
    content = {
        "1_60": {"utterance": "Oh, great. 😀", "sarcasm": True, **utterance},
        "1_70": {"utterance": "Thanks.", "sarcasm": False, **utterance},
    }
    splits = csv_bytes(["id", "split"], ["1_60", "train"], ["1_70", "test"])
    return {"sarcasm_data.json": json.dumps(content).encode(), **arrays, "splits.csv": splits}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    """Writes files; gives the path that the data set is read from."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    first = next(iter(files))
    return folder if first.endswith((".csd", ".csv")) else folder / first


def mutated(draw, files: dict[str, bytes]) -> dict[str, bytes]:
    """The files, one of them with accidents; `draw` is a `random.Random`."""
    name, other = draw.choice(list(files)), draw.choice(list(files))
    return {**files, name: mutate(draw, files[name], files[other])}
