import inspect
import math
import re

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal

from disentangle import Masked, functional
from disentangle.conditionals import (
    CategoricalConditional,
    FullGaussianConditional,
    GaussianConditional,
    MaskedConditional,
    MixtureConditional,
)
from disentangle.nn import SequenceEncoder

F64 = torch.float64
CONTINUOUS = [GaussianConditional, FullGaussianConditional, MixtureConditional]


def by_hand(network, x):
    """A network of two layers."""
    first, _, second = network
    return (x @ first.weight.T + first.bias).clamp(min=0) @ second.weight.T + second.bias


def fit(q, x, y, steps, rate=1e-2):
    optimizer = torch.optim.Adam(q.parameters(), rate)
    for _ in range(steps):
        optimizer.zero_grad()
        (-q(x).log_prob(y).mean()).backward()
        optimizer.step()
    with torch.no_grad():
        return q(x).log_prob(y).mean().item()


@pytest.mark.parametrize("log_variance", ["free", "tanh", "zero"])
def test_the_diagonal_gaussian_is_a_two_layer_network_by_hand(log_variance):
    q = GaussianConditional(3, 2, hidden_dim=5, log_variance=log_variance).double()
    x, y = torch.randn(4, 3, dtype=F64), torch.randn(4, 2, dtype=F64)
    out = by_hand(q.network, x)
    mean = out[:, :2]
    log_var = {"free": out[:, 2:], "tanh": torch.tanh(out[:, 2:]), "zero": torch.zeros(4, 2, dtype=F64)}[log_variance]
    expected = -0.5 * ((y - mean) ** 2 / log_var.exp() + log_var + math.log(2 * math.pi)).sum(1)
    torch.testing.assert_close(q(x).log_prob(y), expected)


def test_with_a_variance_of_one_only_the_mean_is_learned():
    assert GaussianConditional(3, 2, log_variance="zero").network[2].out_features == 2


def test_an_unknown_form_of_the_log_variance_is_refused():
    unchecked = inspect.unwrap(GaussianConditional.__init__)  # the tests' own type check would come first
    with pytest.raises(ValueError, match="expected log_variance 'free', 'tanh' or 'zero', got 'sigmoid'"):
        unchecked(GaussianConditional.__new__(GaussianConditional), 3, 2, log_variance="sigmoid")


@pytest.mark.parametrize("d", [1, 3])
def test_the_full_gaussian_has_a_factor_with_a_positive_diagonal(d):
    q = FullGaussianConditional(2, d, hidden_dim=5).double()
    x, y = torch.randn(4, 2, dtype=F64), torch.randn(4, d, dtype=F64)
    out = by_hand(q.network, x)
    factor = torch.zeros(4, d, d, dtype=F64)
    for row in range(4):
        values = iter(out[row, 2 * d :])
        for i in range(d):
            factor[row, i, i] = math.log1p(math.exp(out[row, d + i].item()))
            for j in range(i):
                factor[row, i, j] = next(values)
    expected = MultivariateNormal(out[:, :d], factor @ factor.mT).log_prob(y)
    torch.testing.assert_close(q(x).log_prob(y), expected)


def test_the_mixture_is_a_weighted_sum_of_densities():
    q = MixtureConditional(2, 3, hidden_dim=5, components=2).double()
    x, y = torch.randn(4, 2, dtype=F64), torch.randn(4, 3, dtype=F64)
    out = by_hand(q.network, x).reshape(4, 2, 7)
    weights = out[..., 6].softmax(1)
    densities = Normal(out[..., :3], (0.5 * out[..., 3:6]).exp()).log_prob(y[:, None]).sum(2).exp()
    torch.testing.assert_close(q(x).log_prob(y), (weights * densities).sum(1).log())
    assert isinstance(q(x), MixtureSameFamily)


@pytest.mark.parametrize("dtype", [torch.long, torch.float32])
def test_columns_of_classes_are_independent_and_come_as_any_number(dtype):
    q = CategoricalConditional(3, 4, hidden_dim=5, y_dim=2).double()
    x, y = torch.randn(6, 3, dtype=F64), torch.randint(0, 4, (6, 2)).to(dtype)
    log_p = by_hand(q.network, x).reshape(6, 2, 4).log_softmax(2)
    expected = torch.stack([log_p[i, 0, int(y[i, 0])] + log_p[i, 1, int(y[i, 1])] for i in range(6)])
    torch.testing.assert_close(q(x).log_prob(y), expected)
    assert isinstance(q(x), Independent)
    assert isinstance(q(x).base_dist, Categorical)


@pytest.mark.parametrize("make", CONTINUOUS)
def test_parameters_and_inputs_have_correct_gradients(make):
    q = make(2, 2, hidden_dim=3).double()
    x, y = (torch.randn(3, 2, dtype=F64, requires_grad=True) for _ in range(2))
    parameters = list(q.parameters())
    assert torch.autograd.gradcheck(lambda x, y, *_: q(x).log_prob(y), (x, y, *parameters))


@pytest.mark.parametrize("make", CONTINUOUS)
def test_all_pairs_and_the_closed_forms_agree_for_what_a_network_gives(make):
    q = make(2, 3).double()(torch.randn(5, 2, dtype=F64))
    y = torch.randn(5, 3, dtype=F64)
    pairs = torch.stack([q.log_prob(row.expand_as(y)) for row in y], dim=1)
    torch.testing.assert_close(functional.club(q, y), pairs.diag().mean() - pairs.mean())


