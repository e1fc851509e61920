"""WSA-BERT: MAG-BERT for frames that are not aligned with words, which find their own by sparse attention.

    python examples/wsa_bert.py                                   trains on the embedded synthetic set
    python examples/wsa_bert.py --data FILE --backbone bert-base-uncased --attention softmax
    python examples/wsa_bert.py evaluate --run RUN                and every other command of mird_mosi.py

The paper is Qian, Song and Han, "Word-wise Sparse Attention for Multimodal Sentiment Analysis" (Interspeech 2022); what is
known of it here comes from MIRD, which builds on it, and from the code published with MIRD. The moved words are read at [CLS],
and three layers predict from it. `mag_bert.py` finds frames in the same way here; this file has only what the two do not share.

Where this differs from the published code: padding is never attended; words and frames are compared in a space of 64 features,
not in the 768 of the words, where inner products are so large that each word attends to a single frame from the start. The
gates are sigmoids, as in the paper, not ReLUs; no layer norm and no dropout follow them; frames are standardised by the
training split; and the best epoch is chosen on the validation split, not on the test split. The paper injects in the middle of
the encoder and averages the words, its code injects right after the embeddings and reads [CLS]: `--inject-layer` and
`--pooling` choose, and the code's way is the default.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Literal

import mag_bert
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from disentangle.experiments import run_program
from disentangle.nn import WordwiseSparseAttention
from disentangle.tasks import Task


class WSABERT(mag_bert.MAGBERT):
    def __init__(
        self,
        backbone: Any,
        sizes: dict[str, int],
        task: Task | dict[str, Any],
        *,
        inject_after=0,
        epsilon=1.0,
        pooling: Literal["cls", "mean"] = "cls",
        attention: Literal["sparsemax", "softmax"] = "sparsemax",
        dropout=0.5,
        from_zero=False,
    ):
        super().__init__(backbone, sizes, task, inject_after=inject_after, epsilon=epsilon, from_zero=from_zero)
        self.pooling, width = pooling, self.words.output.out_features
        if attention == "softmax":
            self.words.inject.attention = nn.ModuleDict({m: WordwiseAttention(width, sizes[m]) for m in sizes})
        self.head = nn.Sequential(
            *(nn.Tanh(), nn.Dropout(dropout), nn.Linear(width, 128)),
            *(nn.Dropout(dropout), nn.Linear(128, 64), nn.ReLU()),
            *(nn.Dropout(dropout), nn.Linear(64, self.task.outputs)),
        )

    def forward(self, batch) -> dict[str, Tensor]:
        if self.pooling == "cls":  # all tokens but the first count as special, so that the words' mean is [CLS]
            special = torch.ones_like(batch.tokens["special_tokens_mask"])
            special[:, 0] = 0
            batch = replace(batch, tokens={**batch.tokens, "special_tokens_mask": special})
        return super().forward(batch)


class WordwiseAttention(WordwiseSparseAttention):
    """The same scores with a softmax in place of sparsemax: each word attends to all frames."""

    def forward(self, words: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        values, dtype = torch.where(mask.unsqueeze(-1), values, 0), self.words.weight.dtype
        seen = mask | ~mask.any(1, keepdim=True)  # a row without frames attends to zeros
        with torch.autocast(words.device.type, enabled=False):  # scores that are rounded pick other frames
            queries, keys = self.words(words.to(dtype)), self.frames(values.to(dtype))
            return F.scaled_dot_product_attention(queries, keys, values.to(dtype), seen.unsqueeze(1), scale=1.0)


def add_options(method) -> None:
    mag_bert.add_options(method)
    method.set_defaults(dropout=0.5)
    add = method.add_argument
    add("--pooling", choices=("cls", "mean"), default="cls", help="what is read of the words (default: %(default)s)")
    add(
        "--attention",
        choices=("sparsemax", "softmax"),
        default="sparsemax",
        help="how scores become weights of frames (default: %(default)s)",
    )


EXPERIMENT = replace(
    mag_bert.EXPERIMENT,
    build=WSABERT,
    description=__doc__,
    options=add_options,
    arguments=lambda options: {
        **mag_bert.EXPERIMENT.arguments(options),
        "pooling": options.pooling,
        "attention": options.attention,
    },
)
main = partial(run_program, EXPERIMENT)

if __name__ == "__main__":
    raise SystemExit(main())
