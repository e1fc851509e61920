"""How often tests of independence see a dependence, and how often they see one where there is none.

python benchmarks/independence_tests.py [--rows 250] [--trials 40]

By permutation, at a level of 5 %: the default of `permutation_test`, and HSIC with other kernels as its statistic.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np

from disentangle import HSIC, permutation_test
from disentangle.text_tables import markdown

STATISTICS: dict[str, Callable | None] = {
    "default (Laplace, median)": None,
    "Gaussian, median": HSIC(unbiased=False),
    "Gaussian, a quarter and whole": HSIC(unbiased=False, scales=(0.25, 1.0)),
    "Laplace, half": HSIC(unbiased=False, kernel="laplace", scales=(0.5,)),
}


def pairs(rows: int, draw: np.random.Generator) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Each kind of dependence, beside columns that have none."""

    def normal(columns: int) -> np.ndarray:
        return draw.normal(size=(rows, columns))

    def beside(x: np.ndarray, columns: int) -> np.ndarray:
        return np.concatenate([x.reshape(rows, -1), normal(columns)], 1)

    x = normal(1)
    yield "none, 2 and 2 columns", normal(2), normal(2)
    yield "linear, r = 0.2", x, 0.2 * x + 0.98 * normal(1)
    yield "linear, r = 0.3, in one of 8 columns", beside(x, 7), beside(0.3 * x + 0.954 * normal(1), 7)
    yield "square, in one of 2", beside(x, 1), beside(x**2 + 1.5 * normal(1), 1)
    angle = draw.uniform(-np.pi, np.pi, (rows, 1))
    yield "cosine of the double angle, in one of 2", beside(angle, 1), beside(np.cos(2 * angle) + 0.2 * normal(1), 1)
    yield "a ring, in one of 2", beside(np.cos(angle) + 0.3 * normal(1), 1), beside(np.sin(angle) + 0.3 * normal(1), 1)
    signs = normal(4)
    yield (
        "the sign of a product, in one of 4",
        signs,
        beside(np.sign(signs[:, 0] * signs[:, 1]) * np.abs(draw.normal(size=rows)), 3),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=250, help="(default: %(default)s)")
    parser.add_argument("--trials", type=int, default=40, help="(default: %(default)s)")
    options = parser.parse_args()
    seen: dict[str, dict[str, int]] = {}
    for seed in range(options.trials):
        for name, x, y in pairs(options.rows, np.random.default_rng(seed)):
            for test, statistic in STATISTICS.items():
                p = permutation_test(x, y, statistic=statistic, permutations=99, seed=seed).p_value
                counts = seen.setdefault(name, dict.fromkeys(STATISTICS, 0))
                counts[test] += p <= 0.05
    rows = [[name, *(f"{counts[test] / options.trials:.2f}" for test in STATISTICS)] for name, counts in seen.items()]
    print(f"{options.rows} rows, {options.trials} trials, 99 permutations: how often p is at most 0.05")
    print(markdown([["dependence", *STATISTICS], *rows], ["dependence"]))


if __name__ == "__main__":
    main()
