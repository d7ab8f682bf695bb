"""Optimisers that torch does not have."""

from .fused_rmsprop import FusedRMSprop
from .tf_rmsprop import TFRMSprop

__all__ = ['FusedRMSprop', 'TFRMSprop']
