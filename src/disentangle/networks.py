"""The network that conditionals, critics and classifiers have in common."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from disentangle.functional.precision import in_precision_of
from disentangle.variables import Masked

__all__ = ["TwoLayers"]


class TwoLayers(nn.Sequential):
    """A linear layer, ReLU, a linear layer; on numbers of any kind that is not more precise than the layers.

    Arguments:
        in_features: The number of features of the input.
        hidden_dim: The width of the hidden layer.
        out_features: The number of outputs.
        name: What errors call the input.

    Raises:
        ValueError: On calling it with a masked sequence, or with numbers that are more precise than its parameters.

    Example:
        >>> import torch
        >>> TwoLayers(3, 8, 2)(torch.eye(3, dtype=torch.long)).dtype
        torch.float32
    """

    def __init__(self, in_features: int, hidden_dim: int, out_features: int, name: str = "x"):
        super().__init__(nn.Linear(in_features, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, out_features))
        self.name = name

    def forward(self, input: Tensor) -> Tensor:
        """The outputs, `(..., out_features)`, of inputs `(..., in_features)`."""
        first: Any = self[0]
        if isinstance(input, Masked):
            raise ValueError(
                f"expected {self.name} of shape (N, {first.in_features}), got a masked sequence: "
                "give its mean, or a MaskedConditional"
            )
        return super().forward(in_precision_of(first.weight, input, self.name))
