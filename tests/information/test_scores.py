import functools
import json
import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from disentangle.information import dependence_report, factor_scores, probe_classes, probe_numbers
from disentangle.information.axis_alignment import bins, concentration, forest, gap, information_gap, threshold_scores
from disentangle.information.probe_rows import halves
from disentangle.information.samples import as_variable

ROWS = 210


@functools.cache
def known():
    """Latents that are the factors, and the factors: numbers, whole numbers, names and one of two."""
    rng = np.random.default_rng(0)
    a, c, d = rng.standard_normal(ROWS), np.arange(ROWS) % 3, rng.integers(0, 2, ROWS)
    return np.stack([a, c, d], 1), {"a": a, "c": np.array(["x", "y", "z"])[c], "d": d}


@functools.cache
def of(kind):
    aligned, factors = known()
    standard = (aligned - aligned.mean(0)) / aligned.std(0)
    rotation = np.array([[2, 2, -1], [-1, 2, 2], [2, -1, 2]]) / 3
    latents = {
        "aligned": aligned,
        "rotated": standard @ rotation,
        "independent": np.random.default_rng(2).standard_normal((ROWS, 3)),
        "twice": np.hstack([aligned, aligned]),
        "blocks": {"S": aligned[:, :1], "L": standard[:, 1:] @ np.array([[1, 1], [1, -1]])},
    }
    return factor_scores(latents[kind], {name: factors[name] for name in ("ad" if kind == "twice" else "acd")})


def test_axes_that_are_the_factors_reach_the_top():
    scores = of("aligned")
    assert scores.disentanglement == pytest.approx(1, abs=0.01)
    for row in scores.rows:
        assert row.completeness == pytest.approx(1, abs=0.01)
        assert row.mig == pytest.approx(1, abs=0.06)
        most = 1 if row.classes is None else 1 - 1 / row.classes
        assert row.sap == pytest.approx(most, abs=0.06)
        assert row.explicitness == pytest.approx(1, abs=0.01)
    assert [row.classes for row in scores.rows] == [None, 3, 2]
    assert scores.rows[0].informativeness.r2 > 0.9
    assert all(row.informativeness.accuracy > 0.99 for row in scores.rows[1:])


def test_a_rotation_is_lower_on_axes_and_nowhere_else():
    aligned, rotated = of("aligned"), of("rotated")
    assert rotated.disentanglement < 0.6
    assert rotated.completeness < 0.6
    assert rotated.mig < 0.6 * aligned.mig
    assert rotated.sap < 0.6 * aligned.sap
    assert rotated.explicitness == pytest.approx(1, abs=0.01)
    for row in rotated.rows:
        linear = row.probes["latent"].linear
        assert (linear.r2 if row.classes is None else linear.accuracy) > 0.99


def test_latents_that_know_nothing_score_nothing():
    scores = of("independent")
    assert scores.disentanglement < 0.05
    assert scores.completeness < 0.05
    assert scores.mig < 0.05
    assert scores.sap < 0.06
    assert scores.explicitness == pytest.approx(0.5, abs=0.06)
    for row in scores.rows:
        for probe in (row.informativeness, *row.probes["latent"]):
            if row.classes is None:
                assert -0.4 < probe.r2 < 0.05
            else:
                assert probe.accuracy == pytest.approx(probe.chance, abs=0.12)


def test_the_gaps_vanish_where_every_axis_is_there_twice():
    scores = of("twice")
    assert scores.mig == pytest.approx(0, abs=1e-9)
    assert scores.sap == pytest.approx(0, abs=1e-9)
    assert scores.disentanglement == pytest.approx(1, abs=0.01)  # each of the two tells one factor all the same
    assert scores.completeness == pytest.approx(1 - math.log(2) / math.log(6), abs=0.1)  # two of six have half each


