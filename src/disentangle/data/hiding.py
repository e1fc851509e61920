"""Hiding whole modalities from an encoder during training, and noise in place of what a decoder must not read.

An encoder of what modalities share has no reason to leave the rest out: whatever it holds helps. Hide a modality from it, give
that modality's decoder noise in place of its private latent, and what the encoder says must come from the others: it is taught
to hold what modalities share. That is cross-prediction:

    hidden = draw_hidden(batch.present, 0.5)
    S = shared(hide(batch, hidden))  # the private encoders get the whole batch
    told = torch.cat([noise_like(A), S], 1)[hidden["audio"]]
    error = masked_mse(decoder(told, frames), audio)  # beside the reconstruction, from [A, S], of the rows that were seen
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from disentangle.data.batches import Batch
from disentangle.variables import Masked

__all__ = ["draw_hidden", "hide", "noise_like"]


def draw_hidden(
    present: Mapping[str, Tensor], probability: float, *, generator: torch.Generator | None = None
) -> dict[str, Tensor]:
    """Draws what to hide: in a row, with `probability`, one of the modalities that it has, each as likely as the others.

    Nothing is hidden in a row with a single modality, so that each row keeps one or more.

    Arguments:
        present: Which rows have which modality, `{name: (N,) bool}`, on the CPU.
        probability: How likely it is that a row with several modalities loses one.
        generator: Draws, on the CPU; torch's own if not given.

    Returns:
        By modality, which rows are to lose it, `(N,)` bool, on the CPU.

    Raises:
        ValueError: If there is no modality, or the probability is not in [0, 1].

    Example:
        >>> present = {"text": torch.tensor([True, True, False]), "audio": torch.tensor([True, True, True])}
        >>> hidden = draw_hidden(present, 1.0)
        >>> (hidden["text"].int() + hidden["audio"].int()).tolist()  # the last row has audio alone, and keeps it
        [1, 1, 0]
    """
    if not present:
        raise ValueError("expected the rows of one modality or more, got none")
    if not 0 <= probability <= 1:
        raise ValueError(f"expected a probability of 0 to 1, got {probability}")
    has = torch.stack([*present.values()], 1)
    loses = (torch.rand(len(has), generator=generator) < probability) & (has.sum(1) > 1)
    lots = torch.rand(has.shape, generator=generator).masked_fill(~has, -1)
    drawn = torch.zeros_like(has).scatter(1, lots.argmax(1, keepdim=True), loses[:, None])
    return dict(zip(present, drawn.unbind(1), strict=True))


def hide(batch: Batch, hidden: Mapping[str, Tensor]) -> Batch:
    """The batch without what is hidden, as if those rows had never had it; labels and all else stay.

    Frames become padding. Of a hidden text the special tokens stay, moved together, as those of an empty transcript; `lengths`
    stay, and are then more than there are: they are told without waiting for the device.

    Arguments:
        batch: The batch, which is left as it is.
        hidden: Which rows lose which modality, or `"text"`, `{name: (N,) bool}`, as `draw_hidden` returns it. Modalities that
            are not named stay.

    Raises:
        ValueError: If the batch has no such modality.

    Example:
        >>> import numpy as np
        >>> from disentangle.data.batches import Row, collate
        >>> batch = collate([Row(i, {"audio": np.ones((4, 5), np.float32)}) for i in range(2)])
        >>> seen = hide(batch, {"audio": torch.tensor([True, False])})
        >>> seen.present["audio"].tolist(), seen.sequences["audio"].lengths.tolist()
        ([False, True], [0, 4])
    """
    if unknown := hidden.keys() - batch.present.keys():
        raise ValueError(f"expected modalities of the batch, {sorted(batch.present)}, got {sorted(unknown)}")
    device = batch.labels.device
    sequences = {
        name: _without(sequence, hidden[name].to(device, non_blocking=True)) if name in hidden else sequence
        for name, sequence in batch.sequences.items()
    }
    present = {name: rows & ~hidden[name] if name in hidden else rows for name, rows in batch.present.items()}
    seen = replace(batch, sequences=sequences, present=present)
    return _without_words(seen, hidden["text"].to(device, non_blocking=True)) if "text" in hidden else seen


def noise_like(latent: Tensor, present: Tensor | None = None) -> Tensor:
    r"""Noise with the shape of a latent, and the mean and variance that each dimension of it has over the batch.

    A decoder that gets it in place of the latent learns nothing of the row. No gradient goes back. Where a single row has the
    latent, whose mean it would be itself, the noise has its size alone.

    Arguments:
        latent: The latent, `(N, d)`.
        present: Which rows have it, `(N,)` bool, on the CPU; the others, which hold zeros, are not counted. All if not given.

    Example:
        >>> noise = noise_like(5.0 + 2.0 * torch.randn(1000, 3))
        >>> noise.shape, bool((noise.mean(0) - 5.0).abs().max() < 0.5)
        (torch.Size([1000, 3]), True)
    """
    values = known = latent.detach()
    if present is not None and not present.all():
        known = values[present.nonzero().squeeze(1).to(values.device, non_blocking=True)]
    noise = torch.randn_like(values)
    if len(known) < 2:
        return known.square().sum().div(max(known.numel(), 1)).sqrt() * noise
    return known.mean(0) + known.std(0, correction=0) * noise


def _without(sequence: Masked, rows: Tensor) -> Masked:
    """A batch of sequences in which some rows, `(N,)` bool, are padding alone."""
    mask = sequence.mask & ~rows[:, None]
    return Masked(sequence.values.masked_fill(rows.view(-1, *(1,) * (sequence.values.dim() - 1)), 0), mask)


def _without_words(batch: Batch, rows: Tensor) -> Batch:
    """A batch in which some rows, `(N,)` bool, have an empty transcript: special tokens alone."""
    stays = batch.tokens["attention_mask"].bool() & (batch.tokens["special_tokens_mask"].bool() | ~rows[:, None])
    order = (~stays).int().argsort(dim=1, stable=True)  # what stays comes first
    stays = stays.gather(1, order)
    padding = {"input_ids": 0, "attention_mask": 0, "special_tokens_mask": 1}
    tokens = {name: torch.where(stays, ids.gather(1, order), padding[name]) for name, ids in batch.tokens.items()}
    return replace(batch, tokens=tokens, words=_without(batch.words, rows))
