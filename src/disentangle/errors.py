"""The errors and warnings of the library. All derive from `DisentangleError`, and each from a built-in one, too."""

from __future__ import annotations

__all__ = [
    "BackboneError",
    "DataError",
    "DataWarning",
    "DisentangleError",
    "EstimatorWarning",
    "NonFiniteError",
    "RunError",
    "SavedModelError",
    "SeedsError",
    "TooFewRowsError",
]


class DisentangleError(Exception):
    """Base of the library's own errors and warnings.

    Wrong arguments raise what Python has for them, such as `ValueError`, and a package that is not installed `ImportError`.

    Example:
        >>> from disentangle.data import read_recordings
        >>> try:
        ...     read_recordings("absent.pkl")
        ... except DisentangleError as error:
        ...     print(error)
        absent.pkl: no such file
    """


class DataError(DisentangleError, ValueError):
    """A data file cannot be used. The message is one line: the file, and what is wrong with it."""


class DataWarning(DisentangleError, UserWarning):
    """Something in a data set is not used, or not known. The message is one line: the file or folder, and what it is."""


class EstimatorWarning(DisentangleError, UserWarning):
    """Less dependence is seen than there is, or more is erased than was meant. The message is one line that says what to do."""


class BackboneError(DisentangleError, RuntimeError):
    """A backbone cannot be had. The message is one line that says what to do."""


class NonFiniteError(DisentangleError, FloatingPointError):
    """Something became NaN or infinite in a step, which was not taken; `names` says what, in the order of computation."""

    def __init__(self, message: str, names: list[str]):
        super().__init__(message)
        self.names = names


class TooFewRowsError(DisentangleError, ValueError):
    """A batch has fewer rows than a dependence needs; the message says how many."""


class RunError(DisentangleError, RuntimeError):
    """A run's folder cannot be used; the message says why, in a line."""


class SavedModelError(DisentangleError, RuntimeError):
    """A saved model cannot be written, loaded or pushed; the message says why, in a line."""


class SeedsError(DisentangleError, RuntimeError):
    """Some seeds failed, or a result cannot be read; the message says which and why, in a line."""
