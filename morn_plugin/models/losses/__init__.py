"""Losses: one pure function and its registered class per file."""

from .attention_consistency import AttentionConsistencyLoss
from .candidate_pool import candidate_pool_loss
from .frequency_weighted_bce import FrequencyWeightedBCELoss, frequency_weighted_bce
from .label_critic import LabelCritic, critic_loss, generator_loss
from .label_loss import label_loss
from .lsep import LSEPLoss, lsep_loss
from .masked_stepwise_bce import MaskedStepwiseBCELoss, masked_stepwise_bce
from .optimal_completion import optimal_completion_loss
from .sequence_alignment import align_sequences
from .sequence_cross_entropy import sequence_cross_entropy
from .timm_losses import TimmLoss
from .two_way import TwoWayLoss
from .warp import WARPLoss, warp_loss
from .zlpr import ZLPRLoss

__all__ = [
    'AttentionConsistencyLoss',
    'FrequencyWeightedBCELoss',
    'LSEPLoss',
    'LabelCritic',
    'MaskedStepwiseBCELoss',
    'TimmLoss',
    'TwoWayLoss',
    'WARPLoss',
    'ZLPRLoss',
    'align_sequences',
    'candidate_pool_loss',
    'critic_loss',
    'frequency_weighted_bce',
    'generator_loss',
    'label_loss',
    'lsep_loss',
    'masked_stepwise_bce',
    'optimal_completion_loss',
    'sequence_cross_entropy',
    'warp_loss',
]
