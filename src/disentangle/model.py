"""What turns a batch into named variables, losses and predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from disentangle.variables import Masked, Rows

__all__ = ["Model", "Variables"]

Variables = Mapping[str, Tensor | Masked]


class Model(nn.Module):
    """What is trained: its call encodes a batch into named variables, of which losses and predictions are made.

    Inherit, and write `forward` and `losses`; the rest has defaults. Any `nn.Module` with these methods will do as well.

    Example:
        >>> import torch
        >>> class Line(Model):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.encode, self.head = nn.Linear(3, 2), nn.Linear(2, 1)
        ...     def forward(self, batch):
        ...         return {"z": self.encode(batch["x"])}
        ...     def predict(self, variables):
        ...         return self.head(variables["z"]).squeeze(1)
        ...     def losses(self, variables, batch):
        ...         return {"Y": Rows.unweighted((self.predict(variables) - batch["y"]).square())}
        >>> model, batch = Line(), {"x": torch.ones(4, 3), "y": torch.zeros(4)}
        >>> model.losses(model(batch), batch)["Y"].values.shape
        torch.Size([4])
    """

    def forward(self, batch: Any) -> Mapping[str, Any]:
        """The named variables of a batch, `{name: (N, d) or (N,)}`: latents, and the inputs that take part in pairs.

        What has a name that begins with `_` is no variable: it may be anything that `losses` and `predict` shall not compute
        again, is handed to them, and to nobody else.
        """
        raise NotImplementedError(
            f"expected {type(self).__name__} to have a forward that maps a batch to its variables"
        )

    def present(self, batch: Any) -> Mapping[str, Tensor] | None:
        """Which rows have which variable, `{name: (N,) bool}` on the CPU; a name left out is present everywhere."""
        return None

    def losses(self, variables: Mapping[str, Any], batch: Any) -> dict[str, Rows]:
        """The named losses of the variables, one term per row."""
        raise NotImplementedError(f"expected {type(self).__name__} to have losses, of its variables and a batch")

    def predict(self, variables: Mapping[str, Any]) -> Tensor:
        """The predictions for the rows of the variables, `(N, ...)`; what `disentangle.predict` returns for whole data sets."""
        raise NotImplementedError(f"expected {type(self).__name__} to have a predict, of its variables")
