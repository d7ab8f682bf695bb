"""Methods that predict from the nearest training images."""

from .memory import NeighbourDecoder
from .search import nearest
from .tagprop import TagProp
from .two_pass_knn import TwoPassKNN

__all__ = ['NeighbourDecoder', 'TagProp', 'TwoPassKNN', 'nearest']
