"""Mutual information by an estimator that is trained on some rows, stopped on others, and evaluated on the rest."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from disentangle.conditionals import CategoricalConditional, MixtureConditional
from disentangle.critics import SeparableCritic
from disentangle.dependence import (
    BarberAgakovEstimator,
    CLUBEstimator,
    Dependence,
    DifferenceOfEntropiesEstimator,
    InfoNCEEstimator,
    LeaveOneOutEstimator,
    MINEEstimator,
    NWJEstimator,
    SampledCLUBEstimator,
    SMILEEstimator,
    VariationalUpperBound,
)
from disentangle.dependence.estimators import ConditionalEstimator, CriticEstimator
from disentangle.information.classes import entropy
from disentangle.information.result import MutualInformation, standard_error

__all__ = ["ESTIMATORS", "trained_mutual_information"]

HIDDEN = 64
SHARES = 0.6, 0.2  # of the rows, to learn from and to stop on; the rest is evaluated on
EPOCHS, PATIENCE, BATCH, LEARNING_RATE = 300, 15, 256, 2e-3
BLOCKS = 10  # for the standard error; fewer where they would have a single row
FEW = 40  # rows to evaluate on
NORMAL_ENTROPY = 0.5 * math.log(2 * math.pi * math.e)


def _difference_of_entropies(x_dim: int, y_dim: int) -> Dependence:
    q, r = MixtureConditional(x_dim, y_dim, HIDDEN), MixtureConditional(1, y_dim, HIDDEN)
    return DifferenceOfEntropiesEstimator(x_dim, y_dim, conditional=q, marginal=r)


def _barber_agakov(x_dim: int, y: Tensor) -> Dependence:
    rows, y_dim = y.shape
    if y_dim > 1:
        raise ValueError(f"expected y of one dimension, whose entropy is known from its ranks, got {y_dim}")
    if (different := len(y.unique())) < 0.99 * rows:
        raise ValueError(
            f"expected y without equal values for barber-agakov, or classes, got {different} values in {rows} rows: "
            "the entropy of what has atoms is not known"
        )
    q = MixtureConditional(x_dim, y_dim, HIDDEN)
    return BarberAgakovEstimator(x_dim, y_dim, entropy=NORMAL_ENTROPY, conditional=q)


BY_CONDITIONAL: dict[str, type[ConditionalEstimator]] = {
    "club": CLUBEstimator,
    "sampled club": SampledCLUBEstimator,
    "leave-one-out": LeaveOneOutEstimator,
    "variational": VariationalUpperBound,
}
BY_CRITIC: dict[str, type[CriticEstimator]] = {
    "infonce": InfoNCEEstimator,
    "nwj": NWJEstimator,
    "mine": MINEEstimator,
    "smile": SMILEEstimator,
}
ESTIMATORS = (*BY_CONDITIONAL, *BY_CRITIC, "difference of entropies", "barber-agakov")


def _estimator(method: str, x_dim: int, y: Tensor, classes: Tensor | None) -> Dependence:
    """The estimator for x of a size and y, `(rows, y_dim)`; or y of one column of classes, and these, `(rows,)`."""
    y_dim = y.shape[1]
    if method in BY_CRITIC:
        return BY_CRITIC[method](x_dim, y_dim, critic=SeparableCritic(x_dim, y_dim, HIDDEN))
    if classes is not None:
        q = CategoricalConditional(x_dim, int(classes.max()) + 1, HIDDEN)
        if method == "barber-agakov":
            return BarberAgakovEstimator(x_dim, 1, entropy=entropy(classes), conditional=q)
        if method in ("difference of entropies", "variational"):
            raise ValueError(f"expected y of numbers for {method}, got classes: use barber-agakov, or leave-one-out")
        return BY_CONDITIONAL[method](x_dim, 1, conditional=q)
    if method == "barber-agakov":
        return _barber_agakov(x_dim, y)
    if method == "difference of entropies":
        return _difference_of_entropies(x_dim, y_dim)
    return BY_CONDITIONAL[method](x_dim, y_dim, HIDDEN)


class _Split(NamedTuple):
    train: Tensor
    valid: Tensor
    test: Tensor


def trained_mutual_information(
    x: Tensor, y: Tensor, method: str, seed: int, classes: Tensor | None = None
) -> MutualInformation:
    """The estimate of one of `ESTIMATORS` on rows that it was not trained on.

    Arguments:
        x: `(rows, x_dim)`, normal scores.
        y: `(rows, y_dim)`, normal scores, or one-hot columns of classes.
        method: Which one.
        seed: Draws the split, the initial network and the batches.
        classes: `(rows,)` int64, where y is classes: what predicts y then predicts these.
    """
    if classes is not None and method not in BY_CRITIC:
        y = classes[:, None]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed those of all devices, for good
        order = torch.randperm(len(x))
        first, second = (round(sum(SHARES[: i + 1]) * len(x)) for i in range(2))
        index = order[:first], order[first:second], order[second:]
        xs, ys = (_Split(*(side[i].float() for i in index)) for side in (x, y))
        estimator = _estimator(method, x.shape[1], y, classes)
        _train(estimator, xs, ys)
        with torch.no_grad():
            return _evaluate(estimator, xs.test, ys, method)


def _train(estimator: Dependence, x: _Split, y: _Split) -> None:
    """Minimises the learning loss on the training rows; ends with the parameters that were best on the validation rows."""
    optimizer = torch.optim.Adam(estimator.parameters(), LEARNING_RATE)
    lowest, waited, best = math.inf, 0, copy.deepcopy(estimator.state_dict())
    for _ in range(EPOCHS):
        estimator.train()
        for batch in torch.randperm(len(x.train)).split(BATCH):
            if len(batch) < 2:
                continue
            optimizer.zero_grad()
            estimator.learning_loss(x.train[batch], y.train[batch]).backward()
            optimizer.step()
        estimator.eval()
        with torch.no_grad():
            loss = float(estimator.learning_loss(x.valid, y.valid))
        if loss < lowest:
            lowest, waited, best = loss, 0, copy.deepcopy(estimator.state_dict())
        else:
            waited += 1
        if waited == PATIENCE or not math.isfinite(loss):
            break
    estimator.load_state_dict(best)
    estimator.eval()


def _evaluate(estimator: Dependence, x: Tensor, y: _Split, method: str) -> MutualInformation:
    rows, held_out = sum(map(len, y)), len(x)
    value = float(estimator(x, y.test))
    count = min(BLOCKS, held_out // 2)
    parts = zip(x.tensor_split(count), y.test.tensor_split(count), strict=True)
    blocks = [float(estimator(a, b)) for a, b in parts]
    likelihood = marginal = None
    if isinstance(estimator, ConditionalEstimator):
        likelihood = float(estimator.conditional(x).log_prob(y.test).mean())
        if isinstance(estimator, DifferenceOfEntropiesEstimator):
            marginal = likelihood - value
        elif isinstance(estimator.conditional, CategoricalConditional):
            counts = y.train[:, 0].long().bincount(minlength=estimator.conditional.classes) + 1.0
            marginal = float((counts / counts.sum()).log()[y.test[:, 0].long()].mean())
        else:
            normal = torch.distributions.Normal(y.train.mean(0), y.train.std(0))
            marginal = float(normal.log_prob(y.test).sum(1).mean())
    return MutualInformation(
        value,
        standard_error(torch.tensor(blocks)),
        method,
        estimator.bound,
        rows,
        held_out,
        likelihood,
        marginal,
        tuple(_warnings(estimator, value, held_out, likelihood, marginal)),
    )


def _warnings(
    estimator: Dependence, value: float, rows: int, likelihood: float | None, marginal: float | None
) -> Iterator[str]:
    if rows < FEW:
        yield f"{rows} rows to evaluate on are too few to trust the standard error"
    if likelihood is not None and marginal is not None and likelihood <= marginal:
        yield (
            f"on held-out rows q(y|x) is no better than a q(y) that ignores x ({likelihood:z.2f} against {marginal:z.2f} nats "
            "per row): x tells nothing, or q is poor, and then the value is no bound"
        )
    if isinstance(estimator, InfoNCEEstimator) and value > 0.8 * math.log(rows):
        yield f"close to the ceiling of InfoNCE, log {rows} = {math.log(rows):.2f} nats: there may be much more"
    if isinstance(estimator, NWJEstimator | MINEEstimator) and value > math.log(rows):
        yield f"above log {rows} = {math.log(rows):.2f} nats the value rests on a few pairs: do not trust it"
