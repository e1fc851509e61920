import math

import numpy as np
import pytest
import torch

from disentangle import estimate_mutual_information
from disentangle.dependence import Bound
from disentangle.information import MutualInformation
from disentangle.information.automatic import _with_neighbors
from disentangle.information.coordinates import best_margins
from disentangle.information.samples import Variable

F64 = torch.float64


def generator():
    return torch.Generator().manual_seed(0)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def pair(rows, dims=1, rho=0.6, seed=0):
    x = normal(rows, dims, seed=seed)
    return x, rho * x + math.sqrt(1 - rho**2) * normal(rows, dims, seed=seed + 100)


def monotone(side):
    columns = (torch.exp, lambda t: t**3, lambda t: 1e-3 * t - 7, torch.sinh)
    return torch.stack([columns[i % 4](c) for i, c in enumerate(side.unbind(1))], 1)


@pytest.mark.parametrize(
    ("method", "rows"), [("auto", 150), ("auto", 220), ("copula", 150), ("leave-one-out", 150)]
)  # the second with a critic
def test_increasing_maps_of_columns_change_nothing(rows, method):
    x, y = pair(rows, 2)
    plain = estimate_mutual_information(x, y, method=method)
    mapped = estimate_mutual_information(monotone(x), monotone(y.flip(1)).flip(1), method=method)
    assert mapped == plain


def test_decreasing_maps_change_next_to_nothing():
    x, y = pair(150)
    plain, turned = estimate_mutual_information(x, y), estimate_mutual_information(-x, y)
    assert turned.value == pytest.approx(plain.value, abs=0.01)


@pytest.mark.slow
def test_a_curve_without_correlation_is_found():
    x = normal(250, 1)
    y = x**2 + 0.5 * normal(250, 1, seed=1)
    assert estimate_mutual_information(x, y, method="gaussian").value < 0.05
    found = estimate_mutual_information(x, y)
    assert 0.6 < found.value < 1.1
    assert found.method == "nearest neighbors"  # of two columns there is no critic
    # the likelihoods are the copula's, which sees little of a curve
    assert -0.05 < found.log_likelihood - found.marginal_log_likelihood < 0.3


