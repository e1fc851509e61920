import copy
import json
import math
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from disentangle import AlternatingStep, AlternatingTrainer, CLUBEstimator, KeepUp, Pairwise, Rows, load
from disentangle.errors import DataWarning, EstimatorWarning
from disentangle.training import NonFiniteError, Run, RunError
from disentangle.training.fit import Fit

from ..pages import DOCS, run_code


class Regression(nn.Module):
    """Two latents of one input, one of which predicts."""

    def __init__(self, noisy=False):
        super().__init__()
        self.a, self.b = nn.Linear(4, 2), nn.Linear(4, 3)
        self.dropout = nn.Dropout(0.3 if noisy else 0.0)

    def forward(self, batch):
        x, _ = batch
        return {"a": self.a(self.dropout(x)), "b": self.b(x)}

    def present(self, batch):
        return None

    def losses(self, variables, batch):
        _, y = batch
        return {"Y": Rows((variables["a"].sum(1) - y).square(), torch.ones_like(y))}


def objective(losses, penalties):
    return losses["Y"].mean() + 0.1 * sum(penalties.values())


def setting(noisy=False, scheduled=False, plateau=False, **options):
    torch.manual_seed(0)
    x = torch.randn(40, 4)
    batches = DataLoader(TensorDataset(x, x.sum(1)), batch_size=8)
    model, penalty = Regression(noisy), Pairwise({("a", "b"): CLUBEstimator(2, 3)})
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    schedulers = [torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: 0.9**i)] if scheduled else []
    schedulers += [torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)] if plateau else []
    trainer = AlternatingTrainer(
        model,
        penalty,
        objective=objective,
        optimizer=optimizer,
        schedulers=schedulers,
        penalty_optimizer=torch.optim.Adam(penalty.parameters(), 1e-3),
        device="cpu",
        progress=False,
        **options,
    )

    def evaluate(model):
        return {"mae": (model.a(x).sum(1) - x.sum(1)).abs().mean().item(), "corr": None}

    return trainer, batches, evaluate


