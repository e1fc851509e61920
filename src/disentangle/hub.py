"""A model's folder on the Hugging Face Hub: pushed there, and fetched from there."""

from __future__ import annotations

import os
import re
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

from disentangle.errors import SavedModelError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ["CARD", "CONFIG", "TOKENIZER", "WEIGHTS", "local_folder", "push_to_hub"]

CARD, CONFIG, WEIGHTS, TOKENIZER = "README.md", "config.json", "model.safetensors", "tokenizer"
FILES = [CARD, CONFIG, WEIGHTS, f"{TOKENIZER}/*"]  # what else lies in a model's folder is neither pushed nor fetched
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def push_to_hub(folder: str | os.PathLike[str], repo: str, *, private: bool = False, api: HfApi | None = None) -> str:
    """Uploads a model's folder, with its card if it has one, to a repository of the Hugging Face Hub.

    From there `load(repo, ...)` brings the model back. Of the folder's files only those are uploaded that `save` and the
    card's author write; a repository that exists gets a new commit, and stays as private or public as it is.

    Arguments:
        folder: The model's folder; of a run, its folder `model`.
        repo: The repository, `"user/name"`, made where there is none.
        private: Whether a new repository is private; if not, it is what your account has by default, mostly public.
        api: What talks to the Hub: `HfApi(token=..., endpoint=...)` for a token or a server of your own; by default the
            token of `hf auth login` or `HF_TOKEN`.

    Returns:
        The address of the repository.

    Raises:
        SavedModelError: If there is no model in the folder, the name is none of a repository, or the Hub cannot be reached
            or refuses.

    Example:
        What a run has saved, pushed and fetched again::

            push_to_hub("runs/mosi/model", "user/mird-mosi")
            model, config, tokenizer = load("user/mird-mosi", MIRD)
    """
    folder = Path(folder)
    if not REPOSITORY.fullmatch(repo):
        raise SavedModelError(f"{repo}: expected a repository as user/name")
    if missing := [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]:
        raise SavedModelError(f"{folder}: expected a model's folder, with {CONFIG} and {WEIGHTS}, got no {missing[0]}")
    from huggingface_hub import HfApi

    api = api or HfApi()
    try:
        url = api.create_repo(repo, private=private or None, exist_ok=True)
        api.upload_folder(folder_path=folder, repo_id=repo, allow_patterns=FILES, delete_patterns=f"{TOKENIZER}/*")
    except Exception as error:  # whatever huggingface_hub and what it talks through raise
        raise SavedModelError(
            f"{repo}: not pushed: {_reason(error)}; it takes the network, no HF_HUB_OFFLINE, and a token that may write "
            f"(hf auth login). {folder} is all that would be pushed, and can be handed on as it is"
        ) from error
    return str(url)


def local_folder(folder: str | os.PathLike[str]) -> Path:
    """The folder itself; of the name of a repository, `"user/name"`, the one that the Hub's cache has it in.

    What is not in the cache is downloaded, unless `HF_HUB_OFFLINE` is set. A folder of that name goes first.

    Raises:
        SavedModelError: If there is neither.
    """
    if not isinstance(folder, str) or Path(folder).exists() or not REPOSITORY.fullmatch(folder):
        return Path(folder)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(folder, allow_patterns=FILES))
    except Exception as error:  # as above
        raise SavedModelError(f"{folder}: no such folder, and not to be had from the Hub: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    return shorten(str(error), 300, placeholder=" …").rstrip(".") or type(error).__name__
