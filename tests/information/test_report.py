import functools
import json
import math
import re

import numpy as np
import pytest
import torch

from disentangle.information import (
    DependenceReport,
    dependence_report,
    factor_scores,
    gaussian_mutual_information,
    linear_decodability,
    permutation_test,
    probe_classes,
    probe_numbers,
)


def drawn(rows=120):
    rng = np.random.default_rng(0)
    s, a = rng.standard_normal((rows, 2)), 3 * rng.standard_normal((rows, 3))
    return {"S": s, "L_1": s + 0.5 * rng.standard_normal((rows, 2)), "A": a}


def report(variables, **options):
    return dependence_report(variables, **({"method": "gaussian", "permutations": 39, "progress": False} | options))


@functools.cache
def whole_report():
    return report(drawn(), permutations=199)


def factors_and_variables(rows=120):
    variables = drawn(rows)
    factors = {"shared": variables["S"][:, :1], "label": np.eye(3)[np.arange(rows) % 3]}
    return factors, {name: variables[name] for name in ("S", "A")}


@functools.cache
def report_with_factors():
    factors, variables = factors_and_variables()
    return report(variables, factors=factors, present={"A": np.arange(120) < 90}, seed=3)


def names(result):
    return [(row.x, row.y) for row in result.rows]


def test_holds_what_the_meters_say():
    variables = drawn()
    result = report(variables, pairs=[("S", "A")], seed=3)
    (row,) = result.rows
    x, y = variables["S"], variables["A"]
    assert row.rows == 120
    assert row.information.value == pytest.approx(gaussian_mutual_information(x, y), abs=1e-9)
    assert row.p_value == permutation_test(x, y, permutations=39, seed=3).p_value
    assert row.x_to_y == linear_decodability(x, y, seed=3)
    assert row.y_to_x == linear_decodability(y, x, seed=3)
    for kind in ("linear", "neural"):
        assert getattr(row.probes_x_to_y, kind) == probe_numbers(x, y, kind=kind, seed=3)
        assert getattr(row.probes_y_to_x, kind) == probe_numbers(y, x, kind=kind, seed=3)
    for name, value in variables.items():
        assert result.root_mean_squares[name] == pytest.approx(math.sqrt((value**2).mean()))
        assert result.dimensions[name] == value.shape[1]


def test_says_which_pairs_depend():
    assert names(whole_report()) == [("S", "L_1"), ("S", "A"), ("L_1", "A")]
    first, *others = whole_report().rows
    assert first.p_holm < 0.05
    assert all(row.p_holm > 0.05 for row in others)


def test_p_values_are_adjusted_as_holm_does():
    rng = np.random.default_rng(0)
    x = {name: rng.standard_normal((60, 1)) for name in "abcd"}
    x["b"] += 0.3 * x["a"]
    x["d"] += x["c"]
    rows = report(x, pairs=[("a", "b"), ("c", "d"), ("a", "c"), ("b", "d")], permutations=99).rows
    p = np.array([row.p_value for row in rows])
    for row in rows:  # the least level at which the step-down procedure rejects
        levels = [(p <= q).sum() for q in p]
        wanted = max((len(p) - below + sum(p == q)) * q for q, below in zip(p, levels, strict=True) if q <= row.p_value)
        assert row.p_holm == pytest.approx(min(1, wanted))
        assert row.p_holm >= row.p_value
    assert min(row.p_holm for row in rows) == pytest.approx(4 * min(p))


def test_is_the_same_every_time_and_by_every_selection_of_pairs():
    whole = whole_report()
    tensors = {name: torch.tensor(value) for name, value in drawn().items()}
    selected = report(tensors, pairs=[("L_1", "A")], permutations=199)
    (alone,) = selected.rows
    assert {**vars(alone), "p_holm": 0} == {**vars(whole.rows[2]), "p_holm": 0}
    assert alone.p_holm == alone.p_value
    assert selected.root_mean_squares == whole.root_mean_squares
    assert selected.dimensions == whole.dimensions


def test_compares_variables_with_factors():
    result = report_with_factors()
    assert names(result) == [("S", "A"), ("S", "shared"), ("S", "label"), ("A", "shared"), ("A", "label")]
    assert result.rows[1].x_to_y > 0.99
    assert result.rows[2].x_to_y < 0.2
    assert (result.variables, result.factors) == (("S", "A"), ("shared", "label"))


