import math

import numpy as np
import pytest
import torch

from disentangle import estimate_mutual_information
from disentangle.information import METHODS, MutualInformation
from disentangle.information.pair import as_pair

F64 = torch.float64
TRAINED = METHODS[4:]
UPPER, LOWER = ("club", "sampled club", "leave-one-out"), ("infonce", "nwj", "mine")


def gaussian(rows, p=1, q=1, rho=0.6, seed=0):
    """Columns of x and y correlated in pairs: -log(1 - rho²) / 2 nats a pair."""
    x, noise = torch.randn(2, rows, p, generator=torch.Generator().manual_seed(seed), dtype=F64)
    return x, (rho * x + math.sqrt(1 - rho**2) * noise)[:, :q]


@pytest.mark.parametrize(
    ("method", "p", "q"),  # what is trained takes one column as it takes three; the others do not
    [(method, 3, 2) for method in METHODS if method != "barber-agakov"] + [(method, 1, 1) for method in METHODS[:4]],
)
def test_every_method_measures_gaussians(method, p, q):
    rho = 0.6
    rows = 300 if method == "auto" else 600
    found = estimate_mutual_information(*gaussian(rows, p, q, rho), method=method)
    assert isinstance(found, MutualInformation)
    truth = -0.5 * q * math.log(1 - rho**2)
    # CLUB is d rho² / (1 - rho²) where q is the true conditional
    expected = q * rho**2 / (1 - rho**2) if method in ("club", "sampled club") else truth
    assert found.value == pytest.approx(expected, abs=0.15 * q + 2 * found.standard_error)
    assert found.standard_error > 0
    assert found.rows == rows
    assert found.held_out == (120 if method in TRAINED else rows)


def test_barber_agakov_takes_y_of_one_dimension():
    x, y = gaussian(600, 3, 2)
    assert estimate_mutual_information(x, y[:, :1], method="barber-agakov").value == pytest.approx(0.22, abs=0.15)
    message = r"^expected y of one dimension, whose entropy is known from its ranks, got 2$"
    with pytest.raises(ValueError, match=message):
        estimate_mutual_information(x, y, method="barber-agakov")
    message = r"^expected y without equal values for barber-agakov, or classes, got \d+ values in 600 rows"
    with pytest.raises(ValueError, match=message):
        estimate_mutual_information(x, y[:, :1].relu(), method="barber-agakov")


@pytest.mark.parametrize("method", [*UPPER, *LOWER])
def test_bounds_are_on_their_side(method):
    found = [
        estimate_mutual_information(*gaussian(800, 3, 2, 0.7, seed), method=method, seed=seed) for seed in range(2)
    ]
    values = torch.tensor([f.value for f in found])
    error = math.hypot(*(f.standard_error for f in found)) / 2
    truth = -math.log(1 - 0.7**2)
    if method in UPPER:
        assert found[0].bound.side == "upper"
        assert values.mean() > truth - 2.5 * error - 0.05  # q is fitted, to 480 rows
    else:
        assert found[0].bound.side == "lower"
        assert values.mean() < truth + 2.5 * error
    if method.endswith("club"):
        assert values.mean() > truth + 3 * error  # far above
    else:
        assert values.mean() == pytest.approx(truth, abs=0.2)


@pytest.mark.parametrize("method", ["gaussian", "copula"])
def test_the_standard_error_is_the_spread_over_draws(method):
    for rho in (0.0, 0.7):
        found = []
        for seed in range(100):
            found.append(estimate_mutual_information(*gaussian(300, 2, 2, rho, seed), method=method))
        spread = torch.tensor([f.value for f in found]).std().item()
        assert sum(f.standard_error for f in found) / 100 == pytest.approx(spread, rel=0.5)
        truth = -math.log(1 - rho**2)
        assert sum(f.interval[0] <= truth <= f.interval[1] for f in found) >= 87


