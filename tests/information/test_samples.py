import math

import jaxtyping
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from disentangle import (
    Masked,
    dependence_report,
    estimate_mutual_information,
    factor_scores,
    linear_decodability,
    permutation_test,
    probe_numbers,
)
from disentangle.information import nearest_neighbor_mutual_information
from disentangle.information.pair import as_pair
from disentangle.information.samples import as_variable

RNG = np.random.default_rng
NAMES = np.array(["anna", "ben", "cem"])


def normal(*shape, seed=0):
    return RNG(seed).standard_normal(shape)


# -- what is taken for classes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        RNG(0).integers(3, size=300),
        RNG(0).integers(3, size=(300, 1)),
        torch.from_numpy(RNG(0).integers(3, size=300)),
        RNG(0).integers(3, size=300).astype(float),
        0.5 + RNG(0).integers(3, size=300) / 7,  # few values, whatever they are
        NAMES[RNG(0).integers(3, size=300)],
        NAMES[RNG(0).integers(3, size=300)].tolist(),
        np.eye(3)[RNG(0).integers(3, size=300)],
        pd.Series(NAMES[RNG(0).integers(3, size=300)]),
        pd.Series(NAMES[RNG(0).integers(3, size=300)]).astype("category"),
        pd.DataFrame({"who": NAMES[RNG(0).integers(3, size=300)]}),
    ],
)
def test_classes_however_they_are_written(values):
    found = as_variable("y", values).classes
    assert found is not None
    expected = torch.from_numpy(RNG(0).integers(3, size=300))
    # the same rows share a class, whatever its number is
    assert torch.equal(found[:, None] == found, expected[:, None] == expected)
    assert found.unique().tolist() == [0, 1, 2]


def test_booleans_and_several_attributes_are_classes():
    assert as_variable("y", RNG(0).random(100) < 0.5).classes.unique().tolist() == [0, 1]
    several = RNG(0).integers(2, size=(300, 4))
    assert len(as_variable("y", several).classes.unique()) == 16
    assert as_variable("y", several).numbers.shape == (300, 4)


@pytest.mark.parametrize(
    "values",
    [
        normal(300),
        normal(300, 4),
        RNG(0).permutation(300),  # whole numbers, none of them twice
        RNG(0).integers(17, size=(300, 64)),  # pixels
        np.maximum(normal(300, 2), 0),
        np.round(normal(300), 2),
    ],
)
def test_numbers_are_numbers(values):
    found = as_variable("x", values)
    assert found.classes is None
    np.testing.assert_array_equal(found.numbers, np.asarray(values, float).reshape(300, -1))


def test_what_is_told_counts():
    ages = RNG(0).integers(20, 90, size=100)
    assert as_variable("age", ages).classes is None  # fewer than two rows per age
    assert as_variable("age", ages, True).classes is not None
    ratings = RNG(0).integers(5, size=150)
    assert as_variable("rating", ratings).classes is not None
    assert as_variable("rating", ratings, False).classes is None
    x = normal(150, 1)
    assert "classes of y" in estimate_mutual_information(x, ratings).method
    assert "classes" not in estimate_mutual_information(x, ratings, classes=()).method
    with pytest.raises(ValueError, match=r"expected classes among x, y, got label"):
        estimate_mutual_information(x, ratings, classes=["label"])


