"""Estimators of one shape as one network against one after another: learning, and what the model pays for their values.

python benchmarks/pairs.py [--repeats 100]

Learning: five steps of Adam, each with its loss, backward and step; one after another each module has its own three. Model:
the values of all pairs and their gradients for the variables, the estimators frozen. `gaps`: a quarter of the rows lacks L.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Mapping

import torch
from timing import interleaved, machine, ratios, spread
from torch import Tensor

from disentangle import CLUBEstimator, Pairwise
from disentangle.training import frozen

N, D, STEPS = 32, 64, 5
PAIRS = [
    ("V", "L"),
    ("V", "A"),
    ("L", "A"),
    ("V", "S"),
    ("L", "S"),
    ("A", "S"),
    ("X_V", "S"),
    ("X_L", "S"),
    ("X_A", "S"),
]
INPUTS = {"nine equal pairs, 64 to 64": (64, 64, 64), "MIRD: six of 64, and 709, 768, 33, to 64": (709, 768, 33)}
GAPS = {name: torch.arange(N) % 4 != 0 for name in ("L", "X_L")}

Variables = Mapping[str, Tensor]


def rows_of(variables: Variables, names: tuple[str, ...], present: Variables) -> list[Tensor]:
    rows = torch.ones(N, dtype=torch.bool)
    for name in names:
        rows = rows & present.get(name, rows)
    return [variables[name][rows] if present else variables[name] for name in names]


def learn_in_turn(pairs: Pairwise, variables: Variables, present: Variables, fused: bool) -> Callable[[], object]:
    jobs = []
    for names, single in zip(pairs.pairs, pairs.dependences.values(), strict=True):
        club = copy.deepcopy(single)
        jobs.append((club, torch.optim.Adam(club.parameters(), 1e-3, fused=fused), *rows_of(variables, names, present)))

    def run() -> None:
        for club, optimizer, x, y in jobs:
            for _ in range(STEPS):
                optimizer.zero_grad()
                club.learning_loss(x, y).backward()
                optimizer.step()

    return run


def learn_together(pairs: Pairwise, variables: Variables, present: Variables, fused: bool) -> Callable[[], object]:
    pairs = copy.deepcopy(pairs)
    optimizer = torch.optim.Adam(pairs.parameters(), 1e-3, fused=fused)

    def run() -> None:
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = pairs.learning_loss(variables, present)
            assert loss is not None
            loss.backward()
            optimizer.step()

    return run


def model_phase(pairs: Pairwise, variables: Variables, present: Variables, together: bool) -> Callable[[], object]:
    variables = {name: v.clone().requires_grad_(not name.startswith("X")) for name, v in variables.items()}
    latents = [v for v in variables.values() if v.requires_grad]
    clubs = [copy.deepcopy(club).requires_grad_(False) for club in pairs.dependences.values()]

    def run() -> None:
        if together:
            with frozen(pairs):
                values = list(pairs(variables, present).values())
        else:
            values = [club(*rows_of(variables, names, present)) for names, club in zip(pairs.pairs, clubs, strict=True)]
        torch.autograd.grad(torch.stack(values).sum(), latents)

    return run


def report(title: str, pairs: Pairwise, variables: Variables, present: Variables, repeats: int) -> None:
    times = interleaved(
        {
            "turn": learn_in_turn(pairs, variables, present, fused=False),
            "turn, fused": learn_in_turn(pairs, variables, present, fused=True),
            "together": learn_together(pairs, variables, present, fused=False),
            "together, fused": learn_together(pairs, variables, present, fused=True),
            "model, turn": model_phase(pairs, variables, present, together=False),
            "model, together": model_phase(pairs, variables, present, together=True),
        },
        repeats,
    )
    print(title)
    for what, slow, fast in (
        ("learning, Adam fused (as documented) against Adam", "turn", "together, fused"),
        ("learning, both Adam", "turn", "together"),
        ("learning, both fused", "turn, fused", "together, fused"),
        ("model phase", "model, turn", "model, together"),
    ):
        print(f"  {what:50} {spread(times[slow]):>26} {spread(times[fast]):>26} {ratios(times[slow], times[fast])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=100, help="(default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{machine()}; N = {N}, float32; milliseconds, median [min, max]: in turn, together, ratio")
    for title, inputs in INPUTS.items():
        sizes = {**dict.fromkeys("LAVS", D), **dict(zip(("X_V", "X_L", "X_A"), inputs, strict=True))}
        variables = {name: torch.randn(N, size) for name, size in sizes.items()}
        for log_variance in ("free", "tanh"):
            pairs = Pairwise({(x, y): CLUBEstimator(sizes[x], sizes[y], log_variance=log_variance) for x, y in PAIRS})
            report(f"{title}; {log_variance}", pairs, variables, {}, options.repeats)
        report(f"{title}; {log_variance}, gaps", pairs, variables, GAPS, options.repeats)


if __name__ == "__main__":
    main()
