"""The coordinates in which a copula is fitted: the columns, or fewer numbers made of them where it holds better in these."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from disentangle.information.copula import DEGREES_OF_FREEDOM, EllipticalCopula, quantiles, uniform_ranks
from disentangle.information.correction import Fold, fit_correction, noise_contrastive_losses
from disentangle.information.gaussian import independent_columns
from disentangle.information.result import SIGNIFICANT, standard_error
from disentangle.information.samples import SALT, Variable

__all__ = ["Margins", "best_margins", "folds_of"]

FOLDS = 4
VALIDATION = 0.15  # of the rows that a fold is fitted on
SHARES = 0.99, 0.95, 0.9, 0.8  # of the variance, in leading components
WORTH = 0.1  # nats that fewer numbers have to bring: a critic finds as much in all columns
CHOICE = 700  # held-out rows whose pairs choose the degrees of freedom, twice
ROWS_PER_COLUMN = 20  # for such a choice


class Margins(NamedTuple):
    """x and y with other margins.

    `normal` keeps equal values equal, `apart` sets them apart at random, and `fitted` is `apart` with the copula's margins.
    A copula is fitted to margins without atoms. What sets equal values apart is random and tells nothing, so the density
    ratio stays the one of x and y. A critic sees `normal`.
    """

    normal: tuple[Tensor, Tensor]
    apart: tuple[Tensor, Tensor]
    fitted: tuple[Tensor, Tensor]
    degrees_of_freedom: float


def best_margins(x: Variable, y: Variable, generator: torch.Generator) -> tuple[Margins, Margins]:
    """The margins of the columns, and those of the coordinates in which the copula's bound is highest on held-out rows.

    Latents of few intrinsic dimensions have many columns, and their ranks are nearly linear in one another: in the directions
    that are left the copula fits noise with heavy tails. Fewer numbers made of them tell no more than they do, so nothing
    becomes too high; they are taken where their bound is significantly higher.
    """
    columns = _margins(x.numbers, y.numbers, generator)
    fewer = list(_fewer(x, y, columns))
    if not fewer:
        return columns, columns
    drawn = generator.get_state()  # the same rows are held out
    best, highest = columns, _held_out(columns, generator)
    for pair in fewer:
        generator.set_state(drawn)
        margins = _margins(*pair, generator)
        generator.set_state(drawn)
        found = _held_out(margins, generator)
        if (found - highest).mean() > max(WORTH, SIGNIFICANT * standard_error(found - highest)):
            best, highest = margins, found
    return columns, best


def folds_of(margins: Margins, generator: torch.Generator, share: float = 1.0) -> list[Fold]:
    """Makes four folds, each with a copula fitted to a share of the rows that it does not hold out."""
    rows = len(margins.normal[0])
    parts = torch.randperm(rows, generator=generator)[: rows // FOLDS * FOLDS].chunk(FOLDS)
    folds = []
    for i, test in enumerate(parts):
        fitting = torch.cat(parts[:i] + parts[i + 1 :])
        fitting = fitting[torch.randperm(len(fitting), generator=generator)][: round(share * len(fitting))]
        stop = int(VALIDATION * len(fitting))
        folds.append(_fold(margins, fitting, (fitting[stop:], fitting[:stop], test)))
    return folds


def _fold(margins: Margins, fitting: Tensor, parts: tuple[Tensor, Tensor, Tensor]) -> Fold:
    (x, y), _, (a, b), nu = margins
    inputs = EllipticalCopula(x[fitting], y[fitting], math.inf)
    copula = EllipticalCopula(a[fitting], b[fitting], nu)
    train, valid, test = (
        (*inputs.coordinates(x[index], y[index]), *copula.coordinates(a[index], b[index])) for index in parts
    )
    return Fold(copula, train, valid, test)


def _held_out(margins: Margins, generator: torch.Generator) -> Tensor:
    """The terms of the copula's bound on the rows of each fold, `(folds, rows)`."""
    found = fit_correction(folds_of(margins, generator), generator, steps=0)
    return found.base - found.base_normalizer[:, None]


def _fewer(x: Variable, y: Variable, columns: Margins) -> Iterator[tuple[Tensor, Tensor]]:
    """The columns that are not linear in others, and leading components in place of a side of twice as many columns."""
    kept = independent_columns(x.numbers, x.eps), independent_columns(y.numbers, y.eps)
    sizes = {(columns.normal[0].shape[1], columns.normal[1].shape[1])}
    for share in (None, *SHARES):
        a, b = kept if share is None else map(_components, columns.normal, kept, (share, share))
        if all(size := (a.shape[1], b.shape[1])) and size not in sizes:
            sizes.add(size)
            yield a, b


def _components(scores: Tensor, otherwise: Tensor, share: float) -> Tensor:
    """As many leading principal components of normal scores as have a share of their variance, or what is given otherwise."""
    centered = scores - scores.mean(0)
    variances, directions = torch.linalg.eigh(centered.mT @ centered)
    shares = variances.flip(0).cumsum(0) / variances.sum()
    count = int((shares < share).sum()) + 1
    return centered @ directions.flip(1)[:, :count] if 2 * count <= len(shares) else otherwise


def _margins(x: Tensor, y: Tensor, generator: torch.Generator) -> Margins:
    drawn = torch.Generator().manual_seed(SALT ^ generator.initial_seed())
    of_x, of_y, x_apart, y_apart = (uniform_ranks(side, by) for by in (None, drawn) for side in (x, y))
    nu = _degrees_of_freedom(x_apart, y_apart, generator)
    return Margins(
        (quantiles(of_x, math.inf), quantiles(of_y, math.inf)),
        (quantiles(x_apart, math.inf), quantiles(y_apart, math.inf)),
        (quantiles(x_apart, nu), quantiles(y_apart, nu)),
        nu,
    )


def _degrees_of_freedom(x: Tensor, y: Tensor, generator: torch.Generator) -> float:
    """The degrees of freedom whose density ratio best tells pairs that belong together from other pairs, on held-out rows.

    They add a term of their own to the information, so tails heavier than the Gaussian's have to be significant.
    """
    order = torch.randperm(len(x), generator=generator)
    if len(x) < ROWS_PER_COLUMN * (x.shape[1] + y.shape[1]):
        return math.inf
    size = min(len(x) // 2, CHOICE)
    parts = [(order[size:], order[:size]), (torch.cat([order[:size], order[2 * size :]]), order[size : 2 * size])]

    def losses(nu: float) -> Tensor:
        a, b = quantiles(x, nu), quantiles(y, nu)
        copulas = [EllipticalCopula(a[fitting], b[fitting], nu) for fitting, _ in parts]
        pairs = [copula.coordinates(a[test], b[test]) for copula, (_, test) in zip(copulas, parts, strict=True)]
        scores = [copula.scores(*pair) for copula, pair in zip(copulas, pairs, strict=True)]
        return torch.cat([noise_contrastive_losses(each) for each in scores])

    gaussian = lowest = losses(math.inf)
    best = math.inf
    for nu in reversed(DEGREES_OF_FREEDOM[:-1]):  # the loss has one minimum
        if (found := losses(nu)).mean() >= lowest.mean():
            break
        best, lowest = nu, found
    gain = gaussian - lowest
    return best if gain.mean() > SIGNIFICANT * standard_error(gain) else math.inf
