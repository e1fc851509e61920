import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from disentangle.functional import hsic
from disentangle.information import nearest_neighbor_mutual_information, permutation_test
from disentangle.information.permutation import hsic_of_shifts


def centered_kernel(side):
    """HKH, with the median distance between rows as the bandwidth, on standardised columns."""
    side = (side - side.mean(0)) / side.std(0)
    distances = np.array([[np.linalg.norm(a - b) for a in side] for b in side])
    upper = np.sort(distances[np.triu_indices(len(side), 1)])
    h = np.eye(len(side)) - 1 / len(side)
    return h @ np.exp(-distances / upper[(len(upper) - 1) // 2]) @ h


def by_traces(x, y):
    return np.trace(centered_kernel(x) @ centered_kernel(y)) / len(x) ** 2


@pytest.mark.parametrize(("p", "q", "rows"), [(1, 1, 30), (3, 2, 50), (1, 4, 70), (2, 2, 129)])
def test_the_default_statistic_is_hsic(p, q, rows):
    rng = np.random.default_rng(p)
    x, y = rng.standard_normal((rows, p)), rng.standard_normal((rows, q)) * 100
    y[:, 0] += 50 * x[:, 0] ** 2
    result = permutation_test(x, y, permutations=3)
    assert result.statistic == pytest.approx(by_traces(x, y), rel=1e-4)


@pytest.mark.parametrize("rows", [2, 3, 6, 7, 130])
def test_all_shifts_at_once_are_what_each_is_alone(rows):
    k, m = (t + t.mT for t in torch.randn(2, rows, rows, dtype=torch.float64))
    orders = [(torch.arange(rows) - s) % rows for s in range(rows)]
    each = torch.stack([(k * m[order][:, order]).mean() for order in orders])
    torch.testing.assert_close(hsic_of_shifts(k, m), each)


@pytest.mark.parametrize("permutations", [5, 2000])
def test_the_default_agrees_with_the_p_value_over_all_orders(permutations):
    """Of 6 rows there are 720 orders: within one set of shifts, and over many."""
    x, y = np.random.default_rng(3).standard_normal((2, 6, 1))
    k, m = centered_kernel(x), centered_kernel(y)
    all_orders = np.array([np.sum(k * m[np.ix_(o, o)]) for o in itertools.permutations(range(6))]) / 36
    exact = (all_orders >= all_orders[0] - 1e-12).mean()
    draws = [permutation_test(x, y, permutations=permutations, seed=i) for i in range(4000 // permutations)]
    shares = [((1 + permutations) * draw.p_value - 1) / permutations for draw in draws]  # of orders other than itself
    others = (720 * exact - 1) / 719
    assert abs(np.mean(shares) - others) < 4 * math.sqrt(others * (1 - others) / 4000)
    assert np.mean([draw.null_mean for draw in draws]) == pytest.approx(all_orders.mean(), rel=0.02)


def test_the_default_statistic_is_the_dependence_of_the_same_name():
    x = torch.randn(200, 3, dtype=torch.float64)
    y = (x + torch.randn_like(x)).square()
    x, y = ((t - t.mean(0)) / t.std(0) for t in (x, y))
    assert permutation_test(x, y, permutations=1).statistic == pytest.approx(
        hsic(x, y, kernel="laplace").item(), rel=1e-5
    )


def test_counts_as_the_formula_says():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, 1))
    y = 0.3 * x + rng.standard_normal((20, 1))
    calls = []

    def statistic(a, b):
        calls.append((a @ b.T).trace().item())
        return calls[-1]

    result = permutation_test(x, y, statistic=statistic, permutations=99)
    assert len(calls) == 100
    assert result.statistic == calls[0] == pytest.approx((x * y).sum())
    assert result.p_value == (1 + sum(value >= calls[0] for value in calls[1:])) / 100
    assert result.null_mean == pytest.approx(np.mean(calls[1:]))


def test_agrees_with_the_p_value_over_all_orders():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((7, 1)), rng.standard_normal((7, 1))
    sums = np.array([(x[:, 0] * y[list(order), 0]).sum() for order in itertools.permutations(range(7))])
    exact = (sums >= (x * y).sum() - 1e-12).mean()
    ours = permutation_test(x, y, statistic=lambda a, b: (a * b).sum(), permutations=2000).p_value
    assert abs(ours - exact) < 4 * math.sqrt(exact * (1 - exact) / 2000)


def heavy(rng):
    return rng.standard_cauchy((40, 2))


def far(rng):
    return 1e6 + 1e-3 * rng.standard_normal((40, 3))


def normal(rng):
    return rng.standard_normal((40, 1))


@pytest.mark.slow
@pytest.mark.parametrize(("x", "y"), [(normal, normal), (heavy, heavy), (far, heavy)])
def test_p_values_are_uniform_under_independence(x, y):
    rng = np.random.default_rng(0)
    p = []
    for i in range(200):
        p.append(permutation_test(x(rng), y(rng), permutations=9, seed=i).p_value)
    counts = np.bincount(np.round(10 * np.array(p)).astype(int), minlength=11)[1:]
    assert counts.sum() == 200
    assert chisquare(counts).pvalue > 1e-3  # finds orders that are drawn with replacement


@pytest.mark.slow
def test_p_values_of_discrete_variables_are_not_too_small():
    rng = np.random.default_rng(0)
    p = np.empty(300)
    for i in range(300):
        p[i] = permutation_test(*rng.integers(0, 2, (2, 12, 1)), permutations=19, seed=i).p_value
    for level in (0.05, 0.1, 0.2):
        assert (p <= level + 1e-9).mean() < level + 3 * math.sqrt(level * (1 - level) / 300)


def test_equal_statistics_count_as_equal():
    # every order of y within a value of x is the same table, so the least p is the share of orders that give it
    x = np.repeat([0.0, 1.0], 3)[:, None]
    share = sum(len(set(order[:3]) & {0, 1, 2}) in (0, 3) for order in itertools.permutations(range(6))) / 720
    result = permutation_test(x, 7 * x + 0.1, permutations=2000)
    assert abs(result.p_value - share) < 4 * math.sqrt(share * (1 - share) / 2000)


@pytest.mark.parametrize("half", [2, 5])
def test_rounding_tells_nothing_of_a_table_that_is_exactly_balanced(half):
    """Its statistic is zero, the least that there is."""
    x, y = np.indices((2, half)).reshape(2, -1, 1).astype(float)
    assert permutation_test(x, y, permutations=500).p_value == 1


@pytest.mark.parametrize(
    ("relation", "rows"),
    [
        (lambda x, noise: x[:, :1] ** 2 + noise, 200),
        (lambda x, noise: 0.3 * x[:, :1] + noise, 400),
        (lambda x, noise: noise * x[:, 1:2], 300),
        (lambda x, noise: np.sign(noise) * np.abs(x[:, :1]), 300),
    ],
)
def test_has_power(relation, rows):
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(10):
        x, noise = rng.standard_normal((rows, 2)), rng.standard_normal((rows, 1))
        found += permutation_test(x, relation(x, noise), permutations=99).p_value <= 0.05
    assert found >= 9


def test_many_rows_are_drawn_from():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5000, 1))
    y = x**2 + rng.standard_normal((5000, 1))
    result = permutation_test(x, y, permutations=4)
    assert (result.rows, result.permutations, result.p_value) == (2000, 4, 0.2)
    assert result == permutation_test(x, y, permutations=4)
    assert result.statistic != permutation_test(x, y, permutations=4, seed=1).statistic


