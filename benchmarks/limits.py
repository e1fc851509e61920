"""What meters read of dependence that is hard to find, and a neural probe beside them: the table of docs/limits.md.

python benchmarks/limits.py
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from known_truths.classes import parity
from known_truths.features import largest_of

from disentangle import estimate_mutual_information, permutation_test, probe_classes, probe_numbers
from disentangle.text_tables import markdown

Draw = Callable[[int, np.random.Generator], tuple[np.ndarray, np.ndarray]]
SQUARE = 2 * 0.803  # of two, by quadrature: `python benchmarks/mutual_information.py`, family sign-symmetric


def parity_among(used: int, columns: int) -> Draw:
    def draw(n: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        x, y = parity(used, 0.0).sample(n, generator)
        return np.hstack([x, generator.standard_normal((n, columns - used))]), y

    return draw


def computed(columns: int, function: Callable[[np.ndarray], np.ndarray], noise: float = 0.0) -> Draw:
    def draw(n: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        x = generator.standard_normal((n, columns))
        y = function(x)
        return x, y + noise * generator.standard_normal(y.shape)

    return draw


def dependences() -> Iterator[tuple[str, tuple[int, ...], float, Draw]]:
    """Each with its numbers of rows, its truth in nats, and what draws it."""
    rows = 1000, 4000
    yield "parity of 3 columns among 10", rows, math.log(2), parity_among(3, 10)
    yield "parity of 4 columns among 10", rows, math.log(2), parity_among(4, 10)
    yield "parity of 4 columns", rows, math.log(2), parity_among(4, 4)
    yield "product of 3 columns, no noise", rows, math.inf, computed(3, lambda x: x.prod(1, keepdims=True))
    length = computed(8, lambda x: np.linalg.norm(x[:, :3], axis=1, keepdims=True))
    yield "length of 3 columns among 8, no noise", rows, math.inf, length
    maps = np.random.default_rng(0).standard_normal((3, 2))
    yield "2 linear maps of 3 columns, no noise", rows, math.inf, computed(3, lambda x: x @ maps)
    for classes, dim in ((4, 32), (10, 64)):
        source = largest_of(dim, classes, 0.2)
        yield f"{classes} classes of unit vectors of {dim}", rows, source.mi, source.sample
    yield "2 squares, noise 0.5", (50, 100, 300), SQUARE, computed(2, np.square, 0.5)
    yield "none, 16 and 16 columns", (50, 100, 1000), 0.0, lambda n, draw: tuple(draw.standard_normal((2, n, 16)))


def read(x: np.ndarray, y: np.ndarray) -> str:
    """What a neural probe of half of the rows reads from the other half."""
    half = len(x) // 2
    if y.ndim == 1:
        found = probe_classes(x[:half], y[:half], test=(x[half:], y[half:]))
        return f"{found.accuracy:.2f} ({found.chance:.2f})"
    return f"R² {probe_numbers(x[:half], y[:half], test=(x[half:], y[half:])).r2:z.2f}"


def main() -> None:
    table = [["dependence", "rows", "truth", "read", "warnings", "p", "a neural probe"]]
    for name, sizes, truth, draw in dependences():
        for rows in sizes:
            x, y = draw(rows, np.random.default_rng(0))
            found = estimate_mutual_information(x, y)
            p = permutation_test(x, y).p_value
            value = f"{found.value:z.2f} ± {found.standard_error:.2f}"
            warnings = str(len(found.warnings) or "none")
            table.append([name, str(rows), f"{truth:.2f}", value, warnings, f"{p:.2g}", read(x, y)])
            print(markdown([table[0], table[-1]]).splitlines()[-1], flush=True)
    print(f"\n{markdown(table, ['dependence'])}")


if __name__ == "__main__":
    main()
