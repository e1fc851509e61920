import json
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from disentangle.metrics import label_scale
from disentangle.tasks import Binary, Classes, MultiLabel, Regression, as_task, task_of

TASKS = [
    Regression(label_scale([-2.4, 0.0, 3.0])),
    Regression(label_scale([-2.4, 0.0, 3.0]), 40.0, 1e3),
    Binary((-1.0, 1.0), ("no", "yes")),
    Classes((0.0, 1.0, 4.0), ("a", "b", "c")),
    MultiLabel(("joy", "fear")),
]


def labels_for(task, n, draw):
    if isinstance(task, MultiLabel):
        return draw.integers(0, 3, (n, 2)).astype(float)
    if isinstance(task, Regression):
        return draw.uniform(-3, 3, n)
    return draw.choice(task.values, n)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_a_task_comes_back_from_json(task):
    assert as_task(json.loads(json.dumps(task.to_dict()))) == task
    assert as_task(task) is task


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"task": "regression"}, "expected scale and values of a task regression, got no scale"),
        ({"task": "regression", "scale": "sentiment"}, "expected scale and values of a task regression, got no values"),
        ({"task": "binary"}, "expected values and labels of a task binary, got no values"),
        (
            {"task": "binary", "values": [0], "labels": ["a"]},
            "expected 2 values and 2 labels of a task binary, got 1 and 1",
        ),
        ({"task": "classes", "values": [0, 1, 2]}, "expected values and labels of a task classes, got no labels"),
        (
            {"task": "classes", "values": [0, 1], "labels": ["a"]},
            "expected as many values as labels of a task classes, got 2",
        ),
        ({"task": "labels"}, "expected labels of a task labels, got no labels"),
        ({}, "expected a task of regression, binary, classes, labels, got None"),
    ],
)
def test_a_task_that_lacks_a_part_is_told_which(task, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        as_task(task)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (40.0, 1e3), (5e6, 1e6), (0.0, 1e-4)])
def test_the_loss_of_a_number_is_0_where_its_outcome_is_the_label(mean, std):
    labels = torch.randn(50, dtype=torch.float64) * std + mean
    task = task_of(labels.numpy())
    assert isinstance(task, Regression)
    own = labels.mean().item(), labels.std(correction=0).item()
    assert (task.mean, task.std) == ((0.0, 1.0) if std == 1 else pytest.approx(own))
    scores = task.scaled(labels)
    np.testing.assert_allclose(task.outcomes(scores)[:, 0], labels, rtol=1e-12)
    assert task.terms(scores, task.scaled(labels)).max() < 1e-20
    off = torch.ones(50, dtype=torch.float64)
    said = torch.as_tensor(task.outcomes(scores + off)[:, 0])
    torch.testing.assert_close(task.terms(scores + off, task.scaled(labels)), ((said - labels) / task.std).square())


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_the_loss_is_the_negative_log_likelihood_of_what_the_scores_say(task):
    draw = np.random.default_rng(0)
    labels = labels_for(task, 7, draw)
    scores = torch.randn(7, task.outputs, dtype=torch.float64)
    said = torch.distributions
    y = torch.as_tensor(labels)
    if isinstance(task, Regression):
        wanted = (scores[:, 0] - y) ** 2
    elif isinstance(task, Binary):
        wanted = -said.Bernoulli(logits=scores[:, 0]).log_prob((y == 1).double())
    elif isinstance(task, Classes):
        wanted = -said.Categorical(logits=scores).log_prob(torch.tensor([task.values.index(v) for v in labels]))
    else:
        wanted = -said.Bernoulli(logits=scores).log_prob((y > 0).double()).mean(1)
    loss = task.loss(scores, y, torch.ones(7))
    torch.testing.assert_close(loss.values.double(), wanted, rtol=1e-5, atol=1e-6)
    if task.outputs == 1:
        torch.testing.assert_close(task.terms(scores[:, 0], y), loss.values)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_other_numbers_of_scores_than_the_task_has_are_refused(task):
    labels = torch.as_tensor(labels_for(task, 7, np.random.default_rng(0)))
    k = task.outputs
    wanted = r"1 score per row, \(N,\) or \(N, 1\)" if k == 1 else rf"{k} scores per row, \(N, {k}\)"
    for shape in ((7, k + 1), (7, 2 * k), (7, k, 1), *([(7,)] if k > 1 else [])):
        with pytest.raises(ValueError, match=rf"^expected {wanted}, got {re.escape(str(shape))}: "):
            task.loss(torch.zeros(shape), labels, torch.ones(7))
        if k == 1:
            with pytest.raises(ValueError, match="expected 1 score per row"):
                task.terms(torch.zeros(shape), labels)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_outcomes_that_are_right_have_perfect_metrics(task):
    labels = labels_for(task, 40, np.random.default_rng(1))
    if isinstance(task, Regression):
        outcomes = labels[:, None]
    elif isinstance(task, Binary):
        outcomes = (labels == 1)[:, None].astype(float)
    elif isinstance(task, Classes):
        outcomes = (labels[:, None] == np.array(task.values)).astype(float)
    else:
        outcomes = (labels > 0).astype(float)
    metrics = task.metrics(outcomes, labels)
    assert all(value == pytest.approx(0.0 if name == "mae" else 1.0) for name, value in metrics.items())
    name, mode = task.monitor
    base = next(iter(task.baselines(labels).values()))
    worse = task.metrics(np.tile(base, (40, 1)), labels)[name]
    assert worse > metrics[name] if mode == "min" else worse < metrics[name]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_metrics_of_classes_are_scikit_learns(seed):
    draw = np.random.default_rng(seed)
    task = Classes((0.0, 1.0, 2.0), ("a", "b", "c"))
    labels = np.concatenate([[0, 1, 2], draw.integers(0, 3, 12)]).astype(float)
    outcomes = draw.dirichlet(np.ones(3), 15)
    got, found = task.metrics(outcomes, labels), outcomes.argmax(1)
    assert got["acc"] == pytest.approx(accuracy_score(labels, found))
    assert got["f1_macro"] == pytest.approx(f1_score(labels, found, average="macro", zero_division=0))
    assert got["auc"] == pytest.approx(roc_auc_score(labels, outcomes, multi_class="ovr"))


