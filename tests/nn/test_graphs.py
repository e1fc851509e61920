import pytest
import torch

from disentangle.nn import GraphConvolution, SimilarityAdjacency, band_adjacency, mean_adjacency
from disentangle.variables import Masked

F64 = torch.float64
MASK = torch.tensor([[True] * 4, [True, False, True, True], [False] * 4])


def test_a_node_is_the_weighted_sum_of_its_real_neighbors():
    convolution = GraphConvolution(3, 2).double()
    values, adjacency = torch.randn(3, 4, 3, dtype=F64), torch.rand(3, 4, 4, dtype=F64)
    weight = convolution.linear.weight.detach()
    for content in (0.0, 7.0, torch.nan):
        x = torch.where(MASK.unsqueeze(2), values, content).requires_grad_()
        both = MASK.unsqueeze(2) & MASK.unsqueeze(1)
        a = torch.where(both, adjacency, content).requires_grad_()
        found = convolution(Masked(x, MASK), a)
        assert torch.equal(found.mask, MASK)
        for b in range(3):
            for i in range(4):
                expected = torch.zeros(2, dtype=F64)
                for j in range(4):
                    if MASK[b, i] and MASK[b, j]:
                        expected += adjacency[b, i, j] * (weight @ values[b, j])
                torch.testing.assert_close(found.values[b, i], expected)
        of_nodes, of_edges = torch.autograd.grad(found.values.sum(), [x, a])
        assert of_nodes[MASK].all()
        assert of_edges[both].all()
        assert not of_nodes[~MASK].any()
        assert not of_edges[~both].any()


def test_similar_nodes_are_neighbors_and_each_is_its_own():
    similarity, values = SimilarityAdjacency(3).double(), torch.randn(3, 4, 3, dtype=F64)
    found = similarity(Masked(torch.where(MASK.unsqueeze(2), values, torch.nan), MASK))
    for b in range(3):
        for i in range(4):
            for j in range(4):
                score = similarity.queries(values[b, i]) @ similarity.keys(values[b, j]) / 3
                expected = float(i == j) + max(score.item(), 0.0) if MASK[b, i] and MASK[b, j] else 0.0
                assert found[b, i, j].item() == pytest.approx(expected)
    found.sum().backward()
    for each in similarity.parameters():
        assert each.grad is not None
        assert each.grad.any()
        assert each.grad.isfinite().all()


@pytest.mark.parametrize("width", [0, 1, 2, 9])
def test_a_band_counts_real_steps(width):
    found = band_adjacency(Masked(torch.zeros(3, 4, 1, dtype=F64), MASK), width)
    assert found.dtype == F64
    for b in range(3):
        places = {step: place for place, step in enumerate(MASK[b].nonzero().flatten().tolist())}
        near = [
            [i in places and j in places and abs(places[i] - places[j]) <= width for j in range(4)] for i in range(4)
        ]
        assert found[b].tolist() == [[float(each) for each in row] for row in near]


def test_a_band_of_negative_width_is_refused():
    with pytest.raises(ValueError, match="expected a width of 0 or more, got -1"):
        band_adjacency(Masked(torch.zeros(1, 2, 1), torch.ones(1, 2).bool()), -1)


def test_means_have_weights_whose_sum_is_1_but_for_padding():
    adjacency = band_adjacency(Masked(torch.zeros(3, 4, 1, dtype=F64), MASK), 1).requires_grad_()
    mean = mean_adjacency(adjacency)
    torch.testing.assert_close(mean.sum(2), MASK.double())
    torch.testing.assert_close(mean * adjacency.sum(2, keepdim=True), adjacency)
    (gradient,) = torch.autograd.grad(mean.square().sum(), adjacency)
    assert gradient.isfinite().all()