def test_training_is_the_bare_step_over_the_batches():
    trainer, batches, evaluate = setting()
    model, penalty = copy.deepcopy(trainer.model), copy.deepcopy(trainer.penalty)
    step = AlternatingStep(
        model,
        penalty,
        objective=objective,
        optimizer=torch.optim.Adam(model.parameters(), 1e-2),
        penalty_optimizer=torch.optim.Adam(penalty.parameters(), 1e-3),
    )
    trainer.fit(batches, 2, evaluate=evaluate, monitor="mae")
    for _ in range(2):
        for batch in batches:
            step(batch)
    for ours, theirs in zip(trainer.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_run_folder_holds_a_line_an_epoch_and_the_weights_of_the_best(tmp_path):
    run = Run.create(tmp_path / "run", {"alpha": 0.1})
    trainer, batches, evaluate = setting(run=run, noisy=True, config={"noisy": True})
    scores = iter([3.0, 1.0, 2.0])
    history = trainer.fit(batches, 3, evaluate=lambda model: {**evaluate(model), "mae": next(scores)}, monitor="mae")
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert lines == history
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert [line.get("best", False) for line in lines] == [True, True, False]
    assert set(lines[0]["losses"]) == {"Y"}
    assert set(lines[0]["penalties"]) == {"CLUB(a;b)"}
    assert set(lines[0]["rms"]) == {"a", "b"}
    assert run.checkpoints.newest() == 15
    best, config, _ = load(run.folder / "model", Regression)
    assert config == {"noisy": True, "_step": 10}
    last, penalty = Regression(), Pairwise({("a", "b"): CLUBEstimator(2, 3)})
    run.checkpoints.load({"model": last, "penalty": penalty})
    assert torch.equal(trainer.model.a.weight, best.a.weight)
    assert not torch.equal(best.a.weight, last.a.weight)
    equal(trainer.penalty.state_dict(), penalty.state_dict())  # the penalty is as it was last


def test_an_undefined_metric_is_never_best():
    trainer, batches, evaluate = setting()
    with pytest.warns(UserWarning, match="expected a finite value of corr, got none in any evaluation"):
        history = trainer.fit(batches, 2, evaluate=evaluate, monitor="corr", mode="max")
    assert not any("best" in record for record in history)


@pytest.mark.filterwarnings("ignore:iteration 2. expected at least 2 rows")  # what the last batch has not
def test_losses_of_an_epoch_are_means_over_rows_and_not_over_batches(tmp_path):
    trainer, _, evaluate = setting()
    trainer.step.optimizer.param_groups[0]["lr"] = 0.0
    x = torch.randn(9, 4)
    batches = DataLoader(TensorDataset(x, x.sum(1)), batch_size=8)  # eight rows, then one
    (record,) = trainer.fit(batches, 1, evaluate=evaluate, monitor="mae")
    with torch.no_grad():
        expected = (trainer.model.a(x).sum(1) - x.sum(1)).square().mean().item()
    assert record["losses"]["Y"] == pytest.approx(expected, rel=1e-5)


def test_what_is_not_finite_stops_the_run_names_it_and_leaves_a_snapshot(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = Run.create("runs/RUN", {})
    trainer, batches, evaluate = setting(run=run)
    x = batches.dataset.tensors[0]
    trainer.fit(batches, 1, evaluate=evaluate, monitor="mae")
    weights = copy.deepcopy(trainer.model.state_dict())
    x[20, 0] = float("nan")
    with pytest.raises(
        NonFiniteError,
        match=r"step 8, epoch 2, batch 3: not finite: variable a, variable b, Y; a snapshot .*nonfinite, and the run goes on "
        r"from its checkpoint of step 5$",
    ):
        trainer.fit(batches, 2, evaluate=evaluate, monitor="mae", resume=True)
    assert run.checkpoints.newest() == 5
    assert run.history[-1] == {"step": 8, "nonfinite": ["variable a", "variable b", "Y"]}
    modules = {"model": Regression(), "penalty": Pairwise({("a", "b"): CLUBEstimator(2, 3)})}
    namespace = dict(modules)
    assert run_code(DOCS / "resuming.md", namespace) == 1
    assert capsys.readouterr().out == f"{run.history[-1]['nonfinite']} {[list(range(16, 24))]}\n"
    assert namespace["state"]["position"]["step"] == 7
    assert all(p.isfinite().all() for module in modules.values() for p in module.parameters())
    assert not torch.equal(modules["model"].a.weight, weights["a.weight"])  # two steps further than the checkpoint


def test_of_a_run_without_a_checkpoint_none_is_promised(tmp_path):
    trainer, batches, evaluate = setting(run=Run.create(tmp_path / "run", {}))
    batches.dataset.tensors[0][0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match=r"step 1, .*; a snapshot of the state is in \S+nonfinite$"):
        trainer.fit(batches, 1, evaluate=evaluate, monitor="mae")


def test_an_interrupt_is_heeded_after_the_step_and_nothing_is_lost(tmp_path):
    run = Run.create(tmp_path / "run", {})
    trainer, batches, evaluate = setting(run=run)

    def interrupted(model):
        if len(run.history) == 2:
            signal.raise_signal(signal.SIGINT)
        return evaluate(model)

    with pytest.raises(KeyboardInterrupt):
        trainer.fit(batches, 5, evaluate=interrupted, monitor="mae")
    assert len(run.history) == 2  # the report during which it came is made where the run goes on
    assert run.checkpoints.newest() == 15
    assert (run.folder / "curves.png").stat().st_size > 0


SETTINGS = {
    "an epoch": {},
    "some steps": {"checkpoint_every": 3, "evaluate_every": 4},
    "every step": {"checkpoint_every": 1, "patience": 2},
}


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("options", SETTINGS.values(), ids=SETTINGS)
def test_a_run_that_goes_on_is_the_run_that_was_not_stopped(tmp_path, monkeypatch, options, precision):
    monkeypatch.setattr(Run, "draw", lambda run: None)  # it takes most of the time

    def start(name, stop_at=None, **more):
        folder = tmp_path / name
        run = Run.open(folder) if folder.exists() else Run.create(folder, {})
        trainer, batches, evaluate = setting(run=run, precision=precision, noisy=True, scheduled=True, **more)
        if stop_at is not None:

            def stopped(parameters):  # in the middle of a step, between the two sides' own
                if trainer.step.iteration == stop_at:
                    raise RuntimeError("killed")

            trainer.processes.add_gradients = stopped
        shuffled = DataLoader(batches.dataset, batch_size=8, shuffle=True)
        torch.rand(3)
        history = trainer.fit(shuffled, 4, evaluate=evaluate, monitor="mae", resume=folder.exists(), **options)
        return trainer, run, history

    whole, run, expected = start("whole")
    for stop_at in (2, 9, 14):
        with pytest.raises(RuntimeError, match="killed"):
            start("stopped", stop_at)
    again, other, history = start("stopped")
    assert timeless(history) == timeless(other.history) == timeless(expected) == timeless(run.history)
    assert other.checkpoints.newest() == run.checkpoints.newest()
    for ours, theirs in zip(states(again), states(whole), strict=True):
        equal(ours, theirs)


def timeless(history):
    return [{name: value for name, value in record.items() if name != "seconds"} for record in history]


def states(trainer):
    step = trainer.step
    return [part.state_dict() for part in (trainer.model, trainer.penalty, step.optimizer, step.penalty_optimizer)]


def equal(ours, theirs):
    if isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs)
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            equal(ours[key], theirs[key])
    elif isinstance(ours, list | tuple):
        for a, b in zip(ours, theirs, strict=True):
            equal(a, b)
    else:
        assert ours == theirs


def test_a_finished_run_that_is_resumed_trains_no_further_or_for_more_epochs(tmp_path, monkeypatch):
    monkeypatch.setattr(Run, "draw", lambda run: None)
    run = Run.create(tmp_path / "run", {})
    trainer, batches, evaluate = setting(run=run)
    history = trainer.fit(batches, 2, evaluate=evaluate, monitor="mae")
    again, _, _ = setting(run=Run.open(run.folder))
    assert again.fit(batches, 2, evaluate=evaluate, monitor="mae", resume=True) == history
    equal(states(again)[0], states(trainer)[0])
    more = setting(run=Run.open(run.folder))[0].fit(batches, 3, evaluate=evaluate, monitor="mae", resume=True)
    assert more[:2] == history
    assert len(more) == 3


def test_a_run_with_checkpoints_is_not_overwritten_and_other_data_are_refused(tmp_path):
    run = Run.create(tmp_path / "run", {})
    trainer, batches, evaluate = setting(run=run)
    trainer.fit(batches, 1, evaluate=evaluate, monitor="mae")
    with pytest.raises(RunError, match=r"holds checkpoints: fit\(..., resume=True\) goes on, or give another folder"):
        trainer.fit(batches, 1, evaluate=evaluate, monitor="mae")
    other = DataLoader(TensorDataset(torch.randn(9, 4), torch.randn(9)), batch_size=8)
    with pytest.raises(RunError, match="expected the data it was started on, 5 batches per epoch, got 2"):
        trainer.fit(other, 1, evaluate=evaluate, monitor="mae", resume=True)
    with pytest.raises(RunError, match="expected a run to resume, got none"):
        setting()[0].fit(batches, 1, evaluate=evaluate, monitor="mae", resume=True)


def test_what_is_evaluated_afterwards_is_the_best_report(tmp_path):
    """Under bf16 too, where the same model without autocast has other predictions."""
    trainer, batches, _ = setting(run=Run.create(tmp_path / "run", {}), precision="bf16", noisy=True)
    x, y = batches.dataset.tensors

    def evaluate(model):
        error = (model((x, y))["a"].sum(1) - y).abs().mean().item()
        return {"mae": error, "worse": -error}

    history = trainer.fit(batches, 6, evaluate=evaluate, monitor="worse")  # the first report is the best
    (best,) = (report for report in history if report.get("best"))
    assert best is history[0]
    assert trainer.evaluate(evaluate) == best["valid"]
    with torch.no_grad():
        assert evaluate(trainer.model.eval()) != best["valid"]


def test_a_best_model_that_cannot_be_saved_is_said_at_once(tmp_path):
    with pytest.raises(ValueError, match=r"^expected config\['size'\] to be JSON, got set: \{1\}$"):
        setting(run=Run.create(tmp_path / "run", {}), config={"size": {1}})
    run = Run.create(tmp_path / "other", {})
    (run.folder / "model").mkdir()
    (run.folder / "model" / "mine.txt").touch()
    trainer, batches, evaluate = setting(run=run)
    with pytest.raises(RunError, match="model: expected a new folder, or one that save wrote"):
        trainer.fit(batches, 1, evaluate=evaluate, monitor="mae")


def test_patience_ends_training_with_the_best_weights(tmp_path):
    trainer, batches, _ = setting(run=Run.create(tmp_path / "run", {}))
    scores, weights = iter([3.0, 1.0, 2.0, 1.5, 0.0]), []

    def evaluate(model):
        weights.append(model.a.weight.detach().clone())
        return {"mae": next(scores)}

    history = trainer.fit(batches, 9, evaluate=evaluate, monitor="mae", patience=2)
    assert [record["valid"]["mae"] for record in history] == [3.0, 1.0, 2.0, 1.5]
    assert torch.equal(trainer.model.a.weight, weights[1])


def test_reports_come_every_k_steps_and_at_the_end():
    trainer, batches, evaluate = setting()
    history = trainer.fit(batches, 2, evaluate=evaluate, monitor="mae", evaluate_every=4)
    assert [(record["epoch"], record["step"]) for record in history] == [(1, 4), (2, 8), (2, 10)]


@pytest.mark.parametrize("name", ["epochs", "evaluate_every", "checkpoint_every", "patience", "accumulation"])
def test_numbers_that_are_not_whole_and_a_callback_alone_are_refused(monkeypatch, name):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    trainer, batches, evaluate = setting()
    with pytest.raises(ValueError, match=rf"expected {name} as a whole number of at least 1, got 2\.5"):
        setting(accumulation=2.5) if name == "accumulation" else trainer.fit(
            batches, **{"epochs": 1, "evaluate": evaluate, "monitor": "mae", name: 2.5}
        )
    with pytest.raises(TypeError, match="expected callbacks as a list, got function: put it into one"):
        trainer.fit(batches, 1, callbacks=print_nothing)


def print_nothing(trainer, report):
    """A callback."""


def test_without_anything_to_evaluate_a_model_is_trained_to_the_end():
    trainer, batches, _ = setting()
    history = trainer.fit(batches, 2)
    assert [record["step"] for record in history] == [5, 10]
    assert "valid" not in history[0]
    with pytest.raises(ValueError, match="expected a function that evaluates 'mae', got none"):
        trainer.fit(batches, 2, monitor="mae")
    with pytest.raises(ValueError, match="expected evaluate_every as a whole number of at least 1, got 0"):
        trainer.fit(batches, 2, evaluate_every=0)


def test_callbacks_see_each_report_and_can_end_training():
    trainer, batches, evaluate = setting()
    seen = []

    def callback(of, report):
        assert of is trainer
        seen.append(report["epoch"])
        return report["epoch"] == 2

    history = trainer.fit(batches, 5, evaluate=evaluate, monitor="mae", callbacks=[callback])
    assert seen == [record["epoch"] for record in history] == [1, 2]


def test_a_training_that_a_callback_ended_goes_on_without_it(tmp_path):
    def stop(of, report):
        return report["epoch"] == 2

    run = Run.create(tmp_path / "run", {})
    for resume, callbacks, epochs in ((False, [stop], 2), (True, [stop], 2), (True, [], 5)):
        trainer, batches, evaluate = setting(run=run)
        history = trainer.fit(batches, 5, evaluate=evaluate, monitor="mae", callbacks=callbacks, resume=resume)
        assert [report["epoch"] for report in history] == list(range(1, epochs + 1))


def test_a_larger_patience_goes_on_whatever_callbacks_there_are(tmp_path):
    run = Run.create(tmp_path / "run", {})
    log = lambda of, report: None  # noqa: E731
    for resume, patience, epochs in ((False, 2, 3), (True, 4, 5)):
        trainer, batches, _ = setting(run=run)
        still = lambda model: {"mae": 1.0}  # noqa: E731
        history = trainer.fit(
            batches, 9, evaluate=still, monitor="mae", patience=patience, callbacks=[log], resume=resume
        )
        assert len(history) == epochs


def test_each_evaluation_draws_the_same_noise_and_leaves_the_generators_alone():
    trainer, _, _ = setting()
    state = torch.get_rng_state()
    first, second = (trainer.evaluate(lambda model: {"x": torch.rand(()).item()}) for _ in range(2))
    assert first == second
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("true", [True, np.bool_(True), torch.tensor(True)])
def test_training_ends_by_any_kind_of_true_and_by_nothing_else(true):
    for answer, epochs in ((true, 1), (not true, 3), (1, 3), ("stop", 3), (None, 3), (torch.ones(2), 3)):
        trainer, batches, _ = setting()
        assert len(trainer.fit(batches, 3, callbacks=[lambda of, report, answer=answer: answer])) == epochs


def test_what_is_no_loader_no_metrics_and_no_optimiser_of_single_steps_is_named(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the tests' own check of types would come first
    trainer, batches, _ = setting()
    with pytest.raises(TypeError, match="expected a DataLoader of batches, got list"):
        trainer.fit(list(batches), 1)
    with pytest.raises(TypeError, match=r"expected evaluate\(model\) to return metrics by name, got NoneType"):
        trainer.fit(batches, 1, evaluate=lambda model: None)
    model = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="got LBFGS, which wants a closure"):
        AlternatingTrainer(model, None, objective=lambda *given: given, optimizer=torch.optim.LBFGS(model.parameters()))


def test_accumulated_batches_are_one_step_of_the_large_batch():
    small, batches, evaluate = setting(accumulation=4)  # five batches of 8: a step of four, and one of one
    large, _, _ = setting()
    dataset = batches.dataset
    large_batches = DataLoader(dataset, batch_size=32)
    history = small.fit(batches, 2, evaluate=evaluate, monitor="mae")
    expected = large.fit(large_batches, 2, evaluate=evaluate, monitor="mae")
    assert [record["step"] for record in history] == [2, 4]
    for ours, theirs in zip(small.model.parameters(), large.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert history[-1]["losses"]["Y"] == pytest.approx(expected[-1]["losses"]["Y"], rel=1e-4)


def test_steps_left_out_are_counted_and_reported(tmp_path):
    run = Run.create(tmp_path / "run", {})
    trainer, batches, _ = setting(run=run, nonfinite="skip")
    x, y = batches.dataset.tensors
    x = x.clone()
    x[9] = float("nan")  # in the second batch of each epoch

    def evaluated(model):
        return {"mae": model.a.weight.isfinite().all().item() * 1.0}

    history = trainer.fit(DataLoader(TensorDataset(x, y), batch_size=8), 2, evaluate=evaluated, monitor="mae")
    assert [record["skipped"] for record in history] == [1, 1]
    assert history[-1]["valid"]["mae"] == 1
    assert math.isfinite(history[-1]["objective"])


def test_gradients_are_clipped():
    trainer, batches, evaluate = setting(clip_norm=1e-4)
    seen = []
    step = trainer.step.optimizer.step

    def watched():
        seen.append(
            torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None]).norm().item()
        )
        step()

    trainer.step.optimizer.step = watched
    trainer.fit(batches, 1, evaluate=evaluate, monitor="mae")
    assert seen == pytest.approx([1e-4] * 5, rel=1e-2)


