"""Label decoders: plain modules from label probabilities to labels."""

from .base import LabelDecoder
from .multi_order_lstm import MultiOrderLSTM
from .release import decoder_from_release

__all__ = ['LabelDecoder', 'MultiOrderLSTM', 'decoder_from_release']
