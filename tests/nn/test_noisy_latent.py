import math

import pytest
import torch

from disentangle import estimate_mutual_information
from disentangle.nn import NoisyLatent

F64 = torch.float64


def with_seed(layer, hidden, seed=1):
    torch.manual_seed(seed)
    return layer(hidden)


@pytest.mark.parametrize("fixed", ["columns", "rows"])
@pytest.mark.parametrize("shape", [(32, 5), (32, 4, 4), (4,)])
def test_anything_but_rows_of_its_dimensions_is_refused(fixed, shape):
    with pytest.raises(ValueError, match=rf"expected a latent \(N, 4\), got \({shape[0]},"):
        NoisyLatent(4, fixed=fixed)(torch.randn(shape))


def test_scale_and_offset_of_columns_do_not_matter():
    hidden, latent = torch.randn(500, 4, dtype=F64), NoisyLatent(4, 0.3).double()
    once = with_seed(latent, hidden)
    torch.testing.assert_close(once, with_seed(latent, 1e3 * hidden - 7), rtol=0, atol=1e-4)
    torch.testing.assert_close(once.var(0), torch.full((4,), 1.09, dtype=F64), rtol=0.2, atol=0)


def test_the_scale_of_rows_does_not_matter():
    hidden, latent = torch.randn(500, 4, dtype=F64), NoisyLatent(4, 0.3, fixed="rows")
    scales = torch.rand(500, 1, dtype=F64) * 1e3 + 1e-3
    torch.testing.assert_close(with_seed(latent, hidden), with_seed(latent, hidden * scales))


def test_evaluation_is_noisy_too_and_uses_running_statistics_of_columns():
    latent = NoisyLatent(3, 0.5)
    for _ in range(200):
        latent(4.0 + 2.0 * torch.randn(256, 3))
    latent.eval()
    row = torch.full((2000, 3), 6.0)  # one standard deviation from the mean
    z = latent(row)
    torch.testing.assert_close(z.mean(0), torch.ones(3), rtol=0, atol=0.05)
    torch.testing.assert_close(z.std(0), torch.full((3,), 0.5), rtol=0.1, atol=0)


def test_rows_have_their_direction_and_the_noise_beside_it():
    hidden = torch.tensor([[3.0, 4.0]], dtype=F64).expand(20000, 2)
    z = NoisyLatent(2, 0.5, fixed="rows").eval()(hidden)
    torch.testing.assert_close(z.mean(0), 2**0.5 * torch.tensor([0.6, 0.8], dtype=F64), rtol=0, atol=0.02)
    torch.testing.assert_close(z.std(0), torch.full((2,), 0.5, dtype=F64), rtol=0.03, atol=0)


def test_of_rows_pieces_of_a_batch_single_rows_and_evaluation_compute_the_same():
    hidden, latent = torch.randn(6, 3, dtype=F64), NoisyLatent(3, 1e-9, fixed="rows")
    whole = latent(hidden)
    torch.testing.assert_close(torch.cat([latent(row[None]) for row in hidden]), whole, rtol=0, atol=1e-7)
    torch.testing.assert_close(latent.eval()(hidden), whole, rtol=0, atol=1e-7)
    assert not latent.state_dict()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_row_of_zeros_stays_zero_without_a_gradient(dtype):
    hidden = torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 4.0]], dtype=dtype, requires_grad=True)
    z = NoisyLatent(3, 1e-6, fixed="rows")(hidden)
    (z[0].sum() + z[1].sum()).backward()
    expected = 3**0.5 * torch.tensor([[0.0, 0.0, 0.0], [0.6, 0.0, 0.8]], dtype=dtype)
    torch.testing.assert_close(z.detach(), expected, rtol=1e-2, atol=1e-4)
    assert hidden.grad is not None
    assert not hidden.grad[0].any()
    assert 0 < hidden.grad[1].abs().max() < 1


@pytest.mark.parametrize("fixed", ["columns", "rows"])
def test_what_passes_is_below_the_capacity_and_near_it_where_noise_is_large(fixed):
    latent, hidden = NoisyLatent(3, 1.0, fixed=fixed), torch.randn(2000, 3)
    told = hidden if fixed == "columns" else hidden / hidden.norm(dim=1, keepdim=True)
    read = estimate_mutual_information(told, latent(hidden), method="nearest neighbors").value
    assert latent.capacity == pytest.approx(1.5 * math.log(2))
    assert 0.6 * latent.capacity < read < 1.1 * latent.capacity


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((3, 0.0), {}, "expected finite noise of more than 0, got 0"),
        ((3, math.nan), {}, "expected finite noise of more than 0, got nan"),
        ((1,), {"fixed": "rows"}, "expected at least 2 features .* got 1"),
    ],
)
def test_what_has_no_capacity_or_no_direction_is_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        NoisyLatent(*arguments, **options)


@pytest.mark.parametrize("fixed", ["columns", "rows"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_is_not_taken_for_noise(fixed, bad):
    hidden = torch.randn(8, 4)
    hidden[2, 1] = bad
    latent = NoisyLatent(4, fixed=fixed).eval()(hidden)
    assert not latent[2].isfinite().all()
    assert latent[:2].isfinite().all()


def test_what_is_missing_in_some_rows_changes_the_others_by_columns_alone():
    hidden, there = torch.randn(32, 4), torch.arange(32) < 8
    holes = hidden.where(there[:, None], torch.nan)
    by_rows, by_columns = (NoisyLatent(4, fixed=fixed).norm for fixed in ("rows", "columns"))
    torch.testing.assert_close(by_rows(holes)[there], by_rows(hidden)[there])
    zeros = by_columns(holes.nan_to_num(0.0))[there]
    assert zeros.square().mean() > 2 * by_columns(hidden[there]).square().mean()  # beside noise that is the same
    assert by_columns(holes).isnan().all()
    assert by_columns.running_mean.isnan().all()