def test_an_estimate_of_information_is_a_statistic():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 1))
    y = np.sign(rng.standard_normal((200, 1))) * x
    result = permutation_test(x, y, statistic=nearest_neighbor_mutual_information, permutations=19)
    assert result.p_value == 0.05
    assert result.statistic == nearest_neighbor_mutual_information(x, y).value


def test_a_constant_depends_on_nothing():
    x = np.random.default_rng(0).standard_normal((50, 2))
    assert permutation_test(x, np.full((50, 1), 0.1), permutations=9).p_value == 1


def test_infinite_statistics_count():
    x = np.random.default_rng(0).standard_normal((10, 1))
    assert permutation_test(x, x, statistic=lambda a, b: math.inf, permutations=9).p_value == 1


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        ((9, 2), (8, 2), {}, "expected x and y with the same number of rows, got 9 and 8"),
        ((9, 1, 1), (9, 2), {}, r"expected x as \(rows, dim\) or \(rows,\) .* got shape \(9, 1, 1\)"),
        ((9, 2), (9, 2), {"permutations": 0}, "expected at least 1 permutation, got 0"),
        (
            (9, 2),
            (9, 2),
            {"permutations": 5, "statistic": lambda x, y: math.nan},
            "expected a statistic that is a number, got NaN for some of 6 orders of y",
        ),
    ],
)
def test_refuses(x, y, options, message):
    with pytest.raises(ValueError, match=message):
        permutation_test(np.ones(x), np.ones(y), **options)


