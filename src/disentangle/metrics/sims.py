"""The metrics of CH-SIMS, whose labels are sentiments in [-1, 1].

Two, three and five classes lie between thresholds of their own: 0; ±0.1; ±0.1 and ±0.7. What equals a threshold belongs to the
class below it, so that a neutral utterance, label 0, is "not positive" of two, and neutral of three and five.
"""

from __future__ import annotations

import numpy as np

from disentangle.metrics.classes import weighted_f1
from disentangle.metrics.sentiment import corr, mae
from disentangle.metrics.vectors import Array, vectors

__all__ = ["acc2_sims", "acc3_sims", "acc5_sims", "f1_sims", "sims_metrics"]

TWO, THREE, FIVE = (0.0,), (-0.1, 0.1), (-0.7, -0.1, 0.1, 0.7)


def sims_metrics(prediction: Array, label: Array) -> dict[str, float | None]:
    """All metrics of sentiments in [-1, 1] on one set of samples.

    The error and the correlation are those of the predictions as they are. The data set's own code clips them to [-1, 1] first,
    which makes no difference to the classes.

    References:
        Yu et al., CH-SIMS: A Chinese Multimodal Sentiment Analysis Dataset with Fine-grained Annotation of Modality, ACL 2020;
        thresholds as in the evaluation that its authors publish

    Arguments:
        prediction: Predicted sentiments, `(N,)`: a tensor on any device, an array or a list.
        label: True sentiments, `(N,)`.

    Returns:
        `mae`, `corr`, `acc2_sims`, `f1_sims`, `acc3_sims`, `acc5_sims`, in this order, as Python floats; `None` for `corr` of a
        constant.

    Raises:
        ValueError: Where the two are not vectors of the same length, are empty, or hold a value that is not finite.

    Example:
        >>> metrics = sims_metrics([0.5, -0.2, 0.1, -0.9], [0.8, -0.6, 0.0, -0.6])
        >>> {name: round(value, 3) for name, value in metrics.items()}
        {'mae': 0.275, 'corr': 0.859, 'acc2_sims': 0.75, 'f1_sims': 0.767, 'acc3_sims': 1.0, 'acc5_sims': 0.5}
    """
    p, y = vectors(prediction, label)
    functions = (mae, corr, acc2_sims, f1_sims, acc3_sims, acc5_sims)
    return {function.__name__: function(p, y) for function in functions}


def acc2_sims(prediction: Array, label: Array) -> float:
    """Accuracy over two classes, positive or not: (-∞, 0] and (0, ∞).

    Example:
        >>> acc2_sims([-0.4, 0.1, 0.0], [0.0, 0.2, 0.2])
        0.6666666666666666
    """
    return _accuracy(prediction, label, TWO)


def f1_sims(prediction: Array, label: Array) -> float:
    """The F1 score of the two classes of `acc2_sims`, averaged with the weights of the true classes.

    Example:
        >>> f1_sims([-0.4, 0.1, 0.3], [0.0, 0.2, 0.2])
        1.0
    """
    p, y = vectors(prediction, label)
    return weighted_f1(_between(p, TWO), _between(y, TWO))


def acc3_sims(prediction: Array, label: Array) -> float:
    """Accuracy over three classes: negative (-∞, -0.1], neutral (-0.1, 0.1], positive (0.1, ∞).

    Example:
        >>> acc3_sims([-0.1, 0.1, 0.2], [-0.4, 0.0, 0.0])
        0.6666666666666666
    """
    return _accuracy(prediction, label, THREE)


def acc5_sims(prediction: Array, label: Array) -> float:
    """Accuracy over five classes: (-∞, -0.7], (-0.7, -0.1], (-0.1, 0.1], (0.1, 0.7], (0.7, ∞).

    Example:
        >>> acc5_sims([-0.7, 0.7, 0.2], [-1.0, 0.6, 0.8])
        0.6666666666666666
    """
    return _accuracy(prediction, label, FIVE)


def _accuracy(prediction: Array, label: Array, thresholds: tuple[float, ...]) -> float:
    p, y = vectors(prediction, label)
    return float((_between(p, thresholds) == _between(y, thresholds)).mean())


def _between(values: np.ndarray, thresholds: tuple[float, ...]) -> np.ndarray:
    """How many thresholds a value is above; in float32, so that a label 0.1 of a file is no more than 0.1."""
    with np.errstate(over="ignore"):
        return np.searchsorted(np.array(thresholds, np.float32), values.astype(np.float32), side="left")
