import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import (
    Categorical,
    Independent,
    LowRankMultivariateNormal,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from disentangle import functional

F64 = torch.float64


def distributions(n, d, classes=4):
    """One of each kind, for n rows."""
    mean, scale = torch.randn(n, d, dtype=F64), torch.rand(n, d, dtype=F64) + 0.3
    factor = torch.eye(d, dtype=F64) + 0.3 * torch.randn(n, d, d, dtype=F64).tril(-1)
    components = Independent(Normal(torch.randn(n, 2, d, dtype=F64), torch.rand(n, 2, d, dtype=F64) + 0.3), 1)
    return {
        "gaussian": Independent(Normal(mean, scale), 1),
        "full": MultivariateNormal(mean, scale_tril=factor),
        "low rank": LowRankMultivariateNormal(mean, torch.randn(n, d, 1, dtype=F64), scale),
        "mixture": MixtureSameFamily(Categorical(logits=torch.randn(n, 2, dtype=F64)), components),
        "categorical": Independent(Categorical(logits=torch.randn(n, d, classes, dtype=F64)), 1),
    }


def by_pairs(q, y):
    """log q(y_j | x_i), one y at a time."""
    return torch.stack([q.log_prob(row.expand_as(y)) for row in y], dim=1)


@pytest.mark.parametrize("kind", list(distributions(2, 2)))
@pytest.mark.parametrize(("n", "d"), [(2, 1), (6, 3)])
def test_rows_belong_to_x_and_columns_to_y_for_every_kind(kind, n, d):
    q = distributions(n, d)[kind]
    y = torch.randint(0, 4, (n, d)).to(F64) if kind == "categorical" else torch.randn(n, d, dtype=F64)
    torch.testing.assert_close(functional.log_likelihoods(q, y), by_pairs(q, y))


def test_the_product_of_gaussians_has_correct_gradients_although_its_center_and_unit_have_none():
    inputs = [torch.randn(4, 2, dtype=F64), torch.rand(4, 2, dtype=F64) + 0.5, torch.randn(4, 2, dtype=F64)]

    def matrix(mean, scale, y):
        return functional.log_likelihoods(Independent(Normal(mean, scale), 1), y)

    inputs = [t.requires_grad_() for t in inputs]
    assert torch.autograd.gradcheck(matrix, inputs)
    assert torch.autograd.gradgradcheck(matrix, inputs)


@given(offset=st.floats(-1e3, 1e3), factor=st.floats(1e-12, 1e12))
@settings(max_examples=50, deadline=None)
def test_the_product_of_gaussians_keeps_its_precision_at_any_offset_and_unit(offset, factor):
    generator = torch.Generator().manual_seed(2)
    mean, y = (factor * (offset + torch.randn(8, 3, generator=generator)) for _ in range(2))
    scale = factor * (0.5 + torch.rand(8, 3, generator=generator))
    q = Independent(Normal(mean, scale), 1)
    exact = by_pairs(Independent(Normal(mean.to(F64), scale.to(F64)), 1), y.to(F64))
    torch.testing.assert_close(functional.log_likelihoods(q, y).to(F64), exact, rtol=1e-4, atol=1e-4)


def test_matched_pairs_are_exact_where_the_product_is_not():
    mean = 100 * torch.randn(64, 8)
    scale = torch.full((64, 8), 1e-3)
    y = mean + 1e-3 * torch.randn(64, 8)
    q = Independent(Normal(mean, scale), 1)
    torch.testing.assert_close(functional.log_likelihoods(q, y).diagonal(), q.log_prob(y))


def test_a_constant_column_is_no_division_by_zero():
    y = torch.randn(5, 2)
    y[:, 0] = 3.0
    mean = torch.randn(5, 2, requires_grad=True)
    q = Independent(Normal(mean, torch.ones(5, 2)), 1)
    log_q = functional.log_likelihoods(q, y)
    torch.testing.assert_close(log_q, by_pairs(q, y))
    assert torch.autograd.grad(log_q.sum(), mean)[0].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_reduced_in_float32_also_under_autocast(dtype):
    mean, y = torch.randn(40, 8).to(dtype), torch.randn(40, 8).to(dtype)
    q = Independent(Normal(mean, torch.ones(40, 8, dtype=dtype)), 1)
    exact = by_pairs(Independent(Normal(mean.to(F64), torch.ones(40, 8, dtype=F64)), 1), y.to(F64))
    with torch.autocast("cpu", torch.bfloat16):
        log_q = functional.log_likelihoods(q, y)
    assert log_q.dtype == torch.float32
    torch.testing.assert_close(log_q.to(F64), exact, rtol=1e-4, atol=1e-4)
