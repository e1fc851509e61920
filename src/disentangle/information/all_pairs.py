"""Measures all pairs of variables: information, a test of independence, what probes read."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from disentangle.arrays import as_array
from disentangle.information.estimate import estimate_mutual_information
from disentangle.information.factor_tables import FactorScores
from disentangle.information.pair import refuse_other_order
from disentangle.information.permutation import permutation_test
from disentangle.information.probe_rows import rows_for
from disentangle.information.probes import Probes, both_probes, read_numbers
from disentangle.information.report import DependenceReport, DependenceRow
from disentangle.information.samples import NamedSamples, Samples, Variable, as_variable, by_name
from disentangle.information.scores import factor_scores

__all__ = ["dependence_report"]


def dependence_report(
    variables: NamedSamples,
    *,
    factors: NamedSamples | None = None,
    pairs: Sequence[tuple[str, str]] | None = None,
    present: Mapping[str, Samples] | None = None,
    method: str = "auto",
    permutations: int = 1000,
    classes: Collection[str] | None = None,
    groups: Samples | None = None,
    seed: int = 0,
    progress: bool = True,
) -> DependenceReport:
    r"""What all pairs of variables tell about one another, by meters that no penalty trains.

    For each pair:

    - the mutual information in nats, by `estimate_mutual_information`, with its 95 % interval;
    - the p-value of a permutation test of independence, by `permutation_test` with HSIC, alone and adjusted by Holm's
      method for all pairs of the report. With the adjusted ones below :math:`\alpha` called dependent, the probability
      that any independent pair is called so is at most :math:`\alpha`;
    - how well each can be read from the other on held-out rows, by a linear and by a neural probe, both ways: of numbers
      R², of classes the accuracy, beside chance; see `probe_numbers` and `probe_classes`. Several columns of whole numbers
      are read as numbers.

    Of a variable that carries noise, as `disentangle.nn.NoisyLatent` makes, give several draws: probes read from all of them,
    and more than from one. What is read of it, its information and its p-value are those of the first draw.

    And for each variable its root mean square: a latent that has shrunk to nothing looks disentangled to many a penalty. With
    factors, and where `pairs` does not choose, there are the scores of disentanglement as well, by `factor_scores` over the
    rows that have everything.

    Give rows that nothing was trained on, and that are independent draws: one per recording, not its frames, or say by
    `groups` which rows belong to one recording. Evidence for independence is an information near zero with a large p-value.
    With many rows a small p-value alone may come from a dependence too weak to matter.

    A pair does not depend on which other pairs are asked for, except for Holm's adjustment. What cannot be measured for a
    pair, such as the R² of a constant, is left empty and noted below the table.

    References:
        Holm, A Simple Sequentially Rejective Multiple Test Procedure (1979)

    Arguments:
        variables: By name, `(rows, dim)` or `(rows,)` each, or draws of the noise of all rows, `(draws, rows, dim)`, with the
            same number of rows.
        factors: Known factors to compare them with, likewise: numbers, or classes as names, whole numbers or one-hot.
        pairs: Which pairs to report; by default all pairs of variables, and each variable with each factor, and the scores.
        present: For some names `(rows,)` bool, which rows have it. A pair is measured on the rows that have both; what the
            others hold, be it NaN, does not matter.
        method: Of `estimate_mutual_information`.
        permutations: Of `permutation_test`.
        classes: The names of those that are classes; told from the values if not given.
        groups: `(rows,)`, the same number or name for rows that are no independent draws of one another, such as clips of
            one recording.
        seed: Draws everything.
        progress: Whether to show a progress bar.

    Returns:
        The report. Print it, `to_markdown()`, `to_latex()`, `to_dict()` or `plot(path)` it.

    Raises:
        TypeError: Where variables or factors are not given by name.
        ValueError: Where variables are not finite matrices with the same number of rows, a mask is not `(rows,)` bool, a
            name is both a variable and a factor, a pair is there twice or is not one of two different names, or the
            information of no pair can be measured. What is wrong with some of the pairs only is a note.

    Example:
        >>> import torch
        >>> s, noise = torch.randn(2, 400, 3, generator=torch.Generator().manual_seed(0))
        >>> report = dependence_report(
        ...     {"S": s, "L": s + noise, "A": noise}, method="gaussian", permutations=99, progress=False
        ... )
        >>> [(row.x, row.y, round(row.p_holm, 2)) for row in report.rows if row.p_holm < 0.05]
        [('S', 'L', 0.03), ('L', 'A', 0.03)]
    """
    from tqdm.auto import tqdm

    variables, factors = by_name("variables", variables), by_name("factors", {} if factors is None else factors)
    refuse_other_order({**variables, **factors, **(present or {}), "groups": groups})
    drawn = _drawn(variables)
    arrays = _joined({name: _first(values) for name, values in drawn.items()}, factors)
    drawn = {**arrays, **drawn}
    if permutations < 1:
        raise ValueError(f"expected at least 1 permutation, got {permutations}")
    with_scores = bool(factors) and pairs is None
    if pairs is None:
        pairs = [*itertools.combinations(variables, 2), *itertools.product(variables, factors)]
    _check_pairs(pairs, arrays)
    masks = _masks(arrays, present or {})
    settings = _Settings(method, permutations, seed, classes, None if groups is None else as_array(groups))
    _check_settings(settings, arrays)
    own = {n: as_variable(n, array[masks[n]], settings.told(n)) for n, array in arrays.items() if masks[n].sum() > 1}
    rows = []
    for x, y in tqdm(pairs, desc="pairs", unit="pair", disable=not progress, dynamic_ncols=True):
        rows.append(_row(x, y, drawn, masks[x] & masks[y], settings))
    if all(row.information is None for row in rows):
        notes = sorted({note for row in rows for note in row.notes})
        raise ValueError(f"expected a pair whose information can be measured, got {'; '.join(notes)}")
    rows = [replace(row, p_holm=p) for row, p in zip(rows, _holm(rows), strict=True)]
    scores = _scores(drawn, list(variables), masks, settings) if with_scores else None
    return DependenceReport(
        rows=tuple(rows),
        variables=tuple(variables),
        factors=tuple(factors),
        dimensions={name: side.numbers.shape[1] for name, side in own.items()},
        classes={name: int(side.classes.max()) + 1 for name, side in own.items() if side.classes is not None},
        root_mean_squares={name: float(side.numbers.square().mean().sqrt()) for name, side in own.items()},
        permutations=permutations,
        seed=seed,
        scores=scores,
        draws={name: len(values) for name, values in drawn.items() if values.ndim == 3},
    )


class _Settings(NamedTuple):
    method: str
    permutations: int
    seed: int
    classes: Collection[str] | None
    groups: np.ndarray | None

    def told(self, name: str) -> bool | None:
        """Whether the variable was said to be classes; `None` where nothing was said of any."""
        return None if self.classes is None else name in self.classes


def _row(x: str, y: str, drawn: Mapping[str, np.ndarray], both: np.ndarray, settings: _Settings) -> DependenceRow:
    """What a pair shares in the rows that have both, `(rows,)` bool."""
    notes: list[str] = []
    rows, groups = int(both.sum()), None if settings.groups is None else settings.groups[both]
    if rows < 2:
        return DependenceRow(x, y, rows, None, None, None, None, None, None, None, ("fewer than 2 rows have both",))
    of_x, of_y = (_at(drawn[name], both) for name in (x, y))
    a, b = _first(of_x), _first(of_y)

    def told(first: str, second: str) -> list[str] | None:
        """Which of the two are classes, under the names that a meter has for them."""
        return None if settings.classes is None else [side for side, n in ((first, x), (second, y)) if settings.told(n)]

    def measured(what: str, meter: Callable[..., Any], *args: Any, **options: Any) -> Any:
        try:
            return meter(*args, groups=groups, seed=settings.seed, **options)
        except ValueError as error:  # too few rows, or a constant: no reason to lose the other pairs
            notes.append(f"no {what}: {error}")

    estimate = measured(
        "information", estimate_mutual_information, a, b, method=settings.method, classes=told("x", "y")
    )
    test = measured("p", permutation_test, a, b, permutations=settings.permutations, classes=told("x", "y"))
    read = [
        measured(f"R²({way})", _read, source, target, of=[settings.told(name) for name in names])
        for way, source, target, names in (("x→y", of_x, b, (x, y)), ("y→x", of_y, a, (y, x)))
    ]
    (forth, probes_forth), (back, probes_back) = (each or (None, None) for each in read)
    return DependenceRow(
        x,
        y,
        rows,
        estimate,
        test and test.p_value,
        None,
        forth,
        back,
        probes_forth,
        probes_back,
        notes=(*(estimate.warnings if estimate else ()), *notes),
    )


def _scores(
    drawn: Mapping[str, np.ndarray], latents: Sequence[str], masks: Mapping[str, np.ndarray], settings: _Settings
) -> FactorScores | str:
    """The scores of the factors, over the rows that have everything, or why there are none."""
    everything = np.logical_and.reduce([*masks.values()])
    if (rows := int(everything.sum())) < 2:
        return f"{rows} of {len(everything)} rows have all of the variables and factors: {', '.join(masks)}"
    factors = {name: array[everything] for name, array in drawn.items() if name not in latents}
    try:
        return factor_scores(
            {name: _at(drawn[name], everything) for name in latents},
            factors,
            classes=None if settings.classes is None else [name for name in factors if settings.told(name)],
            groups=None if settings.groups is None else settings.groups[everything],
            seed=settings.seed,
        )
    except (TypeError, ValueError) as error:  # such as a factor of two columns, or too few rows
        return str(error)


def _read(
    source: np.ndarray, target: np.ndarray, *, of: Sequence[bool | None], groups: np.ndarray | None, seed: int
) -> tuple[float, Probes]:
    """How well a linear map reads the target, as R², of classes that of one-hot columns; and what both probes read of it.

    Of classes that are rows of several columns of numbers it is these columns that are read.
    """
    x, variable, folds, draws = rows_for(
        source, target, source_is_classes=of[0], target_is_classes=of[1], groups=groups, seed=seed
    )
    linear = read_numbers(x, Variable(variable.numbers), folds, "linear", seed, draws)
    if variable.classes is not None and (variable.order is None or variable.order.shape[1] == 1):
        return linear.r2, both_probes(x, variable, folds, seed, draws)
    return linear.r2, Probes(linear, read_numbers(x, Variable(variable.numbers), folds, "neural", seed, draws))


def _at(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The rows of values or of draws, `(draws, rows, dim)`."""
    return values[:, rows] if values.ndim == 3 else values[rows]