def test_a_full_covariance_fits_features_that_depend_on_one_another_and_a_diagonal_one_cannot():
    x = torch.randn(1000, 1)
    noise = torch.randn(1000, 1)
    y = torch.cat([x + noise, x - noise + 0.1 * torch.randn(1000, 1)], 1)
    full = fit(FullGaussianConditional(1, 2), x, y, 300)
    diagonal = fit(GaussianConditional(1, 2), x, y, 300)
    entropy = math.log(2 * math.pi * math.e) + 0.5 * math.log(0.1**2)  # of (noise, -noise + 0.1 more)
    assert full == pytest.approx(-entropy, abs=0.15)
    assert full > diagonal + 1


def test_a_mixture_fits_two_modes_and_one_gaussian_cannot():
    x = torch.randn(1000, 1)
    sign = torch.randint(0, 2, (1000, 1)) * 2 - 1
    y = 3 * sign + x + 0.1 * torch.randn(1000, 1)
    mixture, gaussian = (fit(make(1, 1), x, y, 300) for make in (MixtureConditional, GaussianConditional))
    entropy = math.log(2) + 0.5 * math.log(2 * math.pi * math.e * 0.1**2)
    assert mixture == pytest.approx(-entropy, abs=0.2)
    assert mixture > gaussian + 1


def sequences():
    return Masked(torch.randn(5, 7, 3), torch.arange(7) < torch.tensor([[7], [3], [1], [0], [5]]))


def test_a_masked_conditional_sees_the_mean_over_the_real_steps():
    q, x, y = MaskedConditional(GaussianConditional(3, 2)), sequences(), torch.randn(5, 2)
    padding = Masked(torch.where(x.mask[..., None], x.values, math.nan), x.mask)
    expected = q.conditional(x.mean()).log_prob(y)
    torch.testing.assert_close(q(padding).log_prob(y), expected)


def test_a_masked_conditional_sees_what_a_given_encoder_makes_which_learns_with_it():
    encoder = SequenceEncoder(3, 4)
    q, x, y = MaskedConditional(GaussianConditional(4, 2), encoder), sequences(), torch.randn(5, 2)
    torch.testing.assert_close(q(x).log_prob(y), q.conditional(encoder(*x)).log_prob(y))
    q(x).log_prob(y).sum().backward()
    learning = {id(p) for p in q.parameters()}
    for parameter in encoder.parameters():
        assert id(parameter) in learning
        assert parameter.grad.abs().sum() > 0


def test_sequences_in_half_precision_are_encoded_in_that_of_the_encoder():
    x, y = sequences(), torch.randn(5, 2)
    low = Masked(x.values.bfloat16(), x.mask)
    for q in (
        MaskedConditional(GaussianConditional(4, 2), SequenceEncoder(3, 4)),
        MaskedConditional(GaussianConditional(3, 2)),
    ):
        expected = q(Masked(low.values.float(), x.mask)).log_prob(y)
        torch.testing.assert_close(q(low).log_prob(y), expected, rtol=0.02, atol=0.02)


def test_a_plain_function_can_encode_too():
    q = MaskedConditional(GaussianConditional(3, 2), lambda values, mask: values[:, 0])
    x, y = sequences(), torch.randn(5, 2)
    torch.testing.assert_close(q(x).log_prob(y), q.conditional(x.values[:, 0]).log_prob(y))


def test_a_masked_conditional_refuses_a_tensor():
    q = MaskedConditional(GaussianConditional(3, 2))
    with pytest.raises(ValueError, match=re.escape("expected a masked sequence, got a tensor of shape (5, 3)")):
        q(torch.randn(5, 3))


@pytest.mark.parametrize("make", CONTINUOUS)
def test_autocast_computes_in_bfloat16_and_gives_likelihoods_in_float32(make):
    q, x, y = make(3, 2), torch.randn(5, 3), torch.randn(5, 2)
    with torch.autocast("cpu", torch.bfloat16):
        low = q(x).log_prob(y)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, q(x).log_prob(y), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("make", [*CONTINUOUS, lambda x_dim, _: CategoricalConditional(x_dim, 4)])
def test_a_state_dict_brings_a_conditional_back(make):
    q, other, x = make(3, 2), make(3, 2), torch.randn(5, 3)
    y = torch.ones(5, 2 if isinstance(q, tuple(CONTINUOUS)) else 1)
    assert not torch.equal(q(x).log_prob(y), other(x).log_prob(y))
    other.load_state_dict(q.state_dict())
    torch.testing.assert_close(q(x).log_prob(y), other(x).log_prob(y))


def test_extreme_outputs_leave_the_full_gaussian_finite():
    q = FullGaussianConditional(2, 2)
    nn.init.constant_(q.network[2].bias, -200.0)  # softplus underflows
    x = torch.zeros(3, 2)
    assert q(x).log_prob(torch.full((3, 2), -200.0)).isfinite().all()


@pytest.mark.parametrize("make", CONTINUOUS)
def test_nothing_reads_a_value_back_to_the_host(make):
    with FakeTensorMode():  # tensors without values: reading one raises
        q, y = make(3, 2)(torch.randn(5, 3)), torch.zeros(5, 2)
        functional.club(q, y).backward()
        functional.leave_one_out(functional.log_likelihoods(q, y))
