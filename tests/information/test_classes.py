import math

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from disentangle import estimate_mutual_information
from disentangle.information.classes import _gaussian_classes, _mixed, classifier_mutual_information, entropy
from disentangle.information.neighbors import nearest_neighbor_mutual_information
from disentangle.information.samples import as_variable

F64 = torch.float64


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def classes(rows, count, seed=0):
    return torch.randint(count, (rows, 1), generator=torch.Generator().manual_seed(seed))


def on_a_line(rows, count, spread, seed=0):
    """Classes at 0, 1, 2 and so on with Gaussian noise around them, and their information by quadrature."""
    y = classes(rows, count, seed)[:, 0]
    grid = np.linspace(-8 * spread, count - 1 + 8 * spread, 40_001)
    density = (
        np.exp(-(((grid[:, None] - np.arange(count)) / spread) ** 2) / 2).mean(1) / spread / math.sqrt(2 * math.pi)
    )
    bits = np.trapezoid(-density * np.log(density + 1e-300), grid)
    return (
        y[:, None] + spread * normal(rows, 1, seed=seed + 1),
        y,
        bits - math.log(spread) - 0.5 * math.log(2 * math.pi * math.e),
    )


ENCODINGS = {
    "numbers": lambda y: y.double()[:, None],
    "one-hot": lambda y: torch.nn.functional.one_hot(y).bool(),
    "names": lambda y: [f"speaker {i}" for i in y.tolist()],
}


@pytest.mark.slow
@pytest.mark.parametrize(("count", "encode"), [(10, "numbers"), (10, "one-hot"), (50, "names")])
def test_classes_on_a_line(count, encode):
    x, y, truth = on_a_line(1200, count, 0.3)
    found = estimate_mutual_information(ENCODINGS[encode](y), x)
    assert abs(found.value - truth) < 0.12
    assert found.value <= entropy(y)
    assert f"{count} classes of x" in found.method


@pytest.mark.parametrize("encode", ENCODINGS)
def test_fifty_classes_are_the_same_however_they_are_written(encode):
    y = classes(1200, 50)[:, 0]
    found = as_variable("x", ENCODINGS[encode](y)).classes
    assert found is not None
    assert torch.equal(found[:, None] == found, y[:, None] == y)


@pytest.mark.slow
def test_a_class_that_is_known_for_sure_reads_its_entropy_and_no_more():
    y = torch.arange(500) % 10
    x = 20.0 * torch.nn.functional.one_hot(y) + normal(500, 10)
    for method, lost in (("auto", 0.01), ("nearest neighbors", 0.01), ("barber-agakov", 0.3)):
        found = estimate_mutual_information(x, y, method=method)
        assert math.log(10) - lost < found.value <= math.log(10) + 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("dim", [1, 8])
def test_classes_that_x_does_not_tell(dim):
    found = estimate_mutual_information(normal(600, dim), classes(600, 12)[:, 0])
    assert abs(found.value) < 0.03


def test_classes_in_few_dimensions_are_not_hidden_by_their_order():
    """The classes of a ring: no line through x tells them, and their numbers go round."""
    x, y, truth = on_a_line(500, 3, 0.1)
    angle = torch.rand(500, 1, generator=torch.Generator().manual_seed(3)).double() * 2 * math.pi
    ring = (x + 1) * torch.cat([angle.cos(), angle.sin()], 1)
    assert nearest_neighbor_mutual_information(ring, y).value == pytest.approx(truth, abs=0.05)


def test_rare_classes_do_no_harm():
    y = torch.cat([torch.zeros(298), torch.tensor([1.0, 2.0])]).long()
    found = classifier_mutual_information(normal(300, 3), y, 0)
    assert math.isfinite(found.value)
    assert abs(found.value) < 0.06  # 2 of 300 rows have log 300 / 300 nats each at the most


