import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from disentangle.data import expect
from disentangle.errors import DataError

relaxed = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))


def trimmed(frames):
    """The frames of one recording, without padding."""
    start, stop = expect.span(frames)
    (real,), cut = expect.frames("a", [frames])
    np.testing.assert_array_equal(real, frames[start:stop])
    assert cut.tolist() == [[start, len(frames) - stop]]
    return real


def test_padding_by_its_rules():
    nan = np.nan
    frames = np.array([[0, -0.0], [0, nan], [0, 0], [0, 3], [0, 0]], np.float32)
    np.testing.assert_array_equal(trimmed(frames), frames[1:4])
    assert trimmed(np.array([[0.0], [np.inf]])).tolist() == [[np.inf]]
    assert trimmed(np.zeros((4, 3))).shape == (0, 3)
    assert trimmed(np.zeros((0, 3))).shape == (0, 3)
    assert trimmed(np.full((4, 3), -0.0)).shape == (0, 3)


FRAMES = hnp.arrays(
    np.float32,
    st.tuples(st.integers(0, 6), st.integers(1, 3)),
    elements=st.sampled_from([0.0, -0.0, 1.0, -2.5, np.nan, np.inf]),
    fill=st.just(0.0),
)


@relaxed
@given(frames=FRAMES, before=st.integers(0, 3), after=st.integers(0, 3))
def test_padding_against_a_loop(frames, before, after):
    def is_padding(frame: np.ndarray) -> bool:
        return all(float(value) == 0.0 for value in frame)

    rows = list(frames)
    while rows and is_padding(rows[0]):
        rows.pop(0)
    while rows and is_padding(rows[-1]):
        rows.pop()
    wanted = np.array(rows).reshape(-1, frames.shape[1])
    np.testing.assert_array_equal(trimmed(frames), wanted)
    np.testing.assert_array_equal(trimmed(np.pad(frames, ((before, after), (0, 0)))), wanted)


def test_labels_that_float32_makes_equal_are_refused_with_what_to_do():
    seconds = 1.6e9 + np.arange(36)
    wanted = r"^a: 36 different labels become 1 in float32: subtract an offset, or divide by a unit$"
    for labels in (seconds, seconds.astype(np.int64), seconds.tolist()):
        with pytest.raises(DataError, match=wanted):
            expect.labels("a", labels)
    with pytest.raises(DataError, match="3 different labels become 2 "):
        expect.labels("a", np.array([1e5 + 0.001, 1e5 + 0.002, 1e5 + 5]))
    np.testing.assert_array_equal(expect.labels("a", seconds - 1.6e9), np.arange(36, dtype=np.float32))


@pytest.mark.parametrize(
    "labels",
    [
        [0.1 + 0.2, 0.3, 1.0],  # different in their last digit only
        np.random.default_rng(0).uniform(-3, 3, 20000),  # of so many, some are neighbours
        np.random.default_rng(0).normal(80, 10, 20000),
        [2.0],
        [],
    ],
    ids=len,
)
def test_labels_that_differ_by_how_they_were_computed_are_taken(labels):
    np.testing.assert_array_equal(expect.labels("a", np.array(labels, float)), np.array(labels, np.float32))
