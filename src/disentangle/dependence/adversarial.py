"""Classifiers that encoders fool: of which variable a row is, and of whether rows were drawn together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from disentangle.dependence.base import Bound, Dependence
from disentangle.dependence.estimators import precision_of
from disentangle.dependence.inputs import rows_of_sizes
from disentangle.errors import TooFewRowsError
from disentangle.functional.precision import at_least_float32, in_precision_of
from disentangle.networks import TwoLayers
from disentangle.variables import Masked

__all__ = ["ModalityDiscriminator", "TotalCorrelationEstimator", "reverse_gradient"]


def reverse_gradient(x: Float[Tensor, ...], scale: float = 1.0) -> Float[Tensor, ...]:
    """`x` itself, whose gradient arrives at what made it times `-scale`.

    It is for training with **a single optimiser**: a classifier behind it learns, and what made x learns to fool it, in one
    backward. Where two optimisers alternate, as in `disentangle.AlternatingStep`, nothing is to be reversed: the classifier
    learns from `learning_loss` on detached variables, then the encoders minimise `forward` with the classifier frozen.

    References:
        Ganin and Lempitsky, Unsupervised Domain Adaptation by Backpropagation (ICML 2015)

    Arguments:
        x: Any tensor.
        scale: The factor of the reversed gradient: the weight of the adversarial loss for what made x.

    Returns:
        A view of x.

    Example:
        >>> import torch
        >>> encoder, discriminator = torch.nn.Linear(8, 3), ModalityDiscriminator(3)
        >>> optimizer = torch.optim.Adam([*encoder.parameters(), *discriminator.parameters()])
        >>> x, y = encoder(torch.randn(16, 8)), torch.randn(16, 3)
        >>> loss = discriminator.learning_loss(reverse_gradient(x, 0.1), y)  # + the loss of the task
        >>> loss.backward()
        >>> optimizer.step()  # the discriminator tells x from y better, the encoder makes them harder to tell
    """
    return _Reversed.apply(x, scale)  # pyright: ignore[reportReturnType]


class _Reversed(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, scale: float) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        ctx.scale = inputs[1]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return -ctx.scale * grad_outputs[0], None


class ModalityDiscriminator(Dependence):
    r"""How well a network guesses which of k variables a row came from: the adversary of shared representations.

    .. math:: \log k - H, \quad H = -\frac{1}{k}\sum_{m=1}^{k} \frac{1}{N_m}\sum_i \log q(m | z^m_i)

    **It aligns, it does not disentangle.** Encoders that minimise it make the *distributions* of the variables alike, so
    that one cannot tell from a row which modality it was encoded from. It does not look at which rows belong together and
    does not make variables independent: equal variables have a value of zero at best. So variables may have different numbers
    of rows, and count alike; a `Pairwise` gives it the rows that have all.

    **What it is.** On rows that the network was not fitted to, its expectation is a lower bound, in nats, of the generalised
    Jensen-Shannon divergence of the k distributions, that is of the information between a row and the name of its variable;
    equal to it for the best network. The divergence is at most log k. A poor network gives a poor bound, even a negative one.

    It takes two or more variables of the same number of features, and alternates like every estimator: `learning_loss` is
    the cross entropy H, on detached variables. For a single optimiser see `reverse_gradient`.

    References:
        | Yang et al., Learning Modality-Specific and -Agnostic Representations for Asynchronous Multimodal Language Sequences
          (MFSA, ACM MM 2022)
        | Lin, Divergence Measures Based on the Shannon Entropy (IEEE Transactions on Information Theory 1991)

    Arguments:
        dim: The number of features of every variable.
        modalities: The number of variables, k.
        hidden_dim: The width of the hidden layer.

    Raises:
        ValueError: If there are fewer than two variables to tell apart; on calling it with another number of variables, or
            with variables that are not all `(rows, dim)`.

    Example:
        >>> import math, torch
        >>> text, audio, video = torch.randn(3, 16, 8)
        >>> discriminator = ModalityDiscriminator(8, modalities=3)
        >>> discriminator.learning_loss(text, audio, video).backward()
        >>> discriminator(text, audio, video) < math.log(3)
        tensor(True)
    """

    label = "discriminator"
    bound = Bound("neither", "zero means that a row does not give away its variable: nothing about dependence")

    def __init__(self, dim: int, modalities: int = 2, hidden_dim: int = 32):
        super().__init__()
        if modalities < 2:
            raise ValueError(f"expected at least 2 variables to tell apart, got {modalities}")
        self.dim, self.modalities = dim, modalities
        self.variables = modalities
        self.network = TwoLayers(dim, hidden_dim, modalities, "the variables")

    def forward(self, x: Tensor | Masked, y: Tensor, *others: Tensor) -> Float[Tensor, ""]:
        """Log k minus the cross entropy, `()`, in nats, from k variables, each `(rows, dim)`."""
        return math.log(self.modalities) - self.learning_loss(x, y, *others)

    def learning_loss(self, x: Tensor | Masked, y: Tensor, *others: Tensor) -> Float[Tensor, ""]:
        """The cross entropy of the guess, `()`, in nats, averaged over the rows of each variable and over variables."""
        rows = _rows_for(self.network, x, y, *others, dims=(self.dim,) * self.modalities, matched=False)
        scores = at_least_float32(self.network(torch.cat(rows))).log_softmax(1)
        parts = scores.split([len(z) for z in rows])
        return -torch.stack([part[:, m].mean() for m, part in enumerate(parts)]).mean()


class TotalCorrelationEstimator(Dependence):
    r"""The total correlation of k variables, by the ratio of densities that a classifier learns.

    .. math:: \mathrm{KL}\left(p(z^1, \dots, z^k) \,\middle\|\, \prod_m p(z^m)\right)
              \approx \frac{1}{N}\sum_i T(z^1_i, \dots, z^k_i)

    T is the logit of a classifier that tells the rows of a batch (drawn together) from rows whose variables come each from
    another row (independent). For the best classifier :math:`e^T` is the ratio of the two densities, and the mean of T over
    rows drawn together is the divergence, in nats. With two variables that is their mutual information.

    **What it is.** A plug-in estimate: exact for the best classifier, and for another one **neither an upper nor a lower
    bound**. On the rows that the classifier was fitted to it is too large. While two classes overlap hardly at all, the
    classifier cannot know by how little, so large values (beyond a few nats) are unreliable.

    It takes two or more variables, all at once, and alternates like every estimator.

    References:
        | Kim and Mnih, Disentangling by Factorising (ICML 2018), the density-ratio trick
        | Sugiyama et al., Density Ratio Estimation in Machine Learning (Cambridge University Press 2012)

    Arguments:
        dims: The number of features of each variable.
        hidden_dim: The width of the hidden layer of T.

    Raises:
        ValueError: If there are fewer than two variables; on calling it with variables of other shapes, or on learning from
            fewer rows than variables.

    Example:
        >>> import torch
        >>> x, y, z = torch.randn(16, 8), torch.randn(16, 5), torch.randn(16, 3)
        >>> total_correlation = TotalCorrelationEstimator(8, 5, 3)
        >>> total_correlation.learning_loss(x, y, z).backward()
        >>> total_correlation(x, y, z).shape
        torch.Size([])
    """

    label = "TC"
    bound = Bound("neither", "a plug-in estimate, equal to the information if the classifier is the best possible one")

    def __init__(self, *dims: int, hidden_dim: int = 64):
        super().__init__()
        if len(dims) < 2:
            raise ValueError(f"expected the sizes of at least 2 variables, got {dims}")
        self.dims = dims
        self.variables = len(dims)
        self.critic = TwoLayers(sum(dims), hidden_dim, 1, "the variables")

    def forward(self, x: Tensor | Masked, y: Tensor, *others: Tensor) -> Float[Tensor, ""]:
        """The estimate, `()`, in nats, from variables `(N, dims[0])`, `(N, dims[1])`, ..."""
        return self._logits(_rows_for(self.critic, x, y, *others, dims=self.dims)).mean()

    def learning_loss(self, x: Tensor | Masked, y: Tensor, *others: Tensor) -> Float[Tensor, ""]:
        """The cross entropy of the classifier, `()`, in nats.

        The independent rows are the batch with all variables but the first rolled by numbers of rows that differ, drawn
        anew in every call from torch's generator on the CPU.
        """
        rows = _rows_for(self.critic, x, y, *others, dims=self.dims)
        n, k = len(rows[0]), len(rows)
        if n < k:
            raise TooFewRowsError(
                f"expected at least {k} rows, as many as variables, got {n}: leave a last batch of so few out, drop_last=True"
            )
        shifts = [0, *(torch.randperm(n - 1)[: k - 1] + 1).tolist()]
        together = self._logits(rows)
        apart = self._logits([z.roll(shift, 0) for z, shift in zip(rows, shifts, strict=True)])
        return (F.softplus(-together).mean() + F.softplus(apart).mean()) / 2

    def _logits(self, rows: list[Tensor]) -> Float[Tensor, " batch"]:
        return at_least_float32(self.critic(torch.cat(rows, 1)).squeeze(1))


def _rows_for(
    network: TwoLayers, *variables: Tensor | Masked, dims: Sequence[int], matched: bool = True
) -> list[Tensor]:
    """Variables of `dims` features in the precision that the network takes: autocast joins none that is lower but its own."""
    rows = rows_of_sizes(variables, dims, precision_of(network), matched=matched)
    weight: Any = network[0].weight
    return [in_precision_of(weight, z, network.name) for z in rows]
