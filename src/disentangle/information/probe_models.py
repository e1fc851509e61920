"""The models that probe: linear ones and small networks for numbers and for classes, all of scikit-learn."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

__all__ = ["model_of_classes", "model_of_numbers"]

STRENGTHS = np.logspace(-3, 5, 17)  # of the ridge
HIDDEN, PENALTY, LEARNING_RATE = (64, 64), 0.3, 3e-3
BATCH, STEPS = 64, 32  # rows per step, at least, and steps per epoch, at most
EPOCHS, PATIENCE, LEAST_GAIN, VALIDATION = 200, 10, 1e-3, 0.15
CLASS_EPOCHS = 100
LEAST_ROWS = 20  # to set some aside for stopping


def model_of_numbers(kind: Literal["linear", "neural"], known: np.ndarray, seed: int) -> Any:
    """A model to be fitted to rows and `known`, `(rows,)` or `(rows, dim)`, each standardised by what it is fitted to."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.linear_model import RidgeCV
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if kind == "linear":
        regressor = RidgeCV(alphas=STRENGTHS, alpha_per_target=known.ndim == 2)
    elif kind == "neural":
        regressor = MLPRegressor(**_network(len(known), EPOCHS, len(known) >= LEAST_ROWS, seed))
    else:
        raise ValueError(f"expected kind as linear or neural, got {kind}")
    return TransformedTargetRegressor(make_pipeline(StandardScaler(), regressor), transformer=StandardScaler())


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
        classifier = MLPClassifier(**_network(len(known), CLASS_EPOCHS, False, seed))
    else:
        raise ValueError(f"expected kind as linear or neural, got {kind}")
    return make_pipeline(StandardScaler(), classifier if len(counts) > 1 else DummyClassifier())


def _network(rows: int, epochs: int, stops: bool, seed: int) -> dict[str, Any]:
    return {
        "hidden_layer_sizes": HIDDEN,
        "alpha": PENALTY,
        "learning_rate_init": LEARNING_RATE,
        "batch_size": max(min(rows // 2, BATCH), rows // STEPS),
        "max_iter": epochs,
        "early_stopping": stops,
        "validation_fraction": VALIDATION,
        "n_iter_no_change": PATIENCE if stops else epochs,  # or a plateau of the training loss would end it
        "tol": LEAST_GAIN,
        "random_state": seed,
    }
