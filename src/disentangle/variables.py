"""What the parts of the library hand to one another: a padded batch of sequences, and one loss term a row.

A *variable* is a named batch of samples. It is a tensor `(B, D)`, or, while its time axis is still there, `Masked`.
A *loss* is a batch of terms, one a row, with the weight that each row has in the mean: `Rows`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Masked", "Rows"]


class Masked(NamedTuple):
    """A padded batch of sequences, `values: (B, T, ...)`, and which of its steps are real, `mask: (B, T)` bool.

    Where the library asks for *left-aligned* sequences, the real steps of a row come first and padding follows.

    Example:
        >>> audio = Masked(torch.ones(2, 3, 4), torch.tensor([[True, True, False], [False, False, False]]))
        >>> audio.lengths
        tensor([2, 0])
        >>> audio.mean().shape
        torch.Size([2, 4])
    """

    values: Tensor
    mask: Tensor

    @property
    def lengths(self) -> Tensor:
        """The number of real steps of each row, `(B,)`."""
        return self.mask.sum(1)

    def mean(self) -> Tensor:
        """The mean over the real steps, `(B, D)`; zeros in a row that has none. What stands in padding never counts."""
        real = self.mask.unsqueeze(-1)
        total = torch.where(real, self.values, 0).sum(1)
        return total / real.sum(1).clamp(min=1)

    def detach(self) -> Masked:
        """The same sequences outside the graph."""
        return Masked(self.values.detach(), self.mask)

    def select(self, rows: Tensor) -> Masked:
        """The rows of the indices `rows: (M,)`, in that order."""
        return Masked(self.values.index_select(0, rows), self.mask.index_select(0, rows))

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Masked:
        """The same sequences on `device`."""
        return Masked(*(t.to(device, non_blocking=non_blocking) for t in self))


class Rows(NamedTuple):
    """A loss kept as one term a row, `values: (B,)`, and what each row counts in the mean, `weights: (B,)`.

    A scalar would be too little: the logarithm of a mean over several batches, or over several processes, cannot be
    rebuilt from the logarithms of their means, and it can from sums. A row of weight 0 (unlabelled, its modality missing,
    filled up to an equal size) has no influence, whatever its value.

    Example:
        >>> loss = Rows(torch.tensor([1.0, 3.0, float("nan")]), torch.tensor([1.0, 1.0, 0.0]))
        >>> loss.mean()
        tensor(2.)
    """

    values: Tensor
    weights: Tensor

    def total(self) -> Tensor:
        """The weighted sum, `()`, in at least float32."""
        dtype = torch.promote_types(self.values.dtype, torch.float32)
        values = torch.where(self.weights > 0, self.values, 0)
        return (values.to(dtype) * self.weights.to(dtype)).sum()

    def mean(self) -> Tensor:
        """`sum(weights * values) / sum(weights)`, `()`, in at least float32; 0 where no row counts."""
        total = self.total()
        weight = self.weights.to(total.dtype).sum()
        return total / torch.where(weight > 0, weight, 1)
