"""What a program says, and how."""

import warnings

from disentangle.errors import DataWarning, EstimatorWarning
from disentangle.experiments.program import _warnings_in_a_line


def said(kind: type[Warning]) -> str:
    return warnings.formatwarning(kind("look here"), kind, "fit.py", 7)


def test_the_librarys_own_warnings_are_a_line_and_others_as_ever():
    usual = said(UserWarning)
    with _warnings_in_a_line():
        assert said(DataWarning) == said(EstimatorWarning) == "warning: look here\n"
        assert said(UserWarning) == usual
    assert "fit.py:7" in said(DataWarning)
