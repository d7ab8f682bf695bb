"""Label decoders: plain PyTorch modules, one idea a file.

``base`` says what they see and return.
"""

import importlib
import inspect
import pkgutil

from .base import LabelDecoder
from .label_sequence import LabelSequenceLSTM
from .lstm import LSTMDecoder
from .multi_order_lstm import MultiOrderLSTM
from .release import decoder_from_release


def find_decoders() -> list[type[LabelDecoder]]:
    """Find every label decoder in the modules of this folder, without those that are abstract."""
    found = {}
    for module_info in pkgutil.walk_packages(__path__, f'{__name__}.'):
        module = importlib.import_module(module_info.name)
        for name, value in vars(module).items():
            is_own = inspect.isclass(value) and value.__module__ == module.__name__
            if is_own and issubclass(value, LabelDecoder) and not inspect.isabstract(value):
                found[name] = value
    return [found[name] for name in sorted(found)]


__all__ = [
    'LSTMDecoder',
    'LabelDecoder',
    'LabelSequenceLSTM',
    'MultiOrderLSTM',
    'decoder_from_release',
    'find_decoders',
]
