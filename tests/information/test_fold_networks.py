import math

import torch
from torch.nn import functional as F

from disentangle.information.fold_networks import StackedNetwork, fit_stacks


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_folds_are_networks_of_their_own():
    network = StackedNetwork(3, 2, 4, 8, 0.5, generator())
    z = torch.randn(3, 6, 2, generator=generator(1))
    outputs = network(z)
    assert outputs.shape == (3, 6, 4)
    with torch.no_grad():
        for p in network.parameters():
            p[1] += 1.0
    changed = network(z)
    assert torch.equal(changed[[0, 2]], outputs[[0, 2]])
    assert not torch.allclose(changed[1], outputs[1])


def fit(folds, noise):
    """Logistic regression on the first column, as many times; of pure noise where it is said."""
    z = torch.randn(folds, 400, 2, generator=generator(2))
    labels = (z[..., 0] > 0).long()
    for i in noise:
        labels[i] = torch.randint(2, (400,), generator=generator(3))
    network = StackedNetwork(folds, 2, 2, 16, 0.1, generator())

    def loss(rows):
        index = rows[..., None].expand(-1, -1, 2)
        return F.cross_entropy(network(z.gather(1, index)).mT, labels.gather(1, rows), reduction="none").mean(1)

    held_out = torch.arange(300, 400).expand(folds, -1)
    start = torch.full((folds,), math.log(2))
    parameters = list(network.parameters())
    improved = fit_stacks(parameters, loss, lambda: loss(held_out), start, 300, 150, generator(4))
    with torch.no_grad():
        return improved, loss(held_out)


def test_each_fold_ends_where_it_was_best_on_other_rows():
    improved, losses = fit(3, noise=[1])
    assert improved[[0, 2]].all()
    assert (losses[[0, 2]] < 0.25).all()
    assert losses[1] < math.log(2) + 0.02 or not improved[1]
