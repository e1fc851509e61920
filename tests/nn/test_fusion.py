import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from disentangle.nn import MultimodalAdaptiveGate, NonverbalInjection, WordwiseSparseAttention
from disentangle.variables import Masked

F64 = torch.float64
LENGTHS = st.lists(st.integers(0, 6), min_size=1, max_size=4)
SIZES = {"audio": 4, "vision": 7}


def mask_of(lengths, time):
    return torch.arange(time) < torch.tensor(lengths)[:, None]


def naive_sparsemax(scores):
    """The projection of one vector onto the simplex, by sorting."""
    ordered = sorted(scores, key=lambda score: score.item(), reverse=True)
    support = max(k for k in range(1, len(ordered) + 1) if 1 + k * ordered[k - 1] > sum(ordered[:k]))
    threshold = (sum(ordered[:support]) - 1) / support
    return torch.stack([(score - threshold).clamp(min=0) for score in scores])


def naive_attention(attention, words, values, lengths):
    """Eq. 2, word by word over nothing but the real frames."""
    out = torch.zeros(*words.shape[:2], values.shape[2], dtype=F64)
    for i, length in enumerate(lengths):
        for t, word in enumerate(words[i]):
            if length:
                frames = values[i, :length]
                scores = [attention.words(word) @ attention.frames(frame) for frame in frames]
                out[i, t] = sum(w * x for w, x in zip(naive_sparsemax(scores), frames, strict=True))
    return out


def naive_gate(gate, words, attended, present):
    """Eq. 3 to 6, word by word."""
    out = torch.empty_like(words)
    for i in range(words.shape[0]):
        for t in range(words.shape[1]):
            w, h = words[i, t], torch.zeros_like(words[i, t])
            for m, x in attended.items():
                if present[m][i]:
                    g = 1 / (1 + torch.exp(-(gate.gates[m].weight @ torch.cat([w, x[i, t]]) + gate.gates[m].bias)))
                    h = h + g * (gate.displacements[m].weight @ x[i, t] + gate.displacements[m].bias)
            length = h.square().sum().sqrt()
            ratio = gate.epsilon * w.square().sum().sqrt() / length if length > 0 else torch.ones((), dtype=F64)
            out[i, t] = w + (ratio if ratio < 1 else 1) * h
    return out


def same_gradients(actual, expected, inputs):
    direction = torch.randn_like(expected)
    ours = torch.autograd.grad((actual * direction).sum(), inputs, allow_unused=True, retain_graph=True)
    naive = torch.autograd.grad((expected * direction).sum(), inputs, allow_unused=True, retain_graph=True)
    for a, b in zip(ours, naive, strict=True):
        zero = torch.zeros((), dtype=F64)
        torch.testing.assert_close(*torch.broadcast_tensors(zero if a is None else a, zero if b is None else b))


@settings(deadline=None, max_examples=25)
@given(LENGTHS, st.integers(0, 3))
def test_attention_is_equation_2_over_real_frames(lengths, padding):
    attention = WordwiseSparseAttention(5, 4, common_features=6).double()
    time = max(1, *lengths, 1) + padding
    words = (3 * torch.randn(len(lengths), 3, 5, dtype=F64)).requires_grad_()
    values = torch.randn(len(lengths), time, 4, dtype=F64, requires_grad=True)
    mask = mask_of(lengths, time)
    actual = attention(words, torch.where(mask[..., None], values, torch.nan), mask)
    expected = naive_attention(attention, words, values, lengths)
    torch.testing.assert_close(actual, expected)
    if any(lengths):
        same_gradients(actual, expected, [words, values, *attention.parameters()])


