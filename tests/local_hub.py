"""A Hub whose repositories are folders of the cache, laid out as `huggingface_hub` lays it out; offline it reads them there."""

import inspect
import shutil
import uuid
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.utils import filter_repo_objects, validate_repo_id


class LocalHub(HfApi):
    """Takes calls that the real one would take, and makes of them what the real one documents."""

    cache: Path

    def create_repo(self, *args, **kwargs):
        call = inspect.signature(HfApi.create_repo).bind(self, *args, **kwargs).arguments
        validate_repo_id(call["repo_id"])
        folder = self._folder(call["repo_id"])
        assert call.get("exist_ok") or not folder.exists()
        (folder / "refs").mkdir(parents=True, exist_ok=True)
        (folder / "private").write_text(str(call.get("private")))
        return f"https://huggingface.co/{call['repo_id']}"

    def upload_folder(self, *args, **kwargs):
        call = inspect.signature(HfApi.upload_folder).bind(self, *args, **kwargs).arguments
        folder, source, commit = self._folder(call["repo_id"]), Path(call["folder_path"]), uuid.uuid4().hex
        head = folder / "refs" / "main"
        there = folder / "snapshots" / head.read_text() if head.exists() else None
        kept = set(_files(there)) - set(_files(there, call["delete_patterns"])) if there else set()
        added = set(_files(source, call["allow_patterns"]))
        for name in kept | added:
            target = folder / "snapshots" / commit / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy((source if name in added else there) / name, target)
        head.write_text(commit)

    def _folder(self, repo):
        return self.cache / f"models--{repo.replace('/', '--')}"

    def files(self, repo):
        folder = self._folder(repo)
        return sorted(_files(folder / "snapshots" / (folder / "refs" / "main").read_text()))


def _files(folder, patterns=None):
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return filter_repo_objects(names, allow_patterns=patterns)