def test_it_sees_what_is_finer_than_the_data_is_wide():
    """What goes round twice, beside a column of noise: a Gaussian kernel of the median distance sees it in one of ten draws."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        angle = rng.uniform(-np.pi, np.pi, 250)
        x, y = (
            np.stack([t, rng.standard_normal(250)], 1)
            for t in (angle, np.cos(2 * angle) + 0.2 * rng.standard_normal(250))
        )
        assert permutation_test(x, y, permutations=99, seed=seed).p_value < 0.05


# -- given a third variable


def of_speakers(seed, rows=120, shared=0.0):
    """Two variables that tell the speaker, and within a speaker share nothing, or something."""
    rng = np.random.default_rng(seed)
    speaker = rng.integers(0, 4, rows)
    x = np.array([-3.0, -1, 1, 3])[speaker] + rng.standard_normal(rows)
    y = np.array([2.0, -2, 1, 5])[speaker] + shared * x + rng.standard_normal(rows)
    return x[:, None], y[:, None], np.array(["ann", "bo", "cy", "di"])[speaker]


def test_what_two_variables_share_beyond_a_third():
    x, y, speaker = of_speakers(0)
    assert permutation_test(x, y, permutations=99).p_value == 0.01
    assert permutation_test(x, y, given=speaker, permutations=99).p_value > 0.05
    x, y, speaker = of_speakers(0, shared=0.7)
    assert permutation_test(x, y, given=speaker, permutations=99).p_value == 0.01


@pytest.mark.parametrize("statistic", [None, lambda x, y: (x * y).sum()])
def test_p_values_are_uniform_where_two_variables_are_independent_given_a_third(statistic):
    p = [
        permutation_test(x, y, given=given, statistic=statistic, permutations=4, seed=i).p_value
        for i, (x, y, given) in ((i, of_speakers(i, 30)) for i in range(300))
    ]
    counts = np.bincount(np.round(5 * np.array(p)).astype(int), minlength=6)[1:]
    assert counts.sum() == 300
    assert chisquare(counts).pvalue > 1e-3


def test_given_a_third_hsic_is_of_what_is_left_less_means_and_orders_keep_to_their_class():
    x, y, speaker = of_speakers(1)
    left = [side.copy() for side in (x, y)]
    for side, s in itertools.product(left, set(speaker)):
        side[speaker == s] -= side[speaker == s].mean()
    expected = by_traces(*left)
    assert permutation_test(x, y, given=speaker, permutations=3).statistic == pytest.approx(expected, rel=1e-4)
    orders = []

    def statistic(a, b):
        orders.append(b[:, 0].numpy())
        return (a * b).sum()

    permutation_test(x, y, given=speaker, statistic=statistic, permutations=5)
    for order in orders[1:]:
        assert (order != orders[0]).mean() > 0.5
        for s in set(speaker):
            np.testing.assert_array_equal(np.sort(order[speaker == s]), np.sort(orders[0][speaker == s]))


def test_given_speakers_of_few_rows_it_has_power():
    speaker = np.repeat(np.arange(60), 5)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 2))[speaker] + rng.standard_normal((300, 2))
    y = rng.standard_normal((60, 2))[speaker] + 0.5 * x + rng.standard_normal((300, 2))
    assert permutation_test(x, y, given=speaker, permutations=99).p_value == 0.01


def test_given_goes_with_the_rows_that_are_used():
    x, y, speaker = of_speakers(2)
    clip = np.repeat(np.arange(120), 3)  # copies, which are left out
    once, thrice = (
        permutation_test(x[i], y[i], given=speaker[i], groups=i, permutations=9) for i in (np.arange(120), clip)
    )
    assert once == thrice


def test_given_is_classes_of_several_rows():
    x, y, speaker = of_speakers(0)
    with pytest.raises(
        ValueError, match="expected given as classes with several rows, got 120 different values in 120 rows"
    ):
        permutation_test(x, y, given=x[:, 0])
    with pytest.raises(ValueError, match=r"expected given as \(120,\), one for each row, got 119 rows"):
        permutation_test(x, y, given=speaker[1:])
