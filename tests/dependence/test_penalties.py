import re

import pytest
import torch

from disentangle import OrthogonalLoss

F64 = torch.float64


def test_orthogonal_loss_is_the_papers_over_the_square_of_the_batch():
    x, y = torch.randn(5, 3, dtype=F64), torch.randn(5, 3, dtype=F64)
    torch.testing.assert_close(OrthogonalLoss()(x, y), torch.linalg.matrix_norm(x @ y.T) ** 2 / 5**2)


def test_orthogonal_loss_has_nothing_to_learn_and_needs_equal_sizes():
    loss = OrthogonalLoss()
    assert not list(loss.parameters())
    with pytest.raises(TypeError, match="OrthogonalLoss has nothing to learn"):
        loss.learning_loss(torch.randn(3, 2), torch.randn(3, 2))
    message = "expected x and y of the same shape (N, d), got (3, 2) and (3, 4)"
    with pytest.raises(ValueError, match=re.escape(message)):
        loss(torch.randn(3, 2), torch.randn(3, 4))


@pytest.mark.cuda
def test_penalties_agree_with_the_cpu_on_cuda(cuda):
    x, y = torch.randn(64, 8), torch.randn(64, 8)
    loss = OrthogonalLoss()
    torch.testing.assert_close(loss(x.to(cuda), y.to(cuda)).cpu(), loss(x, y), rtol=1e-4, atol=1e-5)