def test_blocks_are_units_whatever_lies_within_them():
    scores = of("blocks")
    assert scores.units == scores.latents == ("S", "L")
    assert scores.mig is None
    a, c, d = scores.rows
    assert min(row.completeness for row in scores.rows) > 0.85
    assert a.sap == pytest.approx(1, abs=0.05)
    assert d.sap == pytest.approx(0.5, abs=0.1)
    assert scores.disentanglement_of["S"] > 0.85 > 0.5 > scores.disentanglement_of["L"]  # which tells two factors
    assert c.probes["L"].linear.accuracy > 0.95
    assert c.probes["S"].neural.accuracy < 0.5


def test_probes_are_those_of_the_functions_and_of_the_report():
    latents, factors = known()
    a, c, _ = of("aligned").rows
    assert a.probes["latent"].linear == probe_numbers(latents, factors["a"], kind="linear")
    assert c.probes["latent"].linear == probe_classes(latents, factors["c"], kind="linear")
    report = dependence_report(
        {"z": latents},
        factors={"c": factors["c"]},
        pairs=[("z", "c")],
        method="gaussian",
        permutations=1,
        progress=False,
    )
    assert report.rows[0].probes_x_to_y == c.probes["latent"]


def test_of_draws_of_noise_the_scores_are_those_of_the_first():
    rng = np.random.default_rng(0)
    f, g = rng.standard_normal((2, 120))
    several = {"a": f[:, None] + rng.standard_normal((3, 120, 2)), "b": np.stack([g, f * g], 1)}
    drawn, first = (
        factor_scores(latents, {"f": f}) for latents in (several, {"a": several["a"][0], "b": several["b"]})
    )
    assert drawn.importances == first.importances
    (of_draws,), (of_first,) = drawn.rows, first.rows
    assert of_draws.informativeness == of_first.informativeness
    assert of_draws.explicitness == of_first.explicitness
    assert of_draws.probes["b"] == of_first.probes["b"]
    assert of_draws.probes["a"] != of_first.probes["a"]
    (alone,) = factor_scores(several["a"], {"f": f}).rows
    assert alone.probes["latent"] == of_draws.probes["a"]
    assert alone.mig == factor_scores(several["a"][0], {"f": f}).rows[0].mig


def test_mig_of_discrete_latents_is_that_of_the_table_of_counts():
    """Frequencies 3/8, 1/8, 1/8, 3/8 of (z, v); the other column is independent of v."""
    z, v = (np.tile(side, 100) for side in ([0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 0, 1, 1, 1]))
    other = np.repeat([0, 1], 400)
    nats = 2 * (3 / 8 * math.log(3 / 2) + 1 / 8 * math.log(1 / 2))
    found = information_gap(np.stack([z, other], 1).astype(float), as_variable("v", v))
    assert found == pytest.approx(nats / math.log(2), abs=2e-3)  # of the correction for 800 rows


def test_mig_of_few_rows_is_not_inflated():
    """A plain table of 5 x 5 counts would say 0.08 nats of 1.6 at 100 rows; so would the gap of two such."""
    gaps, informed = [], []
    for seed in range(10):
        draw = np.random.default_rng(seed)
        v = as_variable("v", draw.integers(0, 5, 100))
        gaps.append(information_gap(draw.integers(0, 5, (100, 2)).astype(float), v))
        signal = np.stack([v.classes.numpy(), draw.integers(0, 5, 100)], 1).astype(float)
        informed.append(information_gap(signal, v))
    assert np.mean(gaps) < 0.02
    assert np.mean(informed) > 0.98


def test_the_information_of_numbers_is_cut_at_the_deciles():
    draw = np.random.default_rng(3)
    v = draw.standard_normal(1000)
    once = information_gap(np.stack([v, draw.standard_normal(1000)], 1), as_variable("v", v))
    again = information_gap(np.stack([v, draw.standard_normal(1000)], 1), as_variable("v", np.exp(v)))
    assert once == pytest.approx(1, abs=0.04)
    assert again == pytest.approx(once, abs=0.03)  # no matter what the scale of the factor is
    assert np.bincount(bins(v)).tolist() == [100] * 10
    many = np.concatenate([np.zeros(95), np.arange(1, 6)])
    assert bins(many).tolist() == [0] * 95 + [1] * 5
    assert bins(-many).tolist() == [1] * 95 + [0] * 5


