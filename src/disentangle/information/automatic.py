"""The automatic choice: a copula, what a critic adds to it on held-out rows, and nearest neighbours in few dimensions.

Each of the three reads too low where it does not fit, hardly ever too high: the largest is the closest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from disentangle.dependence import Bound
from disentangle.information.copula import DEGREES_OF_FREEDOM, EllipticalCopula, quantiles
from disentangle.information.correction import Correction, Fold, fit_correction, noise_contrastive_loss
from disentangle.information.gaussian import gaussian_mutual_information
from disentangle.information.neighbours import nearest_neighbour_mutual_information
from disentangle.information.result import MutualInformation

__all__ = ["INFINITE", "automatic_mutual_information"]

FOLDS = 4
VALIDATION = 0.15  # of the rows that a fold is fitted on
CHOICE = 1000  # rows whose pairs choose the degrees of freedom
FEWEST_ROWS = 200  # for a critic
NEIGHBOUR_ROWS = 100  # at least: below, their standard error is far too small
NEIGHBOUR_DIMENSIONS = 6  # of x and y together, at most
SIGNIFICANT = 2.0  # standard errors

COPULA = Bound(
    "neither", "the copula of x and y is not that of a Gaussian or Student distribution: it is exact where it is"
)
CRITIC = Bound("lower", "the rows are drawn independently")
INFINITE = "some direction of y is a function of x: the information is infinite, unless rounding or few values limit it"


class _Margins(NamedTuple):
    """x and y with normal margins, which the critic sees, and with those of the copula."""

    normal: tuple[Tensor, Tensor]
    fitted: tuple[Tensor, Tensor]
    degrees_of_freedom: float


def automatic_mutual_information(x: Tensor, y: Tensor, seed: int) -> MutualInformation:
    """The estimate from uniform ranks, `(rows, dim)`; see `disentangle.estimate_mutual_information`."""
    generator = torch.Generator().manual_seed(seed)
    nu = _degrees_of_freedom(x, y, generator)
    margins = _Margins((quantiles(x, math.inf), quantiles(y, math.inf)), (quantiles(x, nu), quantiles(y, nu)), nu)
    estimate = _by_copula(margins)
    if math.isinf(estimate.value):
        return estimate
    if len(x) >= FEWEST_ROWS:
        estimate = _with_critic(estimate, fit_correction(_folds(margins, generator), generator), margins.normal[1])
    if len(x) >= NEIGHBOUR_ROWS and x.shape[1] + y.shape[1] <= NEIGHBOUR_DIMENSIONS:
        estimate = _or_neighbours(estimate, margins)
    return replace(estimate, warnings=(*estimate.warnings, *_warnings(estimate, x.shape[1] + y.shape[1])))


def _degrees_of_freedom(x: Tensor, y: Tensor, generator: torch.Generator) -> float:
    """Those whose density ratio tells pairs that belong together from others best."""
    index = torch.randperm(len(x), generator=generator)[:CHOICE]

    def loss(nu: float) -> float:
        a, b = quantiles(x, nu), quantiles(y, nu)
        copula = EllipticalCopula(a, b, nu)
        return float(noise_contrastive_loss(copula.scores(*copula.coordinates(a[index], b[index]))))

    return min(DEGREES_OF_FREEDOM, key=loss)


def _by_copula(margins: _Margins) -> MutualInformation:
    rows, nu = len(margins.normal[0]), margins.degrees_of_freedom
    value = gaussian_mutual_information(*margins.normal)
    if math.isinf(value):
        return MutualInformation(value, 0.0, "copula", COPULA, rows, rows, warnings=(INFINITE,))
    copula = EllipticalCopula(*margins.fitted, nu)
    if not math.isinf(nu):
        value = copula.information(rows)
    u, v = copula.coordinates(*margins.fitted)
    terms = torch.cat([copula.scores(a, b).diagonal() for a, b in zip(u.split(CHOICE), v.split(CHOICE), strict=True)])
    name = "Gaussian copula" if math.isinf(nu) else f"Student copula, {nu:g} degrees of freedom"
    # of independent variables the terms vanish, and what is left is the noise of p x q correlations
    noise = copula.p * copula.q / (2 * (rows - 1 - copula.p) * (rows - 1 - copula.q))
    return MutualInformation(value, math.sqrt(_standard_error(terms) ** 2 + noise), name, COPULA, rows, rows)


def _folds(margins: _Margins, generator: torch.Generator) -> list[Fold]:
    rows = len(margins.normal[0])
    parts = torch.randperm(rows, generator=generator)[: rows // FOLDS * FOLDS].chunk(FOLDS)
    folds = []
    for i, test in enumerate(parts):
        fitting = torch.cat(parts[:i] + parts[i + 1 :])
        fitting = fitting[torch.randperm(len(fitting), generator=generator)]
        stop = int(VALIDATION * len(fitting))
        folds.append(_fold(margins, fitting, (fitting[stop:], fitting[:stop], test)))
    return folds


def _fold(margins: _Margins, fitting: Tensor, parts: tuple[Tensor, Tensor, Tensor]) -> Fold:
    (x, y), (a, b), nu = margins
    inputs = EllipticalCopula(x[fitting], y[fitting], math.inf)
    copula = inputs if math.isinf(nu) else EllipticalCopula(a[fitting], b[fitting], nu)
    train, valid, test = (
        (*inputs.coordinates(x[index], y[index]), *copula.coordinates(a[index], b[index])) for index in parts
    )
    return Fold(copula, train, valid, test)


def _with_critic(estimate: MutualInformation, correction: Correction, y: Tensor) -> MutualInformation:
    """The copula's estimate, or the bound of copula and critic where the critic adds to it on held-out rows."""
    base = correction.base.mean(1) - correction.base_normaliser
    corrected = correction.corrected.mean(1) - correction.corrected_normaliser
    gain, error = float((corrected - base).mean()), _standard_error(correction.corrected - correction.base)
    if gain > SIGNIFICANT * error:
        method = f"{estimate.method}, corrected by a critic"
        value, error = float(corrected.mean()), _standard_error(correction.corrected)
        estimate = replace(estimate, value=value, standard_error=error, method=method, bound=CRITIC)
    # of y's normal scores: a Gaussian without x, and the same times the density ratio
    marginal = torch.distributions.MultivariateNormal(
        y.mean(0), y.mT.cov().reshape(y.shape[1], -1) + 1e-9 * torch.eye(y.shape[1])
    )
    without = float(marginal.log_prob(y).mean())
    return replace(estimate, marginal_log_likelihood=without, log_likelihood=without + float(corrected.mean()))


def _or_neighbours(estimate: MutualInformation, margins: _Margins) -> MutualInformation:
    neighbours = nearest_neighbour_mutual_information(*margins.normal)
    if neighbours.value - SIGNIFICANT * neighbours.standard_error <= estimate.value:
        return estimate
    return replace(
        neighbours,
        log_likelihood=estimate.log_likelihood,
        marginal_log_likelihood=estimate.marginal_log_likelihood,
    )


def _warnings(estimate: MutualInformation, dimensions: int) -> Iterator[str]:
    rows = estimate.rows
    if rows < FEWEST_ROWS:
        yield f"{rows} rows are too few to train a critic on: dependence that is not monotone was hardly looked for"
    if rows < 20 * dimensions:
        yield (
            f"{rows} rows are few for {dimensions} dimensions: the value is noisy, "
            "and dependence that is not monotone may have been missed"
        )
    if estimate.bound.side == "lower" and estimate.value > math.log(rows):
        yield f"above log {rows} = {math.log(rows):.1f} nats the value rests on a few pairs of rows: do not trust it"


def _standard_error(terms: Tensor) -> float:
    return float(terms.std() / math.sqrt(terms.numel()))