def test_trackers_of_accelerate_get_flat_records_and_unknown_ones_are_refused():
    from accelerate.tracking import GeneralTracker

    class Kept(GeneralTracker):
        name = "kept"
        requires_logging_directory = False
        main_process_only = True

        def __init__(self):
            super().__init__()
            self.records = {}

        @property
        def tracker(self):
            return self.records

        def store_init_configuration(self, values):
            pass

        def log(self, values, step=None, **options):
            self.records[step] = values

    kept = Kept()
    trainer, batches, evaluate = setting(trackers=[kept])
    history = trainer.fit(batches, 2, evaluate=evaluate, monitor="mae")
    assert list(kept.records) == [5, 10]
    assert kept.records[5]["valid/mae"] == history[0]["valid"]["mae"]
    assert kept.records[5]["penalties/CLUB(a;b)"] == history[0]["penalties"]["CLUB(a;b)"]
    with pytest.raises(ValueError, match=r"expected a tracker that is installed, .*, got 'nonsense'"):
        setting(trackers=["nonsense"])


def test_precision_can_change_within_a_process_and_fp16_wants_a_device():
    (first, batches, evaluate), _ = setting(precision="bf16"), setting(precision="no")
    with pytest.raises(ValueError, match=r"expected precision 'bf16', which this .*, got 'no', that of one made since"):
        first.fit(batches, 1)
    with pytest.raises(ValueError, match=r"expected precision 'bf16', which this .*, got 'no', that of one made since"):
        first.evaluate(evaluate)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="expected a CUDA device for precision 'fp16', found none"):
            setting(precision="fp16")


