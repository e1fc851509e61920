"""The example trains on every layout as its page says: one epoch of each."""

import json
import pickle
import random

import mird_mosi
import numpy as np
import pytest

from disentangle.data import Recordings, write_folder, write_store
from disentangle.training import Run
from tests.data.layouts import text_writers, writers

PICKLES = {"mmsa": {"A", "V"}, "paper": {"A", "V"}, "mult": {"A", "V", "glove"}, "mag": {"A", "V"}}
FOLDERS = {"folder of pickles": {"A", "V"}, "folder": {"A", "V", "glove"}, "store": {"A", "V", "glove"}}


def splits() -> dict[str, Recordings]:
    return {name: writers.example(n, n) for name, n in {"train": 34, "valid": 5, "test": 6}.items()}


def written(layout, folder):
    """The data set in a layout; the path that `--data` takes."""
    draw, out = random.Random(0), folder / "set"
    if layout == "folder":
        write_folder(out, splits())
    elif layout == "store":
        write_store(out, splits())
    elif layout == "folder of pickles":
        out.mkdir()
        for name, split in splits().items():
            file = out / f"{'dev' if name == 'valid' else name}.pkl"
            file.write_bytes(pickle.dumps(writers.LAYOUTS["misa"].write(draw, split)[0]))
    elif layout == "csd":
        text_writers.write(out, {**text_writers.example("csd"), "splits.json": b"{}"})
        wanted = {"train": "a", "valid": "b", "test": "c"}
        seconds = np.stack([np.arange(8.0), np.arange(1.0, 9.0)], 1)
        frames = {name: (np.random.default_rng(0).normal(size=(8, 3)), seconds) for name in wanted.values()}
        labels = {name: (np.arange(8.0)[:, None] - 4, seconds) for name in wanted.values()}
        words = {name: (np.array([[b"good"]] * 8, "S8"), seconds) for name in wanted.values()}
        (out / "COVAREP.csd").write_bytes(text_writers.csd_bytes("COVAREP", frames))
        (out / "FACET.csd").write_bytes(text_writers.csd_bytes("FACET 4.2", frames))
        (out / "labels.csd").write_bytes(text_writers.csd_bytes("Opinion Segment Labels", labels))
        (out / "words.csd").write_bytes(text_writers.csd_bytes("words", words))
        (out / "splits.json").write_text(json.dumps({video: split for split, video in wanted.items()}))
    elif layout == "dialogues":
        out = folder / "sarcasm_data.json"
        names = ["train"] * 20 + ["valid"] * 5 + ["test"] * 5
        said = {
            str(i): {
                "utterance": f"oh great {i}",
                "sarcasm": i % 2 == 0,
                "split": names[i],
                "speaker": "A",
                "show": "B",
            }
            for i in range(30)
        }
        out.write_text(json.dumps(said))
    else:
        parts = {name: writers.LAYOUTS[layout].write(draw, split)[0] for name, split in splits().items()}
        if layout == "mag":
            parts["dev"] = parts.pop("valid")
        out.write_bytes(pickle.dumps(parts))
    return out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "latents"), [*PICKLES.items(), *FOLDERS.items(), ("csd", {"A", "V"}), ("dialogues", set())]
)
def test_the_example_trains_on(layout, latents, tmp_path):
    data = str(written(layout, tmp_path))
    options = ["--backbone", "tiny", "--epochs", "1", "--lr", "1e-3", "--out", str(tmp_path / "run")]
    assert mird_mosi.main(["--data", data, *options]) == 0
    (record,) = Run.open(tmp_path / "run").history
    language = set() if layout == "mult" else {"L"}  # which has no transcripts
    assert {name for name in record["rms"] if not name.startswith("X_")} == {*latents, *language, "S"}