def test_factors_bring_their_scores():
    result, (factors, variables) = report_with_factors(), factors_and_variables()
    seen = [{name: value[:90] for name, value in given.items()} for given in (variables, factors)]
    assert result.scores == factor_scores(*seen, seed=3)
    for write in (str, DependenceReport.to_markdown, DependenceReport.to_latex):
        assert write(result.scores) in write(result)
    read = json.loads(json.dumps(result.to_dict()))
    assert read["scores"] == result.scores.to_dict()


def test_scores_are_there_where_factors_allow_them():
    s, label = drawn()["S"], np.arange(120) % 3
    wide = report({"S": s}, factors={"both": s})
    assert wide.scores == "both: expected numbers in one column, got 2: give them one by one"
    assert f"no scores of the factors: {wide.scores}" in str(wide)
    told = report({"S": s}, factors={"label": label, "tenths": label / 10}, classes=["tenths"])
    assert [row.classes for row in told.scores.rows] == [None, 3]
    assert report({"S": s}, factors={"both": s[:, :1]}, pairs=[("S", "both")]).scores is None
    assert whole_report().scores is None


@pytest.mark.parametrize("rows", [0, 1])
def test_where_hardly_a_row_has_everything_the_scores_say_so_by_name(rows):
    factors, variables = factors_and_variables(rows=100)
    present = {"A": np.arange(100) < 50 + rows, "shared": np.arange(100) >= 50}
    result = report(variables, factors={"shared": factors["shared"]}, present=present)
    assert result.scores == f"{rows} of 100 rows have all of the variables and factors: S, A, shared"
    assert f"no scores of the factors: {result.scores}" in str(result)


def test_uses_the_rows_that_both_have():
    variables = drawn()
    present = {"S": np.arange(120) < 90, "A": torch.arange(120) % 3 > 0}
    broken = {name: value.copy() for name, value in variables.items()}
    for name, mask in present.items():
        broken[name][~np.asarray(mask)] = math.nan
    result = report(broken, present=present, pairs=[("S", "L_1"), ("S", "A")])
    assert [row.rows for row in result.rows] == [90, 60]
    both = present["S"] & present["A"].numpy()
    selected = {name: value[both] for name, value in variables.items()}
    row = report(selected, pairs=[("S", "A")]).rows[0]
    assert {**vars(row), "p_holm": 0} == {**vars(result.rows[1]), "p_holm": 0}
    assert result.root_mean_squares["S"] == pytest.approx(math.sqrt((variables["S"][:90] ** 2).mean()))


def test_what_fails_for_a_pair_is_a_note_and_the_others_stay():
    variables = drawn() | {"dead": np.zeros((120, 2)), "wide": np.random.default_rng(1).standard_normal((120, 118))}
    present = {"dead": np.arange(120) < 60, "A": np.arange(120) >= 59}
    pairs = [("S", "L_1"), ("S", "dead"), ("S", "wide"), ("A", "dead")]
    result = report(variables, present=present, pairs=pairs)
    rows = {(row.x, row.y): row for row in result.rows}
    assert rows["S", "dead"].x_to_y is None
    assert rows["S", "dead"].p_value == 1
    assert rows["S", "dead"].notes == (
        "x or y is constant",
        "no R²(x→y): expected a target that varies, got one that is constant",
    )
    assert rows["A", "dead"].rows == 1
    assert rows["A", "dead"].notes == ("fewer than 2 rows have both",)
    assert rows["S", "wide"].information is None
    assert rows["S", "wide"].notes == (
        "no information: expected at least 121 rows for x of rank 2 and y of rank 118, got 120",
    )
    assert rows["S", "L_1"].notes == ()
    text = str(result)
    for i, note in enumerate(result.footnotes, 1):
        assert text.count(f"[{i}] {note}") == 1
    assert len(result.footnotes) == len({note for row in result.rows for note in row.notes})
    line = next(line for line in text.splitlines() if line.split()[:2] == ["S", "dead"])
    numbers = [result.footnotes.index(note) + 1 for note in rows["S", "dead"].notes]
    assert line.split()[-len(numbers) :] == [f"{number}," for number in numbers[:-1]] + [str(numbers[-1])]


