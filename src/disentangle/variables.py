"""What the parts of the library hand to one another: a padded batch of sequences, and one loss term per row.

A *variable* is a named batch of samples. It is a tensor `(B, D)`, or, while its time axis is still there, `Masked`; one
number per row may also come as `(B,)` floats, and one class per row as `(B,)` or `(B, 1)` whole numbers.
A *loss* is a batch of terms, one per row, with the weight that each row has in the mean: `Rows`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from disentangle.arrays import as_array, is_missing

__all__ = [
    "Masked",
    "Rows",
    "as_rows",
    "class_numbers",
    "concatenate",
    "frames",
    "row_count",
    "select_rows",
    "tensors_of",
    "values_of",
    "zero_in_padding",
]


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

    @classmethod
    def cat(cls, batches: Sequence[Masked]) -> Masked:
        """The sequences of all batches, in their order; the shorter ones are padded with zeros to the longest.

        Example:
            >>> batches = [Masked(torch.ones(1, n, 2), torch.ones(1, n, dtype=torch.bool)) for n in (1, 3)]
            >>> Masked.cat(batches).mask.tolist()
            [[True, False, False], [True, True, True]]
        """
        steps = max(batch.mask.shape[1] for batch in batches)
        padded = [
            [pad(t, (0, 0) * (t.dim() - 2) + (0, steps - t.shape[1])) for t in (batch.values, batch.mask)]
            for batch in batches
        ]
        return cls(*(torch.cat(tensors) for tensors in zip(*padded, strict=True)))

    @property
    def lengths(self) -> Tensor:
        """The number of real steps of each row, `(B,)`."""
        _refuse_other_dtype(self.mask)
        return self.mask.sum(1)

    def mean(self) -> Tensor:
        """The mean over the real steps, `(B, ...)`; zeros in a row that has none. What stands in padding never counts.

        It is summed in at least float32, so that a long sequence of half precision does not overflow.

        Raises:
            ValueError: If the mask is not bool.
        """
        dtype = torch.promote_types(self.values.dtype, torch.float32)
        total = zero_in_padding(self.values, self.mask).sum(1, dtype=dtype)
        mean = total / self.lengths.clamp(min=1).view(-1, *(1,) * (total.dim() - 1))
        return mean.to(self.values.dtype) if self.values.is_floating_point() else mean

    def detach(self) -> Masked:
        """The same sequences outside the graph."""
        return Masked(self.values.detach(), self.mask)

    def select(self, rows: Tensor) -> Masked:
        """The rows of the indices `rows: (M,)`, in that order."""
        return Masked(self.values.index_select(0, rows), self.mask.index_select(0, rows))

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Masked:
        """The same sequences on `device`."""
        return Masked(*(t.to(device, non_blocking=non_blocking) for t in self))


def zero_in_padding(values: Tensor, mask: Tensor) -> Tensor:
    """Values `(B, T, ...)` with zeros where `mask`, `(B, T)`, is False, whatever stands there.

    A copy of a batch of frames takes memory and time. So on the CPU padding of what needs no gradient is looked at, and
    values in whose padding there are zeros already, as a data set and `Standardize` put there, are returned as they are.

    Example:
        >>> mask = torch.tensor([[True, False]])
        >>> zero_in_padding(torch.tensor([[1.0, torch.nan]]), mask)
        tensor([[1., 0.]])
        >>> values = torch.tensor([[1.0, 0.0]])
        >>> zero_in_padding(values, mask) is values
        True
    """
    _refuse_other_dtype(mask)
    may_look = values.device.type == "cpu" and not values.requires_grad and not torch.compiler.is_compiling()
    if may_look and not values[~mask].any():
        return values
    return torch.where(mask.view(*mask.shape, *(1,) * (values.dim() - 2)), values, 0)


def _refuse_other_dtype(mask: Tensor) -> None:
    if mask.dtype != torch.bool:
        raise ValueError(
            f"expected a mask as torch.bool, True for each real step, got {mask.dtype}: mask > 0.5 makes one"
        )


def row_count(variable: Tensor | Masked) -> int:
    """The number of rows of a variable. `len` would not do: a `Masked` is a pair, and has two items."""
    return len(values_of(variable))


def values_of(variable: Tensor | Masked) -> Tensor:
    """The values of a variable, those in padding included."""
    return variable.values if isinstance(variable, Masked) else variable


def tensors_of(variables: Mapping[str, Tensor | Masked]) -> dict[str, Tensor]:
    """Those of some variables that are tensors, without the sequences."""
    return {name: variable for name, variable in variables.items() if not isinstance(variable, Masked)}


def select_rows(variable: Tensor | Masked, rows: Tensor) -> Tensor | Masked:
    """The rows of a variable of the indices `rows: (M,)`, in that order."""
    return variable.select(rows) if isinstance(variable, Masked) else variable.index_select(0, rows)


def concatenate(batches: Sequence[Tensor | Masked]) -> Tensor | Masked:
    """The rows of all batches of one variable, in their order.

    Raises:
        ValueError: If some are tensors and others masked sequences.

    Example:
        >>> concatenate([torch.zeros(2, 3), torch.ones(1, 3)]).shape
        torch.Size([3, 3])
    """
    sequences = [batch for batch in batches if isinstance(batch, Masked)]
    tensors = [batch for batch in batches if isinstance(batch, Tensor)]
    if sequences and tensors:
        raise ValueError("expected tensors or masked sequences in all batches, got both")
    return Masked.cat(sequences) if sequences else torch.cat(tensors)


def frames(*variables: Tensor | Masked) -> tuple[Tensor, ...]:
    """A row for each real frame in place of one for each sequence, for all that compares rows.

    Of a masked sequence these are its real frames, one sequence after the other; the row of a tensor, such as the embedding
    of a speaker or the class of an utterance, is repeated for each frame of its sequence. What was computed from padding is
    gone, with the sequences that have no real frame.

    **What a value is then**: nats per frame, of a frame drawn at random from all those of the batch, so that long sequences
    count for more. The frames of a sequence are not independent: a standard error over them as if they were is too small,
    often by far. Where rows are compared with one another, some of the others are frames of the same sequence, about one
    in N of them with N sequences of one length. For a row that was repeated these are matched pairs too, and CLUB is
    smaller by that share.

    How many frames there are is read from the mask, which makes the host wait for a device where the mask is on one: call
    it once per batch, in the model, rather than for each dependence; a mask on the CPU does not wait.

    Arguments:
        variables: Sequences that have one mask in common, at least one, and tensors `(B, ...)`.

    Returns:
        Each as a tensor `(frames, ...)`, row i of one belonging to row i of the others.

    Raises:
        ValueError: If there is no sequence among them, if masks differ or are not those of their values, or if a tensor has
            another number of rows.

    Example:
        >>> content = Masked(torch.arange(6.0).view(2, 3, 1), torch.tensor([[True, True, False], [True, False, False]]))
        >>> speaker = torch.tensor([[7.0], [8.0]])
        >>> [rows.flatten().tolist() for rows in frames(speaker, content)]
        [[7.0, 7.0, 8.0], [0.0, 1.0, 3.0]]
    """
    masks = [v.mask for v in variables if isinstance(v, Masked)]
    if not masks:
        raise ValueError("expected at least one masked sequence, got none")
    for v in variables:
        if isinstance(v, Masked):
            _refuse_other_mask(v, "a sequence")
    mask = masks[0]
    for other in masks[1:]:
        if other is not mask and not (other.shape == mask.shape and torch.equal(other, mask)):
            raise ValueError(
                f"expected sequences with the same mask, got masks of shapes {tuple(mask.shape)} and {tuple(other.shape)} "
                "that differ: frames belong together by their place"
            )
    counts = [len(v) for v in variables if not isinstance(v, Masked)]
    if any(count != len(mask) for count in counts):
        raise ValueError(f"expected a row for each of the {len(mask)} sequences, got {counts}")
    places = mask.flatten().nonzero().squeeze(1)
    owners = places // max(mask.shape[1], 1)
    return tuple(
        _take(v.values.flatten(0, 1), places) if isinstance(v, Masked) else _take(v, owners) for v in variables
    )


def _take(values: Tensor, index: Tensor) -> Tensor:
    return values.index_select(0, index.to(values.device, non_blocking=True))


def as_rows(variable: object, name: str) -> Tensor | Masked:
    """A variable as it was given; as `(N, 1)` where it is one number per row, `(N,)` floats.

    Whole numbers and booleans, `(N,)` or `(N, 1)`, are classes, and become `(N,)`: what is computed with them is for their
    reader to know.

    Raises:
        TypeError: If it is neither a tensor nor masked, with what makes it a tensor.
        ValueError: If it has no rows, being a scalar, if it is complex, or if a mask is not that of its values.

    Example:
        >>> as_rows(torch.zeros(5), "y").shape
        torch.Size([5, 1])
        >>> as_rows(torch.tensor([2, 0]), "y")
        tensor([2, 0])
        >>> as_rows(torch.tensor([[2], [0]]), "y")
        tensor([2, 0])
        >>> as_rows(["happy", "sad"], "y")
        Traceback (most recent call last):
        TypeError: expected y as a tensor (N, d), got a list of strings: disentangle.class_numbers(y)[0] numbers them
    """
    if isinstance(variable, Masked):
        _refuse_numbers(variable.values, 2, f"{name} as values (N, T, d)")
        _refuse_other_mask(variable, name)
        return Masked(variable.values[..., None], variable.mask) if variable.values.dim() == 2 else variable
    if not isinstance(variable, Tensor):
        raise TypeError(f"expected {name} as a tensor (N, d), got {_kind_and_way(variable, name)}")
    _refuse_numbers(variable, 1, f"{name} of shape (N, d)")
    if variable.is_floating_point():
        return variable[:, None] if variable.dim() == 1 else variable
    return variable[:, 0] if variable.shape[1:] == (1,) else variable


def _refuse_other_mask(sequence: Masked, name: str) -> None:
    steps, mask = sequence.values.shape[:2], sequence.mask
    if mask.shape != steps or mask.dtype != torch.bool:
        raise ValueError(
            f"expected the mask of {name} as torch.bool {tuple(steps)}, got {mask.dtype} {tuple(mask.shape)}"
        )


def class_numbers(labels: Any, names: Sequence[str] | None = None) -> tuple[Tensor, list[str]]:
    """Labels as the numbers of their classes, `(N,)` int64, which every dependence takes, and the names of the classes.

    Number all rows of a data set at once, or give the names of the first ones for later ones: a batch by itself may lack a
    class, and its numbers would then be others.

    Arguments:
        labels: N strings, or N numbers: a list, an array, a series of pandas, or a tensor.
        names: The names of classes 0, 1, ...; by default those that the labels have, in order.

    Returns:
        The numbers and the names.

    Raises:
        TypeError: If some are strings and others are not.
        ValueError: If labels are not one per row, if one is missing (None, NaN or masked), or is none of `names`.

    Example:
        >>> numbers, names = class_numbers(["sad", "happy", "sad"])
        >>> numbers, names
        (tensor([1, 0, 1]), ['happy', 'sad'])
        >>> class_numbers(["sad", "sad"], names)[0]
        tensor([1, 1])
    """
    array = as_array(labels)
    if array.ndim != 1:
        raise ValueError(f"expected labels of shape (N,), got {array.shape}")
    if missing := sum(map(is_missing, array.tolist())):
        raise ValueError(f"expected a label in each of {len(array)} rows, got none in {missing}")
    if array.dtype.kind == "O":
        kinds = {type(label) for label in array.tolist()}
        if len({issubclass(kind, str) for kind in kinds}) > 1:
            raise TypeError(
                f"expected labels as strings or as numbers, got {', '.join(sorted(k.__name__ for k in kinds))}"
            )
        array = array.astype(str)
    given = [str(label) for label in array.tolist()]
    found = map(str, np.unique(array).tolist()) if names is None else names
    places = {name: place for place, name in enumerate(found)}
    if unknown := next((label for label in given if label not in places), None):
        raise ValueError(f"expected one of {', '.join(places)}, got {unknown!r}")
    return torch.tensor([places[label] for label in given], dtype=torch.int64), list(places)


def _refuse_numbers(values: Tensor, dimensions: int, wanted: str) -> None:
    if values.dim() < dimensions or values.is_complex():
        kind = "complex numbers of shape " if values.is_complex() else ""
        raise ValueError(f"expected {wanted}, got {kind}{tuple(values.shape)}")


def _kind_and_way(thing: Any, name: str) -> str:
    """What something is that is no tensor, and what makes one of it."""
    kind = type(thing).__name__
    package = type(thing).__module__.partition(".")[0]
    kind = f"a {kind}" if package == "builtins" else f"a {package}.{kind}"
    try:
        values = np.asarray(thing)
    except (TypeError, ValueError):  # ragged lists, say
        return kind
    if any(isinstance(value, str) for value in values.flat):
        return f"{kind} of strings: disentangle.class_numbers({name})[0] numbers them"
    if values.dtype.kind not in "biuf":
        return kind
    array = f"{name}.to_numpy()" if hasattr(thing, "to_numpy") else name
    if values.ndim == 1 and values.dtype.kind != "f":
        return f"{kind} of whole numbers: torch.as_tensor({array}) makes classes of them, .float() behind it numbers"
    return f"{kind}: torch.as_tensor({array}, dtype=torch.float32) makes one"


class Rows(NamedTuple):
    """A loss kept as one term per row, `values: (B,)`, and the weight of each row in the mean, `weights: (B,)`.

    A scalar would be too little: the logarithm of a mean over several batches, or over several processes, cannot be
    rebuilt from the logarithms of their means, and it can from sums. A row of weight 0 (unlabelled, its modality missing,
    filled up to an equal size) has no influence on the mean, whatever its value. What made a value that is NaN gets a gradient
    of NaN all the same: put something finite there before the loss is computed.

    Example:
        >>> loss = Rows(torch.tensor([1.0, 3.0, float("nan")]), torch.tensor([1.0, 1.0, 0.0]))
        >>> loss.mean()
        tensor(2.)
    """

    values: Tensor
    weights: Tensor

    @classmethod
    def unweighted(cls, values: Tensor) -> Rows:
        """A loss whose rows all count the same.

        Example:
            >>> Rows.unweighted(torch.tensor([1.0, 3.0])).mean()
            tensor(2.)
        """
        return cls(values, torch.ones_like(values))

    def check(self, what: str = "a loss") -> None:
        """Raises `ValueError` where values and weights are not both `(B,)`: of other shapes, each would count several times."""
        if self.values.dim() != 1 or self.values.shape != self.weights.shape:
            raise ValueError(
                f"expected {what} of values and weights of one shape, (B,), one term per row, got {tuple(self.values.shape)} "
                f"and {tuple(self.weights.shape)}"
            )

    def detach(self) -> Rows:
        """The same rows outside the graph."""
        return Rows(self.values.detach(), self.weights.detach())

    def total(self) -> Tensor:
        """The weighted sum, `()`, in at least float32, over the rows of a weight above 0.

        Raises:
            ValueError: As `check` does.
        """
        self.check()
        dtype = torch.promote_types(self.values.dtype, torch.float32)
        values = torch.where(self.weights > 0, self.values, 0)
        return (values.to(dtype) * self.weights.to(dtype)).sum()

    def mean(self) -> Tensor:
        """`sum(weights * values) / sum(weights)`, `()`, in at least float32; 0 where no row counts."""
        total = self.total()
        weight = torch.where(self.weights > 0, self.weights, 0).to(total.dtype).sum()
        return total / torch.where(weight > 0, weight, 1)