@pytest.mark.parametrize("spread", [1e-3, 3.0])  # 100 frames share the weight, or a few
def test_attention_is_exact_however_many_frames_share_the_weight(spread):
    attention = WordwiseSparseAttention(5, 4, common_features=6).double()
    words = (spread * torch.randn(2, 2, 5, dtype=F64)).requires_grad_()
    with torch.no_grad():
        attention.words.bias.zero_()
    values, mask = torch.randn(2, 110, 4, dtype=F64), mask_of([110, 100], 110)
    actual, expected = attention(words, values, mask), naive_attention(attention, words, values, [110, 100])
    torch.testing.assert_close(actual, expected)
    same_gradients(actual, expected, [words, *attention.parameters()])


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_the_gate_is_equations_3_to_6(data):
    batch, time = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    gate = MultimodalAdaptiveGate(5, SIZES, epsilon=data.draw(st.sampled_from([0.01, 1.0, 100.0]))).double()
    words = torch.randn(batch, time, 5, dtype=F64, requires_grad=True)
    attended = {m: torch.randn(batch, time, size, dtype=F64, requires_grad=True) for m, size in SIZES.items()}
    rows = st.lists(st.booleans(), min_size=batch, max_size=batch)
    present = {m: torch.tensor(data.draw(rows)) for m in SIZES}
    actual, expected = gate(words, attended, present), naive_gate(gate, words, attended, present)
    torch.testing.assert_close(actual, expected)
    same_gradients(actual, expected, [words, *attended.values(), *gate.parameters()])
    everywhere = {m: torch.ones(batch, dtype=torch.bool) for m in SIZES}
    torch.testing.assert_close(gate(words, attended), naive_gate(gate, words, attended, everywhere))


def test_a_modality_that_is_not_there_moves_nothing_whatever_stands_in_it():
    gate = MultimodalAdaptiveGate(5, SIZES)
    words, audio = torch.randn(2, 3, 5), torch.randn(2, 3, 4)
    absent = {"vision": torch.tensor([False, False])}
    results = []
    for content in (0.0, 7.0, torch.nan):
        out = gate(words, {"audio": audio, "vision": torch.full((2, 3, 7), content)}, absent)
        gradients = torch.autograd.grad(out.square().sum(), list(gate.parameters()))
        results.append([out, *gradients])
    torch.testing.assert_close(results[1], results[0], atol=0, rtol=0)
    torch.testing.assert_close(results[2], results[0], atol=0, rtol=0)
    out = gate(
        words, {"audio": audio, "vision": audio.new_zeros(2, 3, 7)}, dict.fromkeys(SIZES, torch.tensor([True, False]))
    )
    assert torch.equal(out[1], words[1])
    assert not torch.equal(out[0], words[0])


@pytest.mark.parametrize("zero", ["words", "displacement", "both"])
def test_vectors_of_length_zero_have_finite_values_and_gradients(zero):
    gate = MultimodalAdaptiveGate(5, {"audio": 4})
    words, audio = torch.randn(2, 3, 5), torch.randn(2, 3, 4)
    if zero != "words":
        nn.init.zeros_(gate.displacements["audio"].weight)
        nn.init.zeros_(gate.displacements["audio"].bias)
    if zero != "displacement":
        words = torch.zeros_like(words)
    out = gate(words.requires_grad_(), {"audio": audio.requires_grad_()})
    torch.testing.assert_close(out, words)  # nothing to add, or no length to add it to
    gradients = torch.autograd.grad(out.sum(), [words, audio, *gate.parameters()])
    assert all(g.isfinite().all() for g in gradients)


def injection_and_inputs(dtype=torch.float32):
    inject = NonverbalInjection(5, SIZES, common_features=6).to(dtype)
    words = torch.randn(3, 4, 5, dtype=dtype, requires_grad=True)
    masks = {"audio": mask_of([6, 2, 0], 6), "vision": mask_of([0, 8, 0], 8)}
    others = {m: Masked(torch.randn(*masks[m].shape, SIZES[m], dtype=dtype), masks[m]) for m in SIZES}
    return inject, words, others


def test_an_injection_from_zero_moves_nothing_at_first_and_learns():
    inject = NonverbalInjection(6, SIZES, from_zero=True)
    words = torch.randn(2, 3, 6)
    others = {m: Masked(torch.randn(2, 5, size), mask_of([5, 2], 5)) for m, size in SIZES.items()}
    moved = inject(words, others)
    assert torch.equal(moved, words)
    moved.square().sum().backward()
    assert all(layer.weight.grad.any() for layer in inject.gate.displacements.values())
    torch.optim.SGD(inject.parameters(), 0.1).step()
    assert not torch.equal(inject(words, others), words)


