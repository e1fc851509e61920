"""The automatic choice: a copula, what a critic adds to it on held-out rows, and neighbours, of matched columns or of all.

Each of the four reads too low where it does not fit, hardly ever too high: the largest is the closest. Neighbours of all
columns are for few of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from disentangle.dependence import Bound
from disentangle.information.classes import classifier_mutual_information, entropy
from disentangle.information.columns import column_mutual_information
from disentangle.information.coordinates import Margins, best_margins, folds_of
from disentangle.information.copula import EllipticalCopula, quantiles, uniform_ranks
from disentangle.information.correction import Correction, fit_correction
from disentangle.information.counts import counted_mutual_information
from disentangle.information.gaussian import correlation_noise, gaussian_mutual_information
from disentangle.information.neighbors import neighbors_of, neighbors_value
from disentangle.information.result import SIGNIFICANT, MutualInformation, standard_error
from disentangle.information.samples import Variable

__all__ = ["INFINITE", "automatic_mutual_information"]

BLOCK = 1000  # rows whose pairs are scored at once, to read off those that belong together
COMPARED = 2  # of the folds, with what half of the rows learns
FEWEST_ROWS = 200  # for a critic
STEPS = 150  # that it learns for, at most
NEIGHBOR_ROWS = 100  # at least: below, their standard error is far too small
NEIGHBOR_DIMENSIONS = 6  # of x and y together, at most
OF_NEIGHBORS = 3.0  # the same of neighbours, whose error is too small, and of columns, the best of many
UNLIKELY = 3.0  # the same of a copula, where held-out rows show nothing
SMALL = 100  # rows at which twice as many of these are wanted
ROUNDING = 1e-12  # of a standard error that is 0
GROWTH, GROWTH_OF_GAIN = 0.04, 0.25  # from half of the rows to all: of the value, of what the critic adds

COPULA = Bound(
    "neither", "the copula of x and y is not that of a Gaussian or Student distribution: it is exact where it is"
)
CRITIC = Bound("lower", "the rows are drawn independently")
GROWING = "half of the rows show {:.2g} nats less: with more rows than these the value would be higher"
NOT_HELD = "on held-out rows the copula tells {:z.2g} nats, nothing: it may not fit, do not trust the value"
UNSURE = "nearest neighbours show {:.2g} ± {:.1g} nats, which so few rows may by chance: more rows would tell"
INFINITE = "some direction of y is a function of x: the information is infinite, unless rounding or few values limit it"


def automatic_mutual_information(x: Variable, y: Variable, seed: int) -> MutualInformation:
    """The estimate for rows that are all different; see `disentangle.estimate_mutual_information`."""
    if x.classes is None and y.classes is None:
        return _of_numbers(x, y, seed)
    if x.classes is not None and y.classes is not None:
        return _of_pairs_of_classes(x, y, seed)
    return _of_classes(y, x, "x", seed) if y.classes is None else _of_classes(x, y, "y", seed)


def _of_numbers(x: Variable, y: Variable, seed: int) -> MutualInformation:
    generator = torch.Generator().manual_seed(seed)
    columns, margins = best_margins(x, y, generator)
    estimate = _by_copula(margins)
    if math.isinf(estimate.value):
        return estimate
    rows, dimensions = estimate.rows, margins.normal[0].shape[1] + margins.normal[1].shape[1]
    drawn, correction = generator.get_state(), None
    steps = STEPS if dimensions > 2 else 0  # of two columns neighbours find what a critic finds, in a tenth of the time
    if rows >= FEWEST_ROWS:
        correction = fit_correction(folds_of(margins, generator), generator, steps)
        estimate = _with_critic(estimate, margins, correction)
        if dimensions > 2:
            by_columns = column_mutual_information(*columns.normal, least=max(estimate.value, 0.0))
            estimate = _larger(estimate, by_columns, _of_neighbors(rows))
    if rows >= NEIGHBOR_ROWS and dimensions <= NEIGHBOR_DIMENSIONS:
        estimate = _with_neighbors(estimate, *margins.normal)
    if correction is not None and estimate.bound is CRITIC:
        generator.set_state(drawn)  # the same rows are held out
        half = fit_correction(folds_of(margins, generator, 0.5)[:COMPARED], generator, steps)
        estimate = replace(estimate, warnings=tuple(_growth(estimate.value, correction, half)))
    return replace(estimate, warnings=(*estimate.warnings, *_warnings(estimate, dimensions)))


def _of_pairs_of_classes(x: Variable, y: Variable, seed: int) -> MutualInformation:
    """The estimate of counts, or what both tell as numbers, if they are some and it is more."""
    assert x.classes is not None
    assert y.classes is not None
    estimate = counted_mutual_information(x.classes, y.classes)
    if x.order is None or y.order is None or min(int(x.classes.max()), int(y.classes.max())) <= 1:
        return estimate
    return _or_as_numbers(
        estimate, Variable(x.order), Variable(y.order), min(entropy(x.classes), entropy(y.classes)), seed
    )


def _or_as_numbers(estimate: MutualInformation, x: Variable, y: Variable, most: float, seed: int) -> MutualInformation:
    """The estimate, or that of classes as numbers, `most` at the largest, where these tell more."""
    if estimate.value >= 0.9 * most:
        return estimate
    found = _of_numbers(x, y, seed)
    return _larger(estimate, replace(found, value=min(found.value, most)))


def _of_classes(numbers: Variable, classes: Variable, name: str, seed: int) -> MutualInformation:
    """The estimate for numbers and the classes of the variable called `name`."""
    assert classes.classes is not None
    codes, most = classes.classes, entropy(classes.classes)
    rows, count = len(codes), int(codes.max()) + 1
    scores = quantiles(uniform_ranks(numbers.numbers), math.inf)
    estimate = classifier_mutual_information(numbers.numbers, codes, seed)
    if name == "x":  # these would be the likelihoods of x
        estimate = replace(estimate, log_likelihood=None, marginal_log_likelihood=None)
    if rows >= NEIGHBOR_ROWS and scores.shape[1] <= NEIGHBOR_DIMENSIONS:
        found = neighbors_of(Variable(scores), classes, least=estimate.value)
        estimate = _larger(estimate, found, _of_neighbors(rows))
    enough = rows > scores.shape[1] + 2  # for a copula
    if enough and classes.order is not None and count > 2:
        estimate = _or_as_numbers(estimate, numbers, Variable(classes.order), most, seed)
    warnings = list(estimate.warnings)
    if rows < 5 * count:
        warnings.append(f"{rows} rows are few for {count} classes: the value is probably too low")
    if rows < 20 * scores.shape[1]:
        warnings.append(f"{rows} rows are few for {scores.shape[1]} dimensions: the value is probably too low")
    elif rows < 100 * scores.shape[1] and estimate.value < 0.9 * most:
        warnings.append(f"in {scores.shape[1]} dimensions, {rows} rows may hide some of it: the value may be too low")
    return replace(estimate, method=f"{estimate.method}, {count} classes of {name}", warnings=tuple(warnings))


def _by_copula(margins: Margins) -> MutualInformation:
    rows, nu = len(margins.normal[0]), margins.degrees_of_freedom
    if math.isinf(value := gaussian_mutual_information(*margins.normal)) and _infinite(*margins.normal):
        return MutualInformation(value, 0.0, "copula", COPULA, rows, rows, warnings=(INFINITE,))
    if math.isinf(nu):
        value = gaussian_mutual_information(*margins.apart)
    copula = EllipticalCopula(*margins.fitted, nu)
    if not math.isinf(nu):
        value = copula.information(rows)
    u, v = copula.coordinates(*margins.fitted)
    terms = torch.cat([copula.scores(a, b).diagonal() for a, b in zip(u.split(BLOCK), v.split(BLOCK), strict=True)])
    name = "Gaussian copula" if math.isinf(nu) else f"Student copula, {nu:g} degrees of freedom"
    noise = correlation_noise(
        rows, copula.p, copula.q
    )  # which is left where the terms vanish, of independent variables
    return MutualInformation(value, math.sqrt(standard_error(terms) ** 2 + noise), name, COPULA, rows, rows)


def _infinite(x: Tensor, y: Tensor) -> bool:
    """Whether columns of many values alone have a direction of one that is a function of the other."""
    many = [side[:, 2 * (side.sort(0).values.diff(dim=0) > 0).sum(0) >= len(side)] for side in (x, y)]
    return all(side.shape[1] for side in many) and math.isinf(gaussian_mutual_information(*many))


def _with_critic(estimate: MutualInformation, margins: Margins, correction: Correction) -> MutualInformation:
    """The copula's estimate, or the bound of copula and critic where the critic adds to it on held-out rows."""
    y, corrected = margins.normal[1], _corrected(correction)
    value, noise = float(corrected.mean()), standard_error(correction.corrected - correction.base)
    adopted = value > 0 and _gain(correction) > SIGNIFICANT * noise
    if adopted:
        method = f"{estimate.method}, corrected by a critic"
        error = standard_error(correction.corrected)
        estimate = replace(estimate, value=value, standard_error=error, method=method, bound=CRITIC)
    elif value <= 0 and abs(estimate.value) > UNLIKELY * estimate.standard_error:
        estimate = replace(estimate, warnings=(*estimate.warnings, NOT_HELD.format(value)))
    ratio = float((corrected if adopted else _base(correction)).mean())
    # of y's normal scores: a Gaussian without x, and the same times the density ratio
    marginal = torch.distributions.MultivariateNormal(
        y.mean(0), y.mT.cov().reshape(y.shape[1], -1) + 1e-9 * torch.eye(y.shape[1])
    )
    without = float(marginal.log_prob(y).mean())
    return replace(estimate, marginal_log_likelihood=without, log_likelihood=without + ratio)


