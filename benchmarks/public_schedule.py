"""The schedule of published code for this paper, from the modules of `mird_mosi.py`: what an iteration is compared with.

The main update comes first. Then, five times, the whole model encodes the batch again, with gradients that go back through
it and are thrown away, for a step of the estimators, which are nine modules with an optimiser that is not fused. LSTMs are
loops over cells, in Python; the logits of all words and the outputs of all frames are one tensor.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from mird_mosi import INNER_STEPS, MIRD, objective_for, pairs_of
from torch import Tensor, nn

from disentangle import CLUBEstimator, Masked, Rows
from disentangle.nn import masked_mse


class CellEncoder(nn.Module):
    """A `SequenceEncoder` whose LSTM is a loop over cells."""

    def __init__(self, encoder):
        super().__init__()
        self.lstm, self.output = encoder.lstm, encoder.output

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        weights = self.lstm.all_weights[0]
        h = c = values.new_zeros(len(values), self.lstm.hidden_size)
        for step, real in zip(values.unbind(1), mask.unsqueeze(2).unbind(1), strict=True):
            state = torch.lstm_cell(step, (h, c), *weights)
            h, c = (torch.where(real, new, old) for new, old in zip(state, (h, c), strict=True))
        return self.output(h)


class CellDecoder(nn.Module):
    """A `SequenceDecoder` whose LSTM is a loop over cells."""

    def __init__(self, decoder):
        super().__init__()
        self.lstm, self.output = decoder.lstm, decoder.output

    def forward(self, z: Tensor, length: int) -> Tensor:
        h, c, steps = z, torch.zeros_like(z), []
        for _ in range(length):
            h, c = torch.lstm_cell(h, (h, c), *self.lstm.all_weights[0])
            steps.append(h)
        return self.output(torch.stack(steps, 1))


def decoded(model, name: str, m: str, z: Tensor, which: Tensor, variables, batch) -> dict[str, Rows]:
    """`MIRD.decoded` with the outputs of all steps as one tensor."""
    target = batch.words if m == "L" else variables["_frames"][m]
    out = model.decoders[m](torch.cat([z, variables["S"]], 1), target.mask.shape[1])
    if m != "L":
        return {name: masked_mse(out, target)}
    loss = F.cross_entropy(out.transpose(1, 2), target.values, reduction="none")
    lengths = target.lengths
    return {name: Rows(torch.where(target.mask, loss, 0).sum(1) / lengths, lengths.float())}


def public_schedule(model: MIRD, batch) -> Callable[[], None]:
    """An iteration of a copy of the model; its rows have all modalities."""
    model = copy.deepcopy(model)
    for m in model.modalities:
        model.private[m], model.decoders[m] = CellEncoder(model.private[m]), CellDecoder(model.decoders[m])
    model.decoded = lambda *given: decoded(model, *given)  # pyright: ignore[reportAttributeAccessIssue]
    latents, inputs = pairs_of(model.order)
    pairs = [*latents, *inputs]
    estimators = [CLUBEstimator(model.sizes[x], model.sizes[y]).to(batch.labels.device) for x, y in pairs]
    optimizer = torch.optim.AdamW(model.parameters(), 1e-5)
    learning = torch.optim.Adam(nn.ModuleList(estimators).parameters(), 1e-3)
    objective = objective_for(0.1)

    def iterate() -> None:
        variables = model(batch)
        values = {f"{x};{y}": q(variables[x], variables[y]) for q, (x, y) in zip(estimators, pairs, strict=True)}
        optimizer.zero_grad()
        objective(model.losses(variables, batch), values).backward()
        optimizer.step()
        for _ in range(INNER_STEPS):
            variables = model(batch)
            losses = [q.learning_loss(variables[x], variables[y]) for q, (x, y) in zip(estimators, pairs, strict=True)]
            learning.zero_grad()
            torch.stack(losses).sum().backward()
            learning.step()

    return iterate


def batch_of_ones_own(words: int, vocabulary: int, frames: dict[str, tuple[int, int]], rows: int):
    """A batch of random words and frames, all of one length; the first word piece starts and the last ends each sentence."""
    from disentangle.data.batches import Batch

    ids = torch.randint(5, vocabulary, (rows, words + 2))
    special = torch.zeros_like(ids)
    special[:, [0, -1]] = 1
    return Batch(
        index=torch.arange(rows),
        tokens={"input_ids": ids, "attention_mask": torch.ones_like(ids), "special_tokens_mask": special},
        lengths=torch.full((rows,), words + 2),
        words=Masked(ids[:, 1:-1].contiguous(), torch.ones(rows, words, dtype=torch.bool)),
        sequences={
            m: Masked(torch.randn(rows, *size), torch.ones(rows, size[0], dtype=torch.bool))
            for m, size in frames.items()
        },
        labels=torch.randn(rows),
        labeled=torch.ones(rows),
        more_labels={},
        present={m: torch.ones(rows, dtype=torch.bool) for m in ("text", *frames)},
        has_label=torch.ones(rows, dtype=torch.bool),
    )
