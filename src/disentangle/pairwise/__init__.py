"""Which variables must not tell about one another, declared once, the same way for every dependence."""

from disentangle.pairwise.pairwise import Pairwise

__all__ = ["Pairwise"]
