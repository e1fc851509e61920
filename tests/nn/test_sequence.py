import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from disentangle.nn import SequenceDecoder, SequenceEncoder, masked_cross_entropy, masked_mse
from disentangle.nn.sequence import WIDE
from disentangle.variables import Masked

F64 = torch.float64
LENGTHS = st.lists(st.integers(0, 6), min_size=1, max_size=5)


def mask_of(lengths, time):
    return torch.arange(time) < torch.tensor(lengths)[:, None]


def cell_of(lstm):
    cell = nn.LSTMCell(lstm.input_size, lstm.hidden_size, dtype=F64)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in lstm.state_dict().items()})
    return cell


def naive_encoder(encoder, values, lengths):
    """Row by row and step by step, over nothing but the real steps."""
    cell, rows = cell_of(encoder.lstm), []
    for row, length in zip(values, lengths, strict=True):
        h = c = torch.zeros(1, encoder.lstm.hidden_size, dtype=F64)
        for t in range(length):
            h, c = cell(row[t : t + 1], (h, c))
        rows.append(encoder.output(h)[0] if length else torch.zeros(encoder.output.out_features, dtype=F64))
    return torch.stack(rows), cell


def naive_decoder(decoder, z, length):
    cell, steps = cell_of(decoder.lstm), []
    h, c = z, torch.zeros_like(z)
    for _ in range(length):
        h, c = cell(h, (h, c))
        steps.append(h)
    return torch.stack(steps, 1), cell


@settings(deadline=None)
@given(LENGTHS, st.integers(0, 3), st.sampled_from([3, 5 * WIDE + 1]))
def test_the_encoder_reads_the_state_at_the_true_length(lengths, padding, features):
    encoder = SequenceEncoder(features, 4, hidden_size=5).double()
    values = torch.randn(len(lengths), max(1, *lengths, 1) + padding, features, dtype=F64)
    expected, cell = naive_encoder(encoder, values, lengths)
    actual = encoder(values, mask_of(lengths, values.shape[1]))
    torch.testing.assert_close(actual, expected)
    if any(lengths):
        direction = torch.randn_like(expected)
        names = [name for name, _ in cell.named_parameters()]
        ours = torch.autograd.grad((actual * direction).sum(), [getattr(encoder.lstm, f"{name}_l0") for name in names])
        naive = torch.autograd.grad((expected * direction).sum(), list(cell.parameters()))
        torch.testing.assert_close(ours, naive)


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 4))
def test_more_padding_and_what_stands_in_it_change_neither_vector_nor_gradient(lengths, padding):
    encoder = SequenceEncoder(3, 4)
    time = max(1, *lengths, 1)
    mask = mask_of(lengths, time)
    clean = torch.where(mask[..., None], torch.randn(len(lengths), time, 3), 0)
    garbage = torch.where(mask[..., None], clean, torch.nan)
    longer = torch.cat([garbage, torch.full((len(lengths), padding, 3), torch.inf)], 1)
    results = []
    for values in (clean, longer):
        values.requires_grad_()
        out = encoder(values, mask_of(lengths, values.shape[1]))
        gradients = torch.autograd.grad(out.square().sum(), [values, *encoder.parameters()])
        results.append([out, gradients[0][:, :time], *gradients[1:]])
    torch.testing.assert_close(*results)
    assert not results[1][1][~mask].any()


def test_a_row_without_steps_is_zero_and_teaches_nothing():
    encoder = SequenceEncoder(3, 4)
    out = encoder(torch.full((2, 5, 3), torch.nan), torch.zeros(2, 5, dtype=torch.bool))
    assert not out.any()
    out.sum().backward()
    assert not any(p.grad.any() for p in encoder.parameters())


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 6))
def test_the_decoder_is_an_lstm_cell_fed_its_own_hidden_state(batch, length, size):
    decoder = SequenceDecoder(size, 3).double()
    z = torch.randn(batch, size, dtype=F64, requires_grad=True)
    expected, cell = naive_decoder(decoder, z, length)
    actual = decoder.hidden(z, length)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(decoder(z, length), decoder.output(expected))
    direction = torch.randn_like(expected)
    names = [name for name, _ in cell.named_parameters()]
    ours = torch.autograd.grad(
        (actual * direction).sum(), [z, *(getattr(decoder.lstm, f"{name}_l0") for name in names)]
    )
    naive = torch.autograd.grad((expected * direction).sum(), [z, *cell.parameters()])
    torch.testing.assert_close(ours, naive)


@pytest.mark.filterwarnings("error")
def test_recurrences_keep_their_precision_under_autocast():
    encoder, decoder = SequenceEncoder(3, 4), SequenceDecoder(4, 3)
    values, mask = torch.randn(2, 50, 3), mask_of([50, 7], 50)
    with torch.autocast("cpu", torch.bfloat16):
        z = encoder(values, mask)
        hidden, out = decoder.hidden(z, 60), decoder(z, 60)
    assert hidden.dtype == torch.float32
    torch.testing.assert_close(hidden, decoder.hidden(z.float(), 60))
    torch.testing.assert_close(z.float(), encoder(values, mask), atol=0.02, rtol=0.02)
    out.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in [*encoder.parameters(), *decoder.parameters()])


@pytest.mark.cuda
@pytest.mark.filterwarnings("error")
def test_cuda_agrees_with_the_cpu(cuda):
    encoder, decoder = SequenceEncoder(6, 8), SequenceDecoder(8, 40)
    values, mask = torch.randn(3, 30, 6), mask_of([30, 4, 0], 30)
    words = Masked(torch.randint(40, (3, 30)), mask)
    results = []
    for device in (torch.device("cpu"), cuda):
        encoder.to(device), decoder.to(device)
        frames = Masked(values, mask).to(device)
        z = encoder(*frames)
        losses = [
            masked_cross_entropy(decoder.hidden(z, 30), decoder.output, words.to(device)),
            masked_mse(decoder(z, 30)[..., :6], frames),
        ]
        loss = losses[0].mean() + losses[1].mean()
        gradients = torch.autograd.grad(loss, [*encoder.parameters(), *decoder.parameters()])
        results.append([t.detach().cpu() for t in (z, loss, *gradients)])
    torch.testing.assert_close(*results, atol=2e-3, rtol=2e-3)  # cuDNN may round to TF32
    with torch.autocast("cuda", torch.bfloat16):
        z = encoder(*frames)
        masked_cross_entropy(decoder.hidden(z, 30), decoder.output, words.to(cuda)).mean().backward()
    assert all(p.grad.isfinite().all() for p in encoder.parameters())
