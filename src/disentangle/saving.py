"""A finished model as a folder.

    config.json          the keyword arguments that build it
    model.safetensors    its weights and buffers, and their checksum
    tokenizer/           its tokenizer, where it has one
    README.md            its card, where somebody wrote one

The files are those of `huggingface_hub.PyTorchModelHubMixin`: `from_pretrained` of a class that has it reads what `save`
writes, and `load` reads what its `save_pretrained` writes. Nothing is unpickled.
"""

from __future__ import annotations

import inspect
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from disentangle.contents import misplaced
from disentangle.errors import SavedModelError
from disentangle.files import staged, sync, sync_tree, writing
from disentangle.hub import CONFIG, TOKENIZER, WEIGHTS, local_folder
from disentangle.weights import CHECKSUM, checksum, load_weights, write_checked_weights

__all__ = ["Saved", "bare", "load", "read_config", "refuse_what_json_lacks", "restore", "save"]

STAGING = ".saving"  # where files are written before they take their places


class Saved(NamedTuple):
    """What `load` returns: the model in evaluation mode, the arguments that built it, and its tokenizer or `None`."""

    model: Any
    config: dict[str, Any]
    tokenizer: Any


def save(folder: str | os.PathLike[str], model: nn.Module, config: Mapping[str, Any], *, tokenizer: Any = None) -> None:
    """Writes a model to a folder, from which `load` brings it back.

    The files are written in full before any of them takes its place: a full disk leaves a model saved earlier as it was.
    Tensors that the model shares are written once. Where several processes train together, let one of them save.

    Arguments:
        folder: A new or empty folder, or one that `save` wrote: its model is replaced, its other files stay.
        model: The model; also wrapped in `DistributedDataParallel` or compiled. Buffers that are not persistent are not saved.
        config: The keyword arguments that build it, as JSON has them; a tuple comes back as a list. An entry whose name begins
            with `_` is a note: it is kept, and not given to the class.
        tokenizer: A tokenizer of `transformers`.

    Raises:
        ValueError: If something in `config` is not JSON, or a state of the model is no dense tensor, or a view of a larger one.
        SavedModelError: If the folder holds anything else, which is left alone, or cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(folder, nn.Linear(3, 2), {"in_features": 3, "out_features": 2})
        ...     sorted(os.listdir(folder))
        ['config.json', 'model.safetensors']
    """
    folder = Path(folder)
    refuse_what_json_lacks(dict(config), "config")
    text = json.dumps(dict(config), indent=2) + "\n"
    model = bare(model)
    _refuse_what_files_lack(model)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = any(folder.iterdir()) and not _is_ours(folder)
    except OSError as error:
        raise SavedModelError(f"{folder}: cannot be made into a model's folder: {error.strerror}") from error
    if taken:
        raise SavedModelError(
            f"{folder}: expected a new folder, or one that save wrote, got one that holds something else; nothing in it "
            "was touched"
        )
    _finish_interrupted(folder)
    with writing(folder, SavedModelError), staged(folder / STAGING):
        _write(folder / STAGING, text, model, tokenizer)
        sync_tree(folder / STAGING)
    try:
        _put_in_place(folder)
    except OSError as error:
        raise SavedModelError(f"{folder}: not replaced: {_reason(error)}; the new model is in {STAGING}") from error


def load(
    folder: str | os.PathLike[str], build: Callable[..., nn.Module], *, device: torch.device | str = "cpu"
) -> Saved:
    """Builds the model that `save`, or `save_pretrained` of a `PyTorchModelHubMixin`, wrote to a folder.

    All weights of the model come from the file, and all of the file goes into the model, in the dtypes it was saved in.

    Arguments:
        folder: The model's folder; or, as a string, its repository on the Hugging Face Hub, `"user/name"`, where there is no
            folder of that name. With `HF_HUB_OFFLINE=1` it is read from the Hub's cache.
        build: The model's class, or any function that returns the model: it is called with the entries of `config.json` as
            keyword arguments, but for those whose names begin with `_`, which are notes. The weights that it gives the model
            are replaced.
        device: The device that the model is moved to.

    Returns:
        The model in evaluation mode, the entries of `config.json`, and the tokenizer, `None` where there is none.

    Raises:
        SavedModelError: If there is no model in the folder or on the Hub, if a file is damaged, if `build` does not take the
            entries of `config.json`, or if the weights are not those of the model that it built.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(folder, nn.Linear(3, 2), {"in_features": 3, "out_features": 2})
        ...     model, config, tokenizer = load(folder, nn.Linear)
        >>> model, config, tokenizer
        (Linear(in_features=3, out_features=2, bias=True), {'in_features': 3, 'out_features': 2}, None)
    """
    folder = local_folder(folder)
    if not folder.is_dir():
        raise SavedModelError(f"{folder}: no such folder: expected one with {CONFIG} and {WEIGHTS}")
    if not (folder / WEIGHTS).exists() and (folder / STAGING / WEIGHTS).exists():
        raise SavedModelError(
            f"{folder}: expected {WEIGHTS}, got none: a save was interrupted, and its files are in {STAGING}: move them here"
        )
    config = read_config(folder / CONFIG)
    tensors = _read_tensors(folder / WEIGHTS)
    arguments = {name: value for name, value in config.items() if not name.startswith("_")}
    _refuse_arguments(folder / CONFIG, build, arguments)
    model = build(**arguments)
    _take_dtypes(model, tensors)
    _fill(model, tensors, folder / WEIGHTS)
    return Saved(model.to(device).eval(), config, _read_tokenizer(folder / TOKENIZER))


