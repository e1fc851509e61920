"""Classes as whole numbers, and what is none of them."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent

__all__ = ["Classes", "as_classes", "is_of_classes", "one_hot"]


def as_classes(y: Shaped[Tensor, "*shape"], classes: int) -> tuple[Int[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """`y` as the numbers of classes, and a spoiler to add to what is computed with them: 0, or NaN where y is no class.

    On the CPU a value that is no class raises. Elsewhere looking would make the host wait for the device: the value counts
    as class 0, so that no index is out of range, and the result is NaN, which `disentangle.AlternatingStep` stops at and
    names. A mean of likelihoods keeps finite gradients, so the estimator survives.

    Raises:
        ValueError: On the CPU, if a value is not one of the whole numbers from 0 to `classes` - 1.

    Example:
        >>> import torch
        >>> as_classes(torch.tensor([[0.0], [2.0]]), 3)[0].tolist()
        [[0], [2]]
        >>> as_classes(torch.tensor([[0], [3]]), 3)
        Traceback (most recent call last):
        ValueError: expected classes 0 to 2 as whole numbers, got 3
    """
    numbers = y if y.is_floating_point() else y.long()
    known = (numbers >= 0) & (numbers < classes) & (numbers == numbers.floor())
    if y.device.type == "cpu" and not torch.compiler.is_compiling() and not known.all():
        raise ValueError(f"expected classes 0 to {classes - 1} as whole numbers, got {numbers[~known][0].item():.10g}")
    return torch.where(known, numbers, 0).long(), torch.where(known, 0.0, math.nan)


def one_hot(
    y: Shaped[Tensor, " batch"], classes: int | None, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "batch classes"]:
    """Classes as one column each, which is 1 in the rows of its class and else 0.

    Without a number of `classes` there is a column for each class that y has, in order. How many these are is read back from
    the device that y is on.

    Raises:
        ValueError: As `as_classes` does, where the number of classes is given.

    Example:
        >>> import torch
        >>> one_hot(torch.tensor([7, 2, 7]), None)
        tensor([[0., 1.],
                [1., 0.],
                [0., 1.]])
    """
    if classes is None:
        return (y[:, None] == y.unique()).to(dtype)
    chosen, spoiler = as_classes(y, classes)
    columns = torch.arange(classes, device=y.device)
    return (chosen[:, None] == columns).to(dtype) + spoiler[:, None].to(dtype)


def is_of_classes(q: Distribution) -> bool:
    """Whether a distribution is of classes and not of numbers: of these it has probabilities, and no densities.

    Example:
        >>> import torch
        >>> is_of_classes(Classes(logits=torch.zeros(2, 3), validate_args=False))
        True
    """
    return (q.base_dist if isinstance(q, Independent) else q).has_enumerate_support


class Classes(Categorical):
    """Categories whose likelihood refuses what is no class, as `as_classes` does.

    Example:
        >>> import torch
        >>> Classes(logits=torch.zeros(2, 3), validate_args=False).log_prob(torch.tensor([0.0, 0.5]))
        Traceback (most recent call last):
        ValueError: expected classes 0 to 2 as whole numbers, got 0.5
    """

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-probability of each class."""
        chosen, spoiler = as_classes(value, self.logits.shape[-1])
        return super().log_prob(chosen) + spoiler
