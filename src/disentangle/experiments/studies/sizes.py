"""How large models are and how much they compute: parameters, and multiply-accumulates of one recording."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.backends import mha, mkldnn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from disentangle.data import RecordingDataset, Recordings, collate
from disentangle.experiments.experiment import Experiment
from disentangle.experiments.studies.pictures import plot_sizes
from disentangle.experiments.studies.runs import trained_by
from disentangle.experiments.studies.tables import Table
from disentangle.nn.backbones import tiny_backbone
from disentangle.tasks import SENTIMENT
from disentangle.text_tables import TextTable, comma_separated

__all__ = ["Shape", "Size", "Sizes", "size_of"]

ROWS = 4  # of training, for what a model fits to them before it trains


@dataclass(frozen=True)
class Shape:
    """What a model reads: so many words, and for each modality so many frames of so many features.

    Example:
        >>> Shape(50, {"audio": (375, 33), "vision": (500, 709)}).sizes
        {'audio': 33, 'vision': 709}
    """

    words: int
    frames: Mapping[str, tuple[int, int]]

    @property
    def sizes(self) -> dict[str, int]:
        """The number of features of each modality."""
        return {name: size for name, (_, size) in self.frames.items()}


@dataclass(frozen=True)
class Size:
    """How large a model is and how much it computes.

    Attributes:
        parameters: The parameters of the model, its backbone among them.
        estimators: The parameters of its penalty's estimators, which only training needs.
        predicting: The multiply-accumulates of a prediction for one recording.
        losses: Those of a forward pass in training: with what losses alone need, such as decoders, without the penalty.
    """

    parameters: int
    estimators: int
    predicting: int
    losses: int


@dataclass(frozen=True)
class Sizes(Table):
    """The sizes of several models, beside others that were published. It prints as text.

    Attributes:
        measured: The sizes by the names of the models.
        published: For some of them, parameters and multiply-accumulates that their paper, or another, says.
    """

    file_name: ClassVar[str] = "sizes"
    measured: dict[str, Size]
    published: Mapping[str, tuple[float, float]]

    def to_csv(self) -> str:
        """A line for each model, in full precision."""
        names = ("parameters", "estimators", "predicting", "losses", "published_parameters", "published_macs")
        lines: list[list[object]] = [["system", *names]]
        for name, size in self.measured.items():
            own = (size.parameters, size.estimators, size.predicting, size.losses)
            lines.append([name, *own, *self.published.get(name, (None, None))])
        return comma_separated(lines)

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draws parameters and multiply-accumulates of each model, and what was published beside them.

        Raises:
            ImportError: Where matplotlib is missing.
        """
        own = {name: (size.parameters / 1e6, size.predicting / 1e9) for name, size in self.measured.items()}
        others = {name: (p / 1e6, macs / 1e9) for name, (p, macs) in self.published.items() if name in own}
        plot_sizes(own, others, path)

    def tables(self) -> list[TextTable]:
        """Millions of parameters and billions of multiply-accumulates."""
        header = ["system", "parameters (M)", "published", "estimators (M)", "GMACs", "published", "GMACs with losses"]
        lines = [header]
        for name, size in self.measured.items():
            parameters, macs = self.published.get(name, (None, None))
            lines.append(
                [
                    name,
                    _in(size.parameters, 1e6, 1),
                    _in(parameters, 1e6, 0),
                    _in(size.estimators, 1e6, 2) if size.estimators else "–",
                    _in(size.predicting, 1e9, 2),
                    _in(macs, 1e9, 1),
                    _in(size.losses, 1e9, 2),
                ]
            )
        return [TextTable(lines, ["system"])]


def size_of(experiment: Experiment, shape: Shape, backbone: Mapping[str, Any], arguments: Sequence[str] = ()) -> Size:
    """Counts the parameters of an experiment's model, and the multiply-accumulates of matrix products for one recording.

    Sums, activations, norms and the like are not counted. Weights are random: neither number depends on them.

    Arguments:
        experiment: The experiment.
        shape: What the recording has.
        backbone: The configuration of its text encoder, as `transformers` has it; its vocabulary needs 10 word pieces or more.
        arguments: Options of the experiment.

    Raises:
        ValueError: If the experiment refuses the options.

    Example:
        `size_of(EXPERIMENT, Shape(50, {"audio": (375, 33)}), BertConfig().to_dict())` is that of bert-base.
    """
    options = trained_by(experiment, arguments)
    draw = np.random.default_rng(0)
    recordings = Recordings(
        text=[" ".join(["a"] * shape.words)] * ROWS,
        sequences={
            name: [draw.normal(size=size).astype(np.float32) for _ in range(ROWS)]
            for name, size in shape.frames.items()
        },
        labels=np.linspace(-1, 1, ROWS, dtype=np.float32),
    )
    more = {"backbone": dict(backbone)} if experiment.reads_text else {}
    model: Any = experiment.build(sizes=shape.sizes, task=SENTIMENT.to_dict(), **more, **experiment.arguments(options))
    experiment.prepare(model, recordings)
    _, tokenizer = tiny_backbone(["a"], hidden_size=8, layers=1, heads=1)
    dataset = RecordingDataset(recordings, tokenizer if experiment.reads_text else None)
    batch = collate([dataset[0]])
    model.eval()
    predicting = macs(lambda: model.predict(model(batch)))
    losses = macs(lambda: model.losses(model(batch), batch))
    return Size(parameters_of(model), parameters_of(experiment.penalty(model, options)), predicting, losses)


def parameters_of(module: nn.Module | None) -> int:
    """How many numbers a module learns."""
    return 0 if module is None else sum(parameter.numel() for parameter in module.parameters())


def macs(compute: Any) -> int:
    """The multiply-accumulates of the matrix products in a computation, those inside of recurrent networks among them."""
    with torch.no_grad(), products_in_the_open(), FlopCounterMode(display=False) as counter:
        compute()
    return counter.get_total_flops() // 2


@contextmanager
def products_in_the_open() -> Iterator[None]:
    """Makes LSTMs and attention compute by plain matrix products, which are counted; fused kernels on a CPU are not."""
    fast = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
            warnings.filterwarnings("ignore", message="TF32 acceleration")  # of the flags, whichever are set
            with mkldnn.flags(enabled=False):
                yield
    finally:
        mha.set_fastpath_enabled(fast)


def _in(value: float | int | None, unit: float, digits: int) -> str:
    return "–" if value is None else f"{value / unit:.{digits}f}"
