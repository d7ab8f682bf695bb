"""Engine: hooks, optimisers, checkpoints, safe loading and distributed start-up."""

from . import checkpoints, hooks, loops
from .optimizers import FusedRMSprop, TFRMSprop

__all__ = ['FusedRMSprop', 'TFRMSprop', 'checkpoints', 'hooks', 'loops']
