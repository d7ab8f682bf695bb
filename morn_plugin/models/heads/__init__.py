"""Registered heads: adapters from features to label decoders."""

from .label_decoder_head import LabelDecoderHead, MultiOrderLSTMHead

__all__ = ['LabelDecoderHead', 'MultiOrderLSTMHead']
