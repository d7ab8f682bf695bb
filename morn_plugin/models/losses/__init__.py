"""Losses: a pure function and its registered class a file."""

from .label_loss import label_loss
from .masked_stepwise_bce import MaskedStepwiseBCELoss, masked_stepwise_bce

__all__ = ['MaskedStepwiseBCELoss', 'label_loss', 'masked_stepwise_bce']