def test_a_variable_that_hardly_a_row_has_is_a_note():
    result = report(drawn(), present={"A": np.arange(120) == 7})
    assert [row.notes for row in result.rows[1:]] == [("fewer than 2 rows have both",)] * 2
    assert set(result.dimensions) == set(result.root_mean_squares) == {"S", "L_1"}
    assert "fewer than 2 rows have both" in str(result)


def test_estimates_say_what_to_know():
    result = report({"a": np.ones((100, 1)), **drawn(100)}, pairs=[("S", "L_1"), ("a", "S")])
    assert set() < set(result.rows[1].information.warnings) <= set(result.footnotes)


def test_text_is_aligned_and_complete():
    result = whole_report()
    header, rule, *body = str(result).splitlines()[:5]
    assert len({len(line) for line in (header, rule, *body)}) == 1
    gaps = [i for i, character in enumerate(rule) if character == " "]
    assert all(line[i] == " " for line in (header, *body) for i in gaps)
    for line, row in zip(body, result.rows, strict=True):
        assert line.split()[:4] == [row.x, row.y, "120", f"{row.information.value:z.3f}"]
    assert "notes" not in header
    assert "199 permutations; p (Holm): adjusted for 3 pairs" in str(result)
    sizes = ", ".join(
        f"{name} {size:.3g} ({result.dimensions[name]})" for name, size in result.root_mean_squares.items()
    )
    assert f"root mean square (columns): {sizes}\n" in str(result) + "\n"


def test_says_when_there_are_too_few_permutations():
    sentence = "p (Holm) cannot be below 0.1 with 19 permutations and 2 pairs; draw more"
    assert sentence in str(report(drawn(), pairs=[("S", "L_1"), ("S", "A")], permutations=19))
    assert "cannot be below" not in str(whole_report())


def test_markdown_has_as_many_cells_everywhere():
    variables = {"S": drawn()["S"], "a|b": np.random.default_rng(5).standard_normal((120, 1))}
    text = report(variables).to_markdown()
    table = text.split("\n\n")[0].splitlines()
    assert len(table) == 2 + 1
    assert {len(re.split(r"(?<!\\)\|", line)) for line in table} == {12}
    assert r"a\|b" in text


def test_latex_is_a_table_of_booktabs():
    variables = drawn() | {"50%_&~^\\{$#": np.zeros((120, 1))}
    text = report(variables, pairs=[("L_1", "A"), ("S", "50%_&~^\\{$#")]).to_latex()
    tabular, notes = text.split(r"\end{tabular}")
    columns = re.match(r"\\begin\{tabular\}\{([lr]+)\}", tabular).group(1)
    lines = [line for line in tabular.splitlines() if line.endswith(r"\\")]
    assert len(lines) == 1 + 2
    assert {len(re.split(r"(?<!\\)&", line)) for line in lines} == {len(columns)}
    for rule in ("toprule", "midrule", "bottomrule"):
        assert tabular.count(f"\\{rule}") == 1
    assert r"L\_1" in tabular
    assert r"50\%\_\&\textasciitilde{}\textasciicircum{}\textbackslash{}\{\$\#" in tabular
    assert text.count("{") - text.count(r"\{") == text.count("}")
    assert not re.search(r"[²→−–]|(?<!\\)%", text)
    assert r"x$\to$y: y predicted from x by a linear / neural probe" in notes
    assert re.search(r"& \$-\$0\.\d\d ", tabular)  # a minus


def test_goes_through_json():
    factors = {"f": np.random.default_rng(9).standard_normal((120, 1)), "who": ["anna", "ben", "cem"] * 40}
    result = report(drawn(), factors=factors, pairs=[("S", "f"), ("S", "who")])
    read = json.loads(json.dumps(result.to_dict()))
    assert read == result.to_dict()
    assert [pair["nats"] for pair in read["pairs"]] == [row.information.value for row in result.rows]
    assert read["pairs"][0]["interval"] == list(result.rows[0].information.interval)
    assert read["pairs"][0]["bound"]["side"] in ("upper", "lower", "neither")
    assert read["root_mean_squares"] == result.root_mean_squares
    numbers, classes = (pair["probes_x_to_y"]["neural"] for pair in read["pairs"])
    assert numbers["r2"] == result.rows[0].probes_x_to_y.neural.r2
    assert classes["chance"] == pytest.approx(1 / 3)
    assert classes["interval"] == list(result.rows[1].probes_x_to_y.neural.interval)


