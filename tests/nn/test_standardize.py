import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from disentangle.nn import Standardize
from disentangle.variables import Masked

FRAMES = st.lists(
    st.integers(0, 6).flatmap(
        lambda time: arrays(
            np.float64, (time, 3), elements=st.floats(-100, 100, width=32) | st.sampled_from([np.nan, np.inf])
        )
    ),
    max_size=5,
)


@settings(deadline=None)
@given(FRAMES)
def test_mean_and_deviation_are_those_of_all_finite_frames(sequences):
    standardize = Standardize(3).fit(iter(sequences))
    every = np.concatenate([np.zeros((0, 3)), *sequences])
    for feature, column in enumerate(every.T):
        finite = column[np.isfinite(column)]
        mean, deviation = (finite.mean(), finite.std()) if len(finite) else (0.0, 0.0)
        assert standardize.mean[feature].item() == pytest.approx(mean, rel=1e-5, abs=1e-5)
        if deviation > 1e-4:
            assert standardize.scale[feature].item() == pytest.approx(deviation, rel=1e-5)
        elif deviation == 0:
            assert standardize.scale[feature] == 1


def test_it_is_the_identity_before_fit():
    values = torch.randn(2, 4, 3)
    out = Standardize(3)(Masked(values, torch.ones(2, 4, dtype=torch.bool)))
    assert torch.equal(out.values, values)


@pytest.mark.parametrize(
    ("offset", "spread"), [(0.0, 1.0), (1e6, 1.0), (-1e6, 50.0), (0.0, 1e30), (0.0, 1e-30), (1e30, 1e28)]
)
def test_offsets_and_ranges_cost_no_precision(offset, spread):
    draw = np.random.default_rng(0)
    sequences = [(offset + spread * draw.standard_normal((n, 1))).astype(np.float32) for n in (500, 1, 300, 1200)]
    standardize = Standardize(1).fit(torch.from_numpy(s) for s in sequences)
    every = torch.from_numpy(np.concatenate(sequences)).unsqueeze(0)
    out = standardize(Masked(every, torch.ones(1, 2001, dtype=torch.bool))).values.double()
    assert abs(out.mean()) < 0.05  # float32 cannot place 1e6 better than to 0.03
    assert out.std(unbiased=False).item() == pytest.approx(1, rel=1e-3)


def test_constant_and_empty_features_keep_their_scale():
    sequences = [np.array([[0.1, np.nan, 1e6 + 0.1, 0.0]] * 7)] * 3
    standardize = Standardize(4).fit(sequences)
    assert standardize.scale.tolist() == [1, 1, 1, 1]
    assert standardize.mean[1] == 0
    out = standardize(Masked(torch.tensor(sequences[0], dtype=torch.float32)[None], torch.ones(1, 7, dtype=torch.bool)))
    assert not out.values.any()


def test_padding_and_what_is_not_finite_become_zero():
    standardize = Standardize(2).fit([np.array([[1.0, 5.0], [3.0, 9.0]])])
    values = torch.tensor([[[3.0, torch.nan], [torch.inf, 9.0], [torch.nan, 7.0], [2.0, 2.0]]])
    mask = torch.tensor([[True, True, False, False]])
    out = standardize(Masked(values, mask))
    assert out.values.tolist() == [[[1, 0], [0, 1], [0, 0], [0, 0]]]
    assert torch.equal(out.mask, mask)


def test_what_was_measured_is_saved_with_the_weights():
    standardize = Standardize(2).fit([np.random.default_rng(0).normal(3, 2, (50, 2))])
    again = Standardize(2)
    again.load_state_dict(copy.deepcopy(standardize.state_dict()))
    assert torch.equal(again.mean, standardize.mean)
    assert torch.equal(again.scale, standardize.scale)
    assert not list(standardize.parameters())


@pytest.mark.parametrize("shape", [(4, 3), (4,), (2, 4, 2)])
def test_sequences_of_another_shape_are_refused(shape):
    with pytest.raises(
        ValueError, match=r"expected sequences of shape \(time, 2\), got \(" + ", ".join(map(str, shape))
    ):
        Standardize(2).fit([np.zeros(shape)])


@pytest.mark.cuda
def test_cuda_agrees_with_the_cpu(cuda):
    standardize = Standardize(3).fit([np.random.default_rng(0).normal(3, 2, (50, 3))])
    sequence = Masked(torch.randn(2, 5, 3), torch.arange(5) < torch.tensor([[5], [2]]))
    expected = standardize(sequence)
    actual = standardize.to(cuda)(sequence.to(cuda))
    torch.testing.assert_close(actual.values.cpu(), expected.values)
    refit = Standardize(3).to(cuda).fit([torch.randn(9, 3, device=cuda)])
    assert refit.mean.device.type == "cuda"