def test_a_device_that_is_not_there_is_refused():
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    model = Regression()
    with pytest.raises(ValueError, match="expected a CUDA device, found none"):
        AlternatingTrainer(
            model, None, objective=objective, optimizer=torch.optim.SGD(model.parameters()), device="cuda"
        )


@pytest.mark.cuda
def test_training_on_cuda_agrees_with_the_cpu(cuda):
    here, batches, evaluate = setting()
    (expected,) = here.fit(batches, 1, evaluate=evaluate, monitor="mae")
    model, penalty = Regression(), Pairwise({("a", "b"): CLUBEstimator(2, 3)})
    torch.manual_seed(0)
    torch.randn(40, 4)
    model, penalty = Regression().to(cuda), Pairwise({("a", "b"): CLUBEstimator(2, 3)}).to(cuda)
    step = AlternatingStep(
        model,
        penalty,
        objective=objective,
        optimizer=torch.optim.Adam(model.parameters(), 1e-2),
        penalty_optimizer=torch.optim.Adam(penalty.parameters(), 1e-3),
    )
    values = [step([t.to(cuda) for t in batch]).objective for batch in batches]
    assert torch.stack(values).mean().item() == pytest.approx(expected["objective"], rel=1e-3)


def test_metrics_of_any_kind_of_number_are_written_and_others_are_named(tmp_path):
    run = Run.create(tmp_path / "run", {})
    trainer, batches, _ = setting(run=run)
    metrics = {"mae": np.float32(0.5), "corr": torch.tensor(0.25), "n": np.int64(3), "none": None}
    trainer.fit(batches, 1, evaluate=lambda model: metrics, monitor="mae")
    assert run.history[0]["valid"] == {"mae": 0.5, "corr": 0.25, "n": 3.0, "none": None}
    with pytest.raises(TypeError, match="expected the metric mae as a number or None, got 'low'"):
        trainer.evaluate(lambda model: {"mae": "low"})


