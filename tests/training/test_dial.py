"""A dial brings a pair to the dependence allowed, wherever its weight starts; its state is the penalty's."""

import copy
import math

import jaxtyping
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from disentangle import (
    HSIC,
    AlternatingStep,
    AlternatingTrainer,
    CLUBEstimator,
    Dial,
    Model,
    Pairwise,
    PenaltyLoss,
    Rows,
    functional,
)
from disentangle.nn import NoisyLatent
from disentangle.training import Run


class Shared(Model):
    """Two latents that each tell one factor that both see, and would rather, and one of their own."""

    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(nn.Linear(3, 1), NoisyLatent(1, 0.3))
        self.b = nn.Sequential(nn.Linear(3, 1), NoisyLatent(1, 0.3))
        self.read_a, self.read_b = nn.Linear(1, 2), nn.Linear(1, 2)

    def forward(self, batch):
        return {"a": self.a(batch), "b": self.b(batch)}

    def losses(self, variables, batch):
        errors = (self.read_a(variables["a"]) - batch[:, :2]).square()
        errors = errors + (self.read_b(variables["b"]) - batch[:, [0, 2]]).square()
        return {"Y": Rows.unweighted(errors @ torch.tensor([3.0, 1.0]))}


def penalty():
    return Pairwise({("a", "b"): CLUBEstimator(1, 1)})


def adam(parameters):
    return torch.optim.Adam(parameters, 1e-2, fused=True)


@pytest.mark.parametrize(("way", "factor", "steps"), [("step", 0.01, 500), ("loss", 10.0, 400)])
def test_the_value_becomes_what_is_allowed_from_a_weight_far_too_small_and_far_too_large(way, factor, steps):
    """The latents are linear and Gaussian: their CLUB is rho² / (1 - rho²). The weight that holds it at 0.2 is near 4.6."""
    torch.manual_seed(0)
    model, pairs = Shared(), penalty()
    dial = Dial(pairs, allowed=0.2, weight=4.6 * factor)
    optimizer = adam(model.parameters())
    step = AlternatingStep(
        model,
        pairs,
        objective=lambda losses, penalties: losses["Y"].mean() + dial(penalties),
        optimizer=optimizer,
        penalty_optimizer=adam(pairs.parameters()),
        inner_steps=2,
    )
    loss = PenaltyLoss(pairs, weight=dial, inner_steps=2)
    values, squares = [], []
    for i in range(steps + 200):
        batch = torch.randn(256, 3)
        if way == "step":
            values.append(step(batch).penalties["CLUB(a;b)"])
        else:
            variables = model(batch)
            optimizer.zero_grad()
            (model.losses(variables, batch)["Y"].mean() + loss(variables)).backward()
            optimizer.step()
            values.append(loss.values["CLUB(a;b)"])
        if i >= steps and i % 10 == 0:
            with torch.no_grad():
                latents = model(torch.randn(4000, 3))
            squares.append(torch.corrcoef(torch.cat([latents["a"], latents["b"]], 1).T)[0, 1].square())
    assert torch.stack(values[steps:]).mean() == pytest.approx(0.2, rel=0.1)
    exact = torch.stack(squares)
    assert (exact / (1 - exact)).mean() == pytest.approx(0.2, rel=0.25)
    assert 2 < dial.weights["CLUB(a;b)"] < 10


def test_each_step_moves_a_weight_by_the_rate_at_most_and_stays_in_its_limits():
    pairs = Pairwise({("a", "b"): HSIC(), ("a", "c"): HSIC()})
    dial = Dial(pairs, allowed=0.1, rate=0.5, average=0.0, floor=0.5, ceiling=2.0)
    much, none, nearly = torch.tensor(100.0), torch.tensor(0.0), torch.tensor(0.11)
    assert dial({"HSIC(a;b)": much, "HSIC(a;c)": nearly}).item() == pytest.approx(
        100 * math.exp(0.5) + 0.11 * math.exp(0.05), rel=1e-5
    )
    for _ in range(3):
        dial({"HSIC(a;b)": much, "HSIC(a;c)": none})
    assert [weight.item() for weight in dial.weights.values()] == pytest.approx([2.0, 0.5])


def test_one_value_far_off_moves_little_and_one_that_is_not_finite_or_left_out_nothing():
    pairs = Pairwise({("a", "b"): HSIC(), ("a", "c"): HSIC()})
    dial = Dial(pairs, allowed=0.1, average=0.9)
    for value in (0.1, 0.1, float("nan")):
        dial({"HSIC(a;b)": torch.tensor(value)})
    assert dial.weights["HSIC(a;b)"].item() == pytest.approx(1.0, abs=1e-5)
    assert dial.weights["HSIC(a;c)"] == 1
    dial({"HSIC(a;c)": torch.tensor(0.3)})  # its first value counts in full
    assert dial.weights["HSIC(a;c)"].item() == pytest.approx(math.exp(0.02))


