import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from disentangle.nn import SequenceDecoder, SequenceEncoder, masked_cross_entropy, masked_mse
from disentangle.nn.sequence import CHUNK
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
@given(LENGTHS, st.integers(0, 3))
def test_the_encoder_reads_the_state_at_the_true_length(lengths, padding):
    encoder = SequenceEncoder(3, 4, hidden_size=5).double()
    values = torch.randn(len(lengths), max(1, *lengths, 1) + padding, 3, dtype=F64)
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


@settings(deadline=None)
@given(LENGTHS)
def test_squared_errors_are_those_of_real_frames(lengths):
    time = max(1, *lengths, 1)
    mask = mask_of(lengths, time)
    target = torch.where(mask[..., None], torch.randn(len(lengths), time, 3, dtype=F64), torch.nan)
    prediction = torch.randn(len(lengths), time, 3, dtype=F64, requires_grad=True)
    loss = masked_mse(prediction, Masked(target, mask))
    real = [
        F.mse_loss(prediction[i, :n], target[i, :n]) if n else torch.zeros((), dtype=F64) for i, n in enumerate(lengths)
    ]
    torch.testing.assert_close(loss.values, torch.stack(real))
    assert loss.weights.tolist() == lengths
    if any(lengths):
        expected = F.mse_loss(prediction[mask], target[mask])
        torch.testing.assert_close(loss.mean(), expected)
        torch.testing.assert_close(
            torch.autograd.grad(loss.mean(), prediction), torch.autograd.grad(expected, prediction)
        )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [3, 2 * CHUNK // 7])  # within one chunk, and over several with a rest
def test_cross_entropies_and_their_gradients_are_those_of_whole_logits(rows, bias):
    output = nn.Linear(5, 11, bias=bias, dtype=F64)
    lengths = torch.randint(0, 8, (rows,)).tolist()
    mask = mask_of(lengths, 7)
    ids = torch.where(mask, torch.randint(11, (rows, 7)), -100)
    hidden = torch.where(mask[..., None], 3 * torch.randn(rows, 7, 5, dtype=F64), torch.nan).requires_grad_()
    loss = masked_cross_entropy(hidden, output, Masked(ids, mask))
    words = F.cross_entropy(output(hidden[mask]), ids[mask], reduction="none")
    naive = torch.stack([w.mean() if len(w) else w.sum() for w in words.split(lengths)])
    torch.testing.assert_close(loss.values, naive)
    assert loss.weights.tolist() == lengths
    torch.testing.assert_close(loss.mean(), words.mean())
    upstream = torch.randn(rows, dtype=F64)
    inputs = [hidden, *output.parameters()]
    ours = torch.autograd.grad((loss.values * upstream).sum(), inputs)
    torch.testing.assert_close(ours, torch.autograd.grad((naive * upstream).sum(), inputs))
    assert not ours[0][~mask].any()


def test_cross_entropies_of_extreme_logits_are_finite():
    output = nn.Linear(2, 3)
    hidden = torch.tensor([[[1e5, -1e5], [3e4, 3e4]]], requires_grad=True)
    loss = masked_cross_entropy(hidden, output, Masked(torch.tensor([[0, 2]]), torch.ones(1, 2, dtype=torch.bool)))
    loss.mean().backward()
    torch.testing.assert_close(loss.mean(), F.cross_entropy(output(hidden)[0], torch.tensor([0, 2])))
    assert hidden.grad.isfinite().all()


def test_cross_entropies_under_autocast_are_summed_in_float32():
    output = nn.Linear(16, 300)
    hidden = torch.randn(4, 9, 16, requires_grad=True)
    target = Masked(torch.randint(300, (4, 9)), mask_of([9, 4, 1, 0], 9))
    inputs = [hidden, *output.parameters()]
    exact = masked_cross_entropy(hidden, output, target)
    with torch.autocast("cpu", torch.bfloat16):
        loss = masked_cross_entropy(hidden, output, target)
    assert loss.values.dtype == torch.float32
    torch.testing.assert_close(loss.values, exact.values, atol=0.02, rtol=0.02)
    rounded, exact = torch.autograd.grad(loss.mean(), inputs), torch.autograd.grad(exact.mean(), inputs)
    for a, b in zip(rounded, exact, strict=True):
        assert (a - b).norm() < 0.02 * b.norm()
        assert a.dtype == torch.float32


def test_gradients_pass_numerical_differentiation():
    output = nn.Linear(3, 4, dtype=F64)
    hidden = torch.randn(2, 3, 3, dtype=F64, requires_grad=True)
    target = Masked(torch.randint(4, (2, 3)), mask_of([3, 1], 3))
    torch.autograd.gradcheck(
        lambda h, *_: masked_cross_entropy(h, output, target).values, (hidden, *output.parameters())
    )


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
