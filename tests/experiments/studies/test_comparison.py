import csv
import io
import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

from disentangle.errors import DataWarning, RunError
from disentangle.experiments import compare_runs
from disentangle.metrics import label_scale
from disentangle.tasks import Regression

LABELS = np.random.default_rng(0).uniform(-40, 40, 50).round(3)
TASK = Regression(label_scale(LABELS))


def write(folder, outcomes=None, *, result=None, config=None, labels=LABELS, ids=None):
    """A finished run as the program leaves it: its metrics, and what it predicted where that is given."""
    folder.mkdir(parents=True, exist_ok=True)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    if outcomes is not None:
        outcomes = np.reshape(outcomes, (-1, 1))
        kept = {"task": TASK.to_dict(), "outcomes": outcomes.tolist(), "labels": labels.tolist()}
        (folder / "predictions.json").write_text(json.dumps(kept | ({"ids": ids} if ids else {})))
        result = {"test": TASK.metrics(outcomes, labels)} if result is None else result
    if result is not None:
        (folder / "result.json").write_text(json.dumps(result))
    return folder


def system(folder, errors, size=4.0):
    """A run for each seed, whose predictions are off by noise of the seed and, beside it, by `errors`."""
    for seed, error in enumerate(errors):
        noise = np.random.default_rng(seed).normal(size=len(LABELS))
        write(folder / f"seed-{seed}", LABELS + error + size * noise)
    return folder


def maes(folder, values, name="mae"):
    for seed, value in values.items():
        write(folder / f"seed-{seed}", result={"test": {name: value}, "valid": {name: 1.0}})
    return folder


def test_means_over_seeds_and_differences_over_those_in_common(tmp_path):
    one = maes(tmp_path / "one", {0: 1.0, 1: 2.0, 2: 9.0})
    other = maes(tmp_path / "other", {1: 1.5, 0: 0.25, 7: 100.0})
    table = compare_runs({"one": one, "other": other})
    assert table.values("one", "mae") == [1.0, 2.0, 9.0]
    (difference,) = table.differences
    assert (difference.system, difference.metric, difference.seeds) == ("other", "mae", 2)
    assert difference.mean == pytest.approx((-0.75 - 0.5) / 2)
    assert "| one | 3 | 4.000 ± 4.359 |" in table.to_markdown()  # the deviations -3, -2, 5 over 2
    assert "difference: each less one" in str(table)
    assert compare_runs({"one": one, "other": other}, against="other").differences[0].mean == -difference.mean


def test_equal_runs_differ_by_nothing(tmp_path):
    runs = {"a": system(tmp_path / "a", [0, 1, 2]), "b": system(tmp_path / "b", [0, 1, 2])}
    for each in compare_runs(runs, resamples=50).differences:
        assert (each.mean, each.interval, each.p_t, each.p_wilcoxon) == (0.0, None, None, None)
        assert each.rows_interval == (0.0, 0.0)


def test_a_mean_over_some_of_the_seeds_says_so(tmp_path):
    runs = {
        "a": maes(tmp_path / "a", {0: 0.8, 1: 0.9, 2: 1.0}),
        "b": maes(tmp_path / "b", {0: 0.8, 1: float("nan"), 2: None}),
    }
    table = compare_runs(runs)
    assert table.values("b", "mae") == [0.8]
    for text in (str(table), table.to_markdown()):
        assert "b mae: over the 1 of 3 seeds that have a value" in text
        assert "a mae: over" not in text


def test_data_are_compared_where_the_first_run_does_not_say_them(tmp_path):
    runs = {
        "a": write(tmp_path / "a", result={"test": {"mae": 1.0}}),
        "b": write(tmp_path / "b", result={"test": {"mae": 1.0}}, config={"data": "mosi.pkl", "seed": 0}),
        "c": write(tmp_path / "c", result={"test": {"mae": 1.0}}, config={"data": "iemocap.pkl", "seed": 0}),
    }
    with pytest.raises(ValueError, match=r"expected the data of b, mosi.pkl, got iemocap.pkl in c"):
        compare_runs(runs)


def test_the_bootstrap_is_of_the_mean_over_seeds_and_holds_the_difference(tmp_path):
    runs = {"good": system(tmp_path / "good", [0, 0]), "bad": system(tmp_path / "bad", [3, 4], size=8.0)}
    mae = compare_runs(runs, resamples=300).differences[0]
    low, high = mae.rows_interval
    assert mae.metric == "mae"
    assert 0 < low < mae.mean < high
    assert compare_runs(runs, resamples=300).differences[0].rows_interval == (low, high)
    assert compare_runs(runs, resamples=0).differences[0].rows_interval is None


