"""A text backbone with other modalities injected halfway: the encoder of the shared latent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from disentangle.nn.fusion import NonverbalInjection
from disentangle.variables import Masked

__all__ = ["MAGTextEncoder"]

STACKS = ("encoder.layer", "transformer.layer", "layers")  # BERT, RoBERTa and ELECTRA; DistilBERT; ModernBERT


class MAGTextEncoder(nn.Module):
    r"""A Hugging Face text encoder into whose middle layer audio and vision are injected, pooled to one vector.

    .. math:: W^{\text{mid}} = \text{layers}_{1..r}(\text{ids}), \qquad
              W^{\text{last}} = \text{layers}_{r+1..L}\left(\text{inject}(W^{\text{mid}}, X^A, X^V)\right), \qquad
              z^S = W \operatorname{mean}_t(w^{\text{last}}_t) + b

    The mean is over words; special tokens take part only in rows that have no words. The backbone runs as two views of
    itself that share its layers, so its own code builds masks and positions, its parameters keep their names (under
    `backbone.`), and checkpointing, fine-tuning and saving work as on any Hugging Face model. That the two halves do what
    the whole does is checked once, here.

    References:
        | Qian et al., MIRD, eq. 2 to 7

    Arguments:
        backbone: BERT, RoBERTa, DistilBERT, ELECTRA, ModernBERT or a model built like them. Its pooler, which nothing
            would use, is removed.
        sizes: The number of features of each other modality, by name.
        out_features: The number of features of the latent.
        inject_after: After how many of the L layers, 0 to L; 0 is right after the embeddings. Half of them if not given.
        common_features: The number of features of the space in which words and frames are compared.
        epsilon: The longest displacement of a word, in its own lengths.
        from_zero: Whether no word is moved at first: the displacements start at zero, and learn from there.

    Raises:
        ValueError: If there is no such layer, no modality, or the backbone cannot be split.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> config = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
        >>> encoder = MAGTextEncoder(BertModel(config), {"audio": 5}, out_features=8)
        >>> ids, audio = torch.randint(50, (3, 7)), Masked(torch.randn(3, 30, 5), torch.ones(3, 30, dtype=torch.bool))
        >>> encoder(ids, torch.ones_like(ids), {"audio": audio}).shape
        torch.Size([3, 8])
    """

    backbone: Any

    def __init__(
        self,
        backbone: nn.Module,
        sizes: Mapping[str, int],
        out_features: int,
        *,
        inject_after: int | None = None,
        common_features: int = 64,
        epsilon: float = 1.0,
        from_zero: bool = False,
    ):
        super().__init__()
        stack = stack_of(backbone)
        depth = len(list(backbone.get_submodule(stack).children()))
        if inject_after is None:
            inject_after = depth // 2
        if not 0 <= inject_after <= depth:
            raise ValueError(f"expected inject_after of 0 to {depth}, the layers of the backbone, got {inject_after}")
        if backbone._modules.get("pooler") is not None:
            backbone.register_module("pooler", None)
        self.stack, self.inject_after = stack, inject_after
        self.backbone = backbone
        words = self.backbone.config.hidden_size
        self.inject = NonverbalInjection(words, sizes, common_features, epsilon, from_zero=from_zero)
        self.output = nn.Linear(words, out_features)
        self._check_split()

    def forward(
        self,
        input_ids: Int[Tensor, "batch words"],
        attention_mask: Int[Tensor, "batch words"] | Bool[Tensor, "batch words"],
        others: Mapping[str, Masked],
        special_tokens_mask: Int[Tensor, "batch words"] | Bool[Tensor, "batch words"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch out_features"]:
        """The latents `(B, out_features)` of token ids `(B, T)` and other modalities, `{name: (B, S_m, D_m)}` with masks.

        `attention_mask` and `special_tokens_mask` are a tokenizer's; without the latter every token counts as a word.
        `lengths: (B,)`, how many tokens each row has and on the CPU, is for tokens that are padded on the right, and changes
        nothing but the cost: where it saves at least a quarter of the tokens, padding counted, short rows run apart from long
        ones.
        """
        if torch.compiler.is_compiling():  # or exporting
            lengths = None  # which rows run together depends on the data
        if lengths is not None and len(groups := _by_length(lengths)) > 1:
            return self._run_apart(groups, input_ids, attention_mask, others, special_tokens_mask)
        words = self._run(input_ids, attention_mask, lambda words: self.inject(words, others))
        pooled = attention_mask.bool()
        if special_tokens_mask is not None:
            real = pooled & ~special_tokens_mask.bool()
            pooled = real | (pooled & ~real.any(1, keepdim=True))
        precise = words.to(torch.promote_types(words.dtype, torch.float32))
        return self.output(Masked(precise, pooled).mean().to(words.dtype))  # eq. 7

    def _run_apart(
        self,
        groups: list[tuple[Tensor, int]],
        input_ids: Tensor,
        attention_mask: Tensor,
        others: Mapping[str, Masked],
        special_tokens_mask: Tensor | None,
    ) -> Tensor:
        """`forward` for each group of rows, cut to the length of its longest; the rows come back in their own order."""
        parts = []
        for host_rows, length in groups:
            rows = host_rows.to(input_ids.device, non_blocking=True)
            ids, mask, special = (
                None if t is None else t.index_select(0, rows)[:, : max(length, 1)]
                for t in (input_ids, attention_mask, special_tokens_mask)
            )
            parts.append(self(ids, mask, {m: frames.select(rows) for m, frames in others.items()}, special))
        order = torch.cat([rows for rows, _ in groups]).argsort()
        return torch.cat(parts).index_select(0, order.to(input_ids.device, non_blocking=True))

    def word_embeddings(self, input_ids: Int[Tensor, "batch words"]) -> Float[Tensor, "batch words word_features"]:
        """Rows of the backbone's raw word table, before position and normalisation: X^L, `(B, T, W)`."""
        return self.backbone.get_input_embeddings()(input_ids)

    def _run(self, input_ids: Tensor, attention_mask: Tensor, inject: Callable[[Tensor], Tensor]) -> Tensor:
        """The last hidden states, `(B, T, W)`."""
        lower, upper = _halves(self.backbone, self.stack, self.inject_after)
        words = lower(input_ids=input_ids, attention_mask=attention_mask)[0]
        return upper(inputs_embeds=inject(words), attention_mask=attention_mask)[0]

    @torch.no_grad()
    def _check_split(self) -> None:
        """Compares both halves, with nothing injected, with the whole: a backbone that is built differently is refused."""
        table = self.backbone.get_input_embeddings().weight
        # A generator of its own: the model that is built next must not depend on this check. The second row is padded.
        ids = torch.randint(len(table), (2, 12), generator=torch.Generator().manual_seed(0)).to(table.device)
        mask = (torch.arange(12, device=table.device) < torch.tensor([[12], [7]], device=table.device)).long()
        training = {module: module.training for module in self.backbone.modules()}
        self.backbone.eval()
        refusal = f"{type(self.backbone).__name__} cannot be run in two halves, after layer {self.inject_after}"
        try:
            whole = self.backbone(input_ids=ids, attention_mask=mask)[0]
            split = self._run(ids, mask, lambda words: words)
        except Exception as error:  # whatever a model says that is built differently
            raise ValueError(f"{refusal}: {error}") from error
        finally:
            for module, mode in training.items():
                module.training = mode
        if not torch.allclose(split, whole, rtol=1e-3, atol=1e-3):
            difference = (split - whole).abs().max().item()
            raise ValueError(
                f"{refusal}: expected the hidden states of the whole, got a difference of {difference:.1g}"
            )