def _holm(rows: Sequence[DependenceRow]) -> list[float | None]:
    """The p-values adjusted for the number of those that there are."""
    order = sorted((row.p_value, i) for i, row in enumerate(rows) if row.p_value is not None)
    adjusted: list[float | None] = [None] * len(rows)
    largest = 0.0
    for rank, (p, i) in enumerate(order):
        largest = max(largest, min(1.0, p * (len(order) - rank)))
        adjusted[i] = largest
    return adjusted


def _first(values: np.ndarray) -> np.ndarray:
    """The values, or the first of draws, `(rows, ...)`."""
    return values[0] if values.ndim == 3 else values


def _drawn(variables: Mapping[str, Samples]) -> dict[str, np.ndarray]:
    """The variables as arrays, those that carry noise as draws of it, one at least."""
    drawn = {name: as_array(value) for name, value in variables.items()}
    if none := sorted(name for name, array in drawn.items() if array.ndim == 3 and not len(array)):
        raise ValueError(f"expected at least one draw of the noise of all rows, got none of {', '.join(none)}")
    return drawn


def _joined(variables: Mapping[str, Samples], factors: Mapping[str, Samples]) -> dict[str, np.ndarray]:
    if shared := variables.keys() & factors.keys():
        raise ValueError(f"expected different names for variables and factors, got {sorted(shared)} for both")
    arrays = {name: as_array(value) for name, value in {**variables, **factors}.items()}
    counts = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"expected variables with the same number of rows, got {counts}")
    return arrays