@pytest.mark.slow
def test_a_curve_in_more_dimensions_is_found_by_the_critic():
    x, noise = normal(800, 4), normal(800, 4, seed=1)
    # along the diagonal of x, where no column of it tells much
    y = torch.cat([2 * x.mean(1, keepdim=True) ** 2 + 0.2 * noise[:, :1], noise[:, 1:]], 1)
    found = estimate_mutual_information(x, y)
    assert found.method.endswith(", corrected by a critic")
    assert found.bound.side == "lower"
    assert 0.2 < found.value < 1.2
    # the likelihoods are apart by what was measured
    assert found.log_likelihood is not None
    assert found.marginal_log_likelihood is not None
    assert found.log_likelihood - found.marginal_log_likelihood == pytest.approx(found.value, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("dims", [1, 3])
def test_independent_heavy_tails_read_nothing(dims):
    x, y = (torch.distributions.Cauchy(0.0, 1.0).sample((1000, dims)) for _ in range(2))
    assert abs(estimate_mutual_information(x, y).value) < 0.05


def test_the_tails_of_a_student_are_seen():
    nu, rows = 1.0, 500
    z = normal(rows, 2) / (torch.distributions.Chi2(torch.tensor(nu, dtype=F64)).sample((rows, 1)) / nu).sqrt()
    found = estimate_mutual_information(z[:, :1], z[:, 1:])
    # of a Student distribution of one degree of freedom without correlation: log(8 pi) - 3
    assert found.value == pytest.approx(math.log(8 * math.pi) - 3, abs=0.1)


@pytest.mark.slow
def test_likelihoods_of_a_gaussian():
    x, y = pair(300, rho=0.8)  # too few for the critic, which is not adopted
    found = estimate_mutual_information(x, y)
    assert found.value == pytest.approx(-math.log(0.6), abs=0.1)
    assert found.marginal_log_likelihood == pytest.approx(-0.5 * math.log(2 * math.pi * math.e), abs=0.02)
    assert found.log_likelihood is not None
    assert found.marginal_log_likelihood is not None
    assert found.log_likelihood - found.marginal_log_likelihood == pytest.approx(-math.log(0.6), abs=0.12)
    assert found.bound.side == "neither"


@pytest.mark.parametrize("rows", [50, 120, 199])
def test_few_rows_are_said_to_be_few(rows):
    found = estimate_mutual_information(*pair(rows, 3))
    few = f"{rows} rows are too few to train a critic on: dependence that is not monotone was hardly looked for"
    assert few in found.warnings
    assert found.log_likelihood is None
    assert abs(found.value + 3 * math.log(0.8)) < 0.7


@pytest.mark.parametrize(("rows", "few"), [(60, True), (150, False)])
def test_of_two_columns_few_rows_are_those_without_neighbors(rows, few):
    warnings = estimate_mutual_information(*pair(rows)).warnings
    assert few is any(w.startswith(f"{rows} rows are too few") for w in warnings)


def test_few_rows_for_the_dimensions_are_said_to_be_few():
    found = estimate_mutual_information(*pair(150, 20))
    assert any(w.startswith("150 rows are few for 40 dimensions: the value is noisy") for w in found.warnings)


def test_repeated_and_dependent_columns_count_once():
    x, y = pair(190, 2)
    once = estimate_mutual_information(x, y).value
    for twice in (torch.cat([x, 3 * x], 1), torch.cat([x, x[:, :1]], 1), torch.cat([x, torch.ones(190, 1)], 1)):
        assert estimate_mutual_information(twice, y).value == pytest.approx(once, abs=0.03)


def test_a_copy_is_infinite():
    x = normal(200, 2)
    found = estimate_mutual_information(x, torch.cat([normal(200, 1, seed=1), x[:, :1] ** 3], 1))
    assert found.value == math.inf
    assert found.warnings[0].startswith("some direction of y is a function of x: the information is infinite")


@pytest.mark.slow
@pytest.mark.parametrize("heavy_tails", [False, True])
def test_many_dimensions_may_hide_dependence_whichever_copula_it_is(heavy_tails):
    z = normal(500, 24)
    if heavy_tails:
        z = z / (torch.distributions.Chi2(torch.tensor(3.0, dtype=F64)).sample((500, 1)) / 3).sqrt()
    found = estimate_mutual_information(z[:, :12], z[:, 12:])
    assert found.method.startswith("Student" if heavy_tails else "Gaussian")
    assert found.bound.side == "neither"  # no critic has found more
    assert any("24 dimensions, 500 rows may hide dependence" in warning for warning in found.warnings)


@pytest.mark.parametrize(("dims", "rho", "grows"), [(3, 0.99, True), (1, 0.5, False)])
def test_it_says_where_neighbors_are_still_growing(dims, rho, grows):
    x, y = pair(1000, dims, rho)
    nothing = MutualInformation(0.0, 0.0, "nothing", Bound("neither", "always"), 1000, 1000)
    found = _with_neighbors(nothing, x, y)
    assert found.method == "nearest neighbors"
    assert any("half of the rows" in warning for warning in found.warnings) == grows


@pytest.mark.parametrize("data_seed", range(3))
def test_what_sets_equal_values_apart_is_not_what_they_were_drawn_from(data_seed):
    numbers, noise = np.random.default_rng(data_seed).standard_normal((2, 4000))
    x, y = numbers.round(1), (0.6 * numbers + 0.8 * noise).round(1)
    assert estimate_mutual_information(x, y).value == pytest.approx(-math.log(0.8), abs=0.03)
    generator = torch.Generator().manual_seed(data_seed)
    u, v = (torch.rand(2000, generator=generator) for _ in range(2))
    clipped, other = (u - 0.7).clamp(min=0), u + 0.1 * v
    values = [estimate_mutual_information(clipped, other, seed=seed).value for seed in (data_seed, data_seed + 7)]
    assert values[0] == pytest.approx(values[1], abs=0.1)


@pytest.mark.parametrize("levels", [12, 60])
def test_the_order_of_whole_numbers_tells_more_than_counts_of_many(levels):
    numbers = pair(2000, rho=0.6, seed=5)
    x, y = ((levels / 6 * side).round().long() for side in numbers)
    found = estimate_mutual_information(x, y)
    assert found.value == pytest.approx(-math.log(0.8), abs=0.04)
    independent = estimate_mutual_information(x, y.flip(0))
    assert independent.value < 0.02


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: (rng.standard_normal(1000), np.arange(1000) < 5),
        lambda rng: tuple(np.where(rng.random((2, 250)) < 0.95, 0, rng.standard_normal((2, 250)))),
        lambda rng: tuple(rng.poisson(0.3, (2, 100))),
    ],
)
def test_values_that_are_often_equal_and_tell_nothing(draw):
    """Ten blocks of such rows may all read the same, and the standard error was 0."""
    found = [estimate_mutual_information(*draw(np.random.default_rng(seed))) for seed in range(20)]
    assert all(each.standard_error > 1e-5 for each in found)
    assert sum(each.interval[0] > 0 for each in found) <= 1


def test_neighbours_that_are_not_sure_are_said():
    said = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal(250)
        found = estimate_mutual_information(x, x**2 + 1.5 * rng.standard_normal(250))
        said.append(any(warning.startswith("nearest neighbours show") for warning in found.warnings))
        assert not (said[-1] and found.method == "nearest neighbors")
    assert any(said)


@pytest.mark.parametrize("curve", [lambda t: t, np.tanh])
@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_columns_of_few_intrinsic_dimensions_tell_what_these_tell(curve, rho):
    rng = np.random.default_rng(0)
    z, noise = rng.standard_normal((2, 400, 3))
    a, b = rng.standard_normal((2, 3, 16))
    found = estimate_mutual_information(curve(z @ a), curve((rho * z + math.sqrt(1 - rho**2) * noise) @ b))
    assert found.value == pytest.approx(-1.5 * math.log(1 - rho**2), abs=3.5 * found.standard_error)
    assert found.standard_error < 0.1


def test_unit_vectors_that_are_independent_are_no_student_distribution():
    draws = (np.random.default_rng(seed).standard_normal((2, 400, 8)) for seed in range(8))
    pairs = (side / np.linalg.norm(side, axis=-1, keepdims=True) for side in draws)
    margins = [best_margins(*(Variable(torch.tensor(side)) for side in pair), generator())[1] for pair in pairs]
    assert sum(each.degrees_of_freedom < math.inf for each in margins) <= 1


def test_heavy_tails_are_still_told():
    z = normal(400, 6) / (torch.distributions.Chi2(torch.tensor(3.0, dtype=F64)).sample((400, 1)) / 3).sqrt()
    assert best_margins(Variable(z[:, :3]), Variable(z[:, 3:]), generator())[1].degrees_of_freedom <= 8
