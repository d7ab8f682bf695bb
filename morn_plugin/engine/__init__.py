"""Engine: hooks, optimisers, checkpoints, safe loading and distributed start-up."""

from . import checkpoints, hooks
from .optimizers import TFRMSprop

__all__ = ['TFRMSprop', 'checkpoints', 'hooks']
