"""A latent of fixed scale that carries noise: what can be independent of something, since it can forget."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["NoisyLatent"]


class NoisyLatent(nn.Module):
    r"""Gives each dimension of a latent mean 0 and variance 1 over the batch, and adds noise, in evaluation too.

    .. math:: z = \frac{h - \mu}{\sigma} + s\, \varepsilon, \quad \varepsilon \sim N(0, I)

    Without noise a latent can hide anything in its last digits, where no estimator and no kernel looks, and a decoder or a
    classifier still finds it; without a fixed scale it can shrink until a penalty reads nothing. With both, what z can tell of
    anything is bounded: by `capacity`, and what is below the noise is gone for every reader alike.

    In training, mean and variance are those of the batch; in evaluation, running ones, as in `torch.nn.BatchNorm1d`. Where a
    batch comes in pieces, or is shared by several processes, they are those of the piece.

    Arguments:
        features: The number of dimensions, d.
        noise: The noise's standard deviation, s, beside the latent's of 1.

    Raises:
        ValueError: If the noise is not positive.

    Example:
        >>> latent = NoisyLatent(8, noise=0.3)
        >>> z = latent(5.0 + 100.0 * torch.randn(64, 8))
        >>> z.shape, round(latent.capacity, 1)
        (torch.Size([64, 8]), 10.0)
    """

    def __init__(self, features: int, noise: float = 0.3):
        super().__init__()
        if noise <= 0:
            raise ValueError(f"expected noise of more than 0, got {noise}")
        self.noise = noise
        self.norm = nn.BatchNorm1d(features, affine=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """The noisy latent, `(N, d)`, of what an encoder computed, `(N, d)`."""
        fixed = self.norm(hidden)
        return fixed + self.noise * torch.randn_like(fixed)

    @property
    def capacity(self) -> float:
        """What the latent can tell of anything at most, in nats: `d / 2 log(1 + 1 / s²)`, as many Gaussian channels can."""
        return self.norm.num_features / 2 * math.log1p(self.noise**-2)
