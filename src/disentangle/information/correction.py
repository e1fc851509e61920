"""What a fitted copula leaves unexplained, learnt by noise-contrastive estimation and measured on rows that were held out."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from disentangle.functional import unmatched_log_mean_exp
from disentangle.information.copula import EllipticalCopula, log_density_ratios
from disentangle.information.fold_networks import StackedNetwork, fit_stacks

__all__ = ["Correction", "Fold", "fit_correction", "noise_contrastive_losses"]

HIDDEN, EMBEDDING = 96, 16
LARGEST_TABLE = 2000  # rows whose pairs are all scored at once


class Fold(NamedTuple):
    """One of the folds: the copula of its fitting rows, and rows in coordinates.

    `train`, `valid` and `test` are each `(u, v, a, b)`: the inputs of the critic and the coordinates of the copula.
    """

    copula: EllipticalCopula
    train: tuple[Tensor, ...]
    valid: tuple[Tensor, ...]
    test: tuple[Tensor, ...]


class Correction(NamedTuple):
    """The held-out log density ratios, fold by fold: `(folds, rows)` of pairs that belong together, `(folds,)` normalisers."""

    base: Tensor
    corrected: Tensor
    base_normalizer: Tensor
    corrected_normalizer: Tensor


class StackedCritic(nn.Module):
    """One critic per fold, side by side: an inner product of two networks, and a term of each alone; `(K, N, M)` scores."""

    def __init__(self, folds: int, p: int, q: int, generator: torch.Generator):
        super().__init__()
        # close to nothing at first: the copula alone
        self.of_u = StackedNetwork(folds, p, EMBEDDING + 1, HIDDEN, 0.3, generator)
        self.of_v = StackedNetwork(folds, q, EMBEDDING + 1, HIDDEN, 0.03, generator)
        with torch.no_grad():
            for network in (self.of_u, self.of_v):
                network.weights[-1][..., -1] = 0

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """The scores of all pairs of rows of each fold."""
        g, h = self.of_u(u), self.of_v(v)
        return torch.baddbmm(g[..., -1:] + h[..., -1:].mT, g[..., :-1], h[..., :-1].mT)


def noise_contrastive_losses(scores: Tensor) -> Tensor:
    r"""The logistic loss of telling N pairs that belong together from N(N - 1) that do not, by rows: `(..., N, N) -> (..., N)`.

    .. math:: \operatorname{softplus}(\log(N-1) - T_{ii}) + \sum_{j\ne i}\operatorname{softplus}(T_{ij} - \log(N-1))

    At the minimum of its mean T is the log density ratio, normalised.

    References:
        Gutmann and Hyvärinen, Noise-contrastive estimation (AISTATS 2010)
    """
    shifted = scores - math.log(scores.shape[-1] - 1)
    return F.softplus(shifted).sum(-1) - shifted.diagonal(dim1=-2, dim2=-1)  # softplus(-t) = softplus(t) - t


def fit_correction(folds: list[Fold], generator: torch.Generator, steps: int) -> Correction:
    """Learns a critic on each fold's `train` rows, stops it on its `valid` rows, and scores its `test` rows.

    In no steps it learns nothing, and all is the copula's.
    """
    copulas = [fold.copula for fold in folds]
    train, valid, test = (_stack([getattr(fold, part) for fold in folds]) for part in ("train", "valid", "test"))
    critic = StackedCritic(len(folds), train[0].shape[-1], train[1].shape[-1], generator)
    valid = [part[:, :LARGEST_TABLE] for part in valid]
    squares, nu = torch.stack([copula.squares for copula in copulas]).float(), copulas[0].degrees_of_freedom
    base = _scores(squares, nu, valid)

    def loss(index: Tensor) -> Tensor:
        u, v, a, b = (torch.gather(t, 1, index[..., None].expand(-1, -1, t.shape[-1])) for t in train)
        return noise_contrastive_losses(_scores(squares, nu, (u, v, a, b)) + critic(u, v)).mean(-1)

    def validate() -> Tensor:
        return noise_contrastive_losses(base + critic(valid[0], valid[1])).mean(-1)

    start = noise_contrastive_losses(base).mean(-1)
    improved = fit_stacks(list(critic.parameters()), loss, validate, start, train[0].shape[1], steps, generator)
    return _evaluate(squares, nu, critic, improved, test)


@torch.no_grad()
def _evaluate(squares: Tensor, nu: float, critic: StackedCritic, improved: Tensor, test: list[Tensor]) -> Correction:
    """The scores of held-out rows; of the critic, only in the folds where it is better than none."""
    pieces = []
    for start in range(0, test[0].shape[1], LARGEST_TABLE):
        part = [t[:, start : start + LARGEST_TABLE] for t in test]
        if part[0].shape[1] < 2:
            break
        base = _scores(squares, nu, part).double()
        corrected = base + critic(part[0], part[1]) * improved[:, None, None]
        pieces.append([f(t) for t in (base, corrected) for f in (lambda t: t.diagonal(dim1=-2, dim2=-1), _normalizer)])
    base, base_z, corrected, corrected_z = zip(*pieces, strict=True)
    return Correction(
        torch.cat(base, 1), torch.cat(corrected, 1), torch.stack(base_z).mean(0), torch.stack(corrected_z).mean(0)
    )


def _normalizer(scores: Tensor) -> Tensor:
    """The logarithm of the mean density ratio over pairs that do not belong together: 0 for a true one; `(K, N, N) -> (K,)`."""
    return torch.stack([unmatched_log_mean_exp(of_fold) for of_fold in scores])


def _scores(squares: Tensor, nu: float, part: tuple[Tensor, ...] | list[Tensor]) -> Tensor:
    """The log density ratios of each fold's copula, whose squared correlations are `(folds, k)`."""
    return log_density_ratios(part[2], part[3], squares, nu)


def _stack(parts: list[tuple[Tensor, ...]]) -> list[Tensor]:
    rows = min(len(part[0]) for part in parts)
    return [torch.stack([part[i][:rows].float() for part in parts]) for i in range(4)]