def test_a_run_that_goes_on_with_another_metric_or_other_optimisers_is_refused(tmp_path):
    trainer, batches, evaluate = setting(run=Run.create(tmp_path / "run", {}))
    trainer.fit(batches, 1, evaluate=evaluate, monitor="mae")

    def resumed(scheduled=False, monitor="mae", mode="min", sgd=False):
        again, _, _ = setting(run=Run.open(tmp_path / "run"), scheduled=scheduled)
        if sgd:
            again.step.optimizer = torch.optim.SGD(again.model.parameters(), 0.1, momentum=0.9)
        return again.fit(batches, 2, evaluate=evaluate, monitor=monitor, mode=mode, resume=True)

    with pytest.raises(RunError, match=r"Monitor: expected the metric mae \(min\) as before, got corr \(max\)"):
        resumed(monitor="corr", mode="max")
    with pytest.raises(
        RunError, match="expected the optimisers and schedulers that it was started with, 4 states, got 5"
    ):
        resumed(scheduled=True)
    with pytest.raises(RunError, match="run: expected what it was started with, Adam, got SGD"):
        resumed(sgd=True)
    assert len(resumed()) == 2


def test_a_run_that_patience_ended_goes_on_with_more_of_it(tmp_path):
    trainer, batches, _ = setting(run=Run.create(tmp_path / "run", {}))
    scores = iter([1.0, 2.0, 3.0, 0.5])

    def evaluate(model):
        return {"mae": next(scores)}

    assert len(trainer.fit(batches, 9, evaluate=evaluate, monitor="mae", patience=2)) == 3
    again, _, _ = setting(run=Run.open(tmp_path / "run"))
    assert len(again.fit(batches, 9, evaluate=evaluate, monitor="mae", patience=2, resume=True)) == 3
    more, _, _ = setting(run=Run.open(tmp_path / "run"))
    history = more.fit(batches, 4, evaluate=evaluate, monitor="mae", patience=3, resume=True)
    assert [report["valid"]["mae"] for report in history] == [1.0, 2.0, 3.0, 0.5]


