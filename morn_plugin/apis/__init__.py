"""What the tools are made of."""

from .config import add_common_arguments, load_config
from .inferencer import MultiLabelInferencer

__all__ = ['MultiLabelInferencer', 'add_common_arguments', 'load_config']
