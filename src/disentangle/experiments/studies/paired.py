"""How two systems differ: over the seeds that both have, and over the rows of the test split."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

__all__ = ["OverSeeds", "interval_of", "less", "over_seeds", "resampled"]

Key = TypeVar("Key", bound=Hashable)
CONFIDENCE = 0.95
ROUNDING = 1e-12  # of a value, what sums in another order may change


class OverSeeds(NamedTuple):
    """A mean of differences over seeds, its interval and the p-values of no difference; `None` where seeds do not tell."""

    mean: float
    interval: tuple[float, float] | None
    p_t: float | None
    p_wilcoxon: float | None


def over_seeds(values: Sequence[float], others: Sequence[float]) -> OverSeeds:
    """The mean of `values - others`, seed by seed, with its 95 % interval by Student's t, a paired t test and Wilcoxon's.

    One difference has neither an interval nor a p-value, nor have differences that are all the same: their spread is unknown.
    What rounding may have made of the values, 1e-12 of the largest, is no difference.

    Example:
        >>> test = over_seeds([0.6, 0.7, 0.8], [0.5, 0.5, 0.5])
        >>> f"{test.mean:.1f} [{test.interval[0]:.2f}, {test.interval[1]:.2f}], p {test.p_t:.2f}, {test.p_wilcoxon:.2f}"
        '0.2 [-0.05, 0.45], p 0.07, 0.25'
    """
    from scipy import stats

    differences = np.subtract(values, others, dtype=float)
    mean = float(less(np.mean(values), np.mean(others)))
    rounding = ROUNDING * float(np.abs([values, others]).max())
    if len(differences) < 2 or np.ptp(differences) <= rounding:
        return OverSeeds(mean, None, None, None)
    test: Any = stats.ttest_1samp(differences, 0.0)
    low, high = test.confidence_interval(CONFIDENCE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy 1.12 warns of differences of 0 and of few seeds
        signed: Any = stats.wilcoxon(np.round(differences / rounding))  # those that are equal but for rounding are ties
    return OverSeeds(mean, (float(low), float(high)), float(test.pvalue), float(signed.pvalue))


def less(values: Any, others: Any) -> np.ndarray:
    """`values - others`, and 0 where rounding alone may have made the difference, 1e-12 of the larger."""
    differences = np.subtract(values, others, dtype=float)
    return np.where(np.abs(differences) <= ROUNDING * np.maximum(np.abs(values), np.abs(others)), 0.0, differences)


def resampled(
    metrics: Callable[[np.ndarray, np.ndarray], Mapping[str, float | None]],
    outcomes: Mapping[Key, np.ndarray],
    labels: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    resamples: int = 2000,
    seed: int = 0,
    progress: bool = False,
) -> dict[Key, dict[str, np.ndarray]]:
    """The metrics of several predictions on resamples of their rows, the same resamples for all: a paired bootstrap.

    Arguments:
        metrics: Measures outcomes beside labels.
        outcomes: The predictions by name, each `(N, K)`, of the same rows.
        labels: The labels of the rows, `(N,)` or `(N, K)`.
        groups: Rows that are drawn together by having one number, `(N,)`; each by itself where it is not given.
        resamples: How many resamples are drawn.
        seed: What they are drawn by.
        progress: Whether to show a progress bar.

    Returns:
        `(resamples,)` by name and metric; NaN where a metric is undefined on a resample.
    """
    from tqdm.auto import tqdm

    generator = np.random.default_rng(seed)
    numbers = np.arange(len(labels)) if groups is None else groups
    together = [np.flatnonzero(numbers == number) for number in np.unique(numbers)]
    found: dict[Key, dict[str, np.ndarray]] = {key: {} for key in outcomes}
    for i in tqdm(range(resamples), unit="resample", disable=not progress, dynamic_ncols=True, leave=False):
        rows = np.concatenate([together[k] for k in generator.integers(len(together), size=len(together))])
        for key, said in outcomes.items():
            for name, value in _measured(metrics, said[rows], labels[rows]).items():
                of = found[key].setdefault(name, np.full(resamples, np.nan))
                of[i] = np.nan if value is None else value
    return found


def interval_of(values: np.ndarray) -> tuple[float, float] | None:
    """The 95 % interval of resampled values by their percentiles; `None` where more than a tenth is undefined."""
    known = values[np.isfinite(values)]
    if not len(known) or len(known) < 0.9 * len(values):
        return None
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _measured(
    metrics: Callable[[np.ndarray, np.ndarray], Mapping[str, float | None]], outcomes: np.ndarray, labels: np.ndarray
) -> Mapping[str, float | None]:
    try:
        return metrics(outcomes, labels)
    except ValueError:  # labels that the whole split would not have, such as a single class
        return {}