@pytest.mark.parametrize("method", ["gaussian", "copula", "nearest neighbors"])
def test_x_and_y_are_interchangeable(method):
    x, y = gaussian(300, 3, 2)
    forth, back = (estimate_mutual_information(*sides, method=method) for sides in ((x, y), (y, x)))
    assert back.value == pytest.approx(forth.value, abs=0.03 if method == "nearest neighbors" else 1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_the_seed_decides_and_nothing_else_does(method):
    x, y = gaussian(200 if method == "auto" else 80)  # of fewer than 200 rows no critic is trained
    kept, state = (x.clone(), y.clone()), torch.get_rng_state()
    np.random.seed(0)  # noqa: NPY002
    numpy_state = np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002
    first = estimate_mutual_information(x, y, method=method, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state(legacy=False)["state"]["key"] == numpy_state).all()  # noqa: NPY002
    torch.rand(3)
    assert estimate_mutual_information(x, y, method=method, seed=1) == first
    if method in TRAINED:
        assert estimate_mutual_information(x, y, method=method, seed=2).value != first.value
    assert torch.equal(x, kept[0])
    assert torch.equal(y, kept[1])


@pytest.mark.parametrize("method", ["auto", "gaussian", "infonce"])
def test_kinds_of_input(method):
    x, y = (side.float() for side in gaussian(100, 2, 2))

    def measured(a, b):
        return estimate_mutual_information(a, b, method=method).value

    plain = measured(x, y)
    assert measured(x.numpy(), y.numpy()) == plain
    assert measured(x.double(), y) == pytest.approx(plain, abs=1e-9)
    assert measured(x.clone().requires_grad_(), y.numpy()) == plain
    assert measured(x.mT.contiguous().mT, y) == plain
    assert math.isfinite(measured((x * 10).int(), (y * 10).int().numpy()))


@pytest.mark.parametrize("method", ["auto", "infonce"])
def test_it_learns_where_gradients_are_off(method):
    x, y = gaussian(200, rho=0.9)
    plain = estimate_mutual_information(x, y, method=method)
    for off in (torch.no_grad, torch.inference_mode):
        with off():
            assert estimate_mutual_information(1 * x, 1 * y, method=method) == plain
            assert not torch.is_grad_enabled()


def test_unknown_method_is_refused_before_anything_is_read():
    broken = torch.full((3,), math.nan)
    with pytest.raises(ValueError, match=r"^expected a method among auto, gaussian, copula, .*, got 'ksg'$"):
        estimate_mutual_information(broken, broken[:2], method="ksg")


@pytest.mark.parametrize("method", ["auto", "gaussian", "nearest neighbors", "club"])
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.zeros(60, 1), torch.zeros(61, 2), r"^expected x and y with the same number of rows, got 60 and 61$"),
        (
            torch.zeros(49, 1),
            torch.zeros(49, 2),
            r"^expected at least 50 rows, got 49: permutation_test and probes take fewer$",
        ),
        (
            torch.tensor(1.0),
            torch.zeros(60, 2),
            r"^expected x as \(rows, dim\) or \(rows,\) with at least 2 .* shape \(\)$",
        ),
        (
            torch.zeros(60, 1),
            torch.zeros(60, 2, 3),
            r"^expected y as \(rows, dim\) .* got shape \(60, 2, 3\): of draws of .* give one, y\[0\]$",
        ),
        (torch.full((60, 2), math.nan), torch.zeros(60, 1), r"^expected x finite, got 120 of 120 values that are not$"),
        (torch.zeros(60, 2), torch.tensor([[math.inf]] * 60), r"^expected y finite, got 60 of 60 values that are not$"),
    ],
)
def test_errors(x, y, message, method):
    with pytest.raises(ValueError, match=message):
        estimate_mutual_information(x, y, method=method)


