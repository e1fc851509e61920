import itertools
import math

import numpy as np
import pytest
import torch

from disentangle import estimate_mutual_information
from disentangle.information.columns import column_mutual_information, matched_columns
from disentangle.information.counts import counted_mutual_information
from disentangle.information.neighbors import neighbors_value

F64 = torch.float64


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def bits(rows, columns, seed=0, values=2):
    return np.random.default_rng(seed).integers(0, values, (rows, columns))


def test_columns_are_matched_whatever_their_order():
    x = normal(800, 5)
    order = torch.tensor([3, 0, 4, 2, 1])
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0], dtype=F64)
    y = (signs * x + 0.3 * normal(800, 5, seed=1))[:, order]
    of_x, of_y = matched_columns(x, y)
    assert sorted(of_x.tolist()) == [0, 1, 2, 3, 4]
    assert order[of_y].tolist() == of_x.tolist()


def test_products_are_matched_by_their_squares_and_the_strongest_come_first():
    x, noise = normal(1500, 12), normal(1500, 20, seed=1)
    y = noise.clone()
    y[:, 8:] = x.flip(1) * noise[:, 8:]  # without correlation
    y[:, 19] = x[:, 0]
    of_x, of_y = matched_columns(x, y)
    assert (of_x + of_y == 19).all()
    assert of_x[0] == 0


def test_it_is_the_sum_over_pairs_less_what_a_side_shares():
    x = normal(600, 2)
    y = torch.stack([x[:, 0] + 0.5 * normal(600, seed=1), x[:, 1] + 0.5 * normal(600, seed=2)], 1)
    y[:, 1] += y[:, 0]  # y's columns depend on one another, and x's do not
    found = column_mutual_information(x, y).value
    s, t = matched_columns(x, y)
    pairs = [neighbors_value(x[:, [i]].numpy(), y[:, [j]].numpy()) for i, j in zip(s, t, strict=True)]
    within = [neighbors_value(side[:, [0]].numpy(), side[:, [1]].numpy()) for side in (x, y)]
    assert found == pytest.approx(sum(pairs) - max(min(within), 0), abs=1e-9)
    assert within[1] > within[0] + 0.1


def test_what_is_there_twice_counts_once():
    """Without what the columns of a side share it would be the double."""
    x = normal(1500, 1)
    y = 0.8 * x + 0.6 * normal(1500, 1, seed=1)
    twice = [torch.cat([side, side + 1e-3 * normal(1500, 1, seed=7 + i)], 1) for i, side in enumerate((x, y))]
    assert column_mutual_information(*twice).value < -math.log(0.6) + 0.1


@pytest.mark.slow
def test_sharp_edges_in_five_columns():
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(1000, 5))
    found = estimate_mutual_information(x, x + rng.uniform(-0.75, 0.75, (1000, 5)))
    assert found.value == pytest.approx(5 / 3, abs=0.2)  # 1 / (4 · 0.75) in each of them
    assert found.method == "nearest neighbors, column by column"


@pytest.mark.slow
def test_a_curve_among_many_columns_is_found():
    x = normal(300, 100)
    found = estimate_mutual_information(x, x[:, :1] ** 2 + 0.5 * normal(300, 1, seed=1))
    assert found.value == pytest.approx(0.803, abs=0.15)


@pytest.mark.slow
def test_atoms_are_not_read_too_high():
    """Rectified latents: by the ranks that ties share, the copula reads 8 to 22 % too much."""
    z = normal(2000, 2)
    y = 0.8 * z + 0.6 * normal(2000, 2, seed=1)
    found = estimate_mutual_information(z.clamp(min=0), y.clamp(min=0))
    assert found.value == pytest.approx(2 * 0.3467, abs=0.1)


@pytest.mark.parametrize(
    ("rows", "columns", "values"),
    [(4000, 8, 2), (1000, 12, 2), (1000, 3, 5), (1000, 4, 3), (1000, 2, 10), (1000, 3, 10)],
)
def test_one_column_that_two_tables_of_whole_numbers_share(rows, columns, values):
    """As one class per different row there are too few rows of each pair to see it."""
    x, y = bits(rows, columns, 0, values), bits(rows, columns, 1, values)
    y[:, -1] = x[:, 0]
    found = estimate_mutual_information(x, y)
    assert found.method == "counts, column by column"
    assert found.value == pytest.approx(math.log(values), rel=0.05)


def test_what_bits_share_with_noise():
    x, y = bits(4000, 8), bits(4000, 8, 1)
    flipped = np.random.default_rng(2).random(4000) < 0.1
    y[:, 0] = x[:, 0] ^ flipped
    truth = math.log(2) + 0.1 * math.log(0.1) + 0.9 * math.log(0.9)
    low, high = estimate_mutual_information(x, y).interval
    assert low - 0.01 < truth < high + 0.01


@pytest.mark.parametrize(("columns", "share", "flipped"), [(16, 0.5, 0.2), (20, 0.1, 0.02), (64, 0.5, 0.2)])
def test_what_many_bits_share_is_summed_over_all_of_them(columns, share, flipped):
    rng = np.random.default_rng(0)
    x = rng.random((1000, columns)) < share
    y = x ^ (rng.random((1000, columns)) < flipped)
    on = share * (1 - flipped) + (1 - share) * flipped
    entropy, noise = (-p * math.log(p) - (1 - p) * math.log(1 - p) for p in (on, flipped))
    assert estimate_mutual_information(x, y).value == pytest.approx(columns * (entropy - noise), rel=0.06)


def test_what_bits_share_within_a_side_is_what_each_pair_of_them_counts():
    """With a chain of bits, whose neighbours alone share something of their own, it is what all of them share at least."""
    rng = np.random.default_rng(0)
    steps = rng.random((4000, 12)) < 0.1
    steps[:, 0] = rng.random(4000) < 0.5
    x = torch.from_numpy(np.cumsum(steps, 1) % 2).double()
    pairs = itertools.combinations(x.long().unbind(1), 2)
    within = sum(counted_mutual_information(a, b).value for a, b in pairs)
    alone = 12 * math.log(2)
    assert column_mutual_information(x, x).value == pytest.approx(alone - within, abs=0.1)


def test_many_bits_that_share_nothing():
    values = [estimate_mutual_information(bits(1000, 40, 2 * i), bits(1000, 40, 2 * i + 1)).value for i in range(2)]
    assert max(values) < 0.1


def test_bits_that_share_nothing():
    found = estimate_mutual_information(bits(4000, 8), bits(4000, 8, 1))
    assert abs(found.value) < 0.01
    assert "pairs of classes: the value may be too low" in found.warnings[0]


def test_rows_that_bits_repeat_by_chance_are_no_groups():
    found = estimate_mutual_information(bits(1000, 12), bits(1000, 12, 1))
    assert not [warning for warning in found.warnings if "groups" in warning]
    vectors = np.random.default_rng(0).normal(size=(100, 2))[np.arange(1000) % 100]
    found = estimate_mutual_information(vectors, np.random.default_rng(1).normal(size=(1000, 2)))
    assert any("groups" in warning for warning in found.warnings)


def test_numbers_and_bits():
    x, bit = np.random.default_rng(3).normal(size=(2000, 3)), bits(2000, 7)
    x[:, 1] += 4 * bit[:, 5]
    exact = estimate_mutual_information(x[:, 1], bit[:, 5]).value
    assert estimate_mutual_information(x, bit).value > 0.85 * exact > 0.5
