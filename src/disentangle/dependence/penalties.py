"""Penalties without parameters."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from disentangle import functional
from disentangle.dependence.base import Dependence
from disentangle.variables import Masked

__all__ = ["OrthogonalLoss"]


class OrthogonalLoss(Dependence):
    r"""The orthogonality constraint of shared/private models: the mean squared inner product between rows of x and of y.

    .. math:: \frac{1}{N^2}\left\| X Y^\top \right\|_F^2

    The paper's eq. 9 is this times :math:`N^2`. It sees linear dependence only: two variables can have an orthogonality of
    zero and determine one another. It depends on the scale of both, shrinks to zero with either, and needs both of the same
    size. It has no parameters.

    References:
        Qian et al., MIRD, eq. 9

    Raises:
        ValueError: On calling it with x and y that are not both `(N, d)`.

    Example:
        >>> import torch
        >>> OrthogonalLoss()(torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 1.0]]))
        tensor(9.)
    """

    label = "orthogonal"

    def forward(self, x: Tensor | Masked, y: Tensor) -> Float[Tensor, ""]:
        """The mean squared inner product, `()`, of x, `(N, d)`, and y, `(N, d)`."""
        if isinstance(x, Masked) or x.dim() != 2 or x.shape != y.shape:
            given = "a masked sequence" if isinstance(x, Masked) else tuple(x.shape)
            raise ValueError(f"expected x and y of the same shape (N, d), got {given} and {tuple(y.shape)}")
        return functional.orthogonality(x, y)