def _growth(value: float, correction: Correction, half: Correction) -> Iterator[str]:
    """A warning where critics that learn from half of the rows add much less, in the folds that these were fitted to."""
    gains, of_half = (c.corrected - c.base for c in (correction, half))
    growth = _gain(correction, COMPARED) - _gain(half)
    noise = SIGNIFICANT * standard_error(gains[:COMPARED] - of_half)
    if growth > max(noise, min(GROWTH * value, GROWTH_OF_GAIN * _gain(correction))):
        yield GROWING.format(growth)


def _with_neighbors(estimate: MutualInformation, x: Tensor, y: Tensor) -> MutualInformation:
    """The estimate, or that of nearest neighbours where it is larger, with a warning where it is still growing."""
    found = neighbors_of(Variable(x), Variable(y), least=max(estimate.value, 0.0))
    larger = _larger(estimate, found, _of_neighbors(len(x)))
    if larger is estimate:
        if found.value - SIGNIFICANT * found.standard_error > estimate.interval[1]:
            return replace(estimate, warnings=(*estimate.warnings, UNSURE.format(found.value, found.standard_error)))
        return estimate
    halves = [neighbors_value(x[i::2].numpy(), y[i::2].numpy()) for i in (0, 1)]
    growth = found.value - sum(halves) / 2
    if growth > max(SIGNIFICANT * found.standard_error, GROWTH * found.value):
        larger = replace(larger, warnings=(*larger.warnings, GROWING.format(growth)))
    return larger


