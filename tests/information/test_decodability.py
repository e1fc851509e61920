import math

import numpy as np
import pytest
import torch

from disentangle.information import linear_decodability


def correlated(rng, rows, dim, rho):
    x, noise = rng.standard_normal((2, rows, dim))
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def test_decodes_a_linear_factor_and_nothing_else():
    rng = np.random.default_rng(0)
    source = rng.standard_normal((400, 16))
    weights = rng.standard_normal((16, 3))
    assert linear_decodability(source, source @ weights) == pytest.approx(1, abs=1e-3)
    assert -0.1 < linear_decodability(source, rng.standard_normal((400, 3))) < 0.05
    half = np.hstack([source[:, :1], rng.standard_normal((400, 1))])
    assert linear_decodability(source, half) == pytest.approx(0.5, abs=0.05)


def test_is_the_share_of_variance_that_is_explained():
    rng = np.random.default_rng(1)
    source = rng.standard_normal((4000, 4))
    target = 0.6 * source[:, :1] + 0.8 * rng.standard_normal((4000, 1))
    assert linear_decodability(source, target) == pytest.approx(0.36, abs=0.04)


def test_does_not_depend_on_scales_and_offsets():
    rng = np.random.default_rng(2)
    source, target = correlated(rng, 200, 5, 0.7)
    value = linear_decodability(source, target)
    scales = np.array([1e-6, 1e-3, 1, 1e3, 1e6])
    assert linear_decodability(source * scales + 7, target * scales[::-1] - 3) == pytest.approx(value, abs=1e-6)


def test_leaves_constant_target_dimensions_out():
    rng = np.random.default_rng(3)
    source, target = correlated(rng, 100, 2, 0.7)
    with_constant = np.hstack([target, np.full((100, 1), 0.1)])
    assert linear_decodability(source, with_constant) == pytest.approx(linear_decodability(source, target))


def test_survives_more_dimensions_than_rows_and_a_collapsed_source():
    rng = np.random.default_rng(4)
    assert -0.5 < linear_decodability(rng.standard_normal((60, 200)), rng.standard_normal((60, 1))) < 0.3
    assert linear_decodability(np.ones((60, 4)), rng.standard_normal((60, 1))) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (np.eye(5), np.eye(6), "expected source and target with the same number of rows, got 5 and 6"),
        (np.eye(3), np.eye(3), "expected at least 4 rows, two per half, got 3"),
        (np.eye(5), np.ones((5, 2)), "expected a target that varies, got one that is constant"),
    ],
)
def test_refuses(source, target, message):
    with pytest.raises(ValueError, match=message):
        linear_decodability(source, target)


def test_takes_tensors_and_arrays_alike():
    x, y = correlated(np.random.default_rng(0), 50, 2, 0.5)
    value = linear_decodability(x, y)
    assert type(value) is float
    assert linear_decodability(torch.tensor(x, requires_grad=True), torch.tensor(y)) == value


def test_refuses_values_that_are_not_finite():
    x = np.random.default_rng(0).standard_normal((10, 2))
    bad = x.copy()
    bad[0, 0], bad[3, 1] = math.nan, math.inf
    with pytest.raises(ValueError, match=r"expected target finite, got 2 of 20 values that are not"):
        linear_decodability(x, bad)
