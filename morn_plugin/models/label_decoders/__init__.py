"""Label decoders: plain modules from label probabilities to labels."""

from .base import LabelDecoder
from .label_sequence import LabelSequenceLSTM
from .lstm import LSTMDecoder
from .multi_order_lstm import MultiOrderLSTM
from .release import decoder_from_release

__all__ = [
    'LSTMDecoder',
    'LabelDecoder',
    'LabelSequenceLSTM',
    'MultiOrderLSTM',
    'decoder_from_release',
]