def test_of_classes_the_accuracy_stands_beside_chance():
    rng = np.random.default_rng(0)
    speaker = np.repeat(["anna", "ben", "cem"], [60, 30, 30])
    content, voice = rng.standard_normal((2, 120, 2))
    voice[:, 0] += 6 * (speaker == "ben") + 12 * (speaker == "cem")
    pairs = [("content", "who"), ("voice", "who")]
    result = report({"content": content, "voice": voice}, factors={"who": speaker}, pairs=pairs)
    none, all_of_it = result.rows
    for kind in ("linear", "neural"):
        assert getattr(none.probes_x_to_y, kind).accuracy < 0.6
        assert getattr(all_of_it.probes_x_to_y, kind) == probe_classes(voice, speaker, kind=kind)
        assert getattr(all_of_it.probes_x_to_y, kind).accuracy > 0.95
    line = next(line for line in str(result).splitlines() if line.startswith("voice"))
    found = all_of_it.probes_x_to_y
    assert f"{found.linear.accuracy:.2f} / {found.neural.accuracy:.2f} (0.50)" in line


def test_a_group_is_one_row_to_the_probes():
    rng = np.random.default_rng(1)
    clip = np.arange(50).repeat(5)
    x, speaker = rng.standard_normal((50, 40))[clip], np.arange(50)[clip] % 2
    x = x + 1e-3 * rng.standard_normal(x.shape)
    by_clip, by_row = (report({"x": x, "who": speaker}, groups=groups).rows[0] for groups in (clip, None))
    assert by_clip.probes_x_to_y.linear.rows == 50
    assert by_clip.probes_x_to_y.linear.accuracy < 0.8
    assert by_row.probes_x_to_y.linear.accuracy > 0.9  # near-copies on both sides tell the speaker


def noisy(rows=120, draws=3):
    """A factor, and a latent that tells its sign under much noise: draws of it."""
    rng = np.random.default_rng(0)
    factor = rng.standard_normal(rows)
    return factor, np.sign(factor)[:, None] + 3 * rng.standard_normal((draws, rows, 2))


def test_of_a_noisy_latent_probes_are_those_of_all_draws_and_the_rest_of_the_first():
    factor, draws = noisy()
    names = np.where(factor > 0, "up", "down")
    result = report({"z": draws}, factors={"f": factor, "sign": names}, seed=2)
    without_noise = report({"z": draws[0], "f": factor}, seed=2)
    (of_first,) = without_noise.rows
    of_number, of_class = result.rows
    assert of_number.information == of_first.information
    assert of_number.p_value == of_first.p_value
    assert result.root_mean_squares["z"] == pytest.approx(math.sqrt((draws[0] ** 2).mean()))
    assert result.dimensions["z"] == 2
    assert result.draws == result.to_dict()["draws"] == {"z": 3}
    assert "draws of the noise of each row, which probes read: z 3" in str(result)
    assert "draws of the noise" not in str(without_noise)
    for kind in ("linear", "neural"):
        assert getattr(of_number.probes_x_to_y, kind) == probe_numbers(draws, factor, kind=kind, seed=2)
        assert getattr(of_class.probes_x_to_y, kind) == probe_classes(draws, names, kind=kind, seed=2)
        assert getattr(of_number.probes_y_to_x, kind) == probe_numbers(factor, draws[0], kind=kind, seed=2)
        by_scores = {row.factor: getattr(row.probes["z"], kind) for row in result.scores.rows}
        assert by_scores == {"f": getattr(of_number.probes_x_to_y, kind), "sign": getattr(of_class.probes_x_to_y, kind)}
    assert of_number.x_to_y == linear_decodability(draws, factor, seed=2) == of_number.probes_x_to_y.linear.r2
    assert of_class.x_to_y == linear_decodability(draws, names, seed=2)


