"""A wrapper that measures dependence within each class: what x and y tell about one another beyond what the class tells."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from disentangle.dependence.base import Bound, Dependence
from disentangle.dependence.estimators import precision_of
from disentangle.dependence.inputs import columns_of, mismatch, refuse_other_than_pairs
from disentangle.dependence.upper import CLUBEstimator, LeaveOneOutEstimator, SampledCLUBEstimator
from disentangle.errors import TooFewRowsError
from disentangle.functional.classes import one_hot
from disentangle.variables import Masked, as_rows

__all__ = ["GivenClasses"]

LEARNING = (CLUBEstimator, SampledCLUBEstimator, LeaveOneOutEstimator)


class GivenClasses(Dependence):
    r"""The dependence of x and y given classes c: measured within each class, and averaged by the share of its rows.

    .. math:: D(x; y \mid c) = \sum_k \frac{N_k}{N} D\left(x_{c=k};\, y_{c=k}\right)

    **What it is for.** Two latents that may both know the class, a digit say, depend on one another through it, and a penalty
    on the pair would take the class out of one of them. This one leaves what the class explains: where x and y depend on one
    another only through c, its value is that of D for independent variables.

    **What it takes.** A dependence without parameters is measured as it is. `HSIC` keeps its meaning: in the population the
    value is zero if and only if x and y are independent given c. Its biased form is of order 1/N_k in each class: with few rows
    per class take `HSIC(unbiased=True)`.

    Of those that learn, it takes the upper bounds by a q(y|x) that compare rows of the batch: `CLUBEstimator`,
    `SampledCLUBEstimator` and `LeaveOneOutEstimator`. They are given x with a one-hot column for each class: build them for
    `x_dim + classes` features. They learn q(y|x, c) from all rows at once, and compare y with the y of its class alone. With
    the true p(y|x, c) in place of q the value is an upper bound of :math:`I(x; y \mid c)`, as it is of :math:`I(x; y)` without
    classes. All others that learn are refused: they would have to learn within classes, or need the marginal of each class.

    Classes with fewer rows than `min_rows` are left out. A batch without any other class is refused, since a penalty of 0 would
    say that nothing depends: make the loader with `drop_last=True` where the last batch may be that small. How many rows each
    class has is read once per call, which waits for the device where c is on one.

    Arguments:
        dependence: The dependence of x and y, or of x with the class's columns and y.
        classes: The number of classes, for a dependence that learns.
        min_rows: How many rows of a batch a class must have to count.

    Raises:
        ValueError: If the dependence takes more than two variables, if it learns and is none of those named, or `classes` is
            lacking then, not below its `x_dim`, or given without need; on calling it with variables of other shapes, with c
            that is not whole numbers `(N,)`, or where no class has enough rows.

    Example:
        >>> import torch
        >>> from disentangle import HSIC, Pairwise
        >>> digit = torch.arange(200) % 4
        >>> x, y = (digit[:, None] + 0.1 * torch.randn(200, 1) for _ in range(2))  # alike by the digit alone
        >>> pairs = Pairwise({("x", "y"): HSIC(), ("x", "y", "digit"): GivenClasses(HSIC())})
        >>> marginal, given = pairs({"x": x, "y": y, "digit": digit}).values()
        >>> given < 0.5 * marginal
        tensor(True)
        >>> GivenClasses(CLUBEstimator(1 + 4, 1), classes=4).learning_loss(x, y, digit).isfinite()
        tensor(True)
    """

    dependence: Any  # with x_dim, where it learns
    variables = 3

    def __init__(self, dependence: Dependence, *, classes: int | None = None, min_rows: int = 4):
        super().__init__()
        if not isinstance(dependence, Dependence):
            raise TypeError(f"expected a Dependence, got {dependence!r}")
        refuse_other_than_pairs(dependence)
        learns = isinstance(dependence, LEARNING)
        if not learns and next(dependence.parameters(), None) is not None:
            names = ", ".join(kind.__name__ for kind in LEARNING)
            raise ValueError(f"expected a dependence without parameters, or {names}, got {type(dependence).__name__}")
        if learns != (classes is not None):
            wanted = "the number of classes for a dependence that learns" if learns else "no number of classes"
            raise ValueError(f"expected {wanted}, got {classes} with {type(dependence).__name__}")
        self.dependence, self.classes, self.min_rows = dependence, classes, min_rows
        if classes is not None and self.dependence.x_dim <= classes:
            kind, x_dim = type(dependence).__name__, self.dependence.x_dim
            raise ValueError(
                f"expected a dependence {kind}(x_dim + {classes}, y_dim), got one for {x_dim} features of x"
            )
        if min_rows < 2:
            raise ValueError(f"expected min_rows of at least 2, got {min_rows}")
        side, condition = dependence.bound
        self.label = f"conditional{dependence.label}"
        self.bound = Bound(side, f"within each class, {condition}")

    def forward(self, x: Tensor | Masked, y: Tensor, *classes: Tensor) -> Float[Tensor, ""]:
        """The mean over classes, `()`, of x, `(N, x_dim)`, y, `(N, y_dim)`, and their classes, `(N,)` whole numbers."""
        x, y, c = self._fitting(x, y, *classes)
        order = c.argsort(stable=True)
        counts = c.unique(return_counts=True)[1].tolist()
        parts = zip(x[order].split(counts), y[order].split(counts), counts, strict=True)
        values = [(self.dependence(*rows), n) for *rows, n in parts if n >= self.min_rows]
        if not values:
            most = max(counts, default=0)
            raise TooFewRowsError(
                f"expected a class with at least {self.min_rows} rows in the batch, got {most} at most in {len(c)} rows: take "
                "larger batches, and leave a small last one out, drop_last=True"
            )
        return torch.stack([value * n for value, n in values]).sum() / sum(n for _, n in values)

    def learning_loss(self, x: Tensor | Masked, y: Tensor, *classes: Tensor) -> Float[Tensor, ""]:
        """The negative log-likelihood of y under q(y|x, c) in nats, `()`, averaged over rows."""
        return self.dependence.learning_loss(*self._fitting(x, y, *classes)[:2])

    def _fitting(self, *variables: Tensor | Masked) -> tuple[Tensor, Tensor, Tensor]:
        """x, with a column for each class where q is to know them, y, and c, row by row."""
        if len(variables) != 3:
            raise ValueError(f"expected three variables, x, y and their classes, got {len(variables)}")
        x, y, c = (as_rows(z, name) for z, name in zip(variables, ("x", "y", "the classes"), strict=True))
        if isinstance(x, Masked) or isinstance(y, Masked) or x.dim() > 2 or y.dim() > 2:
            raise mismatch("x of shape (N, x_dim) and y of shape (N, y_dim)", variables[:2])
        if isinstance(c, Masked) or c.dim() != 1:
            given: Any = variables[2]
            got = "a masked sequence" if isinstance(given, Masked) else f"{given.dtype} {tuple(given.shape)}"
            way = ": .long() makes whole numbers of them" if isinstance(c, Tensor) and c.shape[1:] == (1,) else ""
            raise ValueError(f"expected the classes as whole numbers (N,), got {got}{way}")
        if not len(x) == len(y) == len(c):
            raise ValueError(f"expected x, y and classes of the same N, got {len(x)}, {len(y)} and {len(c)}")
        if self.classes is None:
            return x, y, c.long()
        x_dim, y_dim, dtype = self.dependence.x_dim - self.classes, self.dependence.y_dim, precision_of(self.dependence)
        x = columns_of(x, "x", x_dim, dtype)
        if isinstance(x, Masked) or x.shape[1:] != (x_dim,) or y.shape[1:] not in ((y_dim,), ()):
            wanted = f"x of shape (N, {x_dim}), as {self.dependence.x_dim} features less {self.classes} classes are"
            raise mismatch(f"{wanted}, and y of shape (N, {y_dim})", variables[:2])
        dtype = torch.promote_types(x.dtype, dtype)  # by hand: autocast joins no lower precision but its own
        return torch.cat([x.to(dtype), one_hot(c, self.classes, dtype)], 1), y, c.long()
