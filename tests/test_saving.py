import json
import os
import re
import resource
import shutil
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType

import pytest
import torch
from huggingface_hub import PyTorchModelHubMixin
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from disentangle import CLUBEstimator, MAGTextEncoder, Masked, Pairwise, Standardize
from disentangle.nn.backbones import BackboneError, backbone_config, backbone_from_config, tiny_backbone
from disentangle.saving import SavedModelError, load, save

ROOT = Path(__file__).parents[1]


class Toy(nn.Module):
    """Buffers, a tied table, a recurrence, dropout and an option that changes no shape."""

    def __init__(self, size, hidden=4, *, slope=0.1):
        super().__init__()
        self.standardize = Standardize(size)
        self.rnn = nn.LSTM(size, hidden, batch_first=True)
        self.table, self.words = nn.Embedding(7, hidden), nn.Linear(hidden, 7, bias=False)
        self.words.weight = self.table.weight
        self.act, self.dropout = nn.LeakyReLU(slope), nn.Dropout(0.5)

    def forward(self, frames):
        inputs = self.standardize(frames)
        hidden = self.act(self.rnn(inputs.values)[0][:, -1])
        return {"z": self.dropout(hidden), "words": self.words(hidden), "frames": inputs}


class Hub(nn.Module, PyTorchModelHubMixin):
    def __init__(self, size: int, hidden: int = 4, sizes: dict | None = None):
        super().__init__()
        self.sizes = sizes
        self.layer, self.table = nn.Linear(size, hidden), nn.Embedding(5, hidden)
        self.out = nn.Linear(hidden, 5)
        self.out.weight = self.table.weight


class Reader(nn.Module):
    """A text encoder whose backbone may be the configuration of one."""

    def __init__(self, backbone, size):
        super().__init__()
        if isinstance(backbone, dict):
            backbone = backbone_from_config(backbone)
        self.encoder = MAGTextEncoder(backbone, {"audio": size}, 4)

    def forward(self, batch):
        return {"S": self.encoder(*batch)}


def frames(n=5):
    return Masked(torch.randn(n, 6, 3), torch.arange(6) < torch.randint(1, 7, (n, 1)))


