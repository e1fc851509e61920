"""How much two arrays tell about one another, for people with two arrays and a question."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from disentangle.dependence import Bound
from disentangle.information.automatic import INFINITE, automatic_mutual_information
from disentangle.information.copula import quantiles, uniform_ranks
from disentangle.information.gaussian import (
    correlation_noise,
    gaussian_mutual_information,
    independent_columns,
    orthonormal_basis,
)
from disentangle.information.neighbors import neighbors_of
from disentangle.information.pair import Pair, as_pair
from disentangle.information.result import MutualInformation
from disentangle.information.samples import Samples
from disentangle.information.trained import ESTIMATORS, trained_mutual_information

__all__ = ["METHODS", "estimate_mutual_information"]

METHODS = ("auto", "gaussian", "copula", "nearest neighbors", *ESTIMATORS)
FEWEST_ROWS = 50
DRAWS = 5  # of one row of each group
GAUSSIAN = Bound(
    "neither", "x and y are not jointly Gaussian: it is exact where they are, and too low where one of them is"
)
COPULA = Bound("neither", "the copula of x and y is not Gaussian: it is exact where it is")
DIFFERENT = Bound("neither", "the draws of one row of each group were measured in different ways, named by `method`")


@torch.inference_mode(False)  # it learns, wherever it is called
@torch.enable_grad()
def estimate_mutual_information(
    x: Samples,
    y: Samples,
    *,
    method: str = "auto",
    classes: Collection[str] | None = None,
    groups: Samples | None = None,
    seed: int = 0,
) -> MutualInformation:
    r"""The mutual information of x and y in nats, measured.

    This is a meter: nothing was trained against it. What it has to train is evaluated on rows that were held out; closed forms
    are corrected for their bias. It detaches what it is given and works on the CPU.

    `"auto"`, the default, replaces every column by its normal scores, which changes no information and makes units,
    skew and heavy tails irrelevant, and takes the largest of up to four values:

    1. a Gaussian or Student copula, whichever tells pairs that belong together from others best; its information is known in
       closed form, and is corrected for the number of rows. Equal values are set apart at random for it, so it does not take
       atoms, such as the zeros of a ReLU, for dependence;
    2. the Donsker-Varadhan bound of that copula's density ratio plus a critic, trained on three quarters of the rows by
       noise-contrastive estimation and evaluated on the last quarter, four times; only where it gains more than two standard
       errors on held-out rows;
    3. nearest neighbours of matched columns, pair by pair, less what the columns of a side share: sharp edges and
       products in several columns, and curves in few of many;
    4. nearest neighbours, where x and y have up to 6 dimensions together.

    Latents of few intrinsic dimensions may have many columns. Where the copula holds better on held-out rows in fewer numbers
    made of these (columns that are not linear in others, or leading components of the normal scores in place of twice as many
    columns), they take the place of the columns in 1, 2 and 4. They tell no more than the columns do.

    The last two, whose errors are a little too small, count where they are larger by three of their standard errors, and by
    more where the rows are few.

    The critic and the matched columns need 200 rows and three columns in all, the neighbours 100 rows; below, there is only
    the copula.

    **Classes.** Names, booleans, whole numbers, one-hot rows and whatever takes few values is measured as classes, and
    never above their entropy: numbers against classes by classifiers on rows that they were not fitted to, and by Ross'
    nearest neighbours in up to 6 dimensions; where the classes are numbers, their order is tried as well. Classes against
    classes are counted; where both are numbers, their order is tried, too. `classes` says it where the values do not.
    Several columns of whole numbers, such as bits or answers on a scale, are one class per different row, of which there
    may be too many to count: they are measured as numbers as well, column by column too, and the largest value counts.

    **Rows** have to be independent draws. Copies of a row, from several epochs or from oversampling, are found and counted
    once, with a warning. The vectors of a codebook come again as well: they are taken for values where half of them are in
    fifteen rows or more, in some more than in others; fewer are for `classes` to say. What is not quite a copy (crops, frames,
    utterances of one speaker) is for `groups`: then one row of each group is drawn, five times, and the five estimates are
    averaged. Groups that are all different say that no row is a copy.

    Of 4000 rows it takes 0.3 to 2 seconds, in hundreds of dimensions some ten. On tasks with a known answer
    (`benchmarks/mutual_information.py`), monotone and elliptical dependence and classes are measured to a few hundredths of a
    nat; dependence that only a critic finds is underestimated, by a tenth or so in few dimensions and by more in many. A
    warning says where half of the rows would have given clearly less, so that more would give more. An `auto` of zero is
    no proof of independence in many dimensions: see `disentangle.permutation_test`.

    **The other methods.** `"gaussian"` is `disentangle.information.gaussian_mutual_information`, by canonical
    correlations; `"copula"` is the same on normal scores of the
    columns that are not linear in others; `"nearest neighbors"` is
    `disentangle.information.nearest_neighbor_mutual_information`. The rest are the library's estimators, trained with
    early stopping on 60 % and 20 % of the rows and evaluated on the last 20 %, on normal scores: upper bounds `"club"`,
    `"sampled club"` (both far above the information, even by the true q(y|x)), `"leave-one-out"`, `"variational"`; lower
    bounds `"infonce"`, `"nwj"`, `"mine"`, `"barber-agakov"` (y of one dimension, or classes); and `"smile"` and `"difference of
    entropies"`, which are none. Where y is classes their q(y|x) is a `CategoricalConditional`.

    **The standard error** is the one of the mean over rows (of ten blocks of rows, for the estimators and nearest
    neighbours). It knows nothing of how far a bound is from the information. Of independent normals in two to four columns
    and 100 to 600 rows, 6 of 500 intervals at 95 % lay above 0; of rare classes and values that are mostly equal up to 8 %.

    References:
        | Czyż et al., Beyond Normal: On the Evaluation of Mutual Information Estimators (NeurIPS 2023), the kind of tasks
        | Gutmann and Hyvärinen, Noise-contrastive estimation (AISTATS 2010)
        | Donsker and Varadhan (1975); Belghazi et al., MINE (ICML 2018), the bound
        | Demarta and McNeil, The t Copula and Related Copulas (2005)
        | Ross, Mutual Information between Discrete and Continuous Data Sets (PLoS ONE 2014)

    Arguments:
        x: `(rows, x_dim)`, or `(rows,)` of numbers or classes: a tensor on any device, an array, a list, or a pandas series or
            frame. Padding and missing rows are to be left out before.
        y: Likewise, row i belonging to row i of x.
        method: One of `disentangle.information.METHODS`.
        classes: Which of `"x"` and `"y"` are classes; told from the values if not given.
        groups: `(rows,)`, the same number or name for rows that are no independent draws of one another.
        seed: Decides splits, initial networks and batches; the global generator is left alone.

    Returns:
        The value in nats, its standard error and interval, what kind of bound it is and when, the log-likelihood of held-out
        y with and without x (of the normal scores of y, or of what took the place of its columns), and warnings.

    Raises:
        TypeError: For values that are neither numbers nor one column of names.
        ValueError: For an unknown method; where x and y do not have the same number of rows, hold a value that is missing or
            not finite, or have fewer than 50 rows (groups) or, for copulas, than x_dim + y_dim + 1.

    Example:
        >>> import torch
        >>> from disentangle import estimate_mutual_information
        >>> x = torch.randn(1000, 1, generator=torch.Generator().manual_seed(0))
        >>> noise = torch.randn(1000, 1, generator=torch.Generator().manual_seed(1))
        >>> estimate = estimate_mutual_information(x, 0.8 * x + 0.6 * noise)  # -log(0.6) = 0.51 nats
        >>> abs(estimate.value - 0.51) < 0.08
        True
        >>> estimate_mutual_information(x, x**2 + 0.5 * noise, method="gaussian").value < 0.05  # sees no curve
        True
        >>> speakers = ["anna" if value > 0 else "ben" for value in x[:, 0].tolist()]
        >>> 0.6 < estimate_mutual_information(x, speakers).value < 0.694  # log 2 at most
        True
    """
    if method not in METHODS:
        raise ValueError(f"expected a method among {', '.join(METHODS)}, got {method!r}")
    if groups is None:
        return _of_pair(as_pair(x=x, y=y, classes=classes), method, seed)
    pairs = [as_pair(x=x, y=y, classes=classes, groups=groups, seed=seed + i) for i in range(DRAWS)]
    estimates = [_of_pair(pair, method, seed) for pair in pairs]
    value, error = (sum(each) / DRAWS for each in zip(*((e.value, e.standard_error) for e in estimates), strict=True))
    bounds = {estimate.bound for estimate in estimates}
    return replace(
        estimates[0],
        value=value,
        standard_error=error,
        method=" / ".join(dict.fromkeys(estimate.method for estimate in estimates)),
        bound=bounds.pop() if len(bounds) == 1 else DIFFERENT,
        warnings=tuple(dict.fromkeys(warning for estimate in estimates for warning in estimate.warnings)),
    )


def _of_pair(pair: Pair, method: str, seed: int) -> MutualInformation:
    rows = len(pair.x.numbers)
    if rows < FEWEST_ROWS:
        different = "" if rows == pair.given else " that are neither copies nor of one group"
        raise ValueError(
            f"expected at least {FEWEST_ROWS} rows{different}, got {rows}: permutation_test and probes take fewer"
        )
    estimate = _estimate(pair, method, seed)
    return replace(estimate, rows=pair.given, warnings=(*pair.warnings, *estimate.warnings))


def _estimate(pair: Pair, method: str, seed: int) -> MutualInformation:
    x, y = pair.x, pair.y
    rows, a, b = len(x.numbers), x.numbers, y.numbers
    if any((side == side[0]).all() for side in (a, b)):
        bound = Bound("neither", "never: x or y is constant, and a constant tells nothing")
        return MutualInformation(0.0, 0.0, method, bound, rows, rows, warnings=("x or y is constant",))
    if method == "auto":
        return automatic_mutual_information(x, y, seed)
    if method == "nearest neighbors":
        return neighbors_of(x, y)
    if method in ("gaussian", "copula"):
        # by the rounding of what was given; of linear columns ranks would leave remainders that look like more
        a, b = (independent_columns(side.numbers, side.eps) for side in (x, y))
        if method == "gaussian":
            return _gaussian(a, b, "gaussian", GAUSSIAN)
        a, b = (quantiles(uniform_ranks(side), math.inf) for side in (a, b))
        return _gaussian(a, b, "copula", COPULA)
    a = quantiles(uniform_ranks(a), math.inf)
    if y.classes is None:
        b = quantiles(uniform_ranks(b), math.inf)
    if y.classes is not None:
        b = one_hot(y.classes).double()
    return trained_mutual_information(a, b, method, seed, y.classes)


def _gaussian(x: Tensor, y: Tensor, method: str, bound: Bound) -> MutualInformation:
    """The estimate by canonical correlations; for Gaussians the log density ratio has variance `sum r_k²`."""
    value, rows = gaussian_mutual_information(x, y), len(x)
    of_x, of_y = orthonormal_basis("x", x), orthonormal_basis("y", y)
    variance = float((of_x.mT @ of_y).square().sum()) / rows
    # where the correlations happen to be 0, what is left is the noise of so many rows
    error = math.sqrt(max(variance, correlation_noise(rows, of_x.shape[1], of_y.shape[1])))
    warnings = (INFINITE,) if math.isinf(value) else ()
    return MutualInformation(value, error, method, bound, rows, rows, warnings=warnings)