def test_concentration_and_gap_in_closed_form():
    shares = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0.0]])
    assert concentration(shares) == pytest.approx([1, 0.5, 0, 0])
    assert gap(np.array([0.2, 0.9, 0.5])) == pytest.approx(0.4)


def test_one_column_predicts_by_a_line_or_by_thresholds():
    draw = np.random.default_rng(4)
    x, noise = draw.standard_normal((2, 500))
    numbers = as_variable("t", x + noise)
    lines = threshold_scores(np.stack([x, np.ones(500)], 1), numbers, halves(numbers, 0))
    assert lines == pytest.approx([np.corrcoef(x, x + noise)[0, 1] ** 2, 0])
    classes = as_variable("t", np.arange(500) % 5)
    x = np.stack([classes.classes.numpy() // 2, np.ones(500)], 1).astype(float)  # tells 0, 2 and 4 from one another
    assert threshold_scores(x, classes, halves(classes, 0)) == pytest.approx([3 / 5, 1 / 5])


def test_explicitness_of_numbers_is_that_of_two_classes():
    draw = np.random.default_rng(5)
    x = draw.standard_normal((200, 1))
    ranked = x[:, 0] + 0.8 * draw.standard_normal(200)
    once = factor_scores(x, {"v": ranked}).explicitness
    assert factor_scores(x, {"v": np.exp(ranked)}).explicitness == pytest.approx(once, abs=0.02)
    # of Gaussians with this correlation the share of pairs in order is 1/2 + asin(rho) / pi
    assert once == pytest.approx(0.5 + math.asin(1 / math.sqrt(1.64)) / math.pi, abs=0.04)


def test_one_factor_or_one_column_leaves_empty_what_needs_two():
    aligned, factors = known()
    one = factor_scores(aligned[:, :1], {"a": factors["a"]})
    assert (one.disentanglement, one.disentanglement_of, one.completeness, one.mig, one.sap) == (None,) * 5
    assert one.rows[0].informativeness.r2 > 0.9
    assert "–" in str(one)


def test_factors_may_be_written_in_any_way():
    latents, names_of = known()[0][:60], known()[1]["c"][:60]
    codes = np.unique(names_of, return_inverse=True)[1]
    names, whole, one_hot = (
        factor_scores(torch.tensor(latents), {"c": c}) for c in (names_of, torch.tensor(codes), np.eye(3)[codes])
    )
    assert vars(names.rows[0]) == vars(whole.rows[0])
    assert one_hot.rows[0].mig == pytest.approx(names.rows[0].mig)
    assert one_hot.rows[0].classes == 3
    numbers = factor_scores(latents, {"c": codes}, classes=[])
    assert numbers.rows[0].classes is None


def test_a_group_is_one_row():
    aligned, factors = known()
    clip = np.arange(ROWS) // 3
    scores = factor_scores(aligned, {"a": factors["a"]}, groups=clip)
    assert scores.rows[0].rows == ROWS / 3
    assert scores.rows[0].probes["latent"].linear.rows == ROWS / 3


def mixed(classes):
    draw = np.random.default_rng(classes)
    x = draw.standard_normal((120, 4))
    v = x[:, 1] + 0.5 * x[:, 2]
    target = as_variable("v", np.digitize(v, np.linspace(-1, 1, classes + 1)) if classes else v)
    return x, target, halves(target, 0)


@settings(max_examples=6, deadline=None)
@given(st.permutations(range(4)), st.integers(0, 3))
def test_the_order_of_columns_does_not_matter(order, classes):
    x, target, folds = mixed(classes)
    assert information_gap(x[:, order], target) == information_gap(x, target)
    assert threshold_scores(x[:, order], target, folds) == pytest.approx(
        threshold_scores(x, target, folds)[list(order)]
    )


@pytest.mark.parametrize("classes", [0, 3])
def test_the_order_of_columns_hardly_matters_to_forests(classes):
    (x, target, folds), order = mixed(classes), [2, 0, 3, 1]
    importance, moved = forest(x, target, folds, 0)[0], forest(x[:, order], target, folds, 0)[0]
    assert moved == pytest.approx(importance[order], abs=0.1)  # trees break ties by chance
    completeness = [concentration(i[None])[0] for i in (importance, moved)]
    assert completeness[0] == pytest.approx(completeness[1], abs=0.1)


@pytest.mark.parametrize("factor", [0, 1])
def test_forests_do_not_see_the_unit_of_a_column(factor):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 3))
    values = x[:, 0] + 0.3 * rng.standard_normal(200)
    target = as_variable("t", values if factor == 0 else values > 0)
    folds = halves(as_variable("t", values), 0)
    importances, predicted = forest(x, target, folds, 0)
    assert importances[0] > 0.7
    for units in (2.0**-40, 2.0**150, 2.0 ** np.array([-30, 0, 20])):
        of_other_unit = forest(units * x, target, folds, 0)
        np.testing.assert_array_equal(of_other_unit[0], importances)
        np.testing.assert_array_equal(of_other_unit[1], predicted)


