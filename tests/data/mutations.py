"""Pickles of every layout that is read, and accidents that befall them: for the tests and for `benchmarks/fuzz_pickles.py`."""

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
        "unlabelled": {"raw_text": ["", ""], "audio": frames, "video": np.asfortranarray(frames[0])},
        "others": others,
    }


def samples(layout: str) -> list[bytes]:
    """The pickles of a layout, one for each protocol."""
    return [pickle.dumps(layouts()[layout], protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]


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
