import warnings

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, LogisticRegression

from disentangle.erasure import LEACE
from disentangle.errors import EstimatorWarning


def told(seed, n=300, d=6, k=2):
    """Rows that tell numbers, by a random linear map and noise."""
    draw = np.random.default_rng(seed)
    z = draw.normal(size=(n, k)) @ draw.normal(size=(k, k))
    return z @ draw.normal(size=(k, d)) + draw.normal(size=(n, d)) @ draw.normal(size=(d, d)), z


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_nothing_linear_is_left_and_other_rows_are_treated_alike(seed, k, more):
    x, z = told(seed, d=k + more, k=k)
    erase = LEACE(x, z)
    erased = erase(x)
    assert LinearRegression().fit(erased, z).score(erased, z) < 1e-8
    np.testing.assert_allclose(erase(x[:5]), erased[:5])
    np.testing.assert_allclose(erased.mean(0), x.mean(0), atol=1e-9 * np.abs(x).max())
    np.testing.assert_allclose(erase(erased), erased, atol=1e-8 * np.abs(x).max())  # once is enough


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_no_other_affine_map_that_erases_is_nearer(seed):
    """Among them the orthogonal projection, and random ones: all that vanish on the covariance with z."""
    x, z = told(seed)
    centered = x - x.mean(0)
    covariance = centered.T @ (z - z.mean(0)) / len(x)
    nearest = np.square(LEACE(x, z)(x) - x).sum()
    kept = np.linalg.svd(covariance)[0][:, z.shape[1] :].T  # rows that the covariance does not reach
    draw = np.random.default_rng(seed)
    for other in (kept.T, *(draw.normal(size=(6, 4)) for _ in range(3))):
        erased = centered @ kept.T @ other.T
        assert np.abs(erased.T @ (z - z.mean(0))).max() < 1e-8 * np.abs(x).max() * np.abs(z).max() * len(x)
        assert np.square(erased - centered).sum() >= nearest * (1 - 1e-9)
    best = np.linalg.lstsq(centered @ kept.T, centered, rcond=None)[0]  # the nearest of all of them, by least squares
    assert np.square(centered @ kept.T @ best - centered).sum() == pytest.approx(nearest, rel=1e-6)


def test_no_linear_classifier_beats_the_frequencies():
    draw = np.random.default_rng(0)
    names = np.array(["Ann", "Bo", "Cleo"])[draw.integers(0, 3, 900)]
    x = draw.normal(size=(900, 5)) + 3.0 * (names[:, None] == np.array(["Ann", "Bo", "Cleo", "Ann", "Bo"]))
    erased = LEACE(x, names)(x)
    score = LogisticRegression(C=1e6, max_iter=1000).fit(x, names).score(x, names)
    after = LogisticRegression(C=1e6, max_iter=1000).fit(erased, names).predict_proba(erased)
    assert score > 0.9
    frequencies = np.array([(names == name).mean() for name in ("Ann", "Bo", "Cleo")])
    np.testing.assert_allclose(after, np.tile(frequencies, (900, 1)), atol=1e-3)


