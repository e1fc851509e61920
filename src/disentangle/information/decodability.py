"""How well a known factor can be read from a latent."""

from __future__ import annotations

from collections.abc import Collection

from disentangle.information.probe_rows import rows_for
from disentangle.information.probes import read_numbers
from disentangle.information.samples import Samples, Variable

__all__ = ["linear_decodability"]


def linear_decodability(
    source: Samples,
    target: Samples,
    *,
    classes: Collection[str] | None = None,
    groups: Samples | None = None,
    seed: int = 0,
) -> float:
    r"""How well a known factor can be read from a latent by a linear map: R² on rows that the map has not seen.

    .. math:: R^2 = \frac{1}{d}\sum_{j=1}^{d}
              \left(1 - \frac{\sum_i (t_{ij} - \hat t_{ij})^2}{\sum_i (t_{ij} - \bar t_j)^2}\right)

    It is `probe_numbers(..., kind="linear")`, but that classes become one-hot columns. The rows are split into two halves.
    A ridge regression on standardised sources, its strength chosen for each target dimension by leave-one-out within the
    half, is fitted on each half and predicts the other one. Nothing is clipped: 1 is perfect, 0 as good as the mean, below
    0 worse than it, as it is by chance where the source knows nothing. Target dimensions that are constant are left out.

    Arguments:
        source: The latent, `(rows, source_dim)`, or draws of its noise, `(draws, rows, source_dim)`, on any device.
        target: The factor, `(rows, target_dim)`, or `(rows,)` of numbers or classes. Classes become one-hot columns.
        classes: Which of "source" and "target" are classes; told from their values if not given.
        groups: `(rows,)`: rows that are no independent draws, near-copies of one clip say, have the same value. One row
            of each is used. Rows that are copies of others are used once in any case.
        seed: Which rows fall into which half.

    Returns:
        The mean of R² over the target's dimensions.

    Raises:
        ValueError: Where source and target do not have the same number of rows, hold a value that is not finite, have
            fewer than 4 rows, or every target dimension is constant.

    Example:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> latent = torch.randn(200, 8, generator=generator)
        >>> round(linear_decodability(latent, latent[:, :2] - latent[:, 2:4]), 3)
        1.0
        >>> linear_decodability(latent, torch.randn(200, 2, generator=generator)) < 0.1
        True
    """
    if unknown := set(classes or ()) - {"source", "target"}:
        raise ValueError(f"expected classes among source, target, got {', '.join(sorted(unknown))}")
    of_source, of_target = (None if classes is None else name in classes for name in ("source", "target"))
    x, variable, folds, draws = rows_for(
        source, target, source_is_classes=of_source, target_is_classes=of_target, groups=groups, seed=seed
    )
    return read_numbers(x, Variable(variable.numbers), folds, "linear", seed, draws).r2
