"""Pictures.

Importing matplotlib takes a third of a second, so names are imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .panels import Prediction, draw_predictions, render_predictions, shrink
    from .records import draw_record, picture_path

__all__ = [
    'Prediction',
    'draw_predictions',
    'draw_record',
    'picture_path',
    'render_predictions',
    'shrink',
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    module = 'records' if name in ('draw_record', 'picture_path') else 'panels'
    return getattr(import_module(f'.{module}', __name__), name)
