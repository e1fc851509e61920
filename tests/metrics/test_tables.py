import json
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disentangle.metrics import metrics_table, seeds_summary, seeds_table


def test_table_is_aligned():
    table = metrics_table({"valid": {"mae": 0.5, "corr": None}, "test, best epoch": {"mae": 12.34567, "acc7": 0.4}})
    assert table.splitlines() == [
        "                     mae  corr   acc7",
        "valid              0.500     -      -",
        "test, best epoch  12.346     -  0.400",
    ]
    assert metrics_table({}) == ""


values = st.none() | st.floats(-100, 100)


@given(
    st.dictionaries(st.integers(0, 99), st.fixed_dictionaries({"mae": values}, optional={"corr": values}), min_size=1)
)
@settings(max_examples=60, deadline=None)
def test_summary_over_seeds_agrees_with_numpy(rows):
    summary = seeds_summary({seed: {"test": row} for seed, row in rows.items()})
    assert set(summary) == {"test"}
    assert set(summary["test"]) == {name for row in rows.values() for name in row}
    for name, of in summary["test"].items():
        known = np.array([row[name] for row in rows.values() if row.get(name) is not None])
        assert of["n"] == len(known)
        assert of["mean"] == (pytest.approx(known.mean(), abs=1e-9) if len(known) else None)
        assert of["sd"] == (pytest.approx(known.std(ddof=1), abs=1e-9) if len(known) > 1 else None)


def test_table_over_seeds_shows_the_summary():
    rng = np.random.default_rng(0)
    mae, corr = rng.normal(10, 2, 4), rng.uniform(0, 1, 4)
    results = {n: {"valid": {"mae": mae[n], "corr": corr[n]}, "test": {"mae": 1.0, "corr": corr[n]}} for n in range(4)}
    results[2]["test"]["corr"] = None
    others = corr[[0, 1, 3]]
    heading, columns, valid, test, note = seeds_table(results).splitlines()
    assert heading == "4 seeds, mean ± sample standard deviation"
    assert columns.split() == ["mae", "corr"]
    assert re.split("  +", valid) == [
        "valid",
        f"{mae.mean():.3f} ± {mae.std(ddof=1):.3f}",
        f"{corr.mean():.3f} ± {corr.std(ddof=1):.3f}",
    ]
    assert re.split("  +", test) == ["test", "1.000 ± 0.000", f"{others.mean():.3f} ± {others.std(ddof=1):.3f}"]
    assert note == "test corr: over the 3 of 4 seeds that have a value"
    assert len(columns) == len(valid) == len(test)


def test_one_seed_has_no_deviation():
    results = {7: {"valid": {"mae": 0.5, "corr": None}}}
    assert seeds_table(results).splitlines() == [
        "1 seed",
        "         mae  corr",
        "valid  0.500     -",
        "valid corr: over the 0 of 1 seeds that have a value",
    ]
    assert json.loads(json.dumps(seeds_summary(results))) == {
        "valid": {"mae": {"mean": 0.5, "sd": None, "n": 1}, "corr": {"mean": None, "sd": None, "n": 0}}
    }
    assert seeds_summary({}) == {}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_no_value(value):
    rows = {0: {"test": {"auc": value}}, 1: {"test": {"auc": 0.5}}, 2: {"test": {"auc": 0.7}}}
    assert seeds_summary(rows) == seeds_summary({0: {"test": {"auc": None}}, 1: rows[1], 2: rows[2]})
    assert "test auc: over the 2 of 3 seeds" in seeds_table(rows)


def test_small_numbers_keep_three_digits_and_a_spread_the_decimals_of_its_mean():
    table = metrics_table({"valid": {"mae": 0.000612, "corr": 0.75}, "test": {"mae": 0.0, "corr": -0.012}})
    assert [line.split() for line in table.splitlines()[1:]] == [
        ["valid", "0.000612", "0.750"],
        ["test", "0.000", "-0.0120"],
    ]
    seeds = seeds_table({0: {"test": {"mae": 0.0006, "acc": 0.7}}, 1: {"test": {"mae": 0.0007, "acc": 0.71}}})
    assert "0.000650 ± 0.000071  0.705 ± 0.007" in seeds
