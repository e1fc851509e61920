"""What to measure predictions by: `label_scale` tells it from the labels, and `LabelScale.metrics` measures it.

Each kind of labels has a function of its own as well: `sentiment_metrics` for [-3, 3], `sims_metrics` for [-1, 1],
`binary_metrics` and `class_metrics`. `metrics_table` and `seeds_table` print them.
"""

from disentangle.metrics.classes import binary_metrics, class_metrics
from disentangle.metrics.scales import LabelScale, disagreements, label_scale
from disentangle.metrics.sentiment import (
    acc2_has0,
    acc2_non0,
    acc5,
    acc7,
    corr,
    f1_has0,
    f1_non0,
    mae,
    sentiment_metrics,
)
from disentangle.metrics.sims import acc2_sims, acc3_sims, acc5_sims, f1_sims, sims_metrics
from disentangle.metrics.tables import Spread, metrics_table, seeds_summary, seeds_table

__all__ = [
    "LabelScale",
    "Spread",
    "acc2_has0",
    "acc2_non0",
    "acc2_sims",
    "acc3_sims",
    "acc5",
    "acc5_sims",
    "acc7",
    "binary_metrics",
    "class_metrics",
    "corr",
    "disagreements",
    "f1_has0",
    "f1_non0",
    "f1_sims",
    "label_scale",
    "mae",
    "metrics_table",
    "seeds_summary",
    "seeds_table",
    "sentiment_metrics",
    "sims_metrics",
]
