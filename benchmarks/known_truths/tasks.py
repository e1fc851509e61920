"""The collection: tasks by family, and the two halves of it.

    from known_truths.tasks import halves, tasks
    tuning, held_out = halves(tasks())

The truths are closed forms or quadratures (truths.py); what is made of them follows from invariance under injective maps
of x and of y. The families are those of the literature on estimators of mutual information, each written from its formula.

References:
    Czyż et al., Beyond Normal: On the Evaluation of Mutual Information Estimators, 2023
    (https://arxiv.org/abs/2306.11078)

    Poole et al., On Variational Bounds of Mutual Information, 2019
    (https://arxiv.org/abs/1905.06922)
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from .classes import bins, channel, clusters, counts, gated, overlapping_intervals, parity, rectified, rings
from .features import FEATURES
from .sources import (
    Generator,
    Source,
    additive_uniform,
    dense,
    gaussian,
    independent,
    mixture,
    multinormal,
    product,
    proportional_noise,
    random_sign,
    regression,
    ring,
    sparse,
    student,
    volatility,
)
from .transforms import (
    copies,
    cubic,
    half_cube,
    mapped,
    margins,
    normal_cdf,
    padded,
    rotation,
    spiral,
    swiss_roll,
)

FEW = 300  # rows


@dataclass(frozen=True)
class Task:
    """x (n, x_dim) and y (n, y_dim) from `sample(n, generator)`, I(x; y) = mi nats.

    Classes are integers (n,). Where `rows` is a number, the task is about that many.
    """

    name: str
    family: str
    x_dim: int
    y_dim: int
    mi: float
    sample: Callable[[int, Generator], tuple[np.ndarray, np.ndarray]]
    rows: int | None = None


def sparse_normal(x_dim: int, y_dim: int | None = None) -> Source:
    return multinormal(sparse(x_dim, y_dim or x_dim), x_dim)


def dense_normal(x_dim: int, y_dim: int | None = None) -> Source:
    return multinormal(dense(x_dim, y_dim or x_dim), x_dim)


def identity_student(dim: int, dof: float) -> Source:
    """Uncorrelated and dependent: x and y share their scale."""
    return student(np.eye(2 * dim), dim, dof)


def sparse_student(dim: int, dof: float) -> Source:
    return student(sparse(dim, dim, pairs=min(2, dim)), dim, dof)


def dense_student(dim: int, dof: float) -> Source:
    return student(dense(dim, dim), dim, dof)


def gaussian_family() -> dict[str, Source]:
    chosen = [
        *((1, 0.5), (1, 2), (1, 4), (1, 6), (3, 0.5), (3, 4), (3, 2), (3, 6), (5, 2), (5, 8)),
        *((10, 0.5), (10, 4), (10, 2), (10, 10), (20, 2), (20, 6), (25, 4), (25, 10)),
    ]
    return {f"gaussian d={dim} mi={mi}": gaussian(dim, mi) for dim, mi in chosen}


def multinormal_family() -> dict[str, Source]:
    return {
        **{f"sparse normal {d}x{d}": sparse_normal(d) for d in (2, 3, 5, 25)},
        **{f"dense normal {d}x{d}": dense_normal(d) for d in (2, 3, 5, 25)},
        "dense normal 10x1": dense_normal(10, 1),
        "sparse normal 25x2": sparse_normal(25, 2),
    }


def student_family() -> dict[str, Source]:
    return {
        **{f"student identity {d}x{d} dof={v}": identity_student(d, v) for d, v in ((1, 1), (2, 1), (2, 2), (3, 2))},
        **{f"student identity {d}x{d} dof={v}": identity_student(d, v) for d, v in ((3, 3), (5, 2), (5, 3), (5, 5))},
        **{f"student sparse {d}x{d} dof={v}": sparse_student(d, v) for d, v in ((1, 1), (2, 1), (3, 3), (5, 5))},
        **{f"student dense {d}x{d} dof={v}": dense_student(d, v) for d, v in ((3, 2), (5, 3))},
    }


def uniform_family() -> dict[str, Source]:
    chosen = ((1, 0.5), (1, 2), (3, 2), (5, 4), (10, 2), (25, 4))
    return {f"uniform margins d={d} mi={mi}": margins(gaussian(d, mi), normal_cdf) for d, mi in chosen}


def additive_family() -> dict[str, Source]:
    chosen = ((0.1, 1), (0.75, 1), (0.25, 1), (0.25, 3), (0.75, 5), (0.75, 3))
    return {f"additive uniform noise {width} d={d}": additive_uniform(width, d) for width, d in chosen}


def cubic_family() -> dict[str, Source]:
    return {
        "cubic of gaussian d=1 mi=2": margins(gaussian(1, 2), cubic),
        "cubic of gaussian d=5 mi=4": margins(gaussian(5, 4), cubic),
        "cubic of sparse normal 25x25": margins(sparse_normal(25), cubic),
        "cubic of x of dense normal 3x3": mapped(dense_normal(3), x=cubic),
    }


def half_cube_family() -> dict[str, Source]:
    return {
        "half-cube of gaussian d=1 mi=0.5": margins(gaussian(1, 0.5), half_cube),
        "half-cube of gaussian d=10 mi=4": margins(gaussian(10, 4), half_cube),
        "half-cube of sparse normal 25x25": margins(sparse_normal(25), half_cube),
        "half-cube of gaussian d=25 mi=6": margins(gaussian(25, 6), half_cube),
        "half-cube of student identity 1x1 dof=1": margins(identity_student(1, 1), half_cube),
        "half-cube of student sparse 3x3 dof=2": margins(sparse_student(3, 2), half_cube),
    }


def asinh_family() -> dict[str, Source]:
    return {
        "asinh of student identity 1x1 dof=1": margins(identity_student(1, 1), np.arcsinh),
        "asinh of student identity 2x2 dof=1": margins(identity_student(2, 1), np.arcsinh),
        "asinh of student identity 3x3 dof=2": margins(identity_student(3, 2), np.arcsinh),
        "asinh of student sparse 5x5 dof=2": margins(sparse_student(5, 2), np.arcsinh),
        "asinh of gaussian d=3 mi=2": margins(gaussian(3, 2), np.arcsinh),
        "asinh of gaussian d=20 mi=6": margins(gaussian(20, 6), np.arcsinh),
    }


def normal_cdf_family() -> dict[str, Source]:
    """Beyond 8.3 the CDF is 1 in float64, and equal values take from mi: hence five degrees of freedom and no fewer,
    where that is one value in 5,000 and takes less than 0.001. In float32 it is one in 700, beyond 5.4."""
    return {
        "normal cdf of student identity 1x1 dof=5": margins(identity_student(1, 5), normal_cdf),
        "normal cdf of student sparse 2x2 dof=5": margins(sparse_student(2, 5), normal_cdf),
        "normal cdf of student identity 3x3 dof=5": margins(identity_student(3, 5), normal_cdf),
        "normal cdf of dense normal 5x5": margins(dense_normal(5), normal_cdf),
        "normal cdf of x of sparse normal 25x25": mapped(sparse_normal(25), x=normal_cdf),
    }


def spiral_family() -> dict[str, Source]:
    """x turned in the plane of its first two coordinates, y the other way in the next."""

    def turned(source: Source) -> Source:
        return mapped(source, spiral(1 / 3), spiral(-1 / 3, (0, 1) if source.y_dim == 2 else (1, 2)))

    return {
        **{f"spiral of sparse normal {d}x{d}": turned(sparse_normal(d)) for d in (3, 5, 25, 2)},
        **{f"spiral of dense normal {d}x{d}": turned(dense_normal(d)) for d in (3, 5, 25, 2)},
        "spiral of x of gaussian d=2 mi=2": mapped(gaussian(2, 2), x=spiral(1 / 3)),
        "spiral of gaussian d=3 mi=4": turned(gaussian(3, 4)),
    }


def rotated_family() -> dict[str, Source]:
    def rotated(source: Source, seed: int, x_scale: float, y_scale: float) -> Source:
        x, y = rotation(source.x_dim, seed, x_scale), rotation(source.y_dim, seed + 1, y_scale)
        return mapped(source, x, y)

    uniform = margins(gaussian(5, 2), normal_cdf)
    return {
        "gaussian d=5 mi=2 rotated, x 0.01, y 10": rotated(gaussian(5, 2), 10, 1e-2, 1e1),
        "gaussian d=10 mi=4 rotated, x 10, y 0.01": rotated(gaussian(10, 4), 20, 1e1, 1e-2),
        "gaussian d=25 mi=6 rotated": rotated(gaussian(25, 6), 30, 1, 1),
        "sparse normal 25x25 rotated, x 0.01, y 0.01": rotated(sparse_normal(25), 40, 1e-2, 1e-2),
        "student identity 3x3 dof=3 rotated, x 0.01, y 10": rotated(identity_student(3, 3), 50, 1e-2, 1e1),
        "student sparse 5x5 dof=2 rotated, x 10, y 10": rotated(sparse_student(5, 2), 60, 1e1, 1e1),
        "uniform margins d=5 mi=2 rotated, x 0.01, y 10": rotated(uniform, 70, 1e-2, 1e1),
        "uniform margins d=3 mi=4 rotated": rotated(margins(gaussian(3, 4), normal_cdf), 80, 1, 1),
        "additive uniform noise 0.25 d=3 rotated, x 10": rotated(additive_uniform(0.25, 3), 90, 1e1, 1),
        "half-cube of gaussian d=5 mi=4 rotated": rotated(margins(gaussian(5, 4), half_cube), 100, 1, 1),
    }


def padded_family() -> dict[str, Source]:
    def mixed(source: Source, seed: int) -> Source:
        return mapped(source, x=rotation(source.x_dim, seed))

    uniform = margins(gaussian(3, 2), normal_cdf)
    return {
        "gaussian d=1 mi=2 padded by 5": padded(gaussian(1, 2), 5),
        "gaussian d=1 mi=2 padded by 15": padded(gaussian(1, 2), 15),
        "gaussian d=5 mi=4 padded by 15 and rotated": mixed(padded(gaussian(5, 4), 15), 200),
        "gaussian d=3 mi=0.5 padded by 5 and rotated": mixed(padded(gaussian(3, 0.5), 5), 210),
        "uniform margins d=3 mi=2 padded by 5 uniform": padded(uniform, 5, Generator.random),
        "uniform margins d=3 mi=2 padded by 15 uniform and rotated": mixed(padded(uniform, 15, Generator.random), 220),
        "additive uniform noise 0.1 padded by 5 uniform": padded(additive_uniform(0.1), 5, Generator.random),
        "student identity 3x3 dof=3 padded by 5": padded(identity_student(3, 3), 5),
        "spiral of sparse normal 3x3 padded by 5": padded(mapped(sparse_normal(3), spiral(1 / 3), spiral(-1 / 3)), 5),
        "half-cube of gaussian d=1 mi=2 padded by 15": padded(margins(gaussian(1, 2), half_cube), 15),
    }


def swiss_roll_family() -> dict[str, Source]:
    """A uniform x wound up in the plane, and a uniform y."""

    def rolled(mi: float) -> Source:
        return mapped(margins(gaussian(1, mi), normal_cdf), x=swiss_roll, x_dim=2)

    return {
        **{f"swiss roll mi={mi}": rolled(mi) for mi in (0.5, 2, 1, 4)},
        "swiss roll mi=2 padded by 5": padded(rolled(2), 5),
    }


def sign_symmetric_family() -> dict[str, Source]:
    """Dependent without correlation: x and -x, or y and -y, go with the same law of the other."""

    def wave(x: np.ndarray) -> np.ndarray:
        return np.cos(np.pi * x)

    return {
        "random sign d=1 rho=0.9": random_sign(0.9),
        "random sign d=1 rho=0.99": random_sign(0.99),
        "one random sign d=3 rho=0.9": random_sign(0.9, 3),
        "a random sign a coordinate d=3 rho=0.9": copies(random_sign(0.9), 3),
        "|x| and noise 0.3": regression(np.abs, 0.3),
        "x² and noise 0.5": regression(np.square, 0.5),
        "|x| and noise 0.3 d=3": copies(regression(np.abs, 0.3), 3),
        "cos(pi x) and noise 0.3": regression(wave, 0.3),
        "ring with noise 0.1": ring(0.1),
        "ring with noise 0.3": ring(0.3),
    }


def multiplicative_family() -> dict[str, Source]:
    """x sets the scale of y."""
    return {
        "product of x and noise 1x1": product(),
        "product of x and noise 1x5": product(5),
        "volatility 1 1x1": volatility(1),
        "volatility 1 1x5": volatility(1, 5),
        "volatility 0.5 d=3": copies(volatility(0.5), 3),
        "product of x and noise d=3": copies(product(), 3),
        "noise in proportion 0.1 to x": proportional_noise(0.1),
        "noise in proportion 0.2 to x": proportional_noise(0.2),
    }


def mixture_family() -> dict[str, Source]:
    """Mixtures of Gaussians in the plane, one of them nearly discrete, and what is built of them."""
    clusters = [[0, 2], [1, 0], [2, 4], [3, 1], [4, 3]]
    fifths = np.full(5, 0.2)
    two = mixture([0.5, 0.5], [[-1.5, -1.5], [1.5, 1.5]], np.eye(2))
    crossed = mixture(
        [0.3, 0.3, 0.4], [[-2, 0], [2, 0], [0, 2]], [[[1, 0.9], [0.9, 1]], [[1, -0.9], [-0.9, 1]], np.eye(2)]
    )
    return {
        "five clusters, spread 0.1": mixture(fifths, clusters, 0.1**2 * np.eye(2)),
        "five clusters, spread 0.3": mixture(fifths, clusters, 0.3**2 * np.eye(2)),
        "two modes": two,
        "two modes padded by 5 and rotated": mapped(padded(two, 5), x=rotation(6, 300)),
        "three crossed gaussians": crossed,
        "three crossed gaussians d=3": copies(crossed, 3),
        "bimodal x and noise 1": mixture([0.5, 0.5], [[-2, -2], [2, 2]], [[0.25, 0.25], [0.25, 1.25]]),
        "contaminated gaussian": mixture([0.9, 0.1], np.zeros((2, 2)), [[[1, 0.9], [0.9, 1]], 25 * np.eye(2)]),
    }


def independent_family() -> dict[str, Source]:
    def student_noise(generator: Generator, shape: tuple[int, int]) -> np.ndarray:
        normal = generator.standard_normal(shape)
        return normal / np.sqrt(generator.chisquare(2, (shape[0], 1)) / 2)

    def log_normal(generator: Generator, shape: tuple[int, int]) -> np.ndarray:
        return np.exp(generator.standard_normal(shape))

    def two_modes(generator: Generator, shape: tuple[int, int]) -> np.ndarray:
        return generator.choice([-3.0, 3.0], shape) + generator.standard_normal(shape)

    normal, cauchy, uniform = Generator.standard_normal, Generator.standard_cauchy, Generator.random
    return {
        "independent gaussian 10x10": independent(10, 10, normal),
        "independent gaussian 1x1": independent(1, 1, normal),
        "independent cauchy 1x1": independent(1, 1, cauchy),
        "independent cauchy 5x5": independent(5, 5, cauchy),
        "independent log-normal 3x3": independent(3, 3, log_normal),
        "independent student 3x3 dof=2": independent(3, 3, student_noise),
        "independent uniform 5x5": independent(5, 5, uniform),
        "independent uniform 1x1": independent(1, 1, uniform),
        "independent gaussian 25x25": independent(25, 25, normal),
        "independent gaussian 3x3 padded by 15 uniform": padded(independent(3, 3, normal), 15, uniform),
        "independent bimodal 2x2": independent(2, 2, two_modes),
        "independent cauchy and uniform 5x2": independent(5, 2, cauchy, uniform),
    }


def classes_family() -> dict[str, Source]:
    """x is numbers, y classes."""

    def hidden(source: Source, by: int, seed: int) -> Source:
        wider = padded(source, by)
        return mapped(wider, x=rotation(wider.x_dim, seed))

    skewed = 0.6 ** np.arange(10) / (0.6 ** np.arange(10)).sum()
    return {
        "2 classes, apart": clusters([-1.5, 1.5], 1.0),
        "2 classes, close": clusters([-0.5, 0.5], 1.0),
        "10 classes on a line": clusters(range(10), 0.5),
        "10 classes on a line, spread 0.2": clusters(range(10), 0.2),
        "10 unbalanced classes on a line": clusters(range(10), 0.4, skewed),
        "2 unbalanced classes": clusters([-1, 1], 0.7, [0.9, 0.1]),
        "9 classes in the plane": clusters([-1, 0, 1], 0.4, dim=2),
        "49 classes in the plane, spread 0.3": clusters(range(7), 0.3, dim=2),
        "49 classes hidden in 10 dimensions": hidden(clusters(range(7), 0.4, dim=2), 8, 400),
        "27 classes hidden in 8 dimensions": hidden(clusters([-2, 0, 2], 1.0, dim=3), 5, 410),
        "10 classes hidden in 64 dimensions": hidden(clusters(range(10), 0.3), 63, 420),
        "2 classes hidden in 64 dimensions": hidden(clusters([-1, 1], 1.0), 63, 430),
        "3 rings": rings([1, 2, 3], 0.2),
        "5 rings hidden in 6 dimensions": hidden(rings([1, 2, 3, 4, 5], 0.3), 4, 440),
        "parity of 2 coordinates": parity(2, 0.1),
        "parity of 3 coordinates": parity(3, 0.05),
        "5 overlapping intervals": overlapping_intervals(5),
        "20 overlapping intervals": overlapping_intervals(20),
        "4 bins of a normal": bins([-1, 0, 1], 0.5),
        "10 bins of a normal": bins(np.linspace(-2, 2, 9), 0.2),
        "counts": counts(0.0),
        "counts, more zeros": counts(0.4),
        "10 classes that are not there, 8 dimensions": hidden(clusters([0.0] * 10, 1.0), 7, 450),
        "50 classes that are not there, 20 dimensions": hidden(clusters([0.0] * 50, 1.0), 19, 460),
    }


def few_rows_family() -> dict[str, Source]:
    """Classes in 300 rows."""
    kept = ("2 classes, apart", "2 classes, close", "10 classes on a line", "10 classes on a line, spread 0.2")
    kept += ("10 unbalanced classes on a line", "9 classes in the plane", "3 rings", "4 bins of a normal")
    kept += ("10 classes that are not there, 8 dimensions", "2 classes hidden in 64 dimensions")
    return {f"{name}, {FEW} rows": source for name, source in classes_family().items() if name in kept}


def classes_on_both_sides_family() -> dict[str, Source]:
    skewed = 0.6 ** np.arange(10) / (0.6 ** np.arange(10)).sum()
    return {
        "10 classes, error 0.3": channel(np.full(10, 0.1), 0.3),
        "2 classes, error 0.9": channel([0.5, 0.5], 0.9),
        "10 unbalanced classes, error 0.3": channel(skewed, 0.3),
        "50 classes, error 0.3": channel(np.full(50, 0.02), 0.3),
        "50 classes, error 0.8": channel(np.full(50, 0.02), 0.8),
        "100 classes, error 0.1": channel(np.full(100, 0.01), 0.1),
        "50 classes, independent": channel(np.full(50, 0.02), 1.0),
        "10 classes, independent": channel(np.full(10, 0.1), 1.0),
    }


def atoms_family() -> dict[str, Source]:
    """Numbers that take some values again and again."""
    return {
        "rectified 0.8": rectified(0.8),
        "rectified 0.95": rectified(0.95),
        "rectified 0.8 d=5": rectified(0.8, dim=5),
        "rectified 0.6 d=3": rectified(0.6, dim=3),
        "rectified at 1, 0.9": rectified(0.9, 1.0),
        "rectified at -1, 0.8 d=2": rectified(0.8, -1.0, dim=2),
        "gated 0.9": gated(0.9, 0.5),
        "gated 0.9 d=3": gated(0.9, 0.5, dim=3),
        "rectified and independent d=5": rectified(0.0, dim=5),
        "gated and independent": gated(0.0, 0.5),
    }


# Within a family new tasks go to the end: `halves` reads the order.
FAMILIES: dict[str, Callable[[], dict[str, Source]]] = {
    "gaussian": gaussian_family,
    "multinormal": multinormal_family,
    "student": student_family,
    "uniform margins": uniform_family,
    "additive noise": additive_family,
    "cubic": cubic_family,
    "half-cube": half_cube_family,
    "asinh": asinh_family,
    "normal cdf": normal_cdf_family,
    "swiss roll": swiss_roll_family,
    "spiral": spiral_family,
    "rotated": rotated_family,
    "padded": padded_family,
    "sign-symmetric": sign_symmetric_family,
    "multiplicative": multiplicative_family,
    "mixture": mixture_family,
    "independent": independent_family,
    "classes": classes_family,
    "classes, few rows": few_rows_family,
    "classes on both sides": classes_on_both_sides_family,
    "atoms": atoms_family,
    **FEATURES,
}


def tasks() -> list[Task]:
    """All tasks, family by family."""
    return [
        Task(name, family, *source, FEW if made is few_rows_family else None)
        for family, made in FAMILIES.items()
        for name, source in made().items()
    ]


def halves(collection: Iterable[Task], seed: int = 0) -> tuple[list[Task], list[Task]]:
    """The half to choose settings on and the half to report, drawn by `seed`.

    Two neighbours of a family, the first and the second, the third and the fourth and so on, go to different halves; a
    coin, which is a hash of the seed, the family and the number of the two, says which goes where. So both halves cover
    every family, and a task appended to its family moves no other. Give it the whole collection: a part of it has other
    neighbours.
    """
    seen: Counter[str] = Counter()
    drawn: tuple[list[Task], list[Task]] = ([], [])
    for task in collection:
        pair, second = divmod(seen[task.family], 2)
        coin = hashlib.sha256(f"{seed}/{task.family}/{pair}".encode()).digest()[0] % 2
        drawn[coin ^ second].append(task)
        seen[task.family] += 1
    return drawn
