"""What a compiler makes of the library: the same values and gradients, from one graph. A program, run by test_compile.py.

In a process of its own, without the run-time check of shapes, which a compiler cannot follow.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import BertConfig, BertModel

from disentangle import MAGTextEncoder, Masked, Pairwise, dependence
from disentangle.nn import NoisyLatent, Standardize, masked_cross_entropy, masked_linear_mse

OF_OTHERS = {"BarberAgakovEstimator", "GivenClasses", "ScaleInvariant"}  # made of another dependence or network
# Their estimates or losses draw a whole number on the host.
DRAWS_ON_THE_HOST = {"SampledCLUBEstimator", "TotalCorrelationEstimator.learning_loss"}


def compares(
    run: Callable[..., Any], parameters: list[Any], *given: Any, backend: str = "aot_eager", **how: Any
) -> None:
    """Value and gradients of the sum of squares, compiled and not."""
    compiled = torch.compile(run, backend=backend, **how)
    results = []
    for call in (run, compiled, compiled):
        torch.manual_seed(0)
        out = call(*given)
        results.append([out.detach(), *torch.autograd.grad(out.square().sum(), parameters, materialize_grads=True)])
    for result in results[1:]:
        torch.testing.assert_close(result, results[0])


def dependences() -> dict[str, dependence.Dependence]:
    found = {}
    for name in sorted(set(dependence.__all__) - OF_OTHERS):
        kind = getattr(dependence, name)
        if inspect.isclass(kind) and issubclass(kind, dependence.Dependence) and not inspect.isabstract(kind):
            named = inspect.signature(kind).parameters
            sizes = 2 if "dims" in named else sum(size in named for size in ("x_dim", "y_dim", "dim"))
            found[name] = kind(*[8] * sizes)
    return found


def check_dependences() -> None:
    """One graph each, whose operations are torch's own: how a compiler takes gradients of them is not ours."""
    x, y = torch.randn(2, 32, 8)
    x.requires_grad_()
    for name, module in dependences().items():
        torch._dynamo.reset()
        if name not in DRAWS_ON_THE_HOST:
            compares(module, [x], x, y, fullgraph=True, backend="eager")
        if parameters := [*module.parameters()]:
            torch._dynamo.reset()
            if f"{name}.learning_loss" not in DRAWS_ON_THE_HOST:
                compares(module.learning_loss, parameters, x.detach(), y, fullgraph=True, backend="eager")


def check_pairwise() -> None:
    pairs = {("a", "b"): dependence.CLUBEstimator(8, 8), ("a", "c"): dependence.CLUBEstimator(8, 8)}
    penalty, variables = Pairwise(pairs), {name: torch.randn(32, 8) for name in "abc"}
    for run in (lambda v: torch.stack([*penalty(v).values()]), lambda v: penalty.learning_loss(v)):
        torch._dynamo.reset()
        compares(run, [*penalty.parameters()], variables, fullgraph=True)


def check_losses() -> None:
    hidden, mask = torch.randn(4, 6, 8, requires_grad=True), torch.arange(6) < torch.tensor([[6], [2], [0], [5]])
    for loss, values in ((masked_linear_mse, torch.randn(4, 6, 5)), (masked_cross_entropy, torch.randint(5, (4, 6)))):
        output = nn.Linear(8, 5)
        torch._dynamo.reset()
        compares(
            lambda h, target, loss=loss, output=output: loss(h, output, target).values,
            [hidden, *output.parameters()],
            hidden,
            Masked(values, mask),
            fullgraph=True,
        )


def check_layers() -> None:
    x = torch.randn(32, 8, requires_grad=True)
    compares(NoisyLatent(8, 0.3), [x], x, fullgraph=True)
    frames = Masked(torch.randn(4, 6, 8, requires_grad=True), torch.arange(6) < torch.tensor([[6], [2], [0], [5]]))
    compares(lambda frames: Standardize(8)(frames).values, [frames.values], frames)


def check_text_encoder() -> None:
    """Here entmax's sparsemax, and nothing else, breaks the graph."""
    config = BertConfig(vocab_size=60, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    encoder = MAGTextEncoder(BertModel(config), {"audio": 4}, 5).eval()
    ids, mask, lengths = torch.randint(60, (2, 9)), torch.ones(2, 9, dtype=torch.long), torch.tensor([9, 9])
    others = {"audio": Masked(torch.randn(2, 30, 4), torch.arange(30) < torch.tensor([[30], [0]]))}
    torch._dynamo.reset()
    compares(encoder, [*encoder.parameters()], ids, mask, others, None, lengths)
    breaks = torch._dynamo.explain(encoder)(ids, mask, others, None, lengths).break_reasons
    assert breaks
    assert all("entmax" in found.reason for found in breaks), breaks


CHECKS = (check_dependences, check_pairwise, check_losses, check_layers, check_text_encoder)

if __name__ == "__main__":
    torch.manual_seed(0)
    for check in CHECKS:
        check()
        sys.stdout.write(f"{check.__name__}\n")