def test_frames_of_numbers_are_numbers():
    frame = pd.DataFrame({"a": normal(100), "b": np.arange(100)})
    np.testing.assert_array_equal(as_variable("x", frame).numbers, frame.to_numpy())
    mixed = pd.DataFrame({"a": normal(100), "b": [True, False] * 50})
    np.testing.assert_array_equal(as_variable("x", mixed).numbers, mixed.to_numpy(float))
    many = RNG(0).random((300, 12)) < 0.5  # nearly all rows differ
    assert as_variable("x", many).classes is None
    half = torch.randn(50, 2).bfloat16()
    np.testing.assert_array_equal(as_variable("x", half).numbers, half.double())


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (np.array([["a", "b"]] * 9), TypeError, r"expected names in one column, got 2 columns of y: give them one by one"),
        (pd.DataFrame({"a": ["x", "y"], "b": [1, 2]}), TypeError, r"expected y as numbers, or one column of names, got int"),
        (["a", None, "b"], ValueError, r"expected y without missing values, got 1: leave these rows out"),
        (pd.Series(["a", pd.NA, "b"], dtype="string"), ValueError, r"expected y without missing values, got 1: leave"),
        (pd.Series(["a", np.nan, "b"]), ValueError, r"expected y without missing values, got 1"),
        (np.array([1.0, np.nan, 2.0]), ValueError, r"expected y finite, got 1 of 3 values that are not"),
        (np.array([1j, 2]), TypeError, r"expected y as numbers, or one column of names, got complex128"),
        (np.zeros((2, 2, 2)), ValueError, r"expected y as \(rows, dim\) or \(rows,\) with at least 2 rows, got shape"),
    ],
)  # fmt: skip
def test_what_is_neither_numbers_nor_names(values, error, message):
    with pytest.raises(error, match=message):
        as_variable("y", values)


@pytest.mark.parametrize(
    "times",
    [
        pd.Series(pd.date_range("2024-01-31", periods=60)),
        pd.Series(pd.date_range("2024-01-31", periods=60, tz="Europe/Berlin")),
        pd.Series(pd.timedelta_range(0, periods=60, freq="1s")),
        np.arange("2024-01", "2024-03", dtype="datetime64[D]"),
    ],
)
def test_times_are_refused_with_what_makes_numbers_of_them(times):
    with pytest.raises(
        TypeError, match=r"expected x as numbers, or one column of names, got .*: give seconds, "
    ) as refused:
        as_variable("x", times)
    cure = str(refused.value).partition("seconds, ")[2]
    seconds = as_variable("x", eval(cure, {"x": times, "numpy": np})).numbers
    assert seconds.min() == 0
    assert (seconds.diff(dim=0) == seconds[1]).all()


def test_a_label_is_the_same_however_its_numbers_are_stored():
    labels, x = RNG(0).permutation(np.repeat(np.arange(6), 50)), normal(300, 2)
    x[:, 0] += np.array([3, 0, 1, 5, 2, 4])[labels]
    results = [
        (
            as_variable("y", y).numbers.shape[1],
            linear_decodability(x, y),
            permutation_test(x, y, permutations=99).p_value,
        )
        for y in (labels, labels.astype(np.float32), labels[:, None].astype(float), labels.astype(str))
    ]
    assert results == [results[0]] * 4
    assert results[0][0] == 6
    few = np.repeat(np.arange(40), 4)
    assert as_variable("y", few).numbers.shape[1] == 1  # may be ages
    assert as_variable("y", few, True).numbers.shape[1] == 40
    large = 2**60 + np.arange(3).repeat(50)  # one number in float64
    assert as_variable("y", large).classes.unique().tolist() == [0, 1, 2]


# -- copies and groups -------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(st.integers(60, 120), st.integers(1, 3), st.integers(0, 99), st.booleans())
def test_copies_are_found_and_counted_once(rows, dim, seed, with_classes):
    rng = RNG(seed)
    x, y = rng.standard_normal((rows, dim)), rng.integers(3, size=rows) if with_classes else rng.standard_normal(rows)
    times = rng.integers(1, 5, size=rows)
    order = rng.permutation(np.repeat(np.arange(rows), times))
    pair = as_pair(x=x[order], y=y[order])
    assert len(pair.x.numbers) == len(pair.y.numbers) == rows
    assert sorted(map(tuple, pair.x.numbers.tolist())) == sorted(map(tuple, x.tolist()))
    if (copies := len(order) - rows) > 0:
        assert pair.warnings == (f"{copies} of {len(order)} rows are copies of others: each was counted once",)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (RNG(0).integers(4, size=400), RNG(1).integers(4, size=400)),  # classes and classes
        (RNG(0).integers(10, size=400), RNG(0).integers(10, size=400)),  # that agree
        (np.maximum(normal(400), 0), np.maximum(normal(400, seed=1), 0)),  # both 0 in a quarter of the rows
        (np.maximum(normal(400), 0), RNG(1).integers(4, size=400)),
        (np.where(RNG(0).random(400) < 0.3, 0, normal(400)), np.sign(RNG(0).random(400) - 0.3).astype(int)),
        (np.round(normal(400), 1), np.round(normal(400, seed=1), 1)),
    ],
)
def test_values_that_are_there_again_are_no_copies(x, y):
    pair = as_pair(x=x, y=y)
    assert len(pair.x.numbers) == 400
    assert pair.warnings == ()