def restore(folder: str | os.PathLike[str], model: nn.Module) -> None:
    """Loads the weights that `save` wrote to a folder into a model that is there already, where and as it is.

    Raises:
        SavedModelError: If a file is missing or damaged, or the weights are not those of this model.

    Example:
        >>> import tempfile
        >>> model, other = nn.Linear(3, 2), nn.Linear(3, 2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(folder, model, {})
        ...     restore(folder, other)
        >>> torch.equal(model.weight, other.weight)
        True
    """
    path = Path(folder) / WEIGHTS
    _fill(bare(model), _read_tensors(path), path)


def bare(model: nn.Module) -> Any:
    """The model itself, whose tensors have the names that it gave them."""
    from accelerate.utils import extract_model_from_parallel

    module = extract_model_from_parallel(model)
    return getattr(module, "_orig_mod", module)  # of a compiled one


def refuse_what_json_lacks(value: Any, where: str) -> None:
    """Raises `ValueError` where a configuration, or part of one, is not JSON; `where` says what it is a part of."""
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return
    if isinstance(value, list | tuple):
        for i, item in enumerate(value):
            refuse_what_json_lacks(item, f"{where}[{i}]")
    elif isinstance(value, dict) and all(isinstance(key, str) for key in value):
        for key, item in value.items():
            refuse_what_json_lacks(item, f"{where}[{key!r}]")
    else:
        raise ValueError(f"expected {where} to be JSON, got {type(value).__name__}: {shorten(repr(value), 60)}")


def _refuse_what_files_lack(model: nn.Module) -> None:
    for name, t in model.state_dict().items():
        if not isinstance(t, Tensor) or t.is_meta or t.layout is not torch.strided:
            raise ValueError(f"expected a state of dense tensors, got {name!r}: {shorten(repr(t), 60)}")


def _is_ours(folder: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    if (folder / STAGING).is_dir():  # `save` was interrupted here
        return True
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            return CHECKSUM in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False


def _write(folder: Path, config: str, model: nn.Module, tokenizer: Any) -> None:
    (folder / CONFIG).write_text(config)
    write_checked_weights(folder / WEIGHTS, model)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder / TOKENIZER)


def _finish_interrupted(folder: Path) -> None:
    """Moves to its places what a save had written whole when it was interrupted: there is no other model by then."""
    if (folder / WEIGHTS).exists() or not (folder / STAGING / WEIGHTS).exists():
        return
    with suppress(SavedModelError, OSError):
        _read_tensors(folder / STAGING / WEIGHTS)
        _put_in_place(folder)


def _put_in_place(folder: Path) -> None:
    """Moves what was written to its places. The old weights go first and the new ones come last, so `load` sees no mixture.

    It goes on where it was interrupted.
    """
    staging = folder / STAGING
    (folder / WEIGHTS).unlink(missing_ok=True)
    sync(folder)
    if (staging / CONFIG).exists():
        if (folder / TOKENIZER).exists():
            shutil.rmtree(folder / TOKENIZER)
        (staging / CONFIG).replace(folder / CONFIG)
    if (staging / TOKENIZER).exists():
        (staging / TOKENIZER).replace(folder / TOKENIZER)
    sync(folder)
    (staging / WEIGHTS).replace(folder / WEIGHTS)
    staging.rmdir()
    sync(folder)


def read_config(path: Path) -> dict[str, Any]:
    """The arguments of a saved model; raises `SavedModelError` where the file cannot be read."""
    _refuse_misplaced(path, "JSON")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SavedModelError(f"{path}: cannot be read: {_reason(error)}") from error
    if not isinstance(config, dict):
        raise SavedModelError(f"{path}: expected an object with the model's arguments, got {type(config).__name__}")
    return config


def _refuse_misplaced(path: Path, wanted: str) -> None:
    if path.is_file() and (wrong := misplaced(path, wanted)):
        raise SavedModelError(f"{path}: {wrong}")


def _refuse_arguments(path: Path, build: Callable[..., Any], config: Mapping[str, Any]) -> None:
    signature = inspect.signature(build)
    try:
        signature.bind(**config)
    except TypeError as error:
        wanted, given = (", ".join(names) or "none" for names in (signature.parameters, config))
        raise SavedModelError(f"{path}: expected the arguments {wanted}, got {given}: {error}") from error


def _read_tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    _refuse_misplaced(path, "safetensors")
    try:
        with safe_open(path, framework="pt") as file:
            wanted = (file.metadata() or {}).get(CHECKSUM)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise SavedModelError(f"{path}: cannot be read: {_reason(error)}") from error
    if wanted is not None and (given := checksum(tensors)) != wanted:
        raise SavedModelError(f"{path}: damaged: expected the {CHECKSUM} {wanted[:12]}…, got {given[:12]}…")
    return tensors


def _take_dtypes(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Gives the model's floating-point tensors the dtypes that they have in the file."""
    own = chain(model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False))
    for name, tensor in own:
        saved = tensors.get(name)
        if saved is not None and saved.is_floating_point() and tensor.is_floating_point():
            tensor.data = tensor.data.to(saved.dtype)


def _fill(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    try:
        load_weights(model, tensors)
    except ValueError as error:
        raise SavedModelError(f"{path}: not the weights of this {type(model).__name__}: {error}") from error


def _read_tokenizer(folder: Path) -> Any:
    if not folder.exists():
        return None
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # whatever transformers raises about its files
        raise SavedModelError(f"{folder}: cannot be read: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    text = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    return shorten(text, 300, placeholder=" …") or type(error).__name__
