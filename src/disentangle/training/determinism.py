"""Order and noise as functions of the seed and of where in the training one is: never the state of a generator."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

__all__ = ["Epochs", "noise_at", "seed_at", "seed_noise", "seed_torch"]

_END = object()


def seed_at(seed: int, *place: int | str) -> int:
    """The seed for a place in the training: a step, a process, a purpose.

    Example:
        >>> seed_at(0, "step", 3) == seed_at(0, "step", 3) != seed_at(0, "step", 4)
        True
    """
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in place]
    high, low = np.random.SeedSequence([seed, *words]).generate_state(2, np.uint32)
    return int(high) << 31 ^ int(low)


def seed_noise(seed: int, *place: int | str) -> None:
    """Seeds torch's generators, on the CPU and on CUDA devices, for a place.

    What is drawn afterwards depends on nothing that was drawn before, which is what makes a run that goes on equal to one
    that was never stopped.

    Example:
        >>> seed_noise(0, "step", 3)
        >>> first = torch.rand(1)
        >>> seed_noise(0, "step", 3)
        >>> torch.equal(first, torch.rand(1))
        True
    """
    seed_torch(seed_at(seed, *place))


def seed_torch(seed: int) -> None:
    """What `torch.manual_seed` does, at a twentieth of its time where no CUDA device is in use: it may be done in every step.

    Example:
        >>> seed_torch(3)
        >>> first = torch.rand(1)
        >>> _ = torch.manual_seed(3)
        >>> torch.equal(first, torch.rand(1))
        True
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


@contextmanager
def noise_at(seed: int, *place: int | str) -> Iterator[None]:
    """Within the block, noise is a function of the seed and the place; torch's generators are as before afterwards.

    Example:
        >>> with noise_at(0, "evaluation"):
        ...     first = torch.rand(1)
        >>> with noise_at(0, "evaluation"):
        ...     torch.equal(first, torch.rand(1))
        True
    """
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices):
        seed_noise(seed, *place)
        yield


