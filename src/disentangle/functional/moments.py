"""Functions of the moments of two batches: inner products, covariances, CKA, the central moment discrepancy."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from disentangle.functional.inputs import refuse_few_rows
from disentangle.functional.precision import at_least_float32
from disentangle.functional.scaling import centered, directions, scaled, shifted

__all__ = ["central_moment_discrepancy", "cka", "cross_covariance", "feature_correlation", "orthogonality"]


def orthogonality(
    x: Float[Tensor, "batch features"],
    y: Float[Tensor, "batch features"],
) -> Float[Tensor, ""]:
    r"""The mean squared inner product over all pairs of a row of x and a row of y.

    .. math:: \frac{1}{N^2}\left\| X Y^\top \right\|_F^2

    The paper's eq. 9 is this times :math:`N^2`; divided by it, the value does not grow with the batch. It is computed as
    :math:`\langle X^\top X, Y^\top Y\rangle / N^2`, in O(N·d²), where that is cheaper than the N x N matrix. Rows are not
    centred, as in the paper: it is zero when the two sets of vectors lie in orthogonal subspaces of the same space. In
    float32 it overflows where the product of both scales exceeds 1e19.

    References:
        Qian et al., MIRD, eq. 9

    Example:
        >>> import torch
        >>> orthogonality(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 5.0]]))
        tensor(0.)
    """
    n, d = x.shape
    refuse_few_rows(n)
    with torch.autocast(x.device.type, enabled=False):
        x, y = at_least_float32(x) / n**0.5, at_least_float32(y) / n**0.5
        return ((x.T @ x) * (y.T @ y)).sum() if d < n else (x @ y.T).square().sum()


def feature_correlation(
    x: Float[Tensor, "batch x_dim"],
    y: Float[Tensor, "batch y_dim"],
) -> Float[Tensor, ""]:
    r"""How features of x go along with features of y, over rows of unit length: the difference loss of MISA.

    The columns of x and y are centred, then their rows are divided by their lengths; with what results,

    .. math:: \frac{1}{d_x d_y} \left\| \frac{1}{N} X^\top Y \right\|_F^2

    MISA's formula is the norm alone, and its published code the mean over the :math:`d_x d_y` entries without the 1/N: this
    times :math:`N^2`, which grows with the batch. That code also takes the lengths as constants in the backward pass; here
    the gradient is that of the value. A row at the mean has no direction and counts as zero.

    `orthogonality` is the mean over all pairs of *rows* of the inner product of one with the other, raw; this is the mean
    over all pairs of *features* of their correlation over the batch, so x and y may differ in size, and neither scale nor
    offset matter. It sees linear dependence only.

    References:
        Hazarika et al., MISA: Modality-Invariant and -Specific Representations for Multimodal Sentiment Analysis (ACM MM
        2020), the difference loss

    Returns:
        The value, `()`, in [0, 1].

    Example:
        >>> import torch
        >>> x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> feature_correlation(x[:, :1], x[:, 1:]), feature_correlation(x[:, :1], 3 - 2 * x[:, :1])
        (tensor(0.), tensor(1.))
    """
    n = len(x)
    with torch.autocast(x.device.type, enabled=False):
        x, y = (directions(scaled(centered(t))[0]) for t in (x, y))
        return (x.T @ y / n).square().mean()


def cross_covariance(
    x: Float[Tensor, "batch x_dim"],
    y: Float[Tensor, "batch y_dim"],
) -> Float[Tensor, ""]:
    r"""Half the sum of the squared covariances of each feature of x with each of y ("XCov").

    .. math:: \frac12 \sum_{i,j} \left( \frac1N \sum_n (x_{ni} - \bar x_i)(y_{nj} - \bar y_j) \right)^2

    It is zero if and only if no feature of x is correlated with one of y: it sees linear dependence only. It depends on the
    scale of both and shrinks to zero with either; in float32 it overflows where the product of both scales exceeds 1e19.

    References:
        Cheung et al., Discovering Hidden Factors of Variation in Deep Networks (ICLR workshop 2015, arXiv:1412.6583), eq. 3

    Example:
        >>> import torch
        >>> x = torch.tensor([[1.0], [-1.0]])
        >>> cross_covariance(x, torch.cat([2 * x, torch.ones(2, 1)], 1))
        tensor(2.)
    """
    n = len(x)
    with torch.autocast(x.device.type, enabled=False):
        return 0.5 * (centered(x).T @ centered(y) / n).square().sum()


def cka(
    x: Float[Tensor, "batch x_dim"],
    y: Float[Tensor, "batch y_dim"],
) -> Float[Tensor, ""]:
    r"""Linear centred kernel alignment: how alike the directions are in which the rows of x and of y spread.

    With centred columns,

    .. math:: \frac{\| Y^\top X \|_F^2}{\| X^\top X \|_F \, \| Y^\top Y \|_F}

    from covariances, in O(N·d²), or from the N x N inner products where there are fewer rows than features. It lies in
    [0, 1]: zero if and only if no feature of x is correlated with one of y, so it sees linear dependence only; 1 where y
    is a scaled rotation of x, plus a constant. Neither rotation, scale nor offset of either matter. Where x or y is constant
    it is 0, with gradient 0. With more features than rows it is far from zero for independent variables too.

    References:
        Kornblith et al., Similarity of Neural Network Representations Revisited (ICML 2019)

    Returns:
        The alignment, `()`.

    Example:
        >>> import torch
        >>> x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> cka(x[:, :1], x[:, 1:]), cka(x, 5 * x.flip(1) + 1)
        (tensor(0.), tensor(1.0000))
    """
    with torch.autocast(x.device.type, enabled=False):
        x, y = (scaled(centered(t))[0] for t in (x, y))
        if max(x.shape[1], y.shape[1]) > len(x):
            x_gram, y_gram = x @ x.T, y @ y.T
            product = (x_gram * y_gram).sum()
        else:
            x_gram, y_gram = x.T @ x, y.T @ y
            product = (y.T @ x).square().sum()
        norms = torch.linalg.matrix_norm(x_gram) * torch.linalg.matrix_norm(y_gram)
        return product / torch.where(norms > 0, norms, 1.0)


def central_moment_discrepancy(
    x: Float[Tensor, "x_batch features"],
    y: Float[Tensor, "y_batch features"],
    moments: int = 5,
    *,
    width: float | None = None,
) -> Float[Tensor, ""]:
    r"""How far the means and central moments of x are from those of y (CMD): the similarity loss of MISA.

    .. math:: \sum_{k=1}^{K} \frac{1}{(b-a)^k} \left\| c_k(x) - c_k(y) \right\|_2, \quad
              c_1(x) = \bar x, \quad c_k(x) = \frac1N \sum_i (x_i - \bar x)^k

    **It aligns, it does not disentangle.** It compares the *distributions* of x and y, feature by feature; which row of x was
    drawn with which row of y plays no part. It is zero for independent variables of one distribution, and for x and x.

    The formula is meant for values in a bounded interval [a, b]. By default b - a is the range of the values that x and y
    have together, taken without gradient, so the unit of both does not matter and no power overflows. For values that are
    bounded by construction give `width` (1 after a sigmoid, as in MISA; 2 after tanh): then the loss is the same function
    in every batch.

    References:
        | Zellinger et al., Central Moment Discrepancy (CMD) for Domain-Invariant Representation Learning (ICLR 2017), eq. 2
        | Hazarika et al., MISA (ACM MM 2020), the similarity loss

    Arguments:
        x: Samples, `(N, d)`.
        y: Samples, `(M, d)`.
        moments: The number of moments, K.
        width: The width of the interval, b - a.

    Returns:
        The discrepancy, `()`.

    Raises:
        ValueError: If there is no moment to compare, or if the width is not positive.

    Example:
        >>> import torch
        >>> x = torch.tensor([[0.0], [1.0]])
        >>> central_moment_discrepancy(x, x), central_moment_discrepancy(x, x + 1, width=2.0)
        (tensor(0.), tensor(0.5000))
    """
    if moments < 1:
        raise ValueError(f"expected at least 1 moment, got {moments}")
    if width is not None and width <= 0:
        raise ValueError(f"expected a positive width, got {width}")
    refuse_few_rows(min(len(x), len(y)))
    both = torch.cat([at_least_float32(x), at_least_float32(y)])
    low, high = both.detach().aminmax()
    both = shifted(both) / (torch.where(high > low, high - low, 1.0) if width is None else width)
    x, y = both[: len(x)], both[len(x) :]
    x_mean, y_mean = x.mean(0), y.mean(0)
    x, y = x - x_mean, y - y_mean
    differences = [x_mean - y_mean] + [(x**k).mean(0) - (y**k).mean(0) for k in range(2, moments + 1)]
    return torch.linalg.vector_norm(torch.stack(differences), dim=1).sum()
