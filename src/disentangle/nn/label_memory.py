"""A label for each modality of each training row, generated from the row's own label and from where its features stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

__all__ = ["LabelMemory"]

TINY = 1e-8


class LabelMemory(nn.Module):
    r"""Generates a label for each modality of each training row while a model learns: what that modality by itself says.

    A label is above the middle or below it: the middle is 0 where there are labels on both sides of 0, and otherwise, as for
    ratings of 1 to 5, their mean. The mean features of the rows above, and of those below, are two centroids, of each modality
    and of all jointly. A row's relative distance says to which of the two it is closer:

    .. math:: R = \frac{\lVert f - c^- \rVert - \lVert f - c^+ \rVert}{\lVert f - c^+ \rVert}

    Where y is the row's label, counted from the middle, and R that of the joint features, modality m gets the label

    .. math:: \hat y^m = \lambda \, \frac{R^m}{R}\, y + (1 - \lambda) (y + R^m - R), \qquad
              \lambda = \frac{1}{2} \frac{R^2}{R^2 + 0.1^2},

    at most as large as the largest y. The label that is kept starts as y and moves towards it whenever the row is seen, from
    the second time on: the n-th time by :math:`2 / (n + 1)` of the way.

    Two faults of the published code are mended. There λ is ½, so that the quotient explodes, and may change its sign, where R
    is near 0: here the difference alone counts where R is 0. And there centroids count rows that were not seen yet as zeros,
    and become NaN if no row is on a side: here they are of rows that were seen, and labels stay while a centroid is missing.

    The `state_dict` holds all of it, for any number of rows. It is the memory of one process.

    References:
        Yu et al., Learning Modality-Specific Representations with Self-Supervised Multi-Task Learning for Multimodal
        Sentiment Analysis (AAAI 2021)

    Arguments:
        joint_features: The number of features of a row's joint vector.
        sizes: The number of features of each modality, by name.

    Raises:
        ValueError: If there is no modality.

    Example:
        >>> memory = LabelMemory(2, {"audio": 2}).start(torch.tensor([1.0, -1.0, 2.0]))
        >>> rows, joint = torch.arange(3), torch.tensor([[1.0, 0.0], [-1.0, 0.0], [2.0, 0.0]])
        >>> audio = torch.tensor([[-1.0, 0.0], [-1.0, 0.0], [2.0, 0.0]])  # of the first row it sounds like the second
        >>> for _ in range(5):
        ...     memory.update(rows, joint, {"audio": audio})
        >>> bool(memory.labels("audio", rows)[0] < 0)
        True
    """

    middle: Tensor
    kept: Tensor
    seen: Tensor
    features: Tensor

    def __init__(self, joint_features: int, sizes: Mapping[str, int]):
        super().__init__()
        if not sizes:
            raise ValueError("expected the sizes of one modality or more, got none")
        self.names, self.widths = list(sizes), [joint_features, *sizes.values()]
        self.register_buffer("middle", torch.zeros(()))
        self._hold(torch.zeros(0, 2 * len(self.widths) + sum(self.widths)))

    def start(self, labels: Tensor) -> LabelMemory:
        """Forgets everything, and takes the labels of all training rows, `(N,)`: NaN where a row has none.

        Returns:
            Itself.

        Raises:
            ValueError: If labels are not `(N,)`, or if no row has one.
        """
        if labels.dim() != 1:
            raise ValueError(f"expected labels of shape (N,), NaN where there is none, got {_said(labels)}")
        if labels.isnan().all():
            raise ValueError("expected a label in one row or more, got none")
        known = labels[~labels.isnan()].double()
        both_sides = known.min() < 0 < known.max()
        self.middle.copy_(torch.zeros(()) if both_sides else known.mean())
        kept = (labels.to(self.middle) - self.middle)[:, None].expand(-1, len(self.widths))
        rest = kept.new_zeros(len(kept), len(self.widths) + sum(self.widths))
        self._hold(torch.cat([kept, rest], 1))
        return self

    def labels(self, name: str, index: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """The labels of a modality, `(B,)`, of the rows at the places `index` of the training set; 0 where a row has none.

        Raises:
            ValueError: If `start` was not called, or there is no such modality.
        """
        self._refuse_empty()
        if name not in self.names:
            raise ValueError(f"expected a modality among {', '.join(self.names)}, got {name}")
        return (self.kept[index, 1 + self.names.index(name)] + self.middle).nan_to_num()

    @torch.no_grad()
    def update(
        self,
        index: Int[Tensor, " batch"],
        joint: Float[Tensor, "batch _"],
        features: Mapping[str, Float[Tensor, "batch _"]],
        present: Mapping[str, Bool[Tensor, " batch"]] | None = None,
    ) -> None:
        """Moves the labels of a batch's rows, and remembers their features, which gradients do not reach.

        Where a modality is not `present`, `{name: (B,)}`, its label stays, and it is in no centroid.

        Arguments:
            index: The places of the rows in the training set, `(B,)`, each once.
            joint: The features of all modalities jointly, `(B, joint_features)`.
            features: Those of each modality, `{name: (B, D_m)}`.
            present: Which rows have a modality; one that is not named is present everywhere.

        Raises:
            ValueError: If `start` was not called.
        """
        self._refuse_empty()
        parts = [part.to(self.features.dtype) for part in (joint, *(features[m] for m in self.names))]
        everywhere = torch.ones_like(index, dtype=torch.bool)
        has = torch.stack([everywhere, *((present or {}).get(m, everywhere) for m in self.names)], 1)
        seen, kept = self.seen[index], self.kept[index]
        with torch.autocast(index.device.type, enabled=False):
            generated = self._generated(kept[:, :1], parts)
        times = seen[:, 1:] + 1
        moved = ((times - 1) * kept[:, 1:] + 2 * generated) / (times + 1)
        moves = has[:, 1:] & (seen[:, 1:] > 0) & generated.isfinite()
        kept[:, 1:] = torch.where(moves, moved, kept[:, 1:])
        self.kept[index], self.seen[index] = kept, seen + has
        each = torch.cat([has[:, k : k + 1].expand(-1, width) for k, width in enumerate(self.widths)], 1)
        self.features[index] = torch.where(each, torch.cat(parts, 1), self.features[index])

    def _generated(self, y: Tensor, parts: list[Tensor]) -> Tensor:
        """What the labels move towards, `(B, M)`; NaN where a centroid is missing."""
        of_each = torch.stack([self._relative_distance(k, part) for k, part in enumerate(parts)], 1)
        joint, own = of_each[:, :1], of_each[:, 1:]
        square = joint.square()
        by_quotient, by_difference = 0.5 * joint * own * y, (0.5 * square + 0.01) * (y + own - joint)
        largest = self.kept[:, 0].nan_to_num().abs().max()
        return ((by_quotient + by_difference) / (square + 0.01)).clamp(-largest, largest)

    def _relative_distance(self, k: int, part: Tensor) -> Tensor:
        """How much farther rows are from the centroid of what is below than from that of what is above, `(B,)`."""
        stored, label = self.features.split(self.widths, 1)[k], self.kept[:, k]
        distances = []
        for side in (label < 0, label > 0):
            counted = (side & (self.seen[:, k] > 0)).to(stored.dtype)
            centroid = counted @ stored / counted.sum()
            distances.append(torch.linalg.vector_norm(part - centroid, dim=1))
        below, above = distances
        return (below - above) / (above + TINY)

    def _hold(self, state: Tensor) -> None:
        """Takes labels, how often each was seen, and features, side by side, as what is kept from here on."""
        n = len(self.widths)
        for name, columns in zip(("kept", "seen", "features"), state.split([n, n, sum(self.widths)], 1), strict=True):
            self.register_buffer(name, columns.clone(), persistent=False)

    def _refuse_empty(self) -> None:
        if not len(self.kept):
            raise ValueError("expected start to be called with the labels of training first, got none")

    def get_extra_state(self) -> Tensor:
        """Labels, how often each was seen, and features, side by side: a tensor whose rows are those of training."""
        return torch.cat([self.kept, self.seen, self.features], 1)

    def set_extra_state(self, state: Any) -> None:
        """Goes on from what `get_extra_state` returned.

        Raises:
            ValueError: If it is of a memory of other sizes.
        """
        columns = 2 * len(self.widths) + sum(self.widths)
        if not isinstance(state, Tensor) or state.dim() != 2 or state.shape[1] != columns:
            raise ValueError(f"expected a label memory of shape (N, {columns}), got {_said(state)}")
        self._hold(state.to(self.middle))


def _said(thing: Any) -> str:
    return str(tuple(thing.shape)) if isinstance(thing, Tensor) else type(thing).__name__
