"""Writes recordings in each layout of a pickle, padded by chance: what reading has to undo."""

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from disentangle.data import Recordings
from tests.data.mutations import objects

Padding = dict[str, np.ndarray]


class Layout(NamedTuple):
    """How a split is written, and what of it the layout can hold."""

    write: Callable[[random.Random, Recordings], tuple[Any, Padding]]
    sequences: tuple[str, ...] = ("audio", "vision")
    text: bool = True
    ids: bool = True
    more_labels: tuple[str, ...] = ()


def padded(draw: random.Random, frames: np.ndarray, length: int) -> tuple[np.ndarray, tuple[int, int]]:
    """The frames among `length`, and the zeros in front and behind; all count as behind where there is nothing else."""
    spare = length - len(frames)
    front = draw.choice([0, spare, draw.randint(0, spare)])
    out = np.zeros((length, frames.shape[1]), frames.dtype)
    out[front : front + len(frames)] = frames
    return out, (front, spare - front) if len(frames) else (0, length)


def each(draw: random.Random, frames: list[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
    """Arrays of different length."""
    pairs = [padded(draw, array, len(array) + draw.choice([0, 0, 1, 3])) for array in frames]
    return [array for array, _ in pairs], np.array([cut for _, cut in pairs])


def stacked(draw: random.Random, frames: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """One array `(N, T, D)`."""
    length = max(map(len, frames)) + draw.choice([0, 0, 1, 3])
    pairs = [padded(draw, array, max(length, 1)) for array in frames]
    array = np.stack([array for array, _ in pairs]).astype(draw.choice(["<f4", ">f4", "<f8", ">f8"]))
    return np.asfortranarray(array) if draw.random() < 0.3 else array, np.array([cut for _, cut in pairs])


def of_each(how: Callable, draw: random.Random, split: Recordings, *names: str) -> tuple[list[Any], Padding]:
    written = {name: how(draw, list(split.sequences[name])) for name in names}
    return [array for array, _ in written.values()], {name: cut for name, (_, cut) in written.items()}


def mmsa(draw: random.Random, split: Recordings) -> tuple[dict, Padding]:
    """As `unaligned_50.pkl` of MMSA, with all that is optional (where `text` has 768 features)."""
    (audio, vision), padding = of_each(stacked, draw, split, "audio", "vision")
    n = len(split)
    return {
        "raw_text": np.array(split.text),
        "audio": audio,
        "vision": vision,
        "id": split.ids,
        "text": np.ones((n, 4, 8), np.float32),
        "text_bert": np.ones((n, 3, 4), np.float32),
        "audio_lengths": [audio.shape[1]] * n,
        "vision_lengths": [vision.shape[1]] * n,
        "annotations": ["Positive"] * n,
        "classification_labels": split.more_labels["classification"],
        "regression_labels": split.labels,
        **{f"regression_labels_{name}": split.more_labels[name].astype(np.float64) for name in "TAV"},
    }, padding


def mmsa_lists(draw: random.Random, split: Recordings) -> tuple[dict, Padding]:
    """The same fields as lists, with none that is optional."""
    (audio, vision), padding = of_each(each, draw, split, "audio", "vision")
    vision = objects(vision)
    return {"raw_text": split.text, "audio": audio, "vision": vision, "regression_labels": list(split.labels)}, padding


def paper(draw: random.Random, split: Recordings) -> tuple[dict, Padding]:
    (audio, video), padding = of_each(stacked, draw, split, "audio", "vision")
    return {"raw_text": split.text, "audio": audio, "video": video, "labels": split.labels[:, None]}, padding


def mult(draw: random.Random, split: Recordings) -> tuple[dict, Padding]:
    (audio, vision, text), padding = of_each(stacked, draw, split, "audio", "vision", "glove")
    ids = np.array([name.encode() for name in split.ids])
    return {"vision": vision, "labels": split.labels[:, None, None], "text": text, "audio": audio, "id": ids}, padding


def mag(draw: random.Random, split: Recordings) -> tuple[list, Padding]:
    (acoustic, visual), padding = of_each(each, draw, split, "audio", "vision")
    rows = zip(split.text, visual, acoustic, split.labels, split.ids, strict=True)
    return [((np.array(t.split(" ")), v, a), np.array([[y]]), name) for t, v, a, y, name in rows], padding


def misa(draw: random.Random, split: Recordings, *lengths: int) -> tuple[list, Padding]:
    """As MISA writes CMU-MOSEI, with emotions; with two lengths as MMIM does."""
    (acoustic, visual), padding = of_each(each, draw, split, "audio", "vision")
    names = ["happy", "sad", "anger", "surprise", "disgust", "fear"]
    labels = np.stack([split.labels, *(split.more_labels[name] for name in names)], 1)
    return [
        ((np.arange(len(t.split(" "))), v, a, t.split(" "), *lengths), y[None], name)
        for t, v, a, y, name in zip(split.text, visual, acoustic, labels, split.ids, strict=True)
    ], padding


def mmim(draw: random.Random, split: Recordings) -> tuple[list, Padding]:
    return misa(draw, split, 1, 2)


EMOTIONS = ("happy", "sad", "anger", "surprise", "disgust", "fear")
LAYOUTS = {
    "mmsa": Layout(mmsa, more_labels=("T", "A", "V", "classification")),
    "mmsa, lists": Layout(mmsa_lists, ids=False),
    "paper": Layout(paper, ids=False),
    "mult": Layout(mult, sequences=("audio", "vision", "glove"), text=False),
    "mag": Layout(mag),
    "misa": Layout(misa, more_labels=EMOTIONS),
    "mmim": Layout(mmim, more_labels=EMOTIONS),
}


def example(n: int = 2, seed: int = 0) -> Recordings:
    """Recordings with every part that a layout can hold; the last one lacks audio."""
    draw = np.random.default_rng(seed)
    sizes = {"audio": 3, "vision": 2, "glove": 4}
    sequences = {
        name: [draw.normal(size=(draw.integers(1, 4), size)).astype(np.float32) for _ in range(n)]
        for name, size in sizes.items()
    }
    sequences["audio"][-1] = sequences["audio"][-1][:0]
    return Recordings(
        text=[f"so good é{i}" for i in range(n)],
        sequences=sequences,
        labels=draw.normal(size=n).astype(np.float32),
        ids=[f"a${i}" for i in range(n)],
        more_labels={
            name: draw.normal(size=n).astype(np.float32) for name in ("T", "A", "V", "classification", *EMOTIONS)
        },
    )
