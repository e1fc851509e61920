import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from disentangle.data.samplers import MixedBatchSampler

SIZES = {
    "labeled": st.integers(1, 70),
    "unlabeled": st.integers(1, 40),
    "batch_size": st.integers(1, 33),
    "rate": st.floats(0, 3),
    "seed": st.integers(0, 5),
}


def lengths_of(n, seed=0):
    return np.random.default_rng(seed).integers(1, 100, n)


@given(**SIZES, grouped=st.booleans())
@settings(max_examples=100, deadline=None)
def test_an_epoch_is_one_pass_over_the_labelled_rows_with_its_share_of_others(
    labeled, unlabeled, batch_size, rate, seed, grouped
):
    assume(rate == 0 or round(rate * batch_size))
    lengths = lengths_of(labeled + unlabeled) if grouped else None
    sampler = MixedBatchSampler(
        labeled, unlabeled, batch_size=batch_size, unlabeled_rate=rate, seed=seed, lengths=lengths
    )
    batches = list(sampler)
    assert len(batches) == len(sampler)
    ours = [[i for i in batch if i < labeled] for batch in batches]
    others = [[i - labeled for i in batch if i >= labeled] for batch in batches]
    assert sorted(i for batch in ours for i in batch) == list(range(labeled))
    assert [len(batch) for batch in ours[:-1]] == [batch_size] * (len(batches) - 1)
    assert all(len(b) == round(rate * len(a)) for a, b in zip(ours, others, strict=True))
    drawn = Counter(i for batch in others for i in batch)
    assert set(drawn) <= set(range(unlabeled))
    passes, rest = divmod(drawn.total(), unlabeled)  # without replacement until all are used
    assert Counter(drawn[i] - passes for i in range(unlabeled)) == +Counter({0: unlabeled - rest, 1: rest})
    for batch in others:
        assert len(set(batch)) == len(batch) or len(batch) > unlabeled


@given(**SIZES, grouped=st.booleans(), epoch=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_the_order_is_a_function_of_seed_and_epoch(labeled, unlabeled, batch_size, rate, seed, grouped, epoch):
    assume(rate == 0 or round(rate * batch_size))

    def sampler():
        lengths = lengths_of(labeled + unlabeled) if grouped else None
        return MixedBatchSampler(
            labeled, unlabeled, batch_size=batch_size, unlabeled_rate=rate, seed=seed, lengths=lengths
        )

    one, other = sampler(), sampler()
    list(one)  # what was drawn before does not count
    one.set_epoch(epoch)
    other.set_epoch(epoch)
    assert list(one) == list(one) == list(other)


@pytest.mark.parametrize("lengths", [None, lengths_of(60)], ids=["free", "grouped"])
def test_epochs_and_seeds_have_orders_of_their_own(lengths):
    orders = []
    for seed, epoch in [(0, 0), (0, 1), (1, 0)]:
        sampler = MixedBatchSampler(50, 10, batch_size=4, unlabeled_rate=0.5, seed=seed, lengths=lengths)
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
    assert orders[0] != orders[1] != orders[2] != orders[0]


def padding(batches, lengths):
    """The share of a batch that is padding, over all batches."""
    cells = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    return 1 - sum(lengths[i] for batch in batches for i in batch) / cells


@pytest.mark.parametrize(("unlabeled", "rate"), [(0, 0.0), (5000, 1.0), (500, 1.0)])
def test_rows_of_like_length_come_together_and_little_is_padding(unlabeled, rate):
    lengths = np.random.default_rng(0).gamma(2, 10, 2000 + unlabeled).astype(int) + 1
    arguments = {"labeled": 2000, "unlabeled": unlabeled, "batch_size": 16, "unlabeled_rate": rate}
    free = padding(MixedBatchSampler(**arguments), lengths)
    grouped = padding(MixedBatchSampler(**arguments, lengths=lengths), lengths)
    # Sorting all rows is the least that is possible; rows of a window come close to that, with its longest batch apart.
    assert grouped < free / 4


def test_grouped_batches_come_in_random_order_and_vary_between_epochs():
    lengths = np.arange(1000)
    sampler = MixedBatchSampler(1000, batch_size=10, lengths=lengths)
    epochs = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        epochs.append(list(sampler))
    first = np.array([min(batch) for batch in epochs[0]])
    assert abs(np.corrcoef(first, np.arange(100))[0, 1]) < 0.4  # four standard deviations
    assert not {frozenset(batch) for batch in epochs[0]} & {frozenset(batch) for batch in epochs[1]}


def test_the_last_batch_is_the_one_with_fewer_rows_and_no_longer_than_others_by_design():
    lengths = np.arange(103)
    last = []
    for seed in range(60):
        *full, short = MixedBatchSampler(103, batch_size=10, seed=seed, lengths=lengths)
        assert [len(batch) for batch in full] == [10] * 10
        assert len(short) == 3
        last += short
    # Three rows of 103, drawn evenly: 51 on average, give or take 30 / sqrt(180).
    assert abs(np.mean(last) - 51) < 4 * 29.7 / 180**0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labeled": 0}, "labeled >= 1, unlabeled >= 0, batch_size >= 1 and unlabeled_rate >= 0, got 0, 0, 32 and 0.0"),
        ({"labeled": 3, "unlabeled_rate": 1.0}, "expected unlabelled rows for a rate of 1.0, got none"),
        (
            {"labeled": 80, "unlabeled": 80, "batch_size": 8, "unlabeled_rate": 0.05},
            "expected a rate of one unlabelled row or more per batch of 8, got 0.05",
        ),
        ({"labeled": 3, "unlabeled": 2, "lengths": [1, 2, 3]}, "expected 5 lengths, one per row, got 3"),
    ],
)
def test_sizes_out_of_range_are_named(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        MixedBatchSampler(**arguments)