def test_rows_that_are_there_five_times_tell_nothing():
    x, y = np.tile(normal(150, 2), (5, 1)), np.tile(normal(150, 2, seed=1), (5, 1))
    for method in ("auto", "gaussian", "nearest neighbors", "infonce"):
        found = estimate_mutual_information(x, y, method=method)
        once = estimate_mutual_information(x[:150], y[:150], method=method)
        assert (found.value, found.standard_error) == (once.value, once.standard_error)
        assert abs(found.value) < 0.2
        assert found.warnings[0] == "600 of 750 rows are copies of others: each was counted once"
        assert (found.rows, once.rows) == (750, 150)
    assert (
        nearest_neighbor_mutual_information(x, y).value == nearest_neighbor_mutual_information(x[:150], y[:150]).value
    )
    assert permutation_test(x, y).p_value > 0.05
    assert permutation_test(x, y).rows == 150
    assert linear_decodability(x, y) < 0.1


@pytest.mark.parametrize(("rows", "of_them", "times", "dim"), [(200, 20, 40, 2), (480, 10, 48, 8), (300, 3, 30, 1)])
def test_oversampled_rows_are_counted_once_however_often_they_are_there(rows, of_them, times, dim):
    x, y = normal(rows, dim), normal(rows, dim, seed=1)
    index = np.concatenate([np.arange(rows), np.repeat(np.arange(of_them), times)])
    pair = as_pair(x=x[index], y=y[index])
    assert len(pair.x.numbers) == rows
    assert pair.warnings == (f"{of_them * times} of {len(index)} rows are copies of others: each was counted once",)
    found = estimate_mutual_information(x[index], y[index])
    assert found.value == pytest.approx(estimate_mutual_information(x, y).value, abs=1e-9)


def test_few_rows_many_times_over_are_asked_about():
    x, y = np.tile(normal(60, 2), (80, 1)), np.tile(normal(60, 2, seed=1), (80, 1))
    (warning,) = as_pair(x=x, y=y).warnings
    assert warning.startswith("x and y take 60 values each, one to one, in 4800 rows")
    assert as_pair(x=x, y=y, classes=("x", "y")).warnings == ()
    assert as_pair(x=np.arange(60).repeat(80), y=y).warnings == ()  # numbers of speakers, and their embeddings


def near_copies(seed=0):
    """150 independent rows, six times over with a little noise."""
    rng = RNG(seed)
    groups = np.repeat(np.arange(150), 6)
    x, y = (rng.standard_normal((150, 2))[groups] + 0.01 * rng.standard_normal((900, 2)) for _ in range(2))
    return x, y, groups


def test_near_copies_are_told_by_groups():
    x, y, groups = near_copies()
    assert estimate_mutual_information(x, y, method="nearest neighbors").value > 1.5  # what is not told is not known
    names = [f"clip {i}" for i in groups]
    found = estimate_mutual_information(x, y, method="nearest neighbors", groups=names)
    assert abs(found.value) < 3 * found.standard_error + 0.05
    assert found.standard_error > 0.02  # that of 150 rows, not of 900
    assert permutation_test(x, y, permutations=99).p_value == 0.01
    assert permutation_test(x, y, permutations=99, groups=groups).p_value > 0.05
    assert linear_decodability(x, y, groups=groups) < 0.1
    report = dependence_report({"x": x, "y": y}, method="gaussian", permutations=99, groups=groups, progress=False)
    assert report.rows[0].p_value > 0.05


