"""Scores of how a factor lies along the units of a latent, its columns or its blocks: DCI, gaps, and what they rest on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from disentangle.information.classes import entropy
from disentangle.information.counts import counted_mutual_information
from disentangle.information.neighbors import neighbors_value
from disentangle.information.probe_rows import Folds
from disentangle.information.probes import balanced_accuracy, predictions
from disentangle.information.samples import Variable, as_variable, standardized

__all__ = ["bins", "concentration", "forest", "gap", "information_gap", "threshold_scores"]

TREES, LEAST_IN_LEAF, ROWS_PER_TREE = 50, 5, 1000
BINS = 10


def forest(x: np.ndarray, target: Variable, folds: Folds, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """How important each column is to random forests, `(dim,)` with sum 1, and what these predict for held-out rows.

    The importance of a column is how much of the impurity, or variance, its splits take away, the mean over the forests of
    the folds. Every split may choose among all columns, so that a column without anything to tell gets next to nothing.
    """
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    def make(known: np.ndarray) -> Any:
        limits: dict[str, Any] = {
            "n_estimators": TREES,
            "max_features": None,  # all
            "min_samples_leaf": LEAST_IN_LEAF,
            "max_samples": min(len(known), ROWS_PER_TREE),
            "random_state": seed,
        }
        return (RandomForestRegressor if target.classes is None else RandomForestClassifier)(**limits)

    # in float32 and with a least range, trees would see the unit of a column
    predicted, forests = predictions(standardized(x), target, folds, make)
    return np.mean([trees.feature_importances_ for trees in forests], axis=0), predicted


def concentration(weights: np.ndarray) -> np.ndarray:
    """One minus the entropy of each row's shares, over log k: 1 where one has all, 0 where all of `(rows, k)` have as much.

    k is at least 2. A row of zeros is 0.

    Example:
        >>> concentration(np.array([[2.0, 0.0], [3.0, 3.0], [0.0, 0.0]])).tolist()
        [1.0, 0.0, 0.0]
    """
    from scipy.special import entr

    sums = weights.sum(1, keepdims=True)
    shares = np.divide(weights, sums, out=np.full_like(weights, 1 / weights.shape[1]), where=sums > 0)
    return 1 - entr(shares).sum(1) / math.log(weights.shape[1])


def gap(scores: np.ndarray) -> float:
    """The largest less the second largest of `(k,)` scores, k at least 2."""
    second, first = np.sort(scores)[-2:]
    return float(first - second)


def information_gap(x: np.ndarray, target: Variable) -> float:
    """The gap of the information that the columns of `(rows, dim)` have of a factor, over the factor's entropy.

    A factor of numbers is cut into classes first. Information is corrected for the number of rows; below 0 it counts as 0.
    """
    codes = bins(target.numbers[:, 0].numpy()) if target.classes is None else target.classes
    most = entropy(codes)
    nats = np.array([_nats(column, codes) for column in x.T])
    return gap(nats.clip(0, most)) / most


def bins(numbers: np.ndarray) -> torch.Tensor:
    """The classes of `(rows,)` numbers between their deciles, 0 to 9; fewer where values are repeated that often.

    Example:
        >>> bins(np.arange(20.0)).tolist()
        [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9]
    """
    cuts = np.quantile(numbers, np.linspace(0, 1, BINS + 1)[1:-1])
    # where more than a tenth is the largest value, cutting below it keeps the others apart; likewise above the least
    below, above = (
        np.unique(np.searchsorted(cuts, numbers, side), return_inverse=True)[1] for side in ("left", "right")
    )
    return torch.from_numpy((below if below.max() >= above.max() else above).reshape(-1))


def threshold_scores(x: np.ndarray, target: Variable, folds: Folds) -> np.ndarray:
    """How well each column of `(rows, dim)` alone predicts a factor, `(dim,)`, by a line or by thresholds.

    Of numbers it is the squared correlation. Of classes it is the balanced accuracy, on held-out rows, of calling the class
    whose mean is nearest.
    """
    if target.classes is None:
        centered, t = x - x.mean(0), target.numbers[:, 0].numpy()
        covariance = centered.T @ (t - t.mean()) / len(t)
        variances = centered.var(0) * t.var()
        return np.divide(covariance**2, variances, out=np.zeros(x.shape[1]), where=variances > 0)
    codes = target.classes.numpy()
    called = np.zeros((len(x), x.shape[1]), int)
    for train, test in folds:
        known, of_class = np.unique(codes[train], return_inverse=True)
        sums = np.zeros((len(known), x.shape[1]))
        np.add.at(sums, of_class, x[train])
        means = sums / np.bincount(of_class)[:, None]
        for j, column in enumerate(x[test].T):
            called[test, j] = known[np.abs(column[:, None] - means[:, j]).argmin(1)]
    return np.array([balanced_accuracy(codes, column) for column in called.T])


def _nats(column: np.ndarray, codes: torch.Tensor) -> float:
    if np.ptp(column) == 0:
        return 0.0
    side = as_variable("column", column)
    if side.classes is not None:
        return counted_mutual_information(side.classes, codes).value
    return neighbors_value(column[:, None], codes.numpy())
