from functools import partial
from itertools import product
from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from disentangle.nn import LowRankFusion, TensorFusion

F64 = torch.float64
SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(lambda sizes: {f"m{i}": d for i, d in enumerate(sizes)})


def drawn(sizes, batch=3):
    """Vectors, and which rows have which modality."""
    vectors = {m: torch.randn(batch, size, dtype=F64, requires_grad=True) for m, size in sizes.items()}
    return vectors, {m: torch.rand(batch) < 0.7 for m in sizes}


@settings(deadline=None, max_examples=20)
@given(SIZES)
def test_tensor_fusion_is_every_product_of_one_feature_or_1_of_each_modality(sizes):
    vectors, present = drawn(sizes)
    fused = TensorFusion(sizes)(vectors, present)
    for i, row in enumerate(fused):
        sides = [[1.0, *(z[i].tolist() if present[m][i] else [0.0] * z.shape[1])] for m, z in vectors.items()]
        torch.testing.assert_close(row, torch.tensor([prod(chosen) for chosen in product(*sides)], dtype=F64))


@settings(deadline=None, max_examples=20)
@given(SIZES, st.integers(1, 4), st.integers(1, 3))
def test_low_rank_fusion_is_a_linear_map_of_all_products_by_sums_of_outer_products(sizes, rank, outputs):
    vectors, present = drawn(sizes)
    fusion = LowRankFusion(sizes, outputs, rank).double()
    torch.nn.init.normal_(fusion.bias)
    weight = torch.zeros(outputs, TensorFusion(sizes).out_features, dtype=F64)
    for o in range(outputs):
        for r in range(rank):
            outer = torch.ones((), dtype=F64)
            for factor in fusion.factors.values():
                outer = torch.tensordot(outer, factor[r, :, o], dims=0)
            weight[o] += fusion.weight[0, r] * outer.flatten()
    expected = TensorFusion(sizes)(vectors, present) @ weight.T + fusion.bias
    actual = fusion(vectors, present)
    torch.testing.assert_close(actual, expected)
    inputs, direction = [*vectors.values(), *fusion.parameters()], torch.randn_like(expected)
    gradients = [torch.autograd.grad((out * direction).sum(), inputs) for out in (actual, expected)]
    torch.testing.assert_close(*gradients)


def test_low_rank_fusion_starts_at_a_scale_that_does_not_depend_on_the_sizes():
    for size in (4, 256):
        fused = LowRankFusion({"a": size, "b": size}, 1, rank=4)({m: torch.randn(500, size) for m in "ab"})
        assert 0.01 < fused.std() < 10


FUSIONS = [TensorFusion({"a": 2, "b": 3}), LowRankFusion({"a": 2, "b": 3}, 2, rank=3)]


@pytest.mark.parametrize("fusion", FUSIONS, ids=lambda fusion: type(fusion).__name__)
def test_what_a_lacking_row_holds_changes_neither_value_nor_gradient(fusion):
    fusion, results = fusion.double(), []
    a = torch.randn(2, 2, dtype=F64, requires_grad=True)
    for content in (0.0, 7.0, torch.nan):
        b = torch.tensor([[0.5, -1.0, 2.0], [content] * 3], dtype=F64, requires_grad=True)
        fused = fusion({"a": a, "b": b}, {"b": torch.tensor([True, False])})
        gradients = torch.autograd.grad(fused.square().sum(), [a, b, *fusion.parameters()])
        results.append([fused, *gradients])
        assert not gradients[1][1].any()
        assert gradients[1][0].all()
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], atol=0, rtol=0)


@pytest.mark.parametrize("fusion", [TensorFusion, partial(LowRankFusion, out_features=1)])
def test_what_does_not_fit_is_refused(fusion):
    with pytest.raises(ValueError, match="expected the sizes of one modality or more, got none"):
        fusion({})
    with pytest.raises(ValueError, match=r"expected modalities of the sizes \{'a': 2\}, got \{'a': 3\}"):
        fusion({"a": 2})({"a": torch.zeros(1, 3)})
    with pytest.raises(ValueError, match=r"got \{'b': 2\}"):
        fusion({"a": 2})({"b": torch.zeros(1, 2)})
    with pytest.raises(ValueError, match="expected a rank of 1 or more, got 0"):
        LowRankFusion({"a": 2}, 1, rank=0)
