"""Recordings written in each layout are read back as they were."""

import os
import pickle
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from disentangle.data import Recordings, read_recordings, read_unlabeled
from tests.data.layouts.writers import EMOTIONS, LAYOUTS, Padding, example, paper

POM = Path(os.environ.get("DISENTANGLE_POM") or Path(__file__).parents[4] / "shared" / "data" / "pom")
relaxed = settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))

VALUES = np.array([0.0, -0.0, 1.0, -2.5, 1e-30, np.nan, np.inf, -np.inf], np.float32)
# Of scripts with blanks between words: the others are joined without.
LETTERS = st.characters(categories=["L", "N", "P"], max_codepoint=0x24F)
WORDS = st.lists(st.text(LETTERS, min_size=1, max_size=5), min_size=1, max_size=5)
SIZES = st.fixed_dictionaries({name: st.integers(1, 3) for name in ("audio", "vision", "glove")})


def frames(draw: np.random.Generator, length: int, size: int) -> np.ndarray:
    """Frames without padding: the first and the last are not zero; those between may be."""
    array = draw.choice(VALUES, (length, size))
    for end in array[:1], array[-1:]:
        end[:, draw.integers(size)] = draw.choice([1.0, np.nan, -np.inf])
    return array


def recordings(draw: np.random.Generator, n: int, sizes: dict[str, int], words: list[str]) -> Recordings:
    """N recordings of these words; one in five lacks a modality, as one in five lacks text."""
    return Recordings(
        text=[" ".join(draw.choice(words, draw.integers(5))) for _ in range(n)],
        sequences={name: [frames(draw, draw.integers(5), size) for _ in range(n)] for name, size in sizes.items()},
        labels=draw.normal(size=n).astype(np.float32),
        ids=list(map(str, draw.choice(words, n))),
        more_labels={
            name: draw.normal(size=n).astype(np.float32) for name in ("T", "A", "V", "classification", *EMOTIONS)
        },
    )


def check(layout: str, got: Recordings, wanted: Recordings, padding: Padding) -> None:
    check_inputs(layout, got, wanted, padding)
    np.testing.assert_array_equal(got.labels, wanted.labels)
    assert set(got.more_labels) == set(LAYOUTS[layout].more_labels)
    for name in LAYOUTS[layout].more_labels:
        np.testing.assert_array_equal(got.more_labels[name], wanted.more_labels[name])


def check_inputs(layout: str, got: Recordings, wanted: Recordings, padding: Padding) -> None:
    of = LAYOUTS[layout]
    assert got.text == (wanted.text if of.text else [""] * len(wanted))
    assert got.ids == (wanted.ids if of.ids else [str(i) for i in range(len(wanted))])
    assert tuple(got.sequences) == of.sequences
    for name in of.sequences:
        for mine, theirs in zip(got.sequences[name], wanted.sequences[name], strict=True):
            assert mine.dtype == np.float32
            np.testing.assert_array_equal(mine, theirs)
        np.testing.assert_array_equal(got.padding[name], padding[name])


def save(folder: str, name: str, content: object, protocol: int) -> Path:
    file = Path(folder, f"{name}.pkl")
    file.write_bytes(pickle.dumps(content, protocol))
    return file


@pytest.mark.parametrize("layout", LAYOUTS)
@relaxed
@given(
    counts=st.tuples(*[st.integers(1, 4)] * 3),
    sizes=SIZES,
    words=WORDS,
    valid=st.sampled_from(["valid", "dev"]),
    protocol=st.integers(0, pickle.HIGHEST_PROTOCOL),
    seed=st.integers(0, 2**32),
)
def test_what_is_written_is_read(layout, counts, sizes, words, valid, protocol, seed):
    draw = np.random.default_rng(seed)
    wanted = [recordings(draw, n, sizes, words) for n in counts]
    written = [LAYOUTS[layout].write(random.Random(seed), each) for each in wanted]
    content = dict(zip(("train", valid, "test"), (split for split, _ in written), strict=True))
    with tempfile.TemporaryDirectory() as folder:
        one_file = save(folder, "data", content, protocol)
        for name, split in content.items():
            save(folder, name, split, protocol)
        for path in one_file, folder:
            splits = read_recordings(path)
            assert list(splits) == ["train", "valid", "test"]
            for got, want, (_, padding) in zip(splits.values(), wanted, written, strict=True):
                check(layout, got, want, padding)


@relaxed
@given(n=st.integers(1, 4), sizes=SIZES, words=WORDS, seed=st.integers(0, 2**32))
def test_an_unlabelled_file_is_read(n, sizes, words, seed):
    wanted = recordings(np.random.default_rng(seed), n, sizes, words)
    content, padding = paper(random.Random(seed), wanted)
    del content["labels"]
    with tempfile.TemporaryDirectory() as folder:
        got = read_unlabeled(save(folder, "data", content, 4))
    assert (got.labels, got.more_labels, got.text) == (None, {}, wanted.text)
    for name in ("audio", "vision"):
        for mine, theirs in zip(got.sequences[name], wanted.sequences[name], strict=True):
            np.testing.assert_array_equal(mine, theirs)
        np.testing.assert_array_equal(got.padding[name], padding[name])


def unlabelled(layout: str, content: Any) -> Any:
    """A split without labels, as someone who has none would write it."""
    if isinstance(content, list):
        return [(features, None, segment) for features, _, segment in content]
    return {name: values for name, values in content.items() if "labels" not in name}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_unlabelled_split_beside_the_others(tmp_path, layout):
    wanted = example(3)
    content, padding = LAYOUTS[layout].write(random.Random(0), wanted)
    splits = dict.fromkeys(("train", "dev", "test"), content)
    for unlabeled in content, unlabelled(layout, content):
        file = save(str(tmp_path), "data", {**splits, "unlabeled": unlabeled}, 4)
        alone = save(str(tmp_path), "alone", {"unlabeled": unlabeled}, 4)
        for got in (read_recordings(file)["unlabeled"], read_unlabeled(file), read_unlabeled(alone)):
            assert (got.labels, got.more_labels) == (None, {})
            check_inputs(layout, got, wanted, padding)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.skipif(not POM.is_dir(), reason=f"no recordings in {POM} (DISENTANGLE_POM)")
def test_real_recordings_in_each_layout(tmp_path, layout):
    real = read_recordings(POM / "pom_unaligned.pkl")["valid"]
    n = len(real)
    wanted = Recordings(
        text=[" ".join(text.split()) for text in real.text],
        sequences={**real.sequences, "glove": [np.full((2, 3), i + 1, np.float32) for i in range(n)]},
        labels=real.labels,
        ids=real.ids,
        more_labels={name: np.full(n, np.nan, np.float32) for name in ("T", "A", "V", "classification", *EMOTIONS)},
    )
    content, padding = LAYOUTS[layout].write(random.Random(0), wanted)
    file = tmp_path / "data.pkl"
    file.write_bytes(pickle.dumps(dict.fromkeys(("train", "dev", "test"), content)))
    check(layout, read_recordings(file)["valid"], wanted, padding)
