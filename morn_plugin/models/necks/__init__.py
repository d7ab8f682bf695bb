"""Necks: from a backbone's feature to the pooled one that a head takes."""

from .channel_last_pooling import ChannelLastPooling
from .token_pooling import TokenPooling

__all__ = ['ChannelLastPooling', 'TokenPooling']
