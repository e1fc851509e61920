"""Penalties with nothing to learn: what two batches share, as a number that is zero where they share none of it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from disentangle.functional.precision import at_least_float32

__all__ = ["orthogonality"]


def orthogonality(
    x: Float[Tensor, "batch features"],
    y: Float[Tensor, "batch features"],
) -> Float[Tensor, ""]:
    r"""The mean squared inner product over all pairs of a row of x and a row of y.

    .. math:: \frac{1}{N^2}\left\| X Y^\top \right\|_F^2

    The paper's eq. 9 is this times :math:`N^2`; divided by it, the value does not grow with the batch. It is computed as
    :math:`\langle X^\top X, Y^\top Y\rangle / N^2`, in O(N·d²), where that is cheaper than the N x N matrix. Rows are not
    centred, as in the paper: it is zero when the two sets of vectors lie in orthogonal subspaces of the same space.

    References:
        Qian et al., MIRD, eq. 9

    Example:
        >>> import torch
        >>> orthogonality(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 5.0]]))
        tensor(0.)
    """
    n, d = x.shape
    with torch.autocast(x.device.type, enabled=False):
        x, y = at_least_float32(x) / n**0.5, at_least_float32(y) / n**0.5
        return ((x.T @ x) * (y.T @ y)).sum() if d < n else (x @ y.T).square().sum()