def test_draws_may_be_those_of_the_rows_that_have_them():
    factor, draws = noisy()
    has = np.arange(len(factor)) % 4 > 0
    hidden = np.where(has[:, None], draws, np.nan)
    whole, some = (
        report(variables, present=present).rows[0]
        for variables, present in (
            ({"z": hidden, "f": factor}, {"z": has}),
            ({"z": draws[:, has], "f": factor[has]}, None),
        )
    )
    assert whole == some


def test_draws_a_symmetric_matrix(tmp_path):
    variables = drawn()
    result = report(
        variables, factors={"f": np.random.default_rng(9).standard_normal((120, 1))}, pairs=[("S", "L_1"), ("f", "A")]
    )
    result.plot(tmp_path / "report.svg")
    written = re.findall(r"<!-- (.*?) -->", (tmp_path / "report.svg").read_text())
    assert written.count(f"{result.rows[0].information.value:z.2f}") == 2
    assert written.count(f"{result.rows[1].information.value:z.2f}".replace("-", "−")) == 1
    assert written.count("–") == 3 * 4 - 3
    assert {"S", "L_1", "A", "f", "nats", "Mutual information"} <= set(written)


def test_noise_is_not_dark(tmp_path):
    rng = np.random.default_rng(0)
    result = report({name: rng.standard_normal((120, 1)) for name in "ab"})
    result.plot(tmp_path / "report.svg")
    assert "0.5" in re.findall(r"<!-- (.*?) -->", (tmp_path / "report.svg").read_text())  # on the colour bar


def test_refuses_what_fails_for_every_pair():
    wide = dict(zip("ab", np.random.default_rng(0).standard_normal((2, 60, 30)), strict=True))
    with pytest.raises(
        ValueError, match=r"expected a pair whose information .*, got no information: expected at least 61 rows"
    ):
        report(wide)


def test_shows_its_progress(capfd):
    report(drawn(), pairs=[("S", "A")], progress=True)
    assert "1/1" in capfd.readouterr().err
    report(drawn(), pairs=[("S", "A")])
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairs": []}, r"expected at least one pair of variables, got none of \['A', 'L_1', 'S'\]"),
        ({"pairs": [("S", "X")]}, r"expected a pair of two of \['A', 'L_1', 'S'\], got \('S', 'X'\)"),
        ({"pairs": [("S", "S")]}, r"expected a pair of two of .*, got \('S', 'S'\)"),
        (
            {"pairs": [("S", "A"), ("A", "S")]},
            r"expected each pair once, in one order, got \[\('S', 'A'\), \('A', 'S'\)\]",
        ),
        ({"factors": {"S": np.zeros((120, 1))}}, r"expected different names for .*, got \['S'\] for both"),
        (
            {"factors": {"f": np.zeros((9, 1))}},
            r"the same number of rows, got \{'S': 120, 'L_1': 120, 'A': 120, 'f': 9\}",
        ),
        ({"factors": {"f": np.zeros((120, 1, 1))}}, r"expected f as \(rows, dim\) or .* got shape \(120, 1, 1\)"),
        ({"groups": np.zeros(9)}, r"expected groups as \(120,\), one for each row, got \(9,\)"),
        ({"classes": ["g"]}, r"expected classes among \['A', 'L_1', 'S'\], got \['g'\]"),
        ({"factors": {"f": np.full((120, 1), math.nan)}}, "expected f finite, got 120 of 120 values that are not"),
        ({"present": {"S": np.ones(120)}}, r"the presence of S as bool \(120,\), got float64 \(120,\)"),
        ({"present": {"S": np.ones(9, bool)}}, r"the presence of S as bool \(120,\), got bool \(9,\)"),
        ({"present": {"s": np.ones(120, bool)}}, r"expected presences of \['A', 'L_1', 'S'\], got \['s'\]"),
        ({"permutations": 0}, "expected at least 1 permutation, got 0"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        report(drawn(), **options)


def test_what_is_not_named_as_classes_is_numbers_in_each_column():
    draw = np.random.default_rng(0)
    stars = draw.integers(1, 6, 200)  # would be taken for classes, of which there are five
    x = (stars + 0.1 * draw.normal(size=200))[:, None]
    (row,) = report({"x": x}, factors={"stars": stars}, classes=[], pairs=[("x", "stars")]).rows
    assert row.x_to_y > 0.98
    assert row.x_to_y == pytest.approx(row.probes_x_to_y.linear.r2, abs=0.01)
