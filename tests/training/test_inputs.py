"""What a model may say of a batch: labels, sequences, half precision; and how a step refuses the rest."""

import re

import pandas as pd
import pytest
import torch
from jaxtyping import config
from torch import nn

from disentangle import (
    AlternatingStep,
    CategoricalConditional,
    CLUBEstimator,
    InfoNCEEstimator,
    Masked,
    OrthogonalLoss,
    Pairwise,
    Rows,
    frames,
)
from disentangle.training import NonFiniteError


class Voices(nn.Module):
    """Contents of frames that must not tell about the speaker, whose embedding and number are given."""

    def __init__(self, change=None):
        super().__init__()
        self.layer, self.change = nn.Linear(4, 3), change

    def forward(self, batch):
        sound, embedding, label = batch
        content = Masked(self.layer(sound.values), sound.mask)
        by_frame = dict(
            zip(("frame", "voice of frame", "label of frame"), frames(content, embedding, label), strict=True)
        )
        variables = {"content": content.mean(), "voice": embedding, "label": label, "sequence": content, **by_frame}
        return variables if self.change is None else {**variables, **self.change(variables)}

    def present(self, batch):
        return None

    def losses(self, variables, batch):
        size = variables["content"].float().square().mean(1)
        return {"size": Rows(size, torch.ones(len(size)))}


def recorded(n=8, labels=None):
    mask = torch.arange(6) < torch.randint(1, 7, (n, 1))
    label = torch.arange(n) % 4 if labels is None else labels
    return Masked(torch.randn(n, 6, 4), mask), torch.randn(n, 2), label


def pairs():
    return Pairwise(
        {
            ("content", "label"): CLUBEstimator(3, 1, conditional=CategoricalConditional(3, 4)),
            ("frame", "label of frame"): CLUBEstimator(3, 1, conditional=CategoricalConditional(3, 4)),
            ("voice", "content"): CLUBEstimator(2, 3),
            ("voice of frame", "frame"): CLUBEstimator(2, 3),
            ("content", "voice"): InfoNCEEstimator(3, 2),
        }
    )


def step(model, penalty=None, **options):
    penalty = pairs() if penalty is None else penalty
    return AlternatingStep(
        model,
        penalty,
        objective=lambda losses, penalties: losses["size"].mean() + sum(penalties.values()),
        optimizer=torch.optim.SGD(model.parameters(), 0.01),
        penalty_optimizer=torch.optim.Adam(penalty.parameters(), 1e-3) if penalty.learns else None,
        **options,
    )


@pytest.fixture
def unchecked(monkeypatch):
    """As users have it: without the tests' own type check, which would come first."""
    monkeypatch.setattr(config, "jaxtyping_disable", True)


def test_labels_embeddings_and_frames_stand_in_one_step():
    torch.manual_seed(1)
    training = step(Voices())
    batch = recorded()
    record = training(batch)
    assert list(record.penalties) == list(training.penalty.labels.values())
    assert all(value.isfinite() for value in record.penalties.values())
    assert record.rms["label"] == batch[2].float().square().mean().sqrt()
    assert record.rms["frame"].isfinite()


def part(batch, rows):
    sound, embedding, label = batch
    return Masked(sound.values[rows], sound.mask[rows]), embedding[rows], label[rows]


def test_pieces_have_the_gradients_of_the_whole_batch_with_frames_and_labels():
    batch = recorded()
    whole, pieces = (step(Voices(), seed=0) for _ in range(2))
    pieces.model.load_state_dict(whole.model.state_dict())
    pieces.penalty.load_state_dict(whole.penalty.state_dict())
    whole(batch)
    pieces(part(batch, slice(5)), part(batch, slice(5, 8)))
    for ours, theirs in zip(pieces.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_latents_in_half_precision_learn_as_they_would_in_float32():
    batch = recorded()
    lowered = Voices(lambda given: {name: given[name].bfloat16() for name in ("content", "frame", "voice")})
    rounded = Voices(lambda given: {name: given[name].bfloat16().float() for name in ("content", "frame", "voice")})
    rounded.load_state_dict(lowered.state_dict())
    low, exact = step(lowered, seed=0), step(rounded, seed=0)
    exact.penalty.load_state_dict(low.penalty.state_dict())
    records = low(batch), exact(batch)
    torch.testing.assert_close(records[0].penalties, records[1].penalties)
    for ours, theirs in zip(lowered.parameters(), rounded.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=0.02, atol=0.01)  # gradients are rounded too


@pytest.mark.parametrize(
    ("penalty", "names", "message"),
    [
        (OrthogonalLoss(), ("frame", "sequence"), "frame;sequence: expected x and y of the same shape (N, d), got"),
        (
            CLUBEstimator(2, 3),
            ("voice", "sequence"),
            "voice;sequence: expected x of shape (N, 2) and y of shape (N, 3)",
        ),
        (InfoNCEEstimator(3, 2), ("sequence", "voice"), "sequence;voice: expected x of shape (N, 3), got a masked seq"),
        (CLUBEstimator(3, 2), ("sequence", "voice"), "sequence;voice: expected x of shape (N, 3), got a masked seq"),
    ],
)
def test_a_sequence_is_refused_with_its_pair_and_the_way_out(penalty, names, message, unchecked):
    change = lambda given: {"frame": given["content"]}  # noqa: E731
    with pytest.raises(ValueError, match=re.escape(message) + r".*(frames|mean)"):
        step(Voices(change), Pairwise({names: penalty}))(recorded())


@pytest.mark.parametrize("labels", [torch.tensor([-1, 1] * 4), torch.rand(8), torch.arange(8)])
def test_labels_that_are_no_classes_stop_a_step_before_the_model_moves(labels):
    model = Voices()
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(ValueError, match="content;label: expected classes 0 to 3 as whole numbers, got "):
        step(model)(recorded(labels=labels))
    assert all(torch.equal(p, was) for p, was in zip(model.parameters(), before, strict=True))


def test_where_values_are_not_looked_at_a_step_stops_and_names_them(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)  # then the CPU does what other devices do
    labels = torch.tensor([0, 1, 2, 3, 4, 0, 1, 2])
    training = step(Voices())
    before = [p.clone() for p in training.model.parameters()]
    with pytest.raises(NonFiniteError, match=r"CLUB\(content;label\), CLUB\(frame;label of frame\), likelihood$"):
        training(recorded(labels=labels))
    assert all(torch.equal(p, was) for p, was in zip(training.model.parameters(), before, strict=True))
    assert all(p.isfinite().all() for p in training.penalty.parameters())
    assert training(recorded()).penalties["CLUB(content;label)"].isfinite()


@pytest.mark.parametrize(
    ("thing", "error", "message"),
    [
        (["a", "b"] * 4, TypeError, "expected label as a tensor (N, d), got a list of strings: disentangle.class_num"),
        (
            pd.Series(range(8)),
            TypeError,
            "expected label as a tensor (N, d), got a pandas.Series of whole numbers: torch.as_",
        ),
        (torch.tensor(1.0), ValueError, "expected label of shape (N, d), got ()"),
    ],
)
def test_what_is_no_variable_is_refused_with_its_name(thing, error, message, unchecked):
    with pytest.raises(error, match=re.escape(message)):
        step(Voices(lambda _: {"label": thing}))(recorded())
