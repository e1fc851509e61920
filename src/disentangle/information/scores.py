"""How known factors lie in latents: DCI, MIG, SAP, explicitness, and what probes read."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from disentangle.arrays import as_array
from disentangle.information.axis_alignment import concentration, forest, gap, information_gap, threshold_scores
from disentangle.information.factor_tables import FactorRow, FactorScores
from disentangle.information.pair import as_pair, refuse_other_order
from disentangle.information.probe_rows import Folds, halves, in_turn, side_by_side
from disentangle.information.probes import NumberProbe, Probes, both_probes, held_out, probed_classes, probed_numbers
from disentangle.information.samples import NamedSamples, Samples, Variable, as_variable, by_name

__all__ = ["factor_scores"]


def factor_scores(
    latents: Samples | Mapping[str, Samples],
    factors: NamedSamples,
    *,
    classes: Collection[str] | None = None,
    groups: Samples | None = None,
    seed: int = 0,
) -> FactorScores:
    r"""Scores of disentanglement against known factors: DCI, MIG, SAP, explicitness, and what probes read of each factor.

    The scores are about **units**. Of one array, named or not, the units are its columns. Of several named arrays they are
    the arrays, as blocks: does each factor have one latent to itself, and each latent one factor?

    - **Disentanglement and completeness** (DCI). Random forests predict each factor from all columns. With
      :math:`R_{ij}` the importance of unit i for factor j, of a block the sum over its columns, and H entropies of shares,
      disentanglement is :math:`\sum_i \rho_i (1 - H(R_{i\cdot}) / \log J)`, where :math:`\rho_i` is the share of i in all
      importances: 1 where each unit tells one factor. Completeness is :math:`1 - H(R_{\cdot j}) / \log I` for each factor:
      1 where one unit tells it. **Informativeness** is how well the forests predict: R², or accuracy. Importances of a
      factor that is hardly predicted are those of noise.
    - **MIG**. The information of a factor and a single column, the largest less the second largest, over the entropy of
      the factor. Not given for blocks, whose information is in `dependence_report`.
    - **SAP**. How well a factor is predicted from one unit by a line or thresholds, the best less the second best: squared
      correlation for numbers, balanced accuracy of the nearest mean for classes, so C classes reach at most 1 - 1/C. Of
      blocks, R² (below 0 counts as 0) and balanced accuracy of the linear probe.
    - **Explicitness**. How well a linear probe ranks rows by a factor from all columns, 0.5 by chance: the area under the ROC
      curve, of a class against the others, the mean over the classes. Of numbers, how often the larger of two is predicted to
      be the larger, which is the same for two classes.
    - **Probes**: R² of numbers and accuracy of classes, beside chance, by a linear and by a neural probe, from each latent.

    **Factors of numbers** are predicted as they are. For MIG alone they are cut at their deciles into ten classes, since
    numbers have no entropy to compare with. Information is by the neighbours of Ross, and for columns of few values by counts
    with the correction of Miller: plain tables of counts would say too much in few rows.

    All predictions are of rows that the model was not fitted to: each half of the rows from the other.

    None of the scores says that two latents are independent: DCI, MIG and SAP are about axes, and a rotation, which changes
    no information between blocks, lowers them. See `dependence_report`.

    References:
        | Eastwood and Williams, A Framework for the Quantitative Evaluation of Disentangled Representations (ICLR 2018), DCI
        | Chen et al., Isolating Sources of Disentanglement in Variational Autoencoders (NeurIPS 2018), MIG
        | Kumar et al., Variational Inference of Disentangled Latent Concepts from Unlabeled Observations (ICLR 2018), SAP
        | Ridgeway and Mozer, Learning Deep Disentangled Embeddings with the F-Statistic Loss (NeurIPS 2018), explicitness

    Arguments:
        latents: One array `(rows, dim)`, or several by name, on any device. Of one that carries noise give draws of it,
            `(draws, rows, dim)`: probes read from all of them, and the scores are those of the first.
        factors: By name, `(rows,)` of numbers or classes each, or one-hot rows.
        classes: The names of the factors that are classes; told from the values if not given.
        groups: `(rows,)`: rows that are no independent draws, near-copies of one clip say, have the same value. One row
            of each is used. Rows that are copies of others are used once in any case.
        seed: Draws halves, forests and networks.

    Returns:
        The scores. Print them, `to_markdown()`, `to_latex()` or `to_dict()` them. A score that needs two units, or two
        factors, is `None` where there is one.

    Raises:
        TypeError: For a factor that is neither numbers nor names.
        ValueError: For no latent or factor, other numbers of rows, fewer than 4 of them, values that are not finite, a factor
            that is constant, or one of several columns that are no classes.

    Example:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> pitch, speaker = torch.randn(400, generator=generator), torch.arange(400) % 4
        >>> aligned = torch.stack([pitch, 3.0 * speaker + 0.1 * torch.randn(400, generator=generator)], 1)
        >>> scores = factor_scores(aligned, {"pitch": pitch, "speaker": speaker})
        >>> scores.disentanglement > 0.95 < scores.completeness, scores.mig > 0.8
        (True, True)
    """
    blocks = latents if isinstance(latents, Mapping) else {"latent": latents}
    factors = by_name("factors", factors)
    refuse_other_order({**blocks, **factors, "groups": groups})
    sides, draws = {}, {}
    for name, value in blocks.items():
        sides[name], draws[name] = side_by_side(name, value)
    arrays = _checked(sides, factors, classes)
    columns = {
        name: as_variable(name, value, None if len(blocks) > 1 else False).numbers.numpy()
        for name, value in sides.items()
    }
    x = np.hstack(list(columns.values()))
    starts = np.cumsum([0, *(each.shape[1] for each in columns.values())]).tolist()
    spans = {name: _Span(a, b, draws[name]) for name, a, b in zip(columns, starts, starts[1:], strict=False)}
    units = [str(i) for i in range(len(_first(spans)))] if len(spans) == 1 else list(spans)
    rows, importances = [], []
    for name, values in arrays.items():
        try:
            rows_of = _rows(x, values, None if classes is None else name in classes, groups, seed)
            row, importance = _scored(name, rows_of, spans, seed)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name}: {error}") from None
        rows.append(row)
        importances.append(importance)
    by_unit = np.stack(importances, 1)
    disentangled = concentration(by_unit) if len(rows) > 1 else None
    shares = by_unit.sum(1) / max(by_unit.sum(), np.finfo(float).tiny)
    return FactorScores(
        rows=tuple(rows),
        latents=tuple(spans),
        units=tuple(units),
        disentanglement=None if disentangled is None else float(shares @ disentangled),
        disentanglement_of=None if disentangled is None else dict(zip(units, disentangled.tolist(), strict=True)),
        importances={row.factor: tuple(importance.tolist()) for row, importance in zip(rows, importances, strict=True)},
        seed=seed,
    )


class _Span(NamedTuple):
    """Where the columns of a latent stand, those of all its draws side by side."""

    start: int
    end: int
    draws: int

    @property
    def width(self) -> int:
        return (self.end - self.start) // self.draws


class _Rows(NamedTuple):
    x: np.ndarray
    factor: Variable
    folds: Folds


def _rows(
    x: np.ndarray,
    values: np.ndarray,
    classes: bool | None,
    groups: Samples | None,
    seed: int,
) -> _Rows:
    """The rows to use for a factor: of copies and groups one each."""
    factor = as_variable("factor", values, classes)
    if factor.classes is None and factor.numbers.shape[1] > 1:
        raise ValueError(f"expected numbers in one column, got {factor.numbers.shape[1]}: give them one by one")
    if bool((factor.numbers == factor.numbers[:1]).all()):
        raise ValueError("expected a factor that varies, got one that is constant")
    told = set() if factor.classes is None else {"factor"}
    if x.shape[1] > 1 and as_variable("latents", x).classes is not None:
        told.add("latents")
    pair = as_pair(latents=x, factor=values, classes=told, groups=groups, seed=seed)
    return _Rows(pair.x.numbers.numpy(), pair.y, halves(pair.y, seed))


def _first(spans: Mapping[str, _Span]) -> np.ndarray:
    """Where the columns of the first draw of each latent stand."""
    return np.concatenate([np.arange(span.start, span.start + span.width) for span in spans.values()])


def _scored(name: str, rows: _Rows, spans: Mapping[str, _Span], seed: int) -> tuple[FactorRow, np.ndarray]:
    """The scores of a factor, and the importance of each unit for it."""
    x, factor, folds = rows
    probes = {
        latent: both_probes(*in_turn(x[:, start:end], factor, folds, draws), seed, draws)
        for latent, (start, end, draws) in spans.items()
    }
    x = x[:, _first(spans)]
    importance, predicted = forest(x, factor, folds, seed)
    one_array = len(spans) == 1
    if not one_array:
        ends = np.cumsum([span.width for span in spans.values()])
        importance = np.array([part.sum() for part in np.split(importance, ends[:-1])])
    several = len(importance) > 1
    lines = threshold_scores(x, factor, folds) if one_array else np.array([_linear(both) for both in probes.values()])
    probed = probed_numbers if factor.classes is None else probed_classes
    return FactorRow(
        factor=name,
        rows=len(x),
        classes=None if factor.classes is None else int(factor.classes.max()) + 1,
        mig=information_gap(x, factor) if one_array and several else None,
        sap=gap(lines) if several else None,
        completeness=float(concentration(importance[None])[0]) if several else None,
        informativeness=probed(predicted, factor, folds, "forest"),
        explicitness=_explicitness(x, factor, folds, seed),
        probes=probes,
    ), importance


def _linear(probes: Probes) -> float:
    linear = probes.linear
    return max(linear.r2, 0.0) if isinstance(linear, NumberProbe) else linear.balanced_accuracy


def _explicitness(x: np.ndarray, factor: Variable, folds: Folds, seed: int) -> float:
    predicted = held_out(x, factor, folds, "linear", seed)
    if factor.classes is not None:
        return probed_classes(predicted, factor, folds, "linear").auc
    numbers = factor.numbers[:, 0].numpy()
    return float(np.mean([_concordance(predicted[test, 0], numbers[test]) for _, test in folds]))


def _concordance(predicted: np.ndarray, known: np.ndarray) -> float:
    """Of pairs of rows with different numbers, the share whose order is predicted; equal predictions count half."""
    from scipy.stats import kendalltau

    tau: Any = kendalltau(predicted, known)[0]  # over the geometric mean of the pairs that either tells apart
    if math.isnan(tau):
        return 0.5
    return float(1 + tau * math.sqrt(_pairs_apart(predicted) / _pairs_apart(known))) / 2


def _pairs_apart(values: np.ndarray) -> float:
    _, counts = np.unique(values, return_counts=True)
    return (len(values) ** 2 - np.square(counts, dtype=float).sum()) / 2


def _checked(
    blocks: Mapping[str, Samples], factors: Mapping[str, Samples], classes: Collection[str] | None
) -> dict[str, np.ndarray]:
    """The factors as arrays, all with as many rows as the latents."""
    if not blocks or not factors:
        raise ValueError(f"expected at least one latent and one factor, got {len(blocks)} and {len(factors)}")
    if unknown := sorted(set(classes or ()) - factors.keys()):
        raise ValueError(f"expected classes among {sorted(factors)}, got {unknown}")
    arrays = {name: as_array(value) for name, value in factors.items()}
    counts = {name: len(as_array(value)) for name, value in blocks.items()}
    counts |= {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"expected latents and factors with the same number of rows, got {counts}")
    return arrays
