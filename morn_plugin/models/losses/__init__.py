"""Losses: a pure function and its registered class a file."""

from .label_loss import label_loss
from .lsep import LSEPLoss, lsep_loss
from .masked_stepwise_bce import MaskedStepwiseBCELoss, masked_stepwise_bce
from .timm_losses import TimmLoss
from .two_way import TwoWayLoss
from .warp import WARPLoss, warp_loss
from .zlpr import ZLPRLoss

__all__ = [
    'LSEPLoss',
    'MaskedStepwiseBCELoss',
    'TimmLoss',
    'TwoWayLoss',
    'WARPLoss',
    'ZLPRLoss',
    'label_loss',
    'lsep_loss',
    'masked_stepwise_bce',
    'warp_loss',
]
