import functools
import math

import pytest
import torch
from torch.nn import functional as F

from disentangle.information.copula import EllipticalCopula
from disentangle.information.correction import Fold, StackedCritic, fit_correction, noise_contrastive_losses


def draw(rows, seed, curve=False):
    x, noise = torch.randn(2, rows, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if curve:
        return x, (x**2 - 1 + 0.5 * noise) / 1.5
    return x, 0.6 * x + 0.8 * noise


def fold_of(seed, train=160, valid=100, test=200, curve=False):
    x, y = draw(train + valid + test, seed, curve)
    copula = EllipticalCopula(x[: train + valid], y[: train + valid], math.inf)
    parts = [2 * copula.coordinates(a, b) for a, b in zip(x.split([train, valid, test]), y.split([train, valid, test]),
                                                         strict=True)]  # fmt: skip
    return Fold(copula, *parts)


def fitted(folds, seed=0, steps=150):
    return fit_correction(folds, torch.Generator().manual_seed(seed), steps)


@functools.cache
def fitted_to_curves(*seeds):
    return fitted([fold_of(seed, curve=True) for seed in seeds])


@pytest.mark.parametrize("shape", [(2, 2), (7, 7), (3, 5, 5)])
def test_loss_is_that_of_a_loop_over_pairs(shape):
    scores = torch.randn(shape, dtype=torch.float64)
    n = shape[-1]

    def loop(table):
        total = 0.0
        for i in range(n):
            for j in range(n):
                odds = math.exp(table[i][j]) / (n - 1)  # of a pair that belongs together, one in n
                total -= math.log(odds / (1 + odds)) if i == j else math.log(1 / (1 + odds))
        return total / n

    expected = torch.tensor([loop(table) for table in scores.reshape(-1, n, n).tolist()], dtype=torch.float64)
    torch.testing.assert_close(noise_contrastive_losses(scores).mean(-1), expected.reshape(shape[:-2]))


def test_loss_has_the_right_gradient():
    scores = torch.randn(2, 5, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(noise_contrastive_losses, scores)


def test_loss_is_lowest_at_the_true_log_density_ratio():
    x, y = draw(1500, 0)
    y = y[:, 0]
    truth = torch.distributions.Normal(0.6 * x, 0.8).log_prob(y) - torch.distributions.Normal(0.0, 1.0).log_prob(y)
    lowest = noise_contrastive_losses(truth).mean()
    for other in (
        truth + 0.3,
        truth - 0.3,
        1.3 * truth,
        0.7 * truth,
        truth + 0.3 * x,
        truth + 0.3 * (y**2 - 1),
        0 * truth,
    ):
        assert noise_contrastive_losses(other).mean() > lowest + 0.003


def test_critic_is_an_inner_product_and_a_term_of_each_side():
    critic = StackedCritic(2, 3, 1, torch.Generator().manual_seed(0))
    for p in critic.parameters():
        torch.nn.init.normal_(p, std=0.3)
    u, v = torch.randn(2, 5, 3), torch.randn(2, 4, 1)
    scores = critic(u, v)
    assert scores.shape == (2, 5, 4)
    one_by_one = torch.stack([critic(u[:, i : i + 1], v[:, j : j + 1])[:, 0, 0] for i in range(5) for j in range(4)], 1)
    torch.testing.assert_close(scores.flatten(1), one_by_one, rtol=1e-5, atol=1e-4)


def test_critic_starts_close_to_nothing():
    critic = StackedCritic(1, 2, 2, torch.Generator().manual_seed(0))
    assert critic(torch.randn(1, 50, 2), torch.randn(1, 50, 2)).abs().max() < 0.5


def test_a_fold_depends_on_its_own_parameters_alone():
    critic = StackedCritic(3, 2, 2, torch.Generator().manual_seed(0))
    u, v = torch.randn(3, 6, 2), torch.randn(3, 6, 2)
    for i in range(3):
        critic.zero_grad()
        critic(u, v)[i].square().sum().backward()
        for p in critic.parameters():
            others = [j for j in range(3) if j != i]
            assert p.grad is not None
            assert (p.grad[others] == 0).all()
        weights = (*critic.of_u.weights, *critic.of_v.weights)
        assert all(w.grad is not None and w.grad[i].abs().sum() > 0 for w in weights)


@pytest.mark.slow
def test_a_fold_is_fitted_as_if_it_were_with_any_other():
    pairs = [fitted_to_curves(0, seed) for seed in (1, 2)]
    # the folds share the generator, and the step at which all of them stop
    torch.testing.assert_close(pairs[0].base[0], pairs[1].base[0], rtol=0, atol=0)
    gains = [(p.corrected[0].mean() - p.corrected_normalizer[0]).item() for p in pairs]
    assert gains[0] == pytest.approx(gains[1], abs=0.05)


def test_where_the_copula_is_true_a_critic_adds_nothing():
    found = fitted([fold_of(seed) for seed in range(2)])
    gain = found.corrected - found.base
    assert gain.mean() <= 2 * gain.std() / gain.numel() ** 0.5
    assert gain.mean().abs() < 0.03
    value = (found.base.mean(1) - found.base_normalizer).mean().item()
    assert value == pytest.approx(-math.log(0.8), abs=0.08)


def test_a_critic_finds_a_curve_that_the_copula_does_not():
    found = fitted_to_curves(0, 1)
    assert (found.base.mean(1) - found.base_normalizer).abs().max() < 0.05
    bound = (found.corrected.mean(1) - found.corrected_normalizer).mean()
    assert 0.4 < bound < 0.9


def test_the_critic_does_not_see_test_rows():
    fold, other = fold_of(0, curve=True), fold_of(1, curve=True)
    order = torch.randperm(200)
    moved = fold._replace(test=tuple(torch.cat([t[order[:120]], 3 * o[:80]]) for t, o in zip(fold.test, other.test,
                                                                                          strict=True)))  # fmt: skip
    first, second = fitted([fold]), fitted([moved])
    assert (first.corrected - first.base).abs().max() > 0.1  # there is a critic
    torch.testing.assert_close(second.base[:, :120], first.base[:, order[:120]])
    torch.testing.assert_close(second.corrected[:, :120], first.corrected[:, order[:120]], rtol=1e-5, atol=1e-5)


def test_the_normalizer_is_over_pairs_that_do_not_belong_together():
    fold = fold_of(0, test=30)
    found = fitted([fold])
    scores = fold.copula.scores(fold.test[2].float(), fold.test[3].float()).double()
    apart = [scores[i, j].exp().item() for i in range(30) for j in range(30) if i != j]
    assert found.base_normalizer.item() == pytest.approx(math.log(sum(apart) / len(apart)), abs=1e-5)


def test_in_no_steps_all_is_the_copulas():
    found = fitted([fold_of(0, curve=True)], steps=0)
    torch.testing.assert_close(found.corrected, found.base)
    torch.testing.assert_close(found.corrected_normalizer, found.base_normalizer)


def test_correction_is_decided_by_its_generator():
    fold = fold_of(0, curve=True)
    first, again, other = (fitted([fold], seed).corrected for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert F.mse_loss(first, other) < 1
