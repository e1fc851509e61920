"""Distributions and samples that belong together: what would broadcast to a wrong number is refused."""

from __future__ import annotations

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, LowRankMultivariateNormal, MultivariateNormal

from disentangle.errors import TooFewRowsError
from disentangle.functional.classes import Classes
from disentangle.functional.precision import at_least_float32

__all__ = ["aligned", "refuse_broadcasting", "refuse_classes", "refuse_few_rows"]


def aligned(q: Distribution, y: Shaped[Tensor, "rows ..."]) -> tuple[Distribution, Shaped[Tensor, "rows y_dim"]]:
    """`q(y|x)` and y such that likelihoods of the one under the other are right or refused.

    What would broadcast is refused; y may be `(N,)` where it has one column. Categories refuse what is no class, and
    distributions of numbers refuse whole numbers `(N,)` or `(N, 1)`, which are classes. Numbers are at least float32, and a
    full covariance takes the higher precision of both.

    Raises:
        ValueError: If q is not a batch of N distributions over `y_dim` numbers, or y is classes and q is of numbers.

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> aligned(Independent(Normal(torch.zeros(4, 1), torch.ones(4, 1)), 1), torch.zeros(4))[1].shape
        torch.Size([4, 1])
        >>> aligned(Independent(Normal(torch.zeros(4, 1), torch.ones(4, 1)), 1), torch.zeros(4, 2))
        Traceback (most recent call last):
        ValueError: expected q(y|x) with batch shape (4,) and event shape (2,) for y of shape (4, 2), got (4,) and (1,)
    """
    categorical = isinstance(q, Independent) and isinstance(q.base_dist, Categorical)
    if not categorical:
        refuse_classes(y)
    y = y[:, None] if y.dim() == 1 else y
    if y.dim() != 2 or q.batch_shape != y.shape[:1] or q.event_shape != y.shape[1:]:
        raise ValueError(
            f"expected q(y|x) with batch shape {tuple(y.shape[:1])} and event shape {tuple(y.shape[1:])} for y of shape "
            f"{tuple(y.shape)}, got {tuple(q.batch_shape)} and {tuple(q.event_shape)}"
        )
    if isinstance(q, Independent) and categorical:
        if not isinstance(q.base_dist, Classes):
            q = Independent(Classes(logits=q.base_dist.logits, validate_args=False), 1, validate_args=False)
        return q, y
    y = at_least_float32(y)
    if isinstance(q, MultivariateNormal) and q.loc.dtype != y.dtype:
        dtype = torch.promote_types(q.loc.dtype, y.dtype)
        q = MultivariateNormal(q.loc.to(dtype), scale_tril=q.scale_tril.to(dtype), validate_args=False)
        y = y.to(dtype)
    if isinstance(q, LowRankMultivariateNormal) and q.loc.dtype != y.dtype:
        dtype = torch.promote_types(q.loc.dtype, y.dtype)
        parts = (part.to(dtype) for part in (q.loc, q.cov_factor, q.cov_diag))
        q, y = LowRankMultivariateNormal(*parts, validate_args=False), y.to(dtype)
    return q, y


def refuse_classes(y: Tensor) -> None:
    """Refuses whole numbers `(N,)` or `(N, 1)` where y is to be numbers: the classes 0, 1 and 2 do not lie on a line.

    Example:
        >>> import torch
        >>> refuse_classes(torch.tensor([2, 0, 1]))
        Traceback (most recent call last):
        ValueError: expected y as numbers, got whole numbers (3,), which are classes:
        CategoricalConditional is q(y|x) of classes; y.float() makes numbers of them
    """
    if not y.is_floating_point() and y.shape[1:] in ((), (1,)):
        raise ValueError(
            f"expected y as numbers, got whole numbers {tuple(y.shape)}, which are classes: CategoricalConditional is q(y|x) "
            "of classes; y.float() makes numbers of them"
        )


def refuse_broadcasting(mean: Tensor, y: Tensor) -> None:
    """Refuses samples of another shape than their means, which would be compared with the means of other rows.

    Example:
        >>> import torch
        >>> refuse_broadcasting(torch.zeros(4, 1), torch.zeros(4))
        Traceback (most recent call last):
        ValueError: expected y of the shape of the means, (4, 1), got (4,)
    """
    if mean.shape != y.shape:
        raise ValueError(f"expected y of the shape of the means, {tuple(mean.shape)}, got {tuple(y.shape)}")


def refuse_few_rows(rows: int, least: int = 1, why: str = "") -> None:
    """Refuses a batch of too few rows for what is computed from them.

    Example:
        >>> refuse_few_rows(0)
        Traceback (most recent call last):
        disentangle.errors.TooFewRowsError: expected at least 1 row, got 0
        >>> refuse_few_rows(1, 2, ", of which there are unmatched pairs")
        Traceback (most recent call last):
        disentangle.errors.TooFewRowsError: expected at least 2 rows, of which there are unmatched pairs, got 1:
        leave a last batch of so few out, drop_last=True
    """
    if rows < least:
        way = ": leave a last batch of so few out, drop_last=True" if rows else ""
        raise TooFewRowsError(f"expected at least {least} row{'s' * (least > 1)}{why}, got {rows}{way}")