def _check_pairs(pairs: Sequence[tuple[str, str]], names: Mapping[str, Any]) -> None:
    if not pairs:
        raise ValueError(f"expected at least one pair of variables, got none of {sorted(names)}")
    if len({frozenset(pair) for pair in pairs}) < len(pairs):
        raise ValueError(f"expected each pair once, in one order, got {list(pairs)}")
    for x, y in pairs:
        if x == y or x not in names or y not in names:
            raise ValueError(f"expected a pair of two of {sorted(names)}, got {(x, y)}")


def _check_settings(settings: _Settings, arrays: Mapping[str, np.ndarray]) -> None:
    rows = len(next(iter(arrays.values())))
    if settings.groups is not None and settings.groups.shape != (rows,):
        raise ValueError(f"expected groups as ({rows},), one for each row, got {settings.groups.shape}")
    if unknown := sorted(set(settings.classes or ()) - arrays.keys()):
        raise ValueError(f"expected classes among {sorted(arrays)}, got {unknown}")


def _masks(arrays: Mapping[str, np.ndarray], present: Mapping[str, Samples]) -> dict[str, np.ndarray]:
    if unknown := sorted(present.keys() - arrays.keys()):
        raise ValueError(f"expected presences of {sorted(arrays)}, got {unknown}")
    masks = {}
    for name, array in arrays.items():
        mask = as_array(present[name]) if name in present else np.ones(len(array), bool)
        if mask.dtype != bool or mask.shape != (len(array),):
            raise ValueError(f"expected the presence of {name} as bool ({len(array)},), got {mask.dtype} {mask.shape}")
        masks[name] = mask
    return masks
