import itertools
import math

import numpy as np
import pytest
import torch

from disentangle import estimate_mutual_information
from disentangle.information.classes import entropy
from disentangle.information.counts import counted_mutual_information


def classes(rows, count, seed=0):
    return torch.randint(count, (rows, 1), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("agreement", [0.5, 0.9, 0.98])
@pytest.mark.parametrize(
    "encode", [lambda c: c, lambda c: 5 - 2 * c.double(), lambda c: torch.nn.functional.one_hot(c[:, 0])]
)
def test_two_coins(encode, agreement):
    x = classes(1500, 2)
    differ = torch.rand(1500, 1, generator=torch.Generator().manual_seed(1)) > agreement
    found = estimate_mutual_information(encode(x), x ^ differ)
    truth = math.log(2) + sum(p * math.log(p) for p in (agreement, 1 - agreement))
    assert abs(found.value - truth) < 3 * found.standard_error + 1e-3
    assert found.standard_error < 0.02
    assert found.method == "counts"


def test_a_class_and_itself_share_its_entropy():
    c = classes(1000, 4)
    one_hot = torch.nn.functional.one_hot(c[:, 0])
    for x, y in ((c, c), (one_hot, one_hot[:, [2, 0, 3, 1]]), (c, one_hot)):
        found = estimate_mutual_information(x, y)
        assert found.value == pytest.approx(math.log(4), abs=0.01)
        assert found.warnings == ()


@pytest.mark.parametrize(("rows", "count"), [(60, 3), (98, 7), (250, 10)])
def test_classes_as_frequent_that_tell_one_another_have_no_error(rows, count):
    c = torch.arange(rows) % count
    found = counted_mutual_information(c, count - 1 - c)
    assert found.value == pytest.approx(entropy(c))
    assert found.standard_error == pytest.approx(0, abs=1e-6)


def test_the_bias_of_counts_is_gone():
    values = []
    for seed in range(200):
        values.append(counted_mutual_information(classes(300, 4, seed)[:, 0], classes(300, 5, seed + 1000)[:, 0]))
    found = torch.tensor([v.value for v in values])
    assert abs(found.mean()) < 3 * found.std() / 200**0.5  # without the correction it is 0.02, 50 standard errors
    assert found.std().item() == pytest.approx(math.sqrt(12 / 2) / 300, rel=0.25)  # of a chi-square variable
    inside = sum(v.interval[0] <= 0 <= v.interval[1] for v in values)
    assert inside >= 180


def test_without_classes_enough_the_counts_are_a_lower_bound():
    """Two variables of 30 classes, 400 rows: the table of counts would read 0.9 nats where there is nothing."""
    values = [
        counted_mutual_information(classes(400, 30, seed)[:, 0], classes(400, 30, seed + 50)[:, 0])
        for seed in range(40)
    ]
    assert all(v.bound.side == "lower" for v in values)
    found = np.array([v.value for v in values])
    assert found.mean() < 0.01
    assert (np.abs(found) < 0.05).all()


@pytest.mark.parametrize("error", [0.0, 0.3])
def test_many_classes_that_agree(error):
    """A symmetric channel of 60 classes in 600 rows: most of its pairs are never drawn, and hardly any twice."""
    x = classes(600, 60)[:, 0]
    y = torch.where(torch.rand(600, generator=torch.Generator().manual_seed(1)) < error, classes(600, 60, 2)[:, 0], x)
    found = counted_mutual_information(x, y)
    joint = (1 - error) * np.eye(60) / 60 + error / 3600
    truth = 2 * math.log(60) + (joint[joint > 0] * np.log(joint[joint > 0])).sum()
    assert 0.8 * truth < found.value < truth + 0.1
    assert found.value <= math.log(60)


def test_the_leave_one_out_prediction_is_that_of_the_other_rows():
    """Written out row by row, for the strength that is best."""
    x, y = classes(90, 6)[:, 0], classes(90, 7, 1)[:, 0]
    y = torch.where(torch.rand(90, generator=torch.Generator().manual_seed(2)) < 0.6, x, y)
    best = -math.inf
    for a, b in ((x.numpy(), y.numpy()), (y.numpy(), x.numpy())):
        shares = np.bincount(b) / 90
        for strength, discount in itertools.product(2.0 ** np.arange(-3, 16), (0, 0.25, 0.5, 0.75, 1)):
            terms = []
            for i in range(90):
                beside = np.delete(b, i)[np.delete(a, i) == a[i]]
                known = max((beside == b[i]).sum() - discount, 0)
                smooth = (strength + discount * len(np.unique(beside))) * shares[b[i]]
                terms.append(np.log((known + smooth) / (len(beside) + strength) / shares[b[i]]))
            best = max(best, np.mean(terms))
    found = counted_mutual_information(x, y)
    assert found.method == "counts, smoothed"
    assert found.value == pytest.approx(best)


@pytest.mark.parametrize(
    ("shares", "rows"),
    [(1 / np.arange(1.0, 11) ** 2, 1000), ([0.02, 0.02, 0.02, 0.04, 0.9], 100), ([0.05, 0.95], 1000)],
)
def test_rare_classes_that_share_nothing(shares, rows):
    """By Miller's bias of the pairs that were drawn, half of the intervals of the first lay above 0."""
    rng, found = np.random.default_rng(0), []
    for _ in range(200):
        x, y = (
            np.unique(rng.choice(len(shares), rows, p=shares / np.sum(shares)), return_inverse=True)[1] for _ in "xy"
        )
        found.append(counted_mutual_information(torch.from_numpy(x), torch.from_numpy(y)))
    values = np.array([each.value for each in found])
    assert abs(values.mean()) < 4 * values.std() / 200**0.5 + 1e-3
    assert sum(each.interval[0] > 0 for each in found) < 0.1 * 200


@pytest.mark.parametrize("agreement", [0.5, 0.8, 1.0])
def test_rare_classes_that_agree(agreement):
    shares = 1 / np.arange(1.0, 11) ** 2
    shares /= shares.sum()
    rng, found = np.random.default_rng(1), []
    for _ in range(100):
        x, other = rng.choice(10, (2, 2000), p=shares)
        y = np.where(rng.random(2000) < agreement, x, other)
        codes = [torch.from_numpy(np.unique(side, return_inverse=True)[1]) for side in (x, y)]
        found.append(counted_mutual_information(*codes))
    joint, independent = (
        agreement * np.diag(shares) + (1 - agreement) * np.outer(shares, shares),
        np.outer(shares, shares),
    )
    there = joint > 0
    truth = (joint[there] * np.log(joint[there] / independent[there])).sum()
    assert np.mean([each.value for each in found]) == pytest.approx(truth, rel=0.02)
    assert sum(each.interval[0] <= truth <= each.interval[1] for each in found) >= 85
