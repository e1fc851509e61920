"""How well a target can be read from a source by a linear map, and by a small network, on rows that they have not seen."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np

from disentangle.information.probe_models import model_of_classes, model_of_numbers
from disentangle.information.probe_rows import Folds, rows_for
from disentangle.information.samples import Samples, Variable

__all__ = ["ClassProbe", "NumberProbe", "Probes", "probe_classes", "probe_numbers"]

Kind = Literal["linear", "neural"]


@dataclass(frozen=True)
class NumberProbe:
    """How well numbers were predicted on rows that the probe had not seen.

    Attributes:
        kind: What predicted them: "linear", "neural" or "forest".
        r2: The share of the variance that was predicted, the mean over the target's columns. It is not clipped: 1 is
            perfect, 0 as good as the mean, below 0 worse than it.
        standard_error: Of `r2`, over the held-out rows; the fitted probe is taken as given.
        rows: How many rows were held out.

    Example:
        >>> print(NumberProbe("linear", 0.25, 0.05, 200))
        R² 0.250 ± 0.050 (linear, 200 held-out rows)
    """

    kind: str
    r2: float
    standard_error: float
    rows: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval by the standard error."""
        return self.r2 - 1.96 * self.standard_error, self.r2 + 1.96 * self.standard_error

    def __str__(self) -> str:
        return f"R² {self.r2:z.3f} ± {self.standard_error:z.3f} ({self.kind}, {self.rows} held-out rows)"


@dataclass(frozen=True)
class ClassProbe:
    """How well classes were predicted on rows that the probe had not seen.

    Attributes:
        kind: What predicted them: "linear", "neural" or "forest".
        accuracy: The share of rows whose class was predicted.
        chance: The share of the most frequent class: the accuracy of always saying it.
        balanced_accuracy: The mean over the classes of the share of their rows that was predicted; chance is
            one divided by the number of classes.
        auc: The area under the ROC curve, 0.5 by chance: of two rows, one in a class and one not, how often the one in it
            gets the higher probability of it. The mean over the classes, which for two is the area for either.
        classes: How many classes there are.
        rows: How many rows were held out.

    Example:
        >>> print(ClassProbe("neural", 0.75, 0.5, 0.75, 0.8, 2, 100))
        accuracy 0.750 ± 0.043, chance 0.500, balanced 0.750, AUC 0.800 (neural, 100 held-out rows)
        >>> low, high = ClassProbe("neural", 1.0, 0.5, 1.0, 1.0, 2, 100).interval
        >>> round(low, 3), round(high, 3)
        (0.963, 1.0)
    """

    kind: str
    accuracy: float
    chance: float
    balanced_accuracy: float
    auc: float
    classes: int
    rows: int

    @property
    def standard_error(self) -> float:
        """Of the accuracy, over the held-out rows; the fitted probe is taken as given."""
        return math.sqrt(self.accuracy * (1 - self.accuracy) / self.rows)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the accuracy, by Wilson's score, which is not empty where every row is right."""
        from scipy.stats import binomtest

        low, high = binomtest(round(self.accuracy * self.rows), self.rows).proportion_ci(method="wilson")
        return float(low), float(high)

    def __str__(self) -> str:
        return (
            f"accuracy {self.accuracy:.3f} ± {self.standard_error:.3f}, chance {self.chance:.3f}, "
            f"balanced {self.balanced_accuracy:.3f}, AUC {self.auc:.3f} ({self.kind}, {self.rows} held-out rows)"
        )


class Probes(NamedTuple):
    """What a linear and a neural probe read of the same target, from the same rows.

    As text: R² of the linear and of the neural probe, or of classes their accuracies, and chance in brackets.
    """

    linear: NumberProbe | ClassProbe
    neural: NumberProbe | ClassProbe

    def __str__(self) -> str:
        values = " / ".join(f"{p.r2 if isinstance(p, NumberProbe) else p.accuracy:z.2f}" for p in self)
        return f"{values} ({self.linear.chance:.2f})" if isinstance(self.linear, ClassProbe) else values


