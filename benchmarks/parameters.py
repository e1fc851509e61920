"""How many parameters MIRD has with bert-base and d = 64, part by part, beside the 121 M of the paper's Table 2.

python benchmarks/parameters.py
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from mird_mosi import MIRD, penalty_for
from torch import nn
from transformers import BertConfig, BertModel

from disentangle.text_tables import aligned

SIZES = {"audio": 33, "vision": 709}  # the paper's features a frame


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def itemized() -> dict[str, int]:
    """The model for bert-base-uncased, from its configuration alone: weights are random."""
    model = MIRD(BertModel(BertConfig(), add_pooling_layer=False), SIZES)
    parts = {
        "backbone (BERT base, no pooler)": model.shared.backbone,
        "sparse attention, eq. 2": model.shared.inject.attention,
        "gates and displacements, eq. 3 to 6": model.shared.inject.gate,
        "projection to z^S, eq. 7": model.shared.output,
        **{f"private encoder {m}, eq. 1": encoder for m, encoder in model.private.items()},
        **{f"decoder {m}: LSTM, eq. 8": decoder.lstm for m, decoder in model.decoders.items()},
        **{f"decoder {m}: output, eq. 8": decoder.output for m, decoder in model.decoders.items()},
        "regressor, eq. 17": model.regressor,
    }
    items = {name: count(part) for name, part in parts.items()}
    assert sum(items.values()) == count(model)
    penalty = penalty_for(model, "club", input_pairs=True)
    assert penalty is not None
    return {**items, "the model": count(model), "nine estimators (not in the model)": count(penalty)}


if __name__ == "__main__":
    print(aligned([["part", "parameters"], *([name, f"{n:,}"] for name, n in itemized().items())], ["part"]))
