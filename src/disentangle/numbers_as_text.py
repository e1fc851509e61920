"""How numbers are written: short for readers, apart where they differ, and so that programs read them back."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

__all__ = ["for_programs", "for_readers", "or_dash", "told_apart"]

ENOUGH = 17  # digits, for any number in double precision
MOST = 8  # decimals, behind which powers of ten are easier to read


def for_readers(value: float, decimals: int = 3, *, beside: float = 0.0, signed: bool = False) -> str:
    """A number with so many decimals, or, below 0.1, with three significant digits.

    Arguments:
        value: The number.
        decimals: How many decimals it has at least.
        beside: A number that it stands beside: the larger of the two decides how many decimals both have.
        signed: Whether a number that is not below 0 has its "+".

    Example:
        >>> for_readers(0.75), for_readers(0.000612), for_readers(0.00002, beside=0.000612), for_readers(0.0)
        ('0.750', '0.000612', '0.000020', '0.000')
        >>> for_readers(1.5e-9), for_readers(1234.5), for_readers(0.75, 2, signed=True)
        ('1.50e-09', '1234.500', '+0.75')
    """
    sign, largest = "+" * signed, max(abs(value), abs(beside))
    if not 0 < largest < 0.1:
        return f"{value:{sign}z.{decimals}f}"
    wanted = 2 - int(f"{largest:e}".partition("e")[2])
    return f"{value:{sign}z.{wanted}f}" if wanted <= MOST else f"{value:{sign}.2e}"


def or_dash(value: float | None) -> str:
    """A number for readers, or a dash where there is none.

    Example:
        >>> or_dash(0.75), or_dash(None)
        ('0.750', '-')
    """
    return "-" if value is None else for_readers(value)


def told_apart(values: Iterable[float] | np.ndarray) -> list[str]:
    """Different numbers as different words: with six digits, or as many more as that takes.

    Example:
        >>> told_apart([0.0, 2.5]), told_apart([1600000000.0, 1600000128.0])
        (['0', '2.5'], ['1.6e+09', '1.6000001e+09'])
    """
    numbers = [float(value) for value in values]
    for digits in range(6, ENOUGH):
        words = [f"{number:.{digits}g}" for number in numbers]
        if len(set(words)) == len(set(numbers)):
            return words
    return [f"{number:.{ENOUGH}g}" for number in numbers]


def for_programs(value: float | np.floating) -> str:
    """A number in float32 with the fewest digits that give it back.

    Example:
        >>> for_programs(np.float32(0.1)), for_programs(2.0), for_programs(-0.0), for_programs(1e-6)
        ('0.1', '2', '0', '1e-06')
    """
    return str(np.float32(value) + np.float32(0)).removesuffix(".0")