def probe_numbers(
    source: Samples,
    target: Samples,
    *,
    test: tuple[Samples, Samples] | None = None,
    kind: Kind = "neural",
    groups: Samples | None = None,
    seed: int = 0,
) -> NumberProbe:
    r"""How well a target of numbers can be read from a source: R² on rows that the probe has not seen.

    .. math:: R^2 = \frac{1}{d}\sum_{j=1}^{d}
              \left(1 - \frac{\sum_i (t_{ij} - \hat t_{ij})^2}{\sum_i (t_{ij} - \bar t_j)^2}\right)

    With `test`, the probe is fitted to source and target and predicts the rows of `test`. Without, the rows are split into
    two halves, and a probe fitted to each predicts the other. Sources are standardised by the rows that are fitted to.

    - `"linear"`: a ridge regression, its strength chosen by leave-one-out among those rows.
    - `"neural"`: a network of two hidden layers of 64, stopped where it is best on 15 % of those rows.

    A low value means that this probe did not find it, not that it is not there. Of a source that carries noise, as
    `disentangle.nn.NoisyLatent` makes, give several draws of each row: a probe that learns from one reads less than there
    is. It then learns from all of them, is asked about each draw of the held-out rows, and all draws of a row are on one side.

    Arguments:
        source: `(rows, source_dim)` or `(rows,)`, or draws of the noise of all rows, `(draws, rows, source_dim)`; on any
            device.
        target: `(rows, target_dim)` or `(rows,)`. Columns that are constant in the held-out rows are left out.
        test: Source and target of the held-out rows, if these are given, with as many draws. They are used as they are.
        kind: Which probe.
        groups: `(rows,)`: rows that are no independent draws, near-copies of one clip say, have the same value. One row
            of each is used. Rows that are copies of others are used once in any case.
        seed: Draws the halves and the network's weights.

    Returns:
        R² with its standard error.

    Raises:
        ValueError: Where source and target do not have the same number of rows, hold a value that is not finite, have fewer
            than 4 rows, or every target column is constant; where `test` has other columns or draws, or is given with
            `groups`.

    Example:
        >>> import torch
        >>> x = torch.rand(400, 1, generator=torch.Generator().manual_seed(0)) * 2 - 1
        >>> probe_numbers(x, x.square(), kind="linear").r2 < 0.1 < 0.9 < probe_numbers(x, x.square()).r2
        True
        >>> z = torch.stack([x + torch.randn(400, 1) for _ in range(10)])  # ten draws of the noise of each row
        >>> probe_numbers(z, x, kind="linear").rows
        400
    """
    x, variable, folds, draws = rows_for(source, target, test=test, target_is_classes=False, groups=groups, seed=seed)
    return read_numbers(x, variable, folds, kind, seed, draws)


def probe_classes(
    source: Samples,
    target: Samples,
    *,
    test: tuple[Samples, Samples] | None = None,
    kind: Kind = "neural",
    groups: Samples | None = None,
    seed: int = 0,
) -> ClassProbe:
    """How well classes can be read from a source: accuracy, beside chance, on rows that the probe has not seen.

    With `test`, the probe is fitted to source and target and predicts the rows of `test`. Without, the rows are split into
    two halves with as many of each class, and a probe fitted to each predicts the other. Sources are standardised by the
    rows that are fitted to. A class that no row among those has is never predicted.

    - `"linear"`: a logistic regression.
    - `"neural"`: a network of two hidden layers of 64, trained for 100 epochs.

    A value near chance means that this probe did not find it, not that it is not there. Of a source
    that carries noise give several draws of each row, as for `probe_numbers`.

    Arguments:
        source: `(rows, source_dim)` or `(rows,)`, or draws of the noise of all rows, `(draws, rows, source_dim)`; on any
            device.
        target: `(rows,)` of names, booleans or numbers, each different value a class, or one-hot rows.
        test: Source and target of the held-out rows, if these are given, with as many draws. They are used as they are.
        kind: Which probe.
        groups: `(rows,)`: rows that are no independent draws, near-copies of one clip say, have the same value. One row
            of each is used. Rows that are copies of others are used once in any case.
        seed: Draws the halves and the network's weights.

    Returns:
        Accuracy, chance, balanced accuracy and the area under the ROC curve.

    Raises:
        ValueError: Where source and target do not have the same number of rows, hold a value that is not finite, have fewer
            than 4 rows, or the held-out rows are of one class; where there are more classes than one in two rows, as of
            numbers; where `test` has other columns or draws, or is given with `groups`.

    Example:
        >>> import torch
        >>> x = torch.randn(600, 4, generator=torch.Generator().manual_seed(0))
        >>> speaker = ["anna" if same else "ben" for same in x[:, 0] * x[:, 1] > 0]
        >>> found = probe_classes(x[:400], speaker[:400], test=(x[400:], speaker[400:]))
        >>> found.accuracy > 0.8 > 0.6 > found.chance
        True
    """
    x, variable, folds, draws = rows_for(source, target, test=test, target_is_classes=True, groups=groups, seed=seed)
    return read_classes(x, variable, folds, kind, seed, draws)


def record_of(probe: NumberProbe | ClassProbe) -> dict[str, Any]:
    """A probe as plain values, with standard error and interval."""
    return {**asdict(probe), "standard_error": probe.standard_error, "interval": list(probe.interval)}


def both_probes(x: np.ndarray, target: Variable, folds: Folds, seed: int, draws: int = 1) -> Probes:
    """What both kinds of probe read of numbers or classes, `x` as `(rows, dim)`, each row in all of its draws."""
    read = read_numbers if target.classes is None else read_classes
    return Probes(*(read(x, target, folds, kind, seed, draws) for kind in ("linear", "neural")))


