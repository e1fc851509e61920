"""Mutual information of numbers and classes: held-out classifiers, and nearest neighbours in few dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from disentangle.dependence import Bound
from disentangle.information.copula import quantiles, uniform_ranks
from disentangle.information.fold_networks import StackedNetwork, fit_stacks
from disentangle.information.result import MutualInformation, standard_error
from disentangle.information.samples import unit_variance

__all__ = ["classifier_mutual_information", "entropy"]

FOLDS = 5
VALIDATION = 0.15  # of the rows that the network is fitted on
STEPS, HIDDEN = 500, 64
MIXING_STEPS = 200
LEAST = 1e-9  # probability, so that logarithms stay finite
RIDGE = 1e-6  # keeps repeated columns from dividing by zero
CLASSIFIER = Bound("lower", "the rows are drawn independently")


def entropy(classes: Tensor) -> float:
    """The entropy, in nats, of the frequencies of `(rows,)` classes 0 to C-1.

    Example:
        >>> round(entropy(torch.tensor([0, 1, 1, 0])), 4)
        0.6931
    """
    shares = classes.bincount().double() / len(classes)
    return float(torch.special.entr(shares).sum())


def classifier_mutual_information(x: Tensor, y: Tensor, seed: int) -> MutualInformation:
    r"""What x tells about the classes y, as far as classifiers find it on rows that they were not fitted to.

    .. math:: \hat I = \frac1n\sum_i \log\frac{q(y_i|x_i)}{\hat p(y_i)}

    with :math:`\hat p` the frequencies of the classes, so the value never exceeds their entropy. In each of five folds q
    is a mixture of classifiers fitted to the other four: the frequencies; Gaussian classes with one covariance, with the
    same one shrunk, and with one each, of x as it is and of its normal scores; and a small neural network on these, stopped
    early. The weights of the mixture, eight numbers for all rows, are those of the highest likelihood on the held-out rows.

    References:
        Ledoit and Wolf, A well-conditioned estimator for large-dimensional covariance matrices (JMVA 2004)

    Arguments:
        x: `(rows, x_dim)` float64.
        y: `(rows,)` int64, classes 0 to C-1, each of them in at least one row; at least 50 rows.
        seed: Draws folds, initial weights and batches.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> y = torch.arange(200) % 2
        >>> x = 3.0 * y[:, None] + torch.randn(200, 2, generator=generator, dtype=torch.float64)
        >>> 0.5 < classifier_mutual_information(x, y, 0).value < 0.694  # log 2 at most
        True
    """
    generator = torch.Generator().manual_seed(seed)
    rows, classes = len(x), int(y.max()) + 1
    folds = _folds(y, generator)
    normal, plain = quantiles(uniform_ranks(x), math.inf), torch.from_numpy(unit_variance(x.numpy()))
    learned = _networks(normal, y, classes, folds, generator)
    own = []  # what each classifier gives to the class that a row has, fold by fold
    for fold, (fitting, held_out) in enumerate(folds):
        b, count = y[fitting], len(held_out)
        shares = (b.bincount(minlength=classes) + 1.0).double() / (len(b) + classes)
        gaussian = [f(side[held_out]) for side in (normal, plain) for f in _gaussian_classes(side[fitting], b, shares)]
        scored = torch.stack([shares.log().expand(count, -1), *gaussian, learned[fold][:count]], -1)
        own.append(scored.softmax(1)[torch.arange(count), y[held_out]])
    held_out = torch.cat([part for _, part in folds])
    likelihoods = _mixed(torch.cat(own).clamp(min=LEAST)).log()
    terms = likelihoods - (y.bincount().double() / rows).log()[y[held_out]]
    value, error, likelihood = float(terms.mean()), standard_error(terms), float(likelihoods.mean())
    return MutualInformation(value, error, "classifier", CLASSIFIER, rows, rows, likelihood, likelihood - value)


def _folds(y: Tensor, generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """The rows to fit to and the rows held out, five times, with about equally many of each class."""
    order = torch.randperm(len(y), generator=generator)
    order = order[y[order].argsort(stable=True)]
    parts = [order[i::FOLDS] for i in range(FOLDS)]
    return [(torch.cat(parts[:i] + parts[i + 1 :]), part) for i, part in enumerate(parts)]


def _gaussian_classes(x: Tensor, y: Tensor, shares: Tensor) -> list[Callable[[Tensor], Tensor]]:
    """Gaussian classes with one covariance, the same shrunk, and with one each: from rows to log p(row, class) of each class.

    The shrunk one is that of Ledoit and Wolf. Those of the classes are drawn to it as if it came from as many rows as there
    are columns, and two. A class of few rows is drawn to the mean of all by one row.
    """
    from sklearn.covariance import ledoit_wolf

    classes, dim = len(shares), x.shape[1]
    counts = y.bincount(minlength=classes).double()
    means = (torch.zeros(classes, dim).double().index_add_(0, y, x) + x.mean(0)) / (counts + 1)[:, None]
    centered = x - means[y]
    ridge = RIDGE * torch.eye(dim).double()
    pooled = centered.mT @ centered / max(len(x) - classes, 1) + ridge
    shrunk = torch.from_numpy(ledoit_wolf(centered.numpy(), assume_centered=True)[0]) + ridge
    scatters = torch.stack([centered[y == k].mT @ centered[y == k] for k in range(classes)])
    weight = dim + 2.0
    each = (scatters + weight * shrunk) / (counts + weight)[:, None, None]
    return [_log_joint(shares, means, covariances) for covariances in (pooled[None], shrunk[None], each)]


def _log_joint(shares: Tensor, means: Tensor, covariances: Tensor) -> Callable[[Tensor], Tensor]:
    """The covariance is one for all, `(1, dim, dim)`, or one for each class."""
    factors = torch.linalg.cholesky(covariances).expand(len(means), -1, -1)
    determinants = factors.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def scores(z: Tensor) -> Tensor:
        deviations = (z[None] - means[:, None]).mT
        distances = torch.linalg.solve_triangular(factors, deviations, upper=False).square().sum(1).mT
        return shares.log() - determinants - distances / 2

    return scores


def _networks(
    x: Tensor, y: Tensor, classes: int, folds: list[tuple[Tensor, Tensor]], generator: torch.Generator
) -> Tensor:
    """The scores that a network fitted to each fold gives to the classes of its held-out rows, `(folds, rows, classes)`."""
    size = min(len(fitting) for fitting, _ in folds)
    fitting = torch.stack([part[torch.randperm(len(part), generator=generator)[:size]] for part, _ in folds])
    stop = int(VALIDATION * size)
    valid, train = fitting[:, :stop], fitting[:, stop:]
    network = StackedNetwork(len(folds), x.shape[1], classes, HIDDEN, 0.1, generator)
    shares = (y.bincount(minlength=classes) + 1.0) / (len(y) + classes)
    with torch.no_grad():
        network.biases[-1] += shares.log()
    inputs = x.float()

    def loss(rows: Tensor) -> Tensor:
        return F.cross_entropy(network(inputs[rows]).mT, y[rows], reduction="none").mean(1)

    start = torch.full((len(folds),), math.inf)
    fit_stacks(
        list(network.parameters()),
        lambda index: loss(train.gather(1, index)),
        lambda: loss(valid),
        start,
        train.shape[1],
        STEPS,
        generator,
    )
    longest = max(len(part) for _, part in folds)
    held_out = torch.stack([F.pad(part, (0, longest - len(part))) for _, part in folds])
    with torch.no_grad():
        return network(inputs[held_out]).double()


def _mixed(probabilities: Tensor) -> Tensor:
    """What a mixture of the columns gives to each row, its weights those of the highest likelihood."""
    weights = torch.full((probabilities.shape[1],), 1 / probabilities.shape[1], dtype=probabilities.dtype)
    for _ in range(MIXING_STEPS):  # expectation maximisation
        joint = probabilities * weights
        weights = (joint / joint.sum(1, keepdim=True)).mean(0)
    return probabilities @ weights
