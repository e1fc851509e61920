"""What a meter returns: a number with what is needed to believe it or not."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from disentangle.dependence import Bound

__all__ = ["SIGNIFICANT", "MutualInformation", "standard_error"]

SIGNIFICANT = 2.0  # standard errors


@dataclass(frozen=True)
class MutualInformation:
    """An estimate of mutual information in nats, and what it rests on.

    Attributes:
        value: The estimate, in nats. It is not clipped: an estimate of nothing is below zero half of the time.
        standard_error: Its standard error over the rows it was evaluated on.
        method: How it was made.
        bound: What its expectation is beside the true value, and when.
        rows: How many rows were given.
        held_out: How many rows it was evaluated on. What was trained was not trained on them; a closed form is corrected for
            having been fitted to them.
        log_likelihood: The mean log-likelihood of held-out y under the fitted q(y|x), where there is one.
        marginal_log_likelihood: The same under a q(y) of the same kind that ignores x. Their difference is what x tells
            about y as far as q can see.
        warnings: What to know before trusting it, a sentence each.

    Example:
        >>> estimate = MutualInformation(0.5, 0.02, "gaussian", Bound("neither", "x and y are jointly Gaussian"), 1000, 1000)
        >>> print(estimate)
        0.500 ± 0.020 nats (gaussian, 1000 rows)
        >>> low, high = estimate.interval
        >>> round(low, 3), round(high, 3)
        (0.461, 0.539)
    """

    value: float
    standard_error: float
    method: str
    bound: Bound
    rows: int
    held_out: int
    log_likelihood: float | None = None
    marginal_log_likelihood: float | None = None
    warnings: tuple[str, ...] = ()

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the estimate's expectation, by its standard error."""
        return self.value - 1.96 * self.standard_error, self.value + 1.96 * self.standard_error

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        text = f"{self.value:z.3f} ± {self.standard_error:z.3f} nats ({self.method}, {self.rows} rows)"
        return "\n".join([text, *(f"  warning: {warning}" for warning in self.warnings)])


def standard_error(terms: Tensor) -> float:
    """That of the mean of terms, of any shape."""
    return float(terms.std() / math.sqrt(terms.numel()))
