"""Losses: a pure function and its registered class a file."""

from .masked_stepwise_bce import MaskedStepwiseBCELoss, masked_stepwise_bce

__all__ = ['MaskedStepwiseBCELoss', 'masked_stepwise_bce']
