"""A number that rounds to zero has no sign, in whatever table or line it stands."""

import re

import numpy as np
import pytest

from disentangle.data import Recordings
from disentangle.data.report import describe
from disentangle.dependence import Bound
from disentangle.experiments.prediction import meaning
from disentangle.experiments.studies.comparison import Comparison, Difference
from disentangle.experiments.studies.embedding import Embedding
from disentangle.experiments.studies.information_curves import InformationCurves
from disentangle.information import DependenceReport, DependenceRow
from disentangle.information.factor_tables import FactorRow, FactorScores
from disentangle.information.probes import NumberProbe, Probes
from disentangle.information.result import MutualInformation
from disentangle.metrics import metrics_table, seeds_table
from disentangle.numbers_as_text import or_dash
from disentangle.tasks import SENTIMENT

TINY = -1e-7
PROBE = NumberProbe("linear", TINY, 0.1, 100)
INFORMATION = MutualInformation(TINY, 1e-9, "gaussian", Bound("neither", "always"), 100, 100)
ROW = DependenceRow("x", "y", 100, INFORMATION, 0.5, 0.5, TINY, TINY, Probes(PROBE, PROBE), Probes(PROBE, PROBE), ())
REPORT = DependenceReport((ROW,), ("x", "y"), (), {"x": 1, "y": 1}, {}, {"x": 1.0, "y": 1.0}, 99, 0)
FACTOR = FactorRow("f", 100, None, TINY, TINY, TINY, PROBE, 0.5, {"z": Probes(PROBE, PROBE)})
SCORES = FactorScores((FACTOR,), ("z",), ("0", "1"), TINY, {"0": TINY}, {"f": (TINY, 1.0)}, 0)
RESULTS = {name: {seed: {"corr": TINY} for seed in (0, 1)} for name in ("ours", "theirs")}
DIFFERENCE = Difference("ours", "corr", 2, TINY, (TINY, TINY), 0.5, 0.5, (TINY, TINY))


@pytest.mark.parametrize(
    "text",
    [
        metrics_table({"test": {"corr": TINY}}),
        seeds_table({seed: {"test": {"corr": TINY}} for seed in (0, 1)}),
        or_dash(TINY),
        str(PROBE),
        str(Probes(PROBE, PROBE)),
        str(INFORMATION),
        *(str(REPORT), REPORT.to_markdown(), REPORT.to_latex()),
        *(str(SCORES), SCORES.to_markdown(), SCORES.to_latex()),
        str(Comparison("test", "theirs", RESULTS, (DIFFERENCE,), 100, 10)),
        str(InformationCurves({"ours": {1: TINY}}, {"ours": {1: TINY}})),
        Embedding({"ours": {"S": np.full((1, 2), TINY)}}, {"ours": TINY}).to_csv(),
        str(Embedding({}, {"ours": TINY})),
        str(describe({"train": Recordings(["a", "b"], {}, labels=np.array([-1e-6, 0], np.float32))})),
        meaning(np.array([TINY]), SENTIMENT),
        SENTIMENT.said(np.array([[TINY]]))[0],
    ],
)
def test_zero_has_no_sign(text):
    assert not re.search(r"[-−]0(\.0+)?(?![\d.e])", text), text
    assert re.search(r"0\.0|\b0\b|-1(\.00)?e-07", text)  # rounded to zero, or written out
