import math

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, r2_score

from disentangle.information import ClassProbe, linear_decodability, probe_classes, probe_numbers
from disentangle.information.probe_models import CLASS_EPOCHS, model_of_classes

KINDS = ["linear", "neural"]


def two_classes(rows=300, apart=1.5):
    rng = np.random.default_rng(0)
    y = rng.random(rows) < 0.4
    return rng.standard_normal((rows, 2)) + apart * y[:, None] * [1, 0], y


@pytest.mark.parametrize("kind", KINDS)
def test_reads_what_is_there_and_nothing_else(kind):
    rng = np.random.default_rng(0)
    x, noise = rng.standard_normal((2, 400, 3))
    found = probe_numbers(x, x[:, :1] + noise[:, :1], kind=kind)  # half of the variance
    assert found.r2 == pytest.approx(0.5, abs=0.1)
    assert found.interval[0] < 0.5 < found.interval[1]
    assert -0.2 < probe_numbers(x, noise, kind=kind).r2 < 0.05


def test_only_the_network_sees_a_curve():
    x = np.random.default_rng(0).uniform(-1, 1, (400, 2))
    assert probe_numbers(x, x[:, 0] ** 2, kind="linear").r2 < 0.05
    assert probe_numbers(x, x[:, 0] ** 2, kind="neural").r2 > 0.9
    apart = x.prod(1) > 0
    assert probe_classes(x, apart, kind="linear").accuracy < 0.6
    assert probe_classes(x, apart, kind="neural").accuracy > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_classes_without_a_trace_are_read_at_chance(kind):
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((600, 3)), rng.choice(3, 600, p=[0.6, 0.3, 0.1])
    found = probe_classes(x, y, kind=kind)
    assert found.chance == np.bincount(y).max() / 600
    assert found.accuracy == pytest.approx(found.chance, abs=0.05)
    assert found.balanced_accuracy == pytest.approx(1 / 3, abs=0.05)
    assert found.auc == pytest.approx(0.5, abs=0.06)


def test_the_linear_probe_of_numbers_is_linear_decodability():
    x, noise = np.random.default_rng(2).standard_normal((2, 100, 4))
    assert probe_numbers(x, x + noise, kind="linear", seed=5).r2 == linear_decodability(x, x + noise, seed=5)


def test_the_error_of_r2_is_that_of_many_draws():
    values, errors = [], []
    for seed in range(60):
        x, noise = np.random.default_rng(seed).standard_normal((2, 200))
        found = probe_numbers(x, x + noise, kind="linear")
        values.append(found.r2)
        errors.append(found.standard_error)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.25)


def test_given_rows_are_held_out_and_scored_as_scikit_learn_does():
    x, y = two_classes()
    names = np.where(y, "yes", "no")
    found = probe_classes(x[:200], names[:200], test=(x[200:], names[200:]), kind="linear")
    mean, size = x[:200].mean(0), x[:200].std(0)
    model = LogisticRegression().fit((x[:200] - mean) / size, names[:200])
    test, said = (x[200:] - mean) / size, model.predict((x[200:] - mean) / size)
    assert found.accuracy == (said == names[200:]).mean()
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(names[200:], said))
    assert found.chance == max(y[200:].sum(), (~y[200:]).sum()) / 100
    assert found.rows == 100
    score = model.predict_proba(test)[:, 1]
    wins = mannwhitneyu(score[y[200:]], score[~y[200:]]).statistic
    assert found.auc == pytest.approx(wins / (y[200:].sum() * (~y[200:]).sum()))


def test_given_rows_of_numbers_are_scored_as_scikit_learn_does():
    x = np.arange(8.0)
    t = np.array([0, 2, 4, 6, 9, 9, 13, 13.5])
    found = probe_numbers(x[:4], t[:4], test=(x[4:], t[4:]), kind="linear")  # t = 2 x there
    assert found.r2 == pytest.approx(r2_score(t[4:], 2 * x[4:]), abs=0.01)


def test_a_class_that_is_not_learnt_is_missed():
    x = np.linspace(0, 1, 40)[:, None]
    train, test = np.array([0, 1] * 20), np.array([2] * 20 + [0, 1] * 10)
    found = probe_classes(x, train, test=(x, test), kind="linear")
    assert (found.classes, found.chance) == (3, 0.5)
    assert found.accuracy <= 0.5
    assert probe_classes(x, np.zeros(40), test=(x, train)).accuracy == 0.5  # one class alone is learnt


