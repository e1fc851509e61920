"""What may come as an array, a list or a tensor, as an array of what was given, and what is missing in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["as_array", "is_missing"]


def as_array(values: Any) -> np.ndarray:
    """The values of a tensor on any device, an array, a list, or a series or frame of pandas, none made another kind.

    Of a list of strings and others, which numpy would all make strings, so that a NaN is "nan", they become objects as they
    are; what is masked in an array of numpy's becomes `None`.

    Raises:
        TypeError: If it is a sequence with its mask, a `Masked`, which has no rows yet.

    Example:
        >>> import numpy as np
        >>> as_array(["a", float("nan")]), as_array(np.ma.array([1, 2], mask=[True, False])), as_array([1, 2])
        (array(['a', nan], dtype=object), array([None, 2], dtype=object), array([1, 2]))
    """
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        return (values.float() if values.dtype in (torch.bfloat16, torch.half) else values).numpy()
    if isinstance(values, tuple) and hasattr(values, "mask"):  # numpy would stack the values and the mask, where it can
        raise TypeError(
            f"expected an array (N, ...), got a {type(values).__name__}: frames(...) makes a row of each real frame, .mean() "
            "one of each sequence"
        )
    if isinstance(values, np.ma.MaskedArray):
        array = values.data
        if np.ma.is_masked(values):
            array = array.astype(object)
            array[np.ma.getmaskarray(values)] = None
        return array
    array = np.asarray(values)
    as_they_are = isinstance(values, np.ndarray) or array.dtype.kind not in "SU"
    return array if as_they_are else np.asarray(values, dtype=object)


def is_missing(value: object) -> bool:
    """Whether a label is none: `None`, NaN, or what pandas has for them.

    Example:
        >>> [is_missing(value) for value in (None, float("nan"), "nan", 0)]
        [True, True, False, False]
    """
    try:
        return value is None or bool(value != value)
    except TypeError:  # of pandas' NA, which is neither equal to itself nor not
        return True
