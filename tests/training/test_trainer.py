import copy
import json

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from disentangle import AlternatingStep, AlternatingTrainer, CLUBEstimator, Pairwise, Rows
from disentangle.training import Run


class Regression(nn.Module):
    """Two latents of one input, one of which predicts."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 2), nn.Linear(4, 3)

    def forward(self, batch):
        x, _ = batch
        return {"a": self.a(x), "b": self.b(x)}

    def present(self, batch):
        return None

    def losses(self, variables, batch):
        _, y = batch
        return {"Y": Rows((variables["a"].sum(1) - y).square(), torch.ones_like(y))}


def objective(losses, penalties):
    return losses["Y"].mean() + 0.1 * sum(penalties.values())


def setting(**options):
    torch.manual_seed(0)
    x = torch.randn(40, 4)
    batches = DataLoader(TensorDataset(x, x.sum(1)), batch_size=8)
    model, penalty = Regression(), Pairwise({("a", "b"): CLUBEstimator(2, 3)})
    trainer = AlternatingTrainer(
        model,
        penalty,
        objective=objective,
        optimizer=torch.optim.Adam(model.parameters(), 1e-2),
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
    trainer, batches, evaluate = setting(run=run)
    scores = iter([3.0, 1.0, 2.0])
    history = trainer.fit(batches, 3, evaluate=lambda model: {**evaluate(model), "mae": next(scores)}, monitor="mae")
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert lines == history
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert [line.get("best", False) for line in lines] == [True, True, False]
    assert set(lines[0]["losses"]) == {"Y"}
    assert set(lines[0]["pairs"]) == {"CLUB(a;b)"}
    assert set(lines[0]["rms"]) == {"a", "b"}
    best, last = Regression(), Regression()
    penalty = Pairwise({("a", "b"): CLUBEstimator(2, 3)})
    run.load("best", {"model": best, "penalty": penalty})
    run.load("last", {"model": last, "penalty": penalty})
    assert torch.equal(trainer.model.a.weight, best.a.weight)
    assert not torch.equal(best.a.weight, last.a.weight)


def test_an_undefined_metric_is_never_best():
    trainer, batches, evaluate = setting()
    history = trainer.fit(batches, 2, evaluate=evaluate, monitor="corr", mode="max")
    assert not any("best" in record for record in history)


def test_losses_of_an_epoch_are_means_over_rows_and_not_over_batches(tmp_path):
    trainer, _, evaluate = setting()
    trainer.step.optimizer.param_groups[0]["lr"] = 0.0
    x = torch.randn(9, 4)
    batches = DataLoader(TensorDataset(x, x.sum(1)), batch_size=8)  # eight rows, then one
    (record,) = trainer.fit(batches, 1, evaluate=evaluate, monitor="mae")
    with torch.no_grad():
        expected = (trainer.model.a(x).sum(1) - x.sum(1)).square().mean().item()
    assert record["losses"]["Y"] == pytest.approx(expected, rel=1e-5)


def test_a_loss_that_is_not_finite_stops_the_run_and_names_it(tmp_path):
    run = Run.create(tmp_path / "run", {})
    trainer, batches, evaluate = setting(run=run)
    trainer.fit(batches, 1, evaluate=evaluate, monitor="mae")
    kept = (run.folder / "last.safetensors").read_bytes()
    broken = DataLoader(TensorDataset(torch.full((8, 4), float("nan")), torch.zeros(8)), batch_size=8)
    with pytest.raises(FloatingPointError, match=r"epoch 1: not finite: objective, Y, CLUB\(a;b\)"):
        trainer.fit(broken, 1, evaluate=evaluate, monitor="mae")
    assert (run.folder / "last.safetensors").read_bytes() == kept


def test_an_interrupt_leaves_a_readable_folder(tmp_path):
    run = Run.create(tmp_path / "run", {})
    trainer, batches, evaluate = setting(run=run)
    calls = []

    def interrupted(model):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(model)
        return evaluate(model)

    with pytest.raises(KeyboardInterrupt):
        trainer.fit(batches, 5, evaluate=interrupted, monitor="mae")
    assert len(run.history) == 2
    modules = {"model": Regression(), "penalty": Pairwise({("a", "b"): CLUBEstimator(2, 3)})}
    run.load("last", modules)
    assert torch.equal(modules["model"].a.weight, trainer.model.a.weight)
    assert (run.folder / "curves.png").stat().st_size > 0


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