class Hundredfold(DataLoader):
    def __iter__(self):
        return ([100 * part for part in batch] for batch in super().__iter__())


def test_a_loader_that_makes_other_batches_of_its_own_is_refused():
    trainer, batches, evaluate = setting()
    with pytest.raises(ValueError, match="got a Hundredfold with an __iter__ of its own, which would be passed by"):
        trainer.fit(Hundredfold(batches.dataset, batch_size=8), 1, evaluate=evaluate, monitor="mae")


SIGNALLED = """
import os, signal, sys, torch
sys.path.insert(0, {root!r})
from tests.training.test_trainer import DataLoader, Run, setting
trainer, batches, evaluate = setting(run=Run.create(sys.argv[1], {{}}))
step = trainer.step

def noisy(*pieces):
    record = step(*pieces)
    if step.iteration == 8:
        os.killpg(0, signal.SIGTERM)  # as a scheduler does: the workers, too
    return record

class Step:
    def __call__(self, *pieces): return noisy(*pieces)
    def __getattr__(self, name): return getattr(step, name)
    def __setattr__(self, name, value): setattr(step, name, value)

trainer.step = Step()
loader = DataLoader(batches.dataset, batch_size=8, num_workers=2)
trainer.fit(loader, 50, evaluate=evaluate, monitor="mae", checkpoint_every=100)
"""


def test_sigterm_to_the_workers_too_ends_in_a_checkpoint(tmp_path):
    code = SIGNALLED.format(root=str(Path(__file__).parents[2]))
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "run")],
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 128 + signal.SIGTERM, done.stderr[-2000:]
    assert Run.open(tmp_path / "run").checkpoints.newest() >= 8


def test_a_last_batch_of_one_row_is_trained_without_a_penalty_and_that_is_said_once():
    trainer, batches, _ = setting()
    batches = DataLoader(batches.dataset, batch_size=13)  # 13, 13, 13, 1
    with pytest.warns(EstimatorWarning, match="iteration 4: expected at least 2 rows of a, b") as warned:
        history = trainer.fit(batches, epochs=2)
    assert len([each for each in warned if each.category is EstimatorWarning]) == 1
    assert [list(report["penalties"]) for report in history] == [["CLUB(a;b)"]] * 2
    assert history[-1]["step"] == 8


def started(folder, epochs=1, **options):
    run = Run.open(folder) if folder.exists() else Run.create(folder, {})
    trainer, batches, _ = setting(run=run, **options)
    trainer.fit(batches, epochs)
    return batches


