"""The metrics of classes, and of a score for one of two classes."""

from __future__ import annotations

import numpy as np

from disentangle.metrics.vectors import Array, vectors

__all__ = ["binary_metrics", "class_metrics"]


def binary_metrics(score: Array, label: Array, *, threshold: float = 0.5) -> dict[str, float | None]:
    """Accuracy, F1 and the area under the ROC curve, of a score for one of two classes.

    Arguments:
        score: The larger, the more likely is class 1, `(N,)`: a probability, or what a regressor predicts for labels 0 and 1.
        label: The true classes, 0 or 1, `(N,)`.
        threshold: The least score that counts as class 1. The area does not depend on it.

    Returns:
        `acc`, `f1_weighted`, `f1_macro` as in `class_metrics`, and `auc`: how often, of two samples from different classes, the
        one of class 1 has the larger score, equal scores counting half; 0.5 for what knows nothing. `None` where all
        samples are of one class.

    Raises:
        ValueError: Where the two are not vectors of the same length, are empty, or hold a value that is not finite; where a
            label is neither 0 nor 1.

    Example:
        >>> metrics = binary_metrics([0.9, 0.4, 0.6, 0.1], [1, 1, 0, 0])
        >>> {name: round(value, 3) for name, value in metrics.items()}
        {'acc': 0.5, 'f1_weighted': 0.5, 'f1_macro': 0.5, 'auc': 0.75}
    """
    from sklearn.metrics import roc_auc_score

    p, y = vectors(score, label)
    other = np.setdiff1d(y, [0.0, 1.0])
    if other.size:
        raise ValueError(f"expected labels 0 and 1, got {other[0]:g} among {y.size}")
    auc = float(roc_auc_score(y, p)) if 0 < y.sum() < y.size else None
    return {**class_metrics(p >= threshold, y), "auc": auc}


def class_metrics(prediction: Array, label: Array) -> dict[str, float | None]:
    """Accuracy and F1 of predicted classes.

    Arguments:
        prediction: The predicted classes, any numbers, `(N,)`.
        label: The true ones, `(N,)`.

    Returns:
        `acc`; `f1_weighted`, the F1 scores of the classes averaged with the weights of the true classes; and `f1_macro`, their
        plain mean over the classes that are true or predicted anywhere: it is low for what always says the same.

    Raises:
        ValueError: Where the two are not vectors of the same length, are empty, or hold a value that is not finite.

    Example:
        >>> metrics = class_metrics([2, 2, 2, 2], [2, 2, 2, 0])
        >>> {name: round(value, 3) for name, value in metrics.items()}
        {'acc': 0.75, 'f1_weighted': 0.643, 'f1_macro': 0.429}
    """
    p, y = vectors(prediction, label)
    f1, true = _f1_of_classes(p, y)
    return {"acc": float((p == y).mean()), "f1_weighted": _mean(f1, true), "f1_macro": float(f1.mean())}


def weighted_f1(p: np.ndarray, y: np.ndarray) -> float:
    """The F1 scores of the classes, averaged with the weights of the true classes."""
    return _mean(*_f1_of_classes(p, y))


def _f1_of_classes(p: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The F1 score of each class that is true or predicted anywhere, and how often it is true.

    The bootstrap calls this thousands of times, which scikit-learn's checks would make ten times slower.
    """
    classes, numbers = np.unique(np.concatenate([p, y]), return_inverse=True)
    p, y = np.split(numbers.reshape(-1), 2)
    hits, said, true = (np.bincount(of, minlength=len(classes)) for of in (y[p == y], p, y))
    return 2 * hits / (said + true), true


def _mean(values: np.ndarray, weights: np.ndarray) -> float:
    return float(np.average(values, weights=weights))
