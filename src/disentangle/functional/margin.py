"""Directions of rows beside their labels: rows of one label closer to one another than to rows of others."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from disentangle.functional.precision import at_least_float32
from disentangle.functional.scaling import unit_rows

__all__ = ["cosine_margin"]


def cosine_margin(
    x: Float[Tensor, "batch features"],
    labels: Float[Tensor, "batch columns"],
    margin: float = 0.15,
) -> Float[Tensor, ""]:
    r"""By how much rows fail to be closer to rows of their own label than to others, in cosine, by a margin.

    .. math:: \frac{1}{|A|} \sum_{i \in A} \frac{1}{|P_i|\,|N_i|} \sum_{j \in P_i,\, k \in N_i}
              \max\left(0,\ \alpha\, |y_i - y_k| - \cos(x_i, x_j) + \cos(x_i, x_k)\right)

    P_i are the other rows that have the label of row i, N_i those that have another one, and A the rows that have both. The
    margin :math:`\alpha |y_i - y_k|` is wider for labels that are farther apart; of labels of several columns, the distance is
    the largest of any column, so that one-hot classes are 1 apart. Labels have no gradient.

    **It aligns, it does not disentangle**: it arranges rows by their labels. The scale of rows does not matter; a row of
    zeros, which has no direction, has a cosine of 0 with any other. The sums over pairs (j, k) are taken by sorting, in
    O(N² log N) operations and O(N²) memory.

    References:
        | Li et al., Decoupled Multimodal Distilling for Emotion Recognition (CVPR 2023), the margin loss
        | Wang et al., DLF: Disentangled-Language-Focused Multimodal Sentiment Analysis (AAAI 2025)

    Arguments:
        x: N rows, `(N, d)`.
        labels: The labels of each row, `(N, K)`.
        margin: :math:`\alpha`, the margin per unit of distance between labels.

    Returns:
        The loss, `()`; 0 where no row has both.

    Raises:
        ValueError: If the margin is negative.

    Example:
        >>> import torch
        >>> x = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
        >>> cosine_margin(x, torch.tensor([[1.0], [1.0], [3.0]])), cosine_margin(x, torch.tensor([[1.0], [3.0], [1.0]]))
        (tensor(0.), tensor(0.8000))
    """
    if margin < 0:
        raise ValueError(f"expected a margin of 0 or more, got {margin}")
    with torch.autocast(x.device.type, enabled=False):
        unit, labels = unit_rows(x), at_least_float32(labels.detach())
        cosines = unit @ unit.mT
        distances = (labels.unsqueeze(1) - labels).abs().amax(2)
        others = ~(distances <= 0)  # a label that is NaN makes the loss NaN
        same = ~others & ~torch.eye(len(x), dtype=torch.bool, device=x.device)
        # The sum over j of max(0, bar - cosine): those below the bar come first, and their sum is known.
        ordered = torch.where(same, cosines, torch.inf).sort(1).values
        sums = pad(torch.where(ordered == torch.inf, 0, ordered).cumsum(1), (1, 0))
        bars = margin * distances + cosines
        below = torch.searchsorted(ordered.detach(), bars.detach())
        hinges = torch.where(others, below * bars - sums.gather(1, below), 0).sum(1)
        triples = same.sum(1) * others.sum(1)
        return (hinges / triples.clamp(min=1)).sum() / (triples > 0).sum().clamp(min=1)
