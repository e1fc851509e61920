import math
import re

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from torch import nn

from disentangle import Masked, Pairwise
from disentangle.dependence import ModalityDiscriminator, TotalCorrelationEstimator, reverse_gradient

F64 = torch.float64


def fit(estimator, draw, *, steps=400, rate=1e-2):
    """Learn on fresh rows in every step, then evaluate on rows never seen."""
    optimizer = torch.optim.Adam(estimator.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        estimator.learning_loss(*draw(512)).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return estimator(*draw(50_000)).item()


def test_reversal_changes_the_gradient_and_not_the_value():
    x = torch.randn(3, 2, dtype=F64, requires_grad=True)
    out = reverse_gradient(x, 0.3)
    assert torch.equal(out, x)
    (gradient,) = torch.autograd.grad(out.square().sum(), x)
    torch.testing.assert_close(gradient, -0.3 * 2 * x)


def test_reversal_can_be_differentiated_twice():
    x = torch.randn(3, dtype=F64, requires_grad=True)
    (gradient,) = torch.autograd.grad(reverse_gradient(x, 0.5).pow(3).sum(), x, create_graph=True)
    torch.testing.assert_close(gradient, -0.5 * 3 * x**2)
    (second,) = torch.autograd.grad(
        gradient.sum(), x
    )  # through the reversal once more: twice the sign, twice the scale
    torch.testing.assert_close(second, 0.5**2 * 6 * x)


def test_reversal_works_under_function_transforms():
    x = torch.randn(4, 3)
    gradients = torch.func.vmap(torch.func.grad(lambda row: reverse_gradient(row, 2.0).sum()))(x)
    torch.testing.assert_close(gradients, torch.full((4, 3), -2.0))


def test_one_backward_trains_the_discriminator_and_fools_it():
    encoder, discriminator = nn.Linear(4, 3), ModalityDiscriminator(3)
    inputs, y = torch.randn(8, 4), torch.randn(8, 3)
    wanted = torch.autograd.grad(discriminator.learning_loss(encoder(inputs), y), list(discriminator.parameters()))
    opposed = torch.autograd.grad(
        discriminator(encoder(inputs), y), list(encoder.parameters())
    )  # what encoders minimise
    discriminator.learning_loss(reverse_gradient(encoder(inputs)), y).backward()
    for parameter, gradient in zip(discriminator.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    for parameter, gradient in zip(encoder.parameters(), opposed, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.parametrize("k", [2, 3])
def test_the_discriminators_value_is_log_k_minus_the_cross_entropy(k):
    discriminator = ModalityDiscriminator(3, modalities=k).double()
    variables = [torch.randn(5 + m, 3, dtype=F64) for m in range(k)]  # rows of one need not belong to rows of another
    log_q = [discriminator.network(z).log_softmax(1)[:, m] for m, z in enumerate(variables)]
    entropy = -sum(row.mean() for row in log_q) / k
    torch.testing.assert_close(discriminator.learning_loss(*variables), entropy)
    torch.testing.assert_close(discriminator(*variables), math.log(k) - entropy)


def jensen_shannon(means):
    """Of normal distributions of variance one, by integration."""
    k = len(means)

    def integrand(z):
        p = [norm.pdf(z, mean) for mean in means]
        return sum(value * math.log(value / (sum(p) / k)) for value in p if value > 0) / k

    return quad(integrand, -15, 15)[0]


@pytest.mark.parametrize("means", [(0.0, 2.0), (-1.0, 0.0, 3.0)])
def test_a_fitted_discriminator_is_the_jensen_shannon_divergence_from_below(means):
    value = fit(
        ModalityDiscriminator(1, modalities=len(means)),
        lambda n: [torch.randn(n, 1) + mean for mean in means],
        steps=200,
    )
    truth = jensen_shannon(means)
    assert 0.95 * truth < value < truth + 0.01  # within the error of 50,000 rows


def test_equal_distributions_give_nothing_even_to_variables_that_determine_one_another():
    def draw(n):
        x = torch.randn(n, 2)
        return x, -x

    assert -0.01 < fit(ModalityDiscriminator(2), draw, steps=200) < 0.005


def test_the_discriminator_needs_two_variables_of_one_size():
    with pytest.raises(ValueError, match="expected at least 2 variables to tell apart, got 1"):
        ModalityDiscriminator(3, modalities=1)
    discriminator = ModalityDiscriminator(3, modalities=3)
    message = "expected 3 variables of shapes (N, 3), (N, 3), (N, 3) with N >= 1 of each, got (4, 3), (4, 3)"
    for call in (discriminator, discriminator.learning_loss):
        with pytest.raises(ValueError, match=re.escape(message)):
            call(torch.randn(4, 3), torch.randn(4, 3))


def test_the_total_correlation_is_the_mean_logit_of_rows_drawn_together():
    estimator = TotalCorrelationEstimator(3, 2, 1).double()
    x, y, z = (torch.randn(5, d, dtype=F64) for d in (3, 2, 1))
    torch.testing.assert_close(estimator(x, y, z), estimator.critic(torch.cat([x, y, z], 1)).mean())


def cross_entropy(estimator, together, apart):
    together, apart = (estimator.critic(torch.cat(rows, 1)).sigmoid() for rows in (together, apart))
    return -(together.log().mean() + (1 - apart).log().mean()) / 2


def test_two_rows_are_learned_against_their_exchange():
    estimator = TotalCorrelationEstimator(3, 2).double()
    x, y = torch.randn(2, 3, dtype=F64), torch.randn(2, 2, dtype=F64)
    expected = cross_entropy(estimator, (x, y), (x, y.flip(0)))
    torch.testing.assert_close(estimator.learning_loss(x, y), expected)


def test_independent_rows_take_every_variable_from_another_row():
    estimator = TotalCorrelationEstimator(2, 2, 2).double()
    x, y, z = torch.randn(3, 3, 2, dtype=F64)
    choices = [cross_entropy(estimator, (x, y, z), (x, y.roll(s, 0), z.roll(3 - s, 0))) for s in (1, 2)]
    losses = [estimator.learning_loss(x, y, z) for _ in range(20)]
    matches = torch.isclose(torch.stack(losses)[:, None], torch.stack(choices))
    assert matches.any(1).all()  # always one of the two ways
    assert matches.any(0).all()  # and not always the same


def test_the_permutations_follow_torchs_generator():
    estimator = TotalCorrelationEstimator(2, 2)
    x, y = torch.randn(50, 2), torch.randn(50, 2)
    losses = []
    for _ in range(2):
        torch.manual_seed(3)
        losses.append(estimator.learning_loss(x, y))
    assert torch.equal(*losses)
    assert not torch.equal(losses[0], estimator.learning_loss(x, y))


def correlated(k, rho):
    covariance = torch.full((k, k), rho) + (1 - rho) * torch.eye(k)
    factor = torch.linalg.cholesky(covariance)
    return lambda n: (torch.randn(n, k) @ factor.T).split(1, dim=1), -0.5 * torch.logdet(covariance).item()


@pytest.mark.parametrize(("k", "rho"), [(2, 0.8), (3, 0.6), (3, 0.0)])
def test_fitted_to_correlated_gaussians_it_is_their_total_correlation(k, rho):
    draw, truth = correlated(k, rho)
    value = fit(TotalCorrelationEstimator(*[1] * k), draw)
    assert value == pytest.approx(truth, abs=0.06)


def test_what_the_total_correlation_refuses():
    with pytest.raises(ValueError, match=re.escape("expected the sizes of at least 2 variables, got (3,)")):
        TotalCorrelationEstimator(3)
    estimator = TotalCorrelationEstimator(3, 2)
    wanted = "expected 2 variables of shapes (N, 3), (N, 2) with the same N >= 1, got "
    for shapes in ([(4, 3), (4, 3)], [(4, 3), (5, 2)], [(0, 3), (0, 2)], [(3,), (2,)]):
        for call in (estimator, estimator.learning_loss):
            with pytest.raises(ValueError, match=re.escape(wanted + ", ".join(map(str, shapes)))):
                call(*(torch.randn(shape) for shape in shapes))
    with pytest.raises(ValueError, match=re.escape(f"{wanted}a masked sequence, (4, 2)")):
        estimator(Masked(torch.randn(4, 5, 3), torch.ones(4, 5, dtype=torch.bool)), torch.randn(4, 2))
    message = "expected at least 2 rows, as many as variables, got 1"
    with pytest.raises(ValueError, match=re.escape(message)):
        estimator.learning_loss(torch.randn(1, 3), torch.randn(1, 2))


ESTIMATORS = [ModalityDiscriminator(4), TotalCorrelationEstimator(4, 4)]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_gradients_are_those_of_the_values(estimator):
    torch.manual_seed(0)
    estimator = type(estimator)(2, 2, hidden_dim=3).double()
    x, y = (torch.randn(5, 2, dtype=F64, requires_grad=True) for _ in range(2))

    def learning_loss(x, y):
        torch.manual_seed(0)
        return estimator.learning_loss(x, y)

    assert torch.autograd.gradcheck(estimator, (x, y))
    assert torch.autograd.gradcheck(learning_loss, (x, y))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("scale", [0.0, 1e-20, 1e20])
@pytest.mark.parametrize("n", [2, 12])
def test_values_and_gradients_are_finite_at_every_scale(estimator, scale, n):
    x = (scale * torch.randn(n, 4)).requires_grad_()
    for call in (estimator, estimator.learning_loss):
        value = call(x, torch.ones(n, 4))
        assert value.isfinite()
        for gradient in torch.autograd.grad(value, (x, *estimator.parameters()), allow_unused=True):
            assert gradient is None or gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_autocast_computes_in_bfloat16_and_reduces_in_float32(estimator, dtype):
    x, y = torch.randn(2, 32, 4).to(dtype)

    def values():
        torch.manual_seed(0)
        return estimator(x, y), estimator.learning_loss(x, y)

    with torch.autocast("cpu", torch.bfloat16):
        low = values()
    for value, exact in zip(low, values(), strict=True):
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, exact, rtol=0.05, atol=0.02)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_they_take_part_in_pairs(estimator):
    pairs = Pairwise({("L", "S"): estimator})
    variables = {"L": torch.randn(8, 4), "S": torch.randn(8, 4)}
    torch.manual_seed(0)
    learned = pairs.learning_loss(variables)
    torch.manual_seed(0)
    assert learned is not None
    torch.testing.assert_close(learned, estimator.learning_loss(variables["L"], variables["S"]))
    assert list(pairs(variables)) == [f"{estimator.label}(L;S)"]


@pytest.mark.cuda
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_adversaries_agree_with_the_cpu_on_cuda(estimator, cuda):
    x, y = torch.randn(64, 4), torch.randn(64, 4)
    torch.manual_seed(0)
    here = estimator(x, y), estimator.learning_loss(x, y)
    torch.manual_seed(0)
    estimator = estimator.to(cuda)
    there = estimator(x.to(cuda), y.to(cuda)), estimator.learning_loss(x.to(cuda), y.to(cuda))
    estimator.cpu()
    for a, b in zip(there, here, strict=True):
        torch.testing.assert_close(a.cpu(), b, rtol=1e-4, atol=1e-5)
