import math

import numpy as np
import pytest
import torch
from scipy import stats

from disentangle.information.copula import EllipticalCopula, quantiles, uniform_ranks

F64 = torch.float64


def student(rng, rows, scatter, nu):
    z = rng.multivariate_normal(np.zeros(len(scatter)), scatter, rows)
    return z if math.isinf(nu) else z / np.sqrt(rng.chisquare(nu, (rows, 1)) / nu)


def scatter_of(p, q, seed=0):
    factor = np.random.default_rng(seed).standard_normal((p + q, p + q)) + 2 * np.eye(p + q)
    return factor @ factor.T


@pytest.mark.parametrize("nu", [1.0, 3.0, 8.0, math.inf])
@pytest.mark.parametrize(("p", "q"), [(1, 1), (2, 3), (4, 1)])
def test_scores_are_the_log_density_ratio_of_the_distribution_that_was_drawn(nu, p, q):
    rng, scatter = np.random.default_rng(1), scatter_of(p, q)
    z = student(rng, 50_000, scatter, nu)
    copula = EllipticalCopula(torch.tensor(z[:, :p]), torch.tensor(z[:, p:]), nu)
    x, y = student(rng, 20, scatter, nu)[:, :p], student(rng, 30, scatter, nu)[:, p:]
    found = copula.scores(*copula.coordinates(torch.tensor(x), torch.tensor(y)))
    df = np.inf if math.isinf(nu) else nu
    joint, of_x, of_y = (stats.multivariate_t(shape=s, df=df) for s in (scatter, scatter[:p, :p], scatter[p:, p:]))
    pairs = np.concatenate([np.repeat(x, 30, 0), np.tile(y, (20, 1))], 1)
    expected = joint.logpdf(pairs).reshape(20, 30) - of_x.logpdf(x).reshape(20, 1) - of_y.logpdf(y).reshape(1, 30)
    np.testing.assert_allclose(found.numpy(), expected, atol=0.1, rtol=0.05)


@pytest.mark.parametrize("nu", [1.0, 2.0, 5.0, math.inf])
def test_information_is_the_mean_log_density_ratio(nu):
    rng, scatter = np.random.default_rng(2), scatter_of(2, 2, 3)
    z = torch.tensor(student(rng, 50_000, scatter, nu))
    copula = EllipticalCopula(z[:, :2], z[:, 2:], nu)
    fresh = torch.tensor(student(rng, 50_000, scatter, nu))
    u, v = copula.coordinates(fresh[:, :2], fresh[:, 2:])
    terms = torch.cat([copula.scores(a, b).diagonal() for a, b in zip(u.split(500), v.split(500), strict=True)])
    assert copula.information(50_000) == pytest.approx(terms.mean().item(), abs=5 * terms.std().item() / 50_000**0.5)


def test_one_set_of_canonical_coordinates_serves_any_invertible_map():
    rng = np.random.default_rng(0)
    z = torch.tensor(student(rng, 500, scatter_of(3, 2), math.inf))
    x, y = z[:, :3], z[:, 3:]
    turn = torch.tensor(stats.special_ortho_group.rvs(3, random_state=0)) * 7
    first, second = EllipticalCopula(x, y, math.inf), EllipticalCopula(x @ turn, y * 0.01, math.inf)
    torch.testing.assert_close(
        first.scores(*first.coordinates(x, y)),
        second.scores(*second.coordinates(x @ turn, y * 0.01)),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("nu", [2.0, math.inf])
def test_a_repeated_column_leaves_everything_finite(nu):
    rng = np.random.default_rng(0)
    z = torch.tensor(student(rng, 400, scatter_of(2, 2), nu))
    x, y = torch.cat([z[:, :2], z[:, :1]], 1), z[:, 2:]
    copula = EllipticalCopula(x, y, nu)
    assert copula.scores(*copula.coordinates(x, y)).isfinite().all()


def test_ranks_are_uniform_and_share_ties():
    values = torch.tensor([[3.0, 1.0, 7.0], [9.0, 1.0, 7.0], [5.0, 2.0, 7.0]], dtype=F64)
    expected = torch.tensor([[1 / 6, 1 / 3], [5 / 6, 1 / 3], [1 / 2, 5 / 6]], dtype=F64)
    torch.testing.assert_close(uniform_ranks(values), expected)


@pytest.mark.parametrize("nu", [1.0, 4.0, math.inf])
def test_quantiles_invert_the_distribution(nu):
    ranks = torch.linspace(0.01, 0.99, 21, dtype=F64)[:, None]
    margin = stats.norm if math.isinf(nu) else stats.t(nu)
    np.testing.assert_allclose(margin.cdf(quantiles(ranks, nu).numpy()), ranks.numpy(), atol=1e-12)
