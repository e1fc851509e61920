"""What is measured of a model that predicts otherwise than its task has it."""

import numpy as np
import pytest
import torch

from disentangle import Model
from disentangle.data import RecordingDataset, synthetic_recordings
from disentangle.experiments.evaluation import outcomes_of
from disentangle.tasks import SENTIMENT


class Constant(Model):
    def __init__(self, scores):
        super().__init__()
        self.scores = scores

    def forward(self, batch):
        return {"rows": torch.zeros(len(batch.labels), self.scores)}

    def predict(self, variables):
        return variables["rows"]


def test_scores_of_another_number_are_refused_and_not_taken_for_more_rows():
    dataset = RecordingDataset(synthetic_recordings((2, 2, 6))["test"], None)
    outcomes, labels = outcomes_of(Constant(1), dataset, SENTIMENT)
    np.testing.assert_array_equal(outcomes, np.zeros((len(labels), 1)))
    with pytest.raises(ValueError, match=r"^expected 1 score per row, \(N,\) or \(N, 1\), got \(6, 2\): "):
        outcomes_of(Constant(2), dataset, SENTIMENT)