def test_it_adapts_in_training_alone():
    pairs = penalty()
    dial = Dial(pairs, allowed=0.1)
    loss = PenaltyLoss(pairs, weight=dial)
    variables = {name: torch.randn(8, 1, requires_grad=True) for name in "ab"}
    loss.eval()
    loss(variables)
    with torch.no_grad():
        loss.train()(variables)
    assert dial.weights["CLUB(a;b)"] == 1
    loss(variables)
    assert dial.weights["CLUB(a;b)"] != 1


def test_the_weights_have_no_part_in_the_gradient():
    dial = Dial(Pairwise({("a", "b"): HSIC()}), allowed=0.1)
    value = torch.tensor(3.0, requires_grad=True)
    dial({"HSIC(a;b)": value}).backward()
    assert value.grad == dial.weights["HSIC(a;b)"]
    assert not list(dial.parameters())


def test_a_model_that_holds_its_loss_saves_the_dial_and_goes_on_alike():
    def made():
        torch.manual_seed(0)
        pairs = penalty()
        loss = PenaltyLoss(pairs, weight=Dial(pairs, allowed=0.1))
        return nn.ModuleDict({"a": nn.Linear(2, 1), "b": nn.Linear(2, 1), "loss": loss})

    def train(model):
        batch = torch.linspace(-1, 1, 24).view(12, 2)
        return [model["loss"]({name: model[name](batch) for name in "ab"}).item() for _ in range(3)]

    first, again = made(), made()
    train(first)
    again.load_state_dict(first.state_dict())
    assert sorted(first.state_dict()) == ["a.bias", "a.weight", "b.bias", "b.weight", "loss._extra_state"]
    assert train(again) == train(first)


def test_a_dial_that_is_set_later_is_as_one_that_was_there_from_the_start():
    pairs = penalty()
    loss = PenaltyLoss(pairs)
    loss.weight = 0.5
    loss.weight = dial = Dial(pairs, allowed=0.1)
    assert loss.weight is dial
    assert [*loss.state_dict()] == ["_extra_state"]  # which has the dial's, once
    other = penalty()
    with pytest.raises(ValueError, match="expected the dial of this penalty"):
        loss.weight = Dial(other, allowed=0.1)
    assert loss.weight is dial


def test_a_run_goes_on_with_the_weights_it_had_and_logs_them(tmp_path):
    def trained(folder, epochs, resume=False):
        torch.manual_seed(0)
        model, pairs = Shared(), penalty()
        dial = Dial(pairs, allowed=0.2)
        trainer = AlternatingTrainer(
            model,
            pairs,
            objective=lambda losses, penalties: losses["Y"].mean() + dial(penalties),
            optimizer=adam(model.parameters()),
            penalty_optimizer=adam(pairs.parameters()),
            run=(Run.open if resume else lambda folder: Run.create(folder, {}))(folder),
            device="cpu",
            progress=False,
        )
        rows = torch.randn(32, 3, generator=torch.Generator().manual_seed(0))
        history = trainer.fit(DataLoader(list(rows), batch_size=8), epochs, resume=resume)
        return history, {**model.state_dict(), **pairs.state_dict()}

    expected, whole = trained(tmp_path / "whole", 2)
    trained(tmp_path / "stopped", 1)
    history, again = trained(tmp_path / "stopped", 2, resume=True)
    assert set(whole) == set(again)
    assert "dial.log_weights" in whole
    for name, tensor in whole.items():
        assert torch.equal(tensor, again[name]), name
    assert [each["weights"] for each in history] == [each["weights"] for each in expected]
    assert list(history[0]["weights"]) == ["CLUB(a;b)"]