@pytest.mark.parametrize(
    ("options", "loader", "message"),
    [
        ({"seed": 1}, {}, "seed 0, got seed 1"),
        ({"accumulation": 2}, {}, "accumulation 1, got accumulation 2"),
        ({}, {"shuffle": True}, "sampler SequentialSampler, got sampler RandomSampler"),
        ({}, {"rows": 39}, "number of rows 40, got number of rows 39"),
        ({"seed": 1, "accumulation": 2}, {}, "seed 0, accumulation 1, got seed 1, accumulation 2"),
    ],
)
def test_a_run_goes_on_with_the_order_of_data_that_it_was_started_with(tmp_path, monkeypatch, options, loader, message):
    monkeypatch.setattr(Run, "draw", lambda run: None)
    batches = started(tmp_path / "run")
    rows = [batches.dataset[i] for i in range(loader.pop("rows", 40))]
    again = setting(run=Run.open(tmp_path / "run"), **options)[0]
    with pytest.raises(RunError, match=f"run: expected what it was started with, {message}"):
        again.fit(DataLoader(rows, batch_size=8, **loader), 2, resume=True)


def scheduled(run, lr=1e-2, penalty_lr=1e-3, t_max=10, kind="cosine", epochs=2, **options):
    trainer, batches, _ = setting(run=run, **options)
    for optimizer, rate in ((trainer.step.optimizer, lr), (trainer.step.penalty_optimizer, penalty_lr)):
        optimizer.param_groups[0]["lr"] = rate
    schedules = torch.optim.lr_scheduler
    trainer.step.schedulers = [
        schedules.CosineAnnealingLR(trainer.step.optimizer, t_max)
        if kind == "cosine"
        else schedules.StepLR(trainer.step.optimizer, t_max)
    ]
    return lambda resume: trainer.fit(batches, epochs, resume=resume)


def test_rates_and_schedules_that_the_saved_ones_overrule_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(Run, "draw", lambda run: None)
    scheduled(Run.create(tmp_path / "run", {}), epochs=1)(False)
    with warnings.catch_warnings(action="error"):  # the same; what is not overruled; and a trainer that goes on itself
        scheduled(Run.open(tmp_path / "run"))(True)
        last = scheduled(Run.open(tmp_path / "run"), epochs=3, inner_steps=2, keep_up=KeepUp(), clip_norm=1.0)
        last(True)
        last(True)
    with pytest.warns(UserWarning, match="run: goes on with the state that was saved: expected ") as warned:
        scheduled(Run.open(tmp_path / "run"), lr=1e-4, penalty_lr=1e-1, t_max=20)(True)
    (warning,) = warned
    for part in ("T_max 10 of CosineAnnealingLR, got 20", "lr 0.01 of Adam, got 0.0001", "lr 0.001 of Adam, got 0.1"):
        assert part in str(warning.message)
    with pytest.raises(RunError, match="started with, CosineAnnealingLR, got StepLR"):
        scheduled(Run.open(tmp_path / "run"), kind="step")(True)


def test_schedules_of_several_parts_are_compared_part_by_part(tmp_path, monkeypatch):
    monkeypatch.setattr(Run, "draw", lambda run: None)

    def fit(run, t_max, times, epochs):
        trainer, batches, _ = setting(run=run)
        optimizer, schedules = trainer.step.optimizer, torch.optim.lr_scheduler
        parts = [schedules.CosineAnnealingLR(optimizer, t_max), schedules.LambdaLR(optimizer, Times(times))]
        trainer.step.schedulers = [
            schedules.SequentialLR(optimizer, parts, [7]),
            schedules.LambdaLR(optimizer, lambda i: 1.0),
        ]
        trainer.fit(batches, epochs, resume=epochs > 1)

    fit(Run.create(tmp_path / "run", {}), 10, 0.5, 1)
    with warnings.catch_warnings(action="error"):
        fit(Run.open(tmp_path / "run"), 10, 0.5, 2)
    with pytest.warns(
        UserWarning, match=r"_schedulers\.0\.T_max 10 of SequentialLR, got 20.*times 0\.5 of .*, got 0\.1"
    ):
        fit(Run.open(tmp_path / "run"), 20, 0.1, 3)


class Times:
    """A rate as an object, whose state a LambdaLR saves."""

    def __init__(self, times):
        self.times = times

    def __call__(self, step):
        return self.times


def test_without_a_run_a_scheduler_needs_no_state():
    trainer, batches, _ = setting()
    trainer.step.schedulers = [torch.optim.lr_scheduler.LambdaLR(trainer.step.optimizer, abs)]  # has none
    assert len(trainer.fit(batches, 1)) == 1


def test_a_run_without_settings_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(Run, "draw", lambda run: None)
    state = Fit._state
    monkeypatch.setattr(Fit, "_state", lambda fit: {k: v for k, v in state(fit).items() if k != "settings"})
    scheduled(Run.create(tmp_path / "run", {}), epochs=1)(False)
    with warnings.catch_warnings(action="error"):
        assert len(scheduled(Run.open(tmp_path / "run"), lr=1e-4)(True)) == 2


