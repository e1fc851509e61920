"""Runs that go on: what beside model, penalty and optimisers has to be as it was."""

import signal
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from disentangle import CLUBEstimator, Model, Pairwise, Rows
from disentangle.errors import RunError
from disentangle.training import AlternatingTrainer, Run


class Halves(Model):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.decode = nn.Linear(6, 2), nn.Linear(6, 2), nn.Linear(4, 6)

    def forward(self, batch):
        return {"a": self.a(batch[0]), "b": self.b(batch[0])}

    def losses(self, variables, batch):
        error = self.decode(torch.cat([variables["a"], variables["b"]], 1)) - batch[0]
        return {"recon": Rows.unweighted(error.square().mean(1))}


def batches(**options):
    rows = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(rows), batch_size=8, shuffle=True, **options)


def trainer(run=None, *, optimizer=torch.optim.Adam, change=lambda model: model):
    """A trainer, and the weights that its objective learns."""
    torch.manual_seed(1)
    model, penalty, weights = Halves(), Pairwise({("a", "b"): CLUBEstimator(2, 2)}), nn.Parameter(torch.zeros(2))

    def objective(losses, penalties):
        return losses["recon"].mean() * (-weights[0]).exp() + 0.1 * sum(penalties.values()) + weights.square().sum()

    held = optimizer([*model.parameters(), weights], lr=0.1)
    learns = torch.optim.Adam(penalty.parameters(), 1e-2)
    made = AlternatingTrainer(
        change(model),
        penalty,
        objective=objective,
        optimizer=held,
        penalty_optimizer=learns,
        run=run,
        device="cpu",
        progress=False,
    )
    return made, weights


def same(one, other):
    for a, b in zip(
        one.modules["model"].state_dict().values(), other.modules["model"].state_dict().values(), strict=True
    ):
        assert torch.equal(a, b)


@pytest.fixture
def whole(tmp_path):
    made, weights = trainer(Run.create(tmp_path / "whole", {}))
    made.fit(batches(), 3)
    return made, weights


def test_weights_that_the_objective_learns_go_on_as_they_were(tmp_path, whole):
    trainer(Run.create(tmp_path / "run", {}))[0].fit(batches(), 1)
    made, weights = trainer(Run.open(tmp_path / "run"))
    made.fit(batches(), 3, resume=True)
    same(made, whole[0])
    assert torch.equal(weights, whole[1])
    assert weights[0] != 0


def test_a_run_of_another_number_of_weights_beside_the_model_is_refused(tmp_path):
    trainer(Run.create(tmp_path / "run", {}))[0].fit(batches(), 1)
    made, weights = trainer(Run.open(tmp_path / "run"))
    weights.data = torch.zeros(3)
    with pytest.raises(
        RunError, match=r"expected an optimiser of parameters \[\(2,\)\] beside the model's, got \[\(3,\)\]"
    ):
        made.fit(batches(), 3, resume=True)


def test_a_compiled_model_goes_on_as_one_that_is_not(tmp_path, whole):
    trainer(Run.create(tmp_path / "run", {}))[0].fit(batches(), 1)
    made, _ = trainer(Run.open(tmp_path / "run"), change=lambda model: torch.compile(model, backend="eager"))
    made.fit(batches(), 3, resume=True)
    same(made, whole[0])


def test_parameters_that_were_frozen_stay_so_and_no_others(tmp_path):
    def frozen(model):
        model.b.requires_grad_(False)
        return model

    def thaw(made, report):
        made.model.b.requires_grad_(True)

    made, _ = trainer(Run.create(tmp_path / "whole", {}), change=frozen)
    made.fit(batches(), 4, callbacks=[thaw])
    trainer(Run.create(tmp_path / "run", {}), change=frozen)[0].fit(batches(), 2, callbacks=[thaw])
    again, _ = trainer(Run.open(tmp_path / "run"), change=frozen)
    with pytest.warns(UserWarning, match=r"expected none, got 2 \(b\.weight, b\.bias\)$"):
        again.fit(batches(), 4, resume=True)
    same(again, made)
    assert all(p.requires_grad for p in again.model.parameters())


def refuse(model):
    raise MemoryError("no room")


def stop(number):
    def stopped(model):
        signal.raise_signal(number)
        pytest.fail("the evaluation went on")

    return stopped


