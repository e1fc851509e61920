import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from disentangle.numbers_as_text import for_programs, for_readers, told_apart

FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(FLOAT32)
def test_programs_read_back_the_same_number_in_float32(value):
    assert np.float32(for_programs(value)) == np.float32(value)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), unique=True, max_size=5))
def test_different_numbers_are_different_words(values):
    assert len(set(told_apart(values))) == len(values)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (0.0, "0.000"),
        (-1e-320, "-1.00e-320"),
        (0.1, "0.100"),
        (0.0126, "0.0126"),
        (-0.00061234, "-0.000612"),
        (12.3, "12.300"),
    ],
)
def test_readers_see_three_decimals_or_three_digits(value, wanted):
    assert for_readers(value) == wanted


def test_readers_see_nothing_where_there_is_no_number():
    assert for_readers(float("nan")), for_readers(-np.inf) == ("nan", "-inf")
