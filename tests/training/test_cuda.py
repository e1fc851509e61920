"""What only a device can show: steps that never wait for it, and bfloat16 beside float32."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from disentangle import AlternatingStep, AlternatingTrainer, CLUBEstimator, KeepUp, Pairwise, PenaltyLoss
from disentangle.training import NonFiniteError

from .test_trainer import Regression, objective

pytestmark = pytest.mark.cuda


def parts(device):
    torch.manual_seed(0)
    model, penalty = Regression().to(device), Pairwise({("a", "b"): CLUBEstimator(2, 3)}).to(device)
    optimizers = {
        "optimizer": torch.optim.Adam(model.parameters(), 1e-2, fused=True),
        "penalty_optimizer": torch.optim.Adam(penalty.parameters(), 1e-3, fused=True),
    }
    return model, penalty, optimizers


@pytest.mark.parametrize("keep_up", [None, KeepUp()])
def test_a_step_does_not_wait_for_the_device(cuda, no_waiting, keep_up):
    model, penalty, optimizers = parts(cuda)
    clip = lambda parameters: torch.nn.utils.clip_grad_norm_(parameters, 1.0)  # noqa: E731
    step = AlternatingStep(model, penalty, objective=objective, clip=clip, seed=0, keep_up=keep_up, **optimizers)
    batch = torch.randn(32, 4, device=cuda), torch.randn(32, device=cuda)
    step(batch)  # what is made once may wait
    with no_waiting():
        for _ in range(3):
            step(batch)


def test_a_gradient_that_is_not_finite_stops_an_iteration_later(cuda):
    model, penalty, optimizers = parts(cuda)
    step = AlternatingStep(model, penalty, objective=objective, **optimizers)
    batch = torch.randn(32, 4, device=cuda), torch.randn(32, device=cuda)
    step.objective = lambda losses, penalties: objective(losses, penalties) + (losses["Y"].mean() * 0).sqrt()
    step(batch)
    with pytest.raises(FloatingPointError, match="gradients"):
        step(batch)


def test_bfloat16_learns_what_float32_learns(cuda):
    x = torch.randn(256, 4)
    last = {}
    for precision in ("no", "bf16"):
        model, penalty, optimizers = parts(cuda)
        trainer = AlternatingTrainer(
            model, penalty, objective=objective, precision=precision, device="cuda", progress=False, **optimizers
        )
        batches = DataLoader(TensorDataset(x, x.sum(1)), batch_size=32, shuffle=True)
        last[precision] = trainer.fit(batches, 10)[-1]["losses"]["Y"]
    assert last["bf16"] == pytest.approx(last["no"], rel=0.1, abs=1e-2)


def test_a_penalty_loss_follows_its_variables_and_does_not_wait_for_the_device(cuda, no_waiting):
    penalty = PenaltyLoss(Pairwise({("a", "b"): CLUBEstimator(2, 3)}))  # on the CPU until the first call
    a, b = torch.randn(32, 2, device=cuda, requires_grad=True), torch.randn(32, 3, device=cuda)
    penalty({"a": a, "b": b})
    with no_waiting():
        for _ in range(3):
            penalty({"a": a, "b": b}).backward()
    assert a.grad is not None
    again = PenaltyLoss(Pairwise({("a", "b"): CLUBEstimator(2, 3)}))
    again.load_state_dict(penalty.state_dict())
    torch.testing.assert_close(again({"a": a, "b": b}), penalty({"a": a, "b": b}))


def test_a_penalty_loss_names_what_is_not_finite_a_call_later(cuda):
    penalty = PenaltyLoss(Pairwise({("a", "b"): CLUBEstimator(2, 3)}))
    a, b = torch.randn(32, 2, device=cuda, requires_grad=True), torch.randn(32, 3, device=cuda)
    penalty({"a": a, "b": b * float("inf")})
    with pytest.raises(NonFiniteError, match="variable b"):
        penalty({"a": a, "b": b})
