"""Pictures, written to a file without touching matplotlib's global state.

Needs matplotlib: the extra `plots`.
"""

from disentangle.plots.curves import plot_curves
from disentangle.plots.matrix import plot_matrix
from disentangle.plots.parts import COLORS, blank_figure

__all__ = ["COLORS", "blank_figure", "plot_curves", "plot_matrix"]