def test_a_dependence_between_groups_is_kept():
    rng = RNG(0)
    groups = np.repeat(np.arange(400), 3)
    x = rng.standard_normal((400, 1))[groups]
    y = 0.8 * x + 0.6 * rng.standard_normal((400, 1))[groups] + 1e-3 * rng.standard_normal((1200, 1))
    found = estimate_mutual_information(x, y, groups=groups, method="gaussian")
    assert found.value == pytest.approx(-math.log(0.6), abs=0.1)


def test_frames_of_one_embedding_are_said_to_be_no_independent_draws():
    x, y = np.repeat(normal(100, 3), 6, 0), normal(600, 2, seed=1)
    warning = "x takes only 100 different values in 600 rows: rows of one group are not independent draws"
    assert any(w.startswith(warning) for w in estimate_mutual_information(x, y, method="gaussian").warnings)
    groups = np.repeat(np.arange(100), 6)
    assert not any("different values" in w for w in as_pair(x=x, y=y, groups=groups).warnings)


def test_a_number_of_each_speaker_in_all_of_the_rows_is_said_to_be_no_independent_draws():
    speakers = np.repeat(np.arange(60), 20)
    score = normal(60)[speakers]
    for y in (score, np.c_[score, score**2]):
        (warning,) = as_pair(x=normal(1200, 4), y=y).warnings
        assert warning.startswith(
            "y takes only 60 different values in 1200 rows: rows of one group are not independent draws"
        )


@pytest.mark.parametrize(
    "values",
    [
        RNG(0).random((1000, 20)) < 0.1,
        RNG(0).poisson(0.3, (1000, 6)),
        np.log1p(RNG(0).poisson(0.3, (1000, 6))),
        np.log1p(RNG(0).negative_binomial(3, 0.03, 3000)),
        np.round(2 * normal(5000, 3)) / 2,
        np.round(np.maximum(normal(1000, 6) - 1, 0), 1),
        np.clip(np.round(0.8 * normal(5000, 1) + 0.6 * normal(5000, 6, seed=1)), -2, 2),
        torch.from_numpy(normal(20_000)).bfloat16(),
    ],
)
def test_independent_draws_of_few_values_are_no_groups(values):
    assert not [each for each in as_pair(x=values, y=normal(len(values), seed=2)).warnings if "groups" in each]


def steps_of_time(dim, seed, kept=0.98):
    noise, steps = normal(3000, dim, seed=seed), np.zeros((3000, dim))
    for i in range(1, 3000):
        steps[i] = kept * steps[i - 1] + math.sqrt(1 - kept**2) * noise[i]
    return steps