@pytest.mark.parametrize("form", ["video{}[{}]", "video{}$_${}", "video{}_{}.5_10.0"])
def test_clips_of_one_video_are_drawn_together_where_their_names_tell(tmp_path, form):
    """Where all rows of a video have one error, its rows tell no more than one of them does."""
    draw = np.random.default_rng(0)
    labels, errors = np.repeat(LABELS[:10], 5), np.repeat(draw.uniform(1, 9, 10), 5)
    ids = [form.format(k // 5, k % 5) for k in range(50)]
    one = write(tmp_path / "one", labels + errors, labels=labels)  # a run of an earlier version
    other = write(tmp_path / "other", labels + 1, labels=labels, ids=ids)
    table = compare_runs({"one": one, "other": other}, resamples=400)
    assert (table.rows, table.videos) == (50, 10)
    assert "paired bootstrap over the 10 videos of the 50 rows of the test split" in str(table)
    low, high = table.differences[0].rows_interval
    spread = errors[::5].std() / np.sqrt(10)  # of a mean of ten that are drawn with replacement
    assert high - low == pytest.approx(2 * 1.96 * spread, rel=0.15)


@pytest.mark.parametrize(
    "ids", [["5"] + [f"v[{k}]" for k in range(49)], [f"v{k}[0]" for k in range(50)], ["v[0]"] * 50]
)
def test_names_that_tell_no_videos_leave_rows_to_be_drawn(tmp_path, ids):
    runs = {name: write(tmp_path / name, LABELS + error, ids=ids) for name, error in (("a", 1), ("b", 2))}
    table = compare_runs(runs, resamples=20)
    assert table.videos == 0
    assert "paired bootstrap over the 50 rows" in str(table)


def test_a_metric_of_the_experiments_own_has_no_bootstrap(tmp_path):
    """Predictions give other numbers than the result has: nothing can be drawn anew."""
    for name in ("a", "b"):
        write(tmp_path / name, LABELS + 1, result={"test": {"mae": 0.5, "corr": 1.0}})
    table = compare_runs({"a": tmp_path / "a", "b": tmp_path / "b"}, resamples=20)
    assert [(each.metric, each.rows_interval is None) for each in table.differences] == [("mae", True), ("corr", False)]


def test_runs_without_predictions_have_no_bootstrap_whichever_of_them_they_are(tmp_path):
    runs = {name: system(tmp_path / name, [k]) for k, name in enumerate(("base", "first", "second"))}
    (runs["base"] / "seed-0" / "predictions.json").unlink()
    table = compare_runs(runs, resamples=20)
    assert [each.rows_interval for each in table.differences] == [None] * len(table.differences)
    assert (table.rows, "bootstrap" in str(table)) == (0, False)
    table = compare_runs(runs, against="first", resamples=20)
    assert {each.system for each in table.differences if each.rows_interval} == {"second"}
    assert table.rows == len(LABELS)


def test_single_runs_compare_by_their_seed_and_without_tests(tmp_path):
    for name, mae in (("a", 1.0), ("b", 0.5)):
        write(tmp_path / name, result={"test": {"mae": mae}}, config={"seed": 3, "data": "x/m.pkl"})
    table = compare_runs({name: tmp_path / name for name in "ab"})
    assert list(table.results["a"]) == [3]
    assert "| b | mae | -0.500 | 1 |\n" in table.to_markdown()  # and no columns of what one seed cannot tell
    write(tmp_path / "c", result={"test": {"mae": 1.0}}, config={"seed": 4, "data": "m.pkl"})
    with pytest.raises(ValueError, match=r"^expected a seed of a, 3, in c, got 4$"):
        compare_runs({name: tmp_path / name for name in "ac"})


def test_a_value_that_is_undefined_is_left_out(tmp_path):
    one, other = maes(tmp_path / "one", {0: None, 1: 2.0}), maes(tmp_path / "other", {0: 1.0, 1: 1.5})
    none = maes(tmp_path / "none", {0: None})
    table = compare_runs({"one": one, "other": other, "none": none})
    assert [(each.system, each.seeds, each.mean) for each in table.differences] == [("other", 1, -0.5)]
    assert "| none | 1 | – |" in table.to_markdown()


def test_latex_escapes_names_and_percent(tmp_path):
    one, other = (maes(tmp_path / name, {0: 1.0, 1: 2.0 + k}, "acc_7") for k, name in enumerate(("a_b", "50%")))
    text = compare_runs({"a_b": one, "50%": other}).to_latex()
    assert r"system & seeds & acc\_7 \\" in text
    assert r"a\_b & 2 & 1.500 $\pm$ 0.707 \\" in text
    assert r"50\% & acc\_7 & +0.500 & 2 & [" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    assert text.replace(r"\%", "").count("%") == text.replace(r"\_", "").count("_") == 0


def test_csv_holds_every_system_and_metric_in_full_precision(tmp_path):
    one, other = maes(tmp_path / "one", {0: 1 / 3, 1: 2 / 3}), maes(tmp_path / "other", {0: 0.1, 1: 0.7})
    table = compare_runs({"one": one, "other": other})
    lines = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert [(line["system"], float(line["mean"]), line["seeds"]) for line in lines] == [
        ("one", 0.5, "2"),
        ("other", pytest.approx(0.4), "2"),
    ]
    assert lines[0]["difference"] == lines[0]["p_t"] == ""
    assert float(lines[1]["difference_low"]) == table.differences[0].interval[0]
    assert lines[1]["common_seeds"] == "2"


def test_it_is_saved_in_four_notations(tmp_path):
    table = compare_runs({"one": maes(tmp_path / "one", {0: 1.0, 1: 2.0}), "none": maes(tmp_path / "none", {0: None})})
    table.save(tmp_path / "new" / "folder")
    names = ["comparison.csv", "comparison.md", "comparison.png", "comparison.tex"]
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == names
    assert (tmp_path / "new" / "folder" / "comparison.md").read_text() == f"{table.to_markdown()}\n"
    table.save(tmp_path / "new" / "folder")  # again, in its place


@pytest.mark.slow
def test_what_is_saved_is_utf_8_whatever_the_locale(tmp_path):
    for name, values in {"one": {0: 1.0, 1: 2.0}, "other": {0: 1.5, 1: 0.5}}.items():
        maes(tmp_path / name, values)
    program = (
        "import sys; from disentangle.experiments import compare_runs; folder = sys.argv[1]; "
        "compare_runs({'one': folder + '/one', 'other': folder + '/other'}).save(folder + '/out')"
    )
    elsewhere = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], env=elsewhere, check=True)
    assert "1.500 ± 0.707" in (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8")


def test_a_terminal_gets_columns_and_a_notebook_markdown(tmp_path):
    table = compare_runs({"one": maes(tmp_path / "one", {0: 1.0, 1: 2.0}), "none": maes(tmp_path / "none", {0: None})})
    first, rule, *_ = str(table).splitlines()
    assert first.split() == ["system", "seeds", "mae"]
    assert set(rule) == {"─", " "}
    assert "|" not in str(table)
    assert str(table).splitlines()[-1] in table.to_markdown().splitlines()[-1]  # the same notes below
    assert table._repr_markdown_() == table.to_markdown()


def refused(runs, message, error=ValueError, **options):
    with pytest.raises(error) as caught:
        compare_runs(runs, **options)
    assert str(caught.value) == message


def test_runs_of_other_data_labels_or_metrics_are_refused(tmp_path):
    def run(name, **config):
        return write(
            tmp_path / name, result={"test": {"mae": 1.0}}, config={"data": "some/mosi.pkl", "label": None, **config}
        )

    a = run("a")
    assert compare_runs({"a": a, "b": run("b", data="elsewhere/mosi.pkl")}).differences[0].mean == 0.0
    refused({"a": a, "b": run("b", data="mosei.pkl")}, "expected the data of a, mosi.pkl, got mosei.pkl in b")
    refused({"a": a, "b": run("b", data=None)}, "expected the data of a, mosi.pkl, got the embedded set in b")
    refused({"a": a, "b": run("b", label=["joy"])}, "expected the label of a, the main one, got joy in b")
    refused({"a": a, "b": run("b", task="binary")}, "expected the task of a, told from the labels, got binary in b")
    other = maes(tmp_path / "other", {0: 0.5}, "acc")
    refused({"a": a, "o": other}, "expected the metrics of a, mae, got acc in o")


def test_data_are_compared_by_their_checksums_where_two_runs_have_them_and_else_by_name(tmp_path):
    def run(name, path, digest=None):
        checksums = {} if digest is None else {"_checksums": {path: digest, "more.pkl": "f" * 64}}
        config = {"data": path, "label": None, **checksums}
        return write(tmp_path / name, result={"test": {"mae": 1.0}}, config=config)

    one, two = "1" * 64, "2" * 64
    a, old = run("a", "some/mosi.pkl", one), run("old", "mosi.pkl")
    assert compare_runs({"a": a, "b": run("b", "copy.pkl", one)}).differences[0].mean == 0.0
    assert compare_runs({"a": a, "old": old}).differences[0].mean == 0.0
    wrong = run("wrong", "mosi.pkl", two)
    message = "expected the data of a, mosi.pkl, SHA-256 111111111111…, got mosi.pkl, SHA-256 222222222222… in wrong"
    refused({"a": a, "wrong": wrong}, message)
    refused({"old": old, "a": a, "wrong": wrong}, message)  # though each has the name of the first
    refused({"a": a, "c": run("c", "mosei.pkl")}, "expected the data of a, mosi.pkl, got mosei.pkl in c")


def test_runs_of_several_versions_of_one_program_are_warned_of(tmp_path):
    def run(name, seed, program, digest=None):
        config = {"data": "mosi.pkl", "seed": seed, "_program": program}
        config |= {} if digest is None else {"_program_checksum": 64 * digest}
        return write(tmp_path / name / f"seed-{seed}", result={"test": {"mae": 1.0}}, config=config).parent

    for seed, digest in enumerate("aab"):
        run("mixed", seed, "ours.py", digest)
    run("theirs", 0, "theirs.py", "c")
    run("before", 0, "ours.py")  # there were checksums
    message = (
        "ours.py: expected runs of one version of this file, got 2, or programs of one name: "
        "SHA-256 aaaaaaaaaaaa…: mixed, seed 0, mixed, seed 1; "
        "SHA-256 bbbbbbbbbbbb…: mixed, seed 2. A run whose folder is removed is trained anew"
    )
    with pytest.warns(DataWarning) as caught:
        compare_runs({name: tmp_path / name for name in ("mixed", "theirs", "before")})
    assert [str(each.message) for each in caught] == [message]
    run("part", 0, "ours.py", "b")
    run("whole", 0, "ours.py", "b")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compare_runs({name: tmp_path / name for name in ("whole", "part", "theirs", "before")})
    with pytest.warns(DataWarning, match=r"aaaaaaaaaaaa…: other; SHA-256 bbbbbbbbbbbb…: part\."):
        compare_runs({"other": run("other", 0, "ours.py", "a"), "part": tmp_path / "part"})


def test_other_labels_of_the_test_split_are_refused(tmp_path):
    a, b = write(tmp_path / "a", LABELS), write(tmp_path / "b", LABELS[:-1], labels=LABELS[:-1])
    ids = [str(k) for k in range(50)]
    named = write(tmp_path / "named", LABELS, ids=ids)
    message = "expected the 50 ids of the test split of named, got 50 that differ from these in turned"
    refused({"a": a, "named": named, "turned": write(tmp_path / "turned", LABELS, ids=ids[::-1])}, message)
    message = "expected the 50 labels of the test split of a, got 49 that differ from these in b"
    refused({"a": a, "b": b}, message)


def test_what_is_no_finished_run_is_refused(tmp_path):
    a = maes(tmp_path / "a", {0: 1.0})
    empty, begun, many = tmp_path / "empty", tmp_path / "begun", tmp_path / "many"
    empty.mkdir()
    write(begun, config={"data": None})
    maes(many, {0: 1.0})
    (many / "config.json").write_text(json.dumps({"seeds": [0, 1]}))
    message = f"{empty}: expected the folder of a finished run, or of many seeds, got none"
    refused({"a": a, "b": empty}, message, RunError)
    refused({"b": begun}, f"{begun}: expected a finished run, got one without a result.json", RunError)
    refused({"b": many}, f"{many}: expected a finished run, got one with seeds unfinished: 1", RunError)
    refused({}, "expected at least 1 run, got 0")
    refused({"a": a}, "expected one of a to compare against, got 'b'", against="b")
    refused({"a": a}, "expected metrics of 'train' in a, got those of test, valid", split="train")


@pytest.mark.parametrize("text", ["{", "[1]", '{"test": 1}'])
def test_a_result_that_cannot_be_read_is_an_error_of_one_line(tmp_path, text):
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(RunError, match=r"result\.json: (cannot be read|expected)[^\n]*$"):
        compare_runs({"a": tmp_path})


@pytest.mark.parametrize("kept", [{}, {"task": {}, "outcomes": [[1.0]], "labels": [1.0]}, {"task": 1}])
def test_predictions_that_cannot_be_read_are_an_error_of_one_line(tmp_path, kept):
    write(tmp_path, result={"test": {"mae": 1.0}})
    (tmp_path / "predictions.json").write_text(json.dumps(kept))
    with pytest.raises(RunError, match=r"predictions\.json: expected task, outcomes \(N, K\)[^\n]*$"):
        compare_runs({"a": tmp_path})


def test_small_metrics_and_differences_keep_their_digits_and_their_sign(tmp_path):
    one = maes(tmp_path / "one", {0: 0.0008, 1: 0.0012, 2: 0.0010})
    other = maes(tmp_path / "other", {0: 0.0005, 1: 0.0008, 2: 0.0005})
    text = compare_runs({"one": one, "other": other}).to_markdown()
    assert "| one | 3 | 0.00100 ± 0.00020 |" in text
    assert "| other | mae | -0.000400 | 3 | [-0.000648, -0.000152] |" in text  # 4e-4 ± 4.303 · 1e-4 / √3
