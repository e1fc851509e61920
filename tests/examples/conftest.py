import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from disentangle.training import Run

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))


def content(n, seed, *, labels=True, words=True):
    """One split in the field's layout: padded on both sides, some recordings without audio, vision or text."""
    draw = np.random.default_rng(seed)
    audio, vision = np.zeros((n, 9, 5), np.float32), np.zeros((n, 7, 4), np.float32)
    for i in range(n):
        if i % 5 != 1:
            audio[i, i % 3 : 5 + i % 4] = draw.normal(size=(5 + i % 4 - i % 3, 5))
        if i % 5 != 2:
            vision[i, i % 2 : 4 + i % 3] = draw.normal(size=(4 + i % 3 - i % 2, 4))
    vocabulary = np.array(["good", "bad", "film", "so", "not", "very"])
    text = [" ".join(draw.choice(vocabulary, 2 + i % 6)) if words and i % 5 != 3 else "" for i in range(n)]
    split = {"raw_text": text, "audio": audio, "vision": vision}
    return {**split, "regression_labels": draw.uniform(-3, 3, n), "id": [str(i) for i in range(n)]} if labels else split


@pytest.fixture
def curves():
    """For tests of a run with its `curves.png`."""


@pytest.fixture(autouse=True)
def _no_curves(request, monkeypatch):
    """The others go without: drawing takes longer than a few steps."""
    if "curves" not in request.fixturenames:
        monkeypatch.setattr(Run, "draw", lambda run: None)


@pytest.fixture(scope="session")
def data():
    return {name: content(n, seed) for seed, (name, n) in enumerate({"train": 40, "valid": 12, "test": 12}.items())}


@pytest.fixture(scope="session")
def unlabeled():
    return content(15, 9, labels=False, words=False)


@pytest.fixture
def dump(tmp_path):
    def write(value, name="data.pkl"):
        path = tmp_path / name
        path.write_bytes(pickle.dumps(value))
        return str(path)

    return write
