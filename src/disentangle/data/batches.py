"""From recordings to batches, on `torch.utils.data`: tokens, padding and masks, and the mixing of unlabelled rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from disentangle.data.recordings import Recordings
from disentangle.variables import Masked

__all__ = ["Batch", "MixedBatchSampler", "RecordingDataset", "collate", "loader"]


@dataclass(frozen=True)
class Batch:
    """N recordings, padded. Moves whole with `.to(device)`, but for `lengths` and `present`, which stay on the CPU: what is
    computed for which rows is decided there, without waiting for the device.

    Attributes:
        tokens: What a Hugging Face backbone takes: `input_ids`, `attention_mask` and `special_tokens_mask`, `(N, T)`.
        lengths: How many of the T tokens each row has, `(N,)`, on the CPU.
        words: The same token ids without the special tokens, left-aligned, `(N, T')`.
        sequences: The frames of each modality, left-aligned, `{modality: (N, T_m, D_m)}`.
        labels: The labels, `(N,)`; 0 where there is none.
        labeled: Which rows have a label, `(N,)` float: a row's weight in a supervised loss.
        present: Which rows have which modality, and `"text"`, `{name: (N,) bool}`, on the CPU.
    """

    tokens: dict[str, Tensor]
    lengths: Tensor
    words: Masked
    sequences: dict[str, Masked]
    labels: Tensor
    labeled: Tensor
    present: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The batch on `device`."""
        return Batch(
            {name: ids.to(device, non_blocking=non_blocking) for name, ids in self.tokens.items()},
            self.lengths,
            self.words.to(device, non_blocking),
            {name: sequence.to(device, non_blocking) for name, sequence in self.sequences.items()},
            self.labels.to(device, non_blocking=non_blocking),
            self.labeled.to(device, non_blocking=non_blocking),
            self.present,
        )

    def rows(self, name: str) -> Tensor:
        """The indices of the rows that have a modality, or `"text"`: `(M,)` on the batch's device."""
        return self.present[name].nonzero().squeeze(1).to(self.labels.device, non_blocking=True)


@dataclass(frozen=True)
class Row:
    """One recording, as a data set hands it to `collate`."""

    input_ids: Tensor
    special_tokens_mask: Tensor
    sequences: Mapping[str, Tensor]
    label: float | None


