r"""Meters, which no penalty trains: how much one variable tells about another, and how well it can be decoded.

A penalty such as CLUB is low where its estimator is bad. What is reported beside it must not be learnt with it, so the
meters here are linear algebra on given rows: nothing to tune, nothing that stops early, the same number every time.
What they see is linear. A dependence without correlation (y = x² with symmetric x) reads as none; nothing here replaces
a trained estimator, and nothing that was trained replaces this.
"""

from disentangle.information.decodability import linear_decodability
from disentangle.information.gaussian import gaussian_mutual_information
from disentangle.information.neighbours import nearest_neighbour_mutual_information
from disentangle.information.permutation import PermutationTest, permutation_test
from disentangle.information.report import DependenceReport, DependenceRow, dependence_report

__all__ = [
    "DependenceReport",
    "DependenceRow",
    "PermutationTest",
    "dependence_report",
    "gaussian_mutual_information",
    "linear_decodability",
    "nearest_neighbour_mutual_information",
    "permutation_test",
]
