"""From recordings to batches, on `torch.utils.data`: tokens, padding and masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from disentangle.data.messages import listed
from disentangle.data.recordings import LazyFrames, Recordings, have_label
from disentangle.errors import DataError
from disentangle.variables import Masked, Rows

__all__ = ["Batch", "RecordingDataset", "collate", "loader"]

AT_ONCE = 1000  # transcripts that are tokenised together: what a tokenizer returns takes far more room than the tokens


@dataclass(frozen=True)
class Batch:
    """N recordings, padded. Moves whole with `.to(device)`, but for `lengths`, `present` and `has_label`, which stay on the
    CPU: what is computed for which rows is decided there, without waiting for the device.

    Attributes:
        index: The place of each row in its data set, `(N,)`; in a `ConcatDataset`, in its own part.
        tokens: What a Hugging Face backbone takes: `input_ids`, `attention_mask` and `special_tokens_mask`, `(N, T)`; empty
            where there is no tokenizer.
        lengths: How many of the T tokens each row has, `(N,)`, on the CPU.
        words: The same token ids without the special tokens, left-aligned, `(N, T')`; none where there is no tokenizer.
        sequences: The frames of each modality, left-aligned, `{modality: (N, T_m, D_m)}`.
        labels: The labels, `(N,)`, or `(N, K)` where a row has several; 0 where there is none.
        labeled: Which rows have a label, `(N,)` float: a row's weight in a supervised loss.
        more_labels: Further labels by name, values and weights: those of each modality in CH-SIMS, for example.
        present: Which rows have which modality, and `"text"` where there is a tokenizer, `{name: (N,) bool}`, on the CPU.
        has_label: Which rows have a label, `(N,)` bool, on the CPU.
    """

    index: Tensor
    tokens: dict[str, Tensor]
    lengths: Tensor
    words: Masked
    sequences: dict[str, Masked]
    labels: Tensor
    labeled: Tensor
    more_labels: dict[str, Rows]
    present: dict[str, Tensor]
    has_label: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The batch on `device`."""
        return self._with(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The batch in memory from which CUDA copies without waiting; a `DataLoader` with `pin_memory=True` asks for it."""
        return self._with(Tensor.pin_memory)

    def _with(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The batch with every tensor changed, but for those that stay on the CPU."""
        return Batch(
            change(self.index),
            {name: change(ids) for name, ids in self.tokens.items()},
            self.lengths,
            Masked(*map(change, self.words)),
            {name: Masked(*map(change, sequence)) for name, sequence in self.sequences.items()},
            change(self.labels),
            change(self.labeled),
            MoreLabels({name: Rows(*map(change, each)) for name, each in self.more_labels.items()}),
            self.present,
            self.has_label,
        )

    def rows(self, name: str) -> Tensor:
        """The indices of the rows that have a modality, or `"text"`: `(M,)` on the batch's device."""
        return self.present[name].nonzero().squeeze(1).to(self.labels.device, non_blocking=True)


class MoreLabels(dict[str, Rows]):
    """Labels by name, which says what there is when it is asked for another."""

    def __missing__(self, name: str) -> Rows:
        raise DataError(
            f"expected one of the further labels, {listed(self)}, got {name!r}: recordings to be predicted have none, and so "
            "losses alone can read labels"
        )


@dataclass(frozen=True)
class Row:
    """One recording, as a data set hands it to `collate`: its place, its frames and labels, token ids, and which of these are
    words, `(T,)`. A label, `()` or `(K,)`, that is `None` or NaN is none."""

    index: int
    sequences: Mapping[str, np.ndarray]
    label: np.ndarray | None = None
    more_labels: Mapping[str, float] = field(default_factory=dict)
    ids: np.ndarray | None = None
    is_word: np.ndarray | None = None


class RecordingDataset(Dataset[Row]):
    """Recordings with their transcripts tokenised, once. Frames are looked at when a row is asked for, and no sooner.

    Arguments:
        recordings: The recordings.
        tokenizer: A Hugging Face tokenizer; `None` for a model that reads no text.
        max_words: How many word pieces of a transcript are kept, special tokens not counted.
        scaled: Makes of labels, as they are in the recordings, those that batches hold; by default they are the same.

    Attributes:
        lengths: How many tokens each row has, `(N,)`; without a tokenizer, how many frames its longest modality has.
        full: How many transcripts have `max_words` word pieces, or had more and were cut, on the tokenizer's
            `truncation_side`.

    Raises:
        ValueError: If `max_words` is below 1, or more than the tokenizer's model takes; or if there is neither a tokenizer nor
            a modality beside text.
    """

    def __init__(
        self,
        recordings: Recordings,
        tokenizer: Any = None,
        *,
        max_words: int = 256,
        scaled: Callable[[np.ndarray], np.ndarray] | None = None,
    ):
        self.recordings, self._reads, self.full = recordings, tokenizer is not None, 0
        labels = recordings.labels
        self._labels = labels if labels is None or scaled is None else scaled(np.asarray(labels, np.float64))
        if tokenizer is not None:
            self._tokenize(tokenizer, max_words)
            return
        if not recordings.sequences:
            raise ValueError("expected frames, or a tokenizer that makes tokens of transcripts, got neither")
        self.lengths = np.max([_lengths(frames) for frames in recordings.sequences.values()], axis=0)

    def _tokenize(self, tokenizer: Any, max_words: int) -> None:
        recordings = self.recordings
        if max_words < 1:
            raise ValueError(f"expected max_words of at least 1, got {max_words}")
        special = tokenizer.num_special_tokens_to_add()
        if max_words + special > tokenizer.model_max_length:
            raise ValueError(
                f"expected max_words of at most {tokenizer.model_max_length - special}, "
                f"{tokenizer.model_max_length} with special tokens, got {max_words}"
            )
        ids, is_word, lengths = [], [], []
        for start in range(0, len(recordings), AT_ONCE):
            encoded = tokenizer(
                recordings.text[start : start + AT_ONCE],
                truncation=True,
                max_length=max_words + special,
                return_special_tokens_mask=True,
            )
            lengths += map(len, encoded["input_ids"])
            ids.append(np.concatenate(encoded["input_ids"]).astype(np.int32))
            is_word.append(np.concatenate(encoded["special_tokens_mask"]) == 0)
        self.lengths = np.array(lengths, dtype=np.int64)
        self.full = int((self.lengths == max_words + special).sum())
        # One array of all tokens, not one per row: a tensor alone takes more room than the tokens of a sentence.
        self._starts = np.concatenate([[0], np.cumsum(self.lengths)])
        self._ids = np.concatenate([np.zeros(0, np.int32), *ids])
        self._is_word = np.concatenate([np.zeros(0, bool), *is_word])
        if tokenizer.unk_token_id is not None:  # the mask also marks [UNK] in some tokenizers, which is a word
            self._is_word |= self._ids == tokenizer.unk_token_id

    def __len__(self) -> int:
        return len(self.recordings)

    @property
    def labels(self) -> np.ndarray:
        """The labels of the recordings, `(N,)` or `(N, K)`; raises `ValueError` where these have none."""
        if self.recordings.labels is None:
            raise ValueError("expected labelled recordings, got some without labels")
        return self.recordings.labels

    def __getitem__(self, index: int) -> Row:
        index = range(len(self))[index]  # from the end as well, and an IndexError beyond
        row = Row(
            index,
            {name: frames[index] for name, frames in self.recordings.sequences.items()},
            None if self._labels is None else np.asarray(self._labels[index]),
            {name: float(values[index]) for name, values in self.recordings.more_labels.items()},
        )
        if not self._reads:
            return row
        tokens = slice(self._starts[index], self._starts[index + 1])
        return replace(row, ids=self._ids[tokens], is_word=self._is_word[tokens])


def collate(rows: Sequence[Row]) -> Batch:
    """Pads recordings to a batch, on the right.

    Raises:
        ValueError: If rows differ in their modalities, or some of them alone have tokens, as those of two data sets may.

    Example:
        >>> frames = {"audio": np.ones((4, 5), np.float32)}
        >>> row = Row(0, frames, ids=np.array([2, 7, 3]), is_word=np.array([False, True, False]))
        >>> batch = collate([row, row])
        >>> batch.words.values.tolist(), batch.sequences["audio"].values.shape, batch.labeled.tolist()
        ([[7], [7]], torch.Size([2, 4, 5]), [0.0, 0.0])
    """
    kinds = dict.fromkeys((*sorted(row.sequences), *["tokens"] * (row.ids is not None)) for row in rows)
    if len(kinds) > 1:
        first, other, *_ = (", ".join(kind) or "nothing" for kind in kinds)
        raise ValueError(
            f"expected rows of the same modalities, got {first} and {other}: no frames, (0, D), for what is missing"
        )
    tokens, lengths, words = _tokens(rows)
    sequences = {name: _padded([row.sequences[name] for row in rows], torch.float32) for name in rows[0].sequences}
    labels = _labels([row.label for row in rows])
    names = dict.fromkeys(name for row in rows for name in row.more_labels)
    masks = {**({"text": words} if tokens else {}), **sequences}
    return Batch(
        index=torch.tensor([row.index for row in rows]),
        tokens=tokens,
        lengths=lengths,
        words=words,
        sequences=sequences,
        labels=labels.values,
        labeled=labels.weights,
        more_labels=MoreLabels({name: _labels([row.more_labels.get(name) for row in rows]) for name in names}),
        present={name: sequence.mask.any(1) for name, sequence in masks.items()},
        has_label=labels.weights.bool(),
    )


def _tokens(rows: Sequence[Row]) -> tuple[dict[str, Tensor], Tensor, Masked]:
    """The tokens of a batch, how many each row has, and its words."""
    ids = [row.ids for row in rows if row.ids is not None]
    is_word = [row.is_word for row in rows if row.is_word is not None]
    if not ids:
        none = torch.zeros(len(rows), 1, dtype=torch.int64)
        return {}, torch.zeros(len(rows), dtype=torch.int64), Masked(none, none.bool())
    tokens, special = _padded(ids, torch.int64), _padded(is_word, torch.bool)
    words = _padded([each[real] for each, real in zip(ids, is_word, strict=True)], torch.int64)
    of_backbone = {
        "input_ids": tokens.values,
        "attention_mask": tokens.mask.long(),
        "special_tokens_mask": ~special.values,
    }
    return of_backbone, tokens.lengths, words


def _labels(labels: Sequence[np.ndarray | float | None]) -> Rows:
    """Labels, `(N,)` or `(N, K)`, and which rows have one, `(N,)` float; 0 where there is none."""
    shape = next((np.shape(label) for label in labels if label is not None), ())
    values = np.stack([np.full(shape, np.nan) if label is None else np.asarray(label) for label in labels])
    there = have_label(values)
    values[~there] = 0.0
    return Rows(torch.from_numpy(values.astype(np.float32)), torch.from_numpy(there.astype(np.float32)))


def _padded(rows: Sequence[np.ndarray], dtype: torch.dtype) -> Masked:
    """Rows of differing length `(T_i, ...)` as one batch `(N, max T_i or 1, ...)`, zeros behind each."""
    lengths = [len(row) for row in rows]
    values = torch.zeros(len(rows), max(1, *lengths), *rows[0].shape[1:], dtype=dtype)
    for into, row in zip(values.numpy(), rows, strict=True):  # NumPy is several times faster at this
        into[: len(row)] = row
    return Masked(values, torch.arange(values.shape[1]) < torch.tensor(lengths)[:, None])


def _lengths(frames: Sequence[np.ndarray]) -> np.ndarray:
    return np.array(frames.lengths if isinstance(frames, LazyFrames) else [len(each) for each in frames])


def loader(dataset: RecordingDataset, batch_size: int = 32) -> DataLoader[Row]:
    """Batches of a data set in its own order, for evaluation."""
    return DataLoader(dataset, batch_size=batch_size, collate_fn=collate)  # pyright: ignore[reportArgumentType]