def test_metrics_of_labels_at_once_are_scikit_learns():
    draw = np.random.default_rng(0)
    labels, outcomes = draw.integers(0, 2, (30, 2)).astype(float), draw.random((30, 2))
    got, found = MultiLabel(("joy", "fear")).metrics(outcomes, labels), outcomes >= 0.5
    assert got["f1_joy"] == pytest.approx(f1_score(labels[:, 0], found[:, 0]))
    assert got["f1_macro"] == pytest.approx(f1_score(labels, found, average="macro"))
    assert got["auc"] == pytest.approx(roc_auc_score(labels, outcomes))
    assert got["acc"] == pytest.approx((labels == found).mean())


@pytest.mark.parametrize(
    ("labels", "kind", "names", "wanted"),
    [
        ([0, 1, 1], None, (), Binary((0.0, 1.0), ("0", "1"))),
        ([-1, 1, 1], None, (), Binary((-1.0, 1.0), ("-1", "1"))),
        ([0, 1, 2], None, (), Classes((0.0, 1.0, 2.0), ("0", "1", "2"))),
        ([0, 2, 2], None, ("joy", "anger", "fear"), Classes((0.0, 1.0, 2.0), ("joy", "anger", "fear"))),
        ([3, 5, 9], "classes", (), Classes((3.0, 5.0, 9.0), ("3", "5", "9"))),
        ([0, 1, 1], "regression", (), Regression(label_scale([0, 1]))),
        ([-2.5, 3, 0.4], None, (), Regression(label_scale([-2.5, 3, 0.4]))),
        ([[0, 1], [2, 0]], None, ("joy", "fear"), MultiLabel(("joy", "fear"))),
    ],
)
def test_a_task_is_told_from_labels(labels, kind, names, wanted):
    assert task_of(np.array(labels, float), kind, names) == wanted


@pytest.mark.parametrize(
    ("labels", "kind", "names", "message"),
    [
        ([0, 1, 2], "binary", (), "expected 2 different labels for task binary, got 3: 0, 1, 2"),
        ([0, 0.5, 2], "classes", (), "expected whole numbers or names as classes, got 0.5"),
        (range(200), "classes", (), "expected 2 to 100 classes, got 200"),
        ([0, 1, 2], "ordinal", (), "expected a task of regression, binary, classes, labels, got 'ordinal'"),
        ([0, 1, 2], "labels", (), "expected several labels per row for task labels, got one"),
        ([[0, 1], [1, 0]], "binary", ("a", "b"), "expected one label per row for task binary, got several"),
        ([[0, 1], [0, 0]], None, ("a", "b"), "label a: expected recordings with and without it, got 0 of 2 with it"),
        ([0, 1], "regression", ("a", "b"), "expected numbers for task regression, got names: a, b"),
        ([1, 1], None, (), "expected labels of at least 2 different values"),
    ],
)
def test_labels_that_a_task_cannot_have_are_refused(labels, kind, names, message):
    with pytest.raises(ValueError, match=message):
        task_of(np.array(labels, float), kind, names)


@pytest.mark.parametrize("values", [range(12), range(1, 6), (0, 1, 3)], ids=["twelve", "stars", "gap"])
def test_a_split_with_all_classes_of_training_does_not_differ_from_it(values):
    names = {value: f"class {value}" for value in values}
    task = task_of(np.array(values, float), "classes")
    assert task.disagreements({"valid": np.repeat(values, 3)}, names) == []
    (line,) = task.disagreements({"valid": np.repeat(values[:-1], 5)}, names)
    assert line.startswith(f"valid: no label is class {values[-1]}, where training has class {values[0]}, ")
