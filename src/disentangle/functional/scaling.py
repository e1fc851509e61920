"""Where a batch lies, how large it is and how long its rows are, taken out before values are squared."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from disentangle.functional.inputs import refuse_few_rows
from disentangle.functional.precision import at_least_float32

__all__ = ["centered", "directions", "scaled", "shifted", "unit_rows"]


def shifted(x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch features"]:
    """`x` in at least float32, minus a middle value of each column: for functions that no shift changes.

    A constant column becomes exactly zero, and outliers cost the other rows no digits. The middle of the first 64 rows does,
    since any value of the column would be right.

    Example:
        >>> import torch
        >>> shifted(torch.tensor([[0.1, 5.0], [0.1, 6.0], [0.1, 9.0]]))
        tensor([[ 0., -1.],
                [ 0.,  0.],
                [ 0.,  3.]])
    """
    refuse_few_rows(len(x))
    x = at_least_float32(x)
    rows = x[:64].detach().sort(0).values
    return x - rows[(len(rows) - 1) // 2]


def centered(x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch features"]:
    """`x` in at least float32, minus the mean of each column. A constant column becomes exactly zero.

    Example:
        >>> import torch
        >>> centered(torch.tensor([[0.1, 5.0], [0.1, 7.0]]))
        tensor([[ 0., -1.],
                [ 0.,  1.]])
    """
    x = shifted(x)
    return x - x.mean(0)


def scaled(x: Float[Tensor, "batch features"]) -> tuple[Float[Tensor, "batch features"], Float[Tensor, ""]]:
    """`x` over its largest absolute value, and that value (1 where all of x is zero), which has no gradient.

    What does not depend on the unit of x has the same value and gradient at x and at the result, whose squares neither
    overflow nor vanish.

    Example:
        >>> import torch
        >>> scaled(torch.tensor([[3e30], [-6e30]]))[0]
        tensor([[ 0.5000],
                [-1.0000]])
    """
    largest = x.detach().abs().amax()
    scale = torch.where(largest > 0, largest, 1.0)
    return x / scale, scale


def unit_rows(x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch features"]:
    """`x` in at least float32, each row over its length, however long; zero, with gradient zero, for a row of zeros.

    Example:
        >>> import torch
        >>> unit_rows(torch.tensor([[3e30, 4e30], [0.0, 1e-9], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 1.0000],
                [0.0000, 0.0000]])
    """
    x = at_least_float32(x)
    largest = x.detach().abs().amax(1, keepdim=True)
    return directions(x / torch.where(largest > 0, largest, 1.0))


def directions(x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch features"]:
    """Rows of a batch of unit scale over their lengths; zero, with gradient zero, where rounding is all there is of a row.

    Example:
        >>> import torch
        >>> directions(torch.tensor([[0.0, 0.5], [0.0, 1e-9]]))
        tensor([[0., 1.],
                [0., 0.]])
    """
    lengths = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    none = lengths <= torch.finfo(x.dtype).eps  # which what is NaN is not
    return torch.where(none, 0.0, x / torch.where(none, 1.0, lengths))
