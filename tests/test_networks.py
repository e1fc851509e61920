import re

import pytest
import torch
from torch import nn

from disentangle.networks import TwoLayers

F64 = torch.float64


def test_it_is_a_network_of_two_layers_by_hand():
    network, x = TwoLayers(3, 5, 2).double(), torch.randn(4, 3, dtype=F64)
    first, second = network[0], network[2]
    expected = (x @ first.weight.T + first.bias).clamp(min=0) @ second.weight.T + second.bias
    torch.testing.assert_close(network(x), expected)


def test_its_state_dict_is_that_of_a_sequence_of_layers():
    network, layers = TwoLayers(3, 5, 2), nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    layers.load_state_dict(network.state_dict())
    x = torch.randn(4, 3)
    assert torch.equal(network(x), layers(x))


def test_under_autocast_half_precision_and_float32_are_both_taken():
    network, x = TwoLayers(3, 5, 2), torch.randn(4, 3)
    for parameters in (torch.float32, torch.bfloat16):
        network.to(parameters)
        with torch.autocast("cpu", torch.bfloat16):
            outputs = [network(x.to(dtype)) for dtype in (torch.float32, torch.bfloat16, torch.float16)]
        assert {output.dtype for output in outputs} == {torch.bfloat16}
        torch.testing.assert_close(outputs[0], outputs[1])


def test_what_is_more_precise_is_refused_by_its_name():
    message = "expected y in torch.float32, the precision of the parameters, or lower, got torch.float64: "
    with pytest.raises(ValueError, match=re.escape(message)):
        TwoLayers(3, 5, 2, "y")(torch.randn(4, 3, dtype=F64))
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(ValueError, match=re.escape(message)):
        TwoLayers(3, 5, 2, "y")(torch.randn(4, 3, dtype=F64))
