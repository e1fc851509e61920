"""The models that probe: linear ones and small networks for numbers and for classes, all of scikit-learn."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

__all__ = ["model_of_classes", "model_of_numbers"]

STRENGTHS = np.logspace(-3, 5, 17)  # of the ridge
HIDDEN, PENALTY, LEARNING_RATE = (64, 64), 0.3, 3e-3
BATCH, STEPS = 64, 32  # rows per step, at least, and steps per epoch, at most
EPOCHS, PATIENCE, LEAST_GAIN, VALIDATION = 200, 25, 1e-3, 0.15
CLASS_EPOCHS = 100
LEAST_ROWS = 20  # to set some aside for stopping


def model_of_numbers(kind: Literal["linear", "neural"], known: np.ndarray, seed: int, draws: int = 1) -> Any:
    """A model to be fitted to rows and `known`, `(rows,)` or `(rows, dim)`, each standardised by what it is fitted to.

    With `draws`, all rows stand there as often, one draw of their noise after the other.
    """
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if kind == "linear":
        ridge = RidgeCV(alphas=STRENGTHS, alpha_per_target=known.ndim == 2)
        return TransformedTargetRegressor(make_pipeline(StandardScaler(), ridge), transformer=StandardScaler())
    if kind == "neural":
        return _StoppedNetwork(seed, draws)
    raise ValueError(f"expected kind as linear or neural, got {kind}")


class _StoppedNetwork:
    """A network of numbers, kept as it was in the epoch in which it predicted rows best that were set aside.

    What is set aside is whole rows, all draws of their noise: beside other draws of the same row it would never stop.
    """

    def __init__(self, seed: int, draws: int):
        self.seed, self.draws = seed, draws

    def fit(self, x: np.ndarray, known: np.ndarray) -> _StoppedNetwork:
        from sklearn.neural_network import MLPRegressor
        from sklearn.preprocessing import StandardScaler

        known = known.reshape(len(known), -1)
        self.of_x, self.of_y = StandardScaler().fit(x), StandardScaler().fit(known)
        x, y = np.asarray(self.of_x.transform(x)), np.asarray(self.of_y.transform(known))
        random = np.random.RandomState(self.seed)  # the kind that scikit-learn draws on from
        rows = len(x) // self.draws
        aside = np.zeros(rows, bool)
        if rows >= LEAST_ROWS:
            aside[random.permutation(rows)[: int(VALIDATION * rows)]] = True
        aside = np.tile(aside, self.draws)
        network = self.network = MLPRegressor(**_network(len(x), random))
        best, weights, waited = -np.inf, [], 0
        for _ in range(EPOCHS):
            network.partial_fit(x[~aside], y[~aside].squeeze(1) if y.shape[1] == 1 else y[~aside])
            if not aside.any():
                continue
            score = 1 - np.square(self._predicted(x[aside]) - y[aside]).mean()
            waited = 0 if score > best + LEAST_GAIN else waited + 1
            if score > best:
                best, weights = score, [w.copy() for w in (*network.coefs_, *network.intercepts_)]
            if waited == PATIENCE:
                break
        if weights:
            network.coefs_, network.intercepts_ = weights[: network.n_layers_ - 1], weights[network.n_layers_ - 1 :]
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.of_y.inverse_transform(self._predicted(np.asarray(self.of_x.transform(x)))))

    def _predicted(self, standardised: np.ndarray) -> np.ndarray:
        predicted: Any = self.network.predict(standardised)
        return predicted.reshape(len(standardised), -1)


def model_of_classes(kind: Literal["linear", "neural"], known: np.ndarray, seed: int) -> Any:
    """A model to be fitted to rows and `known`, `(rows,)` whole numbers, the rows standardised by what it is fitted to."""
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    _, counts = np.unique(known, return_counts=True)
    if kind == "linear":
        classifier = LogisticRegression(max_iter=1000)
    elif kind == "neural":
        # stopped early it reads half of a weak dependence: on few rows its accuracy hardly rises at first
        # and a plateau of the training loss would end it
        classifier = MLPClassifier(
            **_network(len(known), seed), max_iter=CLASS_EPOCHS, n_iter_no_change=CLASS_EPOCHS, tol=LEAST_GAIN
        )
    else:
        raise ValueError(f"expected kind as linear or neural, got {kind}")
    return make_pipeline(StandardScaler(), classifier if len(counts) > 1 else DummyClassifier())


def _network(rows: int, seed: int | np.random.RandomState) -> dict[str, Any]:
    return {
        "hidden_layer_sizes": HIDDEN,
        "alpha": PENALTY,
        "learning_rate_init": LEARNING_RATE,
        "batch_size": max(min(rows // 2, BATCH), rows // STEPS),
        "random_state": seed,
    }
