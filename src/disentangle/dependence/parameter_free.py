"""Dependences without parameters: from inner products and covariances, from distances between rows, from moments."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from disentangle import functional
from disentangle.dependence.base import Bound, Dependence
from disentangle.dependence.inputs import joint_rows, paired_rows, same_sized_rows
from disentangle.functional.kernels import Kernel
from disentangle.variables import Masked

__all__ = [
    "CKA",
    "DHSIC",
    "HSIC",
    "CentralMomentDiscrepancy",
    "CrossCovariance",
    "DistanceCorrelation",
    "FeatureCorrelation",
    "OrthogonalLoss",
]


class OrthogonalLoss(Dependence):
    r"""The orthogonality constraint of shared/private models: the mean squared inner product between rows of x and of y.

    .. math:: \frac{1}{N^2}\left\| X Y^\top \right\|_F^2

    The paper's eq. 9 is this times :math:`N^2`. It sees linear dependence only: two variables can have an orthogonality of
    zero and determine one another. It depends on the scale of both, shrinks to zero with either, and needs both of the same
    size. It has no parameters.

    References:
        Qian et al., MIRD, eq. 9

    Raises:
        ValueError: On calling it with x and y that are not both `(N, d)`.

    Example:
        >>> import torch
        >>> OrthogonalLoss()(torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 1.0]]))
        tensor(9.)
    """

    label = "orthogonal"
    bound = Bound("neither", "zero means that the rows of x and y lie in orthogonal subspaces, not independence")

    def forward(self, x: Tensor | Masked, y: Tensor) -> Float[Tensor, ""]:
        """The mean squared inner product, `()`, of x, `(N, d)`, and y, `(N, d)`."""
        return functional.orthogonality(*same_sized_rows(x, y))


class FeatureCorrelation(Dependence):
    r"""The difference loss of MISA: the mean squared correlation of features of x with features of y.

    .. math:: \frac{1}{d_x d_y} \left\| \frac{1}{N} X^\top Y \right\|_F^2

    with columns centred and then rows of unit length. See `disentangle.functional.feature_correlation` for what differs
    from the published code, and from `OrthogonalLoss`. It sees linear dependence only; scale and offset do not matter, and
    sizes may differ. It has no parameters. Classes on a device are waited for, see `Dependence`.

    References:
        Hazarika et al., MISA: Modality-Invariant and -Specific Representations for Multimodal Sentiment Analysis (ACM MM
        2020)

    Raises:
        ValueError: On calling it with x and y that are not `(N, x_dim)` and `(N, y_dim)`.

    Example:
        >>> import torch
        >>> x = torch.tensor([[1.0], [-1.0]])
        >>> FeatureCorrelation()(x, 2 * x + 5)
        tensor(1.)
    """

    label = "correlation"
    bound = Bound("neither", "zero means that no feature of x is correlated with one of y over rows of unit length")

    def forward(self, x: Tensor | Masked, y: Tensor) -> Float[Tensor, ""]:
        """The mean squared correlation, `()`, of x, `(N, x_dim)`, with y, `(N, y_dim)`."""
        return functional.feature_correlation(*paired_rows(x, y))


class CrossCovariance(Dependence):
    r"""XCov: half the sum of the squared covariances of features of x with features of y.

    .. math:: \frac12 \sum_{i,j} \operatorname{cov}(x_i, y_j)^2

    It sees linear dependence only, depends on the scale of both and shrinks to zero with either. It has no parameters.
    Classes on a device are waited for, see `Dependence`.

    References:
        Cheung et al., Discovering Hidden Factors of Variation in Deep Networks (ICLR workshop 2015)

    Raises:
        ValueError: On calling it with x and y that are not `(N, x_dim)` and `(N, y_dim)`.

    Example:
        >>> import torch
        >>> x = torch.tensor([[1.0], [-1.0]])
        >>> CrossCovariance()(x, 2 * x)
        tensor(2.)
    """

    label = "XCov"
    bound = Bound("neither", "zero means that no feature of x is correlated with one of y")

    def forward(self, x: Tensor | Masked, y: Tensor) -> Float[Tensor, ""]:
        """Half the sum of squared covariances, `()`, of x, `(N, x_dim)`, with y, `(N, y_dim)`."""
        return functional.cross_covariance(*paired_rows(x, y))


class HSIC(Dependence):
    r"""The Hilbert-Schmidt independence criterion: it sees dependence of any form.

    .. math:: \frac{1}{N^2} \operatorname{tr}(K H L H)

    See `disentangle.functional.hsic` for the kernels, the unbiased form and the bandwidth. The biased form (the default) is of
    order 1/N for independent variables, and never negative; the unbiased one is about zero for them, so it is negative half
    of the time. With many more features than rows little of either is dependence: prefer large batches and the unbiased form,
    and this one also where modalities are missing, since the biased form rises and falls with the number of rows in common.
    It has no parameters. Classes, `(N,)` whole numbers, are read back from a device, which is waited for, and -1 for "no class"
    is a class too, see `Dependence`.

    References:
        | Gretton et al., Measuring Statistical Dependence with Hilbert-Schmidt Norms (ALT 2005)
        | Song et al., Feature Selection via Dependence Maximization (JMLR 2012)

    Arguments:
        bandwidth: :math:`\sigma` of both kernels, or :math:`(\sigma_x, \sigma_y)`; by default each variable's median
            distance over the batch, so that scale does not matter.
        scales: Multiples of the bandwidths whose kernels are averaged: `(0.25, 0.5, 1.0)` sees finer dependence than the
            bandwidth alone.
        kernel: "gaussian", or "laplace", which sees coarse and fine dependence at once.
        unbiased: Whether to take the unbiased estimate, which needs at least 4 rows: make the loader with `drop_last=True`.

    Raises:
        ValueError: If a bandwidth or a scale is not positive, there is no scale, or the kernel is unknown; on calling it with
            x and y that are not `(N, x_dim)` and `(N, y_dim)`, or with too few rows.

    Example:
        >>> import torch
        >>> HSIC(unbiased=True)(torch.randn(64, 8), torch.randn(64, 5)).shape
        torch.Size([])
    """

    label = "HSIC"
    bound = Bound(
        "neither", "zero means independence, and independence zero, in the population: the kernel is characteristic"
    )

    def __init__(
        self,
        *,
        bandwidth: float | tuple[float, float] | None = None,
        scales: Sequence[float] = (1.0,),
        kernel: Kernel = "gaussian",
        unbiased: bool = False,
    ):
        super().__init__()
        self.bandwidth, self.scales, self.unbiased = bandwidth, tuple(scales), unbiased
        self.kernel: Kernel = kernel
        rows = torch.zeros(2, 4, 1, device="cpu")  # refuses at once what it would refuse of every batch
        functional.hsic(*rows, bandwidth=bandwidth, scales=scales, kernel=kernel)

    def forward(self, x: Tensor | Masked, y: Tensor) -> Float[Tensor, ""]:
        """The criterion, `()`, of x, `(N, x_dim)`, and y, `(N, y_dim)`; O(N²) memory."""
        x, y = paired_rows(x, y)
        return functional.hsic(
            x, y, bandwidth=self.bandwidth, scales=self.scales, kernel=self.kernel, unbiased=self.unbiased
        )

    def p_value(self, x: Tensor | Masked, y: Tensor) -> Float[Tensor, ""]:
        """How often independent x and y would have as large a value, `()`: `disentangle.functional.hsic_p_value`.

        Raises:
            ValueError: If there are fewer than 6 rows, or where the value itself is refused.
        """
        x, y = paired_rows(x, y)
        return functional.hsic_p_value(x, y, bandwidth=self.bandwidth, scales=self.scales, kernel=self.kernel)


class DHSIC(Dependence):
    r"""dHSIC: how far two or more variables are from independent of one another, all at once.

    It sees dependence of any form, also what no pair of the variables shows: of x, y and x·y of random signs each two are
    independent, and the three are not. For two variables it is the biased HSIC. See `disentangle.functional.dhsic` for the
    formula. It has no parameters. Classes on a device are waited for, see `Dependence`.

    References:
        Pfister et al., Kernel-based Tests for Joint Independence (JRSS B 2018)

    Arguments:
        bandwidth: :math:`\sigma` of all kernels, or one for each variable; by default each variable's median distance over the
            batch, so that scale does not matter.
        scales: Multiples of the bandwidths whose kernels are averaged.
        kernel: "gaussian", or "laplace", which sees coarse and fine dependence at once.

    Raises:
        ValueError: If `disentangle.functional.dhsic` refuses the bandwidths, the scales or the kernel; on calling it with
            variables that are not `(N, dim)` with the same N.

    Example:
        >>> import torch
        >>> from disentangle import Pairwise
        >>> variables = {name: torch.randn(64, 8) for name in "LAS"}
        >>> list(Pairwise({("L", "A", "S"): DHSIC()})(variables))
        ['dHSIC(L;A;S)']
    """

    label = "dHSIC"
    bound = Bound("neither", "zero means joint independence, and joint independence zero, in the population")
    variables = None

    def __init__(
        self,
        *,
        bandwidth: float | Sequence[float] | None = None,
        scales: Sequence[float] = (1.0,),
        kernel: Kernel = "gaussian",
    ):
        super().__init__()
        self.bandwidth, self.scales = bandwidth, tuple(scales)
        self.kernel: Kernel = kernel
        variables = len(bandwidth) if isinstance(bandwidth, Sequence) else 2
        rows = torch.zeros(variables, 4, 1, device="cpu")  # refuses at once what it would refuse of every batch
        functional.dhsic(*rows, bandwidth=bandwidth, scales=scales, kernel=kernel)

    def forward(self, x: Tensor | Masked, y: Tensor, *others: Tensor) -> Float[Tensor, ""]:
        """The criterion, `()`, of variables `(N, dim)`; O(N²) memory."""
        variables = joint_rows(x, y, *others)
        return functional.dhsic(*variables, bandwidth=self.bandwidth, scales=self.scales, kernel=self.kernel)


class DistanceCorrelation(Dependence):
    r"""The distance correlation: in [0, 1], without a scale or a bandwidth to choose; it sees dependence of any form.

    .. math:: R = \sqrt{\frac{\langle A, B\rangle}{\sqrt{\langle A, A\rangle \langle B, B\rangle}}}

    where A and B are the doubly centred distances between rows, see `disentangle.functional.distance_correlation`. Over a
    batch it is too large, the more so the more features there are; the bias-corrected square does without that. It has no
    parameters. Classes on a device are waited for, see `Dependence`.

    References:
        | Székely et al., Measuring and Testing Dependence by Correlation of Distances (Annals of Statistics 2007)
        | Székely and Rizzo, The distance correlation t-test of independence in high dimension (JMVA 2013)

    Arguments:
        unbiased: Whether to take the bias-corrected :math:`R^2` in place of R; it needs at least 4 rows, and can be negative.

    Raises:
        ValueError: On calling it with x and y that are not `(N, x_dim)` and `(N, y_dim)`, or with too few rows.

    Example:
        >>> import torch
        >>> DistanceCorrelation()(torch.randn(64, 8), torch.ones(64, 5))
        tensor(0.)
    """

    label = "dCor"
    bound = Bound("neither", "zero means independence, and independence zero, in the population, if both have a mean")

    def __init__(self, *, unbiased: bool = False):
        super().__init__()
        self.unbiased = unbiased

    def forward(self, x: Tensor | Masked, y: Tensor) -> Float[Tensor, ""]:
        """The distance correlation, `()`, of x, `(N, x_dim)`, and y, `(N, y_dim)`; O(N²) memory."""
        return functional.distance_correlation(*paired_rows(x, y), unbiased=self.unbiased)


class CKA(Dependence):
    r"""Linear centred kernel alignment: in [0, 1], unchanged by rotation, scale and offset of either variable.

    .. math:: \frac{\| Y^\top X \|_F^2}{\| X^\top X \|_F \, \| Y^\top Y \|_F}

    with centred columns. It sees linear dependence only. With more features than rows it is far from zero for independent
    variables too. It has no parameters. Classes on a device are waited for, see `Dependence`.

    References:
        Kornblith et al., Similarity of Neural Network Representations Revisited (ICML 2019)

    Raises:
        ValueError: On calling it with x and y that are not `(N, x_dim)` and `(N, y_dim)`.

    Example:
        >>> import torch
        >>> CKA()(torch.tensor([[0.0], [1.0]]), torch.tensor([[7.0], [3.0]]))
        tensor(1.)
    """

    label = "CKA"
    bound = Bound("neither", "zero means that no feature of x is correlated with one of y")

    def forward(self, x: Tensor | Masked, y: Tensor) -> Float[Tensor, ""]:
        """The alignment, `()`, of x, `(N, x_dim)`, and y, `(N, y_dim)`."""
        return functional.cka(*paired_rows(x, y))


class CentralMomentDiscrepancy(Dependence):
    r"""CMD, the similarity loss of MISA: how far the means and central moments of x are from those of y.

    .. math:: \sum_{k=1}^{K} \frac{1}{(b-a)^k} \left\| c_k(x) - c_k(y) \right\|_2

    **It aligns, it does not disentangle**: minimising it makes the *distributions* of x and y alike, feature by feature. It
    does not look at which rows belong together and says nothing about dependence: it is zero for x and x. So x and y may have
    different numbers of rows; a `Pairwise` gives it those that have both. It has no parameters.

    References:
        | Zellinger et al., Central Moment Discrepancy (CMD) for Domain-Invariant Representation Learning (ICLR 2017)
        | Hazarika et al., MISA (ACM MM 2020)

    Arguments:
        moments: The number of moments, K.
        width: The width b - a of the interval that the values lie in: 1 after a sigmoid, 2 after tanh. By default the range
            of the values of the batch, so that scale does not matter.

    Raises:
        ValueError: If there is no moment to compare, or the width is not positive; on calling it with x and y that are not
            `(N, d)` and `(M, d)`.

    Example:
        >>> import torch
        >>> x = torch.rand(32, 4)
        >>> CentralMomentDiscrepancy(width=1.0)(x, x.roll(1, 0)) < 1e-6  # which rows belong together plays no part
        tensor(True)
    """

    label = "CMD"
    bound = Bound("neither", "zero means that x and y have equal moments, feature by feature: nothing about dependence")

    def __init__(self, moments: int = 5, *, width: float | None = None):
        super().__init__()
        self.moments, self.width = moments, width
        rows = torch.zeros(2, 4, 1, device="cpu")  # refuses at once what it would refuse of every batch
        functional.central_moment_discrepancy(rows[0], rows[1], moments, width=width)

    def forward(self, x: Tensor | Masked, y: Tensor) -> Float[Tensor, ""]:
        """The discrepancy, `()`, of x, `(N, d)`, and y, `(M, d)`."""
        rows = same_sized_rows(x, y, matched=False)
        return functional.central_moment_discrepancy(*rows, self.moments, width=self.width)
