"""Models that are pushed to the Hub, and come back from it. It is a folder here: see `local_hub`."""

import pytest
import torch
from huggingface_hub import HfApi, PyTorchModelHubMixin
from torch import nn

from disentangle import load, push_to_hub, save
from disentangle.errors import SavedModelError
from disentangle.nn.backbones import tiny_backbone


class Layer(nn.Linear, PyTorchModelHubMixin):
    def __init__(self, size: int):
        super().__init__(size, 2)


@pytest.fixture
def model(tmp_path):
    model = Layer(3)
    save(tmp_path / "model", model, {"size": 3}, tokenizer=tiny_backbone(["so good"], layers=1)[1])
    return model


def test_what_is_pushed_is_loaded_by_its_name(model, hub, tmp_path):
    (tmp_path / "model" / "README.md").write_text("# A layer\n")
    assert push_to_hub(tmp_path / "model", "user/layer", api=hub) == "https://huggingface.co/user/layer"
    again, config, tokenizer = load("user/layer", Layer)
    assert torch.equal(again.weight, model.weight)
    assert config == {"size": 3}
    assert tokenizer("so good").input_ids == load(tmp_path / "model", Layer).tokenizer("so good").input_ids
    assert torch.equal(Layer.from_pretrained("user/layer").weight, model.weight)  # as huggingface_hub itself loads it


def test_nothing_but_the_model_is_pushed(model, hub, tmp_path):
    for name in ("notes.txt", "tokenizer.json", "optimizer.pt"):
        (tmp_path / "model" / name).write_text("mine")
    (tmp_path / "model" / ".saving").mkdir()
    (tmp_path / "model" / ".saving" / "config.json").write_text("{}")
    push_to_hub(tmp_path / "model", "user/layer", api=hub)
    tokenizer = [f"tokenizer/{path.name}" for path in (tmp_path / "model" / "tokenizer").iterdir()]
    assert hub.files("user/layer") == sorted(["config.json", "model.safetensors", *tokenizer])


def test_a_second_push_replaces_the_model_and_leaves_what_others_added(model, hub, tmp_path):
    push_to_hub(tmp_path / "model", "user/layer", api=hub)
    (hub.cache / "models--user--layer" / "snapshots" / _head(hub) / "LICENSE").write_text("MIT")
    other = Layer(3)
    save(tmp_path / "other", other, {"size": 3})  # it has no tokenizer
    push_to_hub(tmp_path / "other", "user/layer", api=hub)
    assert hub.files("user/layer") == ["LICENSE", "config.json", "model.safetensors"]
    again, _, tokenizer = load("user/layer", Layer)
    assert torch.equal(again.weight, other.weight)
    assert tokenizer is None


def _head(hub):
    return (hub.cache / "models--user--layer" / "refs" / "main").read_text()


@pytest.mark.parametrize("private", [True, False])
def test_a_new_repository_is_private_where_that_is_said(model, hub, tmp_path, private):
    push_to_hub(tmp_path / "model", "user/layer", private=private, api=hub)
    assert (hub.cache / "models--user--layer" / "private").read_text() == str(private or None)


def test_a_folder_goes_before_a_repository_of_its_name(model, hub, tmp_path, monkeypatch):
    push_to_hub(tmp_path / "model", "user/layer", api=hub)
    other = Layer(3)
    save(tmp_path / "user" / "layer", other, {"size": 3})
    monkeypatch.chdir(tmp_path)
    assert torch.equal(load("user/layer", Layer).model.weight, other.weight)


def test_what_is_not_to_be_had_is_a_line(hub, tmp_path):
    with pytest.raises(SavedModelError, match="user/none: no such folder, and not to be had from the Hub: ") as raised:
        load("user/none", Layer)
    assert "HF_HUB_OFFLINE" in str(raised.value)
    assert "\n" not in str(raised.value)
    for folder in ("none", "a/b/c", tmp_path / "none"):  # no names of repositories
        with pytest.raises(
            SavedModelError, match=r"no such folder: expected one with config.json and model.safetensors$"
        ):
            load(folder, Layer)


def test_what_cannot_be_pushed_is_a_line_that_says_what_to_do(model, hub, tmp_path):
    with pytest.raises(SavedModelError, match=r"^user/layer: not pushed: .*offline mode") as raised:
        push_to_hub(tmp_path / "model", "user/layer", api=HfApi())  # the real one, offline
    assert "hf auth login" in str(raised.value)
    assert f"{tmp_path / 'model'} is all that would be pushed" in str(raised.value)
    assert "\n" not in str(raised.value)
    with pytest.raises(SavedModelError, match=r"expected a model's folder, with .*, got no config.json$"):
        push_to_hub(tmp_path, "user/layer", api=hub)
    for name in ("layer", "user/layer/model", "user/my layer"):
        with pytest.raises(SavedModelError, match=f"^{name}: expected a repository as user/name$"):
            push_to_hub(tmp_path / "model", name, api=hub)
    assert not hub.cache.exists()