def test_what_it_refuses():
    pairs = Pairwise({("a", "b"): HSIC()})
    for wrong in ({"allowed": 0.0}, {"allowed": 1.0, "rate": 0.0}, {"allowed": float("nan")}):
        with pytest.raises(ValueError, match=r"expected (allowed|rate) above 0, got"):
            Dial(pairs, **wrong)
    with pytest.raises(ValueError, match=r"expected a weight from 0\.0001 to 10000\.0, got 0\.0"):
        Dial(pairs, 0.1, weight=0.0)
    with pytest.raises(ValueError, match=r"expected an average from 0 to below 1, got 1\.0"):
        Dial(pairs, 0.1, average=1.0)
    dial = Dial(pairs, 0.1)
    with pytest.raises(ValueError, match="expected a penalty without a dial"):
        Dial(pairs, 0.1)
    with pytest.raises(ValueError, match=r"expected values of \['HSIC\(a;b\)'\], got \['HSIC\(a;c\)'\]"):
        dial({"HSIC(a;c)": torch.tensor(1.0)})
    with pytest.raises(ValueError, match="expected the dial of this penalty, got one of another"):
        PenaltyLoss(Pairwise({("a", "b"): HSIC()}), weight=dial)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda pairs: Dial(torch.nn.ModuleDict({"apart": pairs}), 0.1),
            "a Pairwise, got ModuleDict: make a Dial of each",
        ),
        (
            lambda pairs: Dial(pairs, {"HSIC(a;b)": 0.1}),
            "allowed as a number, got dict: pairs that differ in it are kinds",
        ),
        (lambda pairs: Dial(pairs, 0.1, rate="fast"), "rate as a number, got str"),
    ],
)
def test_what_is_no_penalty_or_no_number_is_refused(make, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(TypeError, match=f"expected {message}"):
        make(Pairwise({("a", "b"): HSIC()}))


def test_latents_end_at_the_p_value_asked_for():
    torch.manual_seed(0)
    model, pairs = Shared(), Pairwise({("a", "b"): HSIC()})
    dial = Dial(pairs, p_value=0.1, weight=1000.0)
    optimizer = adam(model.parameters())
    loss, found = PenaltyLoss(pairs, weight=dial), []
    for i in range(700):
        batch = torch.randn(128, 3)
        variables = model(batch)
        optimizer.zero_grad()
        (model.losses(variables, batch)["Y"].mean() + loss(variables)).backward()
        optimizer.step()
        if i >= 450:
            with torch.no_grad():
                latents = model(torch.randn(128, 3))
            found.append(functional.hsic_p_value(latents["a"], latents["b"]))
    assert 0.05 < torch.stack(found).mean() < 0.2
    assert dial.weights["HSIC(a;b)"] > 10


def test_a_step_gives_its_dial_the_p_values():
    torch.manual_seed(0)
    model, pairs = Shared(), Pairwise({("a", "b"): HSIC()})
    dial = Dial(pairs, p_value=0.1)
    step = AlternatingStep(
        model,
        pairs,
        objective=lambda losses, penalties: losses["Y"].mean() + dial(penalties),
        optimizer=adam(model.parameters()),
    )
    for _ in range(5):
        step(torch.randn(128, 3))
    assert dial.weights["HSIC(a;b)"] > 1  # the latents begin as parts of one vector


def test_independent_variables_drive_the_weight_of_a_p_value_to_the_floor_and_copies_the_ceiling():
    pairs = Pairwise({("a", "b"): HSIC(), ("a", "c"): HSIC(kernel="laplace")})
    dial = Dial(pairs, p_value=0.05, floor=0.5, ceiling=2.0)
    copied = copy.deepcopy(pairs)
    for each in (pairs, copied):
        for _ in range(60):
            a, b = torch.randn(2, 40, 1)
            each.dial(each({"a": a, "b": b, "c": a}))
        assert [weight.item() for weight in each.dial.weights.values()] == pytest.approx([0.5, 2.0])
    assert copied.dial is not dial


def test_a_p_value_of_too_few_rows_leaves_the_weight_alone():
    pairs = Pairwise({("a", "b"): HSIC()})
    dial = Dial(pairs, p_value=0.05)
    a, b = torch.randn(2, 40, 1)
    dial(pairs({"a": a, "b": b}, present={"a": torch.arange(40) < 5}))
    assert dial.weights["HSIC(a;b)"] == 1
    with pytest.raises(ValueError, match="expected the penalty to be called with gradients before its dial"):
        dial({"HSIC(a;b)": torch.tensor(0.1)})
    with torch.no_grad():
        values = pairs({"a": a, "b": b})
        assert dial(values) == values["HSIC(a;b)"]


def test_a_p_value_is_of_hsic_alone_and_in_place_of_what_is_allowed():
    with pytest.raises(ValueError, match=r"expected pairs of HSIC for a p_value, got CLUB\(a;b\)"):
        Dial(Pairwise({("a", "b"): CLUBEstimator(1, 1), ("a", "c"): HSIC()}), p_value=0.05)
    for p_value in (0.0, 0.5):
        with pytest.raises(ValueError, match=rf"expected a p_value in \(0, 0\.5\), .*, got {p_value}"):
            Dial(Pairwise({("a", "b"): HSIC()}), p_value=p_value)
    with pytest.raises(ValueError, match="expected one of allowed and p_value, got None and None"):
        Dial(Pairwise({("a", "b"): HSIC()}))
    with pytest.raises(ValueError, match=r"expected one of allowed and p_value, got 0\.1 and 0\.05"):
        Dial(Pairwise({("a", "b"): HSIC()}), 0.1, p_value=0.05)