def test_tables_say_what_the_scores_are():
    scores = of("blocks")
    text = str(scores)
    assert len({len(line) for line in text.splitlines()[:2]}) == 1
    last = next(line for line in text.splitlines() if line.startswith("mean")).split()
    assert last == ["mean", "–", *(f"{v:.2f}" for v in (scores.sap, scores.disentanglement, scores.completeness)),
                    f"{scores.explicitness:.2f}"]  # fmt: skip
    assert str(scores.rows[1].probes["L"]) in text
    tables = scores.to_markdown().split("\n\n")[:2]
    for table, columns in zip(tables, (8, 3), strict=True):
        assert {len(re.split(r"(?<!\\)\|", line)) for line in table.splitlines()} == {columns + 2}
    assert scores.to_latex().count(r"\bottomrule") == 2


def test_goes_through_json():
    for scores in (of("aligned"), of("blocks")):
        read = json.loads(json.dumps(scores.to_dict()))
        assert read == scores.to_dict()
        assert read["disentanglement"] == scores.disentanglement
        assert [factor["sap"] for factor in read["factors"]] == [row.sap for row in scores.rows]
        linear = read["factors"][1]["probes"][scores.latents[0]]["linear"]
        assert linear["accuracy"] == scores.rows[1].probes[scores.latents[0]].linear.accuracy


@pytest.mark.parametrize(
    ("latents", "factors", "options", "message"),
    [
        (np.eye(8), {"f": np.ones(8)}, {}, "f: expected a factor that varies, got one that is constant"),
        (np.eye(8), {"f": ["same"] * 8}, {}, "f: expected a factor that varies, got one that is constant"),
        (np.eye(8), {"f": np.eye(8)[:, :2] + 0.5}, {"classes": []}, "f: expected numbers in one column, got 2"),
        (np.eye(8), {"f": [math.nan] * 8}, {}, "f: expected factor finite, got 8 of 8"),
        (np.eye(8), {"f": np.arange(7)}, {}, r"same number of rows, got \{'latent': 8, 'f': 7\}"),
        ({"S": np.eye(8), "L": np.eye(9)}, {"f": np.arange(8)}, {}, r"got \{'S': 8, 'L': 9, 'f': 8\}"),
        (np.eye(8), {}, {}, "expected at least one latent and one factor, got 1 and 0"),
        ({}, {"f": np.arange(8)}, {}, "expected at least one latent and one factor, got 0 and 1"),
        (np.eye(8), {"f": np.arange(8)}, {"classes": ["g"]}, r"expected classes among \['f'\], got \['g'\]"),
        (np.eye(3), {"f": np.arange(3)}, {}, "f: expected at least 4 rows, two per half, got 3"),
        (np.eye(8), {"f": np.arange(8)}, {"groups": np.arange(7)}, r"f: expected groups as \(8,\)"),
    ],
)
def test_refuses(latents, factors, options, message):
    with pytest.raises(ValueError, match=message):
        factor_scores(latents, factors, **options)


def test_refuses_several_columns_of_names():
    with pytest.raises(TypeError, match="f: expected names in one column, got 2 columns"):
        factor_scores(np.eye(8), {"f": [["a", "b"]] * 8})
