"""A scalar whose gradients were computed with it, as a term of someone else's loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from disentangle.functional.first_derivative import first_derivative

__all__ = ["with_gradient"]


class _Computed(torch.autograd.Function):
    """A value whose gradients were computed with it: the estimators may learn on before they are asked for."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: list[Tensor], *variables: Tensor) -> Tensor:
        ctx.save_for_backward(*gradients)
        return value.clone()

    @staticmethod
    @first_derivative("a PenaltyLoss", "its pairwise gives values in the graph, pairwise(variables)")
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, ...]:
        return None, None, *(grad_outputs[0] * gradient for gradient in ctx.saved_tensors)


def with_gradient(total: Tensor, variables: list[Tensor], leaves: list[Tensor], times: int) -> Tensor:
    """The value of `total`, whose gradient in the leaves, `times` as large, becomes that in the variables.

    A variable without influence gets zeros, so that a `DistributedDataParallel` finds all parameters used.
    """
    pairs = [(variable, leaf) for variable, leaf in zip(variables, leaves, strict=True) if leaf.requires_grad]
    if not pairs:
        return total.detach()
    chosen = [leaf for _, leaf in pairs]
    if total.requires_grad:
        gradients = torch.autograd.grad(total, chosen, materialize_grads=True)
    else:
        gradients = [torch.zeros_like(leaf) for leaf in chosen]
    return _Computed.apply(total.detach(), [times * each for each in gradients], *(variable for variable, _ in pairs))
