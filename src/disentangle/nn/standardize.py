"""Features brought to mean 0 and deviation 1, as measured on the training data."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from disentangle.variables import Masked

__all__ = ["Standardize"]


class Standardize(nn.Module):
    r"""Padded sequences with each feature shifted and scaled by what `fit` found; the identity before.

    .. math:: \frac{x - \text{mean}}{\text{scale}}

    What is not finite becomes 0, the mean of the training data, and so does padding. A feature that is constant, to the
    precision of float32, keeps its scale. Mean and scale are buffers: they are saved with the weights of the model.

    Arguments:
        features: The number of features, D.

    Example:
        >>> standardize = Standardize(1).fit([np.array([[1.0], [3.0]]), np.array([[np.nan]])])
        >>> standardize.mean, standardize.scale
        (tensor([2.]), tensor([1.]))
        >>> standardize(Masked(torch.tensor([[[5.0], [np.inf], [9.0]]]), torch.tensor([[True, True, False]]))).values
        tensor([[[3.],
                 [0.],
                 [0.]]])
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    def fit(self, sequences: Iterable[np.ndarray | Tensor]) -> Standardize:
        """Measures mean and standard deviation of each feature over all finite frames of the sequences, `(T_i, D)`.

        Computed in float64, sequence by sequence, from deviations and never from raw squares.

        Returns:
            Itself.

        Raises:
            ValueError: If a sequence is not `(T_i, D)`.
        """
        features = len(self.mean)
        count, mean, square = (np.zeros(features) for _ in range(3))
        for sequence in sequences:
            frames = np.asarray(sequence.cpu() if isinstance(sequence, Tensor) else sequence, dtype=np.float64)
            if frames.ndim != 2 or frames.shape[1] != features:
                raise ValueError(f"expected sequences of shape (time, {features}), got {frames.shape}")
            finite = np.isfinite(frames)
            n = finite.sum(0)
            local = np.where(finite, frames, 0).sum(0) / np.maximum(n, 1)
            deviation = np.where(finite, frames - local, 0)
            # Two sets of frames as one: the distance of their means adds to the sum of squares.
            total = np.maximum(count + n, 1)
            square += np.square(deviation).sum(0) + np.square(local - mean) * count * n / total
            mean += (local - mean) * n / total
            count += n
        deviation = np.sqrt(square / np.maximum(count, 1))
        float32 = np.finfo(np.float32)
        varies = deviation > np.maximum(float32.eps * np.abs(mean), float32.tiny)
        self.mean.copy_(torch.from_numpy(mean))
        self.scale.copy_(torch.from_numpy(np.where(varies, deviation, 1.0)))
        return self

    def forward(self, sequence: Masked) -> Masked:
        """The standardised sequence, `(B, T, D)`, with the same mask; exactly 0 in padding."""
        # In place on what the subtraction made: a batch of video features is large.
        values = (sequence.values - self.mean).div_(self.scale).nan_to_num_(0.0, 0.0, 0.0)
        return Masked(values.masked_fill_(~sequence.mask.unsqueeze(-1), 0), sequence.mask)
