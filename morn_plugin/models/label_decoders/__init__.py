"""Label decoders: plain PyTorch modules, one idea per file.

``base`` defines their inputs and outputs.
"""

from ...utils.discovery import find_subclasses
from .base import LabelDecoder
from .label_sequence import LabelSequenceLSTM
from .lstm import LSTMDecoder
from .multi_order_lstm import MultiOrderLSTM
from .release import decoder_from_release


def find_decoders() -> list[type[LabelDecoder]]:
    """Find every label decoder in the modules of this folder, except abstract ones."""
    return find_subclasses(__name__, LabelDecoder)


__all__ = [
    'LSTMDecoder',
    'LabelDecoder',
    'LabelSequenceLSTM',
    'MultiOrderLSTM',
    'decoder_from_release',
    'find_decoders',
]
