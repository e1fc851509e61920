"""What a fitted copula leaves unexplained, learnt by noise-contrastive estimation and measured on rows that were held out."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from disentangle.functional import unmatched_log_mean_exp
from disentangle.information.copula import EllipticalCopula

__all__ = ["Correction", "Fold", "fit_correction", "noise_contrastive_loss"]

STEPS, BATCH, PATIENCE, EVERY = 500, 256, 5, 25
LEARNING_RATE, WEIGHT_DECAY, AVERAGING = 3e-3, 0.1, 0.95
HIDDEN, EMBEDDING = 128, 16
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
    base_normaliser: Tensor
    corrected_normaliser: Tensor


class StackedCritic(nn.Module):
    """One critic a fold, side by side: an inner product of two networks, and a term of each alone; `(K, N, M)` scores."""

    def __init__(self, folds: int, p: int, q: int, generator: torch.Generator):
        super().__init__()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for dim, last in ((p, 0.3), (q, 0.03)):  # close to nothing at first: the copula alone
            for inputs, outputs, gain in ((3 * dim + 2, HIDDEN, 1), (HIDDEN, HIDDEN, 1), (HIDDEN, EMBEDDING + 1, last)):
                weight = torch.randn(1, inputs, outputs, generator=generator) * gain / math.sqrt(inputs)
                if gain != 1:
                    weight[..., -1] = 0
                self.weights.append(nn.Parameter(weight.repeat(folds, 1, 1)))
                self.biases.append(nn.Parameter(torch.zeros(folds, 1, outputs)))

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        g, h = self._embed(u, 0), self._embed(v, 3)
        return torch.baddbmm(g[..., -1:] + h[..., -1:].mT, g[..., :-1], h[..., :-1].mT)

    def _embed(self, z: Tensor, first: int) -> Tensor:
        square = z.square()
        size = square.mean(-1, keepdim=True)
        z = torch.cat([z, z.abs() - 0.8, 0.5 * (square - 1).clamp(max=8), size - 1, size.log1p()], -1)
        for i in (first, first + 1):
            z = F.silu(torch.baddbmm(self.biases[i], z, self.weights[i]))
        return torch.baddbmm(self.biases[first + 2], z, self.weights[first + 2])


def noise_contrastive_loss(scores: Tensor) -> Tensor:
    r"""The logistic loss of telling the N pairs that belong together from the N(N - 1) that do not, `(..., N, N) -> (...)`.

    .. math:: \frac1N\sum_i\left[\operatorname{softplus}(\log(N-1) - T_{ii})
              + \sum_{j\ne i}\operatorname{softplus}(T_{ij} - \log(N-1))\right]

    At its minimum T is the log density ratio, normalised.

    References:
        Gutmann and Hyvärinen, Noise-contrastive estimation (AISTATS 2010)
    """
    n = scores.shape[-1]
    shifted = scores - math.log(n - 1)
    apart = F.softplus(shifted).sum((-1, -2)) - F.softplus(shifted.diagonal(dim1=-2, dim2=-1)).sum(-1)
    return F.softplus(-shifted.diagonal(dim1=-2, dim2=-1)).mean(-1) + apart / n


def fit_correction(folds: list[Fold], generator: torch.Generator) -> Correction:
    """Learns a critic on each fold's `train` rows, stops it on its `valid` rows, and scores its `test` rows."""
    copulas = [fold.copula for fold in folds]
    train, valid, test = (_stack([getattr(fold, part) for fold in folds]) for part in ("train", "valid", "test"))
    critic = StackedCritic(len(folds), train[0].shape[-1], train[1].shape[-1], generator)
    parameters = list(critic.parameters())
    average, best = ([p.detach().clone() for p in parameters] for _ in range(2))
    optimizer = torch.optim.AdamW(parameters, LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
    rows, batch = train[0].shape[1], min(BATCH, train[0].shape[1])
    valid = [part[:, :LARGEST_TABLE] for part in valid]
    base = _scores(copulas, valid)
    lowest = noise_contrastive_loss(base)
    improved = torch.zeros(len(folds), dtype=torch.bool)
    waited = 0
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = _rate(step)
        index = torch.stack([torch.randperm(rows, generator=generator)[:batch] for _ in folds])
        u, v, a, b = (torch.gather(t, 1, index[..., None].expand(-1, -1, t.shape[-1])) for t in train)
        loss = noise_contrastive_loss(_scores(copulas, (u, v, a, b)) + critic(u, v)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for kept, now in zip(average, parameters, strict=True):
                kept.lerp_(now, 1 - min(AVERAGING, (step + 1) / (step + 10)))
            if (step + 1) % EVERY:
                continue
            losses = noise_contrastive_loss(base + _with(critic, average, valid))
            better = losses < lowest - 1e-4
            lowest, improved = torch.where(better, losses, lowest), improved | better
            for kept, now in zip(best, average, strict=True):
                kept[better] = now[better]
            waited = 0 if better.any() else waited + 1
            if waited == PATIENCE:
                break
    for p in best:
        p[~improved] = 0  # no critic at all
    return _evaluate(copulas, critic, best, test)


@torch.no_grad()
def _evaluate(
    copulas: list[EllipticalCopula], critic: StackedCritic, parameters: list[Tensor], test: list[Tensor]
) -> Correction:
    pieces = []
    for start in range(0, test[0].shape[1], LARGEST_TABLE):
        part = [t[:, start : start + LARGEST_TABLE] for t in test]
        if part[0].shape[1] < 2:
            break
        base = _scores(copulas, part).double()
        corrected = base + _with(critic, parameters, part)
        pieces.append([f(t) for t in (base, corrected) for f in (lambda t: t.diagonal(dim1=-2, dim2=-1), _normaliser)])
    base, base_z, corrected, corrected_z = zip(*pieces, strict=True)
    return Correction(
        torch.cat(base, 1), torch.cat(corrected, 1), torch.stack(base_z).mean(0), torch.stack(corrected_z).mean(0)
    )


def _normaliser(scores: Tensor) -> Tensor:
    """The logarithm of the mean density ratio over pairs that do not belong together: 0 for a true one; `(K, N, N) -> (K,)`."""
    return torch.stack([unmatched_log_mean_exp(of_fold) for of_fold in scores])


def _with(critic: StackedCritic, parameters: list[Tensor], part: list[Tensor]) -> Tensor:
    names = [name for name, _ in critic.named_parameters()]
    return torch.func.functional_call(critic, dict(zip(names, parameters, strict=True)), (part[0], part[1]))


def _scores(copulas: list[EllipticalCopula], part: tuple[Tensor, ...] | list[Tensor]) -> Tensor:
    _, _, a, b = part
    return torch.stack([copula.scores(a[i], b[i]) for i, copula in enumerate(copulas)])


def _stack(parts: list[tuple[Tensor, ...]]) -> list[Tensor]:
    rows = min(len(part[0]) for part in parts)
    return [torch.stack([part[i][:rows].float() for part in parts]) for i in range(4)]


def _rate(step: int) -> float:
    return LEARNING_RATE * min(1, (step + 1) / 20) * 0.5 * (1 + math.cos(math.pi * step / STEPS))