def test_gaussian_classes_of_one_covariance_are_those_of_linear_discriminants():
    x, y = normal(2000, 4) @ normal(4, 4, seed=2), classes(2000, 3)[:, 0]
    x = x + 2 * y[:, None]
    shares = y.bincount().double() / 2000
    pooled, _, _ = _gaussian_classes(x, y, shares)
    discriminants = LinearDiscriminantAnalysis(solver="lsqr").fit(x.numpy(), y.numpy())
    ours, theirs = pooled(x).log_softmax(1), torch.from_numpy(discriminants.predict_log_proba(x.numpy()))
    torch.testing.assert_close(ours, theirs, atol=0.02, rtol=0.02)  # its means are drawn in by one row of many


def test_gaussian_classes_are_log_joint_densities():
    x, y = normal(60, 2), classes(60, 2)[:, 0]
    shares = torch.tensor([0.3, 0.7], dtype=F64)
    for scores in _gaussian_classes(x, y, shares):
        grid = torch.linspace(-12, 12, 241, dtype=F64)
        points = torch.cartesian_prod(grid, grid)
        total = scores(points).exp().sum(0) * (grid[1] - grid[0]) ** 2 / (2 * math.pi)  # without the constant
        torch.testing.assert_close(total, shares, atol=1e-4, rtol=1e-4)


def test_the_mixture_is_the_one_of_the_highest_likelihood():
    probabilities = torch.rand(400, 3, generator=torch.Generator().manual_seed(0), dtype=F64)
    found = _mixed(probabilities).log().mean()
    steps = torch.linspace(0, 1, 41, dtype=F64)
    best = max(
        (probabilities @ torch.stack([a, b, 1 - a - b])).log().mean() for a in steps for b in steps if a + b <= 1
    )
    assert found >= best - 1e-4


@pytest.mark.parametrize("method", ["club", "leave-one-out", "infonce", "barber-agakov"])
def test_estimators_of_classes(method):
    x, y, truth = on_a_line(900, 4, 0.4)
    found = estimate_mutual_information(x, y, method=method)
    assert found.value > 0.4 * truth
    if found.bound.side == "lower":
        assert found.value - 3 * found.standard_error < truth
    assert found.value < math.log(4) * (4 if method == "club" else 1) + 1e-6


@pytest.mark.parametrize("method", ["difference of entropies", "variational"])
def test_estimators_that_are_for_numbers_only(method):
    with pytest.raises(ValueError, match=f"expected y of numbers for {method}, got classes"):
        estimate_mutual_information(normal(100, 2), classes(100, 3)[:, 0], method=method)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "encode"),
    # of fewer than 200 rows no critic is trained on the numbers; `test_classes_on_a_line` has one
    [(190, lambda c: c), (500, lambda c: torch.nn.functional.one_hot(c[:, 0]))],
)
def test_a_class_and_a_number(rows, encode):
    c = classes(rows, 4)
    y = 2.0 * c % 5 + normal(rows, 1)  # means 0, 2, 4, 1
    means, grid = torch.tensor([0.0, 2.0, 4.0, 1.0], dtype=F64), torch.linspace(-8, 12, 4001, dtype=F64)
    density = torch.distributions.Normal(means[:, None], 1.0).log_prob(grid).exp().mean(0)
    truth = -torch.trapezoid(density * density.log(), grid).item() - 0.5 * math.log(2 * math.pi * math.e)
    assert estimate_mutual_information(encode(c), y).value == pytest.approx(truth, abs=0.12)


def test_many_dimensions_that_hide_a_class_are_said():
    x = torch.randn(300, 60, dtype=torch.float64)
    y = (x[:, 0] + x[:, 1] > 0).int()
    assert any(
        "300 rows are few for 60 dimensions" in warning for warning in estimate_mutual_information(x, y).warnings
    )
    few = estimate_mutual_information(x[:, :3], y)
    assert not any("dimensions" in warning for warning in few.warnings)
    assert few.value > 0.55  # of log 2


@pytest.mark.parametrize(("rows", "warned"), [(300, True), (700, False)])
def test_rows_that_may_hide_some_of_it_are_said(rows, warned):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, 6))
    y = (x[:, :3] + rng.standard_normal((rows, 3))).argmax(1)
    hint = f"in 6 dimensions, {rows} rows may hide some of it: the value may be too low"
    assert (hint in estimate_mutual_information(x, y).warnings) == warned