def read_numbers(x: np.ndarray, target: Variable, folds: Folds, kind: Kind, seed: int, draws: int = 1) -> NumberProbe:
    """What a probe reads of numbers, from rows that each stand there in all of their draws."""
    return probed_numbers(held_out(x, target, folds, kind, seed, draws), target, folds, kind, draws)


def read_classes(x: np.ndarray, target: Variable, folds: Folds, kind: Kind, seed: int, draws: int = 1) -> ClassProbe:
    """What a probe reads of classes, likewise."""
    return probed_classes(held_out(x, target, folds, kind, seed), target, folds, kind, draws)


def held_out(x: np.ndarray, target: Variable, folds: Folds, kind: Kind, seed: int, draws: int = 1) -> np.ndarray:
    """What a probe predicts for the held-out rows: numbers `(rows, dim)`, or probabilities `(rows, classes)`."""
    model = model_of_classes if target.classes is not None else partial(model_of_numbers, draws=draws)
    return predictions(x, target, folds, lambda known: model(kind, known, seed))[0]


def predictions(
    x: np.ndarray, target: Variable, folds: Folds, make: Callable[[np.ndarray], Any]
) -> tuple[np.ndarray, list[Any]]:
    """What models predict for the held-out rows, other rows being 0, and the models.

    `make` makes a model from what is known of the rows that it is to be fitted to.
    """
    from sklearn import config_context  # what was read is checked again in every step of a network otherwise
    from sklearn.exceptions import ConvergenceWarning

    known = target.numbers.numpy() if target.classes is None else target.classes.numpy()
    predicted = np.zeros((len(x), known.shape[1] if target.classes is None else known.max() + 1))
    known = known[:, 0] if known.ndim == 2 and known.shape[1] == 1 else known
    models = []
    for train, test in folds:
        with warnings.catch_warnings(), config_context(assume_finite=True, skip_parameter_validation=True):
            warnings.simplefilter("ignore", ConvergenceWarning)  # a network's epochs are limited on purpose
            model = make(known[train]).fit(x[train], known[train])
            if target.classes is None:
                predicted[test] = model.predict(x[test]).reshape(len(test), -1)
            else:
                predicted[np.ix_(test, model.classes_)] = model.predict_proba(x[test])
        models.append(model)
    return predicted, models


def probed_numbers(predicted: np.ndarray, target: Variable, folds: Folds, kind: str, draws: int = 1) -> NumberProbe:
    """The score of predictions `(rows, dim)`, where each row may stand there in several draws."""
    test = np.concatenate([part for _, part in folds])
    t, predicted = target.numbers.numpy()[test], predicted[test]
    varying = np.ptp(t, axis=0) > 0
    if not varying.any():
        raise ValueError("expected a target that varies, got one that is constant")
    t, predicted = t[:, varying], predicted[:, varying]
    mean, size = t.mean(0), t.std(0)
    squares, errors = np.square((t - mean) / size), np.square((t - predicted) / size)  # the squares have mean 1
    terms = (errors - errors.mean(0) * squares).mean(1)
    rows = len(t) // draws
    if draws > 1:  # those of one row are no independent terms
        terms = np.bincount(np.unique(test % (len(target.numbers) // draws), return_inverse=True)[1], terms) / draws
    return NumberProbe(kind, float(1 - errors.mean()), float(terms.std()) / math.sqrt(rows), rows)


def probed_classes(probabilities: np.ndarray, target: Variable, folds: Folds, kind: str, draws: int = 1) -> ClassProbe:
    """The score of probabilities `(rows, classes)`, where each row may stand there in several draws."""
    assert target.classes is not None
    test = np.concatenate([part for _, part in folds])
    known, predicted = target.classes.numpy()[test], probabilities[test].argmax(1)
    counts = np.bincount(known, minlength=probabilities.shape[1])
    if counts.max() == len(known):
        raise ValueError("expected a target of two classes or more in the held-out rows, got one class")
    return ClassProbe(
        kind,
        accuracy=float((known == predicted).mean()),
        chance=float(counts.max() / len(known)),
        balanced_accuracy=balanced_accuracy(known, predicted),
        auc=_area(probabilities, target.classes.numpy(), folds),
        classes=len(counts),
        rows=len(known) // draws,
    )


def balanced_accuracy(known: np.ndarray, predicted: np.ndarray) -> float:
    """The mean over the classes of the share of their rows that was predicted."""
    from sklearn.metrics import recall_score

    return float(recall_score(known, predicted, labels=np.unique(known), average="macro"))


def _area(probabilities: np.ndarray, known: np.ndarray, folds: Folds) -> float:
    """The mean over classes and folds: what two models call probable is not compared."""
    from sklearn.metrics import roc_auc_score

    areas = []
    for _, test in folds:
        for k in np.unique(known[test]):
            of_class = known[test] == k
            if not of_class.all():
                areas.append(roc_auc_score(of_class, probabilities[test, k]))
    return float(np.mean(areas)) if areas else 0.5
