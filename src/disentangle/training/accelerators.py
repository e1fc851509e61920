"""The devices, precision and trackers of Accelerate, asked for by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["accelerator_for"]


def accelerator_for(
    device: Literal["auto", "cpu", "cuda"],
    precision: str = "no",
    trackers: Sequence[Any] = (),
    folder: str | Path | None = None,
) -> Accelerator:
    """An `Accelerator` on the device asked for.

    Arguments:
        device: `"auto"` takes the accelerator if there is one.
        precision: `"no"`, `"bf16"` or `"fp16"`. A CPU without instructions for bfloat16 takes twice as long with it.
        trackers: Names of trackers, such as `"tensorboard"`, or objects of `accelerate.tracking.GeneralTracker`.
        folder: Where trackers write.

    Raises:
        ValueError: If there is no such device, precision or tracker.

    Example:
        >>> accelerator_for("cpu").device
        device(type='cpu')
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.tracking import get_available_trackers
    from accelerate.utils import is_torch_xla_available

    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"expected device 'auto', 'cpu' or 'cuda', got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("expected a CUDA device, found none: use device 'auto' or 'cpu'")
    if precision not in ("no", "bf16", "fp16"):
        raise ValueError(f"expected precision 'no', 'bf16' or 'fp16', got {precision!r}")
    if precision == "fp16" and (device == "cpu" or not torch.cuda.is_available()):
        raise ValueError("expected a CUDA device for precision 'fp16', found none: use 'bf16' or 'no'")
    known = [str(name.value) for name in get_available_trackers()]
    for name in trackers:
        if isinstance(name, str) and name not in known:
            raise ValueError(
                f"expected a tracker that is installed, {', '.join(known) or 'of which none is'}, got {name!r}"
            )
    # The state is shared by all accelerators of a process, and otherwise refuses another device or precision than the first.
    AcceleratorState._reset_state(reset_partial_state=True)
    # Without an accelerator Accelerate leaves the processes of torchrun alone unless it is told to be on the CPU.
    return Accelerator(
        cpu=device == "cpu" or not (torch.accelerator.is_available() or is_torch_xla_available()),
        mixed_precision=precision,
        log_with=list(trackers) or None,
        project_dir=None if folder is None else str(folder),
    )