def _base(correction: Correction) -> Tensor:
    """The bound of the copula alone, `(folds,)`."""
    return correction.base.mean(1) - correction.base_normalizer


def _corrected(correction: Correction) -> Tensor:
    """The bound of copula and critic, `(folds,)`."""
    return correction.corrected.mean(1) - correction.corrected_normalizer


def _gain(correction: Correction, folds: int | None = None) -> float:
    """What the critic adds to the copula's bound: the mean over the folds, or the first so many."""
    return float((_corrected(correction) - _base(correction))[:folds].mean())


def _larger(estimate: MutualInformation, other: MutualInformation, errors: float = SIGNIFICANT) -> MutualInformation:
    """The larger estimate: `other` only where it is above the first one, and 0, by so many of its standard errors."""
    if other.standard_error < ROUNDING or other.value - errors * other.standard_error <= max(estimate.value, 0.0):
        return estimate
    return replace(
        other,
        log_likelihood=estimate.log_likelihood,
        marginal_log_likelihood=estimate.marginal_log_likelihood,
    )


def _of_neighbors(rows: int) -> float:
    """By how many of their standard errors neighbours have to be larger: those of ten blocks of few rows say little."""
    return OF_NEIGHBORS * (1 + SMALL / rows)


def _warnings(estimate: MutualInformation, dimensions: int) -> Iterator[str]:
    rows = estimate.rows
    if rows < (NEIGHBOR_ROWS if dimensions == 2 else FEWEST_ROWS):  # neighbors of two columns find what a critic finds
        yield f"{rows} rows are too few to train a critic on: dependence that is not monotone was hardly looked for"
    if rows < 20 * dimensions:
        yield (
            f"{rows} rows are few for {dimensions} dimensions: the value is noisy, "
            "and dependence that is not monotone may have been missed"
        )
    elif rows < 100 * dimensions and estimate.bound is COPULA:
        yield (
            f"in {dimensions} dimensions, {rows} rows may hide dependence that is not monotone: "
            "a value near 0 is no proof of independence"
        )
    if estimate.bound.side == "lower" and estimate.value > math.log(rows):
        yield f"above log {rows} = {math.log(rows):.1f} nats the value rests on a few pairs of rows: do not trust it"
