import math
import re

import pytest
import torch

from disentangle import Masked
from disentangle.conditionals import CategoricalConditional, GaussianConditional, MaskedConditional
from disentangle.dependence import (
    BarberAgakovEstimator,
    CLUBEstimator,
    Dependence,
    InfoNCEEstimator,
    ModalityDiscriminator,
    OrthogonalLoss,
    ScaleInvariant,
)


class Recorder(Dependence):
    """Keeps what it was given."""

    label = "seen"

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, x, y):
        self.x, self.y = x, y
        return self.weight * (0 * y).sum()

    def learning_loss(self, x, y):
        return self(x, y)


def mixed(n, d):
    """Correlated columns of different units and offsets."""
    return 10.0 ** torch.arange(-d // 2, -d // 2 + d) * (torch.randn(n, d) @ torch.randn(d, d) + 5)


def test_the_first_batch_is_standardized_by_its_own_statistics():
    wrapper = ScaleInvariant(Recorder(), 3, 2)
    x, y = mixed(50, 3), mixed(50, 2)
    wrapper.learning_loss(x, y)
    for seen, given in ((wrapper.dependence.x, x), (wrapper.dependence.y, y)):
        torch.testing.assert_close(seen, (given - given.mean(0)) / given.std(0), rtol=1e-4, atol=1e-4)


def test_whitening_takes_the_correlations_away_too():
    wrapper = ScaleInvariant(Recorder(), 4, 3, whiten=True)
    x, y = mixed(400, 4), mixed(400, 3)
    wrapper.learning_loss(x, y)
    for seen in (wrapper.dependence.x, wrapper.dependence.y):
        d = seen.shape[1]
        torch.testing.assert_close(seen.mean(0), torch.zeros(d), rtol=0, atol=1e-2)
        torch.testing.assert_close(seen.T.cov(), torch.eye(d), rtol=0, atol=0.1)  # up to the ridge


def test_whitening_is_linear_and_can_be_undone():
    wrapper = ScaleInvariant(Recorder(), 3, 3, whiten=True)
    x = mixed(100, 3)
    wrapper.learning_loss(x, x)
    white = wrapper.dependence.x
    ones = torch.cat([white, torch.ones(100, 1)], 1)
    rebuilt = ones @ torch.linalg.lstsq(ones, x).solution
    torch.testing.assert_close(rebuilt / x.std(0), x / x.std(0), rtol=1e-2, atol=1e-2)


def test_before_the_first_batch_it_changes_nothing():
    wrapper = ScaleInvariant(Recorder(), 3, 2)
    x, y = torch.randn(5, 3), torch.randn(5, 2)
    wrapper(x, y)
    assert torch.equal(wrapper.dependence.x, x)
    assert torch.equal(wrapper.dependence.y, y)


@pytest.mark.parametrize("whiten", [False, True])
def test_statistics_are_the_mean_over_batches_and_then_a_moving_average(whiten):
    momentum = 0.25
    wrapper = ScaleInvariant(Recorder(), 2, 2, whiten=whiten, momentum=momentum)
    mean, spread = torch.zeros(2), torch.zeros(2, 2) if whiten else torch.zeros(2)
    for k in range(1, 9):
        x = mixed(20, 2)
        wrapper.learning_loss(x, x)
        rate = max(1 / k, momentum)
        mean = (1 - rate) * mean + rate * x.mean(0)
        spread = (1 - rate) * spread + rate * (x.T.cov() if whiten else x.var(0))
        torch.testing.assert_close(wrapper.x_moments.mean, mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(wrapper.x_moments.spread, spread, rtol=1e-4, atol=1e-5)


def test_statistics_stay_in_eval_mode_and_in_forward_and_are_saved():
    wrapper = ScaleInvariant(CLUBEstimator(3, 2), 3, 2)
    x, y = mixed(20, 3), mixed(20, 2)
    wrapper.learning_loss(x, y)
    state = {name: t.clone() for name, t in wrapper.state_dict().items()}
    wrapper(2 * x, y)
    wrapper.eval()
    wrapper.learning_loss(2 * x, y)
    assert all(torch.equal(t, state[name]) for name, t in wrapper.state_dict().items())
    other = ScaleInvariant(CLUBEstimator(3, 2), 3, 2)
    other.load_state_dict(state)
    assert torch.equal(other(x, y), wrapper(x, y))


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("make", [lambda: CLUBEstimator(2, 2, log_variance="tanh"), lambda: InfoNCEEstimator(2, 2)])
def test_the_result_does_not_depend_on_the_unit_or_the_offset_of_x_and_y(make, whiten):
    x = torch.randn(64, 2)
    y = x @ torch.randn(2, 2) + 0.5 * torch.randn(64, 2)

    def result(x, y):
        torch.manual_seed(0)
        wrapper = ScaleInvariant(make(), 2, 2, whiten=whiten)
        optimizer = torch.optim.Adam(wrapper.parameters(), 1e-2)
        for _ in range(20):
            optimizer.zero_grad()
            wrapper.learning_loss(x, y).backward()
            optimizer.step()
        return wrapper(x, y)

    plain = result(x, y)
    assert plain > 0.1
    torch.testing.assert_close(result(x, 1e3 * y), plain, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(result(1e-3 * x, y), plain, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(result(x + 10, y * torch.tensor([1e2, 1e-2]) - 5), plain, rtol=5e-3, atol=5e-3)


def test_gradients_reach_x_and_y_in_their_own_units():
    wrapper = ScaleInvariant(CLUBEstimator(3, 2), 3, 2)
    x, y = mixed(20, 3), mixed(20, 2)
    wrapper.learning_loss(x, y)
    x_unit, y_unit = wrapper.x_moments.spread.sqrt(), wrapper.y_moments.spread.sqrt()
    inputs = [x.requires_grad_(), y.requires_grad_()]
    plain = [
        ((t - m.mean) / m.spread.sqrt()).detach()
        for t, m in zip(inputs, (wrapper.x_moments, wrapper.y_moments), strict=True)
    ]
    plain = [t.requires_grad_() for t in plain]
    got = torch.autograd.grad(wrapper(*inputs), inputs)
    expected = torch.autograd.grad(wrapper.dependence(*plain), plain)
    for gradient, inner, unit in zip(got, expected, (x_unit, y_unit), strict=True):
        torch.testing.assert_close(gradient * unit, inner, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("offset", [0.0, 1e-3, 12345.678, -1e6])
def test_a_constant_column_is_centered_and_stays_finite(whiten, offset):
    wrapper = ScaleInvariant(Recorder(), 3, 2, whiten=whiten)
    x, y = mixed(50, 3), mixed(50, 2)
    x[:, 1], y[:, 0] = offset, 7.0
    for _ in range(3):
        wrapper.learning_loss(x, y)
    assert wrapper.dependence.x.isfinite().all()
    assert wrapper.dependence.x[:, 1].abs().max() <= 1e-6 * abs(offset) + 0.05
    assert wrapper.dependence.y.isfinite().all()


def test_whitening_fewer_rows_than_features_stays_finite():
    wrapper = ScaleInvariant(Recorder(), 8, 8, whiten=True)
    x = torch.randn(3, 8)
    wrapper.learning_loss(x, x)
    wrapper(torch.randn(50, 8), torch.randn(50, 8))
    assert wrapper.dependence.x.isfinite().all()
    assert wrapper.dependence.x.abs().max() < 1e3


def test_a_masked_x_is_standardized_over_its_real_steps():
    wrapper = ScaleInvariant(Recorder(), 3, 2)
    mask = torch.arange(6) < torch.tensor([[6], [2], [4], [1]])
    values = torch.where(mask[..., None], torch.randn(4, 6, 3) * 100 + 3, math.nan)
    wrapper.learning_loss(Masked(values, mask), torch.randn(4, 2))
    real, seen = values[mask], wrapper.dependence.x
    torch.testing.assert_close(seen.values[mask], (real - real.mean(0)) / real.std(0), rtol=1e-4, atol=1e-4)
    assert torch.equal(seen.mask, mask)


def test_a_masked_x_reaches_a_masked_conditional():
    conditional = MaskedConditional(GaussianConditional(3, 2))
    wrapper = ScaleInvariant(CLUBEstimator(3, 2, conditional=conditional), 3, 2)
    x = Masked(torch.randn(5, 4, 3), torch.ones(5, 4, dtype=torch.bool))
    assert wrapper.learning_loss(x, torch.randn(5, 2)).isfinite()
    assert wrapper(x, torch.randn(5, 2)).isfinite()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("whiten", [False, True])
def test_values_keep_their_own_precision_and_statistics_are_float32(dtype, whiten):
    wrapper = ScaleInvariant(Recorder(), 3, 2, whiten=whiten)
    wrapper.learning_loss(torch.randn(50, 3, dtype=dtype), torch.randn(50, 2, dtype=dtype))
    assert wrapper.dependence.x.dtype == dtype
    assert wrapper.x_moments.mean.dtype == torch.float32


def test_what_has_nothing_to_learn_is_refused():
    message = "expected a dependence that learns, got OrthogonalLoss, which has no parameters"
    with pytest.raises(ValueError, match=re.escape(message)):
        ScaleInvariant(OrthogonalLoss(), 3, 3)


def test_classes_that_are_predicted_are_refused_behind_a_sequence_too():
    q = MaskedConditional(CategoricalConditional(3, 4))
    with pytest.raises(ValueError, match="expected a dependence of numbers, got a CLUBEstimator of classes"):
        ScaleInvariant(CLUBEstimator(3, 1, conditional=q), 3, 1)


@pytest.mark.parametrize(
    "make", [lambda: BarberAgakovEstimator(3, 1, entropy=1.0), lambda: ModalityDiscriminator(3, 2)]
)
def test_what_depends_on_units_is_refused(make):
    dependence = make()
    name = type(dependence).__name__
    message = f"expected a dependence whose value does not depend on units, got {name}: give it x and y as they are"
    with pytest.raises(ValueError, match=message):
        ScaleInvariant(dependence, 3, 1)


@pytest.mark.parametrize("momentum", [0.0, 1.5])
def test_a_momentum_out_of_range_is_refused(momentum):
    with pytest.raises(ValueError, match=re.escape(f"expected a momentum in (0, 1], got {momentum}")):
        ScaleInvariant(CLUBEstimator(3, 3), 3, 3, momentum=momentum)
