"""A trained model as a file that ONNX Runtime runs, where there is neither its class nor torch."""

from __future__ import annotations

import argparse
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from disentangle.data import Batch, Recordings, collate
from disentangle.errors import SavedModelError
from disentangle.experiments.experiment import Experiment
from disentangle.experiments.trained import Trained, open_trained
from disentangle.files import write_file
from disentangle.variables import Masked

__all__ = ["export_onnx", "prepare_export"]

WORDS = ("so", "good", "not", "at", "all", "and", "yet")
TOKENS = ("input_ids", "attention_mask", "special_tokens_mask")
MOST_TOKENS = 512
OPSET = 18


def export_onnx(trained: Trained, path: str | os.PathLike[str], *, int8: bool = False) -> float:
    """Writes a trained model as an ONNX file, for batches of any size and sequences of any length.

    Its inputs are what the tokenizer returns, unless it hears no words: `input_ids` and `attention_mask`, `(N, T)` int64,
    `special_tokens_mask`, bool; and for each other modality its frames by name, `audio: (N, S, D)` float32, with
    `audio_mask: (N, S)` bool, true where a frame is real: a row that lacks a modality has no real frame. Its output is
    `scores`, `(N, K)` or `(N,)`, which `trained.task` reads. Frames are standardised inside. The file's metadata say the rest,
    as JSON: `task`, `sizes`, `max_words`, `truncation_side`.

    Arguments:
        trained: The model, see `open_trained`.
        path: The file to write, such as `model.onnx`; one that exists is replaced.
        int8: Whether matrices are stored and multiplied in 8 bits, scaled anew for each input, by ONNX Runtime's dynamic
            quantisation. The scores change, sometimes by tenths of a label: measure on your own data what that costs.

    Returns:
        The largest difference between the file's scores and the model's, over batches of 3, 1 and 16 made-up recordings of
        other lengths, of which some lack words and frames.

    Raises:
        ImportError: If onnx, onnxscript or onnxruntime is not installed, which the extra `onnx` brings.
        ValueError: If the model cannot be written as a graph: one that draws noise, looks at its rows in Python, or packs
            sequences.

    Example:
        A run's model, and what the file says of a batch of the run's data::

            trained = open_trained("runs/mosi", MIRD)
            export_onnx(trained, "model.onnx")
            (scores,) = onnxruntime.InferenceSession("model.onnx").run(None, arrays)
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  # torch wants it
    except ImportError as error:
        raise ImportError(f"{error}: pip install onnx onnxruntime onnxscript") from error
    batch = _recordings(trained, 3)
    flat, inputs = _Flat(trained, batch).eval(), _inputs_of(trained, batch)
    with torch.no_grad():
        scores = trained.model.predict(trained.model(batch))
        if not torch.equal(trained.model.predict(trained.model(batch)), scores):
            raise ValueError(f"{type(trained.model).__name__} draws noise: expected a model that says the same twice")
        if not torch.allclose(flat(*inputs.values()), scores, atol=1e-5):
            raise ValueError(
                "expected the same scores from the tokens alone, got others: the tokenizer puts special tokens between words"
            )
        program = _graph(flat, inputs)
    program.model.metadata_props.update({name: json.dumps(value) for name, value in _metadata(trained).items()})

    def write(part: Path) -> None:
        program.save(part)
        if int8:
            quantize(part)
            part.with_name(f"{part.name}.data").unlink(missing_ok=True)  # of weights that were too many for one file

    write_file(Path(path), write)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def difference(batch: Batch) -> float:
        (found,) = session.run(None, {name: value.numpy() for name, value in _inputs_of(trained, batch).items()})
        with torch.no_grad():
            return float(np.abs(found - trained.model.predict(trained.model(batch)).numpy()).max())

    return max(map(difference, (batch, _recordings(trained, 1), _recordings(trained, 16))))


def prepare_export(experiment: Experiment, options: argparse.Namespace) -> Callable[[], None]:
    """Opens the run, so that whatever is wrong with it is said before the model is written."""
    if Path(options.out).exists():
        raise ValueError(f"{options.out}: exists; give the name of a new file")
    if not Path(options.out).absolute().parent.is_dir():
        raise ValueError(f"{options.out}: expected a folder that exists, got none")
    trained = open_trained(options.run, experiment.build)

    def export() -> None:
        try:
            difference = export_onnx(trained, options.out, int8=options.int8)
        except ValueError as error:  # a model that is no graph
            raise SavedModelError(f"{options.run}: {error}") from error
        size = Path(options.out).stat().st_size / 2**20
        print(
            f"{options.out}, {size:.1f} MiB: its scores differ from the model's by at most {difference:.1g}, on 20 made-up rows"
        )

    return export


class _Flat(nn.Module):
    """A model of batches as one of tensors: tokens, then frames and mask of each modality."""

    def __init__(self, trained: Trained, batch: Batch):
        super().__init__()
        self.model, self.modalities, self.reads = trained.model, tuple(trained.sizes), _reads(trained)
        self.like = batch
        self.unheard = () if self.reads else tuple(batch.tokens)
        for name in self.unheard:  # the same tokens in each row, those of no words
            self.register_buffer(name, batch.tokens[name][:1])

    def forward(self, *tensors: Tensor) -> Tensor:
        given = list(tensors)
        tokens = {name: given.pop(0) for name in TOKENS} if self.reads else {}
        frames = {name: Masked(given.pop(0), given.pop(0)) for name in self.modalities}
        first = next(iter(tokens.values())) if tokens else next(iter(frames.values())).values
        tokens |= {name: self.get_buffer(name).expand(first.shape[0], -1) for name in self.unheard}
        words = Masked(first.new_zeros(first.shape[0], 1), first.new_zeros(first.shape[0], 1).bool())
        if tokens:  # the first token is special, and so is the one behind the last word
            real = tokens["attention_mask"].bool() & ~tokens["special_tokens_mask"]
            words = Masked(tokens["input_ids"][:, 1:], real[:, 1:])
        masks = {**({"text": words.mask} if tokens else {}), **{name: x.mask for name, x in frames.items()}}
        nothing = torch.zeros(first.shape[0], device=first.device)
        batch = replace(
            self.like,
            index=nothing.long(),
            tokens=tokens,
            lengths=tokens["attention_mask"].sum(1) if tokens else nothing.long(),
            words=words,
            sequences=frames,
            labels=nothing,
            labeled=nothing,
            more_labels={},
            present={name: mask.any(1) for name, mask in masks.items()},
        )
        return self.model.predict(self.model(batch))


def _recordings(trained: Trained, rows: int) -> Batch:
    """Made-up recordings, each modality of another length; the second has no words, the third no frames."""
    draw = np.random.default_rng(rows)
    texts = [" ".join(draw.choice(WORDS, draw.integers(2, 20))) if i != 1 else "" for i in range(rows)]
    frames: dict[str, Sequence[np.ndarray]] = {
        name: [draw.normal(size=(draw.integers(2, 40) * (i != 2), size)).astype(np.float32) for i in range(rows)]
        for name, size in trained.sizes.items()
    }
    dataset = trained.dataset(Recordings(text=texts, sequences=frames))
    return collate([dataset[i] for i in range(rows)])


def _reads(trained: Trained) -> bool:
    """Whether words are among the inputs."""
    return trained.tokenizer is not None and trained.hears_words


def _inputs_of(trained: Trained, batch: Batch) -> dict[str, Tensor]:
    """What the graph takes, by name."""
    frames = {name: batch.sequences[name] for name in trained.sizes}
    named = {key: t for name, x in frames.items() for key, t in ((name, x.values), (f"{name}_mask", x.mask))}
    return {**{name: batch.tokens[name] for name in TOKENS if _reads(trained)}, **named}


def _metadata(trained: Trained) -> dict[str, Any]:
    side = getattr(trained.tokenizer, "truncation_side", None)
    known = {"task": trained.task.to_dict(), "sizes": trained.sizes}
    return known if side is None else {**known, "max_words": trained.max_words, "truncation_side": side}


def _graph(flat: _Flat, inputs: dict[str, Tensor]) -> Any:
    """The model as a program of ONNX."""
    rows = torch.export.Dim("rows", min=2)
    tokens = torch.export.Dim("tokens", min=3, max=MOST_TOKENS)
    steps = {name: torch.export.Dim(f"{name}_frames", min=2) for name in flat.modalities}
    shapes = tuple({0: rows, 1: steps.get(name.removesuffix("_mask"), tokens)} for name in inputs)
    try:
        with _lstms_as_one_operation(), _quietly():
            graph = torch.export.export(flat, tuple(inputs.values()), dynamic_shapes=(shapes,), strict=False)
            program = torch.onnx.export(
                graph,
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=["scores"],
                custom_translation_table={torch.ops.disentangle.lstm.default: _onnx_lstm},
            )
    except Exception as error:  # whatever the two say of what they cannot do
        (first, *_) = str(error).strip().splitlines() or [type(error).__name__]
        name = type(flat.model).__name__
        raise ValueError(f"{name} cannot be written as a graph that does not depend on its rows: {first}") from error
    assert program is not None
    return program


def quantize(path: Path) -> None:
    """In place, matrices alone."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quietly():
        quantize_dynamic(path, path, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"])


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what the tools say to those who write them."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@torch.library.custom_op(
    "disentangle::lstm",
    mutates_args=(),
    schema="(Tensor x, Tensor h, Tensor c, Tensor w_ih, Tensor w_hh, Tensor b_ih, Tensor b_hh) -> (Tensor, Tensor, Tensor)",
)
def _lstm(x: Any, h: Any, c: Any, *weights: Any) -> Any:
    """An LSTM of one layer as one operation: torch would unroll it, over as many steps as the example has."""
    return tuple(t.clone() for t in torch.lstm(x, (h, c), list(weights), True, 1, 0.0, False, False, True))


