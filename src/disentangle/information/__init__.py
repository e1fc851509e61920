"""Meters, which no penalty trains: how much one variable tells about another, and how well it can be decoded.

A penalty such as CLUB is low where its estimator is bad. So what is reported beside it must not be trained with it. The
meters here take rows, learn what they need on some of them, and are evaluated on others.
"""

from disentangle.information.all_pairs import dependence_report
from disentangle.information.decodability import linear_decodability
from disentangle.information.estimate import METHODS, estimate_mutual_information
from disentangle.information.factor_tables import FactorRow, FactorScores
from disentangle.information.gaussian import gaussian_mutual_information
from disentangle.information.neighbors import nearest_neighbor_mutual_information
from disentangle.information.permutation import PermutationTest, permutation_test
from disentangle.information.probes import ClassProbe, NumberProbe, Probes, probe_classes, probe_numbers
from disentangle.information.report import DependenceReport, DependenceRow
from disentangle.information.result import MutualInformation
from disentangle.information.scores import factor_scores

__all__ = [
    "METHODS",
    "ClassProbe",
    "DependenceReport",
    "DependenceRow",
    "FactorRow",
    "FactorScores",
    "MutualInformation",
    "NumberProbe",
    "PermutationTest",
    "Probes",
    "dependence_report",
    "estimate_mutual_information",
    "factor_scores",
    "gaussian_mutual_information",
    "linear_decodability",
    "nearest_neighbor_mutual_information",
    "permutation_test",
    "probe_classes",
    "probe_numbers",
]