class Epochs:
    """The batches of a loader, epoch by epoch, from any batch on; of several processes, the share of one.

    The order of an epoch is drawn whole before it starts, with generators seeded by `(seed, epoch)`, be it by a shuffling
    loader or by a batch sampler with a `set_epoch` of its own. So an epoch can start at any batch without reading the
    earlier ones. Each of several processes reads its share of every batch: consecutive rows, as evenly as can be.

    Loading a batch is seeded by its place too: what a data set draws from torch's generator, without worker processes, is the
    same in a run that goes on. A loader that streams, or has no batch sampler, is read from its beginning, and batches before
    the start are dropped.

    Raises:
        ValueError: If the loader has no length or no batch, or if there are several processes and it has no batch sampler, or
            streams, so that its batches cannot be shared out, or has a sampler that shares rows out itself; on reading an
            epoch, if it has another number of batches than the loader says.

    Example:
        >>> import torch
        >>> epochs = Epochs(DataLoader(torch.arange(6), batch_size=2, shuffle=True), seed=0)
        >>> whole = [batch.tolist() for batch in epochs.start(epoch=3)]
        >>> [batch.tolist() for batch in epochs.start(epoch=3, skip=1)] == whole[1:]
        True
    """

    def __init__(self, loader: DataLoader[Any], seed: int, rank: int = 0, size: int = 1):
        if not isinstance(loader, DataLoader):
            raise TypeError(f"expected a DataLoader of batches, got {type(loader).__name__}")
        self.loader, self.seed, self.rank, self.size = loader, seed, rank, size
        self.order: list[list[int]] = []
        self.first = 0
        self.streams = loader.batch_sampler is None or isinstance(loader.dataset, IterableDataset)
        try:
            self.length = len(loader)
        except TypeError:
            raise ValueError(
                f"expected a loader that knows its length, got one over {type(loader.dataset).__name__}, which has no __len__"
            ) from None
        own = type(loader).__iter__
        if own is not DataLoader.__iter__ and not type(loader).__module__.startswith("accelerate."):
            raise ValueError(
                f"expected a loader whose batches its dataset and collate_fn make, got a {type(loader).__name__} with an "
                "__iter__ of its own, which would be passed by: do what it does in collate_fn"
            )
        if self.length == 0:
            raise ValueError(
                "expected a loader of at least one batch, got none: fewer rows than a batch, with drop_last?"
            )
        if size > 1 and any(getattr(each, "num_replicas", 1) > 1 for each in self._samplers()):
            raise ValueError(
                f"expected a loader over all rows, whose batches {size} processes share, got a sampler that has shared them "
                "out already: leave the DistributedSampler out"
            )
        if self.streams:
            if size > 1:
                raise ValueError(
                    f"expected a loader with a batch sampler, whose batches {size} processes can share, got one over "
                    f"{type(loader.dataset).__name__} that makes its own batches"
                )
            self.own = loader
        else:
            self.own = _with_order(loader, self.order)

    def __len__(self) -> int:
        return self.length

    def start(self, epoch: int, skip: int = 0) -> Iterator[Any]:
        """The batches of an epoch, counted from 0, without the first `skip`.

        A batch is `None` where this process has no rows of it.
        """
        for sampler in self._samplers():
            set_epoch: Callable[[int], None] | None = getattr(sampler, "set_epoch", None)
            if set_epoch is not None:
                set_epoch(epoch)
        seed_noise(self.seed, "order", epoch)
        for part in (self.loader, *self._samplers()):
            generator = getattr(part, "generator", None)
            if isinstance(generator, torch.Generator):
                generator.manual_seed(seed_at(self.seed, "order", epoch))
        if self.streams:
            read, batches = 0, iter(self.loader)
            for i in range(self.length):
                seed_noise(self.seed, "load", epoch, i, self.rank)
                batch = next(batches, _END)
                if batch is _END:
                    break
                read += 1
                if i >= skip:
                    yield batch
            self._check_count(read)
            if next(batches, _END) is not _END:
                raise ValueError(
                    f"expected {self.length} batches in an epoch, the length that the loader says, got more: do all workers "
                    "read everything? Each can read a part of its own, by torch.utils.data.get_worker_info()"
                )
            return
        assert self.loader.batch_sampler is not None
        self.first = skip
        self.order[:] = [self._share(list(rows)) for rows in self.loader.batch_sampler]
        self._check_count(len(self.order))
        del self.order[:skip]
        seed_noise(self.seed, "workers", epoch)
        batches = iter(self.own)
        for i in range(skip, skip + len(self.order)):
            seed_noise(self.seed, "load", epoch, i, self.rank)
            yield next(batches)

    def rows(self, batch: int) -> list[int]:
        """The indices of this process's rows of a batch of the epoch that was started last; none where they are unknown."""
        place = batch - self.first
        return self.order[place] if 0 <= place < len(self.order) else []

    def _samplers(self) -> list[Any]:
        """The batch sampler, the sampler, and the one that the batch sampler draws from."""
        batches = self.loader.batch_sampler
        found = [batches, self.loader.sampler, getattr(batches, "sampler", None)]
        return [each for i, each in enumerate(found) if each is not None and each not in found[:i]]

    def _check_count(self, batches: int) -> None:
        if batches != self.length:
            raise ValueError(
                f"expected {self.length} batches in an epoch, the length that the loader says, got {batches}"
            )

    def _share(self, rows: list[int]) -> list[int]:
        return rows[len(rows) * self.rank // self.size : len(rows) * (self.rank + 1) // self.size]


def _with_order(loader: DataLoader[Any], order: list[list[int]]) -> DataLoader[Any]:
    """The same loader over the batches that `order` holds whenever it starts."""
    collate = loader.collate_fn
    return DataLoader(
        loader.dataset,
        batch_sampler=order,
        collate_fn=_Collate(collate),
        num_workers=loader.num_workers,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=loader.generator,
        prefetch_factor=loader.prefetch_factor,
        persistent_workers=loader.persistent_workers,
    )


class _Collate:
    """A collate function that knows what to make of no rows; a class, so that worker processes can be given it."""

    def __init__(self, collate: Callable[[Any], Any]):
        self.collate = collate

    def __call__(self, rows: list[Any]) -> Any:
        return self.collate(rows) if rows else None
