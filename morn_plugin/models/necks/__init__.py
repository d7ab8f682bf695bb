"""Necks: pool a backbone's feature for a head."""

from .channel_last_pooling import ChannelLastPooling
from .token_pooling import TokenPooling

__all__ = ['ChannelLastPooling', 'TokenPooling']