def test_says_the_same_of_every_way_to_write_classes():
    x, y = two_classes(100)
    for kind in KINDS:
        whole = probe_classes(x, y, kind=kind)
        for same in (y * 7.0, np.where(y, "b", "a"), torch.tensor(y)):
            assert probe_classes(torch.tensor(x), same, kind=kind) == whole
    whole = probe_classes(x, y, kind="linear")
    for same in (~y, np.eye(2)[y.astype(int)]):  # the classes in another order
        assert vars(probe_classes(x, same, kind="linear")) == pytest.approx(vars(whole))


def test_copies_and_groups_are_on_one_side():
    rng = np.random.default_rng(3)
    clip = np.arange(40).repeat(5)
    x, y = rng.standard_normal((40, 30))[clip], rng.permutation(np.arange(40) % 2)[clip]
    assert probe_classes(x, y, kind="linear").rows == 40
    near = x + 1e-3 * rng.standard_normal(x.shape)
    assert probe_classes(near, y, kind="linear").accuracy > 0.95  # by heart
    found = probe_classes(near, y, kind="linear", groups=clip)
    assert found.rows == 40
    assert found.accuracy < 0.75


def test_intervals_of_accuracy_are_wilsons():
    n, p, z = 50, 0.9, 1.959964
    found = ClassProbe("linear", p, 0.5, p, p, 2, n)
    center, width = (p + z**2 / (2 * n)) / (1 + z**2 / n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert found.interval == pytest.approx((center - width / (1 + z**2 / n), center + width / (1 + z**2 / n)), abs=1e-5)
    assert found.standard_error == pytest.approx(math.sqrt(p * (1 - p) / n))


@pytest.mark.parametrize("kind", KINDS)
def test_few_rows_and_rare_classes_are_no_failure(kind):
    rng = np.random.default_rng(4)
    assert probe_numbers(rng.standard_normal((4, 2)), np.arange(4.0), kind=kind).rows == 4
    assert probe_classes(rng.standard_normal((50, 2)), [1] + [0] * 49, kind=kind).accuracy == 0.98
    assert probe_classes(np.ones((50, 2)), np.arange(50) % 2, kind=kind).auc == 0.5


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((np.eye(5), np.zeros(6)), {}, ValueError, "source and target with the same number of rows, got 5 and 6"),
        ((np.eye(3), [0, 1, 1]), {}, ValueError, "expected at least 4 rows, two per half, got 3"),
        ((np.eye(6), np.zeros(6)), {}, ValueError, "expected a target of two classes or more .*, got one class"),
        ((np.eye(6), np.arange(6.0)), {}, ValueError, "two rows each on average, got 6 values in 6 rows"),
        ((np.eye(6), [0, 1] * 3), {"test": (np.eye(4), [0, 1] * 2)}, ValueError, "source with the same columns to fit"),
        (
            (np.eye(6), [0, 1] * 3),
            {"test": (np.eye(6), ["a", "b"] * 3)},
            TypeError,
            "target of one kind .* got int64 and",
        ),
        ((np.eye(6), [0, 1] * 3), {"test": (np.eye(6), [0, 1])}, ValueError, r"number of rows, got \[6, 6, 6, 2\]"),
        (
            (np.eye(6), [0, 1] * 3),
            {"test": (np.eye(6), [0, 1] * 3), "groups": np.arange(6)},
            ValueError,
            "expected groups or test, got both",
        ),
    ],
)
def test_refuses(arguments, options, error, message):
    options = {"kind": "linear"} | options
    with pytest.raises(error, match=message):
        probe_classes(*arguments, **options)


def test_refuses_numbers_that_are_constant():
    with pytest.raises(ValueError, match="expected a target that varies, got one that is constant"):
        probe_numbers(np.eye(6), np.ones((6, 2)), kind="linear")