@pytest.mark.parametrize(
    ("fails", "error"),
    [(refuse, MemoryError), (stop(signal.SIGINT), KeyboardInterrupt), (stop(signal.SIGTERM), SystemExit)],
    ids=["error", "Ctrl-C", "SIGTERM"],
)
def test_an_evaluation_that_ends_a_run_costs_no_step(tmp_path, fails, error):
    def measure(model):
        return {"size": model.a.weight.abs().sum().item()}

    made, _ = trainer(Run.create(tmp_path / "whole", {}))
    wanted = made.fit(batches(), 2, evaluate=measure, monitor="size")
    stopped, _ = trainer(run := Run.create(tmp_path / "run", {}))
    with pytest.raises(error):
        stopped.fit(batches(), 2, evaluate=fails, monitor="size")
    assert (run.checkpoints.newest(), run.history) == (5, [])
    again, _ = trainer(Run.open(tmp_path / "run"))
    got = again.fit(batches(), 2, evaluate=measure, monitor="size", resume=True)
    assert [{**each, "seconds": 0} for each in got] == [{**each, "seconds": 0} for each in wanted]
    same(again, made)


def test_a_callback_that_raises_costs_no_step(tmp_path):
    def raises(made, report):
        raise RuntimeError("the tracker is down")

    made, _ = trainer(run := Run.create(tmp_path / "run", {}))
    with pytest.raises(RuntimeError, match="tracker"):
        made.fit(batches(), 2, callbacks=[raises])
    assert (run.checkpoints.newest(), len(run.history)) == (5, 1)
    again, _ = trainer(Run.open(tmp_path / "run"))
    assert [report["epoch"] for report in again.fit(batches(), 2, resume=True)] == [1, 2]


def test_of_several_who_make_a_run_at_once_one_does(tmp_path):
    def make(number):
        try:
            return Run.create(tmp_path / "run", {"number": number})
        except RunError:
            return None

    with ThreadPoolExecutor(8) as pool:
        made = [run for run in pool.map(make, range(8)) if run is not None]
    assert len(made) == 1
    assert Run.open(tmp_path / "run").config == made[0].config
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(torch.arange(40.0).reshape(40, 1))

    def __len__(self):
        return 40


def test_workers_that_all_read_everything_are_noticed():
    made = AlternatingTrainer(
        model := nn.Linear(1, 1),
        None,
        objective=lambda losses, penalties: losses["Y"].mean(),
        optimizer=torch.optim.SGD(model.parameters(), 0.01),
        device="cpu",
        progress=False,
    )
    model.losses = lambda variables, batch: {"Y": Rows.unweighted(variables["x"].square().sum(1))}
    model.present = lambda batch: None
    forward = model.forward
    model.forward = lambda batch: {"x": forward(batch)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says how long it is, too
        with pytest.raises(
            ValueError, match=r"expected 10 batches in an epoch, .* got more: do all workers read everything"
        ):
            made.fit(DataLoader(Stream(), batch_size=4, num_workers=2), 1)
        assert len(made.fit(DataLoader(Stream(), batch_size=4), 1)) == 1


def test_an_optimiser_that_finds_its_rate_itself_is_reported_without_one():
    class Own(torch.optim.SGD):
        def step(self, closure=None):
            for group in self.param_groups:
                group["lr"] = None

    made, _ = trainer(optimizer=Own)
    assert made.fit(batches(), 1)[0]["lr"] is None


def test_another_batch_size_is_refused_where_a_run_goes_on(tmp_path):
    trainer(Run.create(tmp_path / "run", {}))[0].fit(batches(), 1)
    again, _ = trainer(Run.open(tmp_path / "run"))
    rows = DataLoader(TensorDataset(torch.randn(40, 6)), batch_size=9, shuffle=True)
    with pytest.raises(RunError, match="expected what it was started with, batch_size 8, got batch_size 9"):
        again.fit(rows, 2, resume=True)


def test_gradients_of_what_no_optimiser_holds_do_not_add_up():
    made, _ = trainer()
    extra = nn.Parameter(torch.ones(6))
    made.model.register_parameter("extra", extra)
    losses = made.model.losses
    made.model.losses = lambda variables, batch: {
        name: Rows(rows.values + 0 * extra.sum() + extra[0], rows.weights)
        for name, rows in losses(variables, batch).items()
    }
    made.fit(batches(), 1)
    once = extra.grad[0].item()
    made.fit(batches(), 3)
    assert abs(extra.grad[0].item()) < 3 * abs(once)
