"""Gradients in closed form that have none themselves: a second derivative is refused, and never wrong in silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd.function import once_differentiable

__all__ = ["first_derivative"]


def first_derivative(of: str, instead: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorates the `backward` of an autograd function that autograd cannot go through again.

    `torch.autograd.function.once_differentiable` raises only where what comes from above needs a gradient, and takes what was
    kept for the gradient for constants otherwise. This one refuses whenever a graph of the gradient is asked for.

    Arguments:
        of: What has one derivative alone.
        instead: What has two.

    Raises:
        RuntimeError: From the decorated function, under `create_graph=True`.

    Example:
        >>> @first_derivative("a square in closed form", "write x * x")
        ... def backward(ctx, slope):
        ...     return 2 * slope
        >>> with torch.no_grad():
        ...     backward(None, 3)
        6
    """

    def decorate(backward: Callable[..., Any]) -> Callable[..., Any]:
        once = once_differentiable(backward)

        def checked(ctx: Any, *slopes: Any) -> Any:
            if torch.is_grad_enabled() and not torch.compiler.is_compiling():
                raise RuntimeError(f"expected one derivative of {of}, got create_graph=True: {instead}")
            return once(ctx, *slopes)

        return checked

    return decorate