@_lstm.register_fake
def _(x: Any, h: Any, c: Any, *weights: Any) -> Any:
    return x.new_empty(*x.shape[:2], h.shape[2]), torch.empty_like(h), torch.empty_like(c)


def _onnx_lstm(x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any) -> Any:
    from onnxscript import opset18

    op: Any = opset18
    size = h.shape[2]

    def gates(t: Any) -> Any:
        """Input, forget, cell, output to input, output, forget, cell."""
        i, f, g, o = (op.Slice(t, [k * size], [(k + 1) * size], [0]) for k in range(4))
        return op.Concat(i, o, f, g, axis=0)

    w, r = (op.Unsqueeze(gates(t), [0]) for t in (w_ih, w_hh))
    b = op.Unsqueeze(op.Concat(gates(b_ih), gates(b_hh), axis=0), [0])
    states, last_h, last_c = op.LSTM(op.Transpose(x, perm=[1, 0, 2]), w, r, b, None, h, c, hidden_size=size)
    return op.Transpose(op.Squeeze(states, [1]), perm=[1, 0, 2]), last_h, last_c


@contextmanager
def _lstms_as_one_operation() -> Iterator[None]:
    usual = nn.LSTM.forward

    def forward(lstm: Any, x: Any, state: Any = None) -> Any:
        plain = lstm.num_layers == 1 and not lstm.bidirectional and lstm.batch_first and isinstance(x, Tensor)
        if not plain or x.dim() != 3 or lstm.proj_size or not lstm.bias:
            return usual(lstm, x, state)
        if state is None:
            zero = x.new_zeros(1, x.shape[0], lstm.hidden_size)
            state = zero, zero
        out, h, c = torch.ops.disentangle.lstm(x, *state, *lstm.all_weights[0])
        return out, (h, c)

    nn.LSTM.forward = forward  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        nn.LSTM.forward = usual
