"""Heads: registered adapters from features and data samples to decoders and losses."""

from .decision_head import DecisionHead
from .label_decoder_head import LabelDecoderHead, MultiOrderLSTMHead

__all__ = ['DecisionHead', 'LabelDecoderHead', 'MultiOrderLSTMHead']