@pytest.mark.parametrize(("dims", "classes"), [(4, 5), (4, 8), (1, 2)])
def test_it_warns_where_the_classes_take_all_directions_of_x_and_leave_its_mean(dims, classes):
    draw = np.random.default_rng(0)
    z = np.arange(400) % classes
    x = draw.normal(size=(classes, dims))[z] + draw.normal(size=(400, dims))
    message = rf"^expected x with more directions than z takes, got {dims}, all of which are erased: .*: take a wider x"
    with pytest.warns(EstimatorWarning, match=message):
        erase = LEACE(x, z)
    np.testing.assert_allclose(erase(x), np.tile(x.mean(0), (400, 1)), atol=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("error", EstimatorWarning)
        LEACE(np.hstack([x, draw.normal(size=(400, classes))]), z)  # room for more
        LEACE(np.ones((400, dims)), z)  # nothing to erase


@pytest.mark.parametrize("dtype", [int, float])
def test_whole_numbers_are_erased_as_classes_or_as_numbers(dtype):
    draw = np.random.default_rng(0)
    age = draw.integers(20, 80, 2000).astype(dtype)
    x = draw.normal(size=(2000, 64)) + np.outer(age - 50, draw.normal(size=64)) / 20
    with pytest.warns(
        EstimatorWarning, match="^z was taken for 60 classes, which take 59 of 64 directions of x: classes=False"
    ):
        by_default = LEACE(x, age)
    with warnings.catch_warnings():
        warnings.simplefilter("error", EstimatorWarning)
        as_classes, as_numbers = LEACE(x, age, classes=True), LEACE(x, age, classes=False)
        LEACE(x, age % 10)
        LEACE(x, np.array([f"speaker {number}" for number in age]))
    assert np.linalg.matrix_rank(as_numbers.change) == 1
    np.testing.assert_allclose(as_numbers(x), LEACE(x, age + 1e-9 * draw.normal(size=2000))(x), atol=1e-6)
    np.testing.assert_array_equal(as_classes.change, by_default.change)
    assert LinearRegression().fit(as_numbers(x), age).score(as_numbers(x), age) < 1e-8


def test_what_is_neither_tensor_nor_array_is_not_erased_from(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    x, z = told(0)
    with pytest.raises(TypeError, match="expected x as a tensor or an array, got list"):
        LEACE(x, z)(x.tolist())


def test_tensors_keep_their_dtype_and_gradient():
    x, z = told(0)
    erase = LEACE(torch.from_numpy(x), torch.from_numpy(z))
    batch = torch.from_numpy(x).float().requires_grad_()
    erased = erase(batch)
    assert erased.dtype == torch.float32
    np.testing.assert_allclose(erased.detach(), LEACE(x, z)(x), atol=1e-4)
    erased.square().sum().backward()
    assert batch.grad.isfinite().all()


def test_columns_that_do_not_vary_and_few_rows_are_no_trouble():
    x, z = told(0, n=4)
    x[:, 2] = 7.0
    erased = LEACE(x, z)(x)
    assert np.isfinite(erased).all()
    assert (erased[:, 2] == 7.0).all()
    with pytest.raises(ValueError, match="expected x and z with the same number of rows, got 4 and 3"):
        LEACE(x, z[:3])


@pytest.mark.parametrize("units", [(1, 1, 1e-8), (1e6, 1, 1e-3), (1e150, 1e-3, 1e-150)])
def test_no_column_is_too_narrow_to_be_erased(units):
    draw = np.random.default_rng(0)
    z = draw.integers(0, 2, 300)
    x = draw.normal(size=(300, 3)) + z[:, None]
    plain, erased = LEACE(x, z)(x), LEACE(x * units, z)(x * units)
    assert max(abs(np.corrcoef(column, z)[0, 1]) for column in erased.T) < 1e-9
    np.testing.assert_allclose(erased / units, plain, rtol=1e-6, atol=1e-9)
    of_numbers = LEACE(x, np.stack([1e10 * z, 1e-7 * draw.normal(size=300) + 1e-7 * x[:, 0]], 1))(x)
    assert abs(np.corrcoef(of_numbers[:, 0], z)[0, 1]) < 1e-9


def test_whole_numbers_half_precision_and_autocast_are_erased_in_float32():
    draw = np.random.default_rng(0)
    z = draw.integers(0, 2, 400)
    x = np.round(20 * draw.normal(size=(400, 3)) + 30 * z[:, None])
    erase, expected = LEACE(x, z), torch.from_numpy(LEACE(x, z)(x))
    whole = erase(torch.from_numpy(x).long())
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = erase(torch.from_numpy(x).float())
    half = erase(torch.from_numpy(x).bfloat16())
    assert whole.dtype == under_autocast.dtype == torch.float32
    assert half.dtype == torch.bfloat16
    for erased in (whole, under_autocast):
        torch.testing.assert_close(erased.double(), expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(half.double(), expected, rtol=0.01, atol=0.2)
    assert erase(x.astype(np.float32)).dtype == np.float32
    with pytest.raises(ValueError, match=r"expected x of shape \(N, 3\), got \(3,\)"):
        erase(x[0])
