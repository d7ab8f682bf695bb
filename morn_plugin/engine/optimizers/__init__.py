"""Optimisers that torch does not have."""

from .fused_rmsprop import FusedRMSprop
from .state import check_state
from .tf_rmsprop import TFRMSprop

__all__ = ['FusedRMSprop', 'TFRMSprop', 'check_state']
