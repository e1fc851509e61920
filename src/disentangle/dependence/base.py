"""The one interface of every dependence, and what it says of itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

from torch import Tensor, nn

from disentangle.variables import Masked

__all__ = ["Bound", "Dependence"]


class Bound(NamedTuple):
    """What a value is beside the mutual information of x and y, in expectation, and under which condition.

    Example:
        >>> Bound("lower", "always")
        Bound(side='lower', condition='always')
    """

    side: Literal["upper", "lower", "neither"]
    condition: str


class Dependence(nn.Module, ABC):
    """How much y depends on x over a batch; in nats where it is an information.

    A subclass implements `forward` and, where it has parameters, `learning_loss`. `label` names it in logs: a pair is
    logged as `label(x;y)`. `bound` says what its value is beside the mutual information. `variables` says how many variables
    it takes: 2, or another number, or `None` for two or more; `Pairwise` refuses groups of another number of names.

    **What x and y may be**, of all dependences of the library: tensors `(N, d)`, or `(N,)` where it is one number per row;
    of any precision up to that of the parameters, whole numbers or booleans; computed in that of the parameters and reduced
    in at least float32. **Whole numbers and booleans `(N,)` are classes**: where numbers are needed they become one-hot, with
    a column for each class of the batch, or with as many columns as the estimator was built for, 0 to C-1; what cannot take
    classes refuses them. The classes of a batch are read back from the device that they are on, which is waited for; a number
    for "no class" among them, such as -1, is one more: a `Pairwise` is told by `present` which rows have a class. Anything
    else is an error of one line with the way out: arrays and frames of pandas are to become tensors first, strings classes by
    `disentangle.class_numbers`; of sequences (`Masked`) give the mean or `disentangle.frames`.
    """

    label: str
    bound: Bound = Bound("neither", "nothing is claimed")
    variables: int | None = 2

    @abstractmethod
    def forward(self, x: Tensor | Masked, y: Tensor) -> Tensor:
        """The dependence between the rows of x, `(N, x_dim)`, and those of y, `(N, y_dim)`: a scalar."""

    def learning_loss(self, x: Tensor | Masked, y: Tensor) -> Tensor:
        """What the estimator's own parameters minimise, a scalar. Give it variables that are detached."""
        raise TypeError(f"expected a dependence that learns, got {type(self).__name__}, which has no parameters")
