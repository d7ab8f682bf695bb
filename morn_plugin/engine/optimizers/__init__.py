"""Optimisers that torch does not have."""

from .tf_rmsprop import TFRMSprop

__all__ = ['TFRMSprop']
