"""A penalty that knows labels: rows of one label shall be closer to one another than to rows of others."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from disentangle import functional
from disentangle.dependence.base import Bound, Dependence
from disentangle.dependence.inputs import joint_rows
from disentangle.functional.precision import at_least_float32
from disentangle.variables import Masked

__all__ = ["CosineMarginLoss"]


class CosineMarginLoss(Dependence):
    r"""The margin loss of DMD and DLF: rows of one label closer in direction than rows of different labels.

    .. math:: \frac{1}{|A|} \sum_{i \in A} \operatorname*{mean}_{j \in P_i,\, k \in N_i}
              \max\left(0,\ \alpha\, |y_i - y_k| - \cos(z_i, z_j) + \cos(z_i, z_k)\right)

    The last variable is the labels, the others are the latents that are compared, of one size; the rows of all are compared
    with one another. P_i has the label of row i, N_i another one; see `disentangle.functional.cosine_margin`. Labels are
    numbers, classes, or several columns. **It aligns, it does not disentangle.** It has no parameters. Classes on a device are
    waited for, see `Dependence`.

    References:
        | Li et al., Decoupled Multimodal Distilling for Emotion Recognition (CVPR 2023)
        | Wang et al., DLF: Disentangled-Language-Focused Multimodal Sentiment Analysis (AAAI 2025)

    Arguments:
        margin: The margin per unit of distance between labels, :math:`\alpha`.

    Raises:
        ValueError: If the margin is negative; on calling it with latents that are not all `(N, d)`, or with labels of another
            N.

    Example:
        >>> import torch
        >>> from disentangle import Pairwise
        >>> variables = {"S_text": torch.randn(8, 4), "S_audio": torch.randn(8, 4), "label": torch.randn(8)}
        >>> list(Pairwise({("S_text", "S_audio", "label"): CosineMarginLoss()})(variables))
        ['margin(S_text;S_audio;label)']
    """

    label = "margin"
    bound = Bound(
        "neither", "zero means that rows of one label are closer than others by a margin: nothing about dependence"
    )
    variables = None

    def __init__(self, margin: float = 0.15):
        super().__init__()
        if margin < 0:
            raise ValueError(f"expected a margin of 0 or more, got {margin}")
        self.margin = margin

    def forward(self, x: Tensor | Masked, y: Tensor, *others: Tensor) -> Float[Tensor, ""]:
        """The loss, `()`, of latents `(N, d)` and, last, their labels, `(N,)` or `(N, K)`; O(L² N²) memory for L latents."""
        *latents, labels = joint_rows(x, y, *others)
        sizes = {z.shape[1] for z in latents}
        if len(sizes) > 1:
            raise ValueError(f"expected latents of one size before the labels, got sizes {sorted(sizes)}")
        return functional.cosine_margin(
            torch.cat([at_least_float32(z) for z in latents]), labels.repeat(len(latents), 1), self.margin
        )