@pytest.mark.parametrize("method", ["auto", "gaussian", "copula"])
def test_more_columns_than_rows_can_tell_apart_are_refused(method):
    x, y = torch.randn(100, 60), torch.randn(100, 50)
    with pytest.raises(ValueError, match=r"^expected at least 111 rows for x of rank 60 and y of rank 50, got 100$"):
        estimate_mutual_information(x, y, method=method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("side", [0, 1])
def test_a_constant_tells_nothing(method, side):
    sides = [torch.randn(100, 2), torch.randn(100, 2)]
    sides[side] = torch.tensor([[0.1, 7.0]]).repeat(100, 1)
    found = estimate_mutual_information(*sides, method=method)
    assert (found.value, found.standard_error) == (0.0, 0.0)
    assert found.warnings == ("x or y is constant",)


@pytest.mark.parametrize("method", ["gaussian", "copula", "infonce", "leave-one-out"])
def test_a_constant_column_beside_others_changes_nothing_or_little(method):
    x, y = gaussian(300, 2, 2)
    plain = estimate_mutual_information(x, y, method=method)
    found = estimate_mutual_information(torch.cat([x, torch.full((300, 1), 1e6, dtype=F64)], 1), y, method=method)
    assert found.value == pytest.approx(plain.value, abs=1e-9)
    assert found.standard_error == pytest.approx(plain.standard_error, abs=1e-9)


@pytest.mark.parametrize("method", ["auto", "gaussian", "copula"])
def test_a_copy_is_infinite_and_says_so(method):
    x, _ = gaussian(200, 2)
    found = estimate_mutual_information(x, 2 * x.flip(1) - 1, method=method)
    assert found.value == math.inf
    assert any("the information is infinite" in warning for warning in found.warnings)
    assert "inf" in str(found)


@pytest.mark.parametrize("method", ["gaussian", "copula"])
def test_scales_do_not_matter(method):
    x, y = gaussian(300, 2, 2)
    plain = estimate_mutual_information(x, y, method=method)
    scaled = estimate_mutual_information(x * torch.tensor([1e-8, 1e8]), y * 1e5, method=method)
    assert scaled.value == pytest.approx(plain.value, abs=1e-6)
    assert scaled.standard_error == pytest.approx(plain.standard_error, abs=1e-6)


@pytest.mark.parametrize("method", ["club", "infonce", "difference of entropies"])
def test_one_hot_classes_train(method):
    classes = torch.randint(3, (150,), generator=torch.Generator().manual_seed(0))
    one_hot = torch.nn.functional.one_hot(classes, 3)
    found = estimate_mutual_information(one_hot, classes[:, None] + 0.3 * torch.randn(150, 1), method=method)
    assert math.isfinite(found.value)
    assert found.value > 0.4


def test_the_result_reads_well():
    found = estimate_mutual_information(*gaussian(300), method="gaussian")
    low, high = found.interval
    assert float(found) == found.value
    assert (low + high) / 2 == pytest.approx(found.value)
    assert high - low == pytest.approx(2 * 1.96 * found.standard_error)
    assert str(found) == f"{found.value:.3f} ± {found.standard_error:.3f} nats (gaussian, 300 rows)"
    copied = estimate_mutual_information(*gaussian(300, rho=1.0), method="gaussian")
    assert str(copied).splitlines()[1:] == [f"  warning: {warning}" for warning in copied.warnings]


@pytest.mark.parametrize(
    ("method", "side"),
    [("gaussian", "neither"), ("copula", "neither"), ("nearest neighbors", "neither"), ("club", "upper"),
     ("sampled club", "upper"), ("leave-one-out", "upper"), ("variational", "upper"), ("infonce", "lower"),
     ("nwj", "lower"), ("mine", "lower"), ("barber-agakov", "lower"), ("smile", "neither"),
     ("difference of entropies", "neither")],
)  # fmt: skip
def test_what_is_claimed_of_each_method(method, side):
    bound = estimate_mutual_information(*gaussian(60), method=method).bound
    assert bound.side == side
    assert bound.condition


@pytest.mark.parametrize("method", ["gaussian", "copula"])
def test_intervals_hold_the_truth_where_there_is_no_dependence(method):
    draws = [np.random.default_rng(seed).standard_normal((2, 200, 1)) for seed in range(100)]
    intervals = [estimate_mutual_information(x, y, method=method).interval for x, y in draws]
    assert sum(low <= 0 <= high for low, high in intervals) >= 93


def test_few_rows_without_dependence_are_not_said_to_have_one():
    draws = [np.random.default_rng([1, seed]).standard_normal((2, 100, 1)) for seed in range(60)]
    assert sum(estimate_mutual_information(x, y).interval[0] > 0 for x, y in draws) <= 3


@pytest.mark.parametrize("method", ["auto", "infonce", "leave-one-out", "difference of entropies"])
def test_a_default_precision_of_float64_changes_nothing_but_digits(method):
    x = np.random.default_rng(0).standard_normal((300, 3))
    y = x + np.random.default_rng(1).standard_normal((300, 3))
    usual = estimate_mutual_information(x, y, method=method).value
    torch.set_default_dtype(torch.float64)
    try:
        assert estimate_mutual_information(x, y, method=method).value == pytest.approx(usual, abs=0.3)
        if method == "auto":
            assert estimate_mutual_information(x, y[:, 0] > 0).value > 0.1
    finally:
        torch.set_default_dtype(torch.float32)


def test_of_groups_it_is_said_how_each_draw_was_measured():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(150), 4)
    shared = rng.standard_normal((150, 2))[groups]
    x = shared[:, :1] + 0.1 * rng.standard_normal((600, 1))
    y = shared[:, :1] ** 2 + 2.0 * rng.standard_normal((600, 1))  # a curve that neighbours are not always sure of
    found = estimate_mutual_information(x, y, groups=groups)
    pairs = [as_pair(x=x, y=y, groups=groups, seed=seed) for seed in range(5)]
    draws = [estimate_mutual_information(pair.x.numbers, pair.y.numbers) for pair in pairs]
    assert found.value == pytest.approx(np.mean([each.value for each in draws]))
    assert found.method.split(" / ") == list(dict.fromkeys(each.method for each in draws))
    assert set(found.warnings) == {warning for each in draws for warning in each.warnings}
    assert len({each.method for each in draws}) > 1
