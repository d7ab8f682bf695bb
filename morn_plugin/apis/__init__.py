"""What the tools are made of."""

from .config import add_common_arguments, add_model_arguments, load_config
from .config_check import ConfigError, build_early, check_config
from .inferencer import MultiLabelInferencer

__all__ = [
    'ConfigError',
    'MultiLabelInferencer',
    'add_common_arguments',
    'add_model_arguments',
    'build_early',
    'check_config',
    'load_config',
]
