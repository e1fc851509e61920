"""The metrics of multimodal sentiment analysis, each under a name that says which of its variants it is.

Labels are sentiments in [-3, 3], as in CMU-MOSI and CMU-MOSEI; other labels have other metrics, see `label_scale`. Papers
report "Acc-2", and mean one of two things: with neutral utterances, counted as positive (`has0`), or without them
(`non0`); the two differ by several points. Mean absolute error and correlation are over all samples, those with label 0
too, and say something of any numbers. A metric that is undefined on the given samples is `None`, `null` in JSON.
"""

from __future__ import annotations

import numpy as np

from disentangle.metrics.classes import weighted_f1
from disentangle.metrics.vectors import Array, vectors

__all__ = [
    "acc2_has0",
    "acc2_non0",
    "acc5",
    "acc7",
    "corr",
    "f1_has0",
    "f1_non0",
    "mae",
    "sentiment_metrics",
]

# Fewer labels than these may look like others by chance.
FEW = 10


def sentiment_metrics(prediction: Array, label: Array) -> dict[str, float | None]:
    """All metrics of sentiments in [-3, 3] on one set of samples.

    References:
        Qian et al., MIRD, section 4.3

    Arguments:
        prediction: Predicted sentiments, `(N,)`: a tensor on any device, an array or a list.
        label: True sentiments, `(N,)`.

    Returns:
        `mae`, `corr`, `acc2_has0`, `acc2_non0`, `f1_has0`, `f1_non0`, `acc5`, `acc7`, in this order, as Python floats.
        `None` where undefined: `corr` of a constant, the two `non0` where every label is 0.

    Raises:
        ValueError: Where the two are not vectors of the same length, are empty, or hold a value that is not finite; where
            labels are no sentiments in [-3, 3]: some are beyond it, or 10 and more are whole numbers and none is negative, such
            as 0 and 1, all of which are "not negative" to `acc2_has0`, as is whatever predicts them.

    Example:
        >>> metrics = sentiment_metrics([1.2, -0.4, 0.1, -2.5], [1.0, 0.0, 0.0, -3.0])
        >>> {name: round(value, 3) for name, value in metrics.items()}
        {'mae': 0.3, 'corr': 0.98, 'acc2_has0': 0.75, 'acc2_non0': 1.0,
         'f1_has0': 0.767, 'f1_non0': 1.0, 'acc5': 1.0, 'acc7': 0.75}
    """
    p, y = vectors(prediction, label)
    whole = y.size >= FEW and np.ptp(y) > 0 and (y == np.rint(y)).all()
    if np.abs(y).max() > 3 * (1 + 1e-6) or (whole and y.min() >= 0):
        raise ValueError(
            f"expected sentiments in [-3, 3], got {y.size} {'whole numbers' if whole else 'labels'} from {y.min():g} to "
            f"{y.max():g}; label_scale(training labels).metrics(prediction, label) gives the metrics that fit"
        )
    return of_sentiments(p, y)


def of_sentiments(prediction: Array, label: Array) -> dict[str, float | None]:
    """`sentiment_metrics` of labels that are known to be sentiments, whatever these few are."""
    p, y = vectors(prediction, label)
    functions = (mae, corr, acc2_has0, acc2_non0, f1_has0, f1_non0, acc5, acc7)
    return {function.__name__: function(p, y) for function in functions}


def mae(prediction: Array, label: Array) -> float:
    """The mean absolute error over all samples; arguments and errors as in `sentiment_metrics`.

    Example:
        >>> mae([1.0, -1.0], [2.0, -1.0])
        0.5
    """
    p, y = vectors(prediction, label)
    return float(np.abs(p - y).mean())


def corr(prediction: Array, label: Array) -> float | None:
    """Pearson's correlation over all samples; `None` for fewer than two, or where one side is constant up to rounding, of
    fractions in float32 up to that of a network.

    Example:
        >>> round(corr([1.0, 2.0, 3.0], [1.0, 2.0, 4.0]), 4)
        0.982
        >>> corr([0.3, 0.3, 0.3], [1.0, 2.0, 4.0]) is None
        True
    """
    given, known = vectors(prediction, label)
    p, y = _direction(given, np.abs(known).max()), _direction(known, 0.0)
    return None if p is None or y is None else float(np.clip(p @ y, -1.0, 1.0))