def _by_length(lengths: Tensor) -> list[tuple[Tensor, int]]:
    """Rows with the length of the longest among them: one group, or two where that saves a quarter of the tokens."""
    ordered, rows = lengths.sort()
    n, longest = len(ordered), int(ordered[-1])
    short = torch.arange(1, n, device=ordered.device)
    cost = short * ordered[:-1] + (n - short) * longest
    if n > 1 and int(cost.min()) <= 0.75 * n * longest:
        cut = int(cost.argmin()) + 1
        return [(rows[:cut], int(ordered[cut - 1])), (rows[cut:], longest)]
    return [(rows, longest)]


def stack_of(backbone: nn.Module) -> str:
    """Where the list of a backbone's layers is, as `encoder.layer`.

    Raises:
        ValueError: If it has none where one is looked for, or no embeddings of words.
    """
    parts = dict(backbone.named_modules())
    stack = next((path for path in STACKS if isinstance(parts.get(path), nn.ModuleList)), None)
    table = parts.get("embeddings") and backbone.get_input_embeddings()  # pyright: ignore[reportCallIssue]
    if stack is None or not isinstance(table, nn.Embedding):
        raise ValueError(
            f"expected a text encoder with `embeddings` and its layers in {' or '.join(STACKS)}, as BERT, RoBERTa, "
            f"DistilBERT, ELECTRA and ModernBERT, got {type(backbone).__name__}"
        )
    return stack


def _halves(backbone: nn.Module, stack: str, after: int) -> tuple[nn.Module, nn.Module]:
    """Two views of a backbone: embeddings and the first layers, and the other layers and all that follows them.

    They are made for each call, so that they see the backbone as it is: moved, copied, in training or not, with a layer
    replaced.
    """
    layers = list(backbone.get_submodule(stack).children())

    def half(layers: list[nn.Module], **swap: nn.Module) -> nn.Module:
        *parent, leaf = stack.split(".")
        children: dict[str, nn.Module] = {leaf: nn.ModuleList(layers)}
        for name in parent:
            children = {name: _view(backbone.get_submodule(name), children)}
        return _view(backbone, {**children, **{k: v for k, v in swap.items() if k in backbone._modules}})

    return (
        half(layers[:after], final_norm=nn.Identity()),
        half(layers[after:], embeddings=_Given(backbone.get_submodule("embeddings")), embeddings_project=nn.Identity()),
    )


def _view(module: nn.Module, children: Mapping[str, nn.Module]) -> nn.Module:
    """The same module, sharing everything, with some of its children exchanged."""
    view = object.__new__(type(module))  # not `copy.copy`, which a compiler cannot follow
    view.__dict__.update(module.__dict__, _modules={**module._modules, **children})
    return view


class _Given(nn.Module):
    """Stands where the embeddings are in the upper half, and passes on the words that it is given."""

    def __init__(self, embeddings: nn.Module):
        super().__init__()
        self.embeddings = embeddings  # a model reads its dtype from its parameters, which may be these alone

    def forward(self, *args: Any, inputs_embeds: Tensor | None = None, **kwargs: Any) -> Tensor:
        return args[1] if inputs_embeds is None else inputs_embeds  # DistilBERT passes them by position
