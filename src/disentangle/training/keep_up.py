"""A learning rate of the estimators that adapts until they keep up with the latents."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["KeepUp"]


class KeepUp:
    r"""Adapts the learning rate of the estimators' optimiser on every batch, so that they neither lag nor overshoot.

    With the :math:`\text{lag}` of `disentangle.training.lag.Lag`, which says whether the steps on the batch before were too
    short (above 0) or too long (below 0) for the new one,

    .. math:: \log \text{rate} \leftarrow \log \text{rate} + \text{gain} \cdot \text{lag}

    which is the hypergradient of the rate, in its multiplicative form. Noise in the lag moves the rate by a few per cent. On
    latents that stand still the rate sinks, down to `slowest`, and grows again once they move.

    The rate becomes a tensor, the `lr` of each group of the optimiser, and is saved and loaded with the optimiser's state. On a
    CUDA device take Adam with `fused=True`, or with `capturable=True`: it reads the rate there, and others wait for it.

    References:
        Baydin et al., Online Learning Rate Adaptation with Hypergradient Descent (ICLR 2018)

    Arguments:
        gain: How far a lag of 1 moves the logarithm of the rate.
        slowest: The smallest rate.
        fastest: The largest rate.

    Raises:
        ValueError: If the gain is not above 0, or the rates are not `0 < slowest < fastest`.

    Example:
        >>> optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(2))], 1e-3, fused=True)
        >>> KeepUp(gain=0.2).adapt(optimizer, torch.tensor(0.5))  # the estimators lag
        >>> f"{KeepUp.rate(optimizer):.6f}"  # 1e-3 * exp(0.1)
        '0.001105'

        `AlternatingStep` and `AlternatingTrainer` take it as `keep_up=KeepUp()`; a `PenaltyLoss` has one by itself.
    """

    def __init__(self, *, gain: float = 0.2, slowest: float = 1e-4, fastest: float = 1e-1):
        if not gain > 0:
            raise ValueError(f"expected a gain above 0, got {gain}")
        if not 0 < slowest < fastest:
            raise ValueError(f"expected rates 0 < slowest < fastest, got {slowest} and {fastest}")
        self.gain, self.slowest, self.fastest = gain, slowest, fastest

    @torch.no_grad()
    def adapt(self, optimizer: Optimizer, lag: Tensor) -> None:
        """Changes the rate of each group by what the lag, `()`, says."""
        factor = (self.gain * lag).exp()
        for group in optimizer.param_groups:
            rate = group["lr"]  # a number at first, and on the CPU once it was loaded
            rate = rate.to(lag) if isinstance(rate, Tensor) else lag.new_full((), rate)
            group["lr"] = (rate * factor).clamp(self.slowest, self.fastest)

    @staticmethod
    def rate(optimizer: Optimizer) -> Tensor:
        """The rate of the first group, `()`."""
        return torch.as_tensor(optimizer.param_groups[0]["lr"])