def test_injection_is_attention_and_gate():
    inject, words, others = injection_and_inputs(F64)
    lengths = {m: x.lengths.tolist() for m, x in others.items()}
    attended = {m: naive_attention(inject.attention[m], words, others[m].values, lengths[m]) for m in SIZES}
    expected = naive_gate(inject.gate, words, attended, {m: others[m].lengths > 0 for m in SIZES})
    actual = inject(words, others)
    torch.testing.assert_close(actual, expected)
    same_gradients(actual, expected, [words, *inject.parameters()])
    assert torch.equal(actual[2], words[2])  # the row that has neither


def test_more_padding_and_what_stands_in_it_change_neither_words_nor_gradients():
    inject, words, others = injection_and_inputs()
    clean = {m: Masked(torch.where(x.mask[..., None], x.values, 0), x.mask) for m, x in others.items()}
    longer = {}
    for m, x in others.items():
        values = torch.cat(
            [torch.where(x.mask[..., None], x.values, torch.nan), torch.full((3, 5, SIZES[m]), torch.inf)], 1
        )
        longer[m] = Masked(values, torch.cat([x.mask, torch.zeros(3, 5, dtype=torch.bool)], 1))
    results = []
    for given_others in (clean, longer):
        out = inject(words, given_others)
        results.append([out, *torch.autograd.grad(out.square().sum(), [words, *inject.parameters()])])
    torch.testing.assert_close(*results)


def test_without_any_frames_gradients_are_finite_and_words_unmoved():
    inject, words, others = injection_and_inputs()
    out = inject(words, {m: Masked(x.values * torch.nan, torch.zeros_like(x.mask)) for m, x in others.items()})
    assert torch.equal(out, words)
    gradients = torch.autograd.grad(out.sum(), [words, *inject.parameters()])
    assert torch.equal(gradients[0], torch.ones_like(words))
    assert not any(g.any() for g in gradients[1:])


def test_autocast_rounds_the_gates_but_not_the_scores():
    inject, words, others = injection_and_inputs()
    exact = inject(words, others)
    attention, audio = inject.attention["audio"], others["audio"]
    with torch.autocast("cpu", torch.bfloat16):
        out = inject(words, others)
        attended = attention(words, *audio)
    torch.testing.assert_close(attended, attention(words, *audio))
    assert out.dtype == words.dtype
    torch.testing.assert_close(out, exact, atol=0.05, rtol=0.05)
    out.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in inject.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_modules_and_inputs_of_another_precision_keep_it(dtype):
    inject, words, others = injection_and_inputs(dtype)
    assert inject(words, others).dtype == dtype


def test_errors_say_what_was_wanted_and_given():
    with pytest.raises(ValueError, match="expected the sizes of one modality or more, got none"):
        MultimodalAdaptiveGate(5, {})
    with pytest.raises(ValueError, match="expected the sizes of one modality or more, got none"):
        NonverbalInjection(5, {})
    inject, words, others = injection_and_inputs()
    wanted = r"expected the modalities \['audio', 'vision'\], got \['audio'\]"
    with pytest.raises(ValueError, match=wanted):
        inject(words, {"audio": others["audio"]})
    with pytest.raises(ValueError, match=wanted):
        inject.gate(words, {"audio": torch.zeros(3, 4, 4)})


@pytest.mark.cuda
def test_cuda_agrees_with_the_cpu(cuda):
    inject, words, others = injection_and_inputs()
    results = []
    for device in (torch.device("cpu"), cuda):
        module, w = copy.deepcopy(inject).to(device), words.detach().to(device).requires_grad_()
        out = module(w, {m: x.to(device) for m, x in others.items()})
        gradients = torch.autograd.grad(out.square().sum(), [w, *module.parameters()])
        results.append([t.detach().cpu() for t in (out, *gradients)])
    torch.testing.assert_close(*results, atol=1e-4, rtol=1e-4)
    with torch.autocast("cuda", torch.bfloat16):
        assert module(w, {m: x.to(cuda) for m, x in others.items()}).isfinite().all()


@pytest.mark.cuda
@pytest.mark.filterwarnings("error")
def test_nothing_waits_for_the_device(cuda, no_waiting):
    inject, words, others = injection_and_inputs()
    inject, words, others = inject.to(cuda), words.detach().to(cuda), {m: x.to(cuda) for m, x in others.items()}
    inject(words, others).sum().backward()  # libraries start up here
    with no_waiting():
        inject(words, others).sum().backward()