def toy(**options):
    model = Toy(3, **options)
    model.standardize.fit([torch.randn(20, 3) * 5 + 2])
    return model.eval()


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def same(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(
        value.dtype == other[name].dtype and torch.equal(value, other[name]) for name, value in one.items()
    )


def test_a_model_comes_back_bit_for_bit(tmp_path):
    model, batch = toy(slope=0.3), frames()
    save(tmp_path / "new" / "model", model, {"size": 3, "slope": 0.3})
    torch.manual_seed(1)
    again, config, tokenizer = load(tmp_path / "new" / "model", Toy)
    assert (config, tokenizer) == ({"size": 3, "slope": 0.3}, None)
    assert same(again, model)
    assert again.words.weight is again.table.weight
    assert not any(module.training for module in again.modules())
    assert all(p.requires_grad for p in again.parameters())
    for name, value in model(batch).items():
        given = again(batch)[name]
        assert all(map(torch.equal, value, given)) if isinstance(value, Masked) else torch.equal(value, given)
    assert sorted(os.listdir(tmp_path / "new" / "model")) == ["config.json", "model.safetensors"]


def test_saving_leaves_the_model_and_the_configuration_alone(tmp_path):
    model = toy().train()
    before, config = {name: value.clone() for name, value in model.state_dict().items()}, {"size": 3}
    save(tmp_path, model, config)
    assert model.training
    assert config == {"size": 3}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_another_process_sees_the_same(tmp_path):
    model, batch = toy(), frames()
    save(tmp_path / "model", model, {"size": 3})
    save_file(dict(batch._asdict()), tmp_path / "batch")
    code = """
import sys
from safetensors.torch import load_file, save_file
from disentangle import Masked
from disentangle.saving import load
from tests.test_saving import Toy
folder = sys.argv[1]
save_file({"z": load(folder + "/model", Toy).model(Masked(**load_file(folder + "/batch")))["z"]}, folder + "/z")
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment, check=True)
    assert torch.equal(load_file(tmp_path / "z")["z"], model(batch)["z"])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_model_is_of_the_type_that_it_was_saved_in(tmp_path, dtype):
    model = toy().to(dtype)
    save(tmp_path, model, {"size": 3})
    again = load(tmp_path, Toy).model
    assert same(again, model)
    assert again.words.weight is again.table.weight
    assert {value.dtype for value in again.state_dict().values()} == {dtype}


def test_types_may_differ_within_a_model(tmp_path):
    model = toy()
    model.table.to(torch.bfloat16)
    model.rnn.double()
    save(tmp_path, model, {"size": 3})
    assert same(load(tmp_path, Toy).model, model)


def test_integers_do_not_become_floats(tmp_path):
    def build(dtype):
        model = nn.Module()
        model.register_buffer("count", torch.arange(3).to(dtype))
        return model

    save(tmp_path, build(torch.int64), {})
    assert load(tmp_path, lambda: build(torch.int64)).model.count.tolist() == [0, 1, 2]
    with pytest.raises(SavedModelError, match=r"count: expected float32 \(3,\), got int64 \(3,\)$"):
        load(tmp_path, lambda: build(torch.float32))


def test_estimators_that_run_as_one_come_back(tmp_path):
    def build(size):
        return Pairwise({pair: CLUBEstimator(size, size) for pair in (("a", "b"), ("a", "c"), ("b", "c"))})

    pairs = build(3)
    save(tmp_path, pairs, {"size": 3})
    variables = {name: torch.randn(8, 3) for name in "abc"}
    ours, theirs = pairs.eval()(variables), load(tmp_path, build).model(variables)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_what_is_not_contiguous_and_what_is_empty_come_back(tmp_path):
    def build():
        model = nn.Module()
        model.turned = nn.Parameter(torch.randn(2, 5).T)
        model.register_buffer("none", torch.zeros(0, 2))
        model.register_buffer("nothing", torch.zeros(0, 2))
        model.register_buffer("step", torch.tensor(7))
        return model

    model = build()
    save(tmp_path, model, {})
    assert same(load(tmp_path, build).model, model)


def test_a_part_of_a_parameter_comes_back_as_a_part_of_it(tmp_path):
    def build():
        model = nn.Linear(4, 4)
        model.register_buffer("first", model.weight.detach()[:2])
        return model

    model = build()
    save(tmp_path, model, {})
    again = load(tmp_path, build).model
    assert same(again, model)
    assert again.first.data_ptr() == again.weight.data_ptr()


def test_parts_of_one_memory_come_back(tmp_path):  # so cuDNN keeps the weights of an LSTM on a device
    def build():
        model, whole = nn.Module(), torch.randn(6, 3)
        model.first, model.second = nn.Parameter(whole[:2]), nn.Parameter(whole[3:5].T)
        return model

    model = build()
    save(tmp_path, model, {})
    assert same(load(tmp_path, build).model, model)
    assert sum(t.numel() for t in load_file(tmp_path / "model.safetensors").values()) == 12


def test_an_expanded_tensor_is_refused(tmp_path):
    model = nn.Module()
    model.register_buffer("x", torch.randn(1).expand(3))
    with pytest.raises(ValueError, match=r"^expected tensors with a place for each element, got 'x' of strides 0$"):
        save(tmp_path / "model", model, {})
    assert list((tmp_path / "model").iterdir()) == []


def test_a_compiled_model_is_saved_under_its_own_names(tmp_path):
    model = nn.Linear(3, 2)
    save(tmp_path, torch.compile(model), {"in_features": 3, "out_features": 2})
    assert same(load(tmp_path, nn.Linear).model, model)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (torch.ones(2, device="meta"), "state of dense tensors, got 'x'"),
        (torch.eye(2).to_sparse(), "state of dense tensors, got 'x'"),
    ],
)
def test_a_state_that_no_file_can_hold_is_refused(tmp_path, state, message):
    model = nn.Module()
    model.register_buffer("x", state)
    with pytest.raises(ValueError, match=message):
        save(tmp_path / "model", model, {})
    assert not (tmp_path / "model").exists()


@pytest.mark.cuda
def test_a_model_is_loaded_where_it_is_wanted(tmp_path, cuda):
    model, batch = toy(), frames()
    save(tmp_path / "host", model, {"size": 3})
    on_device = load(tmp_path / "host", Toy, device=cuda).model
    assert {t.device.type for t in on_device.state_dict().values()} == {"cuda"}
    assert on_device.words.weight is on_device.table.weight
    torch.testing.assert_close(on_device(batch.to(cuda))["words"].cpu(), model(batch)["words"], rtol=1e-4, atol=1e-4)
    save(tmp_path / "device", on_device, {"size": 3})
    assert same(load(tmp_path / "device", Toy).model, model)


# What the configuration may hold


def test_tuples_are_lists_and_other_json_is_itself(tmp_path):
    config = {"sizes": {"é": 1, "b": [1, 2.5, None, True, "x"]}, "pair": (1, 2)}
    save(tmp_path, nn.Linear(1, 1), config)
    assert load(tmp_path, lambda sizes, pair: nn.Linear(1, 1)).config == {**config, "pair": [1, 2]}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"d": 3, "dtype": torch.float32}, "expected config['dtype'] to be JSON, got dtype: torch.float32"),
        ({"sizes": {"audio": [1, {2}]}}, "expected config['sizes']['audio'][1] to be JSON, got set: {2}"),
        ({"sizes": {1: 2}}, "expected config['sizes'] to be JSON, got dict: {1: 2}"),
        ({"sizes": MappingProxyType({})}, "expected config['sizes'] to be JSON, got mappingproxy: mappingproxy({})"),
        ({"rate": float("nan")}, "expected config['rate'] to be JSON, got float: nan"),
        ({"rate": torch.tensor(1.0)}, "expected config['rate'] to be JSON, got Tensor: tensor(1.)"),
    ],
)
def test_a_configuration_that_is_not_json_is_refused_by_name(tmp_path, config, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        save(tmp_path / "model", nn.Linear(1, 1), config)
    assert not (tmp_path / "model").exists()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """One folder for all examples of a test, each of which writes its files anew."""
    return tmp_path_factory.mktemp("scratch")


@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
        max_size=3,
    )
)
@settings(max_examples=20, deadline=None)
def test_any_json_comes_back(scratch, config):
    save(scratch, nn.Linear(1, 1), config)
    assert load(scratch, lambda **config: nn.Linear(1, 1)).config == config


# Folders


def test_saving_again_replaces_the_model_and_nothing_else(tmp_path):
    first, second = toy(), toy(slope=0.9)
    _, tokenizer = tiny_backbone(["so good"], hidden_size=8, layers=1, heads=1)
    save(tmp_path, first, {"size": 3}, tokenizer=tokenizer)
    (tmp_path / "README.md").write_text("mine")
    save(tmp_path, second, {"size": 3, "slope": 0.9})
    saved = load(tmp_path, Toy)
    assert same(saved.model, second)
    assert (saved.config, saved.tokenizer) == ({"size": 3, "slope": 0.9}, None)
    assert sorted(os.listdir(tmp_path)) == ["README.md", "config.json", "model.safetensors"]


@pytest.mark.parametrize("files", [["config.json"], ["notes.txt"], ["config.json", "model.safetensors"], [".git"]])
def test_a_folder_that_holds_something_else_is_left_alone(tmp_path, files):
    for name in files:
        (tmp_path / name).write_text("{}")
    if "model.safetensors" in files:  # a pretrained model that somebody downloaded
        save_file({"weight": torch.ones(3)}, tmp_path / "model.safetensors", {"format": "pt"})
    before = contents(tmp_path)
    with pytest.raises(SavedModelError, match=f"^{re.escape(str(tmp_path))}: expected a new folder.*nothing in it was"):
        save(tmp_path, toy(), {"size": 3})
    assert contents(tmp_path) == before


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SavedModelError, match=r"file: cannot be made into a model's folder: File exists$"):
        save(tmp_path / "file", toy(), {"size": 3})


def in_another_process(work):
    """Runs `work` in a copy of this process, which ends with it and cleans nothing up."""
    if pid := os.fork():
        os.waitpid(pid, 0)
        return
    try:
        work()
    finally:
        os._exit(0)


def test_what_cannot_be_written_leaves_the_old_model_intact(tmp_path):
    folder, model, larger = tmp_path / "model", toy(), Toy(3, 200)
    save(folder, model, {"size": 3})
    _, tokenizer = tiny_backbone(["so good"], hidden_size=8, layers=1, heads=1)
    before = contents(folder)

    def work(limit):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, -1))
        with pytest.raises(SavedModelError) as raised:
            save(folder, larger, {"size": 3, "hidden": 200}, tokenizer=tokenizer)
        resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
        (tmp_path / "error").write_text(str(raised.value))

    for limit in (10, 100, 600_000):  # in the middle of config.json, of the names of the weights, and of their values
        (tmp_path / "error").unlink(missing_ok=True)
        in_another_process(partial(work, limit))
        message = re.escape(str(folder)) + r": cannot be written: .*File too large.*; what was saved before is intact"
        assert re.fullmatch(message, (tmp_path / "error").read_text())
        assert contents(folder) == before
    assert same(load(folder, Toy).model, model)


def test_a_tokenizer_that_cannot_be_written_leaves_the_old_model_intact(tmp_path):
    class Full:
        def save_pretrained(self, folder):
            Path(folder).mkdir()
            raise Exception("No space left on device (os error 28)")  # as `tokenizers` says it

    save(tmp_path, toy(), {"size": 3})
    before = contents(tmp_path)
    message = f"{tmp_path}: cannot be written: No space left on device; what was saved before is intact"
    with pytest.raises(SavedModelError, match=f"^{re.escape(message)}$"):
        save(tmp_path, toy(), {"size": 3}, tokenizer=Full())
    assert contents(tmp_path) == before


def full(*given):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("call", range(1, 9))
def test_a_save_that_is_killed_leaves_a_whole_model_or_says_that_there_is_none(tmp_path, monkeypatch, call):
    first, second = toy(), toy(slope=0.5)
    save(tmp_path, first, {"size": 3})

    def killed(*arguments):
        killed.calls += 1
        if killed.calls == call:
            os._exit(9)

    killed.calls = 0
    monkeypatch.setattr(os, "fsync", killed)  # each is where one thing is done, and the next not begun
    in_another_process(lambda: save(tmp_path, second, {"size": 3, "slope": 0.5}))
    monkeypatch.undo()
    if (tmp_path / "model.safetensors").exists():
        again, config, _ = load(tmp_path, Toy)
        assert same(again, second if config.get("slope") else first)
        assert again.act.negative_slope == config.get("slope", 0.1)
    else:
        refused(tmp_path, Toy, r"a save was interrupted, and its files are in .saving: move them here")
        assert (tmp_path / ".saving" / "model.safetensors").exists()  # nothing is lost
        monkeypatch.setattr("disentangle.saving._write", full)
        with pytest.raises(SavedModelError, match="No space left on device; what was saved before is intact"):
            save(tmp_path, first, {"size": 3})
        monkeypatch.undo()
        assert same(load(tmp_path, Toy).model, second)
    save(tmp_path, second, {"size": 3, "slope": 0.5})
    assert same(load(tmp_path, Toy).model, second)
    assert sorted(os.listdir(tmp_path)) == ["config.json", "model.safetensors"]


def test_all_files_can_be_read_by_whom_the_folder_can(tmp_path):
    _, tokenizer = tiny_backbone(["so good"], hidden_size=8, layers=1, heads=1)
    save(tmp_path, nn.Linear(1, 1), {}, tokenizer=tokenizer)
    (tmp_path / "other").touch()
    assert {p.stat().st_mode for p in tmp_path.rglob("*") if p.is_file()} == {(tmp_path / "other").stat().st_mode}


# What is refused


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    torch.manual_seed(0)
    folder, model = tmp_path_factory.mktemp("saved"), toy()
    save(folder, model, {"size": 3})
    return folder, model


def refused(folder, build, message):
    with pytest.raises(SavedModelError, match=message) as raised:
        load(folder, build)
    assert len(str(raised.value).splitlines()) == 1
    assert str(raised.value).startswith(str(folder))


def test_a_folder_without_a_model_is_refused(saved, tmp_path):
    refused(tmp_path / "nowhere", Toy, "no such folder: expected one with config.json and model.safetensors$")
    refused(tmp_path, Toy, "config.json: cannot be read: No such file or directory$")
    (tmp_path / "config.json").write_text('{"size": 3}')
    refused(tmp_path, Toy, "model.safetensors: cannot be read: No such file or directory")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\xff", "[3]", "3"])
def test_a_configuration_that_is_no_object_is_refused(saved, tmp_path, text):
    folder = shutil.copytree(saved[0], tmp_path / "model")
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    refused(
        folder, Toy, "config.json: (cannot be read: .|expected an object with the model's arguments, got (list|int)$)"
    )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "expected the arguments size, hidden, slope, got none: missing a required argument: 'size'$"),
        ({"size": 3, "depth": 2}, "got size, depth: got an unexpected keyword argument 'depth'$"),
    ],
)
def test_arguments_that_the_model_does_not_take_are_refused(saved, tmp_path, config, message):
    folder = shutil.copytree(saved[0], tmp_path / "model")
    (folder / "config.json").write_text(json.dumps(config))
    refused(folder, Toy, message)


def test_what_building_raises_is_not_hidden(saved):
    def build(size):
        raise TypeError("mine")

    with pytest.raises(TypeError, match=r"^mine$"):
        load(saved[0], build)


def test_other_names_and_shapes_are_refused(saved):
    def build(change):
        def build(size):
            model = Toy(size)
            change(model)
            return model

        return build

    message = "model.safetensors: not the weights of this Toy: .*"
    refused(
        saved[0], lambda size: Toy(size + 1), message + r"standardize.mean: expected float32 \(4,\), got float32 \(3,\)"
    )
    refused(
        saved[0],
        build(lambda model: model.register_buffer("more", torch.ones(1))),
        message + "more: expected it, got none",
    )
    refused(saved[0], build(lambda model: delattr(model, "rnn")), message + "rnn.bias_hh_l0: expected none, got it")
    untie = build(lambda model: setattr(model, "words", nn.Linear(4, 7, bias=False)))
    refused(saved[0], untie, message + "words.weight: expected it, got none")


def test_a_model_that_ties_refuses_the_file_of_one_that_does_not(tmp_path):
    model = toy()
    model.words = nn.Linear(4, 7, bias=False)
    save(tmp_path, model, {"size": 3})
    refused(tmp_path, Toy, "words.weight: expected the same tensor as table.weight, got one of its own$")


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_torn_and_changed_weights_are_never_loaded(saved, scratch, data):
    folder, model = saved
    whole = (folder / "model.safetensors").read_bytes()
    header = int.from_bytes(whole[:8], "little") + 8
    place = data.draw(st.integers(0, header) | st.integers(0, len(whole) - 1), "place")
    if data.draw(st.booleans(), "torn"):
        changed = whole[:place]
    else:
        byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[place]), "byte")
        changed = whole[:place] + bytes([byte]) + whole[place + 1 :]
    shutil.copy(folder / "config.json", scratch)
    (scratch / "model.safetensors").write_bytes(changed)
    if place < header:  # a change between the names may mean nothing
        with suppress(SavedModelError):
            assert same(load(scratch, Toy).model, model)
    else:
        refused(scratch, Toy, "model.safetensors: (cannot be read|damaged): ")


def test_a_changed_weight_is_named_as_damage(saved, tmp_path):
    folder = shutil.copytree(saved[0], tmp_path / "model")
    whole = bytearray((folder / "model.safetensors").read_bytes())
    whole[-1] ^= 1
    (folder / "model.safetensors").write_bytes(whole)
    refused(folder, Toy, r"model.safetensors: damaged: expected the sha256 \w{12}…, got \w{12}…$")


def test_a_pickle_is_not_opened(saved, tmp_path):
    class Code:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    folder = shutil.copytree(saved[0], tmp_path / "model")
    torch.save(Code(), folder / "model.safetensors")
    shutil.copy(folder / "model.safetensors", folder / "pytorch_model.bin")
    refused(folder, Toy, "model.safetensors: expected safetensors, got a file of torch.save")
    assert not (tmp_path / "ran").exists()


# Tokenizers and backbones


def test_a_tokenizer_and_a_backbone_come_back(tmp_path):
    texts = ["so good", "not so bad at all", "Café"]
    backbone, tokenizer = tiny_backbone(texts, hidden_size=16, layers=2, heads=2)
    model = Reader(backbone, 3).eval()
    save(tmp_path, model, {"backbone": backbone_config(backbone), "size": 3}, tokenizer=tokenizer)
    again, config, words = load(tmp_path, Reader)
    assert config == {"backbone": backbone_config(again.encoder.backbone), "size": 3}
    assert words.get_vocab() == tokenizer.get_vocab()
    ours, theirs = (
        t(texts, padding=True, return_tensors="pt", return_special_tokens_mask=True) for t in (tokenizer, words)
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    audio = {"audio": Masked(torch.randn(3, 4, 3), torch.ones(3, 4, dtype=torch.bool))}
    batch = ours["input_ids"], ours["attention_mask"], audio, ours["special_tokens_mask"]
    assert torch.equal(model(batch)["S"], again(batch)["S"])
    assert sorted(os.listdir(tmp_path)) == ["config.json", "model.safetensors", "tokenizer"]
    assert words.decode(words("so good")["input_ids"], skip_special_tokens=True) == "so good"


def test_a_configuration_that_is_no_backbone_is_refused(tmp_path):
    backbone, _ = tiny_backbone(["so good"], hidden_size=8, layers=2, heads=2)
    save(tmp_path, Reader(backbone, 3), {"backbone": {"model_type": "gpt2"}, "size": 3})
    with pytest.raises(BackboneError, match=r"^'gpt2' cannot be used: expected a text encoder"):
        load(tmp_path, Reader)


@pytest.mark.parametrize("damage", [lambda p: p.write_text("{"), lambda p: p.unlink()], ids=["torn", "missing"])
def test_a_damaged_tokenizer_is_refused(tmp_path, damage):
    _, tokenizer = tiny_backbone(["so good"], hidden_size=8, layers=2, heads=2)
    save(tmp_path, nn.Linear(1, 1), {}, tokenizer=tokenizer)
    damage(tmp_path / "tokenizer" / "tokenizer.json")
    refused(tmp_path, lambda: nn.Linear(1, 1), "tokenizer: cannot be read: ")


# The hub's mixin


def test_what_the_mixin_saved_is_loaded(tmp_path):
    model = Hub(3, sizes={"a": 1})
    model.save_pretrained(tmp_path)
    saved = load(tmp_path, Hub)
    assert same(saved.model, model)
    assert saved.config == {"size": 3, "hidden": 4, "sizes": {"a": 1}}
    assert saved.model.out.weight is saved.model.table.weight


def test_what_was_saved_is_read_by_the_mixin(tmp_path):
    model = Hub(3, 6, {"a": 1})
    save(tmp_path, model, {"size": 3, "hidden": 6, "sizes": {"a": 1}})
    again = Hub.from_pretrained(tmp_path, strict=True)
    assert same(again, model)
    assert again.sizes == {"a": 1}
    again.save_pretrained(tmp_path)
    assert same(load(tmp_path, Hub).model, model)


def test_the_weights_are_those_that_safetensors_writes(tmp_path):
    """The same names as its own `save_model` keeps, so that any reader of the format finds what it expects."""
    from safetensors.torch import save_model

    model = toy()
    save(tmp_path / "ours", model, {"size": 3})
    save_model(model, str(tmp_path / "theirs"))
    with (
        safe_open(tmp_path / "ours" / "model.safetensors", "pt") as ours,
        safe_open(tmp_path / "theirs", "pt") as theirs,
    ):
        assert sorted(ours.keys()) == sorted(theirs.keys())
        assert theirs.metadata().items() <= ours.metadata().items()