def acc2_has0(prediction: Array, label: Array) -> float:
    """Binary accuracy over all samples, negative against not negative: `prediction >= 0` where `label >= 0`.

    Example:
        >>> acc2_has0([0.5, -0.5, 0.0, -1.0], [1.0, 0.0, 0.0, -2.0])
        0.75
    """
    p, y = vectors(prediction, label)
    return float(((p >= 0) == (y >= 0)).mean())


def acc2_non0(prediction: Array, label: Array) -> float | None:
    """Binary accuracy over the samples whose label is not 0: `prediction > 0` where `label > 0`; `None` without any.

    Example:
        >>> acc2_non0([0.5, -0.5, 0.0, -1.0], [1.0, 0.0, 2.0, -2.0])
        0.6666666666666666
    """
    p, y = _without_neutral(*vectors(prediction, label))
    return float(((p > 0) == (y > 0)).mean()) if y.size else None


def f1_has0(prediction: Array, label: Array) -> float:
    """The F1 score of the two classes of `acc2_has0`, averaged with the weights of the true classes.

    Example:
        >>> f1_has0([0.5, -0.5, -1.0], [1.0, -1.0, -2.0])
        1.0
    """
    p, y = vectors(prediction, label)
    return weighted_f1(p >= 0, y >= 0)


def f1_non0(prediction: Array, label: Array) -> float | None:
    """The F1 score of the two classes of `acc2_non0`, averaged with the weights of the true classes, or `None`.

    Example:
        >>> f1_non0([0.5, -0.5, 1.0], [1.0, -1.0, 0.0])
        1.0
    """
    p, y = _without_neutral(*vectors(prediction, label))
    return weighted_f1(p > 0, y > 0) if y.size else None


def acc5(prediction: Array, label: Array) -> float:
    """Accuracy over five classes: both sides clipped to [-2, 2] and rounded, halves to the even number.

    Example:
        >>> acc5([0.5, 2.9, -1.4], [0.0, 2.0, -2.0])
        0.6666666666666666
    """
    return _rounded_accuracy(prediction, label, 2)


def acc7(prediction: Array, label: Array) -> float:
    """Accuracy over seven classes: both sides clipped to [-3, 3] and rounded, halves to the even number.

    Example:
        >>> acc7([0.5, 2.9, -1.4], [0.0, 2.0, -1.0])
        0.6666666666666666
    """
    return _rounded_accuracy(prediction, label, 3)


def _without_neutral(p: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return p[y != 0], y[y != 0]


def _direction(values: np.ndarray, among: float) -> np.ndarray | None:
    """The centred vector with length 1; `None` where nothing but rounding is left of it.

    What fits in float32, and is not all whole numbers, which are exact, is taken for what a network says, also where it came
    as float64, as from the file of a run. It was summed from numbers as large as it is, or, where it is one number that
    rounding made a few of, as what it was to be, `among`: these can cancel.
    """
    centered = values - values[0]  # exact for a constant, whose mean would be off by a rounding
    centered = centered - centered.mean()
    size, largest = np.abs(centered).max(), np.abs(values).max()
    with np.errstate(over="ignore"):
        fits = np.array_equal(values, values.astype(np.float32))
    exact = largest < 2**23 and np.array_equal(values, np.rint(values))  # beyond, float32 has no others
    rounding = 4 * np.finfo(float).eps * largest
    if fits and not exact:
        few = 2 * len(np.unique(values)) <= len(values)
        rounding = 64 * np.finfo(np.float32).eps * (max(largest, among) if few else largest)
    if size <= rounding:
        return None
    centered = centered / size  # squares neither overflow nor vanish
    return centered / np.linalg.norm(centered)


def _rounded_accuracy(prediction: Array, label: Array, bound: int) -> float:
    p, y = vectors(prediction, label)
    return float((np.rint(p.clip(-bound, bound)) == np.rint(y.clip(-bound, bound))).mean())
