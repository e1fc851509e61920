"""A latent of fixed scale that carries noise: what can be independent of something, since it can forget."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from disentangle.functional.scaling import unit_rows

__all__ = ["NoisyLatent"]


class NoisyLatent(nn.Module):
    r"""Gives a latent a fixed scale, and adds noise to it, in evaluation too.

    .. math:: z = \bar h + s\, \varepsilon, \quad \varepsilon \sim N(0, I)

    Without noise a latent can hide anything in its last digits, where no estimator and no kernel looks, and a decoder or a
    classifier still finds it; without a fixed scale it can grow until the noise is nothing, or shrink until a penalty reads
    nothing. With both, what z can tell of anything is bounded: by `capacity`, and what is below the noise is gone for every
    reader alike.

    What is fixed, so that :math:`\bar h` has a root mean square of 1:

    - `"columns"`: each dimension gets mean 0 and variance 1, as by `torch.nn.BatchNorm1d`: over the batch in training, running
      statistics in evaluation. No dimension can fall silent. Where a batch comes in pieces or is shared by several
      processes, the statistics are those of the piece. **Rows whose modality is missing** are part of them too: NaN there makes
      all rows and the running statistics NaN, zeros make the others larger beside their noise. Give it the rows that are there.
    - `"rows"`: each row gets the length :math:`\sqrt d`, a latent is its direction. There are no statistics: pieces, several
      processes, a single row and evaluation compute exactly the same, and what is missing in one row changes no other. All rows
      may fall on one direction, where that is all that a penalty leaves. A row of zeros has no direction: it stays zero,
      without a gradient.

    References:
        Davidson et al., Hyperspherical Variational Auto-Encoders (UAI 2018), for latents of fixed length; Shannon, A
        Mathematical Theory of Communication (1948), for the capacity

    Arguments:
        features: The number of dimensions, d.
        noise: The noise's standard deviation, s, beside the root mean square of 1 of what it is added to.
        fixed: "columns" or "rows".

    Raises:
        ValueError: If the noise is not positive, if `fixed` is something else, or if there is one dimension, which has no
            direction, with `"rows"`; on a call, with anything but `(N, d)`: of sequences give `disentangle.frames`.

    Example:
        >>> latent = NoisyLatent(8, noise=0.3)
        >>> z = latent(5.0 + 100.0 * torch.randn(64, 8))
        >>> z.shape, round(latent.capacity, 1)
        (torch.Size([64, 8]), 10.0)
    """

    def __init__(self, features: int, noise: float = 0.3, *, fixed: Literal["columns", "rows"] = "columns"):
        super().__init__()
        if not 0 < noise < math.inf:
            raise ValueError(f"expected finite noise of more than 0, got {noise}")
        if fixed not in ("columns", "rows"):
            raise ValueError(f"expected fixed as 'columns' or 'rows', got {fixed!r}")
        if fixed == "rows" and features < 2:
            raise ValueError(f"expected at least 2 features for rows of fixed length, got {features}")
        self.features, self.noise = features, noise
        self.norm = nn.BatchNorm1d(features, affine=False) if fixed == "columns" else _Direction()

    def forward(self, hidden: Tensor) -> Tensor:
        """The noisy latent, `(N, d)`, of what an encoder computed, `(N, d)`."""
        if hidden.dim() != 2 or hidden.shape[1] != self.features:
            raise ValueError(f"expected a latent (N, {self.features}), got {tuple(hidden.shape)}")
        fixed = self.norm(hidden)
        return fixed + self.noise * torch.randn_like(fixed)

    @property
    def capacity(self) -> float:
        """What the latent can tell of anything at most, in nats; `d / 2 log(1 + 1 / s²)`, as d Gaussian channels can."""
        return self.features / 2 * math.log1p(self.noise**-2)


class _Direction(nn.Module):
    def forward(self, hidden: Tensor) -> Tensor:
        return (unit_rows(hidden) * math.sqrt(hidden.shape[1])).to(hidden.dtype)
