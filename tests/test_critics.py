import pytest
import torch

from disentangle.critics import JointCritic, SeparableCritic

F64 = torch.float64
CRITICS = [SeparableCritic, JointCritic]


def test_the_separable_critic_is_an_inner_product_of_embeddings():
    critic = SeparableCritic(3, 2, hidden_dim=6, embedding_dim=4).double()
    x, y = torch.randn(5, 3, dtype=F64), torch.randn(7, 2, dtype=F64)
    scores = critic(x, y)
    for i in range(5):
        for j in range(7):
            expected = critic.x_network(x[i]) @ critic.y_network(y[j])
            torch.testing.assert_close(scores[i, j], expected)


def test_the_joint_critic_is_a_network_on_both_for_each_pair():
    critic = JointCritic(3, 2, hidden_dim=6).double()
    x, y = torch.randn(5, 3, dtype=F64), torch.randn(7, 2, dtype=F64)
    scores = critic(x, y)
    for i in range(5):
        for j in range(7):
            expected = critic.rest(critic.first(torch.cat([x[i], y[j]])))
            torch.testing.assert_close(scores[i, j], expected.squeeze())


@pytest.mark.parametrize("make", CRITICS)
def test_inputs_have_correct_gradients(make):
    critic = make(2, 3, hidden_dim=4).double()
    x, y = torch.randn(3, 2, dtype=F64, requires_grad=True), torch.randn(4, 3, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(critic, (x, y))


@pytest.mark.parametrize("make", CRITICS)
def test_every_parameter_learns(make):
    critic = make(2, 3)
    critic(torch.randn(8, 2), torch.randn(8, 3)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in critic.parameters())


@pytest.mark.parametrize("make", CRITICS)
def test_autocast_gives_scores_in_float32(make):
    critic, x, y = make(4, 3), torch.randn(8, 4), torch.randn(8, 3)
    with torch.autocast("cpu", torch.bfloat16):
        low = critic(x, y)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, critic(x, y), rtol=0.05, atol=0.05)
