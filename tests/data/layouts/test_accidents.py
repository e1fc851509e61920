"""Files whose parts are not in order are read, or refused in a line; `benchmarks/fuzz_pickles.py` does it 100,000 times."""

import pickle
import random

import pytest

from disentangle.data import DataError, read_recordings
from tests.data.layouts.writers import LAYOUTS, example
from tests.data.mutations import alter


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_odd_part(tmp_path, layout):
    draw = random.Random(layout)
    split, _ = LAYOUTS[layout].write(draw, example())
    file = tmp_path / "data.pkl"
    read, messages = 0, []
    for _ in range(60):
        content = alter(draw, {"train": split, "valid": split, "test": split})
        file.write_bytes(pickle.dumps(content))
        try:
            read_recordings(file)
            read += 1
        except DataError as error:
            messages.append(str(error))
    assert read
    assert messages
    assert all(message.startswith(f"{file}: ") and "\n" not in message for message in messages)
