from math import cos, exp, log, sin, sqrt

import pytest
import torch

from disentangle.nn import CrossModalTransformer, TemporalConvolution, last_step, sinusoidal_positions
from disentangle.variables import Masked

F64 = torch.float64
TARGET = [[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 1]]  # whole, short, none, padding in between
SOURCE = [[1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 1, 0, 1, 1]]


def drawn(mask, d, padding=torch.nan):
    mask = torch.tensor(mask, dtype=torch.bool)
    return Masked(
        torch.where(mask.unsqueeze(2), torch.randn(*mask.shape, d, dtype=F64), padding).requires_grad_(), mask
    )


def norm(x, layer):
    deviation = x - x.mean(-1, keepdim=True)
    return deviation / (deviation.square().mean(-1, keepdim=True) + layer.eps).sqrt() * layer.weight + layer.bias


def attention(x, s, module):
    """A row alone, head by head: its steps (T, d) to those of the source (S, d), real ones only."""
    w, b, d = module.in_proj_weight, module.in_proj_bias, x.shape[1]
    q, k, v = (y @ w[i * d : (i + 1) * d].T + b[i * d : (i + 1) * d] for i, y in enumerate((x, s, s)))
    size, heads = d // module.num_heads, []
    for h in range(module.num_heads):
        part = slice(h * size, (h + 1) * size)
        scores = (q[:, part] @ k[:, part].T / sqrt(size)).exp()
        heads.append(scores / scores.sum(1, keepdim=True) @ v[:, part])
    return torch.cat(heads, 1) @ module.out_proj.weight.T + module.out_proj.bias


def naive(transformer, target, source):
    """Row by row, over nothing but real steps."""
    out = torch.zeros_like(target.values)
    for i in range(len(out)):
        x = target.values[i][target.mask[i]]
        low = None if source is None else source.values[i][source.mask[i]]
        for layer in transformer.layers:
            s = x if low is None else low
            if len(s):
                x = x + attention(norm(x, layer.attention_norm), norm(s, layer.attention_norm), layer.attention)
            first, last = layer.network[0], layer.network[-1]
            hidden = (norm(x, layer.network_norm) @ first.weight.T + first.bias).clamp(min=0)
            x = x + hidden @ last.weight.T + last.bias
        out[i, target.mask[i]] = norm(x, transformer.norm)
    return out


@pytest.mark.parametrize("crossed", [True, False], ids=["to another", "to itself"])
@pytest.mark.parametrize("training", [True, False])
def test_it_is_what_each_row_gives_by_its_real_steps_alone(crossed, training):
    transformer = CrossModalTransformer(6, 2, 3, dropout=0.0, attention_dropout=0.0).double().train(training)
    for p in transformer.parameters():  # biases start at 0
        torch.nn.init.normal_(p, std=0.5)
    target, source = drawn(TARGET, 6), drawn(SOURCE, 6) if crossed else None
    told, expected = transformer(target, source), naive(transformer, target, source)
    assert torch.equal(told.mask, target.mask)
    torch.testing.assert_close(told.values, expected)
    inputs = [x.values for x in (target, source) if x is not None] + list(transformer.parameters())
    direction = torch.randn_like(expected)
    gradients = [torch.autograd.grad((out * direction).sum(), inputs) for out in (told.values, expected)]
    torch.testing.assert_close(*gradients)
    with torch.no_grad():  # torch has a kernel of its own for this
        torch.testing.assert_close(transformer(target, source).values, expected)


@pytest.mark.parametrize("steps", [(0, 3), (3, 0), (0, 0)])
def test_sequences_of_no_steps_at_all(steps):
    transformer = CrossModalTransformer(4, 1, 2).double().eval()
    target, source = (drawn(torch.ones(2, n).tolist(), 4) for n in steps)
    torch.testing.assert_close(transformer(target, source).values, naive(transformer, target, source))
    assert transformer(target).values.shape == target.values.shape
    assert not last_step(drawn(torch.zeros(2, 0).tolist(), 4)).any()


def test_each_dropout_drops_in_training_alone():
    target, source = drawn(TARGET, 4), drawn(SOURCE, 4)
    for name in ("dropout", "attention_dropout"):
        rates = {"dropout": 0.0, "attention_dropout": 0.0, name: 0.5}
        transformer = CrossModalTransformer(4, 1, 2, **rates).double()
        assert not torch.equal(transformer(target, source).values, transformer(target, source).values)
        transformer.eval()
        assert torch.equal(transformer(target, source).values, transformer(target, source).values)


def test_heads_divide_the_features():
    with pytest.raises(ValueError, match="expected heads that divide the 6 features, got 4"):
        CrossModalTransformer(6, heads=4)


@pytest.mark.parametrize("kernel", [1, 2, 3, 7])
def test_a_convolution_sums_over_the_real_frames_around_each(kernel):
    convolution, frames = TemporalConvolution(3, 2, kernel).double(), drawn(TARGET, 3)
    steps, weight = convolution(frames), convolution.convolution.weight
    expected = torch.zeros(4, 4, 2, dtype=F64)
    for i, row in enumerate(TARGET):
        for t in range(4):
            for k in range(kernel):
                other = t + k - (kernel - 1) // 2
                if row[t] and 0 <= other < 4 and row[other]:
                    expected[i, t] += weight[:, :, k] @ frames.values[i, other]
    torch.testing.assert_close(steps.values, expected)
    assert torch.equal(steps.mask, frames.mask)
    gradients = [torch.autograd.grad(x.square().sum(), [frames.values, weight]) for x in (steps.values, expected)]
    torch.testing.assert_close(*gradients)


def test_a_convolution_sees_one_frame_or_more():
    with pytest.raises(ValueError, match="expected a kernel of 1 frame or more, got 0"):
        TemporalConvolution(3, 2, 0)


@pytest.mark.parametrize("d", [1, 4, 5])
def test_positions_count_the_real_steps_of_each_row(d):
    x, expected = drawn(TARGET, d), torch.zeros(4, 4, d, dtype=F64)
    for i, row in enumerate(TARGET):
        for t, step in enumerate(t for t in range(4) if row[t]):
            for j in range(d):
                angle = t * exp(-(j - j % 2) / d * log(10000))
                wave = cos(angle) if j % 2 else sin(angle)
                expected[i, step, j] = x.values[i, step, j] * sqrt(d) + wave
    placed = sinusoidal_positions(x)
    torch.testing.assert_close(placed.values, expected)
    assert torch.equal(placed.mask, x.mask)
    half = sinusoidal_positions(Masked(torch.zeros(1, 4000, d, dtype=torch.bfloat16), torch.ones(1, 4000).bool()))
    exact = sinusoidal_positions(Masked(torch.zeros(1, 4000, d, dtype=F64), torch.ones(1, 4000).bool()))
    assert half.values.dtype == torch.bfloat16
    torch.testing.assert_close(half.values.double(), exact.values, atol=0.01, rtol=0)


def test_the_last_step_is_the_last_real_one():
    x = drawn(TARGET, 3)
    last = last_step(x)
    expected = torch.stack([x.values[0, 3], x.values[1, 1], torch.zeros(3, dtype=F64), x.values[3, 3]])
    torch.testing.assert_close(last, expected)
    (gradient,) = torch.autograd.grad(last.sum(), x.values)
    assert gradient.nonzero()[:, :2].unique(dim=0).tolist() == [[0, 3], [1, 1], [3, 3]]