class RecordingDataset(Dataset[Row]):
    """Recordings with their transcripts tokenised, once.

    Arguments:
        recordings: The recordings.
        tokenizer: A Hugging Face tokenizer.
        max_words: How many word pieces of a transcript are kept, special tokens not counted.

    Raises:
        ValueError: If `max_words` is below 1, or more than the tokenizer's model takes.
    """

    def __init__(self, recordings: Recordings, tokenizer: Any, *, max_words: int = 256):
        if max_words < 1:
            raise ValueError(f"expected max_words of at least 1, got {max_words}")
        special = tokenizer.num_special_tokens_to_add()
        if max_words + special > tokenizer.model_max_length:
            raise ValueError(
                f"expected max_words of at most {tokenizer.model_max_length - special}, "
                f"{tokenizer.model_max_length} with special tokens, got {max_words}"
            )
        self.recordings = recordings
        encoded = tokenizer(
            recordings.text,
            truncation=True,
            max_length=max_words + special,
            return_special_tokens_mask=True,
        )
        self.input_ids = [torch.tensor(ids) for ids in encoded["input_ids"]]
        # The mask also marks [UNK] in some tokenizers, which is a word.
        unknown = tokenizer.unk_token_id
        self.special = [
            torch.tensor(mask, dtype=torch.bool) & (ids != (-1 if unknown is None else unknown))
            for mask, ids in zip(encoded["special_tokens_mask"], self.input_ids, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.recordings)

    @property
    def labels(self) -> np.ndarray:
        """The labels, `(N,)`; raises `ValueError` where the recordings have none."""
        if self.recordings.labels is None:
            raise ValueError("expected labelled recordings, got some without labels")
        return self.recordings.labels

    def __getitem__(self, index: int) -> Row:
        labels = self.recordings.labels
        return Row(
            self.input_ids[index],
            self.special[index],
            {name: torch.from_numpy(frames[index]) for name, frames in self.recordings.sequences.items()},
            None if labels is None else float(labels[index]),
        )


def collate(rows: Sequence[Row]) -> Batch:
    """Pads recordings to a batch, on the right.

    Example:
        >>> row = Row(torch.tensor([2, 7, 3]), torch.tensor([True, False, True]), {"audio": torch.ones(4, 5)}, None)
        >>> batch = collate([row, row])
        >>> batch.words.values.tolist(), batch.sequences["audio"].values.shape, batch.labeled.tolist()
        ([[7], [7]], torch.Size([2, 4, 5]), [0.0, 0.0])
    """
    ids = _pad([row.input_ids for row in rows])
    words = _pad([row.input_ids[~row.special_tokens_mask] for row in rows])
    sequences = {name: _pad([row.sequences[name] for row in rows]) for name in rows[0].sequences}
    return Batch(
        tokens={
            "input_ids": ids.values,
            "attention_mask": ids.mask.long(),
            "special_tokens_mask": _pad([row.special_tokens_mask for row in rows]).values | ~ids.mask,
        },
        lengths=ids.lengths,
        words=words,
        sequences=sequences,
        labels=torch.tensor([0.0 if row.label is None else row.label for row in rows]),
        labeled=torch.tensor([float(row.label is not None) for row in rows]),
        present={name: sequence.mask.any(1) for name, sequence in {"text": words, **sequences}.items()},
    )


def _pad(rows: Sequence[Tensor]) -> Masked:
    """Rows of differing length `(T_i, ...)` as one batch `(N, max T_i or 1, ...)`, zeros behind each."""
    lengths = torch.tensor([len(row) for row in rows])
    values = rows[0].new_zeros(len(rows), max(1, int(lengths.max())), *rows[0].shape[1:])
    for into, row in zip(values, rows, strict=True):
        into[: len(row)] = row
    return Masked(values, torch.arange(values.shape[1]) < lengths[:, None])


class MixedBatchSampler(Sampler[list[int]]):
    """Batches of labelled rows with a share of unlabelled ones; one epoch is one pass over the labelled rows.

    The indices are those of the labelled data set followed by the unlabelled one (`torch.utils.data.ConcatDataset`). The
    order is a function of the seed and the epoch and of nothing else. Unlabelled rows are drawn without replacement, and
    afresh when they are used up.

    Arguments:
        labeled: How many labelled rows there are.
        unlabeled: How many unlabelled rows there are.
        batch_size: How many labelled rows a batch has; the last one of an epoch can have fewer.
        unlabeled_rate: How many unlabelled rows come with each labelled one.
        seed: The seed.

    Raises:
        ValueError: If a size or the rate is out of range, or a rate is asked for without unlabelled rows.

    Example:
        >>> sampler = MixedBatchSampler(labeled=5, unlabeled=10, batch_size=2, unlabeled_rate=1.0, seed=0)
        >>> [len(batch) for batch in sampler]
        [4, 4, 2]
    """

    def __init__(
        self, labeled: int, unlabeled: int = 0, *, batch_size: int = 32, unlabeled_rate: float = 0.0, seed: int = 0
    ):
        if labeled < 1 or unlabeled < 0 or batch_size < 1 or unlabeled_rate < 0:
            raise ValueError(
                "expected labeled >= 1, unlabeled >= 0, batch_size >= 1 and unlabeled_rate >= 0, "
                f"got {labeled}, {unlabeled}, {batch_size} and {unlabeled_rate}"
            )
        if unlabeled_rate > 0 and unlabeled == 0:
            raise ValueError(f"expected unlabelled rows for a rate of {unlabeled_rate}, got none")
        self.labeled, self.unlabeled = labeled, unlabeled
        self.batch_size, self.unlabeled_rate, self.seed = batch_size, unlabeled_rate, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose order the next pass has."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.labeled // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        draw = np.random.default_rng((self.seed, self.epoch))
        order = draw.permutation(self.labeled).tolist()
        pool: list[int] = []
        for start in range(0, self.labeled, self.batch_size):
            rows = order[start : start + self.batch_size]
            wanted = round(self.unlabeled_rate * len(rows))
            while len(pool) < wanted:
                pool += (self.labeled + draw.permutation(self.unlabeled)).tolist()
            yield rows + pool[:wanted]
            del pool[:wanted]


def loader(dataset: RecordingDataset, batch_size: int = 32) -> DataLoader[Row]:
    """Batches of a data set in its own order, for evaluation."""
    return DataLoader(dataset, batch_size=batch_size, collate_fn=collate)  # pyright: ignore[reportArgumentType]