def test_rows_in_order_of_time_are_asked_about():
    x, y = steps_of_time(1, 0), steps_of_time(1, 1)  # which are independent
    (warning,) = as_pair(x=x, y=y).warnings
    assert warning.startswith("rows next to each other are alike in x and in y: if they are steps of time")
    assert as_pair(x=x, y=y, groups=np.arange(3000) // 300).warnings == ()
    order = RNG(2).permutation(3000)
    sorted_by_x = np.sort(x[:, 0])
    for a, b in (
        (x[order], y[order]),
        (x, normal(3000, 2)),
        (sorted_by_x, sorted_by_x + normal(3000)),
        (x, x[:, 0] > 0),
    ):
        assert as_pair(x=a, y=b).warnings == ()


def test_groups_are_one_for_each_row():
    with pytest.raises(ValueError, match=r"expected groups as \(60,\), one for each row, got \(9,\)"):
        as_pair(x=normal(60), y=normal(60), groups=np.arange(9))
    few = "rows that are neither copies nor of one group, got 10: permutation_test and probes take fewer"
    with pytest.raises(ValueError, match=f"expected at least 50 {few}"):
        estimate_mutual_information(normal(60), normal(60), groups=np.arange(60) % 10)


def test_constants_and_zeros_of_either_sign():
    assert as_pair(x=np.array([[0.0, 1.5]] * 60), y=normal(60)).x.classes is not None  # one class
    both = np.array([[0.0, 1.5], [-0.0, 1.5]] * 30)
    assert as_variable("x", both).classes.unique().tolist() == [0]


def codes(rows=1000):
    """A quantised latent: for each row one of 50 vectors, which are used about equally often, as chance has it."""
    rng = RNG(0)
    code = rng.integers(50, size=rows)
    return rng.standard_normal((50, 4))[code], code


def test_the_codes_of_a_quantised_latent_are_no_copies():
    z, code = codes()
    speaker = code % 5
    assert len(as_pair(x=z, y=speaker).x.numbers) == 1000
    assert estimate_mutual_information(z, speaker).value == pytest.approx(math.log(5), abs=0.02)
    assert permutation_test(z, speaker, permutations=99).p_value == 0.01
    assert abs(estimate_mutual_information(z, normal(1000)).value) < 0.02
    report = dependence_report(
        {"z": z, "speaker": speaker}, method="nearest neighbors", permutations=99, progress=False
    )
    assert report.rows[0].probes_x_to_y.neural.accuracy > 0.95
    (warning,) = as_pair(x=z, y=speaker).warnings
    assert warning.startswith("x takes only 50 different values in 1000 rows")


def test_rounded_numbers_and_a_function_of_them_are_no_copies():
    x = np.round(normal(800), 1)
    assert len(as_pair(x=x, y=x**2).x.numbers) == 800
    assert estimate_mutual_information(x, x**2).value > 2


def test_rows_that_were_drawn_many_times_are_asked_about():
    index = RNG(0).integers(80, size=1600)
    warnings = as_pair(x=normal(80, 2)[index], y=normal(80, 2, seed=1)[index]).warnings
    assert warnings[0].startswith("x and y take 80 values each, one to one, in 1600 rows")


def test_oversampled_copies_tell_nothing_whatever_their_numbers():
    x, y = normal(100, 2), normal(100, 2, seed=1)
    index = np.concatenate([np.repeat(np.arange(75), 5), np.repeat(np.arange(75, 100), 15)])
    label = (normal(100, seed=2) > 0).astype(int)
    for other in (y, label):
        pair = as_pair(x=x[index], y=other[index])
        assert len(pair.x.numbers) == 100
        assert pair.warnings[0] == "650 of 750 rows are copies of others: each was counted once"
        assert pair.warnings[1].startswith("x takes only 100 different values: if these are codes by design")
        assert abs(estimate_mutual_information(x[index], other[index]).value) < 0.1
        assert permutation_test(x[index], other[index], permutations=99).p_value > 0.05
    said = estimate_mutual_information(x[index], label[index], classes=["x", "y"])
    assert said.value > 0.5  # as classes they tell the label


@pytest.mark.parametrize("decimals", [1, 2])
@pytest.mark.parametrize("unit", [1.0, 0.37])
def test_rounded_numbers_and_their_label_are_no_copies(decimals, unit):
    """Whose label has no noise: each value goes with one label only."""
    x = np.round(normal(3000), decimals)
    label = (x > 1.5).astype(int)
    assert as_pair(x=unit * x, y=label).warnings == ()
    share = label.mean()
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    assert estimate_mutual_information(unit * x, label).value == pytest.approx(entropy, rel=0.05)


def test_whole_numbers_in_few_columns_and_a_function_of_them_are_no_copies():
    a = RNG(0).integers(10, size=(300, 2))
    ratings = RNG(1).integers(1, 6, size=(400, 3))
    for x, y in ((a, a.sum(1) % 10), (ratings, ratings.sum(1)), (np.c_[a, a.sum(1)], a[:, 0] * 10 + a[:, 1])):
        assert len(as_pair(x=x, y=y).x.numbers) == len(x)
    pixels = RNG(2).integers(256, size=(200, 64))
    assert len(as_pair(x=np.tile(pixels, (5, 1)), y=np.tile(normal(200), 5)).x.numbers) == 200


@pytest.mark.parametrize("atoms", [2, 3, 6])
def test_what_a_mixture_has_at_a_few_values_are_no_copies(atoms):
    rng = RNG(8)
    at_atom, atom = rng.random(2000) < 0.5, (rng.integers(atoms, size=2000) + 0.5) / atoms
    x, y = (np.where(at_atom, atom, rng.random(2000)) for _ in range(2))
    truth = math.log(2) + math.log(atoms) / 2
    assert estimate_mutual_information(x, y).value == pytest.approx(truth, abs=0.1)
    warnings = as_pair(x=x, y=y).warnings
    assert warnings == () if atoms == 2 else warnings[0].startswith(f"{atoms} pairs of values are in")


def test_rows_that_are_said_to_be_independent_are_no_copies():
    x, y = np.tile(normal(60), 3), np.tile(normal(60, seed=1), 3)
    assert len(as_pair(x=x, y=y).x.numbers) == 60
    assert len(as_pair(x=x, y=y, groups=np.arange(180)).x.numbers) == 180


def test_whole_numbers_that_come_again_may_be_labels():
    label = RNG(2).integers(200, size=300)
    warning = f"y has {len(set(label))} values in 300 rows and was taken as numbers: classes=['y'] if they are labels"
    assert as_pair(x=normal(300), y=label).warnings == (warning,)
    assert as_pair(x=normal(300), y=label.astype(float)).warnings == ()
    assert as_pair(x=normal(300), y=RNG(2).permutation(300)).warnings == ()
    for said in (["y"], []):
        assert as_pair(x=normal(300), y=label, classes=said).warnings == ()


def test_tables_whose_rows_are_in_another_order_are_refused():
    x = normal(100)
    frame, target = pd.DataFrame({"x": x}), pd.Series(x + normal(100, seed=1))
    shuffled = target.sample(frac=1.0, random_state=0)
    message = "expected x and y with rows in one order, got the labels of one index in two"
    with pytest.raises(ValueError, match=message):
        estimate_mutual_information(frame, shuffled)
    with pytest.raises(ValueError, match="expected latent and f with rows in one order"):
        factor_scores(frame, {"f": shuffled})
    with pytest.raises(ValueError, match=message):
        dependence_report({"x": frame, "y": shuffled})
    aligned = estimate_mutual_information(frame, shuffled.loc[frame.index])
    assert aligned == estimate_mutual_information(frame, target)
    other_labels = target.set_axis(range(100, 200))
    assert estimate_mutual_information(frame, other_labels) == aligned


def test_variables_and_factors_are_given_by_name(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    z, known = normal(100, 2), normal(100)
    table = factor_scores(z, pd.DataFrame({"f": known}))
    assert table == factor_scores(z, {"f": known})
    with pytest.raises(TypeError, match=r"expected variables by name, \{name: values\}, got list"):
        dependence_report([z, known])
    with pytest.raises(TypeError, match=r"expected factors by name, \{name: values\}, got ndarray"):
        factor_scores(z, known)


@pytest.mark.parametrize("missing", [float("nan"), None])
def test_names_of_a_list_that_are_missing_are_refused(missing):
    with pytest.raises(ValueError, match="expected y without missing values, got 30: leave these rows out"):
        as_pair(x=normal(60), y=[missing, "anna"] * 30)
    with pytest.raises(TypeError, match="expected y as numbers, or one column of names, got int, str"):
        as_pair(x=normal(60), y=[1, "anna"] * 30)
    with pytest.raises(ValueError, match="expected y without missing values, got 20"):
        as_pair(x=normal(60), y=np.ma.array(normal(60), mask=np.arange(60) < 20))


@pytest.mark.parametrize(
    "meter",
    [
        lambda x, y: estimate_mutual_information(y, x),
        lambda x, y: dependence_report({"x": x, "y": y}),
        lambda x, y: factor_scores(x, {"y": y}),
        lambda x, y: probe_numbers(x, y),
    ],
)
def test_a_sequence_with_its_mask_is_refused(meter, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    for values in (torch.zeros(20, 3), torch.zeros(20, 3, 4)):
        with pytest.raises(
            TypeError, match=r"expected an array \(N, \.\.\.\), got a Masked: frames\(\.\.\.\) makes a row"
        ):
            meter(Masked(values, torch.ones(20, 3, dtype=torch.bool)), torch.zeros(20, 1))
