"""Pickles of what may lie in one, and accidents that befall them: for the tests and for `benchmarks/fuzz_pickles.py`."""

import collections
import pickle
import random

import numpy as np

OPCODES = [code for code in range(256) if code >= 0x80 or chr(code).isprintable()]


def objects(items: list) -> np.ndarray:
    array = np.empty(len(items), object)
    for i, item in enumerate(items):
        array[i] = item
    return array


def layouts() -> dict[str, object]:
    """Values by name: three ways to lay out recordings, and what else may lie in a pickle."""
    frames = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    split = {"raw_text": ["so good", "é"], "audio": frames, "vision": frames.astype(">f8"), "id": ["a$1", "a$2"]}
    ragged = {
        "raw_text": np.array(["a", "bc"]),
        "audio": list(frames),
        "video": objects(list(frames)),
        "labels": [1.0, 2],
    }
    others = [
        {1, 2},
        frozenset("ab"),
        collections.OrderedDict(a=1),
        1j,
        bytearray(b"1"),
        2**80,
        np.float32(1),
        np.str_("q"),
    ]
    return {
        "stacked": {name: {**split, "regression_labels": np.ones(2)} for name in ("train", "valid", "test")},
        "ragged": dict.fromkeys(("train", "valid", "test"), ragged),
        "unlabelled": {"raw_text": ["", ""], "audio": frames, "video": np.asfortranarray(frames)},
        "others": others,
    }


def pickles(value: object) -> list[bytes]:
    """The pickles of a value, one for each protocol."""
    return [pickle.dumps(value, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]


def samples(layout: str) -> list[bytes]:
    """The pickles of a layout, one for each protocol."""
    return pickles(layouts()[layout])


def mutate(draw: random.Random, data: bytes, other: bytes) -> bytes:
    """The data with one to three accidents."""
    out = bytearray(data)
    for _ in range(draw.randint(1, 3)):
        at, length = draw.randrange(len(out) + 1), draw.randint(1, 12)
        match draw.randrange(6):
            case 0:
                out[at : at + 1] = bytes([draw.randrange(256)])
            case 1:
                del out[max(at, 1) :]
            case 2:
                start = draw.randrange(len(other))
                out[at : at + length] = other[start : start + draw.randint(1, 40)]
            case 3:
                out[at:at] = bytes([draw.choice(OPCODES)]) * draw.choice([1, 2, 1000])
            case 4:
                width = draw.choice([1, 4, 8])
                number = draw.choice([0, 1, 2 ** (8 * width - 1), 2 ** (8 * width) - 1, draw.getrandbits(8 * width)])
                out[at : at + width] = number.to_bytes(width, "little")
            case 5:
                out[at:at] = out[at : at + length] * draw.choice([1, 50])
    return bytes(out)


def odd_values() -> list[object]:
    """What hardly belongs where it is put."""
    numbers = [0, -1, 2**70, 10**400, True, 1.5, 1e300, float("nan"), float("inf"), 1j]
    arrays = [np.zeros(0), np.zeros((0, 3)), np.zeros((2, 3, 0)), np.array(1.0), np.ones((2, 3)), np.arange(2) > 0]
    others = [
        np.full((2, 2), "a"),
        objects([None, 1]),
        objects([np.ones(2)] * 2),
        np.array([b"\xff"] * 2),
        np.float64(2),
    ]
    return [*numbers, *arrays, *others, None, "", "a", b"\xff", [], {}, (), [[]], {"train": 1}, {1, 2}]


def alter(draw: random.Random, value: object) -> object:
    """The value with one part of it, at any depth, left out, repeated or exchanged for something odd."""
    if isinstance(value, dict | list | tuple) and value and draw.random() < 0.8:
        pairs = list(value.items() if isinstance(value, dict) else enumerate(value))
        at = draw.randrange(len(pairs))
        match draw.randrange(12):
            case 0:
                del pairs[at]
            case 1:
                pairs[at] = (
                    draw.choice(["train", "text", "labels", "id", "regression_labels_T", 0, b"a"]),
                    pairs[at][1],
                )
            case 2:
                pairs.insert(at, pairs[draw.randrange(len(pairs))])
            case _:
                pairs[at] = (pairs[at][0], alter(draw, pairs[at][1]))
        return dict(pairs) if isinstance(value, dict) else type(value)(part for _, part in pairs)
    if isinstance(value, np.ndarray) and draw.random() < 0.5:
        changed = [value[:1], value[::-1], value[None], value.T, value.ravel(), value.astype(object), list(value)]
        return draw.choice([*changed, np.full_like(value, np.inf) if value.dtype.kind == "f" else objects(list(value))])
    return draw.choice(odd_values())
