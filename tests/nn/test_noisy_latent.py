import math

import pytest
import torch

from disentangle import estimate_mutual_information
from disentangle.nn import NoisyLatent


def test_scale_and_offset_of_what_comes_in_do_not_matter():
    hidden = torch.randn(500, 4, dtype=torch.float64)
    latent = NoisyLatent(4, 0.3).double()
    torch.manual_seed(1)
    once = latent(hidden)
    torch.manual_seed(1)
    again = latent(1e3 * hidden - 7)
    torch.testing.assert_close(once, again, rtol=0, atol=1e-4)
    torch.testing.assert_close(once.var(0), torch.full((4,), 1.09, dtype=torch.float64), rtol=0.2, atol=0)


def test_evaluation_is_noisy_too_and_uses_running_statistics():
    latent = NoisyLatent(3, 0.5)
    for _ in range(200):
        latent(4.0 + 2.0 * torch.randn(256, 3))
    latent.eval()
    row = torch.full((2000, 3), 6.0)  # one standard deviation from the mean
    z = latent(row)
    torch.testing.assert_close(z.mean(0), torch.ones(3), rtol=0, atol=0.05)
    torch.testing.assert_close(z.std(0), torch.full((3,), 0.5), rtol=0.1, atol=0)


@pytest.mark.slow
def test_a_gaussian_that_passes_reads_its_capacity_and_no_more():
    latent = NoisyLatent(2, 0.5)
    hidden = torch.randn(4000, 2)
    read = estimate_mutual_information(hidden, latent(hidden))
    assert latent.capacity == pytest.approx(math.log(5.0))
    assert read.value == pytest.approx(latent.capacity, abs=0.08)


def test_noise_has_to_be_positive():
    with pytest.raises(ValueError, match="expected noise of more than 0, got 0"):
        NoisyLatent(3, 0.0)
