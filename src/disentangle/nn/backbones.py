"""Text backbones and their tokenizers: pretrained ones, a small random one, and how a saved model keeps either."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from disentangle.contents import misplaced
from disentangle.errors import BackboneError
from disentangle.nn.text import stack_of

if TYPE_CHECKING:
    from transformers import BertModel, PreTrainedTokenizerFast

__all__ = [
    "BackboneError",
    "as_backbone",
    "backbone_config",
    "backbone_from_config",
    "load_backbone",
    "tiny_backbone",
]

WAY_OUT = "give a local folder that holds config.json, model.safetensors and the tokenizer's files"
SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
MAX_POSITIONS = 512


def load_backbone(name_or_folder: str | Path) -> tuple[nn.Module, Any]:
    """A pretrained text encoder without its pooler, in float32, and its tokenizer.

    Arguments:
        name_or_folder: A name on the Hugging Face hub, or a local folder that holds `config.json`, `model.safetensors`
            and the tokenizer's files.

    Returns:
        The model, in evaluation mode, and the tokenizer.

    Raises:
        BackboneError: If it cannot be had, if it is no text encoder, or if a single one of its weights is not in the
            file: no part of it is ever left random.

    Example:
        >>> load_backbone("/no/such/folder")
        Traceback (most recent call last):
        disentangle.errors.BackboneError: no folder '/no/such/folder': give a local folder that holds config.json,
        model.safetensors and the tokenizer's files
    """
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    name = str(name_or_folder)
    local = Path(name).is_dir()
    if not local and (name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise BackboneError(f"no folder {name!r}: {WAY_OUT}")
    if local:
        _refuse_misplaced(Path(name))
    with _quiet(bars=not local), _one_line(name):
        config = AutoConfig.from_pretrained(name)
        tokenizer = AutoTokenizer.from_pretrained(name)
        model, info = AutoModel.from_pretrained(
            name, config=config, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True
        )
    mismatched = (
        key if isinstance(key, str) else key[0] for key in info["mismatched_keys"]
    )  # with both shapes since 5
    if wrong := sorted(key for key in {*info["missing_keys"], *mismatched} if not key.startswith("pooler.")):
        raise BackboneError(
            f"{len(wrong)} of the {len(model.state_dict())} weights of {type(model).__name__} are not in {name!r}, or of "
            f"another shape ({', '.join(wrong[:3])}{', …' * (len(wrong) > 3)}): {WAY_OUT}"
        )
    rows = len(_checked(model, name).get_input_embeddings().weight)  # pyright: ignore[reportCallIssue]
    # Without its files a tokenizer can come up with special tokens alone.
    if not len(tokenizer.all_special_ids) < len(tokenizer) <= rows:
        raise BackboneError(
            f"the tokenizer of {name!r} knows {len(tokenizer)} word pieces, its model {rows}: {WAY_OUT}"
        )
    return model, tokenizer


def _refuse_misplaced(folder: Path) -> None:
    """Names a file that is something else: in a folder cloned without its large files, those are pointers."""
    for path in sorted(folder.iterdir()):
        wanted = {".json": "JSON", ".safetensors": "safetensors", ".txt": "text"}.get(path.suffix)
        if wanted and path.is_file() and (wrong := misplaced(path, wanted)):
            raise BackboneError(f"{path}: {wrong}")


def tiny_backbone(
    texts: Sequence[str], *, vocabulary_size: int = 8000, hidden_size: int = 64, layers: int = 4, heads: int = 4
) -> tuple[BertModel, PreTrainedTokenizerFast]:
    """A small BERT with random weights whose word pieces are learnt from `texts`: the same ones from the same texts.

    Arguments:
        texts: The texts to learn the vocabulary from.
        vocabulary_size: How many word pieces there are at most.
        hidden_size: The number of features of a word.
        layers: The number of layers.
        heads: The number of attention heads.

    Returns:
        The model, its weights drawn from torch's global generator, and its tokenizer, both as any other of `transformers`.

    Raises:
        ValueError: If `vocabulary_size` has no room for the characters of the texts.

    Example:
        >>> model, tokenizer = tiny_backbone(["so good", "not so good at all"], hidden_size=16, layers=2, heads=2)
        >>> tokenizer.convert_ids_to_tokens(tokenizer("So good")["input_ids"])
        ['[CLS]', 'so', 'good', '[SEP]']
        >>> model.config.vocab_size == len(tokenizer)
        True
    """
    from transformers import BertConfig, BertModel

    tokenizer = _learn_tokenizer(texts, vocabulary_size)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden_size,
        max_position_embeddings=MAX_POSITIONS,
    )
    return BertModel(config, add_pooling_layer=False), tokenizer


def backbone_config(backbone: nn.Module) -> dict[str, Any]:
    """The architecture of a text encoder as JSON has it, from which `backbone_from_config` builds another with other weights.

    A model whose constructor takes a backbone can take this instead, and thus have it in the `config.json` of a saved model.

    Raises:
        BackboneError: If it is no model of `transformers`.
    """
    from transformers import PreTrainedModel

    if not isinstance(backbone, PreTrainedModel):
        raise BackboneError(f"expected a text encoder of transformers, got {type(backbone).__name__}")
    config = json.loads(backbone.config.to_json_string())
    # Where the weights came from, and what they were: neither is architecture.
    return {key: value for key, value in config.items() if key not in {"_name_or_path", "dtype", "torch_dtype"}}


def backbone_from_config(config: Mapping[str, Any]) -> nn.Module:
    """A text encoder of an architecture, without its pooler, in float32, its weights random; without network.

    Arguments:
        config: What `backbone_config` gave, or the `config.json` of any text encoder of `transformers`.

    Raises:
        BackboneError: If it is not the configuration of a text encoder.

    Example:
        >>> model, _ = tiny_backbone(["so good"], hidden_size=16, layers=2, heads=2)
        >>> again = backbone_from_config(backbone_config(model))
        >>> again.load_state_dict(model.state_dict())
        <All keys matched successfully>
    """
    from transformers import AutoConfig, AutoModel

    if "model_type" not in config:
        raise BackboneError(f"expected a configuration with a model_type, got {', '.join(config) or 'nothing'}")
    name = str(config["model_type"])
    with _quiet(bars=False), _one_line(name, "expected the configuration of a text encoder of transformers"):
        built = type(AutoConfig.for_model(name)).from_dict(dict(config))
        model = AutoModel.from_config(built, dtype=torch.float32, trust_remote_code=False)
    return _checked(model, name)


def as_backbone(backbone: nn.Module | Mapping[str, Any]) -> Any:
    """A text encoder as it is, or, of its configuration, as a saved model keeps it, one with random weights.

    A model that takes its backbone through this can be built for training, and again to be filled with saved weights.

    Example:
        >>> model, _ = tiny_backbone(["so good"], hidden_size=16, layers=2, heads=2)
        >>> as_backbone(model) is model, as_backbone(backbone_config(model)).config.hidden_size
        (True, 16)
    """
    return backbone_from_config(backbone) if isinstance(backbone, Mapping) else backbone


def _checked(model: nn.Module, name: str) -> nn.Module:
    """The model without its pooler, if it is a text encoder."""
    try:
        stack_of(model)
    except ValueError as error:
        raise BackboneError(f"{name!r} cannot be used: {error}") from error
    if model._modules.get("pooler") is not None:
        model.register_module(
            "pooler", None
        )  # nothing would use it, and a parameter without gradient stops distributed training
    return model


def _learn_tokenizer(texts: Sequence[str], vocabulary_size: int) -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    normal = (tokenizer.normalizer.normalize_str(text) for text in texts)
    words = {word for text in normal for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)}
    # The trainer numbers characters in an order that differs between processes, and breaks ties by it: number them first.
    start, inside = {c for word in words for c in word}, {f"##{c}" for word in words for c in word[1:]}
    first = [*SPECIAL.values(), *sorted(start), *sorted(inside)]
    if len(first) > vocabulary_size:
        raise ValueError(f"expected a vocabulary_size of {len(first)} or more for these texts, got {vocabulary_size}")
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary_size, special_tokens=first, min_frequency=2, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)

    learned = Tokenizer(
        models.WordPiece(tokenizer.get_vocab(), unk_token="[UNK]")
    )  # in which characters are not special
    learned.normalizer, learned.pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
    learned.decoder = decoders.WordPiece()
    cls, sep = (SPECIAL["cls_token"], first.index("[CLS]")), (SPECIAL["sep_token"], first.index("[SEP]"))
    learned.post_processor = processors.BertProcessing(sep, cls)
    return PreTrainedTokenizerFast(tokenizer_object=learned, model_max_length=MAX_POSITIONS, **SPECIAL)


@contextmanager
def _one_line(name: str, way_out: str = WAY_OUT) -> Iterator[None]:
    """Whatever transformers raises about files, names and networks, in one line."""
    try:
        yield
    except Exception as error:
        reason = shorten(str(error) or type(error).__name__, 160, placeholder=" …")
        raise BackboneError(f"no backbone {name!r} ({reason}): {way_out}") from error


@contextmanager
def _quiet(bars: bool) -> Iterator[None]:
    """Without the warnings of transformers, which are errors here, and its progress bars; as they were afterwards."""
    from transformers.utils import logging

    verbosity, shown = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if not bars:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()