def test_a_probe_of_classes_learns_on_through_a_plateau_of_its_loss():
    x, test = np.random.default_rng(0).normal(size=(2, 1000, 4))

    def waves(x):
        return (np.sin(5 * x[:, 0]) > 0).astype(int)

    fitted = model_of_classes("neural", waves(x), 0).fit(x, waves(x))
    assert fitted[-1].n_iter_ == CLASS_EPOCHS  # 29 when a plateau ends it
    assert (fitted.predict(test) == waves(test)).mean() > 0.8  # 0.49


def test_draws_of_a_row_are_as_that_many_rows_to_a_probe_of_classes():
    z, y = two_classes(120)
    draws = np.stack([z, z + 0.5, -z])
    for kind in KINDS:
        found = probe_classes(draws[:, :60], y[:60], test=(draws[:, 60:], y[60:]), kind=kind)
        train, test = (draws[:, part].reshape(-1, 2) for part in (slice(60), slice(60, None)))
        same = probe_classes(train, np.tile(y[:60], 3), test=(test, np.tile(y[60:], 3)), kind=kind)
        assert found.rows == 60
        assert same.rows == 180
        assert vars(found) | {"rows": 180} == vars(same)


@pytest.mark.parametrize("kind", KINDS)
def test_all_draws_of_a_row_are_on_one_side(kind):
    rng = np.random.default_rng(5)
    name, target = rng.standard_normal((100, 200)), rng.standard_normal(100)  # whoever sees a row once can name it
    draws = name + 0.01 * rng.standard_normal((5, 100, 200))
    assert probe_numbers(draws.reshape(-1, 200), np.tile(target, 5), kind=kind).r2 > 0.8
    found = probe_numbers(torch.from_numpy(draws), target, kind=kind)
    assert found.r2 < 0.2
    assert found.rows == 100
    assert probe_classes(draws, target > 0, kind=kind).accuracy < 0.7


def test_a_network_that_learns_from_several_draws_reads_more():
    found = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        target, z = rng.standard_normal((600, 2)), rng.standard_normal((600, 8))
        z[:, :2] += 0.4 * target
        z[:, 3] += 0.5 * target.prod(1)
        draws = z + 0.5 * rng.standard_normal((5, 600, 8))
        known, held_out = ((draws[:, half], target[half]) for half in (slice(300), slice(300, None)))
        one, five = (
            probe_numbers(known[0][:n], known[1], test=(held_out[0][:n], held_out[1]), seed=seed).r2 for n in (1, 5)
        )
        as_rows = [(z.reshape(-1, 8), np.tile(part, (5, 1))) for z, part in (known, held_out)]
        by_heart = probe_numbers(*as_rows[0], test=as_rows[1], seed=seed).r2  # it stops by draws of rows that it knows
        found.append((one, five, by_heart))
    one, five, by_heart = np.mean(found, 0)
    assert by_heart < -0.1 < 0 < one < five


def test_the_error_of_r2_takes_rows_for_what_is_drawn():
    x, noise = np.random.default_rng(8).standard_normal((2, 200, 1))
    for kind in KINDS:
        one, same = (probe_numbers(np.stack([x] * draws), x + noise, kind=kind) for draws in (1, 4))
        assert same.rows == one.rows == 200
        assert same.standard_error == pytest.approx(one.standard_error, rel=0.1)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (
            np.ones((3, 0, 2)),
            {},
            r"expected draws of source as \(draws, rows, dim\) of numbers, got float64 \(3, 0, 2\)",
        ),
        (np.full((2, 6, 1), "a"), {}, r"expected draws of source as \(draws, rows, dim\) of numbers, got <U1"),
        (np.ones((1, 2, 6, 3)), {}, "expected source as"),
        (np.ones((3, 5, 2)), {}, "source and target with the same number of rows, got 5 and 6"),
        (
            np.ones((3, 6, 2)),
            {"test": (np.ones((2, 6, 2)), np.arange(6.0))},
            "as many draws to test as to fit to, 3, got 2",
        ),
        (
            np.ones((3, 6, 2)),
            {"test": (np.ones((6, 2)), np.arange(6.0))},
            "as many draws to test as to fit to, 3, got 1",
        ),
        (np.ones((3, 6, 2)), {"test": (np.ones((3, 6, 3)), np.arange(6.0))}, "source with the same columns to fit to"),
    ],
)
def test_refuses_draws(source, options, message):
    with pytest.raises(ValueError, match=message):
        probe_numbers(source, np.arange(6.0), **options)
