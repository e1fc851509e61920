"""LMR-CBT: words reinforced by what was seen and heard as a whole, from the library's parts.

    python examples/lmr_cbt.py                                    trains on the embedded synthetic set
    python examples/lmr_cbt.py --data FILE --backbone bert-base-uncased
    python examples/lmr_cbt.py evaluate --run RUN                 and every other command of mird_mosi.py

The paper is Fu et al., "LMR-CBT: Learning Modality-fused Representations with CB-Transformer for Multimodal Emotion Recognition
from Unaligned Multimodal Sequences" (2021). Frames of audio and of vision go through a convolution and a transformer, whose
last step is the vector of the modality; an LSTM reads the words in both directions. A layer maps each word together with the
vector of the first modality, the next layer maps what came out together with the vector of the second one; the result is added
to the word, and the last transformer reads the words. There is one transformer per modality, and none per pair.

Where this differs from the published code: the LSTM runs over the words of each row, where that code gives it a tensor whose
first axis is time, so that it runs over the rows of the batch, and a prediction depends on the other rows. A layer norm follows
the convolution, since the batch norm there mixes rows too. Nothing attends to padding, the last real step is read, and steps
attend to later ones too, see mult.py. A modality that a row lacks leaves its words as they are. As in that code, what is added
to a word is the softmax over its features, not a product of the softmax and the word. Words are those of a text encoder that
learns too, where they have fixed vectors; frames are standardised by the training split; a number is learnt by its squared
error, not the absolute one; one rate of dropout holds within all transformers.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from mult import sequences_of
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from disentangle import Masked, Model, Rows
from disentangle.experiments import Experiment, run_program, standardize_frames
from disentangle.nn import CrossModalTransformer, Standardize, TemporalConvolution, last_step, sinusoidal_positions
from disentangle.nn.backbones import as_backbone
from disentangle.tasks import Task, as_task


class LMRCBT(Model):
    def __init__(
        self,
        backbone: Any,
        sizes: dict[str, int],
        task: Task | dict[str, Any],
        *,
        d=40,
        layers=5,
        heads=8,
        dropout=0.1,
        step_dropout=0.3,
    ):
        super().__init__()
        self.backbone, self.task = as_backbone(backbone), as_task(task)
        self.standardize = nn.ModuleDict({m: Standardize(size) for m, size in sizes.items()})
        words = ReadWords(self.backbone.config.hidden_size, d, step_dropout)
        frames = {m: TemporalConvolution(size, d, kernel=3) for m, size in sizes.items()}
        self.read = nn.ModuleDict({"text": words, **frames})
        self.norm = nn.ModuleDict({m: nn.LayerNorm(d) for m in self.read})
        self.step_dropout = nn.Dropout(step_dropout)
        transformer = partial(CrossModalTransformer, d, layers, heads, dropout=dropout, attention_dropout=dropout)
        self.transformer = nn.ModuleDict({m: transformer() for m in self.read})
        self.reinforce = nn.ModuleDict({m: nn.Linear(2 * d, d) for m in sizes})
        width = len(self.read) * d
        self.head = nn.Sequential(
            *(nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout)),
            *(nn.Linear(width, width), nn.Linear(width, self.task.outputs)),
        )

    def forward(self, batch) -> dict[str, Any]:
        sequences = sequences_of(self, batch)
        words = self.normalized("text", self.read["text"](sequences.pop("text"), batch.lengths))
        latents = {}
        for m, frames in sequences.items():
            latents[m] = self.vector(m, self.normalized(m, self.read[m](frames)))
        found, reinforced = words.values, torch.zeros_like(words.mask[:, :1, None])
        for m, reinforce in self.reinforce.items():
            both = torch.cat([found, latents[m].unsqueeze(1).expand(-1, found.shape[1], -1)], 2)
            has = sequences[m].mask.any(1)[:, None, None]
            found, reinforced = torch.where(has, reinforce(both).tanh().softmax(2), found), reinforced | has
        read = torch.where(reinforced, words.values + found, words.values)
        return {"text": self.vector("text", Masked(read, words.mask)), **latents}

    def normalized(self, m: str, steps: Masked) -> Masked:
        return Masked(self.norm[m](steps.values), steps.mask)

    def vector(self, m: str, steps: Masked) -> Tensor:
        """The last step of a modality after its transformer, `(B, d)`."""
        placed = sinusoidal_positions(steps)
        return last_step(self.transformer[m](Masked(self.step_dropout(placed.values), placed.mask)))

    def present(self, batch) -> dict[str, Tensor]:
        return {m: batch.present[m] for m in self.read}

    def predict(self, variables) -> Tensor:
        return self.head(torch.cat([variables[m] for m in self.read], 1)).squeeze(1)

    def losses(self, variables, batch) -> dict[str, Rows]:
        return {"Y": self.task.loss(self.predict(variables), batch.labels, batch.labeled)}


class ReadWords(nn.Module):
    """Words as steps of d features: an LSTM of two layers, in both directions, over the tokens of each row."""

    def __init__(self, word_features: int, d: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(word_features, d // 2, 2, batch_first=True, dropout=0.5, bidirectional=True)

    def forward(self, words: Masked, lengths: Tensor) -> Masked:
        """The words, `(B, T, d)`; `lengths` is how many tokens each row has, `(B,)` on the CPU."""
        with torch.autocast(words.values.device.type, enabled=False):
            tokens = self.dropout(words.values).to(self.lstm.weight_hh_l0.dtype)
            order = lengths.argsort(descending=True)  # sorted here: where torch sorts them, the host waits for a device
            sort, unsort = (rows.to(tokens.device, non_blocking=True) for rows in (order, order.argsort()))
            packed = pack_padded_sequence(tokens.index_select(0, sort), lengths[order].clamp(min=1), batch_first=True)
            states, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=tokens.shape[1])
        return Masked(states.index_select(0, unsort), words.mask)


def add_options(method) -> None:
    add = method.add_argument
    add("--layers", type=int, default=5, help="of each transformer (default: %(default)s)")
    add(
        "--dropout",
        type=float,
        default=0.1,
        help="within the transformers and before the last layers (default: %(default)s)",
    )
    add(
        "--step-dropout", type=float, default=0.3, help="of words and of the transformers' steps (default: %(default)s)"
    )


EXPERIMENT = Experiment(
    build=LMRCBT,
    description=__doc__,
    options=add_options,
    arguments=lambda options: {name: getattr(options, name) for name in ("layers", "dropout", "step_dropout")},
    prepare=standardize_frames,
    objective=lambda options: lambda losses, penalties: losses["Y"].mean(),
    defaults={"lr": 1e-4, "epochs": 120, "backbone": "bert-base-uncased"},
    batch_size=16,
    unlabeled=False,
)
main = partial(run_program, EXPERIMENT)

if __name__ == "__main__":
    raise SystemExit(main())
