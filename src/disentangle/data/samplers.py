"""Which rows come together: labelled ones with a share of unlabelled ones, and rows of like length with one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from torch.utils.data import Sampler

__all__ = ["MixedBatchSampler"]

WINDOW = 50  # batches that rows are sorted across: wide enough for like lengths, and narrow enough to stay random


class MixedBatchSampler(Sampler[list[int]]):
    """Batches of labelled rows with a share of unlabelled ones; one epoch is one pass over the labelled rows.

    The indices are those of the labelled data set followed by the unlabelled one (`torch.utils.data.ConcatDataset`). The
    order is a function of the seed and the epoch and of nothing else. Unlabelled rows are drawn without replacement, and
    afresh when they are used up; a batch has a row twice only if it asks for more than there are.

    Batches are as long as their longest row. With `lengths`, rows of like length come together, and less is padding: the
    rows of 50 batches at a time, drawn as before, are sorted by length and cut into batches, labelled and unlabelled ones
    alike, and then all batches of the epoch are shuffled.

    Arguments:
        labeled: How many labelled rows there are.
        unlabeled: How many unlabelled rows there are.
        batch_size: How many labelled rows a batch has; the last one of an epoch can have fewer.
        unlabeled_rate: How many unlabelled rows come with each labelled one.
        lengths: The length of each row, first the labelled and then the unlabelled ones.
        seed: The seed.

    Raises:
        ValueError: If a size or the rate is out of range, a rate is asked for without unlabelled rows, or there is not a
            length for each row.

    Example:
        >>> sampler = MixedBatchSampler(labeled=5, unlabeled=10, batch_size=2, unlabeled_rate=1.0, seed=0)
        >>> [len(batch) for batch in sampler]
        [4, 4, 2]
        >>> lengths = [9, 1, 9, 1, 9, 1]
        >>> sorted(sorted(lengths[i] for i in batch) for batch in MixedBatchSampler(6, batch_size=3, lengths=lengths))
        [[1, 1, 1], [9, 9, 9]]
    """

    def __init__(
        self,
        labeled: int,
        unlabeled: int = 0,
        *,
        batch_size: int = 32,
        unlabeled_rate: float = 0.0,
        lengths: Sequence[int] | np.ndarray | None = None,
        seed: int = 0,
    ):
        if labeled < 1 or unlabeled < 0 or batch_size < 1 or unlabeled_rate < 0:
            raise ValueError(
                "expected labeled >= 1, unlabeled >= 0, batch_size >= 1 and unlabeled_rate >= 0, "
                f"got {labeled}, {unlabeled}, {batch_size} and {unlabeled_rate}"
            )
        if unlabeled_rate > 0 and round(unlabeled_rate * batch_size) == 0:
            raise ValueError(
                f"expected a rate of one unlabelled row or more per batch of {batch_size}, got {unlabeled_rate}"
            )
        if unlabeled_rate > 0 and unlabeled == 0:
            raise ValueError(f"expected unlabelled rows for a rate of {unlabeled_rate}, got none")
        if lengths is not None and len(lengths) != labeled + unlabeled:
            raise ValueError(f"expected {labeled + unlabeled} lengths, one per row, got {len(lengths)}")
        self.labeled, self.unlabeled = labeled, unlabeled
        self.batch_size, self.unlabeled_rate, self.seed = batch_size, unlabeled_rate, seed
        self.lengths = None if lengths is None else np.asarray(lengths)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose order the next pass has."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.labeled // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        draw = np.random.default_rng((self.seed, self.epoch))
        order = draw.permutation(self.labeled)
        whole = self.labeled // self.batch_size * self.batch_size
        window = self._window() * self.batch_size
        pool = np.zeros(0, dtype=order.dtype)
        batches: list[list[int]] = []
        for start, end in pairwise([*range(0, whole, window), whole, *[self.labeled] * (whole < self.labeled)]):
            rows = self._sorted(order[start:end])
            size = min(self.batch_size, len(rows))
            count, share = len(rows) // size, self._share(size)
            pool = self._filled(pool, count * share, draw)
            others = self._sorted(pool[: count * share])
            pool = pool[count * share :]
            batches += np.hstack([rows.reshape(count, size), others.reshape(count, share)]).tolist()
        if self.lengths is not None:
            last = batches[whole // self.batch_size :]  # the one that has fewer rows stays the last
            batches = [batches[i] for i in draw.permutation(len(batches) - len(last))] + last
        yield from batches

    def _share(self, size: int) -> int:
        """How many unlabelled rows come with `size` labelled ones."""
        return round(self.unlabeled_rate * size)

    def _window(self) -> int:
        """How many batches rows are dealt to at a time. No more than have unlabelled rows of their own: of a row that came
        twice in a window, sorting would put both into one batch."""
        if self.lengths is None:
            return 1
        share = self._share(self.batch_size)
        return WINDOW if share == 0 else max(1, min(WINDOW, self.unlabeled // share))

    def _sorted(self, rows: np.ndarray) -> np.ndarray:
        """The rows from short to long, or, where nobody gave lengths, as they are."""
        return rows if self.lengths is None else rows[np.argsort(self.lengths[rows], kind="stable")]

    def _filled(self, pool: np.ndarray, wanted: int, draw: np.random.Generator) -> np.ndarray:
        """The drawn unlabelled rows, at least `wanted`: each time all of them again, those that still wait last."""
        while len(pool) < wanted:
            again = self.labeled + draw.permutation(self.unlabeled)
            waiting = np.isin(again, pool)
            pool = np.concatenate([pool, again[~waiting], again[waiting]])
        return pool