@pytest.mark.parametrize("killed", ["_save", "_save_best", "_called"])
def test_the_best_model_is_that_of_the_reports_that_are_kept(tmp_path, monkeypatch, killed):
    monkeypatch.setattr(Run, "draw", lambda run: None)
    trainer, batches, evaluate = setting(run=Run.create(tmp_path / "run", {}))
    weights, original = {}, getattr(Fit, killed)

    def note(model):
        weights[trainer.step.iteration] = copy.deepcopy(model.state_dict())
        return evaluate(model)

    def until_step_12(fit, *given):
        if fit.position.step == 12:
            raise RuntimeError("killed")
        return original(fit, *given)

    monkeypatch.setattr(Fit, killed, until_step_12)  # as kill -9 would
    options = {"monitor": "mae", "evaluate_every": 4, "checkpoint_every": 4 if killed == "_save" else 100}
    with pytest.raises(RuntimeError, match="killed"):
        trainer.fit(batches, 4, evaluate=note, **options)
    monkeypatch.setattr(Fit, killed, original)
    again = setting(run=Run.open(tmp_path / "run"))[0]
    history = again.fit(batches, 1, evaluate=evaluate, resume=True, **options)  # there are steps enough
    best = [report["step"] for report in history if report.get("best")][-1]
    assert best == (8 if killed == "_save" else 12)
    equal(dict(again.model.state_dict()), dict(weights[best]))


def test_a_model_of_a_continuation_that_was_given_up_is_not_the_best(tmp_path):
    run = Run.create(tmp_path / "run", {})
    scores = iter([2.0, 3.0, 1.0])  # the best by steps 5 and 15
    setting(run=run)[0].fit(setting()[1], 3, evaluate=lambda model: {"mae": next(scores)}, monitor="mae")
    assert run.refuted_model() is None
    (run.folder / "checkpoints" / "00000015" / "state.pt").write_bytes(b"torn")
    trainer, batches, _ = setting(run=Run.open(run.folder))
    given_up = "expected that of step 5, by the reports of the run, got that of step 15, which was given up"
    with (
        pytest.warns(UserWarning, match="this checkpoint is not whole"),
        pytest.warns(DataWarning, match=f"{given_up}: the next evaluation counts as the best so far"),
    ):
        history = trainer.fit(batches, 3, evaluate=lambda model: {"mae": 9.0}, monitor="mae", resume=True)
    assert [report["step"] for report in history if report.get("best")] == [5, 15]
    run.truncate(1)
    assert given_up in run.refuted_model()
    run.truncate(0)
    assert "expected none, by the reports of the run, got that of step 15" in run.refuted_model()


def test_a_metric_that_is_never_finite_is_named_at_the_end(tmp_path):
    trainer, batches, _ = setting(run=Run.create(tmp_path / "run", {}))
    scores = iter([math.nan, None])
    wanted = "expected a finite value of mae, got none in any evaluation: no weights are the best, the model has its last ones"
    with pytest.warns(UserWarning, match=wanted) as warned:
        trainer.fit(batches, 2, evaluate=lambda model: {"mae": next(scores)}, monitor="mae")
    assert len(warned) == 1
    assert not (tmp_path / "run" / "model").exists()


def test_a_rate_falls_where_the_metric_does_not_get_better_and_a_run_goes_on_with_it(tmp_path):
    scores = {1: 3.0, 2: 3.0, 3: None, 4: 1.0, 5: 2.0}

    def start(folder, epochs, **options):
        run = Run.open(folder) if folder.exists() else Run.create(folder, {})
        trainer, batches, _ = setting(run=run, plateau=True)
        evaluated = iter(range(len(run.history) + 1, 6))
        return trainer.fit(
            batches, epochs, evaluate=lambda model: {"mae": scores[next(evaluated)]}, monitor="mae", **options
        )

    whole = start(tmp_path / "whole", 5)
    assert [report["lr"] for report in whole] == pytest.approx([1e-2, 1e-2, 1e-3, 1e-4, 1e-4])
    for epochs in (2, 3):
        start(tmp_path / f"{epochs}", epochs)
        rest = start(tmp_path / f"{epochs}", 5, resume=True)
        assert [{**each, "seconds": 0} for each in rest] == [{**each, "seconds": 0} for each in whole]


def test_a_rate_that_follows_a_metric_has_one_to_follow():
    trainer, batches, evaluate = setting(plateau=True)
    with pytest.raises(ValueError, match="expected a metric to monitor, which a ReduceLROnPlateau follows, got none"):
        trainer.fit(batches, 1)
    with pytest.raises(
        ValueError, match="expected a ReduceLROnPlateau of mode 'max', as that of the metric, got 'min'"
    ):
        trainer.fit(batches, 1, evaluate=evaluate, monitor="mae", mode="max")
    with pytest.raises(
        TypeError, match="expected callbacks as functions of the trainer and a report, got a ReduceLROnPl"
    ):
        trainer.fit(batches, 1, callbacks=trainer.plateaus)
